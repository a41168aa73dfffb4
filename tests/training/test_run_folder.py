"""A run's folder belongs to one living process."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from atmorep_lite.errors import UserError
from atmorep_lite.training.processes import processes
from atmorep_lite.training.resume.run_folder import check_folder, finished, locked
from tests.training.together import CONTEXT, together


@dataclass(frozen=True)
class One:
    """Stands for the only process of a run."""

    is_first: bool = True
    count: int = 1


def hold(folder: Path, pipe) -> None:
    """Use the folder until killed, with a child that lives on."""
    with locked(folder, One()):
        child = os.fork()
        if child == 0:
            signal.pause()
        pipe.send(child)
        signal.pause()


def test_a_folder_in_use_is_refused_until_its_user_is_dead(tmp_path: Path) -> None:
    mine, theirs = CONTEXT.Pipe()
    user = CONTEXT.Process(target=hold, args=(tmp_path / "run", theirs))
    user.start()
    assert mine.poll(30)
    worker = mine.recv()
    try:
        refused = pytest.raises(UserError, match=rf"run is in use by process {user.pid} on .+; wait")
        with refused, locked(tmp_path / "run", One()):
            pass
        assert user.pid is not None
        os.kill(user.pid, signal.SIGKILL)
        user.join(10)
        for _ in range(2):  # and again after a user that ended well
            with locked(tmp_path / "run", One()):
                assert "process" in (tmp_path / "run" / ".lock").read_text()
    finally:
        os.kill(worker, signal.SIGKILL)


def _refused(folder: Path) -> str:
    with processes() as group:
        try:
            with locked(folder / "run", group):
                return "used"
        except UserError as error:
            return str(error)


def test_other_processes_learn_why_it_is_refused(tmp_path: Path) -> None:
    assert together(2, _refused, tmp_path) == ["used", "used"]
    (tmp_path / "file").touch()
    sentences = together(2, _refused, tmp_path / "file")
    assert sentences[0] == sentences[1] and "cannot be written" in sentences[0]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = pytest.raises(UserError, match=r"cannot be written \(.+\); choose another --run-dir")
    with refused, locked(tmp_path / "file" / "run", One()):
        pass


def test_what_is_begun_and_what_is_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    check_folder(run, resume=False)
    with pytest.raises(UserError, match=r"nothing to resume: .*run holds no run"):
        check_folder(run, resume=True)
    (run / "checkpoints" / ".0-000001.unfinished").mkdir(parents=True)
    (run / "config.yaml").touch()
    for resume in (False, True):  # killed before its first checkpoint: both begin
        check_folder(run, resume=resume)
    (run / "checkpoints" / "0-000001").mkdir()
    check_folder(run, resume=True)
    with pytest.raises(UserError, match="holds a run already; continue it with --resume"):
        check_folder(run, resume=False)
    (run / "other").mkdir()
    (run / "other" / "model.safetensors").touch()
    assert finished(run / "other") and not finished(run)
    with pytest.raises(UserError, match="holds a run already"):
        check_folder(run / "other", resume=False)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        check_folder(tmp_path / "file", resume=False)
