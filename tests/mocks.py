"""Small made-up weather: truths and forecasts whose scores are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from atmorep_lite.layout import forecast_dataset

UNITS = {
    "temperature": "K",
    "u_component_of_wind": "m s-1",
    "v_component_of_wind": "m s-1",
    "vorticity": "s-1",
}


def equiangular(rows: int, columns: int) -> dict[str, np.ndarray]:
    """Cell centres of a global grid without points at the poles, north to south."""
    half = 90 / rows
    return {
        "latitude": np.linspace(90 - half, -90 + half, rows),
        "longitude": np.arange(columns) * 360 / columns,
    }


def mock_truth(
    *,
    times: int = 24,
    rows: int = 6,
    columns: int = 12,
    fields: Sequence[str] = ("temperature", "u_component_of_wind"),
    levels: Sequence[int] = (500, 850),
    start: str = "2001-01-01T00",
    seed: int = 0,
) -> xr.Dataset:
    """White noise, 3-hourly, ``[time, level, latitude, longitude]``, marked as simulated."""
    rng = np.random.default_rng(seed)
    shape = (times, len(levels), rows, columns)
    return as_dataset({n: rng.normal(size=shape) for n in fields}, levels=levels, start=start)


def as_dataset(
    values: dict[str, np.ndarray], *, levels: Sequence[int] = (500,), start: str = "2001-01-01T00"
) -> xr.Dataset:
    """Dataset of ``[time, level, latitude, longitude]`` arrays on a global grid, 3-hourly."""
    times, _, rows, columns = next(iter(values.values())).shape
    time = np.datetime64(start, "ns") + np.arange(times) * np.timedelta64(3, "h")
    return xr.Dataset(
        {
            n: (("time", "level", "latitude", "longitude"), v, {"units": UNITS.get(n, "1")})
            for n, v in values.items()
        },
        coords={"time": time, "level": np.array(levels), **equiangular(rows, columns)},
        attrs={"simulated": "true"},
    )


def mock_forecast(
    truth: xr.Dataset,
    *,
    leads: Sequence[int] = (3, 6),
    times: int = 4,
    members: int = 0,
    error: float = 1.0,
    spread: float = 1.0,
    seed: int = 1,
) -> xr.Dataset:
    """Truth at the valid time plus a normal error at each point; members differ by normal draws around it."""
    rng = np.random.default_rng(seed)
    initial = truth["time"].values[:times]
    values = {}
    for name, field in truth.data_vars.items():
        lead = [field.sel(time=initial + np.timedelta64(h, "h")).values for h in leads]
        right = np.stack(lead, axis=1)
        centre = right + error * rng.normal(size=right.shape)
        if members:
            shape = (*right.shape[:2], members, *right.shape[2:])
            centre = centre[:, :, None] + spread * rng.normal(size=shape)
        values[str(name)] = centre
    forecast = forecast_dataset(values, truth, initial, leads)
    return forecast.assign_coords(number=np.arange(members)) if members else forecast
