"""Codes of place: distinct, the same across 0/360, and as near as the places are on the sphere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite.model.positions import SPHERE_FEATURES, east_and_north, sphere_positions, waves
from atmorep_lite.tokens import FieldTokens, token_info, token_positions, token_spans


def tokens_of(
    *,
    north: float = 60.0,
    west: float = 0.0,
    step: float = 5.0,
    grid: tuple[int, int, int] = (6, 8, 16),
    size: tuple[int, int, int] = (2, 2, 2),
    hours: int = 3,
    levels: tuple[int, ...] = (500, 850),
) -> FieldTokens:
    """One sample on a regular grid; values play no part."""
    time = np.datetime64("2001-02-03T00", "ns") + np.arange(grid[0]) * np.timedelta64(hours, "h")
    latitude, longitude = north - step * np.arange(grid[1]), west + step * np.arange(grid[2])
    info = torch.from_numpy(token_info(time, latitude, longitude, levels, size))[None]
    return FieldTokens(info[..., :1], info, torch.zeros(info.shape[:-1], dtype=torch.bool))


def code_of(tokens: FieldTokens, size: tuple[int, int, int] = (2, 2, 2), middle: int = 0) -> torch.Tensor:
    places = token_positions(tokens.sequence_info())
    spans = token_spans(tokens.info, size).flatten(1, 4)
    return sphere_positions(places, places[:, middle, :3], spans)[0]


@settings(max_examples=25, deadline=None)
@given(
    counts=st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 12)),
    size=st.tuples(*[st.integers(1, 3)] * 3),
    step=st.sampled_from([0.1, 0.25, 1.0, 2.5, 5.6]),
    hours=st.sampled_from([1, 3, 6]),
    levels=st.sets(st.sampled_from([0, 10, 96, 105, 137, 500, 850, 925]), min_size=1, max_size=4),
    south=st.floats(0, 1),
    west=st.floats(0, 360),
)
def test_no_two_tokens_share_a_code(counts, size, step, hours, levels, south, west) -> None:
    """On any grid narrower than the globe, up to 85 degrees, where 0.1 degrees of longitude are 1 km."""
    grid = tuple(n * s for n, s in zip(counts, size, strict=True))
    height = step * (grid[1] - 1)
    north = 85.0 - south * (170.0 - height)
    tokens = tokens_of(
        north=north, west=west, step=step, grid=grid, size=size, hours=hours, levels=tuple(sorted(levels))
    )
    code = code_of(tokens, size)
    assert code.shape == (tokens.mask.numel(), SPHERE_FEATURES)
    distance = torch.cdist(code[None], code[None], compute_mode="donot_use_mm_for_euclid_dist")[0]
    distance.fill_diagonal_(math.inf)
    assert distance.min() > 1e-3  # a hundred times what rounding can do


def test_the_code_knows_no_first_column() -> None:
    """Longitudes written from 350 to 365, or from -10 to 5, are the same places."""
    codes = [code_of(tokens_of(west=west, grid=(6, 8, 4))) for west in (350.0, -10.0, 710.0)]
    torch.testing.assert_close(codes[0], codes[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(codes[0], codes[2], atol=1e-4, rtol=0)


@pytest.mark.parametrize("west", [0.0, 90.0, 335.0])
def test_the_code_is_continuous_across_the_greenwich_meridian(west: float) -> None:
    """Eastern neighbours are equally far apart everywhere on a circle of latitude, also across 0/360."""
    tokens = tokens_of(north=50.0, west=west, grid=(2, 2, 72), levels=(500,))
    code = code_of(tokens, middle=0)[:, : 2 * 3 * 4]  # the part that does not depend on the middle
    apart = (code.roll(-1, 0) - code).norm(dim=-1)
    assert apart.max() < 1.5 * apart.min()


def place(latitude: float, longitude: float) -> torch.Tensor:
    colatitude = 90.0 - latitude
    entry = [2001.0, 10.0, 0.0, 500.0, colatitude, longitude, 500.0, 5.0]
    return torch.tensor([[entry]]).expand(1, 2, 8)


@pytest.mark.parametrize("centre", [(85.0, 20.0), (0.0, 20.0), (45.0, 0.0)])
def test_a_quarter_turn_is_short_near_the_pole(centre: tuple[float, float]) -> None:
    def distance(latitude: float) -> float:
        info = torch.stack([place(latitude, 0.0)[0, 0], place(latitude, 90.0)[0, 0]])[None]
        places, middle = token_positions(info), token_positions(place(*centre))[:, 0, :3]
        code = sphere_positions(places, middle, torch.ones(1, 2, 3))[0]
        return float((code[0] - code[1]).norm())

    assert distance(85.0) < 0.7 * distance(0.0)
    assert distance(89.0) < distance(85.0) < distance(60.0)


def test_codes_are_apart_as_the_square_root_of_the_distance() -> None:
    """Along the equator, from 1 to 16 degrees: a factor of 16 in distance is a factor of 4 in the code."""
    info = torch.stack([place(0.0, x)[0, 0] for x in (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)])[None]
    places = token_positions(info)
    code = sphere_positions(places, places[:, 0, :3], torch.ones(1, 6, 3))[0]
    apart = (code[1:] - code[0]).norm(dim=-1)
    slope = np.polyfit(np.log([1, 2, 4, 8, 16]), apart.log().numpy(), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.1)


@settings(max_examples=40, deadline=None)
@given(
    latitude=st.floats(-89, 89),
    longitude=st.floats(0, 360),
    east=st.floats(-3, 3),
    north=st.floats(-0.9, 0.9),
)
def test_east_and_north_against_small_angles(latitude, longitude, east, north) -> None:
    """Near the centre the straight axes measure kilometres east and north."""
    here, there = (
        token_positions(place(*point))[:, :1, :3].double()
        for point in ((latitude, longitude), (latitude + north / 10, longitude + east / 10))
    )
    degree = 6.371 * math.pi / 180
    expected = [east / 10 * degree * math.cos(math.radians(latitude)), north / 10 * degree]
    np.testing.assert_allclose(east_and_north(there, here[:, 0])[0, 0], expected, atol=4e-4)


def test_a_pole_has_an_east_too() -> None:
    pole, near = (token_positions(place(*p))[:, :1, :3] for p in ((90.0, 0.0), (89.0, 0.0)))
    assert torch.isfinite(east_and_north(near, pole[:, 0])).all()
    assert east_and_north(near, pole[:, 0]).norm() == pytest.approx(0.111, abs=1e-3)


def test_waves_against_the_formula() -> None:
    x = torch.tensor([[1.0, -2.5]])
    out = waves(x, 8.0, 3)
    assert out.shape == (1, 12)
    expected = [
        2 ** (-k / 2) * f(2 * math.pi * value * 2**k / 8.0)
        for value in (1.0, -2.5)
        for f in (math.sin, math.cos)
        for k in range(3)
    ]
    np.testing.assert_allclose(out[0], expected, atol=1e-6)
