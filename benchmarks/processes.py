"""Two processes of one thread each against one: how much of a perfect doubling is left.

Both train the same model on the same global batches (``atmorep_lite.training``, gloo); runs alternate.  Times
are those between reports of steps, median over steps, without the first of each run.  Efficiency is samples a
second of two processes over twice those of one: of the fastest run of each, and in brackets of every round.
Other work on the machine makes it worse.  The last column is the processor time of one process for a batch
over that of both: other work hardly changes it, but it leaves out waiting for each other.  The second table
says how much of its time a process waits for batches, made by itself or ahead of time by one worker.

    python benchmarks/processes.py --rounds 3 --steps 12 [--out bench.md]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

#: What learns, and the batch size.
CASES = (("transformer", 4), ("grid_skip", 16))


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.worker)
        return
    lines = [
        "| learns | batch | 1 process, samples/s | 2 processes | efficiency (rounds) | of processor time |",
        "|---|--:|--:|--:|---|--:|",
    ]
    for part, batch in CASES:
        told: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for _ in range(arguments.rounds):
            for count in told:
                told[count].append(launch(count, part, batch, arguments.steps, workers=0))
        lines.append(row(part, batch, told))
        print(lines[-1], flush=True)
    lines += ["", "| learns | batch | workers | waiting for data | samples/s |", "|---|--:|--:|--:|--:|"]
    for part, batch in CASES:
        for workers in (0, 1):
            found = launch(1, part, batch, arguments.steps, workers=workers)
            speed = batch / found["seconds"]
            lines.append(f"| {part} | {batch} | {workers} | {found['waiting']:.1%} | {speed:.2f} |")
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    if arguments.out is not None:
        arguments.out.write_text(text)
    print(f"\n{text}")


def row(part: str, batch: int, told: dict[int, list[dict[str, float]]]) -> str:
    """One line of the first table."""
    seconds = {count: [one["seconds"] for one in runs] for count, runs in told.items()}
    cpu = {count: min(one["cpu"] for one in runs) for count, runs in told.items()}
    rounds = ", ".join(f"{one / (2 * two):.0%}" for one, two in zip(seconds[1], seconds[2], strict=True))
    best = {count: min(times) for count, times in seconds.items()}
    return (
        f"| {part} | {batch} | {batch / best[1]:.2f} | {batch / best[2]:.2f} "
        f"| {best[1] / (2 * best[2]):.0%} ({rounds}) | {cpu[1] / (2 * cpu[2]):.0%} |"
    )


def launch(count: int, part: str, batch: int, steps: int, *, workers: int) -> dict[str, float]:
    """Time a short run on ``count`` processes of one thread each."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)),
                *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", __file__),
                *("--worker", str(answer), part, str(batch), str(steps), str(workers)),
            ],
            check=True,
            timeout=900,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )
        return json.loads(answer.read_text())


def work(options: list[str]) -> None:
    """What each process does: train for some steps; the first one writes how long a step takes."""
    import torch

    from atmorep_lite.config import load_config
    from atmorep_lite.training import stages
    from atmorep_lite.training.loop import train
    from atmorep_lite.training.watch.session import Progress

    answer, part, batch, steps, workers = options
    torch.set_num_threads(1)
    stages.validate = lambda *_, **__: {}  # scores and pictures are not what is measured
    stage = f"[{{part: {part}, steps: {steps}, batch_size: {batch}, learning_rate: 1.0e-3}}]"
    config = load_config(
        "demo",
        [f"training.stages={stage}", f"data.workers={workers}", "training.trackers=[]"],
    )
    ticks: list[tuple[float, float]] = []
    waiting: list[float] = []

    def report(progress: Progress) -> None:
        ticks.append((time.perf_counter(), time.process_time()))
        waiting.append(progress.waiting or 0.0)

    train(config, Path(answer).parent / "run", report=report)
    if int(os.environ["RANK"]) == 0:
        wall, cpu = (  # the last step validates too
            statistics.median(b[i] - a[i] for a, b in pairwise(ticks[:-1])) for i in range(2)
        )
        Path(answer).write_text(json.dumps({"seconds": wall, "cpu": cpu, "waiting": waiting[-2]}))


if __name__ == "__main__":
    main()
