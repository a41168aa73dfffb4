"""From an archive to a training: fetched, prepared, sampled and trained on; time and peak memory of each.

A store in the layout of ARCO-ERA5 (Zarr 2, hourly chunks of 37 levels x 721 x 1440, Blosc with LZ4, time axis
running on beyond the data, metadata consolidated) is served by a local web server, which makes it up: each
chunk is one of a few states of random numbers, kept compressed in the server's memory, so the source needs no
disk and repeats itself in time.  Every stage is a process of its own; its peak memory is what the operating
system says at its end (resident, pages of mapped files that are in memory included).

The whole store is fetched; what is prepared are the levels that a small model needs (all of them with
``--all-levels``), for which every chunk has to be read nevertheless.

    python benchmarks/archive.py                                # 20 GB; needs 12 GB of disk
    python benchmarks/archive.py --gigabytes 0.5 --rows 181     # a quick look, on a grid of 1 degree
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import google_crc32c
import numpy as np
import yaml
import zarr
from numcodecs import Blosc

from atmorep_lite.fields import ERA5_LEVELS

#: Fields with mean and spread in SI units.
FIELDS = {"temperature": (250.0, 12.0), "u_component_of_wind": (5.0, 12.0), "v_component_of_wind": (0.0, 9.0)}
LEVELS = (500, 700, 850)  # of the model that samples and trains
STATES = 3
COMMAND = [sys.executable, "-c", "from atmorep_lite.cli import main; main()"]


def state(rows: int, seed: int) -> np.ndarray:
    """``[37, rows, columns]``: a wave and noise of a fifth of it, in steps of 1/2048, as packed data have."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(
        np.linspace(0, np.pi, rows), np.arange(2 * (rows - 1)) / (rows - 1) * np.pi, indexing="ij"
    )
    values = np.empty((37, *y.shape), np.float32)
    for level in values:
        level[...] = 1.4 * np.sin(3 * x + rng.uniform(0, 6)) * np.sin(y) ** 2
        level += rng.standard_normal(y.shape, np.float32) * np.float32(0.2)
    return np.round(values * 2048) / np.float32(2048)


def metadata(folder: Path, rows: int, hours: int) -> None:
    """Everything of the store but the fields' chunks."""
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    columns, hour = 2 * (rows - 1), np.timedelta64(1, "h")
    begin = int((np.datetime64("2019-01-01") - np.datetime64("1900-01-01")) / hour)
    axes = {
        "time": (begin + np.arange(hours + 24), {"units": "hours since 1900-01-01"}),
        "level": (np.array(ERA5_LEVELS), {}),
        "latitude": (np.linspace(90, -90, rows).astype(np.float32), {"units": "degrees_north"}),
        "longitude": ((np.arange(columns) * 360 / columns).astype(np.float32), {"units": "degrees_east"}),
    }
    for name, (values, attrs) in axes.items():
        attrs = {"_ARRAY_DIMENSIONS": [name], **attrs}
        group.create_array(name, data=values, fill_value=None, attributes=attrs)
    for name in FIELDS:
        group.create_array(
            name,
            shape=(hours + 24, 37, rows, columns),
            chunks=(1, 37, rows, columns),
            dtype="<f4",
            fill_value=np.nan,
            compressors=Blosc("lz4", 5, Blosc.SHUFFLE),
            attributes={
                "_ARRAY_DIMENSIONS": list(axes),
                "units": "K" if name == "temperature" else "m s**-1",
            },
        )
    stop = str(np.datetime64("2019-01-01T00") + (hours - 1) * hour)[:10]
    group.attrs.update({"valid_time_start": "2019-01-01", "valid_time_stop": stop, "simulated": "true"})
    zarr.consolidate_metadata(folder, zarr_format=2)


def serve(rows: int, hours: int) -> None:
    """Be the archive until the parent closes the pipe; print the port when ready."""
    packer = Blosc("lz4", 5, Blosc.SHUFFLE)
    chunks: dict[str, list[tuple[bytes, str]]] = {name: [] for name in FIELDS}
    for seed in range(STATES):
        values = state(rows, seed)
        for name, (mean, spread) in FIELDS.items():
            body = packer.encode(mean + np.float32(spread) * values)
            crc = base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()
            chunks[name].append((body, crc))
    with tempfile.TemporaryDirectory() as folder:
        metadata(Path(folder), rows, hours)
        small = {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET(body=False)

        def do_GET(self, *, body: bool = True) -> None:
            name, _, rest = self.path.removeprefix("/era5.zarr/").partition("/")
            found, crc = small.get(f"{name}/{rest}" if rest else name), ""
            if name in chunks and rest[:1].isdigit() and int(rest.split(".")[0]) < hours:
                found, crc = chunks[name][int(rest.split(".")[0]) % STATES]
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            if crc:
                self.send_header("x-goog-hash", f"crc32c={crc}")
            self.end_headers()
            if body and found is not None:
                self.wfile.write(found)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], len(chunks["temperature"][0][0]), flush=True)
    sys.stdin.read()


def measured(words: list[str]) -> tuple[float, float, str]:
    """Seconds, peak memory in GB and output of a command in a process of its own."""
    begun = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(words[:4])} ...\n{output}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1e6, output


def model(hours: int) -> dict[str, object]:
    """A small model: 3 fields x 3 levels x 36 (or 12) hours x 54 x 108 points."""
    tokens = {"num_tokens": [12 if hours >= 40 else 4, 3, 6], "token_size": [3, 18, 18]}
    fields = [{"name": name, "levels": list(LEVELS), "embed_dim": 32, **tokens} for name in FIELDS]
    return {"fields": fields, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "members": 2}


def sample(store: Path, config: Path, seconds: float = 15.0) -> None:
    """Draw neighbourhoods, first from files that are not in memory, then again, and print the rates."""
    import torch

    from atmorep_lite.config import load_config
    from atmorep_lite.data.prepared import open_prepared, statistics
    from atmorep_lite.data.sampling import Neighbourhoods
    from atmorep_lite.masking import batch_keys

    torch.set_num_threads(1)
    found = load_config(str(config)).model
    dataset = open_prepared(store)
    data = Neighbourhoods(dataset, found, statistics(dataset))
    for part in store.rglob("*"):  # forget what the operating system has kept of it
        if part.is_file():
            with part.open("rb") as file:
                os.fsync(file.fileno())  # what is not on the disk yet cannot be forgotten
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    rates = []
    for _ in range(2):
        begun, step = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            data.batch(data.draw_at(batch_keys(0, epoch=1, step=step % 100, batch_size=1)))
            step += 1
        rates.append(step / (time.perf_counter() - begun))
    size = len(found.fields) * len(LEVELS) * int(np.prod(found.extent)) * 4
    print(json.dumps({"cold": rates[0], "warm": rates[1], "bytes": size}))


def size_of(folder: Path) -> float:
    """GB on disk."""
    return sum(part.stat().st_size for part in folder.rglob("*") if part.is_file()) / 1e9


def run(gigabytes: float, rows: int, streams: int, steps: int, all_levels: bool, place: Path) -> None:
    """All stages; prints a line for each."""
    an_hour = 37 * rows * 2 * (rows - 1) * 4 * len(FIELDS) / 1e9
    hours = max(14, round(gigabytes / an_hour))
    total = hours * an_hour
    me = [sys.executable, __file__]
    server = subprocess.Popen(
        [*me, "--serve", "--rows", str(rows), "--hours", str(hours)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None and server.stdin is not None
    era5, train, config = place / "era5.zarr", place / "train.zarr", place / "config.yaml"
    stage = {"part": "transformer", "steps": steps, "batch_size": 4, "learning_rate": 1e-3}
    settings = {
        "data": {"train": str(train), "validation": str(train), "normalization": "global", "workers": 1},
        "model": model(hours),
        "training": {"stages": [stage], "loss": {"crps": 1.0}},
    }
    config.write_text(yaml.safe_dump(settings))
    try:
        port, packed = map(int, server.stdout.readline().split())
        print(
            f"source: {len(FIELDS)} fields x {hours} hours x 37 levels x {rows} x {2 * (rows - 1)}, "
            f"{total:.1f} GB; a chunk is {an_hour / len(FIELDS) * 1e3:.0f} MB, "
            f"{packed / 1e6:.0f} MB compressed"
        )
        print(f"{'stage':22}{'seconds':>9}{'MB/s':>8}{'peak GB':>9}   what it leaves")
        fields = [word for name in FIELDS for word in ("--field", name)]
        until = str(np.datetime64("2019-01-01T00") + np.timedelta64(hours - 1, "h"))
        address = f"http://127.0.0.1:{port}/era5.zarr"
        options = ["--until", until, "--streams", str(streams)]
        took, peak, _ = measured([*COMMAND, "data", "fetch", address, str(era5), *fields, *options])
        line("fetch", took, peak, total, f"{size_of(era5):.2f} GB")
    finally:
        server.stdin.close()
        server.wait()
    options = ["--normalization", "global", "--gaps", "3"]
    chosen = [] if all_levels else [word for level in LEVELS for word in ("--level", str(level))]
    took, peak, _ = measured([*COMMAND, "data", "prepare", str(era5), str(train), *fields, *chosen, *options])
    line("prepare", took, peak, total, f"{size_of(train):.2f} GB")
    _, peak, told = measured([*me, "--sample", str(train), "--config", str(config)])
    found = json.loads(told.splitlines()[-1])
    for name in ("cold", "warm"):
        rate = found[name]
        line(f"sample, {name} files", 15.0, peak, rate * found["bytes"] * 15.0 / 1e9, f"{rate:.0f} samples/s")
    took, peak, _ = measured([*COMMAND, "train", str(config), "--run-dir", str(place / "run")])
    with (place / "run" / "log.csv").open() as file:
        log = list(csv.DictReader(file))
    last = log[-1]
    speed, waiting = float(last["samples_per_second"]), float(last["waiting"])
    words = f"{speed:.1f} samples/s, waiting for data {100 * waiting:.1f} % of the time"
    line("train, 1 worker", took, peak, speed * found["bytes"] * took / 1e9, words)


def line(name: str, seconds: float, peak: float, gigabytes: float, words: str) -> None:
    """Print a row of the table; MB/s counts float32 bytes."""
    print(f"{name:22}{seconds:9.0f}{gigabytes * 1e3 / seconds:8.0f}{peak:9.2f}   {words}", flush=True)


def main() -> None:
    """Read the options."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--gigabytes", type=float, default=20.0, help="uncompressed size of the source")
    options.add_argument("--rows", type=int, default=721, help="latitudes; columns are twice as many")
    options.add_argument("--streams", type=int, default=2)
    options.add_argument("--steps", type=int, default=30, help="of training")
    options.add_argument("--all-levels", action="store_true", help="prepare all 37 levels")
    options.add_argument("--folder", type=Path, help="where the stores go for the time being")
    for hidden in ("--serve", "--hours", "--sample", "--config"):
        more = (
            {"action": "store_true"}
            if hidden == "--serve"
            else {"type": int if hidden == "--hours" else Path}
        )
        options.add_argument(hidden, help=argparse.SUPPRESS, **more)  # type: ignore[arg-type]
    chosen = options.parse_args()
    if chosen.serve:
        serve(chosen.rows, chosen.hours)
    elif chosen.sample:
        sample(chosen.sample, chosen.config)
    else:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as place:
            run(chosen.gigabytes, chosen.rows, chosen.streams, chosen.steps, chosen.all_levels, Path(place))


if __name__ == "__main__":
    main()
