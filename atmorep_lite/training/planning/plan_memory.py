"""Memory of a planned run, and the device that it would run on."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from atmorep_lite.config import Config, StageConfig
from atmorep_lite.errors import UserError
from atmorep_lite.training.planning.memory import States, kept, states
from atmorep_lite.training.planning.scaling import MACHINES
from atmorep_lite.training.watch.peak import peak_flops, stated_peak

#: Share of a device's peak that training reaches: on two CPU cores 0.2 to 0.6 was measured with the presets
#: (benchmarks/scaling.py); 0.33 to 0.5 is what large transformers reach on GPUs.
EFFICIENCY = {"cpu": 0.35, "cuda": 0.35}
#: Memory of the program itself, measured on Linux; on a GPU the context of CUDA and its libraries.
PROGRAM = {"cpu": 0.4e9, "cuda": 1.0e9}


@dataclass(frozen=True)
class Memory:
    """Bytes in one process at the stage that needs most.

    ``activations`` is what the forward pass keeps for the backward pass, ``data`` records held in memory.
    """

    program: float
    weights: float
    gradients: float
    optimizers: float
    ema: float
    activations: float
    data: float
    available: float

    @property
    def total(self) -> float:
        """All of it."""
        rest = (self.gradients, self.optimizers, self.ema, self.activations, self.data)
        return self.program + self.weights + sum(rest)


@dataclass(frozen=True)
class Device:
    """What one process computes on: ``rate`` in FLOP/s that all of them are expected to reach together."""

    name: str
    kind: str
    peak: float
    available: float
    rate: float


def device_for(gpu: str | None, precision: str, processes: int) -> Device:
    if gpu is not None:
        if gpu not in MACHINES:
            raise UserError(f"there is no figure for a GPU {gpu!r}; choose among {', '.join(MACHINES)}")
        peak = stated_peak(gpu, precision) or MACHINES[gpu].peak
        return Device(gpu, "cuda", peak, MACHINES[gpu].memory, EFFICIENCY["cuda"] * peak * processes)
    if torch.cuda.is_available():
        peak = peak_flops("cuda", precision) or MACHINES["A100"].peak
        properties = torch.cuda.get_device_properties(0)
        return Device(
            properties.name,
            "cuda",
            peak,
            float(properties.total_memory),
            EFFICIENCY["cuda"] * peak * processes,
        )
    peak = peak_flops("cpu", precision) or 1e11
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / processes
    return Device("CPU", "cpu", peak, memory, EFFICIENCY["cpu"] * peak * min(processes, _computers()))


def memory_of(
    config: Config, stage: StageConfig, at_once: int, hidden: float, processes: int, device: Device
) -> tuple[Memory, States]:
    training = config.training
    remembered = states(config, stage)
    activations = 0.0
    if stage.part != "regression":
        half = training.precision == "bfloat16"
        activations = kept(
            config, part=stage.part, hidden=hidden, checkpointing=training.checkpointing, half=half
        ).of(at_once)
    weights, gradients, optimizers = remembered.weights, remembered.gradients, remembered.optimizers
    if (
        processes > 1 and training.parallel == "fsdp"
    ):  # a share of everything, the model itself, and two layers
        weights += weights / processes + 2 * remembered.largest
        gradients, optimizers = gradients / processes, optimizers / processes
    elif processes > 1:  # DDP sends gradients from buckets of its own
        gradients *= 2
    return (
        Memory(
            PROGRAM[device.kind],
            weights,
            gradients,
            optimizers,
            remembered.ema,
            activations,
            0.0,
            device.available,
        ),
        remembered,
    )


def too_little(memory: Memory, processes: int, device: Device) -> str:
    where = "the GPU" if device.kind == "cuda" else "this machine"
    each = "" if processes == 1 else " for each process"
    advice = "choose training.checkpointing: true, a higher training.accumulate or a smaller batch_size"
    lasting = memory.total - memory.activations - memory.data
    if lasting > memory.available:
        advice = "choose training.parallel: fsdp on more processes, or a smaller model"
    elif memory.data > memory.activations:
        advice = "prepare the data with atmorep-lite data prepare, so that they stay on disk"
    return (
        f"training needs {gigabytes(memory.total)} of memory, {where} has {gigabytes(memory.available)}{each}"
        f"; {advice}"
    )


def _computers() -> int:
    """How many processes of as many threads as this one can compute at the same time here."""
    return max(1, (os.cpu_count() or 1) // torch.get_num_threads())


def gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
