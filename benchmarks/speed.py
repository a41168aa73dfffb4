"""How fast the model trains against a plain transcription of the published layout.

    python benchmarks/speed.py                  # times, ratios, memory and attention maps, one CPU thread
    python benchmarks/speed.py --case coupled --rounds 10
    python benchmarks/speed.py --device cuda    # large models in bfloat16, samples per second

A training step is forward pass, loss, backward pass and AdamW; all variants take the same tokens, weights and
loss.  They take turns, and the least time of each counts.  On a CPU that is the process's own time on one
thread, so that other programs disturb little.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from plain_transcription import DecoderHeads, EncoderHeads, Perceptron, Tails, Transcription, chosen_tokens
from speed_cases import CPU_CASES, CUDA_CASES, Case, captured_tokens, draw
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from atmorep_lite.attention_maps import AttentionCapture, attention_maps
from atmorep_lite.attention_maps.capture import captured_pairs
from atmorep_lite.losses import mse_ensemble, stats
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.atmorep import Trace
from atmorep_lite.model.layers import DecoderLayer, EncoderLayer
from atmorep_lite.model.tails import EnsembleTails
from atmorep_lite.tokens import FieldTokens

OURS, COMPILED, FRUGAL = "ours", "ours, compiled", "ours, checkpointing on"
PUBLISHED, LEAN = "published, as configured", "published, checkpointing off"
BLOCKS = (EncoderLayer, DecoderLayer, EnsembleTails, EncoderHeads, DecoderHeads, Perceptron, Tails)
RIVALS = (PUBLISHED, LEAN, "published, checkpointing off, compiled")
VARIANTS = (OURS, COMPILED, FRUGAL, *RIVALS)


class Training:
    """One variant at work: a step on the same batch, again and again."""

    def __init__(self, case: Case, variant: str, device: str) -> None:
        torch.manual_seed(0)
        self.device = device
        model = AtmoRep(case.model).train().to(device)
        self.tokens = {name: _to(t, device) for name, t in draw(case).items()}
        self.targets = {name: torch.randn_like(t.values[t.mask]) for name, t in self.tokens.items()}
        chosen = {name: chosen_tokens(t.mask) for name, t in self.tokens.items()}
        self.net: nn.Module = model
        if variant.startswith("ours"):
            model.checkpointing = variant == FRUGAL
            self.members: Callable[[], dict[str, Tensor]] = lambda: {
                name: ensemble.members for name, ensemble in model.predict_hidden(self.tokens).items()
            }
        else:
            net = Transcription(model, checkpointing=variant == PUBLISHED).train().to(device)
            self.net, self.members = net, lambda: net(self.tokens, chosen)
        self.criterion = criterion
        if variant.endswith("compiled"):  # block by block, so that equal blocks are compiled once
            self.criterion = torch.compile(criterion)
            for module in self.net.modules():
                if isinstance(module, BLOCKS):
                    module.compile()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4, fused=True)

    def step(self) -> None:
        """Forward pass, loss, backward pass, optimiser."""
        self.optimizer.zero_grad()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            members = self.members()
        losses = [self.criterion(each.float(), self.targets[name]) for name, each in members.items()]
        torch.stack(losses).mean().backward()
        self.optimizer.step()

    def seconds(self) -> float:
        """Time of one step."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        clock = time.perf_counter if self.device == "cuda" else time.process_time
        start = clock()
        self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return clock() - start


def criterion(members: Tensor, target: Tensor) -> Tensor:
    """The published default loss of members ``[n, member, values]``."""
    members = members.transpose(0, 1)
    return mse_ensemble(members, target) + stats(members, target)


def _to(tokens: FieldTokens, device: str) -> FieldTokens:
    return FieldTokens(tokens.values.to(device), tokens.info.to(device), tokens.mask.to(device))


def flops(case: Case) -> float:
    """Floating-point operations of one step of the plain layout, without recomputation."""
    training = Training(case, LEAN, "cpu")
    counter = FlopCounterMode(display=False)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), counter:
        training.step()
    return float(counter.get_total_flops())


def matrix_peak(size: int = 1536) -> float:
    """Operations per second of a large float32 matrix product on one thread."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    least = min(_cpu_time(lambda: a @ b) for _ in range(20))
    return 2 * size**3 / least


def least_times(trainings: dict[str, Training], rounds: int) -> dict[str, float]:
    """Seconds of a step by variant; the variants take turns, the first two rounds do not count."""
    for _ in range(2):
        for training in trainings.values():
            training.step()
    times: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(rounds):
        for name, training in trainings.items():
            times[name].append(training.seconds())
    return {name: min(each) for name, each in times.items()}


def extra_memory(function: Callable[[], object]) -> float:
    """MB by which ``function`` raises the resident memory of the process while it runs (Linux only)."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    function()
    return _status("VmHWM") - before


def _status(key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _cpu_time(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def step_memory(name: str, variant: str) -> float:
    """MB that weights, optimiser and one step need at their peak."""
    training = Training(CPU_CASES[name], variant, "cpu")
    for _ in range(3):
        training.step()
    training.optimizer.zero_grad()
    weights = sum(p.numel() * p.element_size() for p in training.net.parameters())
    return 3 * weights / 2**20 + extra_memory(training.step)  # weights and two moments; gradients are extra


def maps_report(case: Case) -> str:
    """Attention maps of one layer against a forward pass of one neighbourhood."""
    torch.manual_seed(0)
    model = AtmoRep(case.model).eval()
    tokens = {name: FieldTokens(t.values[:1], t.info[:1], t.mask[:1]) for name, t in draw(case).items()}
    trace: Trace = {}
    with torch.inference_mode():
        forward = min(_cpu_time(lambda: model(tokens)) for _ in range(3))
        model(tokens, trace=trace)
    capture = AttentionCapture(
        {f.name: captured_tokens(f, tokens[f.name]) for f in case.model.fields},
        captured_pairs(case.model, trace),
    )
    lines = []
    for words, queries in {"all queries": None, "one query": [0]}.items():

        def ask(queries: list[int] | None = queries) -> object:
            return attention_maps(capture, layers=[0], queries=queries)

        seconds = min(_cpu_time(ask) for _ in range(3))
        lines.append(f"{words}: {seconds / forward:.3f} of a forward pass, {extra_memory(ask):.1f} MB")
    return "; ".join(lines)


def report_cpu(names: list[str], rounds: int) -> None:
    """Print the tables of a CPU, one thread."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    # Inductor's own random numbers are slow on CPUs: with torch's, dropout takes a seventh of the time.
    torch._inductor.config.fallback_random = True
    peak = matrix_peak()
    print(f"matrix product {peak / 1e9:.0f} GFLOP/s on one thread; torch {torch.__version__}")
    for name in names:
        case = CPU_CASES[name]
        trainings = {variant: Training(case, variant, "cpu") for variant in VARIANTS}
        parameters = sum(p.numel() for p in trainings[OURS].net.parameters())
        tokens = len(case.model.fields[0].levels) * int(np.prod(case.model.fields[0].num_tokens))
        work = flops(case)
        print(
            f"\n{name}: {parameters / 1e6:.2f} M parameters, {len(case.model.fields)} x {tokens} tokens, "
            f"batch {case.batch}, {work / 1e9:.0f} GFLOP a step"
        )
        times = least_times(trainings, rounds)
        print("| variant | step, s | GFLOP/s | share of the peak | peak memory, MB |\n|---|---|---|---|---|")
        for variant, seconds in times.items():
            arguments = [sys.executable, __file__, "--memory-of", name, variant]
            memory = float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
            speed = work / seconds
            print(f"| {variant} | {seconds:.3f} | {speed / 1e9:.0f} | {speed / peak:.2f} | {memory:.0f} |")
        for mine in (OURS, COMPILED, FRUGAL):
            ratios = [f"{times[theirs] / times[mine]:.2f} x ({theirs})" for theirs in RIVALS]
            print(f"{mine}: {', '.join(ratios)}")
        print(f"attention maps of a layer: {maps_report(case)}")


def report_cuda(names: list[str], rounds: int) -> None:
    """Print samples per second and the share of the matrix peak in bfloat16, ours and the transcription's."""
    torch.backends.cuda.matmul.allow_tf32 = True
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    seconds = []
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ a
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = 2 * 8192**3 / min(seconds)
    device = torch.cuda.get_device_name()
    print(f"{device}: {peak / 1e12:.0f} TFLOP/s in bfloat16, measured; torch {torch.__version__}")
    for name in names:
        case = CUDA_CASES[name]
        work = flops(Case(case.model, 1)) * case.batch
        print(f"\n{name}, batch {case.batch}")
        print("| variant | samples/s | share of the peak | peak memory, GB |\n|---|---|---|---|")
        for variant in VARIANTS:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            training = Training(case, variant, "cuda")
            seconds_a_step = least_times({variant: training}, rounds)[variant]
            memory = torch.cuda.max_memory_allocated() / 2**30
            share = work / seconds_a_step / peak
            print(f"| {variant} | {case.batch / seconds_a_step:.1f} | {share:.2f} | {memory:.1f} |")
            del training


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=tuple(CPU_CASES), help="one case only")
    parser.add_argument("--rounds", type=int, default=6, help="timed steps of each variant")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "VARIANT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        torch.set_num_threads(1)
        print(step_memory(*options.memory_of))
        return
    names = [options.case] if options.case else list(CPU_CASES)
    report = report_cuda if options.device == "cuda" else report_cpu
    report(names, options.rounds)


if __name__ == "__main__":
    main()
