"""What training would cost on 1 to 1,024 GPUs, and how far the model behind it can be trusted.

``python benchmarks/scaling.py`` prints the predictions (a minute).  ``python benchmarks/scaling.py check``
compares the same formulas with what this machine does: operations, a step on one process, and on two that
talk by gloo (two minutes; two free cores wanted).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atmorep_lite.config import Config, load_config
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.optimizer import build_optimizers, trainable
from atmorep_lite.training.planning.memory import loss_of_shapes
from atmorep_lite.training.planning.scaling import MACHINES, Machine, Needs, needs, predict
from atmorep_lite.training.watch.peak import measured_peak

#: One field with 5 levels and 1,080 tokens, 6 million weights: seconds a step on one core.
MEDIUM = [
    "model.fields.0.embed_dim=256",
    "model.heads=8",
    "model.members=8",
    "model.encoder_layers=4",
    "model.decoder_layers=4",
    "training.precision=float32",
    "training.accumulate=1",
    "training.checkpointing=false",
]
#: Layers and width of networks larger than any published of this kind; six fields, as in ``paper``.
LARGER = {"3 G": (12, 1536), "10 G": (24, 2048)}


class Shapes(nn.Module):
    """The loss of a step as the forward of a module, for DDP."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.model, self.config = AtmoRep(config.model).train(), config

    def forward(self, samples: int) -> torch.Tensor:
        return loss_of_shapes(self.model, self.config, samples, "all", 0.25)


def step_time(config: Config, samples: int, processes: int, steps: int = 8) -> float:
    """Seconds of the fastest step with so many samples in each process: other work only makes it slower."""
    torch.manual_seed(0)
    plain = Shapes(config)
    learning = trainable(plain.model, "all")
    optimizers = build_optimizers(learning, config.training.stages[0], config.training)
    module = plain if processes == 1 else nn.parallel.DistributedDataParallel(plain)
    times = []
    for _ in range(steps):
        begun = time.perf_counter()
        module(samples).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def gloo_rate(size: int = 25_000_000) -> float:
    """Bytes a second and process that an all-reduce moves."""
    buffer = torch.ones(size // 4)
    times = []
    for _ in range(8):
        begun = time.perf_counter()
        dist.all_reduce(buffer)
        times.append(time.perf_counter() - begun)
    return 2 * size * (dist.get_world_size() - 1) / dist.get_world_size() / min(times)


def _work(rank: int, count: int, meeting: str, changes: list[str], answer: str) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config = load_config("paper_single", changes)
    rate = 0.0
    peak = measured_peak()
    if count > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
        dist.barrier()
        rate, peak = gloo_rate(), measured_peak()
    found = (step_time(config, 2, count), rate, peak)
    if rank == 0:
        torch.save(found, answer)
    if count > 1:
        dist.destroy_process_group()


def measure(count: int) -> tuple[float, float, float]:
    """Seconds of a step, rate of gloo and peak of products, with so many processes of one thread."""
    with tempfile.TemporaryDirectory() as folder:
        answer = os.path.join(folder, "answer")
        torch.multiprocessing.spawn(
            _work, (count, os.path.join(folder, "meeting"), MEDIUM, answer), nprocs=count
        )
        return torch.load(answer)


def check() -> None:
    """Compare the formulas with this machine."""
    config = load_config("paper_single", MEDIUM)
    work = needs(config)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        Shapes(config)(1).backward()
    seen = counter.get_total_flops()
    print(f"operations of a sample: {work.flops:.4g} counted from shapes, {seen:.4g} by torch")
    one, _, peak = measure(1)
    mfu = 2 * work.flops / one / peak
    print(
        f"one process: {one:.2f} s a step of 2 samples, {peak / 1e9:.0f} GFLOP/s peak, share of it {mfu:.2f}"
    )
    two, rate, peak_of_two = measure(2)
    cpu = Machine("this CPU", peak_of_two, 25e9, 10e9, rate, rate, per_node=2, latency=1e-4)
    told = predict(work, cpu, 2, samples=2, mfu=mfu)
    print(
        f"two processes: {two:.2f} s measured, {told.seconds:.2f} s predicted "
        f"({told.seconds / two - 1:+.0%}); "
        f"gloo {rate / 1e9:.2f} GB/s, {told.traffic / 1e6:.0f} MB a step, {told.communicating:.3f} s"
    )
    print(f"efficiency: {one / two:.2f} measured, {told.efficiency * peak_of_two / peak:.2f} predicted")


def wide(name: str) -> Config:
    """One of :data:`LARGER`."""
    layers, width = LARGER[name]
    config = load_config("paper", [f"model.encoder_layers={layers}", f"model.decoder_layers={layers}"])
    fields = tuple(f.model_copy(update={"embed_dim": width}) for f in config.model.fields)
    training = config.training.model_copy(update={"parallel": "fsdp"})
    model = config.model.model_copy(update={"fields": fields})
    return config.model_copy(update={"model": model, "training": training})


def row(config: Config, work: Needs, gpus: int, at_once: int) -> str:
    """A line of the table: one step of the configuration's batch (of a sample a GPU at least)."""
    training, stage = config.training, config.training.stages[-1]
    each = max(1, stage.batch_size // gpus)
    accumulate = max(1, -(-each // at_once))
    settings: dict[str, Any] = {
        "samples": each // accumulate,
        "accumulate": accumulate,
        "parallel": training.parallel if gpus > 1 else "ddp",
        "checkpointing": training.checkpointing,
    }
    machine = MACHINES["H100"]
    found, fast, slow = (predict(work, machine, gpus, mfu=m, **settings) for m in (0.35, 0.45, 0.20))
    hours = [stage.steps * stage.batch_size / p.samples_per_second / 3600 for p in (fast, slow)]
    fits = "" if found.memory < 0.9 * machine.memory else " (too much)"
    cells = (
        f"{gpus:,}",
        f"{found.batch_size:,}",
        f"{settings['samples']} x {accumulate}",
        f"{found.seconds:.3g}",
        f"{found.communicating:.2g}",
        f"{found.waiting / found.seconds:.0%}",
        f"{found.memory / 1e9:.0f}{fits}",
        f"{found.traffic / 1e9:.1f}",
        f"{found.bytes_per_second / 1e9:,.1f}",
        f"{hours[0]:,.1f} to {hours[1]:,.1f}",
    )
    return f"| {' | '.join(cells)} |"


def table() -> None:
    """Predictions for H100s, eight in a node, at 35 % of their peak; hours from 45 % to 20 %."""
    titles = (
        "GPUs | batch | at once | s a step | sending, s | waiting | GB each | GB sent | GB/s read | hours"
    )
    cases = [
        ("one field, 118 M", load_config("paper_single"), 48),
        ("six fields, 741 M", load_config("paper"), 24),
        ("the talk's, 654 M", load_config("talk_full"), 8),
        ("six fields, wider and deeper", wide("3 G"), 16),
        ("six fields, wider and deeper", wide("10 G"), 8),
    ]
    for name, config, at_once in cases:
        work = needs(config)
        stage = config.training.stages[-1]
        weights, flops = work.remembered.gradients / 4e9, work.flops / 1e12
        print(
            f"\n{name}: {weights:.2f} G weights, {flops:.2f} TFLOP a sample, "
            f"{stage.steps:,} steps of {stage.batch_size} samples, {config.training.parallel}"
        )
        print(f"| {titles} |\n|" + "---|" * 10)
        for gpus in (1, 8, 32, 64, 256, 1024):
            print(row(config, work, gpus, at_once), flush=True)
    published()


def published() -> None:
    """What is known of the published runs, beside what the formulas say."""
    single, six = needs(load_config("paper_single")), needs(load_config("paper"))
    found = predict(single, MACHINES["H100"], 1, samples=48, mfu=0.40)
    print(
        f"\none field on an H100 at 40 %: {found.samples_per_second:.0f} samples/s "
        f"({single.flops / 1e12:.2f} TFLOP each), {found.bytes_per_second / 1e9:.2f} GB/s"
    )
    a100 = MACHINES["A100"]
    for work, name, gpus, seen in (
        (single, "one field, one A100, data ready", 1, 31.5),
        (six, "seven fields (886 M), four A100", 4, 10.2),
    ):
        share = seen * work.flops / gpus / a100.peak
        print(f"{name}: {seen} samples/s in published logs = {share:.1%} of the peak by our count")
    days = 50.3e6 / (8 * 10.2) / 86_400
    hours = 50.3e6 / predict(six, a100, 32, samples=24, checkpointing=True).samples_per_second / 3600
    print(f"six fields on 32 A100: {days:.0f} days at that measured speed, {hours:.0f} h at 35 % of the peak")


def main(commands: dict[str, Callable[[], None]]) -> None:
    """Run the command that is named, or print the table."""
    commands[sys.argv[1] if len(sys.argv) > 1 else "table"]()


if __name__ == "__main__":
    main({"table": table, "check": check})
