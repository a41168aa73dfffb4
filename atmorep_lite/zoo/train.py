"""Training of the fluid models: one function, for three minutes in class or for half an hour."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from atmorep_lite.config import StageConfig, TrainingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.training.checkpoint import load_state, save_state
from atmorep_lite.training.optimizer import build_optimizers
from atmorep_lite.training.schedule import cosine
from atmorep_lite.training.watch.session import denormals_flushed
from atmorep_lite.zoo.forecaster import FRAMES, rollout, sample_errors, stretches, unroll


@dataclass(frozen=True)
class FitProgress:
    """Where a training is: ``loss`` of the last batch, ``seconds`` of process time, ``done`` from 0 to 1."""

    step: int
    done: float
    loss: float
    seconds: float


def fit(
    model: nn.Module,
    trajectories: Tensor,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    batch: int = 8,
    unroll: int = 1,
    learning_rate: float = 3e-3,
    warmup: int = 20,
    weight_decay: float = 0.0,
    seed: int = 0,
    augment: bool = True,
    lead_in: int = 0,
    state: str | Path | None = None,
    save_every: float = 60.0,
    report: Callable[[FitProgress], object] = lambda progress: None,
) -> list[FitProgress]:
    """Train a forecaster: Muon for matrices, AdamW for the rest, rate falling as a cosine.

    The loss is the relative L2 error of the next frame, mean over the batch; with ``unroll`` above 1 the mean
    over as many forecasts, each made from the ones before it.

    Parameters
    ----------
    model
        A network that is a forecaster.
    trajectories
        ``[trajectory, frame, y, x]``; every window of ``3 + unroll`` frames is a sample.
    steps, seconds
        How long: a number of steps (repeatable exactly) or of seconds of process time.  Give one of them.
    unroll
        Forecasts in a row.  One step teaches accuracy; several teach a model to live with its own errors.
    lead_in
        Up to so many forecasts, a number drawn for each batch, come before those that count; no gradient
        passes through them (the pushforward trick, Brandstetter et al. 2022).
    augment
        Show each sample turned, mirrored and shifted at random, which the physics allows.
    state
        A file that keeps the training's state; if it exists, the training goes on from there.
    save_every
        Seconds of process time between two states.
    report
        Called after every step.

    Returns
    -------
    One record a step of this call.

    Raises
    ------
    UserError
        Neither or both of ``steps`` and ``seconds``; trajectories too short; the loss is no number.
    """
    if (steps is None) == (seconds is None):
        raise UserError("say how long to train by either steps=... or seconds=..., not both")
    flows = stretches(trajectories, lead_in + unroll)
    stage = StageConfig(steps=steps or 1, batch_size=batch, learning_rate=learning_rate)
    training = TrainingConfig(stages=(stage,), optimizer="muon", weight_decay=weight_decay)
    optimizers = build_optimizers(dict(model.named_parameters()), stage, training)
    step, spent = 0, 0.0
    path = None if state is None else Path(state)
    if path is not None and path.exists():
        old = load_state(path)
        step, spent = old["step"], old["seconds"]
        model.load_state_dict(old["model"])
        for optimizer, saved in zip(optimizers, old["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    begun, saved_at, history = time.process_time() - spent, spent, []
    model.train()
    with denormals_flushed():
        while True:
            spent = time.process_time() - begun
            done = step / steps if steps is not None else spent / (seconds or 1.0)
            if path is not None and (spent - saved_at >= save_every or done >= 1):
                saved_at = spent
                _save(path, step, spent, model, optimizers)
            if done >= 1:
                break
            factor = min(1.0, (step + 1) / warmup) * cosine(int(done * 1e6), 1_000_000, 0)
            for group in groups:
                group["lr"] = learning_rate * factor
            rng = np.random.default_rng((seed, step))
            together = flows[torch.from_numpy(rng.integers(len(flows), size=batch))]
            if augment:
                together = vary(together, rng)
            skipped = int(rng.integers(lead_in + 1))
            loss = unrolled_error(model, together[:, : FRAMES + skipped + unroll], skipped=skipped)
            if not torch.isfinite(loss):
                raise UserError(f"the loss became {loss.item()} at step {step}; lower learning_rate")
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            step += 1
            history.append(FitProgress(step, done, float(loss.detach()), time.process_time() - begun))
            report(history[-1])
    model.eval()
    return history


def _save(
    path: Path, step: int, seconds: float, model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    states = [optimizer.state_dict() for optimizer in optimizers]
    state = {"stage": 0, "step": step, "seconds": seconds, "model": model.state_dict(), "optimizers": states}
    save_state(path, state)


def unrolled_error(model: nn.Module, flows: Tensor, *, skipped: int = 0) -> Tensor:
    """Relative L2 error of forecasts that follow from three frames and each other, mean over the later ones.

    ``flows`` ``[batch, 3 + steps, y, x]``.  The first ``skipped`` forecasts do not count and pass no
    gradient; through the others it passes where they were fed back.
    """
    seen = flows[:, :FRAMES]
    if skipped:
        seen = torch.cat((seen, rollout(model, seen, skipped)), 1)[:, -FRAMES:]
    truth = flows[:, FRAMES + skipped :]
    return sample_errors(unroll(model, seen, truth.shape[1]), truth).mean()


def vary(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Each sample of ``[batch, frame, y, x]`` shifted, turned by quarters and mirrored at random.

    A mirror changes the sign of vorticity.
    """
    out = []
    for sample in frames:
        rows, columns = (int(n) for n in rng.integers(sample.shape[-1], size=2))
        sample = torch.rot90(sample.roll((rows, columns), (-2, -1)), int(rng.integers(4)), (-2, -1))
        out.append(-sample.flip(-1) if rng.integers(2) else sample)
    return torch.stack(out)
