"""From whatever a file holds to the canonical layout: names, order of axes, directions, units.

Every step takes and returns an ``xr.Dataset`` and stays lazy, so each can be read and tested alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS, find_name, normal_units, to_si

#: The order of axes; all but latitude and longitude may be absent.
AXES = ("time", "prediction_timedelta", "number", "level", "latitude", "longitude")
STATIC_FIELDS = ("geopotential_at_surface", "land_sea_mask")

_PRESSURE = (
    "level",
    "isobaricinhpa",
    "isobaricinpa",
    "pressure_level",
    "plev",
    "pressure",
    "air_pressure",
    "lev",
)
_MODEL_LEVEL = ("hybrid", "model_level", "ml")
_SPELLINGS = {
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long"),
    "number": ("number", "member", "realization", "ensemble", "ensemble_member"),
    "prediction_timedelta": ("prediction_timedelta", "step", "lead_time", "leadtime", "forecast_period"),
    "time": ("time", "init_time", "initial_time", "forecast_reference_time", "valid_time"),
    "level": (*_PRESSURE, *_MODEL_LEVEL),
}
_STANDARD_NAMES = {
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "number": ("realization",),
    "prediction_timedelta": ("forecast_period",),
    "time": ("forecast_reference_time", "time"),
    "level": ("air_pressure",),
}
#: Scalar coordinates of GRIB and of the Climate Data Store that say nothing more once the field has its name.
_BOOKKEEPING = ("valid_time", "surface", "meanSea", "heightAboveGround", "entireAtmosphere", "expver")
_HOURS = {"hours": 1.0, "h": 1.0, "days": 24.0, "minutes": 1 / 60, "seconds": 1 / 3600}


def canonical(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put datasets into the canonical layout and merge them into one.

    - Axes ``(time, [prediction_timedelta], [number], level, latitude, longitude)``, transposed by name.
      Surface fields have no ``level``; the two static fields have no ``time``.
    - Latitude from north to south.  Longitude ascending from a first value in 0 ... 360: a region across
      Greenwich runs past 360 (350 ... 362), so that neighbours stay neighbours; a meridian given twice
      (0 and 360) is kept once.
    - ``level`` ascending in hPa; for model levels their number, with ``attrs["level_type"] = "model"``.
    - Known fields under their ERA5 name in SI units; all other variables as they were.
    - A forecast's ``time`` is the initial time, ``prediction_timedelta`` the lead; an analysis has no lead.

    Raises
    ------
    UserError
        If latitude or longitude is missing or not regular, times repeat or are no dates, units cannot be
        converted, or two variables are the same field.
    """
    ready = [_one(part) for part in parts]
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


def _one(ds: xr.Dataset) -> xr.Dataset:
    steps: tuple[Callable[[xr.Dataset], xr.Dataset], ...] = (
        _named_axes,
        _time_axis,
        _level_axis,
        _named_fields,
        _scalar_axes,
        _si_units,
        _latitude_order,
        _longitude_order,
    )
    ds = ds.copy()
    for step in steps:
        ds = step(ds)
    return ds.drop_encoding()


def _named_axes(ds: xr.Dataset) -> xr.Dataset:
    for axis, spellings in _SPELLINGS.items():
        found = _find_coordinate(ds, spellings, _STANDARD_NAMES[axis])
        if found is None or found == axis:
            continue
        if axis == "level" and found.lower() in _MODEL_LEVEL:
            ds[found].attrs["level_type"] = "model"
        if axis == "level" and found.lower() == "isobaricinpa":
            ds[found].attrs["units"] = "Pa"
        if axis in ds.variables and axis not in ds.dims:
            ds = ds.drop_vars(axis)
        ds = ds.rename({found: axis})
        if axis in ds.dims and axis not in ds.indexes and axis in ds.coords:
            ds = ds.set_xindex(axis)
    for axis in ("latitude", "longitude"):
        if axis not in ds.variables:
            raise UserError(
                f"the data have no coordinate {axis}, only {', '.join(map(str, ds.variables)) or 'nothing'}; "
                f"name it {axis} or give it this standard_name"
            )
        if ds[axis].ndim > 1 or (ds[axis].ndim == 1 and ds[axis].dims != (axis,)):
            raise UserError(
                f"{axis} is not an axis of a regular latitude-longitude grid; regrid the data first"
            )
    for axis in AXES:
        if axis in ds.dims and axis not in ds.coords:
            raise UserError(f"the axis {axis} has a length but no values; assign its coordinate")
    superfluous = {name for name in _BOOKKEEPING if name in ds.coords and name not in ds.dims}
    bounds = {
        ds[axis].attrs.get("bounds") for axis in AXES if axis in ds.coords
    }  # wrong once axes are turned
    return ds.drop_vars(superfluous | (bounds & set(ds.variables)))


def _find_coordinate(
    ds: xr.Dataset, spellings: tuple[str, ...], standard_names: tuple[str, ...]
) -> str | None:
    """The dimension of that meaning, else the scalar coordinate; names count before standard names."""
    candidates = [str(name) for name in dict.fromkeys((*ds.dims, *ds.coords))]
    for is_dimension in (True, False):
        chosen = [name for name in candidates if (name in ds.dims) == is_dimension]
        for spelling in spellings:
            for name in chosen:
                if name.lower() == spelling:
                    return name
        for standard_name in standard_names:
            for name in chosen:
                if name in ds.coords and ds[name].attrs.get("standard_name") == standard_name:
                    return name
    return None


def _time_axis(ds: xr.Dataset) -> xr.Dataset:
    if "prediction_timedelta" in ds.coords:
        lead = ds["prediction_timedelta"]
        if lead.dtype.kind != "m":
            units = str(lead.attrs.get("units", "hours"))
            if units not in _HOURS:
                raise UserError(f"the lead time has units {units!r}, expected one of {', '.join(_HOURS)}")
            nanoseconds = (lead.astype(float) * (_HOURS[units] * 3.6e12)).round()
            ds = ds.assign_coords(prediction_timedelta=nanoseconds.astype("timedelta64[ns]"))
        if lead.size == 1 and not ds["prediction_timedelta"].values.astype("int64").any():
            ds = ds.squeeze("prediction_timedelta") if lead.ndim else ds
            ds = ds.drop_vars("prediction_timedelta")
    if "time" not in ds.coords:
        return ds
    time = ds["time"]
    if time.dtype.kind == "O":
        raise UserError(
            "time uses a calendar other than the usual one; apply xarray's convert_calendar('standard')"
        )
    if time.dtype.kind != "M":
        raise UserError(
            f"time holds numbers without a date (such as {np.ravel(time)[0]}); add its units attribute"
        )
    ds = ds.assign_coords(time=time.astype("datetime64[ns]"))
    if time.ndim == 0:
        return ds
    values = ds["time"].values
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise UserError(
            f"the time {np.datetime_as_string(repeated[0], 'm')} occurs more than once; "
            "drop the repeated times, with xarray: ds.drop_duplicates('time')"
        )
    return ds if (np.diff(order) == 1).all() else ds.isel(time=order)


def _level_axis(ds: xr.Dataset) -> xr.Dataset:
    if "level" not in ds.coords:
        return ds
    level = ds["level"]
    values = np.atleast_1d(level.values).astype(float)
    units = normal_units(str(level.attrs.get("units", "")))
    by_model = level.attrs.get("level_type") == "model" or "sigma" in str(
        level.attrs.get("standard_name", "")
    )
    if not by_model and (units == "Pa" or (units == "1" and values.max() > 2000.0)):
        values = values / 100.0
    values = values.round(6)
    number = values.astype(np.int32) if (values == values.round()).all() else values
    attrs = {"units": "hPa", "standard_name": "air_pressure", "long_name": "pressure", "positive": "down"}
    if by_model:
        attrs = {"units": "1", "long_name": "model level number", "level_type": "model", "positive": "down"}
    ds = ds.assign_coords(level=(level.dims, number.reshape(level.shape), attrs))
    order = np.argsort(values)
    return ds if level.ndim == 0 or (np.diff(order) == 1).all() else ds.isel(level=order)


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
        if field == "geopotential" and variable.attrs.get("GRIB_typeOfLevel") == "surface":
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


def _scalar_axes(ds: xr.Dataset) -> xr.Dataset:
    """A single time, level, lead or member stands in the file as a scalar: make time, level and lead axes."""
    for axis in ("time", "prediction_timedelta", "level"):
        if axis not in ds.coords or axis in ds.dims:
            continue
        value = ds[axis]
        ds = ds.drop_vars(axis)
        for name, variable in ds.data_vars.items():
            field = FIELDS.get(str(name))
            lacks = name in STATIC_FIELDS if axis != "level" else field is not None and field.surface
            if {"latitude", "longitude"} <= set(variable.dims) and not lacks:
                ds[name] = variable.expand_dims({axis: 1})
        if axis in ds.dims:
            ds = ds.assign_coords({axis: (axis, value.values.reshape(1), value.attrs)})
    if "number" in ds.coords and "number" not in ds.dims:
        ds = ds.drop_vars("number")
    return ds


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


def _latitude_order(ds: xr.Dataset) -> xr.Dataset:
    if "latitude" not in ds.dims:
        ds = ds.expand_dims("latitude")
    values = ds["latitude"].values.astype(float).round(6)
    if not (np.abs(values) <= 90.0).all():
        raise UserError(
            f"latitude reaches {values[np.argmax(np.abs(values))]:g}; it must lie within -90 ... 90 degrees"
        )
    attrs = {"units": "degrees_north", "standard_name": "latitude", "long_name": "latitude"}
    ds = ds.assign_coords(latitude=("latitude", values, attrs))
    order = np.argsort(-values, kind="stable")
    return _reordered(ds, "latitude", order)


def _longitude_order(ds: xr.Dataset) -> xr.Dataset:
    if "longitude" not in ds.dims:
        ds = ds.expand_dims("longitude")
    values = ds["longitude"].values.astype(float)
    east, first = np.unique(np.mod(values.round(6), 360.0).round(6), return_index=True)
    gaps = np.diff(east, append=east[0] + 360.0)
    if len(east) > 1 and gaps.max() > 1.5 * np.median(gaps):  # a region: begin after what it leaves out
        begin = (int(np.argmax(gaps)) + 1) % len(east)
        east = np.concatenate((east[begin:], east[:begin] + 360.0))
        first = np.roll(first, -begin)
    ds = _reordered(ds, "longitude", first)
    attrs = {"units": "degrees_east", "standard_name": "longitude", "long_name": "longitude"}
    return ds.assign_coords(longitude=("longitude", east, attrs))


def _reordered(ds: xr.Dataset, axis: str, order: np.ndarray) -> xr.Dataset:
    if len(order) == ds.sizes[axis] and (np.diff(order) == 1).all():
        return ds
    if len(order) == ds.sizes[axis] and (np.diff(order) == -1).all():
        return ds.isel({axis: slice(None, None, -1)})
    return ds.isel({axis: order})


def _transposed(ds: xr.Dataset) -> xr.Dataset:
    ordered = {
        name: variable.transpose(*(axis for axis in AXES if axis in variable.dims), ...)
        for name, variable in ds.data_vars.items()
    }
    coordinates = {axis: ds[axis] for axis in AXES if axis in ds.coords}
    others = {name: ds[name] for name in ds.coords if name not in coordinates}
    return xr.Dataset(ordered, coords=coordinates | others, attrs=ds.attrs)
