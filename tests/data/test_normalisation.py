"""Statistics against numpy written out, and the round trip."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError
from tests.mocks import mock_truth

KINDS = ("global", "local", "anomaly")
NAME = "temperature"


@pytest.fixture
def weather() -> xr.Dataset:
    """Noise whose mean and spread differ by field, level and place."""
    truth = mock_truth(times=30, rows=4, columns=6)
    place = xr.DataArray(np.arange(24.0).reshape(4, 6), dims=("latitude", "longitude"))
    scale = xr.DataArray([1.0, 5.0], dims="level", coords={"level": truth.level})
    return (truth * scale * (1 + place / 10) + 200.0 + scale * place).transpose(*truth.temperature.dims)


def cosines(weather: xr.Dataset) -> np.ndarray:
    return np.cos(np.deg2rad(weather.latitude.values))[:, None] * np.ones(6)


def test_global_statistics_are_area_weighted(weather: xr.Dataset) -> None:
    fit = Normalizer.fit(weather, "global")
    for i, name in np.ndenumerate(np.array(["temperature", "u_component_of_wind"])):
        for level in range(2):
            x = weather[name].values[:, level]
            mean = np.average(x.mean(0), weights=cosines(weather))
            std = np.average(((x - mean) ** 2).mean(0), weights=cosines(weather)) ** 0.5
            np.testing.assert_allclose(fit.mean[name].values[level], mean, rtol=1e-6, err_msg=str(i))
            np.testing.assert_allclose(fit.std[name].values[level], std, rtol=1e-6)


def test_local_statistics_are_per_point(weather: xr.Dataset) -> None:
    fit = Normalizer.fit(weather, "local")
    np.testing.assert_allclose(fit.mean[NAME].values, weather[NAME].values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(fit.std[NAME].values, weather[NAME].values.std(0), rtol=1e-6)


def test_anomalies_keep_their_proportions(weather: xr.Dataset) -> None:
    """Mean per point, one spread per level: departures from the mean are all divided by the same number."""
    fit = Normalizer.fit(weather, "anomaly")
    x = weather[NAME].values
    np.testing.assert_allclose(fit.mean[NAME].values, x.mean(0), rtol=1e-6)
    std = [np.average(x[:, k].var(0), weights=cosines(weather)) ** 0.5 for k in range(2)]
    np.testing.assert_allclose(fit.std[NAME].values, std, rtol=1e-6)
    assert fit.std[NAME].dims == ("level",)


@pytest.mark.parametrize("kind", KINDS)
def test_normalised_data_have_mean_0_and_spread_1_and_come_back(weather: xr.Dataset, kind) -> None:
    fit = Normalizer.fit(weather, kind)
    normal = fit.normalize(weather)
    assert normal[NAME].dtype == np.float32 and normal[NAME].dims == weather[NAME].dims
    weights = xr.DataArray(cosines(weather), dims=("latitude", "longitude"))
    np.testing.assert_allclose(
        normal.mean("time").weighted(weights).mean(("latitude", "longitude"))[NAME], 0, atol=1e-4
    )
    squares = (normal**2).mean("time").weighted(weights).mean(("latitude", "longitude"))
    np.testing.assert_allclose(squares[NAME], 1, atol=1e-4)
    xr.testing.assert_allclose(fit.denormalize(normal), weather, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_survive_a_file(weather: xr.Dataset, kind, tmp_path) -> None:
    fit = Normalizer.fit(weather, kind)
    fit.to_dataset().to_netcdf(tmp_path / "statistics.nc")
    with xr.open_dataset(tmp_path / "statistics.nc") as saved:
        again = Normalizer.from_dataset(saved.load())
    xr.testing.assert_identical(again.mean, fit.mean)
    xr.testing.assert_identical(again.std, fit.std)


def test_statistics_of_a_neighbourhood(weather: xr.Dataset) -> None:
    fit = Normalizer.fit(weather, "anomaly")
    part = weather.isel(latitude=slice(1, 3), longitude=[4, 5, 0])
    here = fit.at(part.latitude.values, part.longitude.values)
    xr.testing.assert_equal(
        here.normalize(part), fit.normalize(weather).isel(latitude=slice(1, 3), longitude=[4, 5, 0])
    )
    flat = Normalizer.fit(weather, "global")
    xr.testing.assert_identical(flat.at(part.latitude.values, part.longitude.values).mean, flat.mean)


def test_levels_are_matched_by_value(weather: xr.Dataset) -> None:
    fit = Normalizer.fit(weather, "anomaly")
    upper = weather.sel(level=[850])
    xr.testing.assert_equal(fit.normalize(upper), fit.normalize(weather).sel(level=[850]))
    flipped = weather.isel(level=[1, 0])
    xr.testing.assert_equal(fit.normalize(flipped), fit.normalize(weather).isel(level=[1, 0]))


def test_surface_fields_have_no_level(weather: xr.Dataset) -> None:
    surface = weather[[NAME]].isel(level=0, drop=True).rename({NAME: "2m_temperature"})
    fit = Normalizer.fit(surface, "anomaly")
    normal = fit.normalize(surface)
    xr.testing.assert_allclose(
        fit.denormalize(normal.expand_dims(level=[0])).isel(level=0, drop=True), surface
    )


def test_data_on_dask_are_fitted(weather: xr.Dataset) -> None:
    lazy = Normalizer.fit(weather.chunk(time=7), "global")
    xr.testing.assert_allclose(lazy.mean, Normalizer.fit(weather, "global").mean)
    assert lazy.mean[NAME].chunks is None


def test_bad_input_is_told_in_one_sentence(weather: xr.Dataset) -> None:
    with pytest.raises(UserError, match=f"{NAME} does not vary"):
        Normalizer.fit(weather.assign({NAME: weather[NAME] * 0 + 1}))
    fit = Normalizer.fit(weather[[NAME]], "anomaly")
    with pytest.raises(UserError, match="no normalisation statistics for u_component_of_wind"):
        fit.normalize(weather)
    with pytest.raises(UserError, match="no normalisation statistics for the level 300"):
        fit.normalize(weather[[NAME]].assign_coords(level=[300, 850]))
    for other in (weather.isel(longitude=slice(3)), weather.assign_coords(longitude=weather.longitude + 1)):
        with pytest.raises(UserError, match="another longitude grid"):
            fit.normalize(other[[NAME]])
    assert Normalizer.fit(weather, "global").normalize(weather.isel(longitude=slice(3)))[NAME].shape[-1] == 3
