"""Definitions: persistence, extrapolation, windows, rollout, relative error."""

import pytest
import torch

from atmorep_lite.errors import UserError
from atmorep_lite.zoo import (
    linear_extrapolation,
    one_step_error,
    persistence,
    relative_error,
    rollout,
    rollout_errors,
    windows,
)
from atmorep_lite.zoo.forecaster import stretches


@pytest.fixture
def steady_growth() -> torch.Tensor:
    """Two trajectories ``[2, 6, 4, 4]`` in which every point grows by 1 a frame from a random start."""
    start = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return start + torch.arange(6.0)[:, None, None]


def test_persistence_and_extrapolation(steady_growth: torch.Tensor) -> None:
    seen = steady_growth[:, :3]
    torch.testing.assert_close(persistence(seen), steady_growth[:, 2])
    torch.testing.assert_close(linear_extrapolation(seen), steady_growth[:, 3])


def test_windows_in_order(steady_growth: torch.Tensor) -> None:
    frames, truth = windows(steady_growth)
    assert frames.shape == (6, 3, 4, 4) and truth.shape == (6, 4, 4)
    torch.testing.assert_close(frames[4], steady_growth[1, 1:4])
    torch.testing.assert_close(truth[4], steady_growth[1, 4])
    longer = stretches(steady_growth, 3)
    assert longer.shape == (2, 6, 4, 4)
    torch.testing.assert_close(longer, steady_growth)


def test_rollout_feeds_back(steady_growth: torch.Tensor) -> None:
    ahead = rollout(linear_extrapolation, steady_growth[:, :3], 3)
    torch.testing.assert_close(ahead, steady_growth[:, 3:])
    seen = []

    def spy(frames: torch.Tensor) -> torch.Tensor:
        seen.append(frames)
        return frames.sum(1)

    out = rollout(spy, steady_growth[:, :3], 2)
    torch.testing.assert_close(seen[1], torch.cat((steady_growth[:, 1:3], out[:, :1]), 1))


def test_relative_error_by_hand() -> None:
    truth = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])  # norms 5 and 2
    guess = torch.tensor([[[3.0, 3.0]], [[0.0, 0.0]]])  # errors 1 and 2
    assert float(relative_error(guess, truth)) == pytest.approx((1 / 5 + 2 / 2) / 2)
    both = relative_error(torch.stack((guess, truth), 1), torch.stack((truth, truth), 1))
    assert both.tolist() == pytest.approx([0.6, 0.0])


def test_errors_of_a_perfect_and_of_a_lazy_forecaster(steady_growth: torch.Tensor) -> None:
    assert one_step_error(linear_extrapolation, steady_growth) < 1e-6
    expected = torch.stack(
        [4.0 / steady_growth[i, t].norm() for i in range(2) for t in (3, 4, 5)]  # |ones(4, 4)| = 4
    )
    assert one_step_error(persistence, steady_growth, batch=4) == pytest.approx(float(expected.mean()))
    lazy = rollout_errors(persistence, steady_growth, 3)
    by_hand = [
        torch.stack([4.0 * s / steady_growth[i, 2 + s].norm() for i in range(2)]).mean() for s in (1, 2, 3)
    ]
    torch.testing.assert_close(lazy, torch.stack(by_hand))


def test_mistakes_are_told(steady_growth: torch.Tensor) -> None:
    with pytest.raises(UserError, match="last 3 frames"):
        persistence(steady_growth[:, :2])
    with pytest.raises(UserError, match="hold no sample"):
        windows(steady_growth[:, :3])
    with pytest.raises(UserError, match="too few"):
        rollout_errors(persistence, steady_growth, 4)
    with pytest.raises(UserError, match="differ in shape"):
        relative_error(steady_growth[:, 0], steady_growth)
    with pytest.raises(UserError, match="at least 1"):
        rollout(persistence, steady_growth[:, :3], 0)
