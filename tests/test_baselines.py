"""Baselines against explicit least squares, plain means and a flow that a stencil predicts exactly."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from atmorep_lite import layout
from atmorep_lite.baselines import climatology, fit_ridge, persistence
from atmorep_lite.errors import UserError
from atmorep_lite.verification import relative_to_persistence, skill_table
from tests.mocks import as_dataset, mock_truth

FIELDS = ("temperature", "u_component_of_wind")


def red_noise(times: int, rows: int, columns: int, *, seed: int = 0) -> xr.Dataset:
    """Two coupled fields with memory, so that regression has something to find."""
    rng = np.random.default_rng(seed)
    a, b = np.zeros((2, times, 1, rows, columns))
    for t in range(1, times):
        noise = rng.normal(size=(2, 1, rows, columns))
        a[t] = 0.7 * a[t - 1] + 0.3 * np.roll(b[t - 1], 1, -1) + noise[0]
        b[t] = 0.5 * b[t - 1] - 0.4 * np.roll(a[t - 1], 1, -2) + noise[1]
    a += np.arange(columns)  # a mean that differs from point to point
    return as_dataset({"temperature": 10 * a + 280, "u_component_of_wind": b})


def test_persistence_is_the_initial_state_at_every_lead():
    truth = mock_truth()
    times = truth.time.values[[2, 5]]
    forecast = persistence(truth, times, (3, 24))
    assert forecast.temperature.dims == ("time", "prediction_timedelta", "level", "latitude", "longitude")
    for lead in (3, 24):
        step = forecast.temperature.sel(prediction_timedelta=np.timedelta64(lead, "h"))
        np.testing.assert_array_equal(step, truth.temperature.values[[2, 5]])
    assert forecast.attrs["simulated"] == "true"


def test_climatology_is_the_mean_of_the_record():
    train, truth = mock_truth(seed=3, times=50), mock_truth(seed=4)
    forecast = climatology(train, truth, truth.time.values[:3], (3, 6))
    expected = train.temperature.values.mean(0)
    for t in range(3):
        for lead in range(2):
            np.testing.assert_allclose(forecast.temperature.values[t, lead], expected, rtol=1e-5, atol=1e-7)


def test_climatology_by_month_uses_the_month_of_the_valid_time():
    train = mock_truth(times=8 * 62, rows=3, columns=4, start="2001-01-01")
    truth = mock_truth(times=16, rows=3, columns=4, start="2005-01-31T15")
    forecast = climatology(train, truth, truth.time.values[:2], (3, 9), by_month=True)
    january, february = (
        train.temperature.values[: 8 * 31].mean(0),
        train.temperature.values[8 * 31 : 8 * 59].mean(0),
    )
    np.testing.assert_allclose(forecast.temperature.values[0, 0], january, atol=1e-6)  # 31 January, 18 h
    np.testing.assert_allclose(forecast.temperature.values[0, 1], february, atol=1e-6)  # 1 February, 0 h
    with pytest.raises(UserError, match="no month 7"):
        climatology(train, truth.assign_coords(time=truth.time + np.timedelta64(160, "D")), 
                    truth.time.values[:1] + np.timedelta64(160, "D"), (3,), by_month=True)  # fmt: skip


def explicit_ridge(data: xr.Dataset, times: np.ndarray, lead: int, width: int, states: int, penalty: float):
    """Forecast ``[t, field, y, x]`` by least squares on explicitly built inputs, row by row."""
    values = np.stack([data[n].values[:, 0] for n in FIELDS], axis=1)  # [t, field, y, x]
    _, fields, rows, columns = values.shape
    starts = np.arange(states - 1, len(values) - lead)
    half = width // 2
    scale = (values[starts].std(0) ** 2).mean(-1) ** 0.5  # [field, y]

    def inputs(at, y):
        found = []
        for back in range(states):
            for f in range(fields):
                for dy in range(-half, half + 1):
                    for dx in range(-half, half + 1):
                        row = min(max(y + dy, 0), rows - 1)
                        series = (values[:, f, row] - values[starts - back, f, row].mean(0)) / scale[f, row]
                        found.append(np.roll(series[at - back], -dx, axis=-1))
        return np.stack(found, axis=-1)  # [t, x, input]

    out = np.empty((len(times), fields, rows, columns))
    for y in range(rows):
        x = inputs(starts, y).reshape(-1, states * fields * width**2)
        damping = np.sqrt(penalty * len(x)) * np.eye(x.shape[1])
        for f in range(fields):
            departure = values[starts + lead, f, y] - values[starts, f, y]
            mean = departure.mean(0)
            target = ((departure - mean) / scale[f, y]).ravel()
            weights, *_ = np.linalg.lstsq(
                np.concatenate([x, damping]), np.concatenate([target, np.zeros(len(damping))]), rcond=None
            )
            out[:, f, y] = values[times, f, y] + mean + scale[f, y] * (inputs(times, y) @ weights)
    return out


@pytest.mark.parametrize(("width", "states", "columns"), [(3, 1, 8), (3, 2, 8), (5, 1, 11), (1, 3, 7)])
def test_ridge_agrees_with_explicit_least_squares(width, states, columns):
    data = red_noise(60, 4, columns)
    fit = fit_ridge(data, FIELDS, [500], [6], penalty=0.01, stencil=width, states=states)
    chosen = np.array([5, 20, 41])
    forecast = fit.forecast(data, data.time.values[chosen])
    expected = explicit_ridge(data, chosen, 2, width, states, 0.01)
    for i, name in enumerate(FIELDS):
        np.testing.assert_allclose(forecast[name].values[:, 0, 0], expected[:, i], rtol=2e-5, atol=2e-5)


def advection(times: int, speed: int, *, seed: int = 0, jump: int = 0) -> xr.Dataset:
    """Noise carried around by ``speed`` columns a step; different noise in every row."""
    rng = np.random.default_rng(seed)
    pattern = rng.normal(size=(2, 5, 24))
    moved = np.stack([np.roll(pattern, speed * (t + jump), -1) for t in range(times)], axis=1)
    return as_dataset({n: 5 * moved[i][:, None] for i, n in enumerate(FIELDS)})


def test_ridge_predicts_a_steady_advection():
    truth = advection(72, 1)
    fit = fit_ridge(truth, FIELDS, [500], (3, 6), states=1)
    times = truth.time.values[:40]
    forecasts = {"persistence": persistence(truth, times, (3, 6)), "ridge": fit.forecast(truth, times)}
    ratios = relative_to_persistence(skill_table(forecasts, truth, (3, 6)))
    assert ratios[ratios.model == "ridge"].ratio.max() < 1e-3


def test_ridge_cannot_see_beyond_its_stencil():
    # Three columns a step: outside a stencil of five points, and noise leaves no trace nearby.
    rng = np.random.default_rng(2)
    shape = (400, 1, 3, 24)
    field = np.zeros(shape)
    for t in range(1, shape[0]):
        field[t] = 0.9 * np.roll(field[t - 1], 3, -1) + rng.normal(size=shape[1:])
    data = as_dataset({"temperature": field})
    error = {}
    for width in (5, 7):
        forecast = fit_ridge(data, ["temperature"], [500], [3], states=1, stencil=width).forecast(
            data, data.time.values[:-1]
        )
        error[width] = float(np.std(forecast.temperature.values[:, 0] - field[1:]))
    assert error[7] == pytest.approx(1.0, abs=0.03)  # the noise that nobody can predict
    assert error[5] > 1.8


def test_a_second_state_tells_how_fast_it_moves():
    # The pattern oscillates: from one state the sign of its change is unknown, from two it is certain.
    rng = np.random.default_rng(1)
    amplitude, phase = rng.normal(size=(1, 4, 16)), rng.uniform(0, 2 * np.pi, size=(1, 4, 16))
    steps = np.arange(120)[:, None, None, None]
    data = as_dataset({"temperature": amplitude * np.cos(0.4 * steps + phase)})
    times = data.time.values[5:100]
    truth = data.temperature.values[6:101]

    def error(states: int) -> float:
        forecast = fit_ridge(data, ["temperature"], [500], [3], states=states, stencil=1).forecast(
            data, times
        )
        return float(np.std(forecast.temperature.values[:, 0] - truth))

    assert error(2) < 1e-3
    assert error(1) > 0.1


def test_the_penalty_is_small_for_order_and_large_for_noise():
    order = fit_ridge(red_noise(300, 3, 12), FIELDS, [500], [3], states=1)
    noise = fit_ridge(mock_truth(times=80, rows=3, columns=12), FIELDS, [500], [24], states=3)
    assert order.penalty.shape == (3, 1)
    assert np.median(order.penalty) < 0.05 <= np.median(noise.penalty)


def test_ridge_does_not_depend_on_pieces_laziness_or_dimension_order(monkeypatch):
    data = red_noise(60, 4, 8)
    times = data.time.values[10:20]
    expected = fit_ridge(data, FIELDS, [500], [3, 9], stencil=3).forecast(data, times)
    monkeypatch.setattr(layout, "_PIECE", 5 * 2 * 4 * 8 * 7)
    lazy = (
        data.chunk(time=7)
        .transpose("longitude", "time", "latitude", "level")
        .isel(time=slice(None, None, -1))
    )
    found = fit_ridge(lazy, FIELDS, [500], [3, 9], stencil=3).forecast(lazy, times)
    xr.testing.assert_allclose(found, expected, rtol=1e-5)


def test_ridge_never_steps_across_a_gap():
    first, second = advection(40, 1), advection(40, 1, jump=7)
    second = second.assign_coords(time=second.time + np.timedelta64(400, "h"))
    fit = fit_ridge(xr.concat([first, second], "time"), FIELDS, [500], [3], states=2)
    times = first.time.values[1:30]
    error = fit.forecast(first, times).temperature.values[:, 0] - first.temperature.values[2:31]
    assert np.abs(error).max() < 1e-2


def test_constant_fields_stay_constant():
    data = red_noise(60, 3, 8)
    data["u_component_of_wind"] = data.u_component_of_wind * 0 + 7.3
    forecast = fit_ridge(data, FIELDS, [500], [3], stencil=3).forecast(data, data.time.values[5:8])
    np.testing.assert_allclose(forecast.u_component_of_wind, 7.3, rtol=1e-6)


def test_at_most_so_many_times_are_used():
    data = red_noise(200, 3, 8)
    times = data.time.values[5:8]
    few = fit_ridge(data, FIELDS, [500], [3], max_times=20, stencil=3, penalty=0.1).forecast(data, times)
    many = fit_ridge(data, FIELDS, [500], [3], stencil=3, penalty=0.1).forecast(data, times)
    assert float(np.abs(few.temperature - many.temperature).max()) > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": ["humidity"]}, "has no humidity"),
        ({"levels": [300]}, r"lacks a level of \[300\]; it has 500"),
        ({"stencil": 4}, "odd number"),
        ({"stencil": 7}, "odd number"),
        ({"states": 0}, "cannot see 0 states"),
        ({"penalty": 0.0}, "not positive"),
        ({"leads": [2]}, "found 0 initial times"),
        ({"train": red_noise(30, 3, 8).isel(longitude=slice(0, 7))}, "all longitudes"),
        ({"train": red_noise(30, 3, 8) * np.nan}, "missing values"),
    ],
)
def test_bad_input_to_ridge_is_named(change, message):
    arguments = {"train": red_noise(30, 3, 8), "fields": FIELDS, "levels": [500], "leads": [3], "stencil": 3}
    with pytest.raises(UserError, match=message):
        fit_ridge(**(arguments | change))


def test_other_bad_input_is_named():
    data = red_noise(30, 3, 8)
    fit = fit_ridge(data, FIELDS, [500], [3], stencil=3, states=2)
    with pytest.raises(UserError, match="has no 2000-12-31T21:00; it covers 2001-01-01T00:00"):
        fit.forecast(data, data.time.values[:1])
    with pytest.raises(UserError, match="another grid"):
        fit.forecast(red_noise(30, 4, 8), data.time.values[3:4])
    with pytest.raises(UserError, match=r"has no 1999-01-01T00:00"):
        persistence(data, np.array(["1999-01-01"], "datetime64[ns]"), (3,))
    with pytest.raises(UserError, match="no variable with the dimensions time and level"):
        persistence(data.isel(level=0), data.time.values[:1], (3,))
    with pytest.raises(UserError, match="training record has no u_component"):
        climatology(data[["temperature"]], data, data.time.values[:1], (3,))
    with pytest.raises(UserError, match="training record lacks a level"):
        climatology(data, data.assign_coords(level=[300]), data.time.values[:1], (3,))
    with pytest.raises(UserError, match="another grid"):
        climatology(red_noise(30, 4, 8), data, data.time.values[:1], (3,))
