"""The fluid models of chapter 8: every baseline, a training in class, and the shipped models.

    python benchmarks/vortices.py ship FOLDER     trains the shipped VortexFormer (45 minutes)
    python benchmarks/vortices.py live FOLDER     trains the same network for three minutes, as in class
    python benchmarks/vortices.py fno FOLDER      trains the Fourier neural operator for three minutes
    python benchmarks/vortices.py frames FOLDER   trains for one minute on 1, 2 and 3 frames: frames.csv
    python benchmarks/vortices.py table FOLDER    scores.csv of all models; those in FOLDER/live are included

Minutes are minutes of process time on one thread.  A training that was stopped goes on from where it was.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from atmorep_lite.flows import circulation, energy, enstrophy, semi_lagrangian, vortex_trajectories
from atmorep_lite.zoo import (
    FNO,
    FourierDiagonal,
    RidgeStencil,
    VortexFormer,
    VortexFormerConfig,
    fit,
    linear_extrapolation,
    one_step_error,
    persistence,
    relative_error,
    rollout,
)
from atmorep_lite.zoo.fno import FNOConfig
from atmorep_lite.zoo.forecaster import FRAMES, Forecaster, sample_errors
from atmorep_lite.zoo.train import FitProgress

SCALE = 0.65
ACCURATE = VortexFormerConfig(
    width=96,
    layers=4,
    heads=4,
    stem=24,
    gate=True,
    conserve=True,
    dealias=True,
    focus=4.0,
    raw_values=True,
    scale=SCALE,
)
RATE = 8e-3
STEPS = (9_000, 1_000, 1_000)
"""Of the shipped VortexFormer: on single forecasts, on four in a row, on three after up to eight others."""

AHEAD = 20
"""Steps of the rollouts that are scored."""
TRAINING_SECONDS = {"FNO": 180, "VortexFormer, three minutes": 180, "VortexFormer, shipped": 2686}


def training_flows(count: int = 192) -> Tensor:
    """``[count, 20, 64, 64]``; 192 take 16 s to simulate."""
    return vortex_trajectories(count, frames=20, seed=1)


def train(model: nn.Module, flows: Tensor, state: Path, **how: Any) -> None:
    """Train and tell the mean loss of every 50 steps."""
    losses: list[float] = []

    def report(p: FitProgress) -> None:
        losses.append(p.loss)
        if p.step % 50 == 0:
            print(f"{p.step:6d} {p.seconds:7.0f} s  {sum(losses[-50:]) / 50:.4f}", flush=True)

    fit(model, flows, state=state, report=report, **{"learning_rate": RATE, **how})


def ship(folder: Path) -> None:
    model, flows = VortexFormer(ACCURATE), training_flows(384)
    train(model, flows, folder / "state.pt", steps=STEPS[0])
    tuning = {"batch": 4, "learning_rate": RATE / 8}
    train(model, flows, folder / "state_four.pt", steps=STEPS[1], unroll=4, seed=1, **tuning)
    train(model, flows, folder / "state_long.pt", steps=STEPS[2], unroll=3, lead_in=8, seed=2, **tuning)
    model.save_pretrained(folder)


def live(folder: Path) -> None:
    model = VortexFormer(ACCURATE)
    train(model, training_flows(), folder / "state.pt", seconds=180.0)
    model.save_pretrained(folder)


def fno(folder: Path) -> None:
    model = FNO(FNOConfig(scale=SCALE))
    train(model, training_flows(), folder / "state.pt", seconds=180.0)
    model.save_pretrained(folder)


class SeesFewer(nn.Module):
    """A forecaster that is shown only the newest ``count`` frames; copies take the others' places."""

    def __init__(self, model: nn.Module, count: int) -> None:
        super().__init__()
        self.model, self.count = model, count

    def forward(self, frames: Tensor) -> Tensor:
        oldest = FRAMES - self.count
        return self.model(frames[:, [max(i, oldest) for i in range(FRAMES)]])


def frames(folder: Path) -> None:
    flows, test, rows = training_flows(), test_flows(), []
    for count in (1, 2, 3):
        torch.manual_seed(0)
        model = SeesFewer(VortexFormer(ACCURATE), count)
        train(model, flows, folder / f"state{count}.pt", seconds=60.0)
        rows.append({"frames": count, "one_step": one_step_error(model, test)})
    write(pd.DataFrame(rows), folder / "frames.csv")


def test_flows(eccentricity: tuple[float, float] = (0.0, 0.9)) -> Tensor:
    """``[32, 23, 64, 64]``; no model was shown ellipses as narrow as those of eccentricity above 0.9."""
    return vortex_trajectories(32, frames=FRAMES + AHEAD, seed=1001, eccentricity=eccentricity)


def table(folder: Path) -> None:
    """Scores on flows that no model has seen, and what ten steps of a rollout conserve."""
    test, narrow, record = test_flows(), test_flows((0.9, 0.97)), training_flows()
    models: dict[str, Callable[[], Forecaster]] = {
        "persistence": lambda: persistence,
        "linear extrapolation": lambda: linear_extrapolation,
        "ridge 5x5x3": lambda: RidgeStencil.fit(record),
        "Fourier diagonal": lambda: FourierDiagonal.fit(record),
        "semi-Lagrangian, wind frozen": lambda: lambda f: semi_lagrangian(f, wind="frozen"),
        "semi-Lagrangian, wind extrapolated": lambda: lambda f: semi_lagrangian(f, wind="extrapolated"),
        "FNO": lambda: FNO.from_pretrained("vortices_fno"),
        "VortexFormer, shipped": lambda: VortexFormer.from_pretrained("vortices"),
    }
    if (folder / "live").is_dir():
        models["VortexFormer, three minutes"] = lambda: VortexFormer.from_pretrained(folder / "live")
    rows: list[dict[str, Any]] = []
    for name, make in models.items():
        begun = time.process_time()
        model = make()
        seconds = time.process_time() - begun
        ahead, narrow_ahead = (rollout(model, flows[:, :FRAMES], AHEAD) for flows in (test, narrow))
        errors = relative_error(ahead, test[:, FRAMES:])
        narrow_errors = relative_error(narrow_ahead, narrow[:, FRAMES:])
        size = sum(p.numel() for p in model.parameters()) if isinstance(model, nn.Module) else 0
        described: dict[str, Any] = {"model": name, "parameters": size}
        described["fit_seconds"] = TRAINING_SECONDS.get(name, round(seconds))
        rows.append(
            described
            | {"one_step": one_step_error(model, test)}
            | {f"rollout_{step}": float(errors[step - 1]) for step in (1, 5, 10, 20)}
            | {"worst_20": float(sample_errors(ahead[:, -1], test[:, -1]).max())}
            | {f"narrow_{step}": float(narrow_errors[step - 1]) for step in (1, 10)}
            | drift(ahead[:, 9], test[:, FRAMES - 1])
        )
        print(rows[-1], flush=True)
    truth = {"model": "truth", "parameters": 0, "fit_seconds": 0}
    rows.append(truth | drift(test[:, FRAMES + 9], test[:, FRAMES - 1]))  # what viscosity takes
    write(pd.DataFrame(rows), folder / "scores.csv")


def drift(late: Tensor, early: Tensor) -> dict[str, float]:
    """Mean over flows: |change of circulation| relative to the integral of |vorticity|; change of energy and
    of enstrophy relative to the first."""
    moved = (circulation(late) - circulation(early)).abs() / circulation(early.abs())
    return {"circulation": float(moved.mean())} | {
        measure.__name__: float((measure(late) / measure(early) - 1).mean())
        for measure in (energy, enstrophy)
    }


def write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, float_format="%.5g")
    print(frame.to_string())


if __name__ == "__main__":
    commands = {function.__name__: function for function in (ship, live, fno, frames, table)}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    commands[sys.argv[1]](Path(sys.argv[2]))
