"""From whatever a file holds to the canonical layout: names, order of axes, directions, units.

Every step takes and returns an ``xr.Dataset`` and stays lazy, so each can be read and tested alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import xarray as xr

from atmorep_lite.data.axes import (
    AXES,
    STATIC_FIELDS,
    each_time_once,
    latitude_order,
    level_axis,
    longitude_order,
    named_axes,
    one_version,
    scalar_axes,
    time_axis,
)
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS, find_name, normal_units, to_si


def canonical(parts: Sequence[xr.Dataset], *, leave_out: bool = False) -> xr.Dataset:
    """Put datasets into the canonical layout and merge them into one.

    - Axes ``(time, [prediction_timedelta], [number], level, latitude, longitude)``, transposed by name.
      Surface fields have no ``level``; the two static fields have no ``time``.
    - Latitude from north to south.  Longitude ascending from a first value in 0 ... 360: a region across
      Greenwich runs past 360 (350 ... 362), so that neighbours stay neighbours; a meridian given twice
      (0 and 360) is kept once.
    - ``level`` ascending in hPa; for model levels their number, with ``attrs["level_type"] = "model"``.
    - Known fields under their ERA5 name in SI units; all other variables as they were.
    - A forecast's ``time`` is the initial time, ``prediction_timedelta`` the lead; an analysis has no lead.
    - Final and preliminary ERA5 (``expver`` 1 and 5) become one record; static fields are kept once.

    Times that occur twice are treated as in :func:`~atmorep_lite.data.repeats.without_repeats`.

    Raises
    ------
    UserError
        If latitude or longitude is missing or not regular, times are no dates or repeat with different
        values (unless ``leave_out``), units cannot be converted, or two variables are the same field.
    """
    ready = [_one(part, leave_out) for part in parts]
    if len(ready) == 1:
        merged = ready[0]
    else:
        for part in ready[1:]:
            for axis in ("latitude", "longitude"):
                if not part[axis].equals(ready[0][axis]):
                    raise UserError(
                        f"the file holds fields on several grids that differ in {axis}; split it first"
                    )
        attrs = ready[0].attrs
        merged = xr.merge(
            ready, join="outer", compat="no_conflicts", combine_attrs="drop_conflicts"
        ).assign_attrs(attrs)
    return _transposed(merged)


def _one(ds: xr.Dataset, leave_out: bool) -> xr.Dataset:
    steps: tuple[Callable[[xr.Dataset], xr.Dataset], ...] = (
        one_version,
        named_axes,
        time_axis,
        level_axis,
        _named_fields,
        _static_fields,
        partial(each_time_once, leave_out=leave_out),
        scalar_axes,
        _si_units,
        latitude_order,
        longitude_order,
    )
    ds = ds.copy()
    for step in steps:
        ds = step(ds)
    return ds.drop_encoding()


def _named_fields(ds: xr.Dataset) -> xr.Dataset:
    by_name: dict[str, str] = {}
    by_standard_name: dict[str, str] = {}
    has_scalar_level = "level" in ds.coords and "level" not in ds.dims
    for key, variable in ds.data_vars.items():
        name = str(key)
        if not {"latitude", "longitude"} <= set(variable.dims):
            continue
        surface = "level" not in variable.dims and not has_scalar_level
        field = find_name(name, surface=surface)
        names = by_name if field else by_standard_name
        field = field or find_name(name, str(variable.attrs.get("standard_name", "")), surface=surface)
        at_surface = variable.attrs.get("GRIB_typeOfLevel") == "surface" or (surface and name in ("z", "Z"))
        if field == "geopotential" and at_surface:
            field = "geopotential_at_surface"
        in_metres = normal_units(str(variable.attrs.get("units", ""))) == "m"
        if field is not None and FIELDS[field].units == "m2 s-2" and in_metres:
            # A height: never turned into a geopotential behind the user's back.
            field = None if FIELDS[field].surface else "geopotential_height"
        if field is not None and field in by_name.values() and names is by_name:
            other = next(old for old, new in by_name.items() if new == field)
            raise UserError(f"the variables {other!r} and {name!r} are both {field}; drop one of them")
        if field is not None:
            names[name] = field
    claimed = [*by_name.values(), *by_standard_name.values()]
    by_name |= {old: new for old, new in by_standard_name.items() if claimed.count(new) == 1}
    return ds.rename({old: new for old, new in by_name.items() if old != new})


def _static_fields(ds: xr.Dataset) -> xr.Dataset:
    """Downloads repeat the land-sea mask and the surface geopotential at every time; one is enough."""
    moving = [name for name in STATIC_FIELDS if name in ds and "time" in ds[name].dims]
    if not moving:
        return ds
    ds = ds.assign({name: ds[name].isel(time=0, drop=True) for name in moving})
    needed = any("time" in variable.dims for variable in ds.data_vars.values())
    return ds if needed else ds.drop_vars("time")


def _si_units(ds: xr.Dataset) -> xr.Dataset:
    for name, variable in ds.data_vars.items():
        field = FIELDS.get(str(name))
        if field is None:
            continue
        factor, offset = to_si(field.name, str(variable.attrs.get("units", field.units)))
        if (factor, offset) != (1.0, 0.0):
            variable = variable * np.float32(factor) + np.float32(offset)
        if variable.dtype != np.float32:
            variable = variable.astype(np.float32)
        attrs = {"units": field.units, "standard_name": field.standard_name, "long_name": field.long_name}
        ds[name] = variable.drop_attrs(deep=False).assign_attrs(attrs)
    return ds


def _transposed(ds: xr.Dataset) -> xr.Dataset:
    ordered = {
        name: variable.transpose(*(axis for axis in AXES if axis in variable.dims), ...)
        for name, variable in ds.data_vars.items()
    }
    coordinates = {axis: ds[axis] for axis in AXES if axis in ds.coords}
    others = {name: ds[name] for name in ds.coords if name not in coordinates}
    return xr.Dataset(ordered, coords=coordinates | others, attrs=ds.attrs)
