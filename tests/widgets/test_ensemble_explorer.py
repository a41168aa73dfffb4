"""EnsembleExplorer: truths, members and numbers against independent sums; a real forecast; bad input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats
from scores.probability import rank_histogram as scores_rank_histogram

from atmorep_lite import losses
from atmorep_lite.errors import UserError
from atmorep_lite.layout import hours
from atmorep_lite.verification import rank_histogram, skill_table
from atmorep_lite.widgets.ensemble_explorer import LOSSES, PUBLISHED, EnsembleExplorer, draw, truth_table

FORMS = ("bell", "two peaks", "skewed", "one value")


def ensemble_forecast(members: int = 5, *, spread: float = 0.5) -> tuple[xr.Dataset, xr.Dataset]:
    """A forecast whose members miss the truth by as much as they differ where ``spread`` is 1."""
    rng = np.random.default_rng(2)
    latitude, longitude = np.linspace(75, -75, 6), np.arange(0, 360, 30.0)
    times = np.datetime64("2001-01-01T00:00", "ns") + hours(np.arange(0, 36, 6.0))
    grid = {"level": [500], "latitude": latitude, "longitude": longitude}
    attrs = {"units": "kg kg-1"}
    truth = rng.normal(size=(6, 1, 6, 12)) / 1000
    centre = np.stack([[truth[t + lead] for lead in (1, 2)] for t in range(3)])
    centre = centre + rng.normal(size=centre.shape) / 1000
    values = centre[:, :, None] + spread * rng.normal(size=(3, 2, members, 1, 6, 12)) / 1000
    dims = ("time", "prediction_timedelta", "number", "level", "latitude", "longitude")
    forecast = xr.Dataset(
        {"specific_humidity": (dims, values, attrs)},
        coords={"time": times[:3], "prediction_timedelta": hours([6.0, 12.0]), **grid},
    )
    known = xr.Dataset(
        {"specific_humidity": (("time", "level", "latitude", "longitude"), truth, attrs)},
        coords={"time": times, **grid},
        attrs={"simulated": "true"},
    )
    return forecast, known


@pytest.mark.parametrize("form", FORMS[:3])
def test_truths_are_sorted_and_of_unit_spread(form: Any) -> None:
    truths = truth_table(form)
    assert truths.mean() == pytest.approx(0, abs=1e-12) and truths.std() == pytest.approx(1)
    assert (np.diff(truths) > 0).all(), "the page looks for ranks by halving"


def test_truths_are_what_they_are_called() -> None:
    assert stats.kstest(truth_table("bell"), "norm").statistic < 0.01
    assert stats.kstest(truth_table("skewed") + 1, "expon").statistic < 0.02
    peaks = truth_table("two peaks")
    assert (np.abs(peaks) < 0.3).mean() < 0.03 and peaks == pytest.approx(-peaks[::-1])
    assert truth_table("one value").tolist() == [0]


def test_members_are_drawn_by_the_seed_and_placed() -> None:
    explorer = EnsembleExplorer(6, bias=0.3, spread=0.7, seed=5)
    members = np.array(explorer.selected["members"])
    assert members.mean() == pytest.approx(0.3) and members.std(ddof=1) == pytest.approx(0.7)
    assert np.ptp((members - 0.3) / draw(6, 5)) > 0  # centred before it is scaled
    assert not np.allclose(members, EnsembleExplorer(6, bias=0.3, spread=0.7, seed=6).selected["members"])
    share = stats.norm.cdf(draw(6, 5)) * 6
    assert (np.floor(share) == np.arange(6)).all(), "one in each sixth of the Gaussian"
    given = EnsembleExplorer([-1.0, 0.0, 1.0])
    assert given.selected["members"] == [-1, 0, 1]
    assert EnsembleExplorer([-1.0, 0.0, 1.0], bias=1, spread=0.5).selected["members"] == [0.5, 1, 1.5]


def test_losses_are_those_of_training() -> None:
    explorer = EnsembleExplorer(7, bias=0.2, spread=0.4, error=0.8, truths="skewed")
    members, truths = np.array(explorer.selected["members"]), explorer.truths()
    said = explorer.losses()
    assert list(said) == list(LOSSES) and set(LOSSES) - set(losses.LOSSES) == {PUBLISHED}
    mean, sigma = members.mean(), members.std(ddof=1)
    assert said["mse"] == pytest.approx(((truths - mean) ** 2).mean())
    expected = (np.exp(-((truths - mean) ** 2) / (2 * sigma**2)) - 1) ** 2
    assert said["stats"] == pytest.approx(expected.mean() + np.sqrt(sigma))
    pairs = np.abs(members[:, None] - members).mean()
    assert said["crps"] == pytest.approx(np.abs(members - truths[:, None]).mean() - pairs / 2)
    assert said[PUBLISHED] == pytest.approx(said["stats"] + said["mse_ensemble"])


def test_ranks_and_spread_skill_are_those_of_verification() -> None:
    explorer = EnsembleExplorer(5, bias=-0.1, spread=0.3, error=0.6)
    members, truths = np.array(explorer.selected["members"]), explorer.truths()
    ensemble = xr.DataArray(np.tile(members, (len(truths), 1)), dims=("time", "number"))
    shares = scores_rank_histogram(ensemble, xr.DataArray(truths, dims="time"), "number")
    assert explorer.rank_shares() == pytest.approx(shares.values)
    error = np.sqrt(((truths - members.mean()) ** 2).mean())
    assert explorer.spread_skill() == pytest.approx(members.std(ddof=1) * np.sqrt(6 / 5) / error)
    ties = EnsembleExplorer([0.0, 0.0, 1.0], truths="one value")
    assert ties.rank_shares() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_a_forecast_is_scored_as_the_library_does() -> None:
    forecast, truth = ensemble_forecast()
    explorer = EnsembleExplorer.of_forecast(forecast, truth, field="specific_humidity", level=500)
    assert explorer.fault is None and explorer.selected == {"lead": 12.0}
    assert explorer.meta["units"] == "g kg⁻¹" and explorer.meta["simulated"]
    table = skill_table({"m": forecast}, truth, [6, 12])
    for step, row in zip(explorer.meta["steps"], table.itertuples(), strict=True):
        assert step["rmse"] == pytest.approx(1000 * row.rmse) and step["ratio"] == pytest.approx(
            row.spread_skill
        )
        assert step["spread"] / step["rmse"] == pytest.approx(step["ratio"])
        assert step["ranks"] == pytest.approx(
            rank_histogram(
                forecast, truth, "specific_humidity", level=500, lead_hours=int(step["lead"])
            ).values
        )
        bins = np.array(step["bins"])
        assert (np.diff(bins[:, 0]) > 0).all() and bins.shape == (8, 2)
    members = forecast["specific_humidity"].sel(prediction_timedelta=hours(12.0)).isel(level=0)
    observed = truth["specific_humidity"].isel(level=0, time=[2, 3, 4]).values
    maps = (
        1000 * np.sqrt(1.2 * members.var("number", ddof=1).mean("time").values),
        1000 * np.sqrt(((members.mean("number").values - observed) ** 2).mean(0)),
    )
    packed = explorer.meta["maps"]
    for index, expected in zip((2, 3), maps, strict=True):
        codes = np.frombuffer(explorer.data, "<u2", 72, packed["at"] + 144 * index).reshape(6, 12)
        low, high = packed["ranges"][index]
        assert low + codes / 65534 * (high - low) == pytest.approx(np.roll(expected, 6, axis=1), abs=1e-4)
    explorer.selected = {"lead": 6}
    with pytest.raises(UserError):
        explorer.selected = {"lead": 9}
    one = EnsembleExplorer.of_forecast(forecast, truth, field="specific_humidity", level=500, leads_hours=[6])
    assert one.meta["leads"] == [6.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"members": 1}, "one member has no spread"),
        ({"members": [0.5]}, "2 to 32 numbers"),
        ({"members": [0.0, np.nan]}, "2 to 32 numbers"),
        ({"members": [0.0, 1e9]}, "between -4 and 4"),
        ({"members": 1000}, "2 to 32"),
        ({"members": "many"}, "numbers"),
        ({"members": True}, "numbers"),
        ({"spread": -1}, "The spread is -1"),
        ({"bias": np.inf}, "The bias is inf"),
        ({"seed": -1}, "The seed is -1"),
        ({"error": 0}, "selected['error'] is 0"),
        ({"loss": "l1"}, "selected['loss']"),
        ({"truths": "flat"}, "selected['truths']"),
        ({"axis": "x"}, "selected['axis']"),
    ],
)
def test_bad_input_is_told_in_the_widget(options: dict[str, Any], said: str) -> None:
    explorer = EnsembleExplorer(**options)
    assert explorer.fault is not None and said in explorer.fault, explorer.fault
    with pytest.raises(UserError):
        explorer.to_html("never.html")


def test_a_bad_forecast_is_told_in_the_widget() -> None:
    forecast, truth = ensemble_forecast()
    right: dict[str, Any] = {"field": "specific_humidity", "level": 500}
    holes = forecast.copy(deep=True)
    holes["specific_humidity"][0, 0, 0, 0, 0, 0] = np.nan
    for prediction, options, said in (
        (forecast.isel(number=0), {}, "no ensemble"),
        (forecast.isel(number=[0]), {}, "no ensemble"),
        (forecast, {"field": "wind"}, "no wind"),
        (forecast, {"level": 850}, "level 850"),
        (forecast, {"leads_hours": [7]}, "no lead of 7 h"),
        (holes, {}, "not finite"),
    ):
        explorer = EnsembleExplorer.of_forecast(prediction, truth, **(right | options))
        assert explorer.fault is not None and said in explorer.fault, explorer.fault
    same = forecast * 0 + truth["specific_humidity"].isel(time=0, drop=True)
    still = truth * 0 + truth.isel(time=0, drop=True)
    explorer = EnsembleExplorer.of_forecast(same, still, **right)
    assert explorer.fault is not None and "equals the truth" in explorer.fault


def test_places_without_a_truth_do_not_count() -> None:
    forecast, truth = ensemble_forecast()
    truth["specific_humidity"][:, 0, 2, 3] = np.nan
    explorer = EnsembleExplorer.of_forecast(forecast, truth, field="specific_humidity", level=500)
    assert explorer.fault is None
    json.dumps(explorer.meta, allow_nan=False)
    packed = explorer.meta["maps"]
    codes = np.frombuffer(explorer.data, "<u2", 72, packed["at"] + 144).reshape(6, 12)
    assert (codes == 65535).sum() == 1 and codes[2, 9] == 65535


def test_equal_members_are_given_no_spread() -> None:
    assert "no factor gives them the spread 0.5" in str(EnsembleExplorer([0, 0, 0], spread=0.5).fault)
    assert EnsembleExplorer([0, 0, 0]).fault is None


def test_selected_takes_members_and_refuses_what_makes_no_ensemble() -> None:
    explorer = EnsembleExplorer(4)
    explorer.selected = {"members": torch.tensor([0.0, 0.25]).numpy(), "loss": "crps"}
    assert explorer.selected["members"] == [0, 0.25] and explorer.selected["truths"] == "bell"
    for wrong in ({"members": [1]}, {"members": None}, {"loss": "none"}, {"lead": 6}):
        with pytest.raises(UserError):
            explorer.selected = wrong
