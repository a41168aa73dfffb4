"""Tracks on a map."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmorep_lite.errors import UserError
from atmorep_lite.figures import figure_alt_text
from atmorep_lite.track_figures import HURRICANE, STORM, _middle, track_map


def tracks(longitude: list[float], wind: list[float]) -> pd.DataFrame:
    times = pd.date_range("2021-08-01", periods=len(wind), freq="6h")
    rows = {"storm": "a", "time": times, "latitude": np.linspace(10, 30, len(wind))}
    return pd.DataFrame(rows | {"longitude": longitude, "wind": wind})


def test_pieces_are_coloured_by_their_wind() -> None:
    figure = track_map(tracks([300.0, 298, 296, 294], [np.nan, STORM, HURRICANE, 5]))
    (ax,) = figure.axes
    pieces = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert [line.get_color() for line in pieces] == ["#9a9a9a", "#0072B2", "#D55E00"]
    assert "1 tracks" in figure_alt_text(figure) and "33 m/s" in figure_alt_text(figure)


def test_tracks_across_greenwich_stay_together() -> None:
    figure = track_map(tracks([358.0, 359.5, 1.0, 2.5], [20.0] * 4))
    xs = np.concatenate([line.get_xdata() for line in figure.axes[0].lines])
    assert np.abs(xs).max() < 3


def test_a_table_without_tracks_is_refused() -> None:
    with pytest.raises(UserError, match="two positions"):
        track_map(tracks([300.0], [10.0]))


@given(st.lists(st.floats(0, 359), min_size=1, max_size=8), st.floats(0, 360))
def test_middle_turns_with_the_globe(longitudes: list[float], turn: float) -> None:
    """All longitudes lie within half of what the widest gap leaves, wherever longitude 0 is."""
    places = (np.array(longitudes) + turn) % 360
    ordered = np.sort(places)
    gap = np.diff(np.append(ordered, ordered[0] + 360)).max()
    off = np.abs((places - _middle(places) + 180) % 360 - 180)
    assert off.max() <= (360 - gap) / 2 + 1e-6
