"""Preparing a record for training: read once, normalised, packed and laid out as training reads it.

A neighbourhood needs all levels of some hours in a small region.  An archive's chunks hold the whole globe,
so that cutting one neighbourhood reads thousands of times more than it uses.  The prepared store holds each
field as ``[time, level, latitude, longitude]``, 16-bit integers of normalised values, in uncompressed chunks
of some hours each.  It is a plain Zarr store (format 3) that any Zarr library opens; and since the file of an
uncompressed chunk is nothing but its numbers, training maps it into memory and touches only the rows that it
needs (:mod:`atmorep_lite.data.prepared`).
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from atmorep_lite.config import ModelConfig
from atmorep_lite.data.axes import STATIC_FIELDS
from atmorep_lite.data.bad_times import bad_times, together
from atmorep_lite.data.derive import with_derived
from atmorep_lite.data.moments import Moments, fit_moments
from atmorep_lite.data.normalisation import Kind, Normalizer
from atmorep_lite.data.opening import select
from atmorep_lite.data.quality import examine, refuse, regular_times, repaired
from atmorep_lite.data.writing import missing_blocks, write_array, write_blocks, write_frame
from atmorep_lite.errors import UserError

FORMAT = 2
GRID = ("latitude", "longitude")
SKIP_HINT = "or leave the wrong times out with --skip-bad (`data info --all` lists them)"


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
    skip_bad: bool = False,
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
        Look for mistakes (:func:`~atmorep_lite.data.quality.examine`) and mend what has one meaning only;
        then every time is looked at while the statistics are computed.  Without it only NaN are refused.
    skip_bad
        Leave out times that are missing or wrong instead of refusing the record.  The store keeps an axis of
        equally spaced times; its variable ``sound`` says which of them can be used.
    report
        Told what is being done.

    Raises
    ------
    UserError
        If a field is missing, has gaps or looks wrong, all mistakes together; if ``out`` holds something
        else, or the disk is full.  What was written until then is used when the same call is repeated.
    """
    out = Path(out)
    wanted = _chosen(dataset, fields, levels)
    if normalizer is not None:
        _check_statistics(normalizer, wanted)
        normalizer = Normalizer(_cut(normalizer.mean, wanted), _cut(normalizer.std, wanted))
    names = [str(name) for name in wanted.data_vars]
    plan: dict[str, Any] = {
        "format": FORMAT,
        "fields": names,
        "kind": kind if normalizer is None else "given",
        "statistics": None if normalizer is None else _digest(normalizer, names),
        "levels": [float(level) for level in np.atleast_1d(wanted.coords.get("level", []))],
        "times": _span(wanted),
        "all_times": _fingerprint(wanted["time"].values.astype("datetime64[s]").astype(np.int64)),
        "grid": _fingerprint(*(wanted[axis].values.astype(float).round(4) for axis in GRID)),
        "gaps": gaps,
        "check": check,
        "skip_bad": skip_bad,
    }
    group = _open_group(out, plan) if out.exists() else None
    if group is not None and "complete" in group.attrs and not missing_blocks(out, group, names):
        report(f"{out} is complete already.")
        return out
    wanted, turned = _sound(wanted, check, skip_bad, report)
    with _full_disk_told(out):
        if group is None or "framed" not in group.attrs:
            report(f"Statistics of {wanted.sizes['time']:,} times.")
            moments = _all_moments(wanted, kind, gaps, normalizer, check, skip_bad)
            sound = _sound_times(wanted, moments, skip_bad, report)
            if normalizer is None:
                parts = [Normalizer.from_moments(part, kind) for part in moments.values()]
                mean, std = (xr.merge([getattr(p, s) for p in parts], join="outer") for s in ("mean", "std"))
                normalizer = Normalizer(mean, std)
            group = zarr.open_group(out, mode="w", zarr_format=3, attributes={"prepared": plan})
            write_frame(group, wanted, moments, normalizer, chunk_megabytes)
            if skip_bad:
                write_array(group, "sound", sound, ("time",), {"long_name": "whether the time can be used"})
            for name in STATIC_FIELDS:
                if name in dataset:
                    map_ = dataset[name].transpose(*GRID)
                    values = (map_[::-1] if turned else map_).values.astype(np.float32)
                    write_array(group, name, values, ("latitude", "longitude"))
            group.attrs["framed"] = True
        write_blocks(out, group, wanted, names, report)
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
    return chosen.transpose("time", ..., "latitude", "longitude")


def _sound(
    wanted: xr.Dataset, check: bool, skip_bad: bool, report: Callable[[str], None]
) -> tuple[xr.Dataset, bool]:
    """Mended and with equally spaced times, or refused; and whether south and north were swapped for that.

    Reads few times: a look before the long reading.
    """
    turned = False
    if check:
        found = examine(wanted)
        turned = any(finding.kind == "upside down" for finding in found)
        for finding in found:
            if finding.repairable:
                report(f"Mended {finding.name}: {finding.words}.")
        wanted, rest = repaired(wanted, found)
        if not skip_bad:
            refuse(rest, advice=SKIP_HINT)
    regular = regular_times(wanted["time"].values)
    if np.array_equal(regular, wanted["time"].values):
        return wanted, turned
    if not skip_bad:
        raise UserError(
            f"the time steps of the data are not equally spaced; select a gap-free period, {SKIP_HINT}"
        )
    return wanted.reindex(time=regular), turned


def _all_moments(
    wanted: xr.Dataset, kind: Kind, gaps: int, given: Normalizer | None, check: bool, skip_bad: bool
) -> dict[str, Moments]:
    """Moments field by field, so that those of one field at a time are in memory."""
    moments = {}
    for name in map(str, wanted.data_vars):
        by_month = kind.startswith("monthly_") if given is None else "month" in given.mean[name].dims
        moments[name] = fit_moments(
            wanted[[name]],
            by_month=by_month,
            gaps=gaps,
            inspect=partial(bad_times, plausible=check),
            skip_bad=skip_bad,
        )
    return moments


def _sound_times(
    wanted: xr.Dataset, moments: dict[str, Moments], skip_bad: bool, report: Callable[[str], None]
) -> np.ndarray:
    """``[time]``: whether no field is wrong; if one is, it is refused or reported."""
    bad = [one for part in moments.values() for one in part.bad]
    findings = together(bad)
    if not skip_bad:
        refuse(findings, advice=SKIP_HINT)
    sound = ~np.isin(wanted["time"].values, [one.time for one in bad])
    for finding in findings:
        report(f"Skipped {finding.name}: {finding.words}.")
    report(f"{sound.sum():,} of {len(sound):,} times are sound.")
    return sound


def _check_statistics(normalizer: Normalizer, wanted: xr.Dataset) -> None:
    for name, variable in wanted.data_vars.items():
        levels = variable.coords.get("level")
        known = name in normalizer.mean and name in normalizer.std
        if not known or (levels is not None and not np.isin(levels, normalizer.mean[name]["level"]).all()):
            raise UserError(f"the statistics to use have no {name}, or not on all levels; leave it out")
        normalizer.normalize(wanted[[name]].isel(time=slice(0, 1)))  # lazily: the grid must fit
        if "month" in normalizer.mean[name].dims:
            lacking = np.setdiff1d(wanted["time"].dt.month, normalizer.mean["month"])
            if len(lacking):
                raise UserError(f"the statistics to use have no month {lacking[0]}; leave it out")


def _cut(statistics: xr.Dataset, wanted: xr.Dataset) -> xr.Dataset:
    """The statistics of the wanted fields, on the wanted levels in their order, with the data's grid."""
    chosen = statistics[list(wanted.data_vars)]
    if "level" in chosen.dims and "level" in wanted.dims:
        chosen = chosen.sel(level=wanted["level"])
    return chosen.assign_coords({axis: wanted[axis] for axis in GRID if axis in chosen.dims})


def _digest(normalizer: Normalizer, names: Sequence[str]) -> str:
    """A fingerprint of the statistics of some fields."""
    return _fingerprint(*(part[name].values for part in (normalizer.mean, normalizer.std) for name in names))


def _fingerprint(*arrays: np.ndarray) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _span(dataset: xr.Dataset) -> list[str]:
    return [str(dataset["time"].values[k])[:19] for k in (0, -1)]


def _open_group(out: Path, plan: dict[str, Any]) -> zarr.Group:
    if out.exists() and (not out.is_dir() or (not (out / "zarr.json").exists() and any(out.iterdir()))):
        raise UserError(f"{out} holds something else; choose another name for the prepared store")
    group = zarr.open_group(out, mode="a", zarr_format=3)
    found: Any = group.attrs.get("prepared")
    if found is None and len(list(group.keys())):
        raise UserError(f"{out} is another Zarr store; choose another name for the prepared one")
    if found is not None and {**plan, **found} != plan:  # older stores say less
        raise UserError(
            f"{out} was begun with other fields, times, statistics or options, or on another grid; "
            "remove it or choose another name"
        )
    return group


@contextmanager
def _full_disk_told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"the disk of {out} is full; make room and run the same command again, "
            "which goes on where this one stopped"
        ) from error
