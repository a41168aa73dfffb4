"""How fast neighbourhoods come out of a store: a prepared store beside plain xarray.

3 fields x 3 levels x 36 hours x 54 x 108 points at random places of two weeks of hourly data at 1 degree
(random numbers, made in a temporary folder, about 1.3 GB), normalised, cut into tokens and masked, on one
thread, from a warm cache.  Run as ``python benchmarks/sampler.py``; two minutes on one core.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from atmorep_lite.config import MaskingConfig, ModelConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.prepare import prepare
from atmorep_lite.data.prepared import open_prepared, statistics
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.masking import batch_keys, draw_masks
from atmorep_lite.tokens import tokenize

FIELDS = ("temperature", "u_component_of_wind", "v_component_of_wind")
LEVELS, HOURS = (500, 700, 850), 14 * 24
MODEL = ModelConfig.model_validate(
    {
        "fields": [
            {
                "name": n,
                "levels": LEVELS,
                "embed_dim": 32,
                "num_tokens": (12, 3, 6),
                "token_size": (3, 18, 18),
            }
            for n in FIELDS
        ]
    }
)


def weather() -> xr.Dataset:
    """Two weeks of random numbers on a global grid of 1 degree."""
    rng = np.random.default_rng(0)
    axes = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(HOURS) * np.timedelta64(1, "h"),
        "level": list(LEVELS),
        "latitude": np.linspace(90.0, -90.0, 181),
        "longitude": np.arange(360.0),
    }
    shape = tuple(len(axis) for axis in axes.values())
    fields = {n: (tuple(axes), rng.standard_normal(shape, np.float32)) for n in FIELDS}
    return xr.Dataset(fields, coords=axes)


def rate(draw: Callable[[int], object], seconds: float = 12.0) -> float:
    """Samples a second of processor time."""
    for number in range(3):
        draw(number)
    begun, count = time.process_time(), 0
    while time.process_time() - begun < seconds:
        draw(count)
        count += 1
    return count / (time.process_time() - begun)


def masked(number: int) -> object:
    """Masks of one sample."""
    return draw_masks(
        MODEL.fields, batch_keys(0, epoch=0, rank=0, step=number, batch_size=1), MaskingConfig()
    )


def from_prepared(store: Path) -> Callable[[int], object]:
    """The library's own way."""
    dataset = open_prepared(store)
    data = Neighbourhoods(dataset, MODEL, statistics(dataset))

    def draw(number: int) -> object:
        rng = np.random.default_rng(number)
        return data.batch(data.draw(1, rng)), masked(number)

    return draw


def from_xarray(store: Path, normalizer: Normalizer, *, dask: bool) -> Callable[[int], object]:
    """Plain indexing of a store of one hour a chunk, as WeatherBench 2's are."""
    dataset = xr.open_zarr(store, chunks={} if dask else None, consolidated=False)
    plain = Neighbourhoods(dataset.isel(time=slice(0, 36)).load(), MODEL, normalizer)

    def draw(number: int) -> object:
        rng = np.random.default_rng(number)
        place: Place = plain.draw(1, rng)[0]
        first = int(rng.integers(HOURS - 36))
        box = dataset.isel(
            time=slice(first, first + 36),
            latitude=slice(place.row, place.row + 54),
            longitude=(place.column + np.arange(108)) % 360,
        )
        at = normalizer.at(box["latitude"].values, box["longitude"].values)
        normal = at.normalize(box).load()
        tokens = [
            tokenize(
                torch.from_numpy(np.ascontiguousarray(normal[n].transpose("level", ...).values)), (3, 18, 18)
            )
            for n in FIELDS
        ]
        return tokens, masked(number)

    return draw


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        archive, store = Path(folder) / "archive.zarr", Path(folder) / "prepared.zarr"
        data = weather()
        encoding = {n: {"chunks": (1, len(LEVELS), 181, 360)} for n in FIELDS}
        data.to_zarr(archive, encoding=encoding, consolidated=False, zarr_format=3)
        begun = time.process_time()
        prepare(xr.open_zarr(archive, consolidated=False), store, FIELDS, gaps=0, check=False)
        took = time.process_time() - begun
        normalizer = statistics(open_prepared(store))
        sample = np.ones((len(FIELDS), len(LEVELS), 36, 54, 108), np.float32)
        copy = np.empty_like(sample)
        rows = {
            "xarray, one chunk an hour": rate(from_xarray(archive, normalizer, dask=False)),
            "the same with dask": rate(from_xarray(archive, normalizer, dask=True)),
            "prepared store": rate(from_prepared(store)),
            "a bare copy of the same bytes in memory": rate(lambda number: np.copyto(copy, sample)),
        }
        print(
            f"prepared {data.nbytes / 1e9:.1f} GB in {took:.0f} s; peak memory "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
        )
        plain = rows["xarray, one chunk an hour"]
        for name, found in rows.items():
            print(f"{name:42} {found:8.1f} samples/s  {found / plain:7.1f} x")


if __name__ == "__main__":
    main()
