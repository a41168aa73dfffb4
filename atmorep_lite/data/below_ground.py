"""Temperature where a pressure level lies below the ground.

A model has no air there; some value must stand in the array, as in ERA5.  Continuing the gradient of the
lowest two model layers makes nonsense of a winter inversion: 140 K over Antarctica, which would dominate the
level's mean, its standard deviation and every error.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

GAS_CONSTANT = 287.05  # J kg-1 K-1, dry air
GRAVITY = 9.80665  # m s-2
LAPSE_RATE = 0.0065  # K m-1, the standard atmosphere's
BLENDING_DEPTH = 300.0  # m, so that a level that rises above the ground now and then does not jump
MARK = "temperature_below_ground"


def with_temperature_below_ground(dataset: xr.Dataset) -> xr.Dataset:
    """Replace ``temperature`` at points whose geopotential is lower than the surface's.

    The hypsometric equation gives the mean temperature of the layer between two levels from its thickness,
    ``T_mean = (geopotential difference) / (R ln(p_lower / p_upper))``; the standard lapse rate leads from its
    middle to the level.  The layer is that of the level and the next one above it.  The new value takes over
    linearly within 300 m below the ground; nothing above ground is touched.  A global attribute marks the
    dataset, and a marked one is returned as it is.

    Parameters
    ----------
    dataset
        Canonical, with ``temperature``, ``geopotential`` and ``geopotential_at_surface``, two levels or more.
    """
    if MARK in dataset.attrs:
        return dataset
    pressure = dataset["level"].values.astype(float)
    geopotential, temperature = dataset["geopotential"], dataset["temperature"]
    pieces = []
    for i in range(len(pressure)):
        upper, lower = (i - 1, i) if i else (0, 1)
        thickness = geopotential.isel(level=upper, drop=True) - geopotential.isel(level=lower, drop=True)
        mean = thickness / (GAS_CONSTANT * np.log(pressure[lower] / pressure[upper]))
        half = 0.5 * LAPSE_RATE / GRAVITY * thickness
        new = mean + half if i == lower else mean - half
        depth = (dataset["geopotential_at_surface"] - geopotential.isel(level=i)) / GRAVITY
        share = (depth / BLENDING_DEPTH).clip(0.0, 1.0)
        old = temperature.isel(level=i)
        pieces.append((old + share * (new - old)).astype(np.float32))
    joined = xr.concat(pieces, "level").transpose(*temperature.dims).assign_attrs(temperature.attrs)
    return dataset.assign(temperature=joined).assign_attrs({MARK: "hypsometric mean, standard lapse rate"})
