"""Where the numbers of a run go: tables, TensorBoard, and other people's services if they are wanted.

``log.csv`` (a row a step) and ``scores.csv`` (a row a score) are always written; what else, says
``training.trackers``.  A tracker that fails is told once and left out; the run goes on.
"""

from __future__ import annotations

import contextlib
import csv
import io
import netrc
import os
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from atmorep_lite.config import Config
from atmorep_lite.training.watch.session import Progress

Done = tuple[int, int] | None
"""Stage and step that are done already; None for a run from its beginning."""


class Tracker(Protocol):
    """Takes every step's progress; ``close`` is called once, at the end."""

    def __call__(self, progress: Progress) -> None: ...

    def close(self) -> None: ...


@contextlib.contextmanager
def open_trackers(run_dir: Path, config: Config, done: Done = None) -> Iterator[Callable[[Progress], None]]:
    """All trackers of a run as one function of :class:`Progress`; in the first process only.

    Parameters
    ----------
    run_dir
        The run's folder; it receives ``log.csv``, ``scores.csv`` and a folder for each of the others.
    config
        Says which ones are wanted (``training.trackers``) and which fields have losses.
    done
        Of a resumed run: steps after it are forgotten, since they will be done again.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[], Tracker]] = {
        "log.csv": lambda: Log(run_dir / "log.csv", done, predicted(config)),
        "scores.csv": lambda: Scores(run_dir / "scores.csv", done),
    }
    services: dict[str, Callable[[Path, Config, Done], Tracker]] = {
        "tensorboard": TensorBoard,
        "wandb": WeightsAndBiases,
        "mlflow": MLflow,
    }
    for service in config.training.trackers:
        makers[service] = partial(services[service], run_dir, config, done)
    running: dict[str, Tracker] = {}

    def attempt(name: str, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # whatever a service does wrong must not cost a training
            running.pop(name, None)
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            warnings.warn(f"{name} records nothing from here on: {reason}; the run goes on", stacklevel=3)

    def track(progress: Progress) -> None:
        for name, tracker in list(running.items()):
            attempt(name, partial(tracker, progress))

    def start(name: str) -> None:
        running[name] = makers[name]()

    for name in makers:
        attempt(name, partial(start, name))
    try:
        yield track
    finally:
        for name, tracker in list(running.items()):
            attempt(name, tracker.close)


def predicted(config: Config) -> tuple[str, ...]:
    """Names of the fields that have a loss."""
    return tuple(f.name for f in config.model.fields if f.loss_weight > 0)


def numbers(progress: Progress) -> dict[str, float]:
    """All that a step has measured, by name; groups are written ``group/name``."""
    p = progress
    named = {
        "loss": p.loss,
        "validation": p.validation,
        **{f"loss_of/{name}": value for name, value in p.per_field.items()},
        "speed/samples_per_second": p.samples_per_second,
        "speed/waiting": p.waiting,
        "speed/flop_utilisation": p.utilisation,
        "optimizer/learning_rate": p.learning_rate,
        "optimizer/gradient_norm": p.gradient_norm,
        "optimizer/skipped": float(p.skipped),
        **(p.scores or {}),
    }
    return {name: value for name, value in named.items() if value is not None}


def global_step(progress: Progress, config: Config) -> int:
    """Steps done since the beginning of the run, earlier stages included."""
    return sum(stage.steps for stage in config.training.stages[: progress.stage]) + progress.step


class Table:
    """A CSV file that a resumed run continues: rows after (stage, step) = ``done`` go, none is doubled.

    A last row that was cut off in the middle goes too.  Rows of a file with fewer columns are kept, with
    empty cells.
    """

    def __init__(self, path: Path, done: Done, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        kept = []
        if done is not None and path.exists():
            whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
            for row in csv.DictReader(io.StringIO(whole)):
                with contextlib.suppress(TypeError, ValueError):  # a damaged row
                    if (int(row["stage"]), int(row["step"])) <= done:
                        kept.append([row.get(name) or "" for name in self.columns])
        fresh = path.with_name(f".{path.name}.unfinished")
        with fresh.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows((self.columns, *kept))
        os.replace(fresh, path)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        """Append rows; they are in the file when this returns."""
        self._rows.writerows(rows)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Log(Table):
    """``log.csv``: one row a step."""

    def __init__(self, path: Path, done: Done, fields: Sequence[str]) -> None:
        self._fields = tuple(fields)
        super().__init__(
            path,
            done,
            (
                *("stage", "part", "step", "loss", "validation", "seconds"),
                *("seconds_left", "samples_per_second", "waiting", "learning_rate", "gradient_norm"),
                *("skipped", "flop_utilisation"),
                *(f"loss_of_{name}" for name in self._fields),
            ),
        )

    def __call__(self, progress: Progress) -> None:
        p = progress
        row = [p.stage, p.part, p.step, _text(p.loss), _text(p.validation), f"{p.seconds:.2f}"]
        measured = (p.samples_per_second, p.waiting, p.learning_rate, p.gradient_norm)
        row += [f"{p.seconds_left:.1f}", *map(_text, measured), p.skipped, _text(p.utilisation)]
        self.write([row + [_text(p.per_field.get(name)) for name in self._fields]])


class Scores(Table):
    """``scores.csv``: one row for each score of each validation."""

    def __init__(self, path: Path, done: Done) -> None:
        super().__init__(path, done, ("stage", "step", "score", "value"))

    def __call__(self, progress: Progress) -> None:
        scores = progress.scores or {}
        self.write([(progress.stage, progress.step, name, _text(value)) for name, value in scores.items()])


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


class TensorBoard:
    """Event files in ``tensorboard/``; look at them with ``tensorboard --logdir``.

    A resumed run begins a new file, which tells readers to forget the steps that it does again.  Its first
    step is in its name, since names otherwise go by the second.
    """

    def __init__(self, run_dir: Path, config: Config, done: Done) -> None:
        writer: Any = import_module("tensorboardX").SummaryWriter
        self._config = config
        stage, step = done or (0, 0)
        first = sum(s.steps for s in config.training.stages[:stage]) + step + 1
        self._writer = writer(
            str(run_dir / "tensorboard"), purge_step=first, flush_secs=20, filename_suffix=f".{first:09d}"
        )

    def __call__(self, progress: Progress) -> None:
        step = global_step(progress, self._config)
        for name, value in numbers(progress).items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases; without an account, kept in ``wandb/`` until ``wandb sync``."""

    def __init__(self, run_dir: Path, config: Config, done: Done) -> None:
        wandb: Any = import_module("wandb")
        self._config = config
        identity = _remembered(run_dir / "wandb_run_id", done) or uuid.uuid4().hex[:8]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "atmorep-lite"),
            name=run_dir.resolve().name,
            id=identity,
            dir=str(run_dir),
            mode=None if _has_account() else "offline",
            resume="allow",
            config=config.model_dump(mode="json"),
        )
        (run_dir / "wandb_run_id").write_text(identity)

    def __call__(self, progress: Progress) -> None:
        self._run.log(numbers(progress), step=global_step(progress, self._config))

    def close(self) -> None:
        self._run.finish()


def _has_account() -> bool:
    """Whether Weights & Biases is told how to work: by its variables, or by ``wandb login``."""
    if os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class MLflow:
    """A run of MLflow, kept in ``mlflow.db`` unless ``MLFLOW_TRACKING_URI`` names another place."""

    def __init__(self, run_dir: Path, config: Config, done: Done) -> None:
        mlflow: Any = import_module("mlflow")
        self._config = config
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{(run_dir / 'mlflow.db').resolve()}")
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "atmorep-lite"))
        self._mlflow = mlflow
        known = _remembered(run_dir / "mlflow_run_id", done)
        run = mlflow.start_run(run_id=known, run_name=None if known else run_dir.resolve().name)
        (run_dir / "mlflow_run_id").write_text(run.info.run_id)
        history = [] if known is None else mlflow.MlflowClient().get_metric_history(known, "loss")
        self._recorded = max((entry.step for entry in history), default=0)
        if known is None:
            mlflow.log_dict(config.model_dump(mode="json"), "config.json")

    def __call__(self, progress: Progress) -> None:
        step = global_step(progress, self._config)
        if step > self._recorded:  # steps done again give the same numbers
            self._mlflow.log_metrics(numbers(progress), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


def _remembered(path: Path, done: Done) -> str | None:
    """By which name a service knows a run that is resumed; None if it does not."""
    return path.read_text().strip() if done is not None and path.exists() else None
