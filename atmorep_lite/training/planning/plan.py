"""What a run would need and do, found in seconds and without training.

The data are opened, the network is built without memory for its weights, one training step is run on tensors
without values (:mod:`.memory`) and its operations are counted
(:mod:`.cost`).  What cannot work is said in a sentence, and the rest is planned.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from atmorep_lite.config import Config
from atmorep_lite.errors import UserError
from atmorep_lite.losses import check_losses
from atmorep_lite.masking import check_masking
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.checkpoint import find_pretrained
from atmorep_lite.training.loop import check_stages
from atmorep_lite.training.planning.cost import flops_per_sample, forward_flops, hidden_share, tokens_of
from atmorep_lite.training.planning.data import Data, bytes_per_sample, look_at_data
from atmorep_lite.training.planning.plan_memory import (
    EFFICIENCY,
    Memory,
    device_for,
    gigabytes,
    memory_of,
    too_little,
)
from atmorep_lite.training.tuning.lora import adapt

#: Bytes a second that one process reads, cuts and masks, from a prepared store in the system's cache
#: (benchmarks/sampler.py).
READING = 1e9


@dataclass(frozen=True)
class Weights:
    """One field's transformer: how many tokens it sees, and its weights by part."""

    field: str
    tokens: int
    embedding: int
    encoder: int
    decoder: int
    tails: int


@dataclass(frozen=True)
class Stage:
    """What one stage would do; ``hidden`` is the share of hidden tokens, ``seconds`` the expected time."""

    part: str
    steps: int
    batch_size: int
    at_once: int
    learning_rate: float
    hidden: float
    flops_per_sample: float
    seconds: float

    @property
    def samples(self) -> int:
        """Samples in all."""
        return self.steps * self.batch_size


@dataclass(frozen=True)
class Plan:
    """What a run would need and do; ``problems`` prevent it, ``warnings`` do not."""

    processes: int
    parallel: str
    device: str
    peak: float
    efficiency: float
    data: tuple[Data, ...]
    weights: tuple[Weights, ...]
    grid_skip: int
    parameters: int
    memory: Memory
    stages: tuple[Stage, ...]
    bytes_per_sample: float
    checkpoint: float
    disk: float
    disk_free: float
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Expected time of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """In plain types that JSON can hold, with the totals."""
        totals = {"seconds": self.seconds, "samples": sum(stage.samples for stage in self.stages)}
        return asdict(self) | totals | {"memory": asdict(self.memory) | {"total": self.memory.total}}


def plan(
    config: Config,
    *,
    processes: int = 1,
    gpu: str | None = None,
    run_dir: str | os.PathLike[str] = "runs",
) -> Plan:
    """Plan a run on ``processes`` processes, each with a device like that of this machine.

    Parameters
    ----------
    gpu
        A GPU's name (:data:`.scaling.MACHINES`), to plan for such GPUs instead.

    Raises
    ------
    UserError
        If the network cannot be built at all, or the GPU is not known.
    """
    training = config.training
    device = device_for(gpu, training.precision, processes)
    weights, grid_skip, parameters = count_weights(config)
    data, warnings = look_at_data(config)
    problems = [f"{d.role} data: {d.words}" for d in data if not d.usable]
    problems += _shares(config, processes)
    problems += _impossible(config)
    hidden = [hidden_share(config, stage) for stage in training.stages]
    at_once = [max(1, -(-s.batch_size // (processes * training.accumulate))) for s in training.stages]
    reading = bytes_per_sample(config) / (READING * processes * max(1, config.data.workers))
    stages = []
    for number, (stage, share, each) in enumerate(zip(training.stages, hidden, at_once, strict=True)):
        flops = flops_per_sample(config.model, part=stage.part, hidden=share)
        again = training.checkpointing * sum(forward_flops(config.model, hidden=share).values())
        computing = (flops + again) / device.rate
        if reading > computing:
            warnings.append(
                f"stage {number} would wait for data: it computes {1 / computing:,.0f} samples/s, and "
                f"{1 / reading:,.0f} can be read; raise data.workers if there are cores"
            )
        together = max(computing, reading) if config.data.workers else computing + reading
        seconds = stage.steps * stage.batch_size * together
        stages.append(
            Stage(stage.part, stage.steps, stage.batch_size, each, stage.learning_rate, share, flops, seconds)
        )
    needs = []
    for part in dict.fromkeys(stage.part for stage in training.stages):
        first = next(stage for stage in training.stages if stage.part == part)
        most = max(n for stage, n in zip(training.stages, at_once, strict=True) if stage.part == part)
        share = max(h for stage, h in zip(training.stages, hidden, strict=True) if stage.part == part)
        needs.append(memory_of(config, first, most, share, processes, device))
    remembered = [found for _, found in needs]
    in_memory = sum(d.bytes_in_memory for d in data)
    memory = replace(max((m for m, _ in needs), key=lambda m: m.total), data=in_memory)
    if memory.total > memory.available:
        problems.append(too_little(memory, processes, device))
    elif in_memory > 0.25 * memory.available:
        warnings.append(
            f"the data are not prepared, so every process would hold {gigabytes(in_memory)} of them in memory"
            "; prepare them with atmorep-lite data prepare"
        )
    checkpoint = max(found.saved for found in remembered)
    disk = (training.keep + 1) * checkpoint + remembered[0].weights
    free = _free(Path(run_dir))
    if disk > free:
        problems.append(
            f"the run's checkpoints would take {gigabytes(disk)}, but only {gigabytes(free)} are free; "
            "choose another --run-dir or a lower training.keep"
        )
    return Plan(
        processes=processes,
        parallel=training.parallel,
        device=device.name,
        peak=device.peak,
        efficiency=EFFICIENCY[device.kind],
        data=data,
        weights=weights,
        grid_skip=grid_skip,
        parameters=parameters,
        memory=memory,
        stages=tuple(stages),
        bytes_per_sample=bytes_per_sample(config),
        checkpoint=checkpoint,
        disk=disk,
        disk_free=free,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _impossible(config: Config) -> list[str]:
    """What the run would refuse before its first step, whatever the data are."""
    training = config.training

    def parts_that_learn() -> None:
        with torch.device("meta"):
            model = AtmoRep(config.model)
            adapt(model, training)
        check_stages(model, config)

    attempts: list[Callable[[], object]] = [
        lambda: check_losses(training.loss),
        *(partial(find_pretrained, name) for name in (training.start.models if training.start else ())),
        *(
            partial(check_masking, config.model.fields, config.masking, forecast=stage.forecast)
            for stage in training.stages
        ),
        parts_that_learn,
    ]
    said = []
    for attempt in attempts:
        try:
            attempt()
        except UserError as error:
            said.append(str(error))
    return list(dict.fromkeys(said))


def count_weights(config: Config) -> tuple[tuple[Weights, ...], int, int]:
    """Weights by field and part, of the grid-scale skip, and in all (as the model's own ``parameters``)."""
    with torch.device("meta"):
        model = AtmoRep(config.model)
    every = {name: p.numel() for name, p in model.named_parameters()}

    def within(prefix: str) -> int:
        return sum(count for name, count in every.items() if name.startswith(prefix))

    fields = tuple(
        Weights(
            f.name,
            tokens_of(f),
            *(within(f"{part}.{f.name}.") for part in ("embeddings", "encoders", "decoders", "tails")),
        )
        for f in config.model.fields
    )
    return fields, within("grid_skip."), sum(every.values())


def _shares(config: Config, processes: int) -> list[str]:
    """Batches that processes and micro-batches cannot share equally."""
    parts = processes * config.training.accumulate
    return [
        f"stage {index} has a batch_size of {stage.batch_size}, which {processes} processes with accumulate "
        f"{config.training.accumulate} cannot share equally; choose a multiple of {parts}"
        for index, stage in enumerate(config.training.stages)
        if stage.part != "regression" and stage.batch_size % parts
    ]


def _free(folder: Path) -> float:
    """Bytes free where a folder is, or would be made."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return float(shutil.disk_usage(folder).free)
