"""The files of a prepared store: coordinates and statistics first, then block by block the fields.

Each block is a file of its own that appears when it is complete, so that an interrupted preparation knows
what is still to be done.  Used by :mod:`atmorep_lite.data.prepare`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from atmorep_lite.data.moments import Moments
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError

LARGEST = 32767  # of 16-bit integers
MISSING = -32768
SLACK = 1.01  # the scale is that of the record's extremes, in float64; blocks are normalised in float32


def write_frame(
    group: zarr.Group,
    wanted: xr.Dataset,
    moments: dict[str, Moments],
    normalizer: Normalizer,
    chunk_megabytes: float,
) -> None:
    """Coordinates, statistics, and empty arrays for the fields."""
    time = wanted["time"].values.astype("datetime64[s]")
    since = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    write_array(group, "time", time.astype(np.int64), ("time",), since)
    for axis in ("level", "latitude", "longitude"):
        if axis in wanted.coords:
            write_array(group, axis, wanted[axis].values, (axis,), dict(wanted[axis].attrs))
    gaps = len(next(iter(moments.values())).pairs)
    write_array(group, "gap", np.arange(1, gaps + 1), ("gap",), {"long_name": "time steps between"})
    if "month" in normalizer.mean.dims:
        write_array(group, "month", normalizer.mean["month"].values.astype(np.int32), ("month",))
    for name, variable in normalizer.to_dataset().items():
        write_array(group, str(name), variable.values, tuple(map(str, variable.dims)))
    for name in map(str, wanted.data_vars):
        variable, found = wanted[name], moments[name]
        mean, std = normalizer.mean[name], normalizer.std[name]
        change = (found.changes[name] ** 0.5 / _typical(std)).transpose("gap", ...)
        write_array(group, f"change_{name}", change.values.astype(np.float32), tuple(map(str, change.dims)))
        if "month" in mean.dims:
            mean, std = (
                part.sel(month=found.rows).rename(month="row").drop_vars("row") for part in (mean, std)
            )
        extremes = [abs((getattr(found, side)[name] - mean) / std).max() for side in ("low", "high")]
        a_step = int(np.prod(variable.shape[1:])) * 2
        block = max(1, min(variable.shape[0], int(chunk_megabytes * 1e6 / a_step)))
        group.create_array(
            name,
            shape=variable.shape,
            chunks=(block, *variable.shape[1:]),
            dtype="<i2",
            compressors=None,
            fill_value=MISSING,
            dimension_names=tuple(map(str, variable.dims)),
            attributes={
                **{key: str(value) for key, value in variable.attrs.items()},
                "units": "1",
                "scale_factor": float(max(extremes)) / LARGEST,
                "units_before": str(variable.attrs.get("units", "")),
            },
        )


def _typical(std: xr.DataArray) -> xr.DataArray:
    """``[(level)]``: area-weighted root mean square of standard deviations by grid point or month."""
    square = std.astype(float) ** 2
    if "month" in square.dims:
        square = square.mean("month")
    if "latitude" in square.dims:
        weights = xr.DataArray(np.cos(np.deg2rad(square["latitude"])))
        square = square.weighted(weights).mean(("latitude", "longitude"))
    return square**0.5


def write_array(
    group: zarr.Group,
    name: str,
    values: np.ndarray,
    dims: tuple[str, ...],
    attrs: dict[str, Any] | None = None,
) -> None:
    group.create_array(name, data=np.ascontiguousarray(values), dimension_names=dims, attributes=attrs or {})


def missing_blocks(out: Path, group: zarr.Group, names: Sequence[str]) -> list[tuple[str, slice]]:
    """Field and times of every block whose file is not there, or not whole."""
    missing = []
    for name in names:
        array = group[name]
        assert isinstance(array, zarr.Array)
        block = array.chunks[0]
        size = int(np.prod(array.chunks)) * array.dtype.itemsize
        for start in range(0, array.shape[0], block):
            file = out.joinpath(name, "c", str(start // block), *"0" * (array.ndim - 1))
            if not file.is_file() or file.stat().st_size != size:
                missing.append((name, slice(start, start + block)))
    return missing


def write_blocks(
    out: Path, group: zarr.Group, wanted: xr.Dataset, names: Sequence[str], report: Callable[[str], None]
) -> None:
    """Write the blocks that are not there yet, as many at once as there are threads or cluster workers.

    Raises
    ------
    UserError
        If the disk has no room for them, or the data have changed since the statistics were made.
    """
    import dask

    for name in names:
        for unfinished in (out / name).rglob("*.partial"):  # of a process that was killed while it wrote
            unfinished.unlink()
    sound = _values(group, "sound") if "sound" in group else np.ones(wanted.sizes["time"], bool)
    month = wanted["time"].dt.month.values
    tasks, volume = [], 0
    folder = str(out.resolve())  # workers of a cluster may have been started elsewhere
    for name, part in missing_blocks(out, group, names):
        array = group[name]
        assert isinstance(array, zarr.Array)
        piece = wanted[name].isel(time=part).data
        tasks.append(dask.delayed(_write_block)(folder, name, part.start, piece, month[part], sound[part]))
        volume += int(np.prod(array.chunks)) * array.dtype.itemsize
    free = shutil.disk_usage(out).free
    if volume > free:
        raise UserError(
            f"{out} needs {volume / 1e9:,.1f} GB more, but its disk has {free / 1e9:,.1f} GB free; "
            "make room and run the same command again"
        )
    report(f"{len(tasks)} chunks to write.")
    at_once = _workers()
    for i in range(0, len(tasks), at_once):
        dask.compute(*tasks[i : i + at_once])
        report(f"{min(i + at_once, len(tasks))} of {len(tasks)} chunks written.")


def _workers() -> int:
    """Threads of the active dask cluster, or of this machine."""
    if "distributed" in sys.modules:
        from distributed import default_client

        try:
            return max(1, sum(default_client().nthreads().values()))
        except ValueError:  # no client
            pass
    return os.cpu_count() or 1


def _values(group: zarr.Group, name: str) -> np.ndarray:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[...])


def _write_block(out: str, name: str, start: int, values: Any, month: np.ndarray, sound: np.ndarray) -> None:
    """Normalise and pack some times; ``month`` and ``sound`` are ``[time]``.

    Statistics are read here, where the block is made: they are large, and this may be another machine.
    """
    group = zarr.open_group(out, mode="r+")
    array = group[name]
    assert isinstance(array, zarr.Array)
    array = array.with_config({"write_empty_chunks": True})  # a block of nothing but unsound times
    values = np.asarray(values, np.float32)
    scale = np.float32(str(array.attrs["scale_factor"]))
    packed = np.full(values.shape, MISSING, np.int16)
    for one in np.unique(month[sound]):
        chosen = np.flatnonzero(sound & (month == one))
        mean, std = (
            _statistics_of(group, f"{part}_{name}", int(one), array.ndim - 1) for part in ("mean", "std")
        )
        numbers = np.rint((values[chosen] - mean) / (std * scale))
        if not (np.abs(numbers) <= SLACK * LARGEST).all():  # nor if NaN
            raise UserError(
                f"{name} has NaN or extremes that were not there before; the data have changed since their "
                "statistics were made, prepare them anew"
            )
        packed[chosen] = numbers.clip(-LARGEST, LARGEST)
    array[start : start + len(packed)] = packed


def _statistics_of(group: zarr.Group, name: str, month: int, axes: int) -> np.ndarray:
    """``[(level)]`` or ``[(level), y, x]`` of one month, with as many axes as ``[(level), y, x]``."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    if "month" in (array.metadata.dimension_names or ()):  # type: ignore[union-attr]
        index = int(np.flatnonzero(_values(group, "month") == month)[0])
        values = np.asarray(array[index])
    else:
        values = np.asarray(array[...])
    return values.reshape(*values.shape, *[1] * (axes - values.ndim))
