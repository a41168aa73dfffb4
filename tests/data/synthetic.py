"""A small synthetic atmosphere in the canonical layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from atmorep_lite.fields import FIELDS


def make_atmosphere(
    *, times: int = 6, levels: tuple[int, ...] = (500, 850), latitudes: int = 8, longitudes: int = 16
) -> xr.Dataset:
    """Travelling waves plus noise: two fields on levels, one at the surface."""
    rng = np.random.default_rng(0)
    spacing = 180.0 / latitudes
    latitude = 90.0 - spacing / 2 - spacing * np.arange(latitudes)
    longitude = 360.0 / longitudes * np.arange(longitudes)
    step, level, north, east = np.meshgrid(
        np.arange(times), np.arange(len(levels)), np.deg2rad(latitude), np.deg2rad(longitude), indexing="ij"
    )
    wave = np.cos(north) * np.sin(2 * east - 0.3 * step + level)

    def variable(name: str, mean: float, scale: float) -> tuple[tuple[str, ...], np.ndarray, dict[str, Any]]:
        values = (mean + scale * (wave + 0.02 * rng.standard_normal(wave.shape))).astype(np.float32)
        field = FIELDS[name]
        attrs = {"units": field.units, "standard_name": field.standard_name, "long_name": field.long_name}
        if field.surface:
            return ("time", "latitude", "longitude"), values[:, 0], attrs
        return ("time", "level", "latitude", "longitude"), values, attrs

    return xr.Dataset(
        {
            "temperature": variable("temperature", 260.0, 10.0),
            "u_component_of_wind": variable("u_component_of_wind", 5.0, 8.0),
            "2m_temperature": variable("2m_temperature", 285.0, 5.0),
        },
        coords={
            "time": np.datetime64("2001-01-01T03", "ns") + np.timedelta64(3, "h") * np.arange(times),
            "level": np.array(levels, np.int32),
            "latitude": latitude.round(6),
            "longitude": longitude.round(6),
        },
    )
