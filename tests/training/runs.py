"""Whole small runs for tests that kill, stop and spoil them: the record, the configuration, what is left."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from atmorep_lite.config import Config
from atmorep_lite.training import checkpoint, loop, parts
from atmorep_lite.training.processes import processes
from atmorep_lite.training.resume import files as state_files
from atmorep_lite.training.watch.session import Progress
from tests.tiny import tiny_model, tiny_run, wave

#: (stage, step) of all rows of a whole log.
ALL_STEPS = [
    *(("0", str(k)) for k in range(1, 7)),
    ("1", "2"),
    *(("2", str(k)) for k in range(1, 10)),
]
MODULES: dict[str, ModuleType] = {"checkpoint": checkpoint, "parts": parts, "state_files": state_files}


def write_record(folder: Path, times: int = 14) -> Path:
    """A global record of temperature, as NetCDF."""
    path = folder / "record.nc"
    wave(times=times).to_netcdf(path)
    return path


def three_stages(record: Path, *, dropout: float = 0.1, **training: Any) -> Config:
    """Convolution, regression, transformer; a checkpoint every two steps; dropout, a mean of weights."""
    model = tiny_model(
        dropout=dropout, locality=0.5, grid_skip={"width": 8, "blocks": 1, "forecast_steps": 2}
    )
    stages = [
        {"part": "grid_skip", "steps": 6, "batch_size": 4, "learning_rate": 3e-3},
        {"part": "regression", "steps": 2, "batch_size": 4},
        {"part": "transformer", "steps": 9, "batch_size": 4, "learning_rate": 2e-3},
    ]
    settings: dict[str, Any] = {
        "stages": stages,
        "checkpoint_every": 2,
        "validate_every": 1000,
        "trackers": (),
        "ema": 0.9,
    }
    config = tiny_run(model, **settings | training)
    return config.model_copy(
        update={"data": config.data.model_copy(update={"train": str(record), "validation": str(record)})}
    )


def run(
    config: Config,
    folder: Path,
    *,
    resume: bool,
    sabotage: Callable[[], object] = lambda: None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> str:
    """Train in this process; how it ended.

    Scores and the speed of the machine are left out, and lost processes are given up soon.
    """
    from atmorep_lite.training import stages
    from atmorep_lite.training.watch import clock

    vars(loop)["processes"] = partial(processes, patience=timedelta(seconds=10))
    vars(stages)["validate"] = lambda *args, **options: {}
    vars(clock)["peak_flops"] = lambda *args: None
    sabotage()
    model = loop.train(config, folder, resume=resume, report=report)
    return "stopped" if model is None else "finished"


def rows(folder: Path) -> list[tuple[str, str]]:
    """(stage, step) of the log's rows."""
    with (folder / "log.csv").open() as file:
        return [(row["stage"], row["step"]) for row in csv.DictReader(file)]


def check_whole(folder: Path, expected: Path) -> None:
    """The same bytes of weights, a log without lost or double rows, no leftovers."""
    weights = [(where / "model.safetensors").read_bytes() for where in (folder, expected)]
    assert weights[0] == weights[1]
    assert rows(folder) == ALL_STEPS
    assert not [path.name for path in folder.rglob("*.unfinished")]


def die_at(module: str, name: str, call: int, *, after: bool = False) -> None:
    """From now on, this process kills itself at the ``call``-th call of a function (``Class.method``)."""
    owner: Any = MODULES[module]
    *outer, last = name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function, count = getattr(owner, last), 0

    def deadly(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **options)
        if count == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, last, deadly)
