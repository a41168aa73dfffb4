"""Satellites: geometry against an orbit that is flown, and what is seen of a neighbourhood."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atmorep_lite.config import MaskingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.masking import STRATEGIES, Scene
from atmorep_lite.masking.swaths import distance_to_track, track_beside
from tests.tiny import HEAT, WIND, tiny_field

places = {"latitude": st.floats(-80, 80), "longitude": st.floats(-180, 360)}
orbit = {"node": st.floats(-360, 360), "inclination": st.floats(20, 160), "northward": st.booleans()}


def flown(node: float, inclination: float, northward: bool) -> np.ndarray:
    """Half an orbit, step by step, as unit vectors ``[step, 3]``: a circle, tilted, then turned."""
    u = np.deg2rad(np.linspace(-90, 90, 20_001) + (0.0 if northward else 180.0))
    tilt, turn = np.deg2rad(inclination), np.deg2rad(node)
    tilted = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    turned = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return (turned @ tilted @ np.stack((np.cos(u), np.sin(u), 0 * u))).T


def unit_vector(latitude: float, longitude: float) -> np.ndarray:
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.array([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])


@settings(max_examples=60, deadline=None)
@given(**places, **orbit)
def test_distance_is_that_to_the_nearest_point_of_the_flown_track(
    latitude, longitude, node, inclination, northward
):
    distance = float(distance_to_track(latitude, longitude, node, inclination, northward))
    track, place = flown(node, inclination, northward), unit_vector(latitude, longitude)
    # 2 asin of half the chord: exact for small angles too
    angles = 2 * np.rad2deg(np.arcsin(np.linalg.norm(track - place, axis=1).clip(max=2.0) / 2))
    nearest = int(angles.argmin())
    if distance == 180.0:
        assert np.rad2deg(np.arccos(np.cos(np.deg2rad(longitude - node)))) * (1 if northward else -1) >= (
            90 if northward else -90
        )
        return
    if 0 < nearest < len(track) - 1:  # else the foot of the perpendicular lies beyond the half orbit
        step = 180 / 20_000  # the foot of the perpendicular is half a step away at most
        assert abs(distance) - 1e-6 < angles[nearest] < np.hypot(distance, step / 2) + 1e-6
        onward = track[nearest + 1] - track[nearest]
        left = np.cross(track[nearest], onward) @ place
        assert abs(distance) < 1e-3 or np.sign(left) == np.sign(distance)


@settings(max_examples=100, deadline=None)
@given(**places, distance=st.floats(-10, 10), inclination=st.floats(20, 160), northward=st.booleans())
def test_a_track_beside_a_place_passes_at_that_distance(
    latitude, longitude, distance, inclination, northward
):
    highest = min(inclination, 180 - inclination)
    assume(abs(latitude) < highest - 11)
    node = track_beside(latitude, longitude, distance, inclination, northward)
    back = float(distance_to_track(latitude, longitude, node, inclination, northward))
    assert back == pytest.approx(distance, abs=1e-6)


def test_tracks_of_weather_satellites_lean_westwards() -> None:
    """A retrograde orbit moves west while it moves north; at 45 degrees by 0.31 degrees per degree.

    From sin(azimuth) = cos(inclination) / cos(latitude).
    """

    def longitude_at(latitude: float) -> float:
        east = np.linspace(-60, 60, 1_200_001)
        return float(east[np.abs(distance_to_track(latitude, east, 0.0, 98.7)).argmin()])

    azimuth = np.arcsin(np.cos(np.deg2rad(98.7)) / np.cos(np.deg2rad(45.0)))
    expected = np.tan(azimuth) / np.cos(np.deg2rad(45.0))
    slope = (longitude_at(45.5) - longitude_at(44.5)) / 1.0
    assert slope == pytest.approx(expected, rel=2e-3) and slope == pytest.approx(-0.309, abs=2e-3)


def strip(count: int = 7000, *, latitude: float = 0.0) -> Scene:
    """Tokens side by side along 70 degrees of a parallel."""
    field = tiny_field(num_tokens=(2, 1, count), levels=(500, 850))
    return Scene((field,), {HEAT: (np.array([latitude]), np.linspace(0, 70, count, endpoint=False))})


@pytest.mark.parametrize("latitude", [0.0, 40.0, -55.0])
def test_swaths_are_as_wide_and_as_far_apart_as_asked(latitude: float) -> None:
    """On a parallel, by spherical trigonometry: edges where the distance to the track is half the width."""
    masking = MaskingConfig(swath_width=8.0, swath_spacing=25.0)
    i, phi, half = (np.deg2rad(x) for x in (98.7, latitude, 4.0))
    edges = [
        np.arcsin((np.sin(s * half) - np.cos(i) * np.sin(phi)) / (np.sin(i) * np.cos(phi))) for s in (-1, 1)
    ]
    expected = np.rad2deg(edges[1] - edges[0])
    for seed in range(20):
        mask = STRATEGIES["swath"](strip(latitude=latitude), np.random.default_rng(seed), masking)[HEAT]
        assert all((mask[0, 0] == other).all() for other in mask.flatten(0, 1)), "all hours and levels"
        seen = ~mask[0, 0, 0].numpy()
        starts, ends = (np.flatnonzero(np.diff(seen.astype(int)) == sign) * 0.01 for sign in (1, -1))
        np.testing.assert_allclose(np.diff(starts), 25.0, atol=0.02)
        np.testing.assert_allclose(np.diff(ends), 25.0, atol=0.02)
        widths = [ends[ends > s][0] - s for s in starts if (ends > s).any()]
        np.testing.assert_allclose(widths, expected, atol=0.02)
        lost = STRATEGIES["lost_swath"](strip(latitude=latitude), np.random.default_rng(seed), masking)
        gone = lost[HEAT][0, 0, 0].numpy()
        assert not (gone & ~seen).any(), "one of the same swaths"
        assert (np.diff(gone.astype(int)) == 1).sum() + gone[0] == 1, "a single one"


def test_a_swath_covers_the_same_region_of_all_fields_and_its_edge_is_inside() -> None:
    fine = tiny_field(WIND, num_tokens=(1, 20, 40), token_size=(6, 1, 1), levels=(500,))
    coarse = tiny_field(HEAT, num_tokens=(1, 4, 8), token_size=(6, 5, 5), levels=(500,))
    latitude, longitude = 60.0 - np.arange(20), (340.0 + np.arange(40)) % 360.0
    centres = {
        WIND: (latitude, longitude),
        HEAT: (latitude.reshape(4, 5).mean(1), (340.0 + np.arange(40).reshape(8, 5).mean(1)) % 360.0),
    }
    partly = 0
    for seed in range(60):
        masks = STRATEGIES["lost_swath"](
            Scene((fine, coarse), centres), np.random.default_rng(seed), MaskingConfig()
        )
        at_centres = masks[WIND][0, 0, 2::5, 2::5]
        different = (at_centres != masks[HEAT][0, 0]).sum()
        assert different <= 1, "the same but for a token that must be visible or hidden"
        partly += 0.01 < float(masks[WIND].double().mean()) < 0.99
    assert partly >= 55


def test_a_swath_needs_to_know_where() -> None:
    with pytest.raises(UserError, match="needs to know where the tokens are"):
        STRATEGIES["swath"](Scene((tiny_field(),)), np.random.default_rng(0), MaskingConfig())


@pytest.mark.parametrize("task", ["swath", "lost_swath"])
def test_a_swath_that_falls_between_tokens_covers_the_nearest(task: str) -> None:
    masking = MaskingConfig(swath_width=0.01, swath_spacing=360.0)
    for seed in range(30):
        mask = STRATEGIES[task](strip(5, latitude=30.0), np.random.default_rng(seed), masking)[HEAT]
        assert int(mask[0, 0].sum()) == (4 if task == "swath" else 1)


def test_the_farthest_token_is_never_covered() -> None:
    """Also where swaths overlap."""
    masking = MaskingConfig(swath_width=20.0, swath_spacing=10.0)
    for seed in range(10):
        mask = STRATEGIES["swath"](strip(5, latitude=75.0), np.random.default_rng(seed), masking)[HEAT]
        assert int(mask[0, 0].sum()) == 1
