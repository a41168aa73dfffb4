"""A local web server that serves Zarr archives as the public buckets do, and fails on demand.

:func:`arco` and :func:`weatherbench` make stores in the layouts of ARCO-ERA5 and WeatherBench 2: the names,
order of axes, chunks, attributes and compression of the originals, with fewer points.  :class:`Server` serves
objects as Google's storage does (``x-goog-hash``, Content-Length, HEAD) and injects faults: an answer 503 or
429, none at all, a lost connection, half a body, wrong bytes, 404.
"""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import google_crc32c
import numpy as np
import zarr
from numcodecs import Blosc  # type: ignore[import-untyped]

from atmorep_lite.fields import ERA5_LEVELS

LEVELS_13 = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
FAULTS = ("503", "429", "timeout", "reset", "truncated", "wrong bytes", "404")


def weather(shape: tuple[int, ...], mean: float, scale: float, seed: int) -> np.ndarray:
    """Smooth in the last two axes, different everywhere."""
    *before, rows, columns = shape
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, np.pi, rows), np.arange(columns) * 2 * np.pi / columns, indexing="ij")
    phase = rng.uniform(0, 2 * np.pi, (*before, 1, 1))
    return (mean + scale * np.sin(2 * x + 3 * y + phase) * np.sin(y)).astype(np.float32)


def _variable(
    group: zarr.Group,
    name: str,
    values: np.ndarray,
    dims: tuple[str, ...],
    chunks: tuple[int, ...],
    **attrs: str,
) -> None:
    """An array of Zarr 2 as xarray writes it: Blosc with LZ4, fill value NaN."""
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=chunks,
        dtype=values.dtype,
        compressors=Blosc(cname="lz4", clevel=5, shuffle=1),
        fill_value=np.nan if values.dtype.kind == "f" else None,
        attributes={"_ARRAY_DIMENSIONS": list(dims), **attrs},
        config={"write_empty_chunks": True},
    )
    array[...] = values


UPPER = {
    "temperature": ("K", "t", "Temperature", 260.0, 10.0),
    "u_component_of_wind": ("m s**-1", "u", "U component of wind", 5.0, 12.0),
    "v_component_of_wind": ("m s**-1", "v", "V component of wind", 0.0, 9.0),
    "specific_humidity": ("kg kg**-1", "q", "Specific humidity", 5e-3, 1e-3),
}


def arco(place: Path, *, hours: int = 12, rows: int = 19, columns: int = 36) -> Path:
    """``full_37-1h-0p25deg-chunk-1.zarr-v3`` in small: Zarr 2 in spite of its name, one hour a chunk.

    All 37 levels of a variable and hour are one chunk; time counts hours from 1900 and runs on beyond the
    data, which end at ``valid_time_stop``; latitude descends from the pole.
    """
    group = zarr.open_group(place, mode="w", zarr_format=2)
    beyond = 24
    begin = int((np.datetime64("2019-01-01T00", "h") - np.datetime64("1900-01-01T00", "h")).astype(int))
    hour = {"units": "hours since 1900-01-01", "calendar": "proleptic_gregorian"}
    _variable(group, "time", begin + np.arange(hours + beyond), ("time",), (hours + beyond,), **hour)
    _variable(group, "level", np.array(ERA5_LEVELS), ("level",), (37,))
    latitude = np.linspace(90, -90, rows).astype(np.float32)
    longitude = (np.arange(columns) * 360 / columns).astype(np.float32)
    _variable(
        group, "latitude", latitude, ("latitude",), (rows,), units="degrees_north", long_name="latitude"
    )
    _variable(
        group, "longitude", longitude, ("longitude",), (columns,), units="degrees_east", long_name="longitude"
    )
    for seed, (name, (units, short, words, mean, scale)) in enumerate(UPPER.items()):
        values = weather((hours, 37, rows, columns), mean, scale, seed)
        dims = ("time", "level", "latitude", "longitude")
        attrs = {"units": units, "short_name": short, "long_name": words}
        _variable(group, name, values, dims, (1, 37, rows, columns), **attrs)
        array = group[name]
        assert isinstance(array, zarr.Array)
        array.resize((hours + beyond, 37, rows, columns))
    surface = weather((hours + beyond, rows, columns), 285.0, 10.0, 9)
    flat = ("time", "latitude", "longitude")
    attrs = {"units": "K", "short_name": "t2m", "long_name": "2 metre temperature"}
    _variable(group, "2m_temperature", surface, flat, (1, rows, columns), **attrs)
    for name, short, units in (
        ("geopotential_at_surface", "z", "m**2 s**-2"),
        ("land_sea_mask", "lsm", "(0 - 1)"),
    ):
        values = abs(weather((rows, columns), 0.5, 0.5, 11))
        _variable(group, name, values, flat[1:], (rows, columns), units=units, short_name=short)
    last = str(np.datetime64("2019-01-01T00") + np.timedelta64(hours - 1, "h"))[:10]
    group.attrs.update(
        {"valid_time_start": "2019-01-01", "valid_time_stop": last, "last_updated": "2019-02-01"}
    )
    zarr.consolidate_metadata(place, zarr_format=2)
    return place


def model_levels(place: Path, *, hours: int = 4, rows: int = 19, columns: int = 36) -> Path:
    """``model-level-1h-0p25deg.zarr-v1`` in small: 137 hybrid levels in chunks of 18."""
    group = zarr.open_group(place, mode="w", zarr_format=2)
    begin = int((np.datetime64("2019-01-01T00", "h") - np.datetime64("1900-01-01T00", "h")).astype(int))
    hour = {"units": "hours since 1900-01-01", "calendar": "proleptic_gregorian"}
    _variable(group, "time", begin + np.arange(hours), ("time",), (hours,), **hour)
    _variable(
        group, "hybrid", np.arange(1.0, 138.0), ("hybrid",), (137,), units="1", long_name="hybrid level"
    )
    _variable(group, "latitude", np.linspace(90, -90, rows), ("latitude",), (rows,), units="degrees_north")
    _variable(
        group,
        "longitude",
        np.arange(columns) * 360 / columns,
        ("longitude",),
        (columns,),
        units="degrees_east",
    )
    values = weather((hours, 137, rows, columns), 0.0, 1e-4, 5)
    dims = ("time", "hybrid", "latitude", "longitude")
    attrs = {"units": "s**-1", "short_name": "vo", "standard_name": "atmosphere_relative_vorticity"}
    _variable(group, "vorticity", values, dims, (1, 18, rows, columns), **attrs)
    group.attrs.update({"valid_time_start": "2019-01-01", "valid_time_stop": "2019-01-01"})
    zarr.consolidate_metadata(place, zarr_format=2)
    return place


def weatherbench(place: Path, *, steps: int = 40, rows: int = 32, columns: int = 64) -> Path:
    """``1959-2023_01_10-6h-64x32_equiangular_conservative.zarr`` in small.

    Every 6 hours, several a chunk; axes (time, level, longitude, latitude), latitude ascending, no poles.
    """
    group = zarr.open_group(place, mode="w", zarr_format=2)
    since = {"units": "hours since 1959-01-01", "calendar": "proleptic_gregorian"}
    _variable(group, "time", 6 * np.arange(steps), ("time",), (steps,), **since)
    _variable(group, "level", np.array(LEVELS_13), ("level",), (13,))
    spacing = 180 / rows
    _variable(group, "latitude", -90 + spacing / 2 + spacing * np.arange(rows), ("latitude",), (rows,))
    _variable(group, "longitude", np.arange(columns) * 360 / columns, ("longitude",), (columns,))
    for seed, (name, (units, short, words, mean, scale)) in enumerate(UPPER.items()):
        values = np.ascontiguousarray(weather((steps, 13, rows, columns), mean, scale, seed).swapaxes(2, 3))
        dims = ("time", "level", "longitude", "latitude")
        attrs = {"units": units, "short_name": short, "long_name": words}
        _variable(group, name, values, dims, (16, 13, columns, rows), **attrs)
    zarr.consolidate_metadata(place, zarr_format=2)
    return place


@dataclass
class Faults:
    """What to do wrong: ``plan(path, number of this request for it)`` names a fault or None."""

    plan: Callable[[str, int], str | None] = lambda path, number: None
    seen: dict[str, int] = field(default_factory=dict)
    hang: float = 3.0
    checksums: bool = True
    delay: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, path: str) -> str | None:
        """The fault of this request."""
        with self.lock:
            self.seen[path] = self.seen.get(path, 0) + 1
            return self.plan(path, self.seen[path])

    def chunks_sent(self) -> dict[str, int]:
        """Requests for chunks, by path."""
        return {path: n for path, n in self.seen.items() if path.rpartition("/")[2][:1].isdigit()}


@contextmanager
def serve(root: Path, faults: Faults | None = None) -> Iterator[str]:
    """Serve the files under ``root``; yields the address."""
    found = faults or Faults()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            fault = found.next(self.path) if body else None
            if found.delay:
                time.sleep(found.delay)
            path = root / self.path.lstrip("/")
            if fault in ("503", "429"):
                self._headers(int(fault), 0)
                return
            if fault == "404" or not path.is_file():
                self._headers(404, 0)
                return
            if fault == "timeout":
                time.sleep(found.hang)
                self.close_connection = True
                return
            if fault == "reset":  # zero linger: the connection is reset, not closed
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return
            content = path.read_bytes()
            sums = {}
            if found.checksums:
                crc = google_crc32c.value(content).to_bytes(4, "big")
                sums["x-goog-hash"] = "crc32c=" + base64.b64encode(crc).decode()
            if fault == "wrong bytes":
                middle = len(content) // 2
                content = (
                    content[:middle]
                    + bytes(255 - b for b in content[middle : middle + 64])
                    + content[middle + 64 :]
                )
            if fault == "wrong head":
                content = bytes(16) + content[16:]
            self._headers(200, len(content), **sums)
            if body:
                self.wfile.write(content[: len(content) // 2] if fault == "truncated" else content)
            if fault == "truncated":
                self.close_connection = True

        def _headers(self, status: int, length: int, **more: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(length), **more}.items():
                self.send_header(name, value)
            self.end_headers()

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """A client that was killed is no event."""

    server = Quiet(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
