"""Preparing a record for training: read once, normalised, packed and laid out as training reads it.

A neighbourhood needs all levels of some hours in a small region.  An archive's chunks hold the whole globe,
so that cutting one neighbourhood reads thousands of times more than it uses.  The prepared store holds each
field as ``[time, level, latitude, longitude]``, 16-bit integers of normalised values, in uncompressed chunks
of some hours each.  It is a plain Zarr store (format 3) that any Zarr library opens; and since the file of an
uncompressed chunk is nothing but its numbers, training maps it into memory and touches only the rows that it
needs (:mod:`atmorep_lite.data.prepared`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from atmorep_lite.config import ModelConfig
from atmorep_lite.data.canonical import STATIC_FIELDS
from atmorep_lite.data.derive import with_derived
from atmorep_lite.data.moments import Moments, fit_moments
from atmorep_lite.data.normalisation import Kind, Normalizer
from atmorep_lite.data.opening import select
from atmorep_lite.data.quality import examine, refuse, repaired
from atmorep_lite.errors import UserError

FORMAT = 1
LARGEST = 32767  # of 16-bit integers
MISSING = -32768


def prepare(
    dataset: xr.Dataset,
    out: str | os.PathLike[str],
    fields: Sequence[str],
    *,
    levels: Sequence[int] | None = None,
    kind: Kind = "anomaly",
    gaps: int = 36,
    chunk_megabytes: float = 64.0,
    normalizer: Normalizer | None = None,
    check: bool = True,
    report: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write a prepared store; interrupted, it goes on where it stopped.

    Parameters
    ----------
    dataset
        Canonical data, lazy.  Fields that it lacks are derived where that is possible.
    fields, levels
        What to keep; all levels by default.  Surface fields have none.
    kind
        Normalisation, as for :class:`~atmorep_lite.data.normalisation.Normalizer`.
    gaps
        Changes over 1 ... ``gaps`` steps are measured, for models that predict departures.
    normalizer
        Statistics to use instead of this record's, for data that a trained model shall read.
    check
        Look for mistakes (:func:`~atmorep_lite.data.quality.examine`) and mend what has one meaning only.
    report
        Told what is being done.

    Raises
    ------
    UserError
        If a field is missing, has gaps or looks wrong; if ``out`` holds something else.
    """
    out = Path(out)
    wanted = _chosen(dataset, fields, levels)
    if normalizer is not None:
        _check_statistics(normalizer, wanted)
    names = [str(name) for name in wanted.data_vars]
    plan: dict[str, Any] = {
        "format": FORMAT,
        "fields": names,
        "kind": kind if normalizer is None else "given",
        "levels": [float(level) for level in np.atleast_1d(wanted.coords.get("level", []))],
        "times": _span(wanted),
    }
    group = _open_group(out, plan) if out.exists() else None
    if group is not None and "complete" in group.attrs:
        report(f"{out} is complete already.")
        return out
    if check:
        wanted = _sound(wanted, report)
    if group is None or "framed" not in group.attrs:
        report(f"Statistics of {wanted.sizes['time']:,} times.")
        moments = fit_moments(wanted, gaps=gaps)
        _check_finite(moments, names)
        normalizer = normalizer or Normalizer.from_moments(moments, kind)
        group = zarr.open_group(out, mode="w", zarr_format=3, attributes={"prepared": plan})
        _write_frame(group, wanted, moments, normalizer, chunk_megabytes)
        for name in STATIC_FIELDS:
            if name in dataset:
                _write_array(group, name, dataset[name].values.astype(np.float32), ("latitude", "longitude"))
        group.attrs["framed"] = True
    _write_blocks(out, group, wanted, names, report)
    group.attrs["complete"] = True
    return out


def wanted_by(model: ModelConfig) -> tuple[list[str], list[int]]:
    """The fields of a model, and all levels that any of them has."""
    levels = {level for f in model.fields for level in f.levels if f.levels != (0,)}
    return list(model.names), sorted(levels)


def _chosen(dataset: xr.Dataset, fields: Sequence[str], levels: Sequence[int] | None) -> xr.Dataset:
    full = with_derived(dataset, fields)
    chosen = select(full, fields)
    if levels is not None and "level" in chosen.dims:
        chosen = select(chosen, [str(name) for name in chosen.data_vars], np.asarray(levels))
    for axis in ("number", "prediction_timedelta"):
        if axis in chosen.dims:
            raise UserError(
                f"the data have the axis {axis}; select one {axis} of them, training wants analyses"
            )
    spacing = np.diff(chosen["time"].values)
    if len(spacing) and (spacing != spacing[0]).any():
        raise UserError("the time steps of the data are not equally spaced; select a gap-free period")
    return chosen.transpose("time", ..., "latitude", "longitude")


def _sound(wanted: xr.Dataset, report: Callable[[str], None]) -> xr.Dataset:
    found = examine(wanted)
    for finding in found:
        if finding.repairable:
            report(f"Mended {finding.name}: {finding.words}.")
    wanted, rest = repaired(wanted, found)
    refuse(rest)
    return wanted


def _check_statistics(normalizer: Normalizer, wanted: xr.Dataset) -> None:
    for name, variable in wanted.data_vars.items():
        levels = variable.coords.get("level")
        known = name in normalizer.mean and name in normalizer.std
        if not known or (levels is not None and not np.isin(levels, normalizer.mean[name]["level"]).all()):
            raise UserError(f"the statistics to use have no {name}, or not on all levels; leave it out")


def _span(dataset: xr.Dataset) -> list[str]:
    return [str(dataset["time"].values[k])[:19] for k in (0, -1)]


def _open_group(out: Path, plan: dict[str, Any]) -> zarr.Group:
    if out.exists() and (not out.is_dir() or (not (out / "zarr.json").exists() and any(out.iterdir()))):
        raise UserError(f"{out} holds something else; choose another name for the prepared store")
    group = zarr.open_group(out, mode="a", zarr_format=3)
    found = group.attrs.get("prepared")
    if found is None and len(list(group.keys())):
        raise UserError(f"{out} is another Zarr store; choose another name for the prepared one")
    if found is not None and found != plan:
        raise UserError(
            f"{out} was begun with other fields, times or normalisation; remove it or choose another name"
        )
    return group


def _check_finite(moments: Moments, names: Sequence[str]) -> None:
    for name in names:
        if not np.isfinite(moments.mean[name].values).all():
            raise UserError(f"{name} has values that are NaN or infinite; fill them or select other times")


def _write_frame(
    group: zarr.Group, wanted: xr.Dataset, moments: Moments, normalizer: Normalizer, chunk_megabytes: float
) -> None:
    """Coordinates, statistics, and empty arrays for the fields."""
    time = wanted["time"].values.astype("datetime64[s]")
    since = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    _write_array(group, "time", time.astype(np.int64), ("time",), since)
    for axis in ("level", "latitude", "longitude"):
        if axis in wanted.coords:
            _write_array(group, axis, wanted[axis].values, (axis,), dict(wanted[axis].attrs))
    _write_array(group, "gap", np.arange(1, len(moments.pairs) + 1), ("gap",))
    for name, variable in normalizer.to_dataset().items():
        _write_array(group, str(name), variable.values, tuple(map(str, variable.dims)))
    for name in map(str, wanted.data_vars):
        variable = wanted[name]
        mean, std = normalizer.mean[name], normalizer.std[name]
        typical = std.mean(set(std.dims) & {"latitude", "longitude"})
        change = (moments.changes[name] ** 0.5 / typical).transpose("gap", ...)
        _write_array(group, f"change_{name}", change.values.astype(np.float32), tuple(map(str, change.dims)))
        extremes = [abs((getattr(moments, side)[name] - mean) / std).max() for side in ("low", "high")]
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


def _write_array(
    group: zarr.Group,
    name: str,
    values: np.ndarray,
    dims: tuple[str, ...],
    attrs: dict[str, Any] | None = None,
) -> None:
    group.create_array(name, data=np.ascontiguousarray(values), dimension_names=dims, attributes=attrs or {})


def _write_blocks(
    out: Path, group: zarr.Group, wanted: xr.Dataset, names: Sequence[str], report: Callable[[str], None]
) -> None:
    import dask

    tasks = []
    for name in names:
        array = group[name]
        assert isinstance(array, zarr.Array)
        block = array.chunks[0]
        frame = [_beside(_values(group, f"{part}_{name}"), array.ndim - 1) for part in ("mean", "std")]
        for start in range(0, array.shape[0], block):
            if (out / name / "c" / "/".join([str(start // block), *"0" * (array.ndim - 1)])).exists():
                continue
            piece = wanted[name].isel(time=slice(start, start + block)).data
            tasks.append(dask.delayed(_write_block)(str(out), name, start, piece, *frame))
    report(f"{len(tasks)} chunks to write.")
    together = os.cpu_count() or 1
    for i in range(0, len(tasks), together):
        dask.compute(*tasks[i : i + together])
        report(f"{min(i + together, len(tasks))} of {len(tasks)} chunks written.")


def _values(group: zarr.Group, name: str) -> np.ndarray:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[...])


def _beside(statistics: np.ndarray, axes: int) -> np.ndarray:
    """``[(level)]`` or ``[(level), y, x]``, with as many axes as ``[(level), y, x]``."""
    return statistics.reshape(*statistics.shape, *[1] * (axes - statistics.ndim))


def _write_block(out: str, name: str, start: int, values: Any, mean: np.ndarray, std: np.ndarray) -> None:
    array = zarr.open_group(out, mode="r+")[name]
    assert isinstance(array, zarr.Array)
    scale = np.float32(str(array.attrs["scale_factor"]))
    packed = np.rint((np.asarray(values, np.float32) - mean) / (std * scale))
    array[start : start + len(packed)] = packed.clip(-LARGEST, LARGEST).astype(np.int16)
