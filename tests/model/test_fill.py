"""The fill in time, against a loop over every point."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atmorep_lite.model.fill import fill_in_time

shapes = st.tuples(st.integers(1, 7), st.integers(1, 2), st.integers(1, 3))


def by_hand(series: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One point: interpolated between the nearest visible steps, held at the ends, 0 if all is hidden."""
    visible = np.flatnonzero(~hidden)
    if not len(visible):
        return np.zeros(len(series)), np.full(len(series), len(series))
    filled = np.interp(np.arange(len(series)), visible, series[visible])
    return filled, np.abs(np.arange(len(series))[:, None] - visible).min(1)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), shape=shapes, seed=st.integers(0, 1000))
def test_fill_against_a_loop_and_blind_to_what_is_hidden(data, shape, seed) -> None:
    hidden = data.draw(hnp.arrays(bool, shape))
    values = np.random.default_rng(seed).normal(size=shape)
    poisoned = torch.from_numpy(np.where(hidden, np.nan, values))
    filled, gap = fill_in_time(poisoned, torch.from_numpy(hidden))
    for point in np.ndindex(shape[1:]):
        at = (slice(None), *point)
        expected, steps = by_hand(values[at], hidden[at])
        np.testing.assert_allclose(filled[at], expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(gap[at], steps)
    assert torch.equal(filled[torch.from_numpy(~hidden)], poisoned[torch.from_numpy(~hidden)])


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf"), 1e38])
def test_hidden_values_are_never_read(poison: float) -> None:
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 6, 4, 4, generator=rng)
    hidden = torch.rand(values.shape, generator=rng) < 0.6
    hidden[0, 0, :, 0, 0] = True
    filled, _ = fill_in_time(torch.where(hidden, poison, values), hidden)
    assert torch.equal(filled, fill_in_time(values, hidden)[0])


def test_a_forecast_is_filled_by_persistence() -> None:
    values = torch.randn(1, 6, 2, 2, generator=torch.Generator().manual_seed(0))
    hidden = (torch.arange(6) > 3).view(1, 6, 1, 1).expand(1, 6, 2, 2)
    filled, gap = fill_in_time(values, hidden)
    assert torch.equal(filled[:, 4:], values[:, 3:4].expand(1, 2, 2, 2))
    assert gap[0, :, 0, 0].tolist() == [0, 0, 0, 0, 1, 2]
