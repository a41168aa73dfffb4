"""A run's stages, step by step: the training loop itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from atmorep_lite.config import Config
from atmorep_lite.data.loader import on_tensors, steps_ahead
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.masking import Key
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.batch_loss import PartLoss, validation_loss
from atmorep_lite.training.blame import blame
from atmorep_lite.training.ema import WeightMean
from atmorep_lite.training.guard import Guard, Trouble
from atmorep_lite.training.optimizer import build_optimizers, trainable
from atmorep_lite.training.parallel import full, gather, parallelize
from atmorep_lite.training.parts import keys_of, make_part, parts_of_stage, places_of, unmasked
from atmorep_lite.training.processes import Processes
from atmorep_lite.training.regression import fit_regression
from atmorep_lite.training.resume.contents import restore, training_state
from atmorep_lite.training.resume.states import Position, Saved, States
from atmorep_lite.training.schedule import rate_factor
from atmorep_lite.training.tuning.freeze import held
from atmorep_lite.training.watch.clock import Clock
from atmorep_lite.training.watch.session import Progress
from atmorep_lite.training.watch.validation import validate


@dataclass(frozen=True)
class Run:
    """What all stages of a run share.

    ``model`` is whole, in every process, between stages.  ``climate`` is the climatology that validation
    compares with; ``plain`` goes into every checkpoint.
    """

    config: Config
    model: AtmoRep
    data: Neighbourhoods
    validation: Neighbourhoods
    processes: Processes
    folder: Path
    states: States
    plain: dict[str, Any]
    climate: dict[str, np.ndarray] | None
    guard: Guard
    report: Callable[[Progress], None]
    stop_requested: Callable[[], bool]


def run_stages(run: Run, saved: Saved | None) -> bool:
    """All stages, or what is left of them; False if the run was asked to stop."""
    stages = run.config.training.stages
    first = 0
    if saved is not None:
        first = saved.position.stage
        if saved.position.step == stages[first].steps:  # the stage is done
            restore(run.states, saved, run.model)
            first, saved = first + 1, None
    for index in range(first, len(stages)):
        run.model.to(run.processes.device)
        do = fit_stage if stages[index].part == "regression" else learn_stage
        if not do(run, index, saved if index == first else None):
            return False
    return True


def fit_stage(run: Run, index: int, saved: Saved | None) -> bool:
    """A stage of the part ``regression``: fitted in closed form, to batches that all processes bring."""
    config, stage, group = run.config, run.config.training.stages[index], run.processes
    started = time.monotonic()
    own = range(group.rank, stage.steps, group.count)
    batches = (unmasked(run.data, config, keys_of(config, stage, index, step)) for step in own)
    on_device = (on_tensors(batch, lambda x: x.to(group.device)) for batch in batches)
    fit_regression(run.model, on_device, processes=group)
    score = validation_loss(run.model, run.validation, config, stage)
    seconds = time.monotonic() - started
    run.report(Progress(index, stage.part, stage.steps, stage.steps, score, score, seconds, 0.0))
    _save(run, Position(index, stage.steps), run.model)
    return not group.any(run.stop_requested())


def learn_stage(run: Run, index: int, saved: Saved | None) -> bool:
    """A stage that learns by gradients; False if the run was asked to stop meanwhile."""
    config, training, group = run.config, run.config.training, run.processes
    stage = training.stages[index]
    trainable(run.model, stage.part, held=held(run.model, training))
    run.model.train()
    batch_loss, learning = parallelize(run.model, config, stage, group)
    parameters = {name: p for name, p in learning.named_parameters() if p.requires_grad}
    optimizers = build_optimizers(parameters, stage, training)
    rates = [options["lr"] for optimizer in optimizers for options in optimizer.param_groups]
    mean = WeightMean(parameters, training.ema)
    run.guard.begin(index)
    first = 0
    if saved is not None:
        first = saved.position.step
        restore(run.states, saved, learning, optimizers, ema=mean.mean)
    groups = [options for optimizer in optimizers for options in optimizer.param_groups]
    clock = Clock(run, index, first)
    numbers = range(first * training.accumulate, stage.steps * training.accumulate)
    make = parts_of_stage(run.data, config, stage, index, group, each=training.accumulate)
    with steps_ahead(make, numbers, workers=config.data.workers) as stream:
        for step in range(first, stage.steps):
            for options, rate in zip(groups, rates, strict=True):
                options["lr"] = rate * rate_factor(step, stage.steps, training)
            parts = [next(stream).to(group.device) for _ in range(training.accumulate)]
            loss, per_field = batch_loss(parts, backward=True)
            norm = full(nn.utils.clip_grad_norm_(parameters.values(), training.clip))
            trouble = run.guard.check(float(loss), float(norm))
            if trouble is None:
                for optimizer in optimizers:
                    optimizer.step()
                mean.update()
            else:
                _leave_out(run, index, step, trouble, learning)
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)

            done = step + 1
            last = done == stage.steps
            due = last or done % training.checkpoint_every == 0
            if last:
                mean.settle()
                gather(learning, run.model)
                run.guard.finish(run.model)
            held_out, scores = None, None
            if last or done % (training.validate_every or training.checkpoint_every) == 0:
                with mean.in_place():
                    held_out = validation_loss(batch_loss, run.validation, config, stage)
                    if last or training.validate_every is not None:
                        scores = _scores(run, index, done, learning)
            clock.tell(
                done,
                stream.waited,
                loss=float(loss),
                per_field=per_field,
                validation=held_out,
                scores=scores,
                learning_rate=groups[0]["lr"],
                gradient_norm=float(norm),
            )
            stopping = group.any(run.stop_requested() or run.states.failed())
            if due or stopping:
                _save(run, Position(index, done), learning, optimizers, mean.mean)
            if stopping:
                return False
    return True


def _save(
    run: Run,
    position: Position,
    model: AtmoRep,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    mean: Mapping[str, Tensor] | None = None,
) -> None:
    state = training_state(model, optimizers, ema=mean or {})
    run.states.save(position, state, run.plain | {"guard": run.guard.state()})


def _scores(run: Run, index: int, done: int, learning: AtmoRep) -> dict[str, float] | None:
    """Scores of forecasts of the held-out record, computed by the first process."""
    stage = run.config.training.stages[index]
    gather(learning, run.model)
    if not run.processes.is_first:
        return None
    before = next(run.model.parameters()).device
    scores = validate(
        run.model.to(run.processes.device),
        run.validation,
        run.config,
        stage,
        folder=run.folder / "attention" if done == stage.steps else None,
        name=f"{index}-{done:06d}",
        climate=run.climate,
    )
    run.model.to(before)
    return scores


def _leave_out(run: Run, index: int, step: int, trouble: Trouble, learning: AtmoRep) -> None:
    """Find the sample by which a step went wrong and say so, or end the run."""
    config, stage = run.config, run.config.training.stages[index]
    gather(learning, run.model)
    alone = PartLoss(run.model, config, stage)

    def measure(key: Key) -> tuple[Tensor, dict[str, float]]:
        part = make_part(run.data, config, stage, [key]).to(next(run.model.parameters()).device)
        torch.manual_seed(part.seed)
        return alone(part)

    def place_of(key: Key) -> Place:
        return places_of(run.data, config, [key])[0]

    learnt = [p for p in run.model.parameters() if p.requires_grad] if learning is run.model else []
    culprit = blame(
        trouble,
        keys_of(config, stage, index, step),
        measure,
        place_of,
        run.data,
        processes=run.processes,
        parameters=learnt,
    )
    sentence = run.guard.act(trouble, step=step, blamed=culprit)
    if run.processes.is_first:
        print(f"atmorep-lite: {sentence}", file=sys.stderr)
