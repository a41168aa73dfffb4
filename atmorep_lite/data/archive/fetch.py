"""Copying a part of an archive into a local Zarr store: resumable, checked, in bounded memory.

The copy grows under the name ``OUT.part`` and is renamed when it is whole.  Each of its chunks is written
under a temporary name, then renamed, and ends with its CRC-32C (a codec of Zarr 3: whoever reads the chunk
later checks it, too).  So after a crash at any moment the same command keeps what is whole and fetches the
rest; on a complete copy it verifies every chunk and mends what is damaged.

Each of ``streams`` threads makes one chunk of the copy at a time and reads for it one chunk of the source at
a time; this bounds memory (:class:`atmorep_lite.data.archive.estimate.Estimate`).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from atmorep_lite.data.archive.plan import COMPRESSION_LEVEL, Piece, Plan, read_patiently
from atmorep_lite.data.archive.request import as_plain
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS

#: The attribute ``fetched`` of a copy whose frame is being written.
BEGUN = "not yet"


@dataclass(frozen=True)
class Progress:
    """Chunks of the copy: ``done``, ``of`` how many, ``kept`` from before; bytes received."""

    done: int
    of: int
    kept: int
    received: int


def fetch(
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    streams: int = 4,
    attempts: int = 4,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[Progress], None] = lambda now: None,
) -> Path:
    """Copy what the plan says to the folder ``out``; interrupted, the same call goes on.

    Parameters
    ----------
    streams
        Chunks of the copy that are made at once.
    attempts
        How often a chunk that cannot be decoded is read anew.
    report, progress
        Told what happened in words, and how far it is.

    Raises
    ------
    UserError
        If ``out`` holds something else or is being written by another process; if a chunk cannot be had, is
        damaged or missing; if the disk is full.  What was fetched is kept.
    """
    out = Path(out)
    with _disk_told(out), _alone(out):
        folder, asked = refuse_others(plan, out)
        folder.mkdir(exist_ok=True)
        for torn in folder.rglob("*.partial"):
            torn.unlink()
        if not isinstance(_attributes(folder).get("fetched"), dict):
            _write_frame(folder, plan, asked)
        _all_pieces(folder, plan, streams, attempts, report, progress)
        if folder != out:
            name = out.resolve()
            if name.exists():
                name.rmdir()  # an empty folder
            folder.rename(name)
    return out


def refuse_others(plan: Plan, out: Path) -> tuple[Path, dict[str, Any]]:
    """The folder to write in, and the request as JSON.

    Raises
    ------
    UserError
        If there is something else, or what another request asked for.
    """
    asked = as_plain(plan.request, plan.variables, plan.source.address, plan.times)
    filled = out.exists() and (not out.is_dir() or any(out.iterdir()))
    folder = out if filled else _beside(out, "{}.part")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another name for the copy")
    if folder != out and out.is_mount():
        raise UserError(f"{out} is a disk of its own; choose a name within it for the copy")
    found = _attributes(folder).get("fetched")
    ours = isinstance(found, dict) or found == BEGUN
    if not ours and folder.exists() and not _is_empty(folder):
        raise UserError(f"{folder} holds something else; choose another name for the copy")
    if isinstance(found, dict) and found != asked:
        changed = ", ".join(key for key in asked if found.get(key) != asked[key])
        raise UserError(f"{folder} was fetched with another {changed}; remove it or choose another name")
    return folder, asked


def _beside(out: Path, name: str) -> Path:
    """Another name in the folder that holds ``out``, on the same disk where ``out`` is a link."""
    place = out.resolve()
    return place.with_name(name.format(place.name))


def _is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing, or only the torn first file of a frame."""
    return folder.is_dir() and all(
        file.name.startswith("zarr.") and file.suffix == ".partial" for file in folder.iterdir()
    )


def _attributes(folder: Path) -> dict[str, Any]:
    """Those of a store; ``fetched`` is the request of a copy, BEGUN until its frame is whole."""
    try:
        found = json.loads((folder / "zarr.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    found = found.get("attributes") if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the name of the copy; the operating system lets go when the process ends, however it ends.

    What is locked is a file beside the copy, open for writing: NFS locks nothing else.  A file system without
    locks, or that can only be read, is used as it is.
    """
    place = _beside(out, ".{}.lock")
    handle = _locked(place, out)
    try:
        yield
    finally:
        if handle is not None:
            place.unlink(missing_ok=True)
            os.close(handle)


def _locked(place: Path, out: Path) -> int | None:
    import fcntl

    place.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if error.errno == errno.EROFS or (error.errno == errno.EACCES and not place.exists()):
                return None
            raise
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                place.unlink(missing_ok=True)
                return None
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise UserError(f"another process is fetching into {out}; wait until it has ended") from error
            raise
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)  # whoever held it has just ended and removed it


@contextmanager
def _disk_told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"the disk of {out} is full; make room and run the same command again") from error
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}); choose another place"
        ) from error


def _write_frame(folder: Path, plan: Plan, asked: dict[str, Any]) -> None:
    """Coordinates and empty arrays; ``fetched`` marks it as ours first, with the request as whole last."""
    from atmorep_lite import __version__

    source = plan.source
    for torn in folder.iterdir():  # of a frame that was not finished
        if torn.is_dir():
            shutil.rmtree(torn)
    group = zarr.open_group(folder, mode="w", zarr_format=3, attributes={"fetched": BEGUN})
    coordinates: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "time": (
            plan.times.values.astype("datetime64[s]").astype(np.int64),
            {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"},
        ),
        "latitude": (plan.grid.latitude, dict(source.axes["latitude"].attrs)),
        "longitude": (plan.grid.longitude, dict(source.axes["longitude"].attrs)),
    }
    if plan.levels is not None:
        coordinates["level"] = (plan.levels.values, dict(source.axes["level"].attrs))
    for name, (values, attrs) in coordinates.items():
        group.create_array(name, data=values, dimension_names=(name,), attributes=attrs)
    for variable in plan.variables:
        known = FIELDS.get(variable.name)
        attrs = {"units": variable.units, "name_in_source": variable.raw}
        if known is not None:
            attrs |= {
                "units": known.units,
                "standard_name": known.standard_name,
                "long_name": known.long_name,
            }
        if plan.grid.weights is not None:
            attrs["cell_methods"] = "area: mean"
        shape, axes = plan.shape(variable), plan.axes(variable)
        group.create_array(
            variable.name,
            shape=shape,
            chunks=tuple(
                plan.block(variable) if axis == "time" else n for axis, n in zip(axes, shape, strict=True)
            ),
            dtype="<f4",
            fill_value=np.nan,
            dimension_names=axes,
            compressors=[
                BloscCodec(cname="zstd", clevel=COMPRESSION_LEVEL, shuffle="bitshuffle", typesize=4),
                Crc32cCodec(),
            ],
            attributes=attrs,
        )
    group.attrs.update({str(k): v for k, v in source.raw.attrs.items() if isinstance(v, str | int | float)})
    group.attrs.update(
        {
            "source": source.address,
            "fetched_on": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "fetched_by": f"atmorep-lite {__version__}",
            "fetched": asked,
        }
    )


def _all_pieces(
    folder: Path,
    plan: Plan,
    streams: int,
    attempts: int,
    report: Callable[[str], None],
    progress: Callable[[Progress], None],
) -> None:
    pieces = plan.pieces()
    done = kept = 0
    pool = ThreadPoolExecutor(streams, thread_name_prefix="fetch")
    waiting: set[Future[bool]] = {pool.submit(_make, folder, plan, piece, attempts) for piece in pieces}
    try:
        while waiting:
            finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
            kept += sum(future.result() for future in finished)
            done += len(finished)
            progress(Progress(done, len(pieces), kept, plan.source.store.received))
    except BaseException:
        plan.source.store.stop()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if kept:
        report(f"{kept} of {len(pieces)} chunks were there already; their checksums are right.")
    if plan.source.store.missing:
        some = ", ".join(sorted(plan.source.store.missing)[:3])
        report(
            f"{len(plan.source.store.missing)} chunks are not in the source ({some}, ...): now fill values."
        )


def _make(folder: Path, plan: Plan, piece: Piece, attempts: int) -> bool:
    """Make one chunk of the copy; True if it was there and whole."""
    variable = piece.variable
    array = zarr.open_array(folder / variable.name, mode="r+", config={"write_empty_chunks": True})
    number = piece.start // array.chunks[0] if not variable.static else 0
    place = folder / variable.name / "c" / "/".join([str(number), *"0" * (array.ndim - 1)])
    if is_whole(place):
        return True
    if variable.static:
        array[...] = read_patiently(plan, variable, np.arange(1), attempts=attempts)
        return False
    values = np.empty((piece.stop - piece.start, *array.shape[1:]), np.float32)
    for steps in plan.groups(piece):
        first = int(steps[0]) - piece.start
        values[first : first + len(steps)] = read_patiently(plan, variable, steps, attempts=attempts)
    array[piece.start : piece.stop] = values
    return False


def is_whole(place: Path) -> bool:
    """Whether the file of a chunk is there and ends with the CRC-32C of what precedes."""
    import google_crc32c

    try:
        content = place.read_bytes()
    except FileNotFoundError:
        return False
    body, mark = content[:-4], content[-4:]
    return len(body) > 0 and google_crc32c.value(body) == int.from_bytes(mark, "little")
