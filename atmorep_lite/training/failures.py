"""What the world does to a run, told in one sentence: no memory, no space, data that vanish."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from atmorep_lite.errors import UserError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def told_plainly(run_dir: Path) -> Iterator[None]:
    """Turn such errors into a :class:`UserError`; all others stay as they are.

    Raises
    ------
    UserError
        It says what was in short supply and how the run goes on.
    """
    go_on = f"what {run_dir} holds is whole: continue with --resume"
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        where = "the GPU's memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
        raise UserError(
            f"{where} is too small for this run; set training.accumulate higher (the same batch in smaller "
            "parts), training.checkpointing: true, or a lower batch_size"
        ) from error
    except OSError as error:
        what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        if error.errno in NO_SPACE:
            raise UserError(f"there is no space to write ({what}); free some, and {go_on}") from error
        raise UserError(
            f"a file could not be read or written ({what}); if the data were moved put them back, and {go_on}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be allocated, on a CPU or a GPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        phrase in str(error) for phrase in ("can't allocate memory", "not enough memory", "bad_alloc")
    )
