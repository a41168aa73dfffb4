"""What surrounds a run: requests to stop, the log, and a setting of the processor."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Progress:
    """Where a run is; given to ``report`` after every step."""

    stage: int
    part: str
    step: int
    steps: int
    loss: float
    validation: float | None
    seconds: float
    seconds_left: float


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Treat numbers below 1e-38 as 0 meanwhile: they make a step on a CPU up to three times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a question to ask between steps; a second Ctrl-C stops at once."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    try:
        old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, as in some notebooks: leave signals alone
        old = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class Log:
    """``log.csv``: one row per step.  A resumed run drops rows after its (stage, step), written anew."""

    columns = ("stage", "part", "step", "loss", "validation", "seconds")

    def __init__(self, path: Path, done: tuple[int, int] | None) -> None:
        kept = []
        if done is not None and path.exists():
            rows = [row for row in csv.reader(path.read_text().splitlines()) if len(row) == len(self.columns)]
            kept = [row for row in rows[1:] if (int(row[0]), int(row[2])) <= done]
        self._file = path.open("w", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerows((self.columns, *kept))

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, p: Progress) -> None:
        held_out = "" if p.validation is None else f"{p.validation:.6g}"
        self._rows.writerow((p.stage, p.part, p.step, f"{p.loss:.6g}", held_out, f"{p.seconds:.2f}"))
        self._file.flush()
