"""Fields that follow from others, against exact flows, the spectral simulation, and another library."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from atmorep_lite import open_dataset, open_sample
from atmorep_lite.data.derive import EARTH_RADIUS, divergence, vorticity, with_derived
from atmorep_lite.errors import UserError

DATA = Path(os.environ.get("ATMOREP_LITE_SHARED", "nowhere")) / "data"
needs_real = pytest.mark.skipif(not DATA.is_dir(), reason="no data folder under ATMOREP_LITE_SHARED")


def grid(rows: int, columns: int, *, poles: bool, turn: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    half = 0.0 if poles else 90.0 / rows
    return np.linspace(90 - half, half - 90, rows), turn + np.arange(columns) * 360.0 / columns


def array(values: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> xr.DataArray:
    return xr.DataArray(
        values, coords={"latitude": latitude, "longitude": longitude}, dims=("latitude", "longitude")
    )


def haurwitz(latitude: np.ndarray, longitude: np.ndarray) -> tuple[xr.DataArray, ...]:
    """Wind and vorticity of a Rossby-Haurwitz wave of wave number 4 (Williamson et al. 1992, case 6)."""
    omega = k = 7.848e-6
    y, x = np.meshgrid(np.deg2rad(latitude), np.deg2rad(longitude), indexing="ij")
    c, s = np.cos(y), np.sin(y)
    u = EARTH_RADIUS * (omega * c + k * c**3 * (4 * s**2 - c**2) * np.cos(4 * x))
    v = -4 * EARTH_RADIUS * k * c**3 * s * np.sin(4 * x)
    exact = 2 * omega * s - 30 * k * s * c**4 * np.cos(4 * x)
    return tuple(array(part, latitude, longitude) for part in (u, v, exact))


def error(found: xr.DataArray, exact: xr.DataArray, unit: xr.DataArray | None = None) -> float:
    return float(np.sqrt(((found - exact) ** 2).mean() / ((exact if unit is None else unit) ** 2).mean()))


@pytest.mark.parametrize("poles", [True, False])
def test_rossby_haurwitz_wave(poles: bool) -> None:
    """Second order: half the spacing, a quarter of the error."""
    errors = []
    for n in (60, 120):
        u, v, exact = haurwitz(*grid(n + poles, 2 * n, poles=poles, turn=3.0))
        errors.append(error(vorticity(u, v), exact))
        assert error(divergence(u, v), 0 * exact, exact) < 1.5 * errors[-1] + 1e-6
    assert errors[1] < 0.003
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize("turned", [False, True])
def test_poles(turned: bool) -> None:
    """Solid rotation: vorticity 2 w sin y.  The same arrows turned by 90 degrees converge instead."""
    latitude, longitude = grid(91, 36, poles=True)
    rate = 1e-5
    speed = array(
        EARTH_RADIUS * rate * np.cos(np.deg2rad(latitude))[:, None] * np.ones(36), latitude, longitude
    )
    found = divergence(0 * speed, -speed) if turned else vorticity(speed, 0 * speed)
    exact = 2 * rate * np.sin(np.deg2rad(latitude))
    np.testing.assert_allclose(found.mean("longitude"), exact, atol=2e-3 * rate)
    assert np.isfinite(found).all()


def test_a_region_is_not_periodic() -> None:
    u, v, exact = haurwitz(*grid(120, 240, poles=False))
    part = {"latitude": slice(20, 60), "longitude": slice(200, 240)}
    assert error(vorticity(u.isel(part), v.isel(part)), exact.isel(part)) < 0.01


def test_close_to_the_vorticity_of_the_spectral_simulation() -> None:
    """Differences on 5.6 degrees lose short waves; divergence suffers from interpolated winds besides."""
    sample = open_sample().isel(time=slice(0, 40, 8)).load()
    inner = {"latitude": slice(3, -3)}
    for name, least in (("vorticity", 0.95), ("divergence", 0.6)):
        derived = with_derived(sample.drop_vars(name), [name])[name].isel(inner)
        assert float(xr.corr(derived, sample[name].isel(inner))) > least
        assert 0.6 < float(derived.std() / sample[name].isel(inner).std()) < 1.1


def test_only_what_lacks_and_can_be_derived() -> None:
    sample = open_sample().isel(time=slice(0, 2)).chunk(time=1)
    full = with_derived(sample, ["vorticity", "geopotential_height", "temperature", "total_precipitation"])
    assert set(full.data_vars) - set(sample.data_vars) == {"geopotential_height"}
    height = full["geopotential_height"]
    assert height.chunks is not None and height.attrs["units"] == "m"
    assert height.attrs["derived_from"] == "geopotential"
    assert 4500 < float(height.sel(level=500).mean()) < 6000
    with pytest.raises(UserError, match="at least 3 points in longitude"):
        vorticity(sample["u_component_of_wind"][..., :2], sample["v_component_of_wind"][..., :2])


@needs_real
def test_real_winds_against_metpy() -> None:
    """200 hPa long-term means on 2.5 degrees.  MetPy reckons on an ellipsoid."""
    calc = pytest.importorskip("metpy.calc")
    u, v = (open_dataset(DATA / f"{name}wnd_mean.nc")[f"{name}_component_of_wind"] for name in "uv")
    u, v = (a.isel(time=0).squeeze(drop=True).load() for a in (u, v))
    ours = vorticity(u, v)
    wide = [a.pad(longitude=2, mode="wrap").assign_coords(longitude=np.arange(-5, 365, 2.5)) for a in (u, v)]
    theirs = calc.vorticity(*(a.sortby("latitude") for a in wide)).metpy.dequantify()
    theirs = theirs.isel(longitude=slice(2, -2)).sortby("latitude", ascending=False)
    middle = np.abs(ours["latitude"]) < 75
    assert error(ours.where(middle), theirs.values, ours.where(middle)) < 0.03
    assert float(xr.corr(ours.where(middle), ours.copy(data=theirs.values).where(middle))) > 0.999
