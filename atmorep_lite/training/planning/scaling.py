"""How long a step takes on many GPUs, from a few figures about them: a model to plan with, not a promise.

Assumptions, all of which can be changed:

- Computing takes the counted operations (:mod:`.cost`) divided by a share ``mfu`` of the
  GPU's peak; layers computed again because of checkpointing come on top.
- An all-reduce of B bytes on N GPUs moves ``2 B (N - 1) / N`` through each of them, a gather or a scatter
  half of that (ring algorithms, as NCCL's), at the speed of the narrowest link: within a node the link of the
  GPU, between nodes the network adapters of a node together.  Every message waits ``latency`` times log2 N.
- DDP sends float32 gradients once a step, FSDP gathers float32 weights twice for each micro-batch and
  scatters the gradients once.  What fits into ``overlap`` of the backward pass (two thirds of the
  computation) costs no time.
- The optimizer reads and writes weights, gradients and its memory once each.
- Nobody waits for data, and all GPUs are equally fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from atmorep_lite.config import Config
from atmorep_lite.errors import UserError
from atmorep_lite.training.planning.cost import flops_per_sample, forward_flops, hidden_share
from atmorep_lite.training.planning.data import bytes_per_sample
from atmorep_lite.training.planning.memory import Kept, States, kept, states
from atmorep_lite.training.watch.peak import KNOWN

#: DDP's bucket, and so the size of a message.
BUCKET = 25e6


@dataclass(frozen=True)
class Machine:
    """GPUs and what connects them.

    ``peak`` in FLOP/s of matrix products, ``memory`` in bytes of one GPU, ``bandwidth`` of that memory,
    ``within`` and ``between``: bytes per second and GPU inside a node and between nodes, in one direction;
    ``latency`` in seconds of one message between nodes.
    """

    name: str
    peak: float
    memory: float
    bandwidth: float
    within: float
    between: float
    per_node: int = 8
    latency: float = 15e-6

    def link(self, gpus: int) -> float:
        """Bytes per second that a ring through so many GPUs carries."""
        return self.within if gpus <= self.per_node else min(self.within, self.between * self.per_node)


#: Peak of bfloat16 and memory from NVIDIA's data sheets; links as rings reach them in practice, about three
#: quarters of NVLink's one-way rate, and of one adapter a GPU with 200 (A100) or 400 Gbit/s.
MACHINES = {
    "A100": Machine("A100", KNOWN["A100"][0] * 1e12, 40e9, 1.55e12, 225e9, 20e9, per_node=4),
    "H100": Machine("H100", KNOWN["H100"][0] * 1e12, 80e9, 3.35e12, 340e9, 40e9),
    "H200": Machine("H200", KNOWN["H200"][0] * 1e12, 141e9, 4.8e12, 340e9, 40e9),
    "B200": Machine("B200", KNOWN["B200"][0] * 1e12, 180e9, 8.0e12, 680e9, 40e9),
}


@dataclass(frozen=True)
class Needs:
    """What a configuration asks of any machine; ``bytes_read`` of a sample as float32."""

    flops: float
    forward: float
    remembered: States
    kept: Kept
    bytes_read: float


@dataclass(frozen=True)
class Prediction:
    """One optimizer step on ``gpus`` GPUs: seconds, bytes in each GPU, bytes sent by each, and rates.

    ``efficiency`` compares samples per second and GPU with a single GPU that does the same work.
    """

    gpus: int
    batch_size: int
    computing: float
    communicating: float
    waiting: float
    optimizing: float
    seconds: float
    memory: float
    traffic: float
    samples_per_second: float
    efficiency: float
    bytes_per_second: float


def needs(config: Config) -> Needs:
    """What the last stage of a configuration asks for."""
    stage, training = config.training.stages[-1], config.training
    hidden = hidden_share(config, stage)
    return Needs(
        flops_per_sample(config.model, part=stage.part, hidden=hidden),
        sum(forward_flops(config.model, hidden=hidden).values()),
        states(config, stage),
        kept(
            config,
            part=stage.part,
            hidden=hidden,
            checkpointing=training.checkpointing,
            half=training.precision == "bfloat16",
        ),
        2 * bytes_per_sample(config),
    )


def predict(
    work: Needs,
    machine: Machine,
    gpus: int,
    *,
    samples: int = 8,
    accumulate: int = 1,
    parallel: Literal["ddp", "fsdp"] = "ddp",
    checkpointing: bool = False,
    mfu: float = 0.35,
    overlap: float = 0.8,
) -> Prediction:
    """One step with ``samples`` in each GPU at a time, ``accumulate`` times.

    Raises
    ------
    UserError
        A number of GPUs, samples or micro-batches below 1, or shares outside 0 to 1.
    """
    if min(gpus, samples, accumulate) < 1 or not 0 < mfu <= 1 or not 0 <= overlap <= 1:
        raise UserError(
            "a step needs 1 GPU, sample and micro-batch or more, mfu above 0 and up to 1, overlap from 0 to 1"
        )
    micro = samples * (work.flops + checkpointing * work.forward) / (mfu * machine.peak)
    memory = work.remembered
    once = _sending(memory.gradients, machine, gpus)
    if parallel == "ddp":
        communicating, traffic = 2 * once, 2 * memory.gradients * (gpus - 1) / gpus
        hidden = overlap * micro * 2 / 3
    else:
        gathered = _sending(memory.weights, machine, gpus)
        communicating = accumulate * (2 * gathered + once)
        traffic = accumulate * (2 * memory.weights + memory.gradients) * (gpus - 1) / gpus
        hidden = overlap * accumulate * micro
    share = gpus if parallel == "fsdp" else 1
    touched = 2 * (memory.weights + memory.gradients + memory.optimizers) / share
    optimizing = touched / machine.bandwidth
    waiting = max(0.0, communicating - hidden)
    seconds = accumulate * micro + waiting + optimizing
    alone = accumulate * micro + 2 * (memory.saved + memory.gradients) / machine.bandwidth
    rate = gpus * samples * accumulate / seconds
    return Prediction(
        gpus=gpus,
        batch_size=gpus * samples * accumulate,
        computing=accumulate * micro,
        communicating=communicating,
        waiting=waiting,
        optimizing=optimizing,
        seconds=seconds,
        memory=memory_in_each(work, gpus, samples, parallel),
        traffic=traffic,
        samples_per_second=rate,
        efficiency=min(1.0, alone / seconds),
        bytes_per_second=rate * work.bytes_read,
    )


def _sending(size: float, machine: Machine, gpus: int) -> float:
    """Seconds to gather or to scatter so many bytes."""
    if gpus == 1:
        return 0.0
    messages = math.ceil(size / BUCKET)
    return size * (gpus - 1) / gpus / machine.link(gpus) + messages * machine.latency * math.log2(gpus)


def memory_in_each(work: Needs, gpus: int, samples: int, parallel: str) -> float:
    """Bytes in each GPU: a whole copy of everything, and DDP's buckets; or an equal share and two layers."""
    memory = work.remembered
    if parallel == "ddp" or gpus == 1:
        lasting = memory.saved + memory.gradients * (1 if gpus == 1 else 2)
    else:
        lasting = (memory.saved + memory.gradients) / gpus + 2 * memory.largest
    return 1e9 + lasting + work.kept.of(samples)


def most_samples(work: Needs, machine: Machine, gpus: int, parallel: str) -> int:
    """How many samples at a time fit into 90 % of a GPU's memory; 0 if not even the model does."""
    room = 0.9 * machine.memory - memory_in_each(work, gpus, 0, parallel)
    return max(0, int(room // work.kept.per_sample))
