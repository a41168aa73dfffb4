"""The model for looking: so plain that information can move from place to place by attention alone.

It is a :class:`VortexFormer` of two layers with two heads each, on fields of 32 x 32 points.  Tokens are 2 x
2 points of one frame, so that attention to an earlier frame exists and arrows can be shorter than vortices.
Frames are 1.0 time units apart, twice as far as for the accurate model: fluid then moves by whole tokens.

``python -m atmorep_lite.zoo.looking FOLDER`` trains it anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from atmorep_lite.flows import SIDE, vortex_trajectories
from atmorep_lite.flows.diagnostics import wave_numbers
from atmorep_lite.zoo.train import FitProgress, fit
from atmorep_lite.zoo.vortexformer import VortexFormer, VortexFormerConfig

INTERVAL = 1.0
"""Time between the frames that the model for looking sees."""
POINTS, SLOTS = 32, 16
TRAIN, VALIDATION, TEST = 100, 101, 102
"""Seeds of the trajectories for training, for choosing a head, and for reporting."""
STEPS = 1400


def looking_trajectories(count: int, *, frames: int = 10, seed: int = TRAIN) -> Tensor:
    """Vortices as the model for looking sees them, ``[trajectory, frame, y, x]``."""
    return vortex_trajectories(count, frames=frames, seed=seed, points=POINTS, interval=INTERVAL)


def moving_trajectories(count: int, *, frames: int = 10, seed: int = TRAIN) -> Tensor:
    """A control: smooth random fields that move as a whole, ``[trajectory, frame, y, x]``.

    Each trajectory has a displacement per frame of its own, 1 to 2.5 tokens in any direction, which a single
    frame does not tell: only a comparison of frames does.
    """
    generator = torch.Generator().manual_seed(seed)
    ky, kx = wave_numbers(POINTS)
    amplitude = torch.exp(-(ky**2 + kx**2) / 18) * ((ky != 0) | (kx != 0))
    spectrum = torch.fft.rfft2(torch.randn(count, 1, POINTS, POINTS, generator=generator)) * amplitude
    step = (
        moving_steps(count, seed=seed)[:, None, None, None] * torch.arange(frames)[None, :, None, None, None]
    )
    turned = spectrum * torch.exp(-1j * (ky * step[..., 0] + kx * step[..., 1]))
    field = torch.fft.irfft2(turned, s=(POINTS, POINTS))
    return 0.65 * field / field.std((-2, -1), keepdim=True)


def moving_steps(count: int, *, seed: int = TRAIN) -> Tensor:
    """The displacements (y, x) per frame of :func:`moving_trajectories`, ``[trajectory, 2]``."""
    chance = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed + 1000))
    length, angle = (1 + 1.5 * chance[:, 0]) * SIDE / SLOTS, SIDE * chance[:, 1]
    return torch.stack((length * angle.sin(), length * angle.cos()), -1)


def looking_model(*, seed: int = 0) -> VortexFormer:
    """The model with random weights."""
    config = VortexFormerConfig(
        points=POINTS, token_size=(1, 2, 2), width=128, layers=2, heads=2, waves="space", scale=0.65
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return VortexFormer(config)


def train_looking(
    *,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    report: Callable[[FitProgress], object] = lambda progress: None,
    state: str | Path | None = None,
    trajectories: Tensor | None = None,
) -> VortexFormer:
    """Train the model for looking, for a number of steps or of seconds of processor time.

    ``trajectories`` are those of :func:`looking_trajectories` if left out.
    """
    model = looking_model(seed=seed)
    trajectories = looking_trajectories(192) if trajectories is None else trajectories
    fit(
        model,
        trajectories,
        steps=steps,
        seconds=seconds,
        batch=4,
        learning_rate=5e-3,
        seed=seed,
        report=report,
        state=state,
    )
    return model


def main() -> None:
    """Command line: train and save."""
    parser = argparse.ArgumentParser(description="train the model for looking and save it")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="file that keeps the state of the training")
    options = parser.parse_args()

    def report(progress: FitProgress) -> None:
        if progress.step % 50 == 0:
            print(f"step {progress.step}  loss {progress.loss:.3f}  {progress.seconds:.0f} s", flush=True)

    model = train_looking(steps=options.steps, seed=options.seed, report=report, state=options.state)
    model.half().save_pretrained(options.folder)  # half the size, the same forecasts to three digits


if __name__ == "__main__":
    main()
