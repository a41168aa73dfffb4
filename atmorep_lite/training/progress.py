"""A progress bar for training: stage, loss (smoothed), time left."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from atmorep_lite.training.session import Progress as Step

PART_NAMES = {
    "grid_skip": "grid-scale skip",
    "regression": "regression",
    "transformer": "transformer",
    "all": "all parts",
}


class ProgressBar:
    """Context manager and callable: give it to ``train(report=...)``."""

    def __init__(self, console: Console | None = None) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}{task.fields[held_out]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            refresh_per_second=4,
        )
        self._tasks: dict[int, TaskID] = {}
        self._loss: dict[int, float] = {}

    def __enter__(self) -> ProgressBar:
        self._bars.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, step: Step) -> None:
        """Show one step."""
        smooth = 0.95 * self._loss.get(step.stage, step.loss) + 0.05 * step.loss
        self._loss[step.stage] = smooth
        if step.stage not in self._tasks:
            name = PART_NAMES[step.part]
            self._tasks[step.stage] = self._bars.add_task(name, total=step.steps, loss=smooth, held_out="")
        if step.validation is not None:
            held_out = f", held out {step.validation:.3f}"
            self._bars.update(self._tasks[step.stage], held_out=held_out)
        self._bars.update(self._tasks[step.stage], completed=step.step, loss=smooth)
