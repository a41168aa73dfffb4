"""The files of a checkpoint: how they are written, verified and read without running code that is in them."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import metadata as formats
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.storage import WriteResult

SUMS = "SHA256SUMS"
PLAIN = "plain.json"


class Position(NamedTuple):
    """``step`` steps of ``stage`` are done; positions are ordered in time."""

    stage: int
    step: int

    @property
    def name(self) -> str:
        """The name of its folder, ``0-000200``."""
        return f"{self.stage}-{self.step:06d}"

    @classmethod
    def of(cls, name: str) -> Position | None:
        """The position that a folder's name says, if it is a checkpoint's."""
        found = re.fullmatch(r"(\d+)-(\d{6,})", name)
        return cls(int(found[1]), int(found[2])) if found else None


def find_fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint's files: the first one whose checksum differs; None if it is whole."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        sums = {name: value for value, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        return f"{SUMS} cannot be read"
    for name in (PLAIN, ".metadata"):
        if name not in sums:
            return f"{SUMS} does not list {name}"
    for name, value in sums.items():
        try:
            if _checksum(folder / name) != value:
                return f"{name} has changed since it was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


class Writer(dcp.FileSystemWriter):
    """Writes under a hidden name, sums up every file where it was written, and renames at the end."""

    def __init__(self, target: Path, plain: str, keep: int) -> None:
        super().__init__(unfinished(target))
        self.target, self.plain, self.keep = target, plain, keep

    def storage_meta(self) -> None:
        """Nothing: it would hold the path on this machine."""

    def write_data(self, plan: Any, planner: Any) -> torch.futures.Future[list[WriteResult]]:
        written = super().write_data(plan, planner).wait()
        names = sorted({result.storage_data.relative_path for result in written})
        # Sent to the first process like a result: files of another node it may not see yet.
        sums = [
            WriteResult(formats.MetadataIndex(name), 0, _checksum(Path(self.path) / name)) for name in names
        ]
        future: torch.futures.Future[list[WriteResult]] = torch.futures.Future()
        future.set_result([*written, *sums])
        return future

    def finish(self, metadata: formats.Metadata, results: list[list[WriteResult]]) -> None:
        """Called in the first process when all have written."""
        folder = Path(self.path)
        flat = [result for part in results for result in part]
        sums = {r.index.fqn: r.storage_data for r in flat if isinstance(r.storage_data, str)}
        super().finish(metadata, [[r for r in flat if not isinstance(r.storage_data, str)]])
        _write(folder / PLAIN, self.plain)
        sums |= {name: _checksum(folder / name) for name in (PLAIN, ".metadata")}
        _write(folder / SUMS, "".join(f"{value}  {name}\n" for name, value in sorted(sums.items())))
        _synchronize(folder)
        if self.target.exists():  # damaged, else the run would not be writing it again
            remove([self.target])
        os.rename(folder, self.target)
        _synchronize(self.target.parent)
        position = Position.of(self.target.name)
        found = {Position.of(path.name): path for path in self.target.parent.iterdir()}
        older = sorted(p for p in found if p is not None and position is not None and p < position)
        later = [p for p in found if p is not None and position is not None and p > position]  # damaged, too
        remove(found[p] for p in [*older[: max(len(older) + 1 - self.keep, 0)], *later])


class Reader(dcp.FileSystemReader):
    """Reads the table of contents without running any code that somebody may have put into it."""

    def read_metadata(self, *args: Any, **options: Any) -> formats.Metadata:
        with (Path(self.path) / ".metadata").open("rb") as file:
            metadata = _Unpickler(file).load()
        metadata.storage_meta = formats.StorageMeta(load_id=self.load_id)
        return metadata


class Planner(DefaultLoadPlanner):
    def load_bytes(self, read_item: Any, value: Any) -> None:
        raise ValueError(f"{read_item.dest_index.fqn} is no tensor")  # the library would unpickle it


class _Unpickler(pickle.Unpickler):
    """Knows the classes of a table of contents, and no other."""

    known = {
        ("torch.distributed.checkpoint.metadata", name)
        for name in (
            *("Metadata", "MetadataIndex", "StorageMeta", "TensorStorageMetadata", "BytesStorageMetadata"),
            *("TensorProperties", "ChunkStorageMetadata", "_MEM_FORMAT_ENCODING"),
        )
    } | {
        ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        ("torch", "Size"),
        ("torch.serialization", "_get_layout"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self.known or (
            module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a table of contents does not hold {module}.{name}")


def unfinished(target: Path) -> Path:
    return target.with_name(f".{target.name}.unfinished")


def remove(folders: Iterable[Path]) -> None:
    """First out of sight, at once, then file by file."""
    for folder in list(folders):
        hidden = folder if folder.name.startswith(".") else folder.with_name(f".{folder.name}.old.unfinished")
        if hidden != folder:
            shutil.rmtree(hidden, ignore_errors=True)
            os.rename(folder, hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _synchronize(folder: Path) -> None:
    """Bring a folder's list of names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def first_failure(error: BaseException) -> BaseException:
    """What went wrong in the first process in which something did."""
    if isinstance(error, CheckpointException) and error.failures:
        return next(iter(error.failures.values()))[0]
    return error


def system_error(error: BaseException | None) -> OSError | None:
    """The operating system's reason behind an error, if there is one."""
    error = None if error is None else first_failure(error)
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
