"""Opening data: any Zarr, NetCDF or GRIB becomes the canonical dataset; choosing and checking fields."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path

import numpy as np
import xarray as xr

from atmorep_lite.data.canonical import canonical
from atmorep_lite.data.folders import data_files, read_files
from atmorep_lite.data.reading import is_zarr, read
from atmorep_lite.errors import UserError
from atmorep_lite.fields import canonical_name


def open_dataset(path: str | os.PathLike[str], *, leave_out_conflicts: bool = False) -> xr.Dataset:
    """Open atmospheric data lazily, in the canonical layout.

    Parameters
    ----------
    path
        A Zarr store (folder, ``.zip``, or URL beginning with http, gs or s3), a NetCDF or a GRIB file, a zip
        file of such, a folder of such, or a pattern such as ``"era5/*.nc"``.
    leave_out_conflicts
        Leave out times that occur twice with different values instead of raising; the attribute
        ``found_on_opening`` tells them.

    Returns
    -------
    xr.Dataset
        ERA5 long names; dims ``(time, [prediction_timedelta], [number], level, latitude, longitude)``;
        latitude from north to south, longitude ascending from within 0 ... 360 (a region across Greenwich
        runs past 360), level ascending in hPa (or the number of a model level, told by
        ``ds.level.attrs["level_type"]``), SI units.  Surface fields have no ``level``, static ones no
        ``time``.  Variables that are no known field keep their name and units.

    Raises
    ------
    UserError
        If there is nothing to read, or it is damaged, or it cannot be put into this layout.

    Examples
    --------
    >>> ds = open_dataset("era5.zarr")  # doctest: +SKIP
    >>> ds.temperature.sel(level=500)  # doctest: +SKIP
    """
    try:
        return _opened(os.fspath(path), leave_out_conflicts)
    except UserError as error:
        if os.fspath(path) in str(error):
            raise
        raise UserError(f"{os.fspath(path)}: {error}") from error.__cause__


def _opened(path: str, leave_out: bool) -> xr.Dataset:
    place = Path(path).expanduser()
    if "://" in path or is_zarr(place):
        return canonical(read(path), leave_out=leave_out)
    if "*" in path and not place.exists():
        files = sorted(Path(name) for name in glob.glob(str(place), recursive=True))
        if not files:
            raise UserError(f"there is no file like {path}; check the path")
        return read_files(files, leave_out=leave_out)
    if place.is_dir():
        files = data_files(place)
        if not files:
            raise UserError(
                f"the folder {place} is not a Zarr store and holds no Zarr, NetCDF or GRIB; check the path"
            )
        return read_files(files, leave_out=leave_out)
    return canonical(read(path), leave_out=leave_out)


def select(
    dataset: xr.Dataset, fields: Iterable[str], levels: Sequence[Real] | np.ndarray | None = None
) -> xr.Dataset:
    """The named fields on the given levels, in the order asked for.

    Parameters
    ----------
    dataset
        A canonical dataset.
    fields
        Names in any spelling that :func:`atmorep_lite.fields.canonical_name` accepts; a variable of the
        dataset that is no known field is named as it stands there.
    levels
        Pressures in hPa (or model-level numbers); None for all.

    Raises
    ------
    UserError
        If a field or level is not there, with what is; if a level is not a number.
    """
    if isinstance(fields, str):
        fields = [fields]
    chosen = dataset[[_name_in(dataset, name) for name in fields]]
    return chosen if levels is None else chosen.isel(level=_level_indices(chosen, levels))


def _level_indices(dataset: xr.Dataset, levels: Sequence[Real] | np.ndarray) -> list[int]:
    if isinstance(levels, str | Real):
        raise UserError(f"levels must be a list of numbers in hPa, such as [500], not {levels!r}")
    for level in levels:
        if not isinstance(level, Real):
            raise UserError(f"levels must be numbers in hPa, such as 500, not {level!r}")
    if "level" not in dataset.dims:
        raise UserError(f"{', '.join(map(str, dataset.data_vars))} has no levels; leave levels out")
    available = dataset["level"].values.astype(float)
    indices = []
    for level in levels:
        (found,) = np.nonzero(np.isclose(available, float(level), rtol=0.0, atol=1e-3))
        if not len(found):
            unit = "" if dataset["level"].attrs.get("level_type") == "model" else " hPa"
            have = ", ".join(f"{a:g}" for a in available)
            raise UserError(f"the data have no level {float(level):g}{unit}; they have {have}{unit}")
        indices.append(int(found[0]))
    return indices


def check_finite(dataset: xr.Dataset, fields: Iterable[str] | None = None) -> None:
    """Make sure that every value of the fields is a finite number.  Reads them once, chunk by chunk.

    Raises
    ------
    UserError
        Naming the first field with a NaN or an infinity, the first such time and how many there are.
    """
    names = list(dataset.data_vars) if fields is None else [_name_in(dataset, name) for name in fields]
    for name in names:
        bad = xr.apply_ufunc(np.isfinite, dataset[name], dask="allowed").__invert__()
        number = bad.sum([dim for dim in bad.dims if dim != "time"]).compute()
        total = int(number.sum())
        if not total:
            continue
        where = ""
        if "time" in number.dims:
            times = number["time"].values[number.values > 0]
            first = np.datetime_as_string(times[0], "m")
            where = f" at {len(times)} of {number.sizes['time']} times, first at {first}"
        raise UserError(
            f"{name} has {total} values that are NaN or infinite{where}; fill them or select other times"
        )


def _name_in(dataset: xr.Dataset, name: str) -> str:
    known = name if name in dataset.data_vars else canonical_name(name)
    if known not in dataset.data_vars:
        available = ", ".join(map(str, dataset.data_vars)) or "nothing"
        raise UserError(f"the data have no {known}; they have {available}")
    return known
