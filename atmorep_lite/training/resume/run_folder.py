"""The folder of a run: whether it may be used, by one run at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import torch

from atmorep_lite.errors import UserError

if TYPE_CHECKING:
    from atmorep_lite.training.processes import Processes

LOCK = ".lock"


def finished(folder: Path) -> bool:
    """Whether the run there is at its end: its weights are the last that is written."""
    return (folder / "model.safetensors").is_file()


def check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse to begin a run where there is one, and to resume one where there is none.

    A run without any checkpoint yet may be resumed, which is to begin it, or begun again.

    Raises
    ------
    UserError
        In these cases, or if ``folder`` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose a folder for the run")
    begun = finished(folder) or any(folder.glob("checkpoints/[0-9]*"))
    if resume and not begun and not (folder / "config.yaml").is_file():
        raise UserError(f"there is nothing to resume: {folder} holds no run; start without --resume")
    if begun and not resume:
        raise UserError(
            f"{folder} holds a run already; continue it with --resume or choose another --run-dir"
        )


@contextmanager
def locked(folder: Path, processes: Processes) -> Iterator[None]:
    """Make ``folder`` and keep other runs out of it; the system lets go of it when the process ends, however.

    A file system without locks is used as it is.

    Raises
    ------
    UserError
        If another process that is alive uses the folder, or it cannot be made.
    """
    sentence, file = _take(folder) if processes.is_first else (None, None)
    try:
        answer = [sentence]
        if processes.count > 1:
            torch.distributed.broadcast_object_list(answer, src=0)
        if answer[0] is not None:
            raise UserError(answer[0])
        yield
    finally:
        if file is not None:
            file.close()


def _take(folder: Path) -> tuple[str | None, IO[str] | None]:
    """Why the folder cannot be had, and the open file that keeps it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror}); choose another --run-dir", None
    try:
        # A lock of this process, not of the open file: workers forked from it do not hold it after its death.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return None, file
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        return f"{folder} is in use by {holder}; wait until it ends, or choose another --run-dir", None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return None, file
