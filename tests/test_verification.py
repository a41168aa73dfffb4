"""Scores against plain loops, closed forms and identities."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from atmorep_lite import layout
from atmorep_lite.errors import UserError
from atmorep_lite.verification import (
    COLUMNS,
    area_weights,
    rank_histogram,
    relative_to_persistence,
    skill_table,
)
from tests.mocks import equiangular, mock_forecast, mock_truth


def one(table, **where):
    """The only row of the table with these values."""
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def band_area(south: float, north: float, steps: int = 20_000) -> float:
    """Area of a latitude band over that of the sphere, by adding up thin rings."""
    edges = np.deg2rad(np.linspace(south, north, steps + 1))
    middle = (edges[1:] + edges[:-1]) / 2
    return float((np.cos(middle) * np.diff(edges)).sum() / 2)


def test_area_weights_are_the_areas_of_the_cells():
    latitude = equiangular(32, 64)["latitude"]
    weights = area_weights(latitude)
    areas = [band_area(x - 2.8125, x + 2.8125) for x in latitude]
    np.testing.assert_allclose(weights / 32, areas, rtol=1e-6)


@given(st.lists(st.floats(-89.0, 89.0), min_size=3, max_size=40, unique_by=lambda x: round(x, 2)))
@settings(deadline=None)
def test_area_weights_of_any_rows_have_mean_one_and_no_direction(rows):
    descending = np.sort(rows)[::-1]
    weights = area_weights(descending)
    assert weights.mean() == pytest.approx(1.0)
    assert (weights > 0).all()
    np.testing.assert_allclose(area_weights(descending[::-1]).values, weights.values[::-1], rtol=1e-9)


@pytest.mark.parametrize(
    "latitude", [np.linspace(90, -90, 721), np.linspace(-90, 90, 19), equiangular(7, 8)["latitude"]]
)
def test_area_weights_of_a_global_grid_cover_the_sphere(latitude):
    weights = area_weights(latitude).values
    middle = np.sort(latitude)[1:-1]
    inner = band_area((np.sort(latitude)[0] + middle[0]) / 2, (np.sort(latitude)[-1] + middle[-1]) / 2)
    polar_share = (weights[0] + weights[-1]) / weights.sum()
    assert polar_share == pytest.approx(1 - inner, rel=1e-3)


def test_area_weights_of_a_region_end_half_a_spacing_outside():
    weights = area_weights([60.0, 50.0, 40.0])
    areas = np.array([band_area(x - 5, x + 5) for x in (60, 50, 40)])
    np.testing.assert_allclose(weights, areas / areas.mean(), rtol=1e-6)


@pytest.mark.parametrize("latitude", [[0.0, 10.0, 5.0], [80.0, 100.0], [10.0, 10.0], []])
def test_area_weights_refuse_what_is_no_latitude(latitude):
    with pytest.raises(UserError, match="strictly ascending or descending"):
        area_weights(latitude)


def test_scores_agree_with_plain_loops():
    truth = mock_truth()
    forecast = mock_forecast(truth, members=5, leads=(3, 6), times=4)
    row = one(skill_table({"m": forecast}, truth, (3, 6)), field="temperature", level=850, lead_hours=6)
    weight = area_weights(truth.latitude).values
    squared = crps = variance = total = 0.0
    for t in range(4):
        for y in range(6):
            for x in range(12):
                members = forecast.temperature.values[t, 1, :, 1, y, x]
                right = truth.temperature.values[t + 2, 1, y, x]  # 6 h are two steps of 3 h
                squared += weight[y] * (sum(members) / 5 - right) ** 2
                pairs = sum(abs(a - b) for a in members for b in members) / 25
                crps += weight[y] * (sum(abs(a - right) for a in members) / 5 - pairs / 2)
                variance += weight[y] * sum((a - sum(members) / 5) ** 2 for a in members) / 4
                total += weight[y]
    rmse = np.sqrt(squared / total)
    assert row.rmse == pytest.approx(rmse)
    assert row.crps == pytest.approx(crps / total)
    assert row.spread_skill == pytest.approx(np.sqrt(variance / total) * np.sqrt(6 / 5) / rmse)


def test_table_has_the_promised_rows_and_columns():
    truth = mock_truth()
    forecasts = {"a": mock_forecast(truth, members=3), "b": mock_forecast(truth)}
    table = skill_table(forecasts, truth, (3, 6))
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * 2 * 2 * 2
    assert table.attrs["initial_times"] == 4
    assert table[table.model == "b"].spread_skill.isna().all()
    assert not table.drop(columns="spread_skill").isna().any().any()


def test_single_member_crps_is_the_mean_absolute_error():
    truth = mock_truth()
    forecast = mock_forecast(truth)
    row = one(skill_table({"m": forecast}, truth, (3,)), field="temperature", level=500)
    absolute = np.abs(forecast.temperature.values[:, 0, 0] - truth.temperature.values[1:5, 0])
    expected = np.average(absolute.mean((0, 2)), weights=area_weights(truth.latitude))
    assert row.crps == pytest.approx(expected)


def test_crps_of_a_large_gaussian_ensemble_is_the_closed_form():
    truth = mock_truth(times=6, rows=8, columns=16, fields=("temperature",), levels=(500,))
    forecast = mock_forecast(truth, members=1000, leads=(3,), times=5, error=0.5, spread=2.0)
    centre = forecast.temperature.mean("number").values[:, 0, 0]
    z = (truth.temperature.values[1:6, 0] - centre) / 2.0
    closed = 2.0 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    expected = np.average(closed.mean((0, 2)), weights=area_weights(truth.latitude))
    row = one(skill_table({"m": forecast}, truth, (3,)))
    assert row.crps == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("members", "spread", "expected"),
    [(2, 1.0, 1.0), (8, 1.0, 1.0), (8, 2.0, 2 * np.sqrt(9 / 8) / np.sqrt(1 + 4 / 8)), (8, 0.0, 0.0)],
)
def test_spread_skill_of_a_reliable_ensemble_is_one(members, spread, expected):
    # Truth and members are draws around a common centre: reliable if the members' spread is 1.
    truth = mock_truth(times=40, rows=16, columns=32, fields=("temperature",), levels=(500,))
    forecast = mock_forecast(truth, members=members, leads=(3,), times=39, error=1.0, spread=spread)
    row = one(skill_table({"m": forecast}, truth, (3,)))
    assert row.spread_skill == pytest.approx(expected, rel=0.02)


@given(
    seed=st.integers(0, 10_000),
    members=st.integers(0, 4),
    error=st.floats(0.01, 100.0),
    spread=st.floats(0.0, 100.0),
)
@settings(deadline=None, max_examples=15)
def test_crps_is_between_zero_and_the_error_of_the_members(seed, members, error, spread):
    truth = mock_truth(times=4, rows=3, columns=4, fields=("temperature",), levels=(500,), seed=seed)
    forecast = mock_forecast(
        truth, members=members, leads=(3,), times=2, error=error, spread=spread, seed=seed + 1
    )
    row = one(skill_table({"m": forecast}, truth, (3,)))
    each = [forecast.isel(number=i) for i in range(members)] or [forecast]
    of_members = [one(skill_table({"m": member}, truth, (3,))).crps for member in each]
    tolerance = 1e-9 * (error + spread)
    assert -tolerance <= row.crps <= np.mean(of_members) + tolerance


def test_the_root_is_taken_after_averaging_over_times():
    truth = mock_truth(fields=("temperature",), levels=(500,))
    forecast = mock_forecast(truth, leads=(3,), times=2, error=0.0)
    forecast["temperature"][0] += 3.0
    forecast["temperature"][1] += 4.0
    row = one(skill_table({"m": forecast}, truth, (3,)))
    assert row.rmse == pytest.approx(np.sqrt((9 + 16) / 2))  # and not 3.5


def test_results_do_not_depend_on_the_pieces_read_at_a_time(monkeypatch):
    truth = mock_truth()
    forecast = mock_forecast(truth, members=3, times=5)
    whole = skill_table({"m": forecast}, truth, (3,))
    ranks = rank_histogram(forecast, truth, "temperature", level=500, lead_hours=3)
    monkeypatch.setattr(layout, "_PIECE", 2 * 3 * 6 * 12)
    pieces = skill_table({"m": forecast.chunk(time=1)}, truth.chunk(time=1), (3,))
    np.testing.assert_allclose(
        whole[["rmse", "crps", "spread_skill"]], pieces[["rmse", "crps", "spread_skill"]], rtol=1e-12
    )
    np.testing.assert_allclose(
        rank_histogram(forecast, truth, "temperature", level=500, lead_hours=3), ranks, rtol=1e-12
    )


def test_points_without_truth_do_not_count():
    truth = mock_truth(fields=("temperature",), levels=(500,))
    forecast = mock_forecast(truth, leads=(3,), members=3)
    holed = truth.copy(deep=True)
    holed["temperature"][:, :, :, 6:] = np.nan
    half = {"longitude": slice(0, 6)}
    a = one(skill_table({"m": forecast}, holed, (3,)))
    b = one(skill_table({"m": forecast.isel(half)}, truth.isel(half), (3,)))
    assert a.rmse == pytest.approx(b.rmse)
    assert a.crps == pytest.approx(b.crps)
    assert a.spread_skill == pytest.approx(b.spread_skill)


def test_models_are_compared_on_their_common_times_and_fields():
    truth = mock_truth()
    early = mock_forecast(truth, times=6)
    late = mock_forecast(truth, times=10).isel(time=slice(4, None))[["temperature"]]
    table = skill_table({"early": early, "late": late}, truth, (3,))
    assert set(table.field) == {"temperature"}
    assert table.attrs["initial_times"] == 2
    alone = skill_table({"early": early.isel(time=slice(4, 6))}, truth, (3,))
    assert one(table, model="early", level=500).rmse == pytest.approx(
        one(alone, field="temperature", level=500).rmse
    )


def test_a_region_is_scored_with_the_truth_of_that_region():
    truth = mock_truth()
    region = {"latitude": slice(0, 3), "longitude": slice(2, 7)}
    forecast = mock_forecast(truth).isel(region)
    whole_truth = skill_table({"m": forecast}, truth, (3,))
    cut_truth = skill_table({"m": forecast}, truth.isel(region), (3,))
    np.testing.assert_allclose(whole_truth.rmse, cut_truth.rmse)


def test_persistence_relative_to_itself_is_exactly_one():
    truth = mock_truth()
    forecasts = {"persistence": mock_forecast(truth, error=3.0), "half": mock_forecast(truth, error=1.5)}
    ratios = relative_to_persistence(skill_table(forecasts, truth, (3, 6)))
    assert (ratios[ratios.model == "persistence"].ratio == 1.0).all()
    np.testing.assert_allclose(ratios[ratios.model == "half"].ratio, 0.5, rtol=1e-12)
    assert list(ratios.field.unique()) == ["mean", "temperature", "u_component_of_wind"]
    assert len(ratios) == 3 * 2 * 2


def test_the_mean_ratio_is_the_mean_over_fields_and_levels():
    truth = mock_truth()
    table = skill_table(
        {"persistence": mock_forecast(truth, seed=5), "m": mock_forecast(truth, seed=6)}, truth, (3,)
    )
    by_hand = []
    for field in ("temperature", "u_component_of_wind"):
        for level in (500, 850):
            a, b = (one(table, field=field, level=level, model=m).rmse for m in ("m", "persistence"))
            by_hand.append(a / b)
    ratio = one(relative_to_persistence(table), field="mean", model="m").ratio
    assert ratio == pytest.approx(np.mean(by_hand))
    assert ratio != pytest.approx(1.0, abs=1e-6)


def test_rank_histogram_counts_ranks():
    truth = mock_truth(fields=("temperature",), levels=(500,))
    forecast = mock_forecast(truth, members=3, leads=(3,), times=4)
    counts = np.zeros(4)
    weight = area_weights(truth.latitude).values
    for t in range(4):
        for y in range(6):
            for x in range(12):
                below = (
                    forecast.temperature.values[t, 0, :, 0, y, x] < truth.temperature.values[t + 1, 0, y, x]
                ).sum()
                counts[below] += weight[y]
    histogram = rank_histogram(forecast, truth, "temperature", level=500, lead_hours=3)
    np.testing.assert_allclose(histogram, counts / counts.sum())


def test_rank_histogram_is_flat_if_reliable_hollow_if_not_and_shares_ties():
    truth = mock_truth(times=20, rows=16, columns=32, fields=("temperature",), levels=(500,))
    arguments = {"level": 500, "lead_hours": 3}
    reliable = mock_forecast(truth, members=7, leads=(3,), times=19)
    np.testing.assert_allclose(rank_histogram(reliable, truth, "temperature", **arguments), 1 / 8, atol=0.02)
    narrow = mock_forecast(truth, members=7, leads=(3,), times=19, spread=0.2)
    outer = rank_histogram(narrow, truth, "temperature", **arguments).isel(rank=[0, -1])
    assert float(outer.sum()) > 0.7
    tied = mock_forecast(truth, members=7, leads=(3,), times=19, error=0.0, spread=0.0)
    np.testing.assert_allclose(rank_histogram(tied, truth, "temperature", **arguments), 1 / 8)


def bad_units_of_lead(forecast: xr.Dataset) -> xr.Dataset:
    return forecast.assign_coords(prediction_timedelta=[3, 6])


def not_finite(forecast: xr.Dataset) -> xr.Dataset:
    forecast = forecast.copy(deep=True)
    forecast["temperature"][0, 0, 0, 0, 0] = np.nan
    return forecast


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.isel(prediction_timedelta=[0]), "no lead of 6 h; it has 3 h"),
        (lambda f: f.isel(latitude=slice(0, 3)), "another grid"),
        (lambda f: f.rename(prediction_timedelta="lead"), "lacks the dimension 'prediction_timedelta'"),
        (lambda f: f.rename(temperature="t", u_component_of_wind="u"), "no field in common"),
        (lambda f: f.assign_coords(level=[300, 400]), "no level in common"),
        (lambda f: f.assign_coords(time=f.time + np.timedelta64(1, "h")), "no initial time in common"),
        (bad_units_of_lead, "not a time difference"),
        (not_finite, "not finite"),
    ],
)
def test_bad_forecasts_are_named(spoil, message):
    truth = mock_truth()
    forecast = mock_forecast(truth)
    with pytest.raises(UserError, match=message):
        skill_table({"good": forecast, "bad": spoil(forecast)}, truth, (3, 6))


def test_other_bad_input_is_named():
    truth = mock_truth()
    forecast = mock_forecast(truth)
    with pytest.raises(UserError, match="at least one forecast"):
        skill_table({}, truth)
    with pytest.raises(UserError, match="none of the valid times"):
        skill_table({"m": forecast}, truth.isel(time=slice(20, None)), (3,))
    with pytest.raises(UserError, match="not on the forecast's grid"):
        skill_table({"m": forecast}, truth.assign_coords(latitude=truth.latitude + 1), (3,))
    with pytest.raises(UserError, match="lacks the dimension 'level'"):
        skill_table({"m": forecast}, truth.isel(level=0), (3,))
    with pytest.raises(UserError, match='no model "persistence"'):
        relative_to_persistence(skill_table({"m": forecast}, truth, (3,)))
    with pytest.raises(UserError, match="needs an ensemble"):
        rank_histogram(forecast, truth, "temperature", level=500, lead_hours=3)
    with pytest.raises(UserError, match="no humidity at 500 hPa"):
        rank_histogram(mock_forecast(truth, members=2), truth, "humidity", level=500, lead_hours=3)
