"""How fast neighbourhoods come out of a store: a prepared store beside plain xarray.

3 fields x 3 levels x 36 hours x 54 x 108 points at random places of two weeks of hourly data at 1 degree
(random numbers, made in a temporary folder, about 1.3 GB), normalised, cut into tokens and masked, with one
thread a process.  ``cold``: before every 32 samples the system is asked to forget the store's files, as far
as it will.  Run as ``python benchmarks/sampler.py``; three minutes on two cores.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from atmorep_lite.config import MaskingConfig, ModelConfig
from atmorep_lite.data.loader import steps_ahead
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.places import Place
from atmorep_lite.data.prepare import prepare
from atmorep_lite.data.prepared import _mapped, open_prepared, statistics
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.masking import batch_keys, draw_masks
from atmorep_lite.tokens import tokenize

FIELDS = ("temperature", "u_component_of_wind", "v_component_of_wind")
LEVELS, HOURS = (500, 700, 850), 14 * 24
FIELD: dict[str, object] = {
    "levels": LEVELS,
    "embed_dim": 32,
    "num_tokens": (12, 3, 6),
    "token_size": (3, 18, 18),
}
MODEL = ModelConfig.model_validate({"fields": [{"name": name} | FIELD for name in FIELDS]})
SECONDS, BATCH, COLD = 10.0, 8, 32

Draw = Callable[[int], object]


@dataclass
class Speed:
    """Samples a second of processor time and of the clock; memory of its own that the drawing took, MB."""

    processor: float
    clock: float
    memory: float


def weather() -> xr.Dataset:
    """Two weeks of random numbers on a global grid of 1 degree."""
    rng = np.random.default_rng(0)
    axes: dict[str, np.ndarray] = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(HOURS) * np.timedelta64(1, "h"),
        "level": np.array(LEVELS),
        "latitude": np.linspace(90.0, -90.0, 181),
        "longitude": np.arange(360.0),
    }
    shape = tuple(len(axis) for axis in axes.values())
    fields = {n: (tuple(axes), rng.standard_normal(shape, np.float32)) for n in FIELDS}
    return xr.Dataset(fields, coords=axes)


def private_megabytes() -> float:
    """Memory of this process that is not a view of files."""
    (line,) = (n for n in Path("/proc/self/status").read_text().splitlines() if n.startswith("RssAnon"))
    return int(line.split()[1]) / 1e3


def speed(draw: Draw, samples: int = 1, between: Callable[[], object] = lambda: None) -> Speed:
    """Of ``draw(number)``, which makes so many samples; ``between`` is called, untimed, before each call."""
    before, most = private_megabytes(), 0.0
    for number in range(3):
        draw(number)
    processor = clock = 0.0
    count = 0
    while clock < SECONDS:
        between()
        used, begun = time.process_time(), time.perf_counter()
        made = draw(count)
        processor, clock = processor + time.process_time() - used, clock + time.perf_counter() - begun
        if count % 16 == 0:
            most = max(most, private_megabytes())
        del made
        count += 1
    return Speed(count * samples / processor, count * samples / clock, most - before)


def batches(data: Neighbourhoods, size: int, crops: int = 1) -> Draw:
    """The library's own way, a batch at a time."""

    def draw(step: int) -> object:
        keys = batch_keys(0, epoch=1, step=step, batch_size=size)
        batch = data.batch(data.draw_at(keys, crops=crops, windows=8))
        return batch, draw_masks(MODEL.fields, keys, MaskingConfig(), tokens=batch.tokens)

    return draw


def with_workers(draw: Draw, workers: int) -> Speed:
    """Through worker processes: their processor time and this one's, and the clock once they are running."""

    def used() -> float:
        return sum(
            sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )

    before, count = used(), 0
    memory = private_megabytes()
    with steps_ahead(draw, range(10**9), workers=workers) as made:
        for _ in range(2 * workers + 1):
            next(made)
        begun = time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            next(made)
            count += 1
        clock = time.perf_counter() - begun
        memory = private_megabytes() - memory
    everything = count + 2 * workers + 1 + 2 * workers  # those before the clock ran, and those in stock
    return Speed(everything * BATCH / (used() - before), count * BATCH / clock, memory)


def forget(store: Path) -> None:
    """Ask the system to drop what it holds of a store's files in memory."""
    _mapped.cache_clear()
    for path in store.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def from_xarray(store: Path, normalizer: Normalizer, *, dask: bool) -> Draw:
    """Plain indexing of a store of one hour a chunk, as WeatherBench 2's are."""
    dataset = xr.open_zarr(store, chunks={} if dask else None, consolidated=False)
    plain = Neighbourhoods(dataset.isel(time=slice(0, 36)).load(), MODEL, normalizer)

    def draw(number: int) -> object:
        keys = batch_keys(0, epoch=1, step=number, batch_size=1)
        place: Place = plain.draw_at(keys)[0]
        first = int(np.random.default_rng(number).integers(HOURS - 36))
        box = dataset.isel(
            time=slice(first, first + 36),
            latitude=slice(place.row, place.row + 54),
            longitude=(place.column + np.arange(108)) % 360,
        )
        at = normalizer.at(box["latitude"].values, box["longitude"].values)
        normal = at.normalize(box).load()
        cubes = [np.ascontiguousarray(normal[name].transpose("level", ...).values) for name in FIELDS]
        tokens = [tokenize(torch.from_numpy(cube), (3, 18, 18)) for cube in cubes]
        return tokens, draw_masks(MODEL.fields, keys, MaskingConfig())

    return draw


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        archive, store = Path(folder) / "archive.zarr", Path(folder) / "prepared.zarr"
        data = weather()
        encoding = {n: {"chunks": (1, len(LEVELS), 181, 360)} for n in FIELDS}
        data.to_zarr(archive, encoding=encoding, consolidated=False, zarr_format=3)
        size = data.nbytes / 1e9
        del data
        begun = time.process_time()
        prepare(xr.open_zarr(archive, consolidated=False), store, FIELDS, gaps=0, check=False)
        print(f"prepared {size:.1f} GB in {time.process_time() - begun:.0f} s of processor time\n")
        os.sync()
        dataset = open_prepared(store)
        normalizer = statistics(dataset)
        prepared = Neighbourhoods(dataset, MODEL, normalizer)
        sample = np.ones((len(FIELDS), len(LEVELS), 36, 54, 108), np.float32)
        copy = np.empty_like(sample)
        rows = {
            "xarray, one chunk an hour": speed(from_xarray(archive, normalizer, dask=False)),
            "the same with dask": speed(from_xarray(archive, normalizer, dask=True)),
            "prepared store, warm": speed(batches(prepared, 1)),
            f"the same, batches of {BATCH}": speed(batches(prepared, BATCH), BATCH),
            "the same, 1 worker": with_workers(batches(prepared, BATCH), 1),
            "the same, 2 workers": with_workers(batches(prepared, BATCH), 2),
            "prepared store, cold": speed(batches(prepared, COLD), COLD, lambda: forget(store)),
            "the same, crops: 4": speed(batches(prepared, COLD, 4), COLD, lambda: forget(store)),
        }
        record = xr.open_zarr(archive, chunks=None, consolidated=False).load()
        rows["in memory"] = speed(batches(Neighbourhoods(record, MODEL, normalizer), BATCH), BATCH)
        bare = "a bare copy of the same bytes in memory"
        rows[bare] = speed(lambda number: np.copyto(copy, sample))
        plain, best = rows["xarray, one chunk an hour"].processor, rows[bare].processor
        print(
            "| | samples/s of processor time | samples/s | x xarray | share of a bare copy | own memory, MB |"
        )
        print("|---|---|---|---|---|---|")
        for name, found in rows.items():
            print(
                f"| {name} | {found.processor:,.1f} | {found.clock:,.1f} | {found.processor / plain:.1f} | "
                f"{found.processor / best:.1%} | {found.memory:.0f} |"
            )


if __name__ == "__main__":
    main()
