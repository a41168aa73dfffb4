"""What goes wrong around a run: one sentence, nothing lost, and it goes on to the same bits afterwards."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atmorep_lite.config import Config, dump_config
from atmorep_lite.errors import UserError
from atmorep_lite.training import parts
from atmorep_lite.training.resume.run_folder import locked
from atmorep_lite.training.resume.states import find_fault
from tests.training.runs import check_whole, rows, run, three_stages, write_record
from tests.training.test_run_folder import One
from tests.training.together import together


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return three_stages(write_record(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert together(1, partial(run, config, folder, resume=False)) == ["finished"]
    return folder


def _told(
    config: Config, folder: Path, resume: bool, sabotage: Callable[[], object] = lambda: None
) -> tuple[str, list[str]]:
    """How a run ended in this process: with which sentence, and what it warned of."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            end = run(config, folder, resume=resume, sabotage=sabotage)
        except UserError as error:
            end = str(error)
    return end, [str(warning.message) for warning in caught]


def told(config: Config, folder: Path, *, resume: bool = False, **options) -> tuple[str, list[str]]:
    """The same in another process, whose limits and functions may be spoilt."""
    ((end, warned),) = together(1, partial(_told, config, folder, resume, **options))
    assert "\n" not in end
    return end, warned


def goes_on(config: Config, folder: Path, whole: Path) -> None:
    """All checkpoints are whole, and resuming leads to the same weights."""
    found = list((folder / "checkpoints").glob("[0-9]*"))
    assert found and all(find_fault(path) is None for path in found)
    assert together(1, partial(run, config, folder, resume=True)) == ["finished"]
    check_whole(folder, whole)


def _at_part(number: int, action: Callable[[], object]) -> None:
    """Do something when the ``number``-th part of a batch is made."""
    make, count = parts.make_part, 0

    def watched(*args):
        nonlocal count
        count += 1
        if count == number:
            action()
        return make(*args)

    vars(parts)["make_part"] = watched


def _no_large_files() -> None:
    """The system refuses files above 30 kB: a real failure of writing, in the middle of a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))


def test_no_room_for_a_checkpoint(config: Config, whole: Path, tmp_path: Path) -> None:
    """Found in the background while the run goes on; it stops after the step in hand."""
    end, _ = told(config, tmp_path / "run", sabotage=partial(_at_part, 5, _no_large_files))
    found = re.search(r"0-00000(\d) could not be written \(File too large\); free some space there and ", end)
    assert found is not None and found[1] in "456", end
    assert end.endswith(("continue with --resume from 0-000002", "continue with --resume from 0-000004"))
    goes_on(config, tmp_path / "run", whole)


def _raise(error: BaseException) -> None:
    raise error


def test_data_that_vanish(config: Config, whole: Path, tmp_path: Path) -> None:
    gone = partial(_raise, FileNotFoundError(errno.ENOENT, "No such file or directory", "era5.zarr/t/c/4/0"))
    end, _ = told(config, tmp_path / "run", sabotage=partial(_at_part, 5, gone))
    assert "a file could not be read or written (No such file or directory: era5.zarr/t/c/4/0)" in end
    assert "--resume" in end
    goes_on(config, tmp_path / "run", whole)


def _allocate_too_much() -> None:
    torch.empty(10**15)


def test_too_little_memory(config: Config, whole: Path, tmp_path: Path) -> None:
    end, _ = told(config, tmp_path / "run", sabotage=partial(_at_part, 5, _allocate_too_much))
    assert "memory is too small for this run; set training.accumulate higher" in end
    goes_on(config, tmp_path / "run", whole)


def test_a_damaged_checkpoint(config: Config, whole: Path, tmp_path: Path) -> None:
    """The one before is used, which is said, and the run is none the worse for it."""
    folder = tmp_path / "run"
    told(config, folder, sabotage=partial(_at_part, 6, partial(_raise, OSError("lost"))))
    path = folder / "checkpoints" / "0-000004" / "__0_0.distcp"
    path.write_bytes(path.read_bytes()[:1000])
    end, warned = told(config, folder, resume=True)
    assert end == "finished"
    assert any("0-000004 is damaged (__0_0.distcp has changed since it was written)" in w for w in warned)
    check_whole(folder, whole)


def test_what_cannot_be_resumed(config: Config, whole: Path, tmp_path: Path) -> None:
    """Another configuration, other data, a run in use, another run, no run; a finished one is left alone."""
    folder = tmp_path / "run"
    told(config, folder, sabotage=partial(_at_part, 5, partial(_raise, OSError("lost"))))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    training = config.training.model_copy(update={"seed": 5})
    end, _ = told(config.model_copy(update={"training": training}), folder, resume=True)
    assert "was started with another configuration, of " in end and "resume it with its own" in end
    record = Path(config.data.train)
    kept = record.read_bytes()
    try:
        write_record(record.parent, times=15)
        end, _ = told(config, folder, resume=True)
        assert "have changed since the run was started (time was" in end
        record.unlink()
        end, _ = told(config, folder, resume=True)
        assert str(record) in end
    finally:
        record.write_bytes(kept)
    with locked(folder, One()):
        assert f"is in use by process {os.getpid()}" in told(config, folder, resume=True)[0]
    assert "holds a run already; continue it with --resume" in told(config, folder)[0]
    assert "nothing to resume" in told(config, tmp_path / "none", resume=True)[0]
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {p.name: c for p, c in before.items() if p.name != ".lock"} == {
        p.name: c for p, c in after.items() if p.name != ".lock"
    }
    end, warned = told(config, whole, resume=True)
    assert end == "finished" and any("is finished already" in sentence for sentence in warned)
    goes_on(config, folder, whole)


def command(*arguments: object, module: str = "atmorep_lite.training") -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]


def quick(config: Config, folder: Path) -> Path:
    path = folder / "mine.yaml"
    path.write_text(dump_config(config))
    return path


@pytest.mark.slow
def test_the_command_line_killed_and_resumed(config: Config, whole: Path, tmp_path: Path) -> None:
    folder, mine = tmp_path / "run", quick(config, tmp_path)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    training = subprocess.Popen(
        command(mine, "--run-dir", folder), env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    end = time.monotonic() + 90
    while not (folder / "checkpoints" / "0-000004").exists() and time.monotonic() < end:
        time.sleep(0.002)
    training.kill()
    training.communicate(timeout=30)
    assert rows(folder) and not (folder / "model.safetensors").exists()
    wrong = subprocess.run(
        command(mine, "training.seed=other", "--run-dir", folder, "--resume"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert wrong.returncode == 2 and len(wrong.stderr.splitlines()) == 1 and "training.seed" in wrong.stderr
    done = subprocess.run(
        command(mine, "--run-dir", folder, "--resume"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    check_whole(folder, whole)


@pytest.mark.slow
def test_torchrun_told_by_a_scheduler(config: Config, tmp_path: Path) -> None:
    """As scripts/slurm.sh calls it: torchrun hands SIGUSR1 on, both processes save and end."""
    folder, mine = tmp_path / "run", quick(config, tmp_path)
    options = ["--nproc-per-node=2", "--signals-to-handle=SIGTERM,SIGUSR1", "--master-port=0"]
    options += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    launched = subprocess.Popen(
        command(
            *options, "-m", "atmorep_lite.training", mine, "--run-dir", folder, module="torch.distributed.run"
        ),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 120
    while not (folder / "checkpoints" / "0-000002").exists() and time.monotonic() < end:
        time.sleep(0.002)
    launched.send_signal(signal.SIGUSR1)
    printed, _ = launched.communicate(timeout=90)
    assert launched.returncode != 0 and "Stopped and saved" in printed
    last = rows(folder)[-1]
    assert (folder / "checkpoints" / f"{last[0]}-{int(last[1]):06d}").is_dir()
    expected = tmp_path / "expected"
    for where, resume in ((folder, True), (expected, False)):
        together(2, partial(run, config, where, resume=resume))
    check_whole(folder, expected)
    assert load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_torchruns_own_report_ends_with_our_sentence(config: Config, tmp_path: Path) -> None:
    wrong = config.model_copy(update={"data": config.data.model_copy(update={"train": "nowhere.zarr"})})
    done = subprocess.run(
        command(
            *("--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"),
            *("-m", "atmorep_lite.training", quick(wrong, tmp_path), "--run-dir", tmp_path / "run"),
            module="torch.distributed.run",
        ),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    (said,) = re.findall(r"^atmorep-lite: (.*nowhere.*)$", done.stderr, re.MULTILINE)
    assert done.returncode != 0
    assert f"traceback : {said}" in done.stderr.split("Root Cause")[1]
