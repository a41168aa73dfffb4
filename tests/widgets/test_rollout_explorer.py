"""RolloutExplorer: what it packs, errors and spectra against independent sums, answers to bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.flow_figures import enstrophy_spectrum
from atmorep_lite.layout import hours
from atmorep_lite.verification import skill_table
from atmorep_lite.widgets.maps_packing import pack_maps, readable, regular_grid, rolled
from atmorep_lite.widgets.rollout_explorer import RolloutExplorer
from atmorep_lite.widgets.spectra import ring_spectrum, zonal_spectrum
from atmorep_lite.zoo import relative_error

POINTS, LEADS = 24, 8


def drifting(shift: float, *, decay: float = 0.0) -> np.ndarray:
    """A pattern that drifts along x, ``[lead, y, x]``; ``decay`` per lead takes its fine wave away."""
    x = 2 * np.pi * np.arange(POINTS) / POINTS
    lead = np.arange(1, LEADS + 1)[:, None, None]
    fine = np.exp(-decay * lead) * 0.4 * np.sin(6 * (x - shift * lead)) * np.cos(2 * x)[:, None]
    return np.sin(x - shift * lead) * np.cos(x)[:, None] + fine


def waves(**words: Any) -> RolloutExplorer:
    """Three forecasts of a drifting pattern: good, slow, and smooth."""
    forecasts = {"good": drifting(0.29), "slow": drifting(0.2), "smooth": drifting(0.3, decay=0.6)}
    return RolloutExplorer(drifting(0.3), forecasts, start=drifting(0.3)[0], climatology=0.0, **words)


def weather(members: int = 0) -> tuple[xr.Dataset, xr.Dataset]:
    """A forecast and its truth on a coarse globe."""
    rng = np.random.default_rng(3)
    latitude, longitude = np.linspace(80, -80, 9), np.arange(0, 360, 30.0)
    times = np.datetime64("2001-01-01T00:00", "ns") + hours(np.arange(0, 36, 6.0))
    shape = (len(times), 1, len(latitude), len(longitude))
    grid = {"level": [500], "latitude": latitude, "longitude": longitude}
    attrs = {"units": "K"}
    truth = xr.Dataset(
        {"temperature": (("time", "level", "latitude", "longitude"), rng.normal(size=shape), attrs)},
        coords={"time": times, **grid},
        attrs={"simulated": "true"},
    )
    leads = (2, 3)
    dims: tuple[str, ...] = ("time", "prediction_timedelta", "level", "latitude", "longitude")
    size: tuple[int, ...] = (*leads, *shape[1:])
    if members:
        dims, size = (*dims[:2], "number", *dims[2:]), (*leads, members, *shape[1:])
    forecast = xr.Dataset(
        {"temperature": (dims, rng.normal(size=size), attrs)},
        coords={"time": times[:2], "prediction_timedelta": hours([6.0, 12.0, 18.0]), **grid},
    )
    return forecast, truth


def read(explorer: RolloutExplorer, index: int) -> np.ndarray:
    """Map ``index`` as the page reads it, from the description alone."""
    packed = explorer.meta["maps"]
    rows, columns = packed["shape"][1:]
    kind, missing = (np.uint8, 255) if packed["bits"] == 8 else (np.dtype("<u2"), 65535)
    offset = packed["at"] + index * rows * columns * np.dtype(kind).itemsize
    codes = np.frombuffer(explorer.data, kind, rows * columns, offset).reshape(rows, columns)
    low, high = packed["ranges"][index]
    return np.where(codes == missing, np.nan, low + codes / (missing - 1) * (high - low))


def test_maps_are_within_the_error_that_is_said() -> None:
    explorer = waves()
    truth = np.concatenate([drifting(0.3)[:1], drifting(0.3)])
    for lead in (0, 3, LEADS):
        off = np.abs(read(explorer, lead) - truth[lead]).max()
        assert off <= explorer.meta["maps"]["errors"][lead] < 1e-4
        slow = read(explorer, 2 * (LEADS + 1) + lead)
        expected = truth[0] if lead == 0 else drifting(0.2)[lead - 1]
        assert np.abs(slow - expected).max() <= explorer.meta["maps"]["errors"][2 * (LEADS + 1) + lead]


def test_errors_are_those_of_the_library() -> None:
    errors = waves().meta["errors"]
    assert errors["good"][0] == 0
    truth, start = torch.from_numpy(drifting(0.3)), torch.from_numpy(drifting(0.3)[:1])
    for name, guess in (("good", drifting(0.29)), ("smooth", drifting(0.3, decay=0.6))):
        expected = relative_error(torch.from_numpy(guess)[None], truth[None])
        assert errors[name][1:] == pytest.approx(expected.tolist(), rel=1e-8)
    persistence = relative_error(start.expand(LEADS, -1, -1)[None], truth[None])
    assert errors["persistence"][1:] == pytest.approx(persistence.tolist(), rel=1e-8)
    assert errors["climatology"] == pytest.approx([1.0] * (LEADS + 1))


def test_ring_spectrum_is_twice_the_librarys_enstrophy_and_finds_a_wave() -> None:
    field = np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32)
    library = enstrophy_spectrum(torch.from_numpy(field))
    assert ring_spectrum(field.astype(float)).mean(0) == pytest.approx(2 * library.numpy(), rel=1e-5)
    x = 2 * np.pi * np.arange(16) / 16
    wave = 3 * np.sin(4 * x) * np.ones((16, 1))
    assert ring_spectrum(wave) == pytest.approx([0, 0, 0, 4.5, 0], abs=1e-12)


def test_zonal_spectrum_adds_up_to_the_variance_and_finds_a_wave() -> None:
    rng = np.random.default_rng(1)
    latitude = np.linspace(75, -75, 6)
    field = rng.normal(size=(6, 12))
    edges = np.deg2rad(np.array([90, 60, 30, 0, -30, -60, -90]))
    share = -np.diff(np.sin(edges)) / 2
    assert zonal_spectrum(field, latitude).sum() == pytest.approx((share * field.var(axis=1)).sum())
    lon = 2 * np.pi * np.arange(12) / 12
    assert zonal_spectrum(np.cos(3 * lon) * np.ones((6, 1)), latitude) == pytest.approx(
        [0, 0, 0.5, 0, 0, 0], abs=1e-12
    )
    assert zonal_spectrum(np.cos(6 * lon) * np.ones((6, 1)), latitude)[-1] == pytest.approx(1.0)


def test_spectra_of_every_lead_and_forecast() -> None:
    spectra = waves().meta["spectra"]
    assert spectra["smooth"][LEADS] == pytest.approx(
        ring_spectrum(drifting(0.3, decay=0.6)[-1]), rel=1e-8, abs=1e-15
    )
    assert len(spectra["truth"]) == LEADS + 1 and set(spectra) == {"truth", "good", "slow", "smooth"}


def test_weather_is_scored_as_the_skill_table_does() -> None:
    forecast, truth = weather(members=4)
    record = truth.isel(time=slice(0, 3))
    explorer = RolloutExplorer.of_weather(
        {"mean": forecast, "first": forecast.isel(number=0)},
        truth,
        field="temperature",
        level=500,
        record=record,
    )
    assert explorer.fault is None
    one = {"mean": forecast.isel(time=[0]), "first": forecast.isel(time=[0], number=0)}
    table = skill_table(one, truth, [6, 12, 18]).set_index(["model", "lead_hours"])["rmse"]
    for model in one:
        assert explorer.meta["errors"][model][1:] == pytest.approx(table[model].tolist(), rel=1e-6)
    assert explorer.meta["leads"] == [0, 6, 12, 18] and explorer.meta["errors"]["mean"][0] == 0
    assert set(explorer.meta["baselines"]) == {"persistence", "climatology"}
    states = truth["temperature"].isel(level=0).values
    assert read(explorer, 1) == pytest.approx(np.roll(states[1], 6, axis=1), abs=1e-3)
    assert explorer.meta["grid"]["longitude"] == np.arange(-180, 180, 30.0).tolist()
    expected = zonal_spectrum(states[1], truth["latitude"].values)
    assert explorer.meta["spectra"]["truth"][1] == pytest.approx(expected, rel=1e-8)
    later = RolloutExplorer.of_weather(
        {"mean": forecast}, truth, field="temperature", level=500, time="2001-01-01T06:00"
    )
    assert later.meta["leads"] == [0, 6, 12, 18] and "climatology" not in later.meta["errors"]


def test_of_flow_rolls_out() -> None:
    trajectory = torch.from_numpy(drifting(0.3)).float()
    explorer = RolloutExplorer.of_flow(
        {"persistence of three": lambda frames: frames[:, -1]}, trajectory, title="Waves"
    )
    assert explorer.meta["leads"] == list(range(0, LEADS - 2)) and explorer.meta["title"] == "Waves"
    still = explorer.meta["errors"]
    assert still["persistence of three"] == pytest.approx(still["persistence"], rel=1e-6)


def test_one_lead_one_forecast_and_what_is_not_finite() -> None:
    truth = drifting(0.3)[:1]
    wild = truth.copy()
    wild[0, 0, 0], wild[0, 1, 1], wild[0, 2, 2] = np.nan, np.inf, 1e300
    explorer = RolloutExplorer(truth, {"wild": wild})
    assert explorer.fault is None and explorer.meta["leads"] == [1.0]
    assert explorer.meta["errors"]["wild"] == [None] and explorer.meta["spectra"]["wild"][0][0] is None
    shown = read(explorer, 1)
    assert np.isnan(shown[[0, 1], [0, 1]]).all() and shown[2, 2] == pytest.approx(1e300)


def test_large_forecasts_get_fewer_bits_and_stay_light(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20, 64, 64))
    explorer = RolloutExplorer(truth, {f"model {i}": truth + 0.1 * i for i in range(6)})
    assert explorer.meta["maps"]["bits"] == 8
    assert explorer.to_html(tmp_path / "page.html").stat().st_size < 1_500_000
    assert np.abs(read(explorer, 5) - truth[5]).max() <= explorer.meta["maps"]["errors"][5] < 0.02
    assert RolloutExplorer(truth, {"one": truth}).meta["maps"]["bits"] == 16


@pytest.mark.parametrize(
    ("truth", "forecasts", "options", "said"),
    [
        (np.full((2, 8, 8), np.nan), {"a": np.ones((2, 8, 8))}, {}, "missing values"),
        (np.ones((2, 8, 8)), {}, {}, "0 forecasts"),
        (np.ones((2, 8, 8)), {"a": np.ones((3, 8, 8))}, {}, "'a' has shape"),
        (np.ones((8, 8)), {"a": np.ones((8, 8))}, {}, "[lead, y, x]"),
        (np.ones((2, 8, 8)), {"a": "wind"}, {}, "no array of numbers"),
        (np.ones((2, 8, 8)), {"a": np.ones((2, 8, 8))}, {"start": np.ones(3)}, "start has shape"),
        (np.ones((2, 8, 8)), {"a": np.ones((2, 8, 8))}, {"climatology": np.ones(3)}, "climatology has shape"),
        (np.ones((2, 8, 8)), {"a": np.ones((2, 8, 8))}, {"interval": 0}, "interval is 0"),
        (np.ones((2, 8, 8)), {"truth": np.ones((2, 8, 8))}, {}, "called 'truth'"),
        (np.ones((2, 8, 8)), [np.ones((2, 8, 8))], {}, "a dict of name to forecast"),
        (np.ones((1000, 40, 40)), {"a": np.ones((1000, 40, 40))}, {}, "fit on a page"),
    ],
)
def test_bad_input_is_told_in_the_widget(truth: Any, forecasts: Any, options: Any, said: str) -> None:
    explorer = RolloutExplorer(truth, forecasts, **options)
    assert explorer.fault is not None and said in explorer.fault
    with pytest.raises(UserError):
        explorer.to_html("never.html")


@pytest.mark.parametrize(
    ("models", "trajectory", "said"),
    [
        ({"a": dict}, torch.ones(6, 8, 8), "not the class"),
        ({"a": abs}, None, "trajectory is NoneType"),
        ({"a": abs}, torch.ones(2, 8, 8), "more than 3 frames"),
        ({"a": abs}, torch.full((6, 8, 8), torch.nan), "holds NaN"),
        ([abs], torch.ones(6, 8, 8), "a dict of name to forecaster"),
        ({"a": lambda frames: 1 / 0}, torch.ones(6, 8, 8), "ZeroDivisionError"),
    ],
)
def test_bad_flows_are_told_in_the_widget(models: Any, trajectory: Any, said: str) -> None:
    explorer = RolloutExplorer.of_flow(models, trajectory, title="Flow")
    assert explorer.fault is not None and said in explorer.fault and explorer.meta["title"] == "Flow"


def test_bad_weather_is_told_in_the_widget() -> None:
    forecast, truth = weather()
    options: dict[str, Any] = {"field": "temperature", "level": 500}
    for forecasts, changed, said in (
        ({}, {}, "no forecasts"),
        ({"a": forecast}, {"field": "wind"}, "no wind"),
        ({"a": forecast}, {"level": 850}, "at level 850"),
        ({"a": forecast}, {"time": "2010-01-01"}, "has no 2010-01-01"),
        ({"a": forecast}, {"time": "noon"}, "not a date"),
        ({"a": forecast.isel(latitude=[0, 1, 5])}, {}, "regular axis"),
    ):
        explorer = RolloutExplorer.of_weather(forecasts, truth, **(options | changed))
        assert explorer.fault is not None and said in explorer.fault, explorer.fault


def test_selected_moves_the_view_and_refuses_what_is_not_there() -> None:
    explorer = waves()
    explorer.selected = {"lead": 3.0, "model": "smooth", "view": "all"}
    assert explorer.selected == {"lead": 3.0, "model": "smooth", "view": "all"}
    for wrong in ({"lead": 3.5}, {"model": "none"}, {"view": "none"}, {"time": 1}):
        with pytest.raises(UserError):
            explorer.selected = wrong


def test_units_grids_and_constant_maps() -> None:
    assert readable("s**-1") == (1e5, "10⁻⁵ s⁻¹") and readable("m s-1") == (1.0, "m s⁻¹")
    grid = regular_grid(np.array([10.0, 0.0]), np.arange(0, 360, 90.0))
    assert grid["longitude"] == [-180, -90, 0, 90]
    assert rolled(np.arange(4), grid).tolist() == [2, 3, 0, 1]
    packed, _ = pack_maps(np.full((1, 2, 2), 7.0), shared=True)
    assert packed["errors"] == [0.0] and packed["ranges"] == [[7.0, 8.0]]
