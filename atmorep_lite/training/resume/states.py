"""Checkpoints of a run: asynchronous, atomic, checksummed, and readable by any number of processes.

``RUN/checkpoints/0-000200/`` is the state after 200 steps of stage 0.  Its tensors are written by
:mod:`torch.distributed.checkpoint`, every process its share; ``plain.json`` holds what is no tensor, and
``SHA256SUMS`` the checksum of every file (``sha256sum --check SHA256SUMS`` verifies a copy by hand).  A
checkpoint is written under a hidden name and renamed when it is complete and on the disk, so that a process
may be killed at any moment: a folder with such a name is whole, unless the disk damages it later, which the
checksums tell.
"""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import metadata as formats
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner

from atmorep_lite.errors import UserError
from atmorep_lite.training.resume.files import (
    PLAIN,
    Planner,
    Position,
    Reader,
    Writer,
    find_fault,
    first_failure,
    remove,
    system_error,
    unfinished,
)

__all__ = ["Position", "Saved", "States"]

if TYPE_CHECKING:
    from atmorep_lite.training.processes import Processes

TIMEOUT = timedelta(minutes=30)  #: of a process that waits for others which still write

warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")


@dataclass(frozen=True)
class Saved:
    """A checkpoint whose checksums are right, and what it holds besides tensors."""

    position: Position
    folder: Path
    plain: dict[str, Any]


class States:
    """The checkpoints of one run.

    Parameters
    ----------
    folder
        Where they are; made when the first is written.
    processes
        Who takes part; all of them must make this object and call its methods in the same order.
    keep
        How many of the newest stay.  While one is written, there are ``keep + 1``.
    report
        Receives a sentence for every damaged checkpoint (in the first process).

    Use it in a ``with`` statement: leaving it waits for what is still being written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        processes: Processes,
        *,
        keep: int = 2,
        report: Callable[[str], object] = print,
    ) -> None:
        self.folder, self.keep, self._report = Path(folder), keep, report
        self._first, self._alone = processes.is_first, processes.count == 1
        self._running: tuple[Future[Any], Path] | None = None
        # A group of its own: the thread that writes talks while the main one adds up gradients.
        self._group = None if self._alone else torch.distributed.new_group(backend="gloo", timeout=TIMEOUT)
        if self._first:
            remove(self.folder.glob(".*.unfinished"))  # of a process that was killed while writing
        if not self._alone:
            torch.distributed.barrier(group=self._group)

    def __enter__(self) -> States:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        try:
            self.wait()
        except (UserError, RuntimeError) as error:
            if kind is None:
                raise
            self._report(str(error))  # another error is on its way already

    def save(self, position: Position, state: Mapping[str, Any], plain: Mapping[str, Any]) -> None:
        """Copy ``state`` and return; it is written in the background.

        If the checkpoint before is still being written, this waits for it first: none is left out.

        Parameters
        ----------
        position
            Where the run is.
        state
            Tensors in nested dictionaries, on any device; plain ones are the same in all processes,
            distributed ones (``DTensor``) are shared among them.
        plain
            What ``json`` can write.

        Raises
        ------
        UserError
            If the checkpoint before could not be written.
        """
        self.wait()
        target = self.folder / position.name
        writer = Writer(target, json.dumps(dict(plain), indent=1), self.keep)
        future = dcp.async_save(
            _flatten(state),
            storage_writer=writer,
            planner=DefaultSavePlanner(flatten_state_dict=False),
            process_group=self._group,
            no_dist=self._alone,
        )
        assert isinstance(future, Future)  # the other kind of answer comes from other stagers
        self._running = future, target

    def failed(self) -> bool:
        """Whether the last :meth:`save` has failed by now; :meth:`wait` tells why.

        Processes may learn it at different moments: ask all of them before acting on it.
        """
        if self._running is None or not self._running[0].done():
            return False
        return self._running[0].exception() is not None

    def wait(self) -> None:
        """Wait until everything is on the disk.

        Raises
        ------
        UserError
            If it could not be written; the checkpoints before are as they were.
        """
        if self._running is None:
            return
        (future, target), self._running = self._running, None
        try:
            future.result()
        except (Exception, CheckpointException) as error:
            if self._first:
                remove([unfinished(target)])
            _pass_on_loss(error)
            raise UserError(self._sentence(target, error)) from error

    def _sentence(self, target: Path, error: BaseException) -> str:
        cause = system_error(error)
        if cause is None:
            reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:200]
        else:
            reason = os.strerror(cause.errno) if cause.errno else str(cause)
        full = cause is not None and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        todo = "free some space there" if full else "mend that"
        older = [position.name for position in self._positions() if position != Position.of(target.name)]
        rest = f"continue with --resume from {older[-1]}" if older else "start again"
        return f"the checkpoint {target} could not be written ({reason}); {todo} and {rest}"

    def _positions(self) -> list[Position]:
        """Of all checkpoints, whole or not, in the order of time."""
        if not self.folder.is_dir():
            return []
        found = (Position.of(path.name) for path in self.folder.iterdir() if path.is_dir())
        return sorted(position for position in found if position is not None)

    def newest(self) -> Saved | None:
        """The newest checkpoint that is whole, or None if there is none; damaged ones are reported.

        Raises
        ------
        UserError
            If there are checkpoints, but none that is whole.
        """
        answer: list[Any] = [None, None]
        if self._first:
            try:
                answer[0] = self._newest()
            except UserError as error:
                answer[1] = str(error)
        if not self._alone:
            torch.distributed.broadcast_object_list(answer, src=0, group=self._group)
        saved, refusal = answer
        if refusal is not None:
            raise UserError(refusal)
        return saved

    def _newest(self) -> Saved | None:
        positions = self._positions()
        for position in reversed(positions):
            folder = self.folder / position.name
            fault = find_fault(folder)
            if fault is None:
                return Saved(position, folder, json.loads((folder / PLAIN).read_text(encoding="utf-8")))
            self._report(f"the checkpoint {folder} is damaged ({fault}); the one before it is used")
        if positions:
            raise UserError(
                f"none of the checkpoints in {self.folder} is whole ({len(positions)} tried); restore one "
                "from a copy, or start again in another --run-dir"
            )
        return None

    def contents(self, saved: Saved) -> dict[tuple[str, ...], tuple[torch.Size, torch.dtype]]:
        """Shape and type of every tensor in a checkpoint, by the keys that lead to it."""
        entries = Reader(saved.folder).read_metadata().state_dict_metadata
        return {
            tuple(key.split("\0")): (entry.size, entry.properties.dtype)
            for key, entry in entries.items()
            if isinstance(entry, formats.TensorStorageMetadata)
        }

    def load(self, saved: Saved, state: Mapping[str, Any]) -> None:
        """Fill the tensors of ``state`` in place; what else the checkpoint holds is left out.

        The number of processes may differ from that of the run which wrote it.

        Raises
        ------
        UserError
            If a tensor is missing in the checkpoint, or has another shape there.
        """
        try:
            dcp.load(
                _flatten(state),
                storage_reader=Reader(saved.folder),
                planner=Planner(flatten_state_dict=False),
                process_group=self._group,
                no_dist=self._alone,
            )
        except (Exception, CheckpointException) as error:
            _pass_on_loss(error)
            cause = first_failure(error)
            reason = str(cause).replace("\0", ".").strip() or type(cause).__name__
            raise UserError(
                f"the checkpoint {saved.folder} does not fit this model ({reason.splitlines()[0][:200]}); "
                "resume with the configuration and the version of atmorep_lite that wrote it"
            ) from error


def _flatten(state: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """One level of names, separated by a character that is in no name (a dot is in many)."""
    flat: dict[str, Tensor] = {}
    for key, value in state.items():
        if "\0" in key:
            raise ValueError(f"a name in a state holds the separator: {key!r}")
        if isinstance(value, Mapping):
            flat |= _flatten(value, (*path, key))
        elif isinstance(value, Tensor):
            flat["\0".join((*path, key))] = value.detach()
        else:
            raise TypeError(
                f"{'.'.join((*path, key))} is a {type(value).__name__}; a state holds tensors only"
            )
    return flat


def _pass_on_loss(error: BaseException) -> None:
    """Raise what says that another process is lost: whoever joined the processes tells it."""
    cause = first_failure(error)
    if isinstance(cause, torch.distributed.DistError) or "gloo" in str(cause):
        raise cause from error
