"""What every forecaster of the vortices is, and the simplest two.

A *forecaster* is any callable that takes the last three frames ``[batch, 3, y, x]`` (t-2, t-1, t) and returns
the next one ``[batch, y, x]`` (t+1).  A function, a fitted regression and a network are all used alike.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atmorep_lite.errors import UserError

FRAMES = 3
"""Number of frames that a forecaster sees."""

Forecaster = Callable[[Tensor], Tensor]


def persistence(frames: Tensor) -> Tensor:
    """Nothing changes: the newest frame."""
    return check_frames(frames)[:, -1]


def linear_extrapolation(frames: Tensor) -> Tensor:
    """The last change once more: 2 frame(t) - frame(t-1)."""
    return 2 * check_frames(frames)[:, -1] - frames[:, -2]


def stretches(trajectories: Tensor, ahead: int = 1) -> Tensor:
    """Every stretch of three frames and the ``ahead`` frames after them.

    Parameters
    ----------
    trajectories
        ``[trajectory, frame, y, x]``, at least 3 + ``ahead`` frames.

    Returns
    -------
    ``[sample, 3 + ahead, y, x]``; all start frames of the first trajectory come first.
    """
    length = FRAMES + ahead
    if trajectories.dim() != 4 or trajectories.shape[1] < length:
        raise UserError(
            f"trajectories of shape {tuple(trajectories.shape)} hold no sample; expected "
            f"[trajectory, frame, y, x] with at least {length} frames"
        )
    return trajectories.unfold(1, length, 1).movedim(-1, 2).flatten(0, 1)


def windows(trajectories: Tensor) -> tuple[Tensor, Tensor]:
    """All samples of trajectories: three frames ``[sample, 3, y, x]`` and the next ``[sample, y, x]``."""
    cut = stretches(trajectories)
    return cut[:, :FRAMES], cut[:, FRAMES]


@torch.no_grad()
def rollout(forecaster: Forecaster, frames: Tensor, steps: int) -> Tensor:
    """Feed forecasts back: ``frames`` ``[batch, 3, y, x]`` -> ``[batch, steps, y, x]``."""
    return unroll(forecaster, frames, steps)


def unroll(forecaster: Forecaster, frames: Tensor, steps: int) -> Tensor:
    """:func:`rollout` with gradients."""
    frames, out = check_frames(frames), []
    for _ in range(steps):
        guess = forecaster(frames)
        out.append(guess)
        frames = torch.cat((frames[:, 1:], guess[:, None]), 1)
    if not out:
        raise UserError(f"a rollout of {steps} steps holds nothing; ask for at least 1")
    return torch.stack(out, 1)


def relative_error(guess: Tensor, truth: Tensor) -> Tensor:
    """Relative L2 error, ``|guess - truth| / |truth|`` over (y, x), mean over the samples of the first axis.

    ``[batch, ..., y, x]`` -> ``[...]``, so a rollout ``[batch, steps, y, x]`` gives one error per step.
    """
    if guess.shape != truth.shape:
        raise UserError(f"guess {tuple(guess.shape)} and truth {tuple(truth.shape)} differ in shape")
    return sample_errors(guess, truth).mean(0)


def sample_errors(guess: Tensor, truth: Tensor) -> Tensor:
    """Relative L2 error of each sample: ``[..., y, x]`` -> ``[...]``."""
    return (guess - truth).flatten(-2).norm(dim=-1) / truth.flatten(-2).norm(dim=-1)


@torch.no_grad()
def one_step_error(forecaster: Forecaster, trajectories: Tensor, *, batch: int = 64) -> float:
    """Relative L2 error of the next frame, mean over every window of ``[trajectory, frame, y, x]``."""
    parts = stretches(trajectories).split(batch)
    return float(torch.cat([sample_errors(forecaster(p[:, :FRAMES]), p[:, FRAMES]) for p in parts]).mean())


@torch.no_grad()
def rollout_errors(forecaster: Forecaster, trajectories: Tensor, steps: int) -> Tensor:
    """Errors ``[steps]`` of rollouts from the first three frames of ``[trajectory, frame, y, x]``."""
    if trajectories.shape[1] < FRAMES + steps:
        raise UserError(f"{trajectories.shape[1]} frames are too few for {FRAMES} seen and {steps} forecast")
    guess = rollout(forecaster, trajectories[:, :FRAMES], steps)
    return relative_error(guess, trajectories[:, FRAMES : FRAMES + steps])


def check_frames(frames: Tensor) -> Tensor:
    """The frames themselves, or a ``UserError`` if they are not ``[batch, 3, y, x]``."""
    if frames.dim() != 4 or frames.shape[1] != FRAMES:
        raise UserError(
            f"a forecaster takes the last {FRAMES} frames, [batch, {FRAMES}, y, x]; "
            f"the shape given is {tuple(frames.shape)}"
        )
    return frames
