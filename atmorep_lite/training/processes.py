"""One run on several processes: who they are, and how they talk.

``torchrun`` starts the processes and tells each its number in environment variables.  On CPUs they talk by
gloo, on GPUs by NCCL (and by gloo about what lies in the CPU's memory).  Without ``torchrun`` a run is alone,
and nothing here costs anything.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from atmorep_lite.errors import UserError

#: How long a process waits for the others before it counts them as lost.
PATIENCE = timedelta(minutes=10)
#: Seconds in which gloo's threads let go of finished work.  For that they may need Python's lock, which a
#: DistributedDataParallel that is freed after its group holds while it waits for them: a deadlock.
LETTING_GO = 0.05
#: What errors of gloo and NCCL speak of when a process at the other end is gone or silent.
LOST = ("gloo", "NCCL", "Connection reset", "Connection closed", "Broken pipe", "Timed out waiting")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen by number ``rank`` of ``count``, which computes on ``device``."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, prints and reports."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether any process says yes."""
        return flag if self.count == 1 else bool(self.sum(torch.tensor(int(flag))))

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.any(False)


ALONE = Processes(0, 1, torch.device("cpu"))


@contextmanager
def processes(*, patience: timedelta = PATIENCE) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` has started; alone if it has not.

    What goes wrong is told once, by the first process to which it happens; the others leave with exit code 2.

    Raises
    ------
    UserError
        What went wrong in this process, or that another one has ended or not answered for so long.
    """
    rank, count, local = (int(os.environ.get(name, alone)) for name, alone in RANKS)
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32; bfloat16 is there for speed
    here = Processes(rank, count, device)
    if count == 1 or dist.is_initialized():  # the latter: by a caller, who also ends it
        yield here
        return
    try:
        store = next(dist.rendezvous("env://", rank, count, timeout=patience))[0]
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=dist.PrefixStore("run", store),
            rank=rank,
            world_size=count,
            timeout=patience,
        )
    except (dist.DistError, RuntimeError) as error:
        raise UserError(
            f"process {rank} of {count} did not find the others within {patience} ({_first_line(error)})"
        ) from error
    try:
        yield here
    except (UserError, RuntimeError) as error:
        if not isinstance(error, UserError) and not _lost(error):
            raise
        if rank:  # what happens to all alike is for the first process to tell
            time.sleep(0.5)
        if not _is_first_to_fail(store, rank):
            raise SystemExit(2) from error
        raise UserError(
            (f"process {rank} of {count}: " if rank else "") + str(error)
            if isinstance(error, UserError)
            else f"process {rank} of {count} has lost another one, which was ended or did not answer for "
            f"{patience} (hours:minutes:seconds); find out why, then go on with --resume"
        ) from error
    finally:
        time.sleep(LETTING_GO)
        dist.destroy_process_group()


RANKS = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


def _lost(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(word in str(error) for word in LOST)


def _is_first_to_fail(store: dist.Store, rank: int) -> bool:
    try:
        return store.compare_set("first to fail", "", str(rank)) == str(rank).encode()
    except RuntimeError:  # the process that held the store is gone
        return True


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
