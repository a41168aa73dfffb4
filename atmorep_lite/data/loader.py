"""Items made ahead of time by worker processes, so that a network does not wait for its data."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from atmorep_lite.data.slots import Slots, on_tensors
from atmorep_lite.errors import UserError

__all__ = ["AHEAD", "Ahead", "on_tensors", "steps_ahead"]

T = TypeVar("T")

#: Items that every worker may have ready: memory is bounded by workers * AHEAD + 1 of them.
AHEAD = 2
_FORKS = "fork" in multiprocessing.get_all_start_methods()


def steps_ahead(make: Callable[[int], T], numbers: range, *, workers: int) -> Ahead[T]:
    """``make(n)`` for every number, in order, whoever makes it.

    Parameters
    ----------
    make
        A pure function of the number.  With workers it runs in their processes, each with one thread and a
        copy of the caller's memory (none is copied unless written to), and returns tensors, dataclasses,
        dicts, lists, tuples and plain values.
    workers
        How many processes; 0 makes each item here, when it is asked for.

    Returns
    -------
    An iterator to be closed, or used in a ``with`` statement; see :class:`Ahead`.
    """
    return Ahead(make, numbers, workers)


class Ahead(Generic[T]):
    """The iterator of :func:`steps_ahead`; ``waited`` is the number of seconds that its caller has waited.

    ``next()`` raises what ``make`` raised, and a UserError if a worker has died.  ``close()`` ends the
    workers and drops what they have made ahead; so do an error and the end of Python.
    """

    def __init__(self, make: Callable[[int], T], numbers: range, workers: int) -> None:
        self.waited = 0.0
        self._made: list[Iterator[_Made]] = []
        if len(numbers):
            # torch asks for workers * AHEAD items beyond the one that is being handed over
            slots = Slots(workers * AHEAD + 1) if workers and _FORKS else None
            self._items = items = _Items(make, numbers, slots)
            self._made.append(
                _processes(items, workers) if workers else (items[k] for k in range(len(items)))
            )
        self.close = weakref.finalize(self, _end, self._made)  # at the latest when Python ends

    def __iter__(self) -> Ahead[T]:
        return self

    def __next__(self) -> T:
        if not self._made:
            raise StopIteration
        begun = time.perf_counter()
        try:
            made = next(self._made[0])
            if made.error is None:
                return self._items.received(made)
        except (RuntimeError, OSError) as error:
            self.close()
            if "DataLoader worker (pid" not in str(error):
                raise
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(
                f"a worker process that makes batches was ended from outside ({reason}), which a computer "
                "short of memory does; set data.workers lower, or to 0, and continue with --resume"
            ) from error
        except BaseException:
            self.close()
            raise
        finally:
            self.waited += time.perf_counter() - begun
        self.close()
        raise made.error

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end(made: list[Iterator[Any]]) -> None:
    """End the workers now.  Torch does when nothing refers to its iterator, but the trace of an error may."""
    while made:
        iterator = made.pop()
        if not isinstance(iterator, Generator):
            iterator._shutdown_workers()  # type: ignore[attr-defined]
            for worker in iterator._workers:  # type: ignore[attr-defined]
                if worker.is_alive():  # busy: torch has asked it by a signal that workers do not obey
                    worker.kill()
                    worker.join()


@dataclass
class _Made:
    """What is handed over: a value, or what went wrong."""

    number: int
    value: Any = None
    error: Exception | None = None


class _Items(Dataset[_Made]):
    def __init__(self, make: Callable[[int], Any], numbers: range, slots: Slots | None) -> None:
        self.make, self.numbers, self.slots = make, numbers, slots

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> _Made:
        try:
            value = self.make(self.numbers[index])
            return _Made(index, value if self.slots is None else self.slots.put(value, index))
        except Exception as error:
            return _Made(index, error=_to_send(error))

    def received(self, made: _Made) -> Any:
        """The value, out of its slot."""
        return made.value if self.slots is None else self.slots.take(made.value, made.number)


def _to_send(error: Exception) -> Exception:
    """The error itself where it can be sent to another process, with a note of where it happened."""
    if get_worker_info() is None:
        return error
    if not isinstance(error, UserError):
        error.add_note("In a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _processes(items: _Items, workers: int) -> Iterator[_Made]:
    loader = DataLoader(
        items,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=AHEAD,
        worker_init_fn=_obey_the_parent_only,
        multiprocessing_context="fork" if _FORKS else None,
        generator=torch.Generator(),  # otherwise a number of the caller's random sequence would be used up
    )
    with _child_signal_kept():
        return iter(loader)


@contextlib.contextmanager
def _child_signal_kept() -> Iterator[None]:
    """Undo torch's handler, which raises an error about a dead worker wherever the program happens to be.

    A dead worker is noticed in any case: where the next item is asked for.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)


def _obey_the_parent_only(worker: int) -> None:
    """Ctrl-C and a scheduler's signals reach all processes: the parent decides what they mean."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _as_it_is(item: Any) -> Any:
    return item
