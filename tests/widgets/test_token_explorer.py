"""TokenExplorer in Python: its numbers against loops and numpy, what it refuses, what it packs."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from atmorep_lite import Normalizer, UserError, open_sample
from atmorep_lite.token_statistics import token_statistics
from atmorep_lite.widgets import TokenExplorer
from atmorep_lite.widgets.gridded import check_token_size, divisors, read_piece
from atmorep_lite.widgets.token_sizes import survives


@pytest.fixture(scope="module")
def sample() -> xr.Dataset:
    return open_sample().isel(time=slice(0, 12)).load()


@pytest.fixture(scope="module")
def explorer(sample: xr.Dataset) -> TokenExplorer:
    return TokenExplorer(sample, ("temperature", "vorticity"), steps=6, token_size=(3, 4, 8))


def naive_survives(values: np.ndarray, size: tuple[int, int, int]) -> float:
    """Token after token."""
    filled = np.full(values.shape, np.nan)
    for t in range(0, values.shape[0], size[0]):
        for y in range(0, values.shape[1], size[1]):
            for x in range(0, values.shape[2], size[2]):
                box = np.s_[t : t + size[0], y : y + size[1], x : x + size[2]]
                seen = values[box][np.isfinite(values[box])]
                filled[box] = np.where(np.isfinite(values[box]), seen.mean() if len(seen) else np.nan, np.nan)
    return float(np.nanvar(filled) / np.nanvar(values))


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 4, 1), (6, 8, 16), (3, 2, 4), (6, 32, 64)])
def test_what_means_keep(explorer: TokenExplorer, sample: xr.Dataset, size: tuple[int, int, int]) -> None:
    explorer.selected = dict(zip(("token_time", "token_latitude", "token_longitude"), size, strict=True))
    explorer.selected = {"field": "temperature", "level": 850, "kind": "values"}
    values = sample.temperature.sel(level=850).values[:6].astype(float)
    numbers = explorer.numbers()
    assert numbers.survives == pytest.approx(naive_survives(values, size), abs=1e-9)
    explorer.selected = {"kind": "departures"}
    departures = values - sample.temperature.sel(level=850).values.astype(float).mean(0)
    assert explorer.numbers().survives == pytest.approx(naive_survives(departures, size), abs=1e-7)
    assert numbers.tokens == 3 * (6 // size[0]) * (32 // size[1]) * (64 // size[2])
    assert numbers.tokens * numbers.values == 3 * 6 * 32 * 64
    assert numbers.pairs == numbers.tokens**2 == numbers.matrix_bytes / 4
    assert numbers.survives == pytest.approx(1.0 if size == (1, 1, 1) else numbers.survives)


def test_agrees_with_token_statistics(sample: xr.Dataset) -> None:
    """The library's share inside tokens, of normalised values; normalising by one mean changes no share."""
    explorer = TokenExplorer(sample, "vorticity", steps=12, token_size=(4, 2, 2))
    explorer.selected = {"level": 700}
    data = sample[["vorticity"]]
    table = token_statistics(data, Normalizer.fit(data, "global"), token_size=(4, 2, 2), level=700)
    assert explorer.numbers().survives == pytest.approx(1 - table.loc["vorticity", "inside"], abs=1e-5)


def test_missing_values_are_left_out() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6, 8))
    values[:, :2, 3:7] = np.nan
    values[1, 4, 4] = np.nan
    for size in ((2, 2, 2), (4, 1, 4), (1, 6, 8)):
        assert survives(values, size) == pytest.approx(naive_survives(values, size), abs=1e-12)
    assert math.isnan(survives(np.ones((2, 2, 2)), (1, 1, 2)))
    assert math.isnan(survives(np.full((2, 2, 2), np.nan), (1, 1, 2)))


def test_two_sizes_at_once(explorer: TokenExplorer, sample: xr.Dataset) -> None:
    """Small tokens in half of the map each way, around the chosen one; counted and averaged one by one."""
    explorer.selected = {"field": "vorticity", "level": 500, "kind": "values", "row": 3, "column": 40}
    explorer.selected = {"token_time": 3, "token_latitude": 4, "token_longitude": 8}
    values = sample.vorticity.values[:6, 0].astype(float)
    filled, tokens = np.zeros_like(values), 0
    for t in (0, 3):
        for y in range(0, 32, 8):
            for x in range(0, 64, 16):
                near = y < 16 and 16 <= x < 48  # 2 of 4 rows from the north, 2 of 4 columns around the third
                for dy in (0, 4) if near else (0,):
                    for dx in (0, 8) if near else (0,):
                        tall, wide = (4, 8) if near else (8, 16)
                        box = np.s_[t : t + 3, y + dy : y + dy + tall, x + dx : x + dx + wide]
                        filled[box] = values[box].mean()
                        tokens += 3
    two = explorer.two_sizes()
    assert two.coarse == (3, 8, 16) and two.tokens == tokens
    assert two.survives == pytest.approx(filled.var() / values.var(), abs=1e-9)


def test_one_token(explorer: TokenExplorer, sample: xr.Dataset) -> None:
    explorer.selected = {"field": "vorticity", "level": 700, "kind": "values"}
    explorer.selected = {"step": 4, "row": 9, "column": 50}
    explorer.selected = {"token_time": 3, "token_latitude": 4, "token_longitude": 8}
    token = explorer.token()
    assert token.place == (1, 1, 2, 6)
    assert token.index == ((1 * 2 + 1) * 8 + 2) * 8 + 6
    box = sample.vorticity.values[3:6, 1, 8:12, 48:56].astype(float) * 1e5
    assert np.allclose(token.values, box, rtol=1e-9)
    last = sample.time.values[5].astype("datetime64[h]")
    first = last.astype("datetime64[Y]")
    assert token.info["year"] == 2010 and token.info["level"] == 700
    assert token.info["day_of_year"] == (last - first).astype(int) // 24
    assert token.info["hour"] == (last - first).astype(int) % 24
    assert token.info["colatitude"] == 90 - float(sample.latitude[10])
    assert token.info["longitude"] == float(sample.longitude[52])
    assert token.info["resolution"] == 5.625


def test_sizes_that_fit() -> None:
    assert divisors(12) == [1, 2, 3, 4, 6, 12]
    assert all(360 % n == 0 for n in divisors(360)) and len(divisors(360)) == 24
    assert check_token_size(np.array([4, 8, 16]), (12, 32, 64)) == (4, 8, 16)
    for size in ((5, 4, 4), (4, 4), (4, 0, 4), (4, 4.5, 4), "big", None, (True, 4, 4)):
        with pytest.raises(UserError) as told:
            check_token_size(size, (12, 32, 64))
        assert str(told.value).endswith(".")


def test_regions(sample: xr.Dataset) -> None:
    """Also across longitude 0, which the record has at both ends."""
    options: dict[str, Any] = {"levels": [500], "time": None, "steps": 2}
    piece = read_piece(sample, "temperature", latitude=(30, 70), longitude=(-20, 30), **options)
    assert piece.longitude.tolist() == [-16.875, -11.25, -5.625, 0.0, 5.625, 11.25, 16.875, 22.5, 28.125]
    assert 70 > piece.latitude[0] > piece.latitude[-1] > 30
    wanted = sample.temperature.sel(level=500).isel(time=1)
    for column, east in enumerate(piece.longitude):
        there = wanted.sel(longitude=east % 360, latitude=piece.latitude)
        assert np.allclose(piece.fields[0].values[0, 1, :, column], there)
    explorer = TokenExplorer(
        sample, "temperature", latitude=(0, 60), longitude=(-60, 60), token_size=(2, 1, 1)
    )
    assert explorer.numbers().grid == (3, 6, 11, 21)


def test_a_field_without_levels(sample: xr.Dataset) -> None:
    surface = sample[["temperature"]].isel(level=2, drop=True).rename(temperature="2m_temperature")
    explorer = TokenExplorer(surface, "t2m", steps=4, token_size=(2, 2, 2))
    assert explorer.fault is None
    assert explorer.selected["level"] == 0 and explorer.numbers().tokens == 2 * 16 * 32
    assert explorer.token().info["level"] == 0


def test_fields_on_different_levels(sample: xr.Dataset) -> None:
    surface = sample.temperature.isel(level=2, drop=True).rename("2m_temperature")
    both = xr.merge([sample[["vorticity"]], surface])
    explorer = TokenExplorer(both, ["vorticity", "2m_temperature"], steps=4, levels=[500, 700])
    assert explorer.fault is None
    explorer.selected = {"field": "2m_temperature"}
    assert explorer.selected["level"] == 0
    explorer.selected = {"field": "vorticity"}
    assert explorer.selected["level"] == 500


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"field": "ozone"}, "no field called 'ozone'"),
        ({"field": "geopotential"}, "the data have no geopotential"),
        ({"field": []}, "name one or several"),
        ({"field": 5}, "name one or several"),
        ({"levels": [123]}, "no level 123"),
        ({"levels": 500}, "must be a list"),
        ({"time": "1999-01-01"}, "has no time 1999-01-01"),
        ({"time": "yesterday"}, "give a date"),
        ({"steps": 99}, "99 steps were asked for"),
        ({"steps": 0}, "whole number"),
        ({"steps": 2.5}, "whole number"),
        ({"latitude": (60, 30)}, "two rising numbers"),
        ({"longitude": (10, 11)}, "has no longitude"),
        ({"latitude": (40, 45), "longitude": (0, 5)}, "one grid point"),
        ({"longitude": "Europe"}, "two rising numbers"),
        ({"token_size": (5, 4, 4)}, "do not fill the 12 points in time"),
        ({"token_size": 4}, "three whole numbers"),
        ({"compare": [(4, 4, 5)]}, "points in longitude"),
        ({"kind": "anomaly"}, "selected['kind']"),
        ({"levels": []}, "no level"),
        ({"dataset": 3}, "what open_dataset returns"),
        ({"field": "land_sea_mask"}, "time"),
    ],
)
def test_faults_are_told_in_the_widget(sample: xr.Dataset, options: dict[str, Any], told: str) -> None:
    explorer = TokenExplorer(**{"dataset": sample.drop_vars("geopotential"), **options})
    assert explorer.fault is not None and told in explorer.fault
    assert explorer.fault.count("\n") == 0
    with pytest.raises(UserError, match=re.escape(told)):
        explorer.to_html("never.html")
    with pytest.raises(UserError):
        explorer.numbers()


def test_a_region_is_trimmed_to_whole_tokens(sample: xr.Dataset) -> None:
    """30 to 70 degrees north hold 7 rows of this grid, 40 west to 40 east 15 columns."""
    options: dict[str, Any] = {"latitude": (30, 70), "longitude": (-40, 40), "token_size": (6, 4, 4)}
    explorer = TokenExplorer(sample, "temperature", levels=[850], caption="A.", **options)
    assert explorer.fault is None and explorer.numbers().grid == (1, 2, 1, 3)
    said = "A. Of 7 by 15 points (latitude, longitude), 4 by 12 make whole tokens."
    assert explorer.meta["caption"] == said
    assert explorer._piece is not None and explorer._piece.fields[0].mean.shape == (1, 4, 12)
    assert TokenExplorer(sample, "temperature", caption="A.").meta["caption"] == "A."


def test_too_much_is_refused_before_it_is_read() -> None:
    huge = xr.DataArray(
        np.broadcast_to(np.float32(0), (40, 721, 1440)),
        dims=("time", "latitude", "longitude"),
        coords={
            "time": np.arange(40).astype("datetime64[h]"),
            "latitude": np.linspace(90, -90, 721),
            "longitude": np.arange(0, 360, 0.25),
        },
    )
    explorer = TokenExplorer(huge.to_dataset(name="mean_sea_level_pressure"), "msl", steps=40)
    assert explorer.fault is not None and "million values" in explorer.fault


@pytest.mark.parametrize("wish", [{"step": 6}, {"token_time": 4}, {"view": "x"}, {"level": 1}, {"size": 3}])
def test_views_that_do_not_exist(explorer: TokenExplorer, wish: dict[str, Any]) -> None:
    before = dict(explorer.selected)
    with pytest.raises(UserError, match="selected"):
        explorer.selected = wish
    assert explorer.selected == before


def test_the_page_stays_small(tmp_path: Path) -> None:
    explorer = TokenExplorer()
    assert explorer.fault is None
    assert explorer.to_html(tmp_path / "tokens.html").stat().st_size < 1_000_000
