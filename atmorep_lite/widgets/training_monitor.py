"""TrainingMonitor: a training run while it runs, or afterwards; losses, skill, speed, time left."""

from __future__ import annotations

import csv
import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import traitlets

from atmorep_lite.config import Config, load_config
from atmorep_lite.errors import UserError
from atmorep_lite.training.watch.progress import PART_NAMES, short
from atmorep_lite.training.watch.session import Progress
from atmorep_lite.widgets.explorer import Content, Explorer, is_number
from atmorep_lite.widgets.training_curve import MEASURED, Curve

MOST_POINTS = 400
SCORES = ("rmse_over_persistence", "rmse_over_climatology", "spread_over_error", "small_scale_power")
NOW = (
    *("stage", "step", "steps", "loss", "seconds_left", "samples_per_second", "waiting", "learning_rate"),
    *("gradient_norm", "skipped", "utilisation"),
)


class TrainingMonitor(Explorer, module="training_monitor", heading="Training"):
    """Loss of every field on a logarithmic axis, held-out loss, skill, speed and time left of a run.

    Show it, then give it to ``train``: it keeps up while the cell runs.  :meth:`of` shows the folder of a run
    that runs elsewhere or has ended.

    Parameters
    ----------
    config
        Of the run, if known: then the stages to come are shown too.
    title, caption
        Shown above and below.
    every
        Seconds between updates of the page, at least.

    Attributes
    ----------
    shown : dict
        What the page shows: ``stages``, ``fields``, ``curve`` (means over neighbouring steps, at most 400
        points), ``validation``, ``scores``, ``now``.

    Examples
    --------
    In a notebook::

        monitor = TrainingMonitor(config)
        display(monitor)
        train(config, "runs/mine", report=monitor)
    """

    live: ClassVar[tuple[str, ...]] = ("shown",)

    shown = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        config: Config | None = None,
        *,
        title: str | None = None,
        caption: str | None = None,
        every: float = 0.5,
    ) -> None:
        self._given: list[tuple[str, int]] = []
        self._every, self._sent = every, float("-inf")
        self._stopping = threading.Event()

        def make() -> Content:
            if not isinstance(config, Config | None):
                raise UserError(
                    f"The config is {config!r}, where a Config or None was expected: give what load_config "
                    "returns."
                )
            if not is_number(every) or every < 0:
                raise UserError(
                    f"The time between updates is {every!r}, where 0 seconds or more was expected."
                )
            if config is not None:
                self._given = [(stage.part, stage.steps) for stage in config.training.stages]
            return Content({}, {})

        super().__init__(make, title=title, caption=caption)
        self._forget()
        self.send_shown()

    @classmethod
    def of(
        cls, run_dir: str | os.PathLike[str], *, follow: bool = True, every: float = 2.0, **options: Any
    ) -> TrainingMonitor:
        """A monitor of the run in a folder, from its ``log.csv`` and ``scores.csv``.

        Parameters
        ----------
        run_dir
            The run's folder.
        follow
            Look again every ``every`` seconds, in the background, until the run is finished, or :meth:`stop`
            or ``close`` is called.
        options
            As of the class.

        Returns
        -------
        TrainingMonitor
            With a ``fault`` where the folder holds no log, or none that can be read.
        """
        try:
            folder = Path(run_dir)
        except TypeError:
            return cls._at_fault(f"The folder is {run_dir!r}, where that of a run was expected.", options)
        if not (folder / "log.csv").is_file():
            return cls._at_fault(f"{folder} holds no log.csv: give the folder of a run (--run-dir).", options)
        try:
            config = load_config(str(folder / "config.yaml")) if (folder / "config.yaml").exists() else None
            monitor = cls(config, **{"title": f"Training in {folder}"} | options)
            monitor._read(folder)
        except UserError as error:
            return cls._at_fault(str(error), options)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return cls._at_fault(f"The log of {folder} cannot be read ({error}): train anew.", options)
        if follow and not monitor.finished and not monitor.fault:
            threading.Thread(
                target=monitor._follow, args=(folder, every), daemon=True, name=f"follow {folder}"
            ).start()
        return monitor

    @classmethod
    def _at_fault(cls, sentence: str, options: Mapping[str, Any]) -> TrainingMonitor:
        """A monitor that shows a sentence."""
        monitor = cls(**options)
        monitor.meta = {**monitor.meta, "fault": monitor.fault or sentence}
        return monitor

    def __call__(self, progress: Progress) -> None:
        """Take in one step; the page hears of it at once or with a later one."""
        self._take(progress)
        due = time.monotonic() >= self._sent + self._every
        if due or progress.validation is not None or progress.step == progress.steps:
            self.send_shown()

    @property
    def finished(self) -> bool:
        """Whether the last stage has all its steps; not known without the configuration."""
        newest = self._newest
        if newest is None or newest.step < newest.steps:
            return False
        return newest.stage == len(self._stages) - 1 and bool(self._given)

    def stop(self) -> None:
        """Look no longer at the folder."""
        self._stopping.set()

    def close(self) -> None:
        """Look no longer at the folder, and take the widget off the page."""
        self.stop()
        super().close()

    def send_shown(self) -> None:
        """Tell the page all that is known."""
        self._sent = time.monotonic()
        now = self._newest
        told: dict[str, Any] = {
            "stages": [{"name": PART_NAMES.get(part, part), "steps": steps} for part, steps in self._stages],
            "fields": [{"name": name, "label": short(name)} for name in self._fields],
            "curve": self._curve.columns(self._fields),
            "validation": self._validation,
            "scores": {"step": self._scored, "values": self._scores},
            "now": {} if now is None else {name: getattr(now, name) for name in NOW},
            "finished": self.finished,
        }
        self.shown = _gaps(told)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write a stand-alone page that needs no network and no kernel; returns its path."""
        self.send_shown()
        return super().to_html(path)

    def _forget(self) -> None:
        self._stages = list(self._given)
        self._curve = Curve(MOST_POINTS)
        self._fields: list[str] = []
        self._validation: list[list[float]] = []
        self._scores: dict[str, dict[str, dict[str, float]]] = {}
        self._scored = 0
        self._newest: Progress | None = None

    def _take(self, p: Progress) -> None:
        if self._newest is not None and (p.stage, p.step) <= (self._newest.stage, self._newest.step):
            self._forget()  # another run
        while len(self._stages) <= p.stage:
            self._stages.append((p.part, p.steps))
        self._newest = p
        self._fields += [name for name in p.per_field if name not in self._fields]
        step = sum(steps for _, steps in self._stages[: p.stage]) + p.step
        measured = {name: getattr(p, name) for name in MEASURED}
        self._curve.add(p.stage, step, {"loss": p.loss, **measured, **p.per_field})
        if p.validation is not None and math.isfinite(p.validation):
            self._validation.append([step, p.validation])
        if p.scores:
            self._scores, self._scored = by_lead(p.scores), step

    def _read(self, folder: Path) -> None:
        """Everything anew from the folder's tables."""
        scores: dict[tuple[int, int], dict[str, float]] = {}
        for row in _rows(folder / "scores.csv"):
            scores.setdefault((int(row["stage"]), int(row["step"])), {})[row["score"]] = float(row["value"])
        self._forget()
        rows = _rows(folder / "log.csv")
        last = {int(row["stage"]): int(row["step"]) for row in rows}
        for row in rows:
            stage, step = int(row["stage"]), int(row["step"])
            self._take(
                Progress(
                    stage=stage,
                    part=row["part"],
                    step=step,
                    steps=self._given[stage][1] if stage < len(self._given) else last[stage],
                    loss=float(row["loss"]),
                    validation=_number(row, "validation"),
                    seconds=float(row["seconds"]),
                    seconds_left=_number(row, "seconds_left") or 0.0,
                    per_field={
                        name.removeprefix("loss_of_"): float(value)
                        for name, value in row.items()
                        if name.startswith("loss_of_") and value
                    },
                    scores=scores.get((stage, step)),
                    samples_per_second=_number(row, "samples_per_second"),
                    waiting=_number(row, "waiting"),
                    learning_rate=_number(row, "learning_rate"),
                    gradient_norm=_number(row, "gradient_norm"),
                    skipped=int(_number(row, "skipped") or 0),
                    flops=_number(row, "flop_utilisation"),
                    peak=1.0,
                )
            )
        self.send_shown()

    def _follow(self, folder: Path, every: float) -> None:
        seen = 0
        pause = every
        while not self._stopping.wait(pause) and not self.finished:
            try:
                changed = (folder / "log.csv").stat().st_mtime_ns
                if changed == seen:
                    continue
                started = time.monotonic()
                self._read(folder)
                seen = changed
                pause = max(
                    every, 10 * (time.monotonic() - started)
                )  # of long logs the pages hear less often
            except (OSError, ValueError):  # the file is being replaced: look again later
                continue


def by_lead(scores: Mapping[str, float]) -> dict[str, dict[str, dict[str, float]]]:
    """``{"<score>/<field>/<lead>": value}`` as ``{lead: {field: {score: value}}}``, leads in their order."""
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for name, value in scores.items():
        score, _, rest = name.partition("/")
        field, _, lead = rest.partition("/")
        if score in SCORES and lead:
            nested.setdefault(lead, {}).setdefault(field, {})[score] = float(f"{value:.4g}")
    return nested


def _gaps(told: Any) -> Any:
    """The same with None for what is not finite, as of a run that blew up: JSON has no word for it."""
    if isinstance(told, Mapping):
        return {name: _gaps(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_gaps(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


def _rows(path: Path) -> list[dict[str, str]]:
    """Whole rows of a table; none if there is no such file."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [row for row in csv.DictReader(whole.splitlines()) if None not in row.values()]


def _number(row: Mapping[str, str], name: str) -> float | None:
    text = row.get(name)
    return float(text) if text else None
