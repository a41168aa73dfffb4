"""Cutting into tokens against loops; where and when tokens are against pandas and trigonometry."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite.errors import UserError
from atmorep_lite.tokens import (
    INFO,
    FieldTokens,
    coarsened,
    detokenize,
    scaled_info,
    spread_over_token,
    token_info,
    token_positions,
    token_spans,
    tokenize,
)

sizes = st.tuples(*[st.integers(1, 3)] * 3)
EARTH_RADIUS_KM = 6371.0


def box(counts: tuple[int, ...], token: tuple[int, ...], lead: tuple[int, ...] = ()) -> torch.Tensor:
    shape = (*lead, *(n * s for n, s in zip(counts, token, strict=True)))
    return torch.arange(math.prod(shape), dtype=torch.float64).view(shape)


@settings(max_examples=30, deadline=None)
@given(counts=sizes, token=sizes)
def test_tokenize_moves_every_value_to_its_place(counts, token) -> None:
    grid = box(counts, token)
    tokens = tokenize(grid, token)
    tt, ty, tx = token
    assert tokens.shape == (*counts, tt * ty * tx)
    for t, y, x in np.ndindex(grid.shape):
        channel = ((t % tt) * ty + y % ty) * tx + x % tx
        assert tokens[t // tt, y // ty, x // tx, channel] == grid[t, y, x]


@settings(max_examples=30, deadline=None)
@given(counts=sizes, token=sizes, lead=st.lists(st.integers(1, 2), max_size=2))
def test_detokenize_is_the_inverse(counts, token, lead) -> None:
    grid = box(counts, token, tuple(lead))
    assert torch.equal(detokenize(tokenize(grid, token), token), grid)


@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 4, 8), "time"), ((4, 6, 8), "latitude"), ((4, 4, 2), "longitude")]
)
def test_a_grid_that_is_no_whole_number_of_tokens_is_refused(shape, axis) -> None:
    with pytest.raises(UserError, match=f"in {axis} cannot be cut into tokens"):
        tokenize(torch.zeros(shape), (2, 4, 4))


def test_spread_over_token_repeats_one_value_over_its_points() -> None:
    per_token = torch.arange(12.0).view(2, 3, 2)
    spread = spread_over_token(per_token, (2, 1, 3))
    assert spread.shape == (4, 3, 6)
    for t, y, x in np.ndindex(4, 3, 6):
        assert spread[t, y, x] == per_token[t // 2, y, x // 3]


def info_of(start: str, *, hours: float = 3, steps: int = 6, token=(3, 2, 2)) -> np.ndarray:
    time = np.datetime64(start, "ns") + np.arange(steps) * np.timedelta64(int(hours * 60), "m")
    latitude, longitude = 50.0 - 5.0 * np.arange(4), 350.0 + 5.0 * np.arange(6)
    return token_info(time, latitude, longitude, (500, 850), token)


@pytest.mark.parametrize(
    "start",
    ["2001-01-01T00", "2020-02-28T12", "2020-12-31T00", "2019-12-31T00", "1999-12-31T13:30", "2000-02-29"],
)
def test_token_info_dates_the_last_step_of_the_token(start: str) -> None:
    info = info_of(start)
    for slot, step in enumerate((2, 5)):
        last = pd.Timestamp(start) + pd.Timedelta(hours=3 * step)
        expected = (last.year, last.day_of_year - 1, last.hour + last.minute / 60)
        np.testing.assert_array_equal(info[:, slot, ..., :3], np.broadcast_to(expected, (2, 2, 3, 3)))


def test_token_info_places_the_token() -> None:
    info = info_of("2001-01-01T00")
    assert info.shape == (2, 2, 2, 3, 8) and info.dtype == np.float32 and len(INFO) == 8
    for level, row, column in np.ndindex(2, 2, 3):
        latitude, longitude = 50.0 - 5.0 * (2 * row + 1), (350.0 + 5.0 * (2 * column + 1)) % 360
        place = ((500, 850)[level], 90.0 - latitude, longitude, (500, 850)[level], 5.0)
        np.testing.assert_array_equal(info[level, 1, row, column, 3:], place)
    assert info[..., 5].min() == 5.0 and info[..., 5].max() == 355.0


def test_token_info_of_one_row_has_no_resolution() -> None:
    info = token_info(np.array(["2001-01-01"], "datetime64[ns]"), np.zeros(1), np.zeros(1), (0,), (1, 1, 1))
    assert info[..., 7] == 0.0 and torch.isfinite(scaled_info(torch.from_numpy(info))).all()


def entry(*, year=2001.0, day=10.0, hour=0.0, level=500.0, colatitude=45.0, longitude=0.0) -> list[float]:
    return [year, day, hour, level, colatitude, longitude, level, 1.0]


def distance(a: list[float], b: list[float]) -> float:
    info = torch.tensor([[a, b]])
    p = token_positions(info)[0].double()
    return float((p[0] - p[1]).norm())


coordinates = st.tuples(st.floats(0, 180, width=32), st.floats(0, 359.75, width=32))


@settings(max_examples=60, deadline=None)
@given(a=coordinates, b=coordinates)
def test_positions_are_a_chord_apart(a, b) -> None:
    (theta1, phi1), (theta2, phi2) = np.deg2rad(a), np.deg2rad(b)
    half = (
        math.sin((theta1 - theta2) / 2) ** 2
        + math.sin(theta1) * math.sin(theta2) * math.sin((phi1 - phi2) / 2) ** 2
    )
    great_circle_angle = 2 * math.asin(min(1.0, math.sqrt(half)))
    chord_km = 2 * EARTH_RADIUS_KM * math.sin(great_circle_angle / 2)
    ours = distance(entry(colatitude=a[0], longitude=a[1]), entry(colatitude=b[0], longitude=b[1]))
    assert ours * 1000 == pytest.approx(chord_km, abs=0.02)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2001-03-01T00", "2001-03-01T06"),
        ("2001-12-31T21", "2002-01-01T03"),
        ("2000-12-31T21", "2001-01-01T03"),  # after a leap year
        ("2020-02-28T18", "2020-02-29T18"),
        ("1999-12-31T12", "2000-01-02T12"),
        ("1900-12-31T12", "1901-01-01T00"),  # no leap year
    ],
)
def test_time_distance_across_the_year(first: str, second: str) -> None:
    dates = [pd.Timestamp(t) for t in (first, second)]
    entries = [entry(year=t.year, day=t.day_of_year - 1, hour=t.hour) for t in dates]
    assert distance(*entries) == pytest.approx((dates[1] - dates[0]) / pd.Timedelta("6h"), abs=1e-6)


def test_positions_count_time_back_from_each_samples_latest_token() -> None:
    info = torch.tensor([[entry(day=3), entry(day=4)], [entry(year=2010, day=3), entry(year=2010, day=4)]])
    positions = token_positions(info)
    assert torch.equal(positions[0], positions[1])
    assert positions[0, :, 3].tolist() == [-4.0, 0.0]


def test_tokens_of_any_length_count_time_from_the_same_moment() -> None:
    """The last tokens end with the neighbourhood, here at 15 UTC."""
    for length in (1, 2, 3, 6):
        info = torch.from_numpy(info_of("2001-01-01T00", token=(length, 2, 2)))[None]
        time = token_positions(info)[0, 0, :, 0, 0, 3]
        assert time.tolist() == pytest.approx([-(length * 3 / 6.0) * k for k in range(len(time))][::-1])


@pytest.mark.parametrize(("token", "hours"), [((3, 2, 2), 9), ((1, 2, 2), 3), ((2, 1, 3), 6)])
def test_token_spans_are_hours_and_kilometres_on_the_equator(token, hours) -> None:
    info = torch.from_numpy(info_of("2001-12-31T12", token=token))[None]
    spans = token_spans(info, token)
    assert spans.shape == (*info.shape[:-1], 3)
    degree = 2 * math.pi * EARTH_RADIUS_KM / 360
    expected = [hours / 6, 5 * token[1] * degree / 1000, 5 * token[2] * degree / 1000]
    np.testing.assert_allclose(spans.flatten(0, -2), np.tile(expected, (spans[..., 0].numel(), 1)), rtol=1e-5)


def test_a_single_slot_takes_a_step_for_an_hour() -> None:
    info = torch.from_numpy(info_of("2001-01-01T00", token=(6, 2, 2)))[None]
    assert (token_spans(info, (6, 2, 2))[..., 0] == 1.0).all()


def test_the_sequence_holds_the_tokens_and_then_their_context() -> None:
    info = torch.from_numpy(info_of("2001-01-01T00"))[None]
    fine = FieldTokens(info[..., :4], info, torch.zeros(info.shape[:-1], dtype=torch.bool))
    wide = FieldTokens(info[:, :, :1, ..., :4], info[:, :, :1] + 1, ~fine.mask[:, :, :1])
    both = replace(fine, context=wide)
    count = fine.mask.numel()
    assert fine.sequence_info().shape == (1, count, 8)
    torch.testing.assert_close(both.sequence_info()[0, :count], info.reshape(-1, 8))
    torch.testing.assert_close(both.sequence_info()[0, count:], wide.info.reshape(-1, 8))
    assert both.sequence_mask()[0].tolist() == [False] * count + [True] * (count // 2)
    assert both.with_values(fine.values + 1).context is wide


def test_coarsened_against_loops() -> None:
    grid = box((2, 6, 9), (1, 1, 1), (2,))
    means = coarsened(grid, 3)
    assert means.shape == (2, 2, 2, 3)
    for y, x in np.ndindex(2, 3):
        expected = grid[..., 3 * y : 3 * y + 3, 3 * x : 3 * x + 3].mean((-1, -2))
        torch.testing.assert_close(means[..., y, x], expected)


def test_level_distance_is_twice_the_log_ratio_and_the_surface_lies_low() -> None:
    assert distance(entry(level=500), entry(level=1000)) == pytest.approx(2 * math.log(2), rel=1e-6)
    assert distance(entry(level=0), entry(level=1000)) == 0.0
    surface, top = (scaled_info(torch.tensor(entry(level=level)))[8] for level in (0.0, 10.0))
    assert surface == scaled_info(torch.tensor(entry(level=1000.0)))[8] and top < 0 < surface


@settings(max_examples=30, deadline=None)
@given(
    year=st.integers(1940, 2100),
    day=st.integers(0, 365),
    hour=st.floats(0, 23.99),
    level=st.sampled_from([0, 10, 137, 500, 1000]),
    place=coordinates,
)
def test_scaled_info_is_of_order_one(year, day, hour, level, place) -> None:
    colatitude, longitude = place
    info = torch.tensor(
        entry(year=year, day=day, hour=hour, level=level, colatitude=colatitude, longitude=longitude)
    )
    features = scaled_info(info)
    assert features.shape == (10,) and features.abs().max() < 10
    assert features[5] == pytest.approx(math.sin(math.radians(90 - colatitude)), abs=1e-5)


def test_scaled_info_is_periodic_and_tells_places_apart() -> None:
    a, b = (scaled_info(torch.tensor(entry(longitude=x, hour=h))) for x, h in ((0.0, 0.0), (360.0, 24.0)))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    assert not torch.allclose(a, scaled_info(torch.tensor(entry(longitude=180.0))))
