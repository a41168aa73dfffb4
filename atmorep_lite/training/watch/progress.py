"""How a training run is shown in a terminal, or told in a file: stage, losses, speed, time left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from math import isfinite
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar as Line
from rich.table import Table
from rich.text import Text

from atmorep_lite.training.watch.session import Progress

PART_NAMES = {
    "grid_skip": "grid-scale skip",
    "regression": "regression",
    "transformer": "transformer",
    "all": "all parts",
}
#: Share of the newest step in the running mean of the losses that are shown.
NEWEST = 0.05


class ProgressBar:
    """Context manager and callable: give it to ``train(report=...)``.

    In a terminal (and a notebook) a bar for each stage, with the losses and the speed of the running one; in
    a file, a plain line every ``every`` seconds, with each validation, and at the end of a stage.
    """

    def __init__(self, console: Console | None = None, *, every: float = 30.0) -> None:
        self._console = console or Console()
        self._live: Live | None = None
        self._every, self._told = every, float("-inf")
        self._stages: dict[int, Progress] = {}
        self._losses: dict[str, float] = {}
        self._held_out: list[str] = []

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
            self._live.stop()
            self._live = None

    def __call__(self, progress: Progress) -> None:
        """Show one step."""
        if progress.stage not in self._stages:
            self._losses, self._held_out = {}, []
        self._stages[progress.stage] = progress
        for name, value in {"": progress.loss, **progress.per_field}.items():
            before = self._losses.get(name, value)
            if not isfinite(before):
                before = value
            if isfinite(value) or name not in self._losses:  # a step that went wrong is not shown for ever
                self._losses[name] = value * NEWEST + before * (1 - NEWEST)
        if progress.validation is not None:
            self._held_out = [f"held out {_loss(progress.validation)}", *_skill(progress.scores or {})]
        if self._console.is_terminal or self._console.is_jupyter:
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._picture)
                self._live.start()
            return
        due = time.monotonic() >= self._told + self._every
        if due or progress.validation is not None or progress.step == progress.steps:
            self._told = time.monotonic()
            self._console.print(self._sentence(progress), soft_wrap=True, highlight=False, markup=False)

    def _picture(self) -> RenderableType:
        stages = Table.grid(padding=(0, 1))
        stages.add_column(min_width=15, no_wrap=True)
        stages.add_column(ratio=1)
        for _ in range(2):
            stages.add_column(justify="right", no_wrap=True)
        stages.expand = True
        newest = list(self._stages.values())[-1:]
        for p in self._stages.values():
            left = f"{_clock(p.seconds_left)} left" if p in newest and p.step < p.steps else _clock(p.seconds)
            bar = Line(total=p.steps, completed=p.step)
            stages.add_row(PART_NAMES[p.part], bar, f"{p.step}/{p.steps}", left)
        lines = []
        for p in newest:
            for words, style in ((self._total(), ""), (self._fields(), ""), (_speed(p), "dim")):
                lines += [Text(line, style=style) for line in wrapped(words, self._console.width)]
        return Group(stages, *lines)

    def _total(self) -> list[str]:
        return [f"loss {_loss(self._losses[''])}", *self._held_out]

    def _fields(self) -> list[str]:
        fields = [f"{short(name)} {_loss(value)}" for name, value in self._losses.items() if name]
        return fields if len(fields) > 1 else []

    def _sentence(self, p: Progress) -> str:
        left = f"{_clock(p.seconds_left)} left" if p.step < p.steps else f"done in {_clock(p.seconds)}"
        stage = f"{PART_NAMES[p.part]} {p.step}/{p.steps}"
        return " · ".join([stage, *self._total(), *self._fields(), *_speed(p), left])


def wrapped(words: list[str], width: int) -> list[str]:
    """Words joined by dots, in lines of at most ``width`` characters that begin with two spaces."""
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} · {word}" if lines else ""
        if lines and len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(f"  {word}")
    return lines


def _speed(p: Progress) -> list[str]:
    """What is known of speed and optimiser, in words."""
    words = []
    if p.samples_per_second is not None:
        words.append(f"{p.samples_per_second:.3g} samples/s")
    if p.waiting is not None:
        words.append(f"waiting for data {100 * p.waiting:.0f} %")
    if p.utilisation is not None:
        words.append(f"MFU {100 * p.utilisation:.0f} %")
    if p.learning_rate is not None:
        words.append(f"rate {p.learning_rate:.1e}")
    if p.gradient_norm is not None:
        words.append(f"gradient {p.gradient_norm:.2g}")
    if p.skipped:
        words.append(f"skipped {p.skipped}")
    return words


def short(name: str) -> str:
    """A field's name as narrow places have it: ``u_component_of_wind`` as ``u wind``."""
    return name.replace("_component_of_wind", " wind").replace("_", " ")


def _skill(scores: Mapping[str, float]) -> list[str]:
    """The mean error at the longest lead relative to that of persistence."""
    begin = "rmse_over_persistence/mean/"
    leads = [(name.removeprefix(begin), value) for name, value in scores.items() if name.startswith(begin)]
    return [f"error {value:.2f} of persistence at {lead}" for lead, value in leads[-1:]]


def _loss(value: float) -> str:
    return f"{value:.3f}" if abs(value) >= 0.01 else f"{value:.2e}"


def _clock(seconds: float) -> str:
    """``0:01:23``; with days where there are some."""
    return str(timedelta(seconds=round(seconds)))
