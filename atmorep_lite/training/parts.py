"""What one process computes at once: a part of a batch, ready for the network.

A batch is cut into ``count`` equal parts, for processes and for the micro-batches of each.  A part depends on
(seed, stage, step, index) and nothing else, so that any process can make any part, ahead of time and again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from atmorep_lite.config import Config, StageConfig
from atmorep_lite.data.loader import on_tensors
from atmorep_lite.data.sampling import Batch, Neighbourhoods, Place
from atmorep_lite.masking import Key, Purpose, batch_keys, draw_masks, generator
from atmorep_lite.tokens import FieldTokens
from atmorep_lite.training.processes import Processes
from atmorep_lite.training.step import hide, spoil


@dataclass(frozen=True)
class Part:
    """Samples: their keys, what is true (``batch``), and what the network may see of it (``tokens``).

    ``seed`` is that of the network's own random numbers, such as dropout.
    """

    keys: list[Key]
    batch: Batch
    tokens: dict[str, FieldTokens]
    seed: int

    def to(self, device: torch.device) -> Part:
        """The same on another device."""
        return self if device.type == "cpu" else on_tensors(self, lambda x: x.to(device, non_blocking=True))


def keys_of(
    config: Config, stage: StageConfig, index: int, step: int, part: tuple[int, int] = (0, 1)
) -> list[Key]:
    """Keys of a step's samples.  A stage is an epoch; stage -1 is validation."""
    return batch_keys(
        config.training.seed, epoch=index + 1, step=step, batch_size=stage.batch_size, part=part
    )


def unmasked(data: Neighbourhoods, config: Config, keys: Sequence[Key]) -> Batch:
    """The neighbourhoods that belong to ``keys``."""
    return data.batch(places_of(data, config, keys))


def places_of(data: Neighbourhoods, config: Config, keys: Sequence[Key]) -> list[Place]:
    """Where they are; those of validation (epoch 0) do not share windows of time."""
    crops = config.data.crops if keys[0].epoch > 0 else 1
    return data.draw_at(keys, crops=crops, windows=config.data.windows)


def make_part(data: Neighbourhoods, config: Config, stage: StageConfig, keys: list[Key]) -> Part:
    """Neighbourhoods that belong to ``keys``, hidden and spoilt as these say."""
    batch = unmasked(data, config, keys)
    seed = int(generator(keys[0], Purpose.NETWORK).integers(2**31))
    masks, drawn = draw_masks(
        config.model.fields, keys, config.masking, tokens=batch.tokens, forecast=stage.forecast
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)  # for the published way to spoil
        tokens = spoil(config.model, hide(batch.tokens, masks), batch, drawn, keys, config.masking)
    return Part(keys, batch, tokens, seed)


def parts_of_stage(
    data: Neighbourhoods,
    config: Config,
    stage: StageConfig,
    index: int,
    processes: Processes,
    *,
    each: int,
) -> Callable[[int], Part]:
    """The ``n``-th part that this process computes in a stage, ``each`` of them in a step."""
    count = processes.count * each

    def make(n: int) -> Part:
        step, micro = divmod(n, each)
        return make_part(
            data, config, stage, keys_of(config, stage, index, step, (processes.rank * each + micro, count))
        )

    return make
