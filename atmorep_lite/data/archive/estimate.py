"""What a fetch will cost, told before it begins."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from zarr.core.sync import sync

from atmorep_lite.data.archive.chunk_store import MissingChunk
from atmorep_lite.data.archive.plan import COMPRESSION_LEVEL, Plan, read_patiently
from atmorep_lite.data.archive.sources import Variable

#: Memory of Python and the libraries, in bytes.
BASE = 3e8


@dataclass(frozen=True)
class Estimate:
    """What a fetch will cost, from the sizes of some chunks and one that was read on trial.

    Attributes
    ----------
    chunks
        Chunks of the source to read.
    download, disk, memory
        Bytes: over the network; of the compressed copy; at most in memory.
    seconds
        With ``streams`` at once, each as fast as the one on trial.
    speed
        Bytes a second of that one, decoding, regridding and compression included.
    """

    chunks: int
    download: float
    disk: float
    memory: float
    seconds: float
    speed: float


def estimate(plan: Plan, *, streams: int, samples: int = 4) -> Estimate:
    """Ask for the sizes of ``samples`` chunks of each variable and read one on trial."""
    from numcodecs import Blosc  # type: ignore[import-untyped]

    chunks, download, bytes_on_disk, memory = 0, 0.0, 0, 0.0
    pieces = plan.pieces()
    trials: list[tuple[bool, int, Variable, np.ndarray]] = []
    for variable in plan.variables:
        groups = [g for piece in pieces if piece.variable == variable for g in plan.groups(piece)]
        each = len(plan.chunks(variable, groups[0]))
        some = [groups[i] for i in np.unique(np.linspace(0, len(groups) - 1, samples).astype(int))]
        sizes = [_size(plan, variable, plan.chunks(variable, group)[0]) for group in some]
        chunks += each * len(groups)
        download += each * len(groups) * float(np.mean(sizes))
        bytes_on_disk += 4 * int(np.prod(plan.shape(variable)))
        there = [group for group, size in zip(some, sizes, strict=True) if size]
        trials.append((bool(there), int(np.prod(plan.shape(variable)[1:])), variable, (there or some)[0]))
        raw = 4 * each * int(np.prod(variable.chunks))
        shape = plan.shape(variable)
        copy = 4 * plan.block(variable) * int(np.prod(shape if variable.static else shape[1:]))
        memory = max(memory, 2 * raw + 2 * copy)
    _, _, variable, group = max(trials, key=lambda trial: trial[:2])  # the largest that is not missing
    before, begun = plan.source.store.received, time.perf_counter()
    values = np.ascontiguousarray(read_patiently(plan, variable, group))
    packed = len(Blosc(cname="zstd", clevel=COMPRESSION_LEVEL, shuffle=Blosc.BITSHUFFLE).encode(values))
    speed = (plan.source.store.received - before) / (time.perf_counter() - begun)
    return Estimate(
        chunks,
        download,
        bytes_on_disk * packed / values.nbytes,
        BASE + streams * memory,
        download / speed / streams if speed else 0.0,
        speed,
    )


def _size(plan: Plan, variable: Variable, at: tuple[int, ...]) -> int:
    key = f"{variable.raw}/{plan.source.array(variable).metadata.encode_chunk_key(at)}"
    try:
        return sync(plan.source.store.getsize(key))
    except FileNotFoundError as error:
        if plan.source.store.strict:
            raise MissingChunk(key) from error
        return 0
