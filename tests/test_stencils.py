"""Vorticity against flows whose vorticity is known; the regression against numpy's least squares."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.stencils import fit_hidden_field, wind_vorticity
from tests.mocks import equiangular, mock_truth


def test_solid_rotation_has_twice_the_rate_times_the_sine() -> None:
    grid = xr.Dataset(coords=equiangular(64, 128))
    cosine = np.cos(np.deg2rad(grid.latitude)) * xr.ones_like(grid.longitude)
    rate = 1e-5
    found = wind_vorticity(6.371e6 * rate * cosine, 0 * cosine)
    inner = found.isel(latitude=slice(1, -1))
    np.testing.assert_allclose(inner, (2 * rate * np.sin(np.deg2rad(inner.latitude)) + 0 * inner), rtol=5e-3)


def test_waves_in_the_meridional_wind() -> None:
    """v = cos(m longitude): dv/dx = -m sin(m longitude) / (radius cos(latitude)), across 0 degrees too."""
    grid = xr.Dataset(coords=equiangular(8, 256))
    east = np.deg2rad(grid.longitude) + 0 * grid.latitude
    v = np.cos(3 * east).transpose("latitude", "longitude")
    expected = -3 * np.sin(3 * east) / (6.371e6 * np.cos(np.deg2rad(grid.latitude)))
    np.testing.assert_allclose(wind_vorticity(0 * v, v), expected.transpose(*v.dims), atol=3e-9)


def test_regression_is_least_squares_of_each_row() -> None:
    record = mock_truth(
        times=30, rows=5, columns=8, fields=("temperature", "u_component_of_wind", "vorticity")
    )
    rng = np.random.default_rng(3)
    shifted = record.temperature.roll(longitude=1) - 2 * record.u_component_of_wind.sel(level=850, drop=True)
    record["vorticity"] = shifted + 0.3 * rng.normal(size=shifted.shape) + 5.0
    sources = ["temperature", "u_component_of_wind"]
    fitted = fit_hidden_field(record, "vorticity", sources, [500, 850], penalty=1e-9)
    found = fitted.recover(record)
    anomaly = record - record.mean("time")
    for y in (0, 2):
        inputs = []
        for name in sources:
            for level in (500, 850):
                for j in (-1, 0, 1):
                    row = anomaly[name].sel(level=level).isel(latitude=int(np.clip(y + j, 0, 4))).values
                    inputs += [np.roll(row, shift, axis=-1).ravel() for shift in (-1, 0, 1)]
        a = np.stack(inputs, -1)
        wanted = anomaly.vorticity.sel(level=500).isel(latitude=y).values.ravel()
        expected = a @ np.linalg.lstsq(a, wanted, rcond=1e-10)[0]
        own = record.vorticity.mean("time").sel(level=500).isel(latitude=y).values
        np.testing.assert_allclose(
            found.sel(level=500).isel(latitude=y).values - own, expected.reshape(30, 8), atol=1e-4
        )
    assert found.dims == ("time", "level", "latitude", "longitude")


def test_recovers_what_is_a_sum_of_neighbours() -> None:
    record = mock_truth(times=40, rows=5, columns=16, fields=("temperature", "vorticity"))
    t = record.temperature
    record["vorticity"] = t.roll(longitude=-1) - t.roll(longitude=1) + 3.0
    fitted = fit_hidden_field(record.isel(time=slice(30)), "vorticity", ["temperature"], [500, 850])
    unseen = record.isel(time=slice(30, None))
    error = fitted.recover(unseen) - unseen.vorticity
    assert float((error**2).mean() ** 0.5) < 0.25 * float(unseen.vorticity.std())


def test_mistakes_are_explained() -> None:
    record = mock_truth(fields=("temperature", "vorticity"))
    with pytest.raises(UserError, match="source of itself"):
        fit_hidden_field(record, "vorticity", ["vorticity"], [500])
    with pytest.raises(UserError, match="not positive"):
        fit_hidden_field(record, "vorticity", ["temperature"], [500], penalty=0.0)
    with pytest.raises(UserError, match="all longitudes"):
        wind_vorticity(record.temperature.isel(longitude=slice(4)), record.temperature)
