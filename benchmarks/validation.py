"""What scores and attention snapshots cost, in training steps: CPU time on one thread, best of a few.

python benchmarks/validation.py [PRESET ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from atmorep_lite.config import load_config
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.loop import fit_normalizer, open_source, training_loss
from atmorep_lite.training.watch.validation import validate


def cpu_seconds(action: Callable[[], object], times: int) -> float:
    """The least process time of some calls, after one that does not count."""
    action()
    taken = []
    for _ in range(times):
        begun = time.process_time()
        action()
        taken.append(time.process_time() - begun)
    return min(taken)


def measure(preset: str) -> None:
    """A line for each stage of a preset that learns by gradients; data from its validation record."""
    config = load_config(preset)
    record = open_source(config.data.validation)
    data = Neighbourhoods(record, config.model, fit_normalizer(record, config))
    model = AtmoRep(config.model)
    for index, stage in enumerate(config.training.stages):
        if stage.part == "regression":
            continue

        def step(index: int = index, stage: object = stage) -> None:
            model.train()
            training_loss(model, data, config, stage, index, 0)[0].backward()  # type: ignore[arg-type]

        with tempfile.TemporaryDirectory() as folder:
            one = cpu_seconds(step, 3)
            scores = cpu_seconds(lambda: validate(model, data, config, stage), 2)  # noqa: B023
            both = cpu_seconds(lambda: validate(model, data, config, stage, folder=Path(folder)), 2)  # noqa: B023
        print(
            f"{preset:10} {stage.part:12} step {one:.2f} s, scores {scores:.2f} s, with snapshot {both:.2f} s"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ["demo"]:
        measure(name)
