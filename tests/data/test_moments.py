"""Statistics in one pass, against numpy on the whole record at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite import open_sample
from atmorep_lite.data.bad_times import BadTime
from atmorep_lite.data.moments import STARTS, Moments, fit_moments, moments_of, time_pieces
from atmorep_lite.errors import UserError

NAMES = ["temperature", "specific_humidity"]


@pytest.fixture(scope="module")
def record() -> xr.Dataset:
    """Forty-eight days from January to March, every 36 hours, large numbers with small changes."""
    sample = open_sample()[NAMES].isel(latitude=slice(0, 32, 3), longitude=slice(0, 64, 5)).load()
    return sample.isel(time=slice(0, 32)).assign_coords(
        time=np.datetime64("2010-01-20", "ns") + np.arange(32) * np.timedelta64(36, "h")
    )


def as_arrays(moments: Moments) -> dict[str, np.ndarray]:
    arrays = {"count": moments.count, "pairs": moments.pairs}
    for kind in ("mean", "squares", "low", "high", "changes"):
        dataset = getattr(moments, kind)
        arrays |= {
            f"{kind} {name}": dataset[name].transpose(..., "level", *dataset[name].dims[2:]).values
            for name in NAMES
        }
    return arrays


def close(a: Moments, b: Moments) -> None:
    left, right = as_arrays(a), as_arrays(b)
    for key in left:
        np.testing.assert_allclose(left[key], right[key], rtol=1e-9, atol=1e-18, err_msg=key)


@pytest.mark.parametrize("megabytes", [0.005, 0.02, 1e3])
def test_pieces_give_what_numpy_gives(record: xr.Dataset, megabytes: float) -> None:
    found = fit_moments(record.chunk(time=3), gaps=5, piece_megabytes=megabytes)
    for name in NAMES:
        values = record[name].values.astype(np.float64)
        np.testing.assert_allclose(found.mean[name].values[0], values.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.squares[name].values[0], values.var(0) * 32, rtol=1e-8)
        np.testing.assert_array_equal(found.low[name].values[0], values.min(0))
        np.testing.assert_array_equal(found.high[name].values[0], values.max(0))
        weight = np.cos(np.deg2rad(record.latitude.values))[:, None]
        weight = weight / weight.mean()
        for gap in range(1, 6):
            change = (((values[gap:] - values[:-gap]) ** 2) * weight).mean((0, 2, 3))
            np.testing.assert_allclose(found.changes[name].values[gap - 1], change, rtol=1e-5)
    assert list(found.pairs) == [31, 30, 29, 28, 27] and list(found.count) == [32]


def test_months_of_the_year(record: xr.Dataset) -> None:
    found = fit_moments(record.chunk(time=4), by_month=True, piece_megabytes=0.01)
    month = record.time.dt.month.values
    assert list(found.rows) == [1, 2, 3] and list(found.count) == [int((month == m).sum()) for m in (1, 2, 3)]
    for m in (1, 2, 3):
        values = record["temperature"].values[month == m].astype(np.float64)
        np.testing.assert_allclose(found.mean["temperature"].values[m - 1], values.mean(0), rtol=1e-12)
        np.testing.assert_allclose(
            found.squares["temperature"].values[m - 1], values.var(0) * len(values), rtol=1e-8
        )


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 31), min_size=1, max_size=4, unique=True), turn=st.integers(0, 4))
def test_any_cut_in_any_order_merges_to_the_same(record: xr.Dataset, cuts: list[int], turn: int) -> None:
    edges = [0, *sorted(cuts), 32]
    pieces = [moments_of(record.isel(time=slice(a, b)), by_month=True) for a, b in pairwise(edges)]
    pieces = pieces[turn % len(pieces) :] + pieces[: turn % len(pieces)]
    merged = pieces[0]
    for piece in pieces[1:]:
        merged = merged.merge(piece)
    close(merged, moments_of(record, by_month=True))


def test_pieces_begin_with_chunks(record: xr.Dataset) -> None:
    starts = [part.start for part in time_pieces(record.chunk(time=5), 0.025)]
    assert starts[0] == 0 and all(start % 5 == 0 for start in starts) and len(starts) > 2


def test_no_time_is_told(record: xr.Dataset) -> None:
    with pytest.raises(UserError, match="need data with times"):
        fit_moments(record.isel(time=slice(0, 0)))


def test_changes_of_a_long_record_are_those_from_some_times_on() -> None:
    """Pieces shorter than the gaps: nothing is read twice but a few windows, whose changes are exact."""
    steps, gaps = STARTS * 5 + 3, 4
    rng = np.random.default_rng(1)
    values = rng.normal(size=(steps, 2, 3, 4)).cumsum(0)
    wrong = 7
    record = xr.Dataset(
        {"temperature": (("time", "level", "latitude", "longitude"), values)},
        coords={
            "time": np.datetime64("2001-01-01", "ns") + np.arange(steps) * np.timedelta64(1, "h"),
            "level": [500, 850],
            "latitude": [60.0, 0.0, -60.0],
            "longitude": np.arange(4) * 90.0,
        },
    )

    def inspect(piece: xr.Dataset) -> list[BadTime]:
        times = piece["time"].values
        return [
            BadTime(t, "temperature", "out of range", "wrong")
            for t in times
            if t == record["time"].values[wrong]
        ]

    a_step = values[0].nbytes / 1e6
    found = fit_moments(
        record.chunk(time=1), gaps=gaps, piece_megabytes=3 * a_step, inspect=inspect, skip_bad=True
    )
    exact = fit_moments(record.chunk(time=1), gaps=gaps, piece_megabytes=99.0, inspect=inspect, skip_bad=True)
    used = np.delete(np.arange(steps - gaps), wrong)
    starts = used[np.linspace(0, len(used) - 1, STARTS).astype(int)]
    weight = np.cos(np.deg2rad(record["latitude"].values))[:, None]
    weight = weight / weight.mean()
    for gap in range(1, gaps + 1):
        ends = starts + gap
        chosen = starts[ends != wrong]
        squared = ((values[chosen + gap] - values[chosen]) ** 2 * weight).mean((2, 3))
        assert found.pairs[gap - 1] == len(chosen)
        np.testing.assert_allclose(found.changes["temperature"].sel(gap=gap - 1), squared.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.mean["temperature"], exact.mean["temperature"], rtol=1e-12)
    np.testing.assert_allclose(found.changes["temperature"], exact.changes["temperature"], rtol=0.3)
    assert found.changes["temperature"].dims == exact.changes["temperature"].dims
