"""Temperature below the ground: sensible, continuous, and nothing else touched."""

from __future__ import annotations

import numpy as np
import xarray as xr

from atmorep_lite.data.below_ground import with_temperature_below_ground

LEVELS = np.array([500, 700, 850])
GRAVITY, GAS_CONSTANT, LAPSE_RATE = 9.80665, 287.05, 0.0065


def standard_atmosphere(surface_height: list[float]) -> xr.Dataset:
    """ICAO's troposphere over a row of mountains: exact temperature and height of every pressure."""
    ratio = (LEVELS / 1013.25) ** (GAS_CONSTANT * LAPSE_RATE / GRAVITY)
    shape = (1, 3, 1, len(surface_height))
    temperature = np.broadcast_to((288.15 * ratio)[None, :, None, None], shape).astype(np.float32)
    height = np.broadcast_to((288.15 / LAPSE_RATE * (1 - ratio))[None, :, None, None], shape)
    dims = ("time", "level", "latitude", "longitude")
    return xr.Dataset(
        {
            "temperature": (dims, temperature, {"units": "K"}),
            "geopotential": (dims, (GRAVITY * height).astype(np.float32)),
            "geopotential_at_surface": (dims[2:], GRAVITY * np.array([surface_height])),
        },
        coords={"level": LEVELS},
    )


def test_standard_atmosphere_is_recovered_below_the_ground() -> None:
    truth = standard_atmosphere([0.0, 1500.0, 2500.0, 4500.0])
    spoilt = truth.copy(deep=True)
    below = truth.geopotential < truth.geopotential_at_surface
    spoilt["temperature"] = truth.temperature.where(~below, 140.0).assign_attrs(units="K")
    found = with_temperature_below_ground(spoilt)
    # 850 hPa lies at 1,457 m: 43 m below the second column's ground, and deep below the third's.
    assert below.sum("longitude").squeeze().values.tolist() == [0, 1, 3]
    deep = (truth.geopotential_at_surface - truth.geopotential) > 300 * GRAVITY
    error = abs(found.temperature - truth.temperature)
    assert float(error.where(deep).max()) < 0.5
    assert float(error.where(~below).max()) == 0.0
    depth = 1500.0 - float(truth.geopotential[0, 2, 0, 1]) / GRAVITY
    expected = 140.0 + depth / 300.0 * (float(truth.temperature[0, 2, 0, 1]) - 140.0)
    np.testing.assert_allclose(found.temperature[0, 2, 0, 1], expected, atol=0.2)  # the new value takes over
    assert found.temperature.dims == truth.temperature.dims and found.temperature.dtype == np.float32
    assert found.temperature.attrs == {"units": "K"}
    xr.testing.assert_equal(found.drop_vars("temperature"), spoilt.drop_vars("temperature"))


def test_no_jump_where_a_level_meets_the_ground() -> None:
    heights = np.arange(1300.0, 2000.0, 10.0).tolist()
    ds = standard_atmosphere(heights)
    ds["temperature"] = ds.temperature - 20.0  # as in an inversion
    along = with_temperature_below_ground(ds).temperature[0, 2, 0]
    assert float(abs(along.diff("longitude")).max()) < 1.0
    assert float(along[-1] - along[0]) > 15.0


def test_a_second_application_changes_nothing() -> None:
    once = with_temperature_below_ground(standard_atmosphere([0.0, 1600.0]))
    xr.testing.assert_identical(with_temperature_below_ground(once), once)
