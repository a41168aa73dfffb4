"""What a sample knows besides its fields: maps that do not change in time, and the time of year."""

from __future__ import annotations

import numpy as np
import xarray as xr

from atmorep_lite.data.canonical import STATIC_FIELDS
from atmorep_lite.data.opening import check_finite


def static_maps(dataset: xr.Dataset, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """``[6, latitude, longitude]`` float32.

    Sine and cosine of latitude and of longitude, surface geopotential in units of 10,000 m2 s-2 and land
    fraction; zeros where the data have no such map.

    Raises
    ------
    UserError
        If a map holds a NaN.
    """
    north, east = np.meshgrid(np.deg2rad(latitude), np.deg2rad(longitude), indexing="ij")
    maps = [np.sin(north), np.cos(north), np.sin(east), np.cos(east)]
    for name, unit in zip(STATIC_FIELDS, (1e4, 1.0), strict=True):
        if name in dataset:
            check_finite(dataset, [name])
        maps.append(dataset[name].values / unit if name in dataset else np.zeros_like(north))
    return np.stack(maps).astype(np.float32)


def phase_of_year(time: np.datetime64) -> float:
    """Angle of the time of year, 0 at its beginning, 2 pi after 365.25 days."""
    year = time.astype("datetime64[Y]")
    return 2 * np.pi * float((time - year) / np.timedelta64(1, "D")) / 365.25
