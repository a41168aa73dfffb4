"""Controls of the model for looking: other seeds, and fields whose motion only comparing frames can tell.

``python -m atmorep_lite.zoo.looking_controls FILE.csv`` takes two minutes of processor time for each row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from atmorep_lite.flow_attention import (
    INTERVENTIONS,
    Agreement,
    heads_agreement,
    token_places,
    true_arrows,
)
from atmorep_lite.flows import SIDE
from atmorep_lite.zoo.forecaster import relative_error, windows
from atmorep_lite.zoo.looking import (
    INTERVAL,
    POINTS,
    SLOTS,
    TEST,
    VALIDATION,
    looking_trajectories,
    moving_steps,
    moving_trajectories,
    train_looking,
)
from atmorep_lite.zoo.vortexformer import VortexFormer

RUNS = (("vortices", 1), ("moving", 0), ("vortices", 2), ("moving", 1))
"""Task and seed of each row."""


def windows_with_truth(seed: int, *, count: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Vortices to look at: frames ``[sample, 3, y, x]``, the next, and true arrows ``[sample, token, 2]``."""
    frames, target = windows(looking_trajectories(count, frames=5, seed=seed))
    return frames, target, true_arrows(frames[:, -1], token_places(SLOTS, points=POINTS), interval=INTERVAL)


def true_motion(task: str, frames: Tensor, steps: Tensor) -> Tensor:
    """Upstream arrows ``[sample, token, 2]`` of the newest of some frames ``[sample, 3, y, x]``.

    ``steps`` ``[sample, 2]`` are the displacements of the moving fields.
    """
    if task == "moving":
        return -steps[:, None].expand(-1, SLOTS**2, 2)
    return true_arrows(frames[:, -1], token_places(SLOTS, points=POINTS), interval=INTERVAL)


def measure(model: VortexFormer, task: str, *, count: int = 16) -> dict[str, float | str]:
    """Choose a head on validation, report it on test: errors, agreement, and what interventions do to it."""
    draw = {"vortices": looking_trajectories, "moving": moving_trajectories}[task]
    chosen: tuple[int, int] | None = None
    row: dict[str, float | str] = {}
    for seed in (VALIDATION, TEST):
        frames, target = windows(draw(count, frames=5, seed=seed))
        steps = moving_steps(count, seed=seed).repeat_interleave(2, 0)
        truth = true_motion(task, frames, steps)
        if chosen is None:
            found = agreements(model, frames, truth)
            chosen = max(found, key=lambda at: found[at].correlation)
            continue
        with torch.no_grad():
            row = {"error": float(relative_error(model(frames), target)), "head": f"{chosen[0]}.{chosen[1]}"}
            row["persistence"] = float(relative_error(frames[:, -1], target))
        for name, change in INTERVENTIONS.items():
            if "reverse" in name and task == "vortices":
                truth = true_motion(task, frames[:, :1], steps)
            found = agreements(model, change(frames), truth)
            row[name] = found[chosen].correlation
            if name == "as it was":
                row |= {"angle": found[chosen].angle, "length": found[chosen].length}
            truth = true_motion(task, frames, steps)
    return row


def agreements(model: VortexFormer, frames: Tensor, truth: Tensor) -> dict[tuple[int, int], Agreement]:
    """Agreement of every head over tokens that move by a token or more."""
    return heads_agreement(model, frames, truth, least=0.999 * SIDE / SLOTS)


def main() -> None:
    """Command line: train, measure, write a row after each."""
    parser = argparse.ArgumentParser(description="train and measure controls of the model for looking")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    rows = []
    for task, seed in RUNS:
        data = moving_trajectories(192) if task == "moving" else None
        model = train_looking(seconds=options.seconds, seed=seed, trajectories=data)
        rows.append({"task": task, "seed": seed, **measure(model, task)})
        table = pd.DataFrame(rows).round(3).sort_values(["task", "seed"], ascending=[False, True])
        table.to_csv(options.file, index=False)
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
