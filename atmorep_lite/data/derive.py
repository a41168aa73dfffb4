"""Fields that follow from others: vorticity and divergence from the wind, height from geopotential.

On a sphere of radius a, with longitude x and latitude y in radians (Holton & Hakim 2013, section 4.2):

    vorticity  = (dv/dx - d(u cos y)/dy) / (a cos y)
    divergence = (du/dx + d(v cos y)/dy) / (a cos y)

Derivatives are centred differences, so waves of a few grid points come out too weak: by 10 % at eight points
a wave, by 36 % at four.  Archives that hold vorticity took it from the spectral model and do not lose it;
prefer theirs where there is one.  Divergence is a small difference of large terms: what is derived on a
coarse grid, from winds that were interpolated to pressure levels, has little in common with the model's own
(correlation 0.6 in the simulated sample, where vorticity has more than 0.95).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS

EARTH_RADIUS = 6_371_229.0  # m, as in ERA5's spectral model
STANDARD_GRAVITY = 9.80665  # m s-2
WIND = ("u_component_of_wind", "v_component_of_wind")
SOURCES = {"vorticity": WIND, "divergence": WIND, "geopotential_height": ("geopotential",)}
"""What can be derived, and from what."""


def with_derived(dataset: xr.Dataset, names: Iterable[str]) -> xr.Dataset:
    """The dataset and, of the fields ``names``, those that it lacks but that follow from what it has.

    Lazy where the dataset is.  A field that cannot be derived is left out; the caller says what is missing.
    The attribute ``derived_from`` of a new field names its sources.
    """
    new = {}
    for name in names:
        sources = SOURCES.get(name, ())
        if name in dataset or not sources or any(source not in dataset for source in sources):
            continue
        if name == "geopotential_height":
            field = dataset["geopotential"] / STANDARD_GRAVITY
        else:
            field = (vorticity if name == "vorticity" else divergence)(*(dataset[wind] for wind in WIND))
        known = FIELDS[name]
        field.attrs = {
            "long_name": known.name.replace("_", " "),
            "standard_name": known.standard_name,
            "units": known.units,
            "derived_from": ", ".join(sources),
        }
        new[name] = field.rename(name)
    return dataset.assign(new)


def vorticity(u: xr.DataArray, v: xr.DataArray) -> xr.DataArray:
    """Relative vorticity in s-1 of a wind ``[..., latitude, longitude]`` in m s-1, on a canonical grid.

    A global grid is periodic in longitude; at the edges of a region differences are one-sided.  At a pole it
    is the circulation along the nearest row, divided by the cap's area (Stokes).

    Raises
    ------
    UserError
        If there are fewer than three latitudes or longitudes.
    """
    return _differences(v, -u)


def divergence(u: xr.DataArray, v: xr.DataArray) -> xr.DataArray:
    """Horizontal divergence in s-1; as :func:`vorticity`, at a pole from the flow into the cap (Gauss)."""
    return _differences(u, v)


def _differences(east: xr.DataArray, north: xr.DataArray) -> xr.DataArray:
    """``(d(east)/dx + d(north cos y)/dy) / (a cos y)``."""
    for name in ("latitude", "longitude"):
        if east.sizes[name] < 3:
            raise UserError(f"derivatives need at least 3 points in {name}, the data have {east.sizes[name]}")
    cosine: xr.DataArray = np.cos(np.deg2rad(east["latitude"]))  # type: ignore[assignment]
    northward = (north * cosine).differentiate("latitude", edge_order=2) * np.rad2deg(1.0)
    at_pole = abs(abs(east["latitude"]) - 90.0) < 1e-4
    inside = (_eastward(east) + northward) / (EARTH_RADIUS * cosine.where(~at_pole))
    return inside.where(~at_pole, _caps(north, at_pole)) if at_pole.any() else inside


def _eastward(field: xr.DataArray) -> xr.DataArray:
    """Derivative with respect to longitude in radians."""
    longitude = field["longitude"].values
    spacing = float(longitude[1] - longitude[0])
    if abs(spacing * len(longitude) - 360.0) < 1e-3:
        step = np.deg2rad(2 * spacing)
        return (
            field.roll(longitude=-1, roll_coords=False) - field.roll(longitude=1, roll_coords=False)
        ) / step
    return field.differentiate("longitude", edge_order=2) * np.rad2deg(1.0)


def _caps(north: xr.DataArray, at_pole: xr.DataArray) -> xr.DataArray:
    """At a pole, ``d(north cos y)/dy / (a cos y)`` as its mean over the cap up to the nearest row."""
    parts = []
    for index in np.flatnonzero(at_pole.values):
        ring = north.isel(latitude=1 if index == 0 else index - 1)
        row = np.deg2rad(float(ring["latitude"]))
        outward = -1.0 if row > 0 else 1.0  # the edge of the cap lies south of the North Pole
        mean = outward * np.cos(row) * ring.mean("longitude") / (EARTH_RADIUS * (1.0 - abs(np.sin(row))))
        parts.append(mean.drop_vars("latitude").expand_dims(latitude=[north["latitude"].values[index]]))
    return xr.concat(parts, "latitude").reindex(latitude=north["latitude"])
