"""What the stage shows, against the applications' own functions and naive formulas."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import xarray as xr

from atmorep_lite.app.attention import Look, explore
from atmorep_lite.app.compute import Answer, Question, answer, scores
from atmorep_lite.app.hiding import Area, Stroke, masks
from atmorep_lite.app.stage import Stage, open_stage
from atmorep_lite.applications.forecast import forecast
from atmorep_lite.attention_maps import capture_attention
from atmorep_lite.errors import UserError

TIME, PLACE = "2010-01-21T12:00", (45.0, 320.0)


@pytest.fixture(scope="module")
def stage() -> Stage:
    return open_stage("sample", "demo")


@pytest.fixture(scope="module")
def given(stage: Stage) -> Answer:
    return answer(stage, Question(TIME, *PLACE))


def area_mean(values: np.ndarray, latitude: np.ndarray) -> float:
    """Naive mean of [y, x] over the sphere, row by row, from the pole southwards."""
    total = weight = 0.0
    for y, row in enumerate(values):
        above = (latitude[y - 1] + latitude[y]) / 2 if y else 90.0
        south = latitude[y + 1] if y + 1 < len(latitude) else 2 * latitude[y] - latitude[y - 1]
        below = (south + latitude[y]) / 2
        area = np.sin(np.deg2rad(above)) - np.sin(np.deg2rad(below))
        total += area * row.sum()
        weight += area * len(row)
    return total / weight


def test_hours_and_times(stage: Stage) -> None:
    assert stage.hours.tolist() == [-9, -6, -3, 0, 3, 6, 9, 12, 15, 18, 21, 24]
    record = stage.dataset["time"].values
    assert stage.times[0] == record[3] and stage.times[-1] == record[-9]
    with pytest.raises(UserError, match="no window of 12 states around"):
        stage.at(record[2])


def test_the_forecast_is_that_of_the_application(stage: Stage) -> None:
    """On a region of one tile the application's globe is this neighbourhood."""
    given = answer(stage, Question(TIME, 45.0, 180.0))
    region = stage.dataset.sel(latitude=given.latitude, longitude=given.longitude)
    network = copy.copy(stage.network)
    assert network.normalizer is not None
    network.normalizer = network.normalizer.at(given.latitude, given.longitude)
    whole = forecast(network, region, [np.datetime64(TIME)])
    for name in ("temperature", "vorticity"):
        shown = given.shown(name)
        assert shown.members is not None
        theirs = whole[name].isel(time=0).transpose("number", "level", "prediction_timedelta", ...).values
        assert np.allclose(shown.members[:, :, 4:], theirs, atol=2e-4 * np.abs(theirs).mean()), name


def test_truth_and_persistence_are_the_data(stage: Stage, given: Answer) -> None:
    shown = given.shown("temperature")
    at = stage.dataset.temperature.sel(level=[500, 850])
    times = np.datetime64(TIME) + (stage.hours * 3600).astype("timedelta64[s]")
    box = at.sel(time=times, latitude=given.latitude, longitude=given.longitude % 360)
    data = box.transpose("level", "time", "latitude", "longitude").values
    assert np.allclose(shown.truth, data, atol=1e-3)
    # held as anomalies from the mean of each grid point, which is the same at all hours
    assert np.abs(shown.held[:, 4:] - data[:, 3:4]).max() < 1e-3


def test_visible_tokens_come_back_as_they_were(given: Answer) -> None:
    shown = given.shown("specific_humidity")
    assert shown.members is not None
    assert np.array_equal(shown.members[3][:, :4], shown.truth[:, :4])
    assert not np.allclose(shown.members[3][:, 4:], shown.truth[:, 4:])


def test_the_model_never_sees_what_is_hidden(stage: Stage) -> None:
    """Other values behind the mask, the same prediction."""
    before = answer(stage, Question(TIME, *PLACE))
    changed = stage.dataset.copy()
    later = changed.time > np.datetime64(TIME)
    changed["temperature"] = xr.where(later, changed["temperature"] + 5.0, changed["temperature"]).transpose(
        *stage.dataset["temperature"].dims
    )
    other = answer(Stage("changed", "demo", changed, stage.network), Question(TIME, *PLACE))
    a, b = before.shown("vorticity").members, other.shown("vorticity").members
    assert a is not None and b is not None and np.array_equal(a, b)


def test_scores_are_naive_means(given: Answer) -> None:
    shown = given.shown("temperature")
    assert shown.members is not None
    found = scores(shown, given.latitude)
    mean = shown.members.astype(float).mean(0)
    for level, step in ((0, 4), (1, 11)):
        error = area_mean((mean - shown.truth)[level, step] ** 2, given.latitude) ** 0.5
        assert found["model"][level, step] == pytest.approx(error, rel=1e-5)
        variance = shown.members.astype(float).var(0, ddof=1)[level, step]
        assert found["spread"][level, step] == pytest.approx(
            area_mean(variance, given.latitude) ** 0.5, rel=1e-4
        )
    assert np.isnan(found["model"][:, :4]).all()
    assert (found["model"][:, 4:] < found["held"][:, 4:]).all()


def test_only_hidden_points_count(stage: Stage) -> None:
    area = Area(north=60, south=30, west=-60, east=0)
    given = answer(stage, Question(TIME, *PLACE, "fill", (Stroke(fields=("temperature",), area=area),)))
    shown = given.shown("temperature")
    found = scores(shown, given.latitude)["held"][0, 5]
    off = (shown.held - shown.truth).astype(float)[0, 5] ** 2
    inside = shown.at_points[0, 5]
    assert 0 < inside.mean() < 0.5
    part = area_mean(off * inside, given.latitude) / area_mean(inside.astype(float), given.latitude)
    assert found == pytest.approx(part**0.5, rel=1e-5)


def test_attention_is_that_of_capture_attention(stage: Stage, given: Answer) -> None:
    mine = given.capture()
    theirs = capture_attention(stage.network, stage.dataset, TIME, latitude=PLACE[0], longitude=PLACE[1])
    assert mine.pairs.keys() == theirs.pairs.keys()
    for pair, other in theirs.pairs.items():
        assert np.allclose(mine.pairs[pair].q, other.q, atol=1e-4)
        assert np.allclose(mine.pairs[pair].k, other.k, atol=1e-4)
    assert np.array_equal(mine.fields["vorticity"].mask, theirs.fields["vorticity"].mask)
    assert np.allclose(mine.fields["vorticity"].longitude, theirs.fields["vorticity"].longitude)


def places(given: Answer) -> tuple[np.ndarray, np.ndarray]:
    return given.latitude, given.longitude


def test_tasks_hide_their_slots(stage: Stage, given: Answer) -> None:
    whole = (2, 8, 16)
    forecast_mask = masks(stage, "forecast", (), *places(given))["temperature"]
    assert forecast_mask.shape == (2, 3, 8, 16)
    assert np.array_equal(
        forecast_mask.transpose(1, 0, 2, 3), [np.zeros(whole), np.ones(whole), np.ones(whole)]
    )
    between = masks(stage, "interpolate", (), *places(given))["vorticity"]
    assert np.array_equal(between.transpose(1, 0, 2, 3), [np.zeros(whole), np.ones(whole), np.zeros(whole)])


def test_strokes_hide_and_show(stage: Stage, given: Answer) -> None:
    latitude, longitude = places(given)
    centre = (latitude.reshape(-1, 2).mean(1)[2], longitude.reshape(-1, 2).mean(1)[5])
    hide = Stroke(fields=("t",), levels=(850,), hours=(6.0,), cells=(centre,))
    found = masks(stage, "fill", (hide,), latitude, longitude)
    assert {name for name, mask in found.items() if mask.any()} == {"temperature"}
    assert np.argwhere(found["temperature"]).tolist() == [[1, 1, 2, 5]]
    show = Stroke(cells=((centre[0], centre[1] - 360),), show=True)  # a turn further is the same place
    again = masks(stage, "forecast", (show,), latitude, longitude)
    assert all(not mask[:, :, 2, 5].any() and mask.sum() == 2 * 2 * 127 for mask in again.values())


def test_areas_run_eastwards_across_the_date_line(stage: Stage) -> None:
    given = answer(stage, Question(TIME, 0.0, 180.0))
    latitude, longitude = places(given)
    stroke = Stroke(area=Area(north=20, south=-20, west=170, east=-170))
    found = masks(stage, "fill", (stroke,), latitude, longitude)["vorticity"][0, 0]
    north, east = latitude.reshape(-1, 2).mean(1), longitude.reshape(-1, 2).mean(1)
    for row, column in np.ndindex(found.shape):
        inside = abs(north[row]) <= 20 and abs(east[column] % 360 - 180) <= 10
        assert found[row, column] == inside


def test_parts_are_drawn_again_alike(stage: Stage, given: Answer) -> None:
    one, two, other = (
        masks(stage, "fill", (Stroke(part=0.7, seed=seed),), *places(given)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["vorticity"], other["vorticity"])
    assert np.mean([mask.mean() for mask in one.values()]) == pytest.approx(0.7, abs=0.02)


def test_nothing_hidden_comes_back_as_it_is_and_everything_is_refused(stage: Stage) -> None:
    given = answer(stage, Question(TIME, *PLACE, "fill"))
    shown = given.shown("temperature")
    assert shown.members is not None
    assert not given.asks and all(np.isnan(found).all() for found in scores(shown, given.latitude).values())
    assert (shown.members == shown.truth).all()
    with pytest.raises(UserError, match="everything is hidden"):
        answer(stage, Question(TIME, *PLACE, "fill", (Stroke(),)))


def test_one_question_is_asked_once(stage: Stage, given: Answer) -> None:
    assert answer(stage, Question(TIME, *PLACE)) is given


def test_attention_counts_hours_as_the_stage_does(given: Answer) -> None:
    look = Look(field="vorticity", latitude=50, longitude=320, hours=12, key_hours=0)
    explorer = explore(given, look)
    (field,) = (one for one in explorer.meta["fields"] if one["name"] == "vorticity")
    assert field["hours"] == [0.0, 12.0, 24.0] and explorer.meta["wind"]["hours"] == field["hours"]
    assert explorer.selected["key_hours"] == 0.0
    _, slot, _, _ = np.unravel_index(explorer.selected["query"], field["shape"])
    assert field["hours"][slot] == 12.0
    assert explore(given, Look()).selected["key_hours"] in field["hours"]


@pytest.mark.parametrize(("latitude", "longitude"), [(-50, 320), (50, 120)])
def test_attention_off_the_map_is_refused(given: Answer, latitude: float, longitude: float) -> None:
    with pytest.raises(UserError, match="off the map"):
        explore(given, Look(latitude=latitude, longitude=longitude))
    explore(given, Look(latitude=latitude % 90, longitude=-40))  # 320 a turn before


def test_data_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="check the path"):
        open_stage("/nowhere", "demo")
    with pytest.raises(UserError):
        open_stage("sample", "nobody")
    with pytest.raises(UserError, match="of another kind; the app shows weather models, such as demo"):
        open_stage("sample", "vortices")
