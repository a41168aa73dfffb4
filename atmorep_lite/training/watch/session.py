"""What surrounds a run: what is told of a step, requests to stop, and a setting of the processor."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

#: Signals that ask a run to stop; Windows has no SIGUSR1.
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


@dataclass(frozen=True)
class Progress:
    """Where a run is; given to ``report`` after every step.

    Attributes
    ----------
    stage, part, step, steps
        The stage's index (from 0), what learns in it, its steps done, its steps in all.
    loss, validation
        Training loss of the step; loss on the validation record, at the steps that measure it.
    seconds, seconds_left
        Since this process began (or resumed) the stage; what is expected to be left of the stage.
    per_field
        Training loss of every field, before fields are averaged.
    scores
        Scores on the validation record (:func:`.validation.validate`), where measured.
    samples_per_second
        Samples a second of all processes together, over the last steps.
    waiting
        Share of the time (0 to 1) that the step waited for data.
    learning_rate, gradient_norm
        Rate of the first optimizer group; norm of the gradient before it is clipped.
    skipped
        Steps skipped so far because of a spike or a loss that is not finite.
    flops, peak
        Floating-point operations a second that one process spends on the model, and that its device can do
        at most.
    """

    stage: int
    part: str
    step: int
    steps: int
    loss: float
    validation: float | None
    seconds: float
    seconds_left: float
    per_field: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] | None = None
    samples_per_second: float | None = None
    waiting: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    skipped: int = 0
    flops: float | None = None
    peak: float | None = None

    @property
    def utilisation(self) -> float | None:
        """Model FLOP utilisation (MFU): the share of the device's peak that goes into the model."""
        return self.flops / self.peak if self.flops and self.peak else None


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
    """Turn Ctrl-C, SIGTERM and SIGUSR1 into a question to ask between steps; a second Ctrl-C stops at once.

    SIGTERM and SIGUSR1 are what clusters send some time before they end a job.
    """
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    try:
        old = {number: signal.signal(number, ask) for number in STOPPING}
    except ValueError:  # not in the main thread, as in some notebooks: leave signals alone
        old = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
