"""Statistics against numpy written out, and the round trip."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError
from tests.mocks import mock_truth

KINDS = ("global", "local", "anomaly")
MONTHLY = ("monthly_global", "monthly_local", "monthly_anomaly")
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


# ---------------------------------------------------------------- by month of the year


@pytest.fixture
def seasons(weather: xr.Dataset) -> xr.Dataset:
    """Thirty times in February, March and December, every one of them far from the others."""
    start = np.array(["2001-02-01", "2001-03-01", "2001-12-01"], "datetime64[ns]")
    time = (start[:, None] + np.arange(10) * np.timedelta64(2, "D")).ravel()
    ds = weather.assign_coords(time=time)
    return ds + 10.0 * ds.time.dt.month


@pytest.mark.parametrize("kind", MONTHLY)
def test_each_month_has_the_statistics_of_its_times(seasons: xr.Dataset, kind) -> None:
    fit = Normalizer.fit(seasons.chunk(time=4), kind)
    assert list(fit.mean.month) == [2, 3, 12]
    for month in (2, 3, 12):
        part = seasons.isel(time=np.flatnonzero(seasons.time.dt.month == month))
        alone = Normalizer.fit(part, kind.removeprefix("monthly_"))
        for side in ("mean", "std"):
            xr.testing.assert_allclose(getattr(fit, side).sel(month=month, drop=True), getattr(alone, side))
        xr.testing.assert_allclose(fit.normalize(part), alone.normalize(part), atol=1e-4)
    normal = fit.normalize(seasons)
    assert normal[NAME].dims == seasons[NAME].dims and "month" not in normal.coords
    xr.testing.assert_allclose(fit.denormalize(normal), seasons, rtol=1e-5)


def test_forecasts_are_undone_by_the_month_of_the_valid_time(seasons: xr.Dataset) -> None:
    """From 28 February, a lead of 12 hours is February, one of 36 hours is March."""
    fit = Normalizer.fit(seasons, "monthly_local")
    zero = xr.zeros_like(seasons.isel(time=[0])).assign_coords(time=[np.datetime64("2001-02-28", "ns")])
    lead = np.array([12, 36], "timedelta64[h]").astype("timedelta64[ns]")
    found = fit.denormalize(zero.expand_dims(prediction_timedelta=lead))
    for index, month in ((0, 2), (1, 3)):
        xr.testing.assert_allclose(
            found.isel(time=0, prediction_timedelta=index, drop=True), fit.mean.sel(month=month, drop=True)
        )


@pytest.mark.parametrize("kind", MONTHLY)
def test_monthly_statistics_survive_a_file_and_a_cut(seasons: xr.Dataset, kind, tmp_path) -> None:
    fit = Normalizer.fit(seasons, kind)
    fit.to_dataset().to_netcdf(tmp_path / "statistics.nc")
    with xr.open_dataset(tmp_path / "statistics.nc") as saved:
        again = Normalizer.from_dataset(saved.load())
    xr.testing.assert_equal(again.normalize(seasons), fit.normalize(seasons))
    part = seasons.isel(latitude=slice(1, 3), longitude=[4, 5, 0])
    here = fit.at(part.latitude.values, part.longitude.values)
    cut = fit.normalize(seasons).isel(latitude=slice(1, 3), longitude=[4, 5, 0])
    xr.testing.assert_equal(here.normalize(part), cut)


def test_unknown_months_are_told(seasons: xr.Dataset) -> None:
    fit = Normalizer.fit(seasons, "monthly_local")
    april = seasons.isel(time=[0]).assign_coords(time=[np.datetime64("2001-04-01", "ns")])
    with pytest.raises(UserError, match="statistics of temperature for April, which the training data lack"):
        fit.normalize(april)
    with pytest.raises(UserError, match="need the coordinate time"):
        fit.denormalize(seasons.drop_vars("time"))
    still = seasons.where(seasons.time.dt.month != 3, 1.0)
    with pytest.raises(UserError, match="temperature does not vary in the data in March"):
        Normalizer.fit(still, "monthly_global")


def test_fields_with_and_without_months_side_by_side(seasons: xr.Dataset) -> None:
    """As when a model takes over statistics: December is unknown for one field only."""
    one = Normalizer.fit(seasons[[NAME]].isel(time=slice(0, 20)), "monthly_local")
    other = Normalizer.fit(seasons[["u_component_of_wind"]], "monthly_global")
    both = Normalizer(
        xr.merge([one.mean, other.mean], join="outer"), xr.merge([one.std, other.std], join="outer")
    )
    assert both.normalize(seasons.isel(time=slice(0, 20)))[NAME].notnull().all()
    assert both.normalize(seasons[["u_component_of_wind"]])["u_component_of_wind"].notnull().all()
    with pytest.raises(UserError, match="temperature for December"):
        both.normalize(seasons)
