"""What a run leaves behind is whole after any stop, and no service can stop a run."""

from __future__ import annotations

import csv
import struct
import sys
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from atmorep_lite.config import Config
from atmorep_lite.training.watch import trackers
from atmorep_lite.training.watch.session import Progress
from atmorep_lite.training.watch.trackers import Log, global_step, numbers, open_trackers
from tests.tiny import HEAT, WIND, coupled_fields, tiny_model, tiny_run

OLD = ["stage", "part", "step", "loss", "validation", "seconds"]
#: Stages of 4 steps each, as in ``tiny_run``.
STEPS = [(stage, step) for stage in (0, 1) for step in range(1, 5)]


def run(*names: str) -> Config:
    return tiny_run(tiny_model(*coupled_fields()), trackers=names)


def at(stage: int, step: int) -> Progress:
    scores = {"rmse_over_persistence/mean/6h": 0.7} if step % 2 == 0 else None
    return Progress(
        stage, "all", step, 4, 1 / (1 + 4 * stage + step), 0.5 if scores else None, 1.5 * step, 2.0,
        per_field={WIND: 0.1 * step, HEAT: 0.3}, scores=scores, samples_per_second=10.0, waiting=0.25,
        learning_rate=1e-3, gradient_norm=0.5, flops=1.0, peak=4.0,
    )  # fmt: skip


def record(
    folder: Path, config: Config, steps: list[tuple[int, int]], done: tuple[int, int] | None = None
) -> None:
    with open_trackers(folder, config, done) as track:
        for stage, step in steps:
            track(at(stage, step))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def events(folder: Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of all event files, as TensorBoard reads them: a START cuts off what it repeats."""
    Event: Any = import_module("tensorboardX.proto.event_pb2").Event
    found: list[tuple[str, int, float]] = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):  # TFRecord: length, its checksum, the event, its checksum
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4
            if event.HasField("session_log"):
                found = [f for f in found if f[1] < event.step]
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        assert at == len(data)
    return found


def test_the_log_keeps_its_old_columns_first(tmp_path: Path) -> None:
    record(tmp_path, run(), STEPS)
    log = rows(tmp_path / "log.csv")
    assert list(log[0])[:6] == OLD
    assert [(int(r["stage"]), int(r["step"])) for r in log] == STEPS
    assert log[2]["loss"] == "0.25" and log[2]["validation"] == "" and log[3]["validation"] == "0.5"
    assert log[1][f"loss_of_{WIND}"] == "0.2" and log[1]["flop_utilisation"] == "0.25"
    scores = rows(tmp_path / "scores.csv")
    assert [(r["stage"], r["step"], r["value"]) for r in scores] == [
        (str(s), str(k), "0.7") for s, k in STEPS if k % 2 == 0
    ]
    assert not (tmp_path / "tensorboard").exists(), "it was not asked for"


@pytest.mark.parametrize("done", [None, (0, 2), (0, 4), (1, 3)])
@pytest.mark.parametrize("cut", [0, 1, 7])
def test_a_resumed_run_has_every_row_once(tmp_path: Path, done: tuple[int, int] | None, cut: int) -> None:
    """Killed after (1, 4), in the middle of a row; resumed from an earlier checkpoint, twice."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    record(whole, run("tensorboard"), STEPS)
    record(parts, run("tensorboard"), STEPS)
    for name in ("log.csv", "scores.csv"):
        content = (parts / name).read_bytes()
        (parts / name).write_bytes(content[: len(content) - cut] if cut else content)
    for _ in range(2):
        record(parts, run("tensorboard"), [s for s in STEPS if done is None or s > done], done)
    for name in ("log.csv", "scores.csv"):
        assert (parts / name).read_text() == (whole / name).read_text()
    assert sorted(events(parts / "tensorboard")) == sorted(events(whole / "tensorboard"))


def test_a_log_of_an_older_version_is_continued(tmp_path: Path) -> None:
    old = tmp_path / "log.csv"
    old.write_text(
        ",".join(OLD) + "\n0,all,1,0.5,,1.00\n0,all,2,0.4,0.45,2.00\n0,all,x,0.4,0.45,2.00\n0,all\n"
    )
    log = Log(old, (0, 2), (WIND,))
    log(at(0, 3))
    log.close()
    found = rows(old)
    assert [(r["step"], r["loss"]) for r in found] == [("1", "0.5"), ("2", "0.4"), ("3", "0.25")]
    assert found[0][f"loss_of_{WIND}"] == "" and found[2][f"loss_of_{WIND}"] == "0.3"


def test_tensorboard_files_hold_every_number(tmp_path: Path) -> None:
    config = run("tensorboard")
    record(tmp_path, config, STEPS)
    found = {(tag, step): value for tag, step, value in events(tmp_path / "tensorboard")}
    expected = {(name, global_step(at(*s), config)): v for s in STEPS for name, v in numbers(at(*s)).items()}
    assert found == pytest.approx(expected)
    assert {step for _, step in found} == set(range(1, 9))


class FakeWandb(ModuleType):
    """As much of wandb as is used."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[dict[str, Any]] = []
        self.logged: dict[int, dict] = {}
        self.finished = 0

    def init(self, **options: Any) -> FakeWandb:
        self.calls.append(options)
        return self

    def log(self, values: dict, *, step: int) -> None:
        self.logged[step] = values

    def finish(self) -> None:
        self.finished += 1


class FakeMLflow(ModuleType):
    """As much of MLflow as is used."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.runs: list[str | None] = []
        self.logged: dict[int, dict] = {}
        self.ended = 0
        self.place = ""

    def set_tracking_uri(self, place: str) -> None:
        self.place = place

    def set_experiment(self, name: str) -> None:
        assert name == "atmorep-lite"

    def start_run(self, run_id: str | None, run_name: str | None) -> Any:
        self.runs.append(run_id)
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id or "run7"))

    def log_dict(self, content: dict, name: str) -> None:
        assert content["training"]["seed"] == 0 and name == "config.json"

    def MlflowClient(self) -> FakeMLflow:
        return self

    def get_metric_history(self, run_id: str, name: str) -> list[SimpleNamespace]:
        assert run_id == "run7" and name == "loss"
        return [SimpleNamespace(step=step) for step in self.logged]

    def log_metrics(self, values: dict, *, step: int) -> None:
        assert step not in self.logged, "recorded twice"
        self.logged[step] = values

    def end_run(self) -> None:
        self.ended += 1


def test_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for name in ("MODE", "PROJECT", "API_KEY", "BASE_URL"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "mine"
    record(folder, run("wandb"), STEPS[:5])
    record(folder, run("wandb"), STEPS[4:], (0, 4))
    first, second = fake.calls
    assert first["mode"] == "offline" and first["project"] == "atmorep-lite" and first["name"] == "mine"
    assert first["id"] == second["id"] and first["dir"] == str(folder)
    assert set(fake.logged) == set(range(1, 9)) and fake.finished == 2
    assert fake.logged[5] == numbers(at(1, 1))
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password none\n")
    (tmp_path / ".netrc").chmod(0o600)
    record(folder, run("wandb"), STEPS[:1])
    assert fake.calls[-1]["mode"] is None and fake.calls[-1]["id"] != first["id"], "another run, online"


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    record(tmp_path, run("mlflow"), STEPS[:6])
    record(tmp_path, run("mlflow"), STEPS[4:], (0, 4))  # two steps are done again
    assert fake.runs == [None, "run7"] and fake.ended == 2
    assert fake.place == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert set(fake.logged) == set(range(1, 9)) and fake.logged[8] == numbers(at(1, 4))


def test_a_service_that_is_not_installed_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.warns(UserWarning, match="wandb records nothing from here on.*the run goes on") as told:
        record(tmp_path, run("wandb", "tensorboard"), STEPS)
    assert len(told) == 1
    assert len(rows(tmp_path / "log.csv")) == 8 and (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_service_that_fails_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise ConnectionError("no network")

    fake = FakeWandb()
    setattr(fake, where, fail)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with pytest.warns(UserWarning, match="wandb records nothing from here on: no network") as told:
        record(tmp_path, run("wandb"), STEPS)
    assert len(told) == 1
    assert len(rows(tmp_path / "log.csv")) == 8


def test_a_full_disk_does_not_stop_a_run_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Log, progress: Progress) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trackers.Log, "__call__", full)
    with pytest.warns(UserWarning, match=r"log\.csv records nothing.*No space left"):
        record(tmp_path, run(), STEPS)
    assert len(rows(tmp_path / "scores.csv")) == 4


def test_errors_of_the_run_itself_pass_through(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_trackers(tmp_path, run("tensorboard")) as track:
        track(at(0, 1))
        raise KeyboardInterrupt
    assert len(rows(tmp_path / "log.csv")) == 1 and len(events(tmp_path / "tensorboard")) > 5


def test_what_was_not_measured_is_left_out() -> None:
    bare = Progress(0, "all", 1, 2, 0.5, None, 1.0, 1.0)
    assert numbers(bare) == {"loss": 0.5, "optimizer/skipped": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "speed/flop_utilisation" not in numbers(replace(at(0, 1), peak=None))
