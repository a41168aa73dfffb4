"""The axes of a dataset: their names, directions and units, whatever the file calls them.

Every step takes and returns an ``xr.Dataset`` and stays lazy; :mod:`atmorep_lite.data.canonical` says in
which order they are taken.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from atmorep_lite.data.repeats import without_repeats
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS, normal_units

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
    "prediction_timedelta": (
        "prediction_timedelta",
        "step",
        "lead_time",
        "leadtime",
        "forecast_period",
        "forecast_hour",  # NCAR
    ),
    "time": (
        "time",
        "init_time",
        "initial_time",
        "forecast_reference_time",
        "forecast_initial_time",  # NCAR
        "valid_time",  # Climate Data Store since 2024
    ),
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
_DATE_NUMBERS = ("utc_date",)  # NCAR repeats the time as a number such as 2020010100
_HOURS = {"hours": 1.0, "h": 1.0, "days": 24.0, "minutes": 1 / 60, "seconds": 1 / 3600}


def one_version(ds: xr.Dataset) -> xr.Dataset:
    """Final ERA5 where there is some, else preliminary: the old Climate Data Store gave both an axis."""
    ds = ds.drop_vars([name for name in _DATE_NUMBERS if name in ds.variables])
    if "expver" not in ds.dims:
        return ds
    whole = ds.isel(expver=0, drop=True)
    for version in range(1, ds.sizes["expver"]):
        whole = whole.fillna(ds.isel(expver=version, drop=True))
    return whole


def named_axes(ds: xr.Dataset) -> xr.Dataset:
    """Axes under their canonical names; bookkeeping coordinates are dropped."""
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


def time_axis(ds: xr.Dataset) -> xr.Dataset:
    """Times as ``datetime64[ns]``, leads as ``timedelta64[ns]``; a lead of zero is dropped."""
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
    return ds.assign_coords(time=time.astype("datetime64[ns]"))


def each_time_once(ds: xr.Dataset, *, leave_out: bool) -> xr.Dataset:
    """Times ascending, each once."""
    return without_repeats(ds, leave_out=leave_out) if "time" in ds.dims else ds


def level_axis(ds: xr.Dataset) -> xr.Dataset:
    """Levels ascending, in hPa or as numbers of model levels."""
    if "level" not in ds.coords:
        return ds
    level = ds["level"]
    values = np.atleast_1d(level.values).astype(float)
    units = normal_units(str(level.attrs.get("units", "")))
    told = " ".join(str(level.attrs.get(key, "")) for key in ("level_type", "standard_name", "long_name"))
    by_model = any(word in told.lower() for word in ("model", "hybrid", "sigma")) or "half_level" in ds.dims
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


def scalar_axes(ds: xr.Dataset) -> xr.Dataset:
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


def latitude_order(ds: xr.Dataset) -> xr.Dataset:
    """From north to south."""
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


def longitude_order(ds: xr.Dataset) -> xr.Dataset:
    """Ascending from a first value in 0 ... 360, a region in one piece."""
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
