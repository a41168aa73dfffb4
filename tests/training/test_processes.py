"""Several processes compute what one does, and none of them waits for ever."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atmorep_lite import cli
from atmorep_lite.config import Config, dump_config
from atmorep_lite.errors import UserError
from atmorep_lite.training import loop, stages
from atmorep_lite.training.processes import ALONE, processes
from tests.tiny import HEAT, WIND, coupled_fields, tiny_field, tiny_model, tiny_run, wave
from tests.training.together import results, start, together

ROOTED = {"part": "grid_skip", "steps": 3, "batch_size": 4, "root_errors": True, "short_leads": True}
SKIP = {"part": "grid_skip", "steps": 2, "batch_size": 4}
FITTED = {"part": "regression", "steps": 4, "batch_size": 2}
ALL = {"part": "all", "steps": 4, "batch_size": 4}


def run(*stages: dict[str, Any], skip: dict[str, Any] | None = None, **training: Any) -> Config:
    """Two coupled fields, and tasks of which one hides nothing of one field."""
    alike = (tiny_field(WIND, coupled_to=(HEAT,)), tiny_field(HEAT, coupled_to=(WIND,)))
    model = tiny_model(
        *(coupled_fields() if skip is None else alike),
        locality=0.5,
        grid_skip={"width": 8, "blocks": 1} | (skip or {}),
        encoder_layers=1,
    )
    settings: dict[str, Any] = {"optimizer": "adamw", "stages": list(stages), "trackers": ()}
    made = tiny_run(model, **settings | training).model_dump()
    made["masking"] = {"tasks": {"random": 0.4, "field": 0.3, "forecast": 0.3}}
    return Config.model_validate(made)


def learn(config: Config, folder: str) -> tuple[list[tuple[float, ...]], dict[str, np.ndarray]]:
    """What is told of every step, and the weights at the end, in any process."""
    loop.open_source = lambda name, period=None: wave(times=14, names=(WIND, HEAT))
    stages.validate = lambda *_, **__: {}  # has tests of its own
    told: list[tuple[float, ...]] = []

    def report(p: Any) -> None:
        told.append((p.loss, p.validation or 0.0, p.gradient_norm or 0.0, *p.per_field.values()))

    model = loop.train(config, folder, report=report)
    assert model is not None
    return told, {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (run(SKIP, ALL), {}),
        (run(SKIP, ALL), {"accumulate": 2}),
        (run(SKIP, ALL), {"parallel": "fsdp"}),
        (run(ROOTED, ALL | {"short_leads": True}, loss={"crps": 1.0, "spectral": 0.3}), {"accumulate": 2}),
        (run(ROOTED), {"parallel": "fsdp", "ema": 0.9}),
        (run(SKIP, FITTED, skip={"forecast_steps": 2}), {}),
    ],
    ids=["ddp", "accumulated", "fsdp", "roots and spectra", "fsdp of roots", "regression"],
)
def test_two_processes_learn_as_one(tmp_path: Path, config: Config, changes: dict[str, Any]) -> None:
    """Losses, gradients and held-out losses to 1e-5 at the same batch; weights are the same in both."""
    alone = config
    if "ema" in changes:
        alone = with_changes(config, ema=changes["ema"])
    (one,) = together(1, learn, alone, str(tmp_path / "one"))
    two = together(2, learn, with_changes(config, **changes), str(tmp_path / "two"))
    assert len(two[0][0]) == len(one[0]) > 2 and two[1][0] == []
    for ours, theirs in zip(two[0][0], one[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    for name, weights in two[0][1].items():
        assert (weights == two[1][1][name]).all()
        near = 2e-3 if name.endswith("coefficients") else 1e-4  # these solve an ill-conditioned equation
        assert weights == pytest.approx(one[1][name], abs=near)


def with_changes(config: Config, **training: Any) -> Config:
    """The same run with other settings of ``training``."""
    return Config.model_validate(config.model_dump() | {"training": config.training.model_dump() | training})


def learn_under(port: int, config: Config, folder: str) -> None:
    """:func:`learn` where the process that started the others keeps the store, as torchrun does."""
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    os.environ["MASTER_PORT"] = str(port)
    learn(config, folder)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    agent = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    faults = results(start(2, learn_under, agent.port, run(ALL | {"batch_size": 3}), str(tmp_path)))
    said = [text for _, text in faults if "UserError" in text.splitlines()[-1]]
    assert len(said) == 1 and "a batch of 3 samples cannot be shared" in said[0]
    assert sum("SystemExit: 2" in text for _, text in faults) == 1, "told once"
    with pytest.raises(ValueError, match=r"stages\.0 has batch_size 3, which cannot be accumulated in 2"):
        run(ALL | {"batch_size": 3}, accumulate=2)


def command_line(folder: str, files: str) -> None:
    """``python -m atmorep_lite.training`` on the record in ``folder``; its exit code and words in files."""
    rank = os.environ["RANK"]
    sys.argv = ["train", "train", f"{folder}/run.yaml", "--run-dir", f"{folder}/run"]
    sys.stderr = open(f"{files}.{rank}.err", "w", buffering=1)  # noqa: SIM115
    sys.stdout = open(f"{files}.{rank}.out", "w", buffering=1)  # noqa: SIM115
    stages.validate = lambda *_, **__: {}
    try:
        cli.main()
    except SystemExit as end:
        Path(f"{files}.{rank}.code").write_text(str(end.code))
        raise


def test_a_killed_process_is_told_by_the_other_in_one_sentence(tmp_path: Path) -> None:
    """Within seconds, with code 2; the run goes on from its checkpoint with another number of processes."""
    wave(times=14, names=(WIND, HEAT)).to_netcdf(tmp_path / "wave.nc")
    config = run(ALL | {"steps": 5000}, checkpoint_every=5, validate_every=5000).model_dump()
    config["data"] |= {"train": str(tmp_path / "wave.nc"), "validation": str(tmp_path / "wave.nc")}
    (tmp_path / "run.yaml").write_text(dump_config(Config.model_validate(config)))
    started = start(2, command_line, str(tmp_path), str(tmp_path / "said"))
    wait_for(lambda: (tmp_path / "run" / "checkpoints" / "0-000005").exists())
    os.kill(started[1].process.pid or 0, signal.SIGKILL)
    killed = time.monotonic()
    results(started, limit=40)
    assert time.monotonic() - killed < 20
    assert (tmp_path / "said.0.code").read_text() == "2"
    told = [x for x in (tmp_path / "said.0.err").read_text().splitlines() if x.startswith("atmorep-lite:")]
    assert len(told) == 1 and "process 0 of 2 has lost another one" in told[0] and "--resume" in told[0]
    assert not (tmp_path / "run" / "model.safetensors").exists()


def wait_for(condition: Callable[[], bool], limit: float = 60) -> None:
    """Until something has happened."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def wait_in_vain(seconds: float) -> str:
    """One process sleeps; what the other one says."""
    try:
        with processes(patience=timedelta(seconds=seconds)) as here:
            if here.rank == 1:
                time.sleep(3 * seconds)
                return ""
            here.barrier()
    except (UserError, SystemExit) as error:
        return str(error)
    return "nothing"


def test_a_process_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    began = time.monotonic()
    said = together(2, wait_in_vain, 2.0)
    assert "has lost another one, which was ended or did not answer for 0:00:02" in said[0]
    assert time.monotonic() - began < 30


def learn_and_leave() -> bool:
    """A wrapper that is freed after its group, as the frames of an error's traceback keep it."""
    torch.manual_seed(0)
    with processes():
        layers = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(20)))
        wrapped = torch.nn.parallel.DistributedDataParallel(layers)
        wrapped(torch.randn(2, 64)).sum().backward()
    del wrapped
    return True


def test_processes_part_while_threads_still_let_go_of_their_work() -> None:
    """Every sixth start hung before the group took its time; five are enough to tell sooner or later."""
    for _ in range(5):
        assert together(2, learn_and_leave, limit=60) == [True, True]


def add_up() -> tuple[list[float], bool, bool, bool]:
    """All that processes do together."""
    with processes() as here, processes() as again:
        assert here == again
        here.barrier()
        total = here.sum(torch.tensor([1.0, here.rank]))
        return total.tolist(), here.any(here.rank == 1), here.any(False), here.is_first


def test_sums_and_questions() -> None:
    assert together(2, add_up) == [([2.0, 1.0], True, False, True), ([2.0, 1.0], True, False, False)]
    assert together(1, add_up) == [([1.0, 0.0], False, False, True)]
    assert ALONE.is_first and ALONE.any(True) and not ALONE.any(False)
