"""A folder of many files as one record: joined along time and level, merged by variable, gaps told."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from atmorep_lite.data.axes import AXES
from atmorep_lite.data.canonical import canonical
from atmorep_lite.data.layouts import month_of_file
from atmorep_lite.data.quality import FOUND, times_in_words
from atmorep_lite.data.reading import is_data, is_zarr, read
from atmorep_lite.data.repeats import without_repeats
from atmorep_lite.errors import UserError


@dataclass(frozen=True)
class _Piece:
    """One variable of one file, on some levels."""

    file: Path
    values: xr.DataArray

    @property
    def levels(self) -> tuple[float, ...]:
        return tuple(self.values["level"].values.tolist()) if "level" in self.values.dims else ()


def data_files(folder: Path) -> list[Path]:
    """All Zarr stores, NetCDF, GRIB and zip files in a folder and its subfolders, told by their content."""
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if is_zarr(path):
                yield path
            else:
                yield from _walk(path)
        elif is_data(path):
            yield path


def read_files(files: Sequence[Path], *, leave_out: bool = False) -> xr.Dataset:
    """Files in any of the readable formats, joined into one canonical dataset.

    Variables, levels and times may be spread over the files in any way, as long as all are on one grid.  A
    time given twice is treated as in :func:`~atmorep_lite.data.repeats.without_repeats`.  Where one variable
    lacks times that others have, it is filled with NaN, and the attribute
    :data:`~atmorep_lite.data.quality.FOUND` says so.

    Raises
    ------
    UserError
        If the files are on different grids or kinds of levels, or cannot be joined.
    """
    pieces: dict[str, list[_Piece]] = {}
    first: tuple[Path, xr.Dataset] | None = None
    on_levels: tuple[Path, xr.Dataset] | None = None
    attrs: list[dict[Hashable, Any]] = []
    for file in files:
        dataset = canonical(read(file), leave_out=leave_out)
        attrs.append(dataset.attrs)
        month = month_of_file(file.name)
        if month is not None:
            dataset = dataset.isel(time=dataset["time"].values.astype("datetime64[M]") == month)
        first = first or (file, dataset)
        _check_grid(*first, file, dataset)
        if "level" in dataset.dims:
            on_levels = on_levels or (file, dataset)
            _check_levels(*on_levels, file, dataset)
        dataset = dataset.assign_coords({axis: first[1][axis] for axis in ("latitude", "longitude")})
        for name, variable in dataset.data_vars.items():
            if {"latitude", "longitude"} <= set(variable.dims):
                pieces.setdefault(str(name), []).append(_Piece(file, variable))
    if first is None or not pieces:
        raise UserError(f"there is no field with latitude and longitude in {files[0].parent}; check the path")
    parts, covered = [], []
    for name, found in pieces.items():
        joined, times = _joined(name, found, leave_out)
        parts.append(joined)
        covered += [(name, *each) for each in times]
    try:
        merged = xr.merge(parts, join="outer", compat="no_conflicts", combine_attrs="override")
    except (ValueError, xr.MergeError) as error:
        raise UserError(f"the files of {files[0].parent} cannot be merged ({error})") from error
    attrs += [part.attrs for part in parts]
    merged.attrs = first[1].attrs | _told(attrs, covered, merged)
    ordered = {
        name: variable.transpose(*(axis for axis in AXES if axis in variable.dims), ...)
        for name, variable in merged.data_vars.items()
    }
    return merged.assign(ordered)


def _check_grid(origin: Path, one: xr.Dataset, file: Path, other: xr.Dataset) -> None:
    for axis in ("latitude", "longitude"):
        if one.sizes[axis] != other.sizes[axis] or not np.allclose(one[axis], other[axis], atol=1e-4):
            raise UserError(
                f"{file} is on another grid than {origin} ({_size(other)} points, not {_size(one)}, or "
                f"elsewhere in {axis}); keep files of different grids in different folders"
            )


def _check_levels(origin: Path, one: xr.Dataset, file: Path, other: xr.Dataset) -> None:
    if one["level"].attrs.get("level_type") != other["level"].attrs.get("level_type"):
        raise UserError(
            f"of {file} and {origin} one has model levels and the other pressure levels; "
            "keep them in different folders"
        )


def _size(dataset: xr.Dataset) -> str:
    return f"{dataset.sizes['latitude']} x {dataset.sizes['longitude']}"


def _joined(
    name: str, pieces: list[_Piece], leave_out: bool
) -> tuple[xr.Dataset, list[tuple[tuple[float, ...], np.ndarray]]]:
    """One variable of all files, and at which times it is there, for each group of levels."""
    if not any("time" in piece.values.dims for piece in pieces):
        return pieces[0].values.to_dataset(name=name), []
    groups: dict[tuple[float, ...], list[xr.DataArray]] = {}
    sets = {piece.levels for piece in pieces}
    apart = sum(map(len, sets)) > len(set().union(*sets))  # a level belongs to several sets
    for piece in pieces:
        for levels in [(level,) for level in piece.levels] if apart else [piece.levels]:
            chosen = piece.values.sel(level=list(levels)) if levels else piece.values
            groups.setdefault(levels, []).append(chosen)
    parts = []
    for arrays in groups.values():
        try:
            joined = xr.concat(arrays, "time", coords="minimal", compat="override", join="exact")
        except ValueError as error:
            files = f"{pieces[0].file} and {pieces[-1].file}"
            raise UserError(f"{name} of {files} cannot be joined along time ({error})") from error
        parts.append(without_repeats(joined.to_dataset(name=name), leave_out=leave_out))
    if len(parts) == 1:
        return parts[0], [((), parts[0]["time"].values)]
    times = [(levels, part["time"].values) for levels, part in zip(groups, parts, strict=True)]
    whole = xr.concat(parts, "level", join="outer", combine_attrs="drop_conflicts").sortby("level")
    whole.attrs |= _told([part.attrs for part in parts], [], whole)
    whole[name].attrs = parts[0][name].attrs
    whole["level"].attrs = parts[0]["level"].attrs
    return whole, times


def _told(
    attrs: Sequence[Mapping[Hashable, Any]],
    covered: list[tuple[str, tuple[float, ...], np.ndarray]],
    whole: xr.Dataset,
) -> dict[str, str]:
    """Attributes that say what was found and mended in the parts, and where some of them lack times.

    ``attrs`` are those of the parts.
    """
    found = [item for each in attrs for item in json.loads(each.get(FOUND, "[]"))]
    for name, levels, times in covered:
        lacking = np.setdiff1d(whole["time"].values, times)
        if len(lacking):
            on = (
                f" on level {', '.join(f'{level:g}' for level in levels)}"
                if len(covered) > 1 and levels
                else ""
            )
            words = f"missing{on} at {times_in_words(lacking)} that other fields have"
            found.append(["missing times", name, words])
    mended = "; ".join(dict.fromkeys(each["repaired"] for each in attrs if "repaired" in each))
    return ({FOUND: json.dumps(found)} if found else {}) | ({"repaired": mended} if mended else {})
