"""Layouts of other projects that no general rule can read: the Zarr store of the published AtmoRep code.

All fields on levels are one array ``data[time, field, level, lat, lon]`` and those of the surface another,
``data_sfc[time, field, lat, lon]``; their names are in the store's attributes; ``lats`` counts degrees from
the North Pole; the dimensions have no names (``datasets/multifield_data_sampler.py`` of clessig/atmorep).
Its older layout, a folder of monthly GRIB files, is read as any folder of files
(:mod:`atmorep_lite.data.folders`).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr
import zarr

MODEL_LEVELS = 137  # of the ECMWF model behind ERA5
_MONTHLY = re.compile(r"era5_.+_y(\d{4})_m(\d{2})_(?:ml|pl)\d+\.grib$")


def is_published(group: zarr.Group) -> bool:
    """Whether a store has the layout of the published code."""
    return "fields" in group.attrs and all(name in group for name in ("data", "time", "lats", "lons"))


def read_published(group: zarr.Group) -> xr.Dataset:
    """The fields of such a store, lazily, each a variable with named dimensions."""
    import dask.array

    def lazy(name: str) -> Any:
        return dask.array.from_zarr(group[name])

    space = ("latitude", "longitude")
    variables: dict[str, Any] = {}
    for number, field in enumerate(_listed(group, "fields")):
        variables[field] = (("time", "level", *space), lazy("data")[:, number])
    for number, field in enumerate(_listed(group, "fields_sfc")):
        variables[field] = (("time", *space), lazy("data_sfc")[:, number])
    levels = np.array(_listed(group, "levels"), float)
    kind = {"level_type": "model"} if levels.size and levels.max() <= MODEL_LEVELS else {"units": "hPa"}
    times = group["time"]
    assert isinstance(times, zarr.Array)
    found = xr.Dataset(
        variables,
        coords={
            "time": ("time", np.asarray(times[...]), dict(times.attrs)),
            "latitude": ("latitude", 90.0 - np.asarray(group["lats"][...], float)),  # type: ignore[index]
            "longitude": ("longitude", np.asarray(group["lons"][...], float)),  # type: ignore[index]
        },
    )
    if levels.size:
        found = found.assign_coords(level=("level", levels, kind))
    return xr.decode_cf(found)


def _listed(group: zarr.Group, name: str) -> list[Any]:
    value = group.attrs.get(name, [])
    return list(value) if isinstance(value, list | tuple) else []


def month_of_file(name: str) -> np.datetime64 | None:
    """The month that a file of the published GRIB folders is for, by its name; None for any other file.

    The download asked for 31 days of every month, so that a file may run into the next month, whose own file
    holds these days too.

    Examples
    --------
    >>> month_of_file("era5_vorticity_y2021_m02_ml137.grib")
    np.datetime64('2021-02')
    """
    found = _MONTHLY.search(name)
    return None if found is None else np.datetime64(f"{found[1]}-{found[2]}")
