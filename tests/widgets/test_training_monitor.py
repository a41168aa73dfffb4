"""TrainingMonitor in Python: what it keeps of a run, live and from a folder."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from atmorep_lite.config import Config, dump_config
from atmorep_lite.errors import UserError
from atmorep_lite.training.watch.session import Progress
from atmorep_lite.training.watch.trackers import open_trackers
from atmorep_lite.widgets import TrainingMonitor
from atmorep_lite.widgets.training_curve import Curve
from atmorep_lite.widgets.training_monitor import MOST_POINTS, by_lead
from tests.tiny import HEAT, WIND, coupled_fields, tiny_model, tiny_run
from tests.widgets.explorer_page import wait_for


def config(steps: int = 4) -> Config:
    stages = [{"part": "grid_skip", "steps": 3}, {"part": "transformer", "steps": steps}]
    return tiny_run(tiny_model(*coupled_fields()), stages=stages, trackers=())


def at(stage: int, step: int, steps: int = 4) -> Progress:
    due = step == steps
    return Progress(
        stage, ("grid_skip", "transformer")[stage], step, steps, 1 / (stage + step), 0.25 if due else None,
        float(step), float(steps - step), {WIND: 0.5 / step, HEAT: 2.0},
        {"rmse_over_persistence/mean/6h": 0.7, f"spread_over_error/{HEAT}/6h": 0.9} if due else None,
        samples_per_second=100.0, waiting=0.125, learning_rate=1e-3, gradient_norm=2.0, flops=1.0, peak=4.0,
    )  # fmt: skip


ALL = [at(0, k, 3) for k in range(1, 4)] + [at(1, k) for k in range(1, 5)]


def test_it_keeps_what_it_is_told() -> None:
    monitor = TrainingMonitor(config(), every=0.0)
    assert [s["steps"] for s in monitor.shown["stages"]] == [3, 4] and monitor.shown["now"] == {}
    for progress in ALL[:-1]:
        monitor(progress)
    shown = monitor.shown
    assert shown["curve"]["step"] == [1, 2, 3, 4, 5, 6] and shown["curve"]["stage"] == [0, 0, 0, 1, 1, 1]
    assert np.allclose(shown["curve"]["loss"], [p.loss for p in ALL[:-1]], rtol=1e-3)
    assert shown["curve"]["fields"][1] == [2.0] * 6 and shown["curve"]["waiting"] == [0.125] * 6
    assert [f["label"] for f in shown["fields"]] == ["u wind", "temperature"]
    assert shown["validation"] == [[3, 0.25]] and shown["scores"]["step"] == 3
    assert shown["now"]["step"] == 3 and shown["now"]["utilisation"] == 0.25 and not monitor.finished
    monitor(ALL[-1])
    assert monitor.shown["finished"]
    assert monitor.shown["scores"]["values"] == {
        "6h": {"mean": {"rmse_over_persistence": 0.7}, HEAT: {"spread_over_error": 0.9}}
    }
    json.dumps(monitor.shown)


def test_another_run_begins_anew() -> None:
    monitor = TrainingMonitor(config(), every=0.0)
    for progress in (*ALL, ALL[0]):
        monitor(progress)
    assert monitor.shown["curve"]["step"] == [1] and monitor.shown["validation"] == []


def test_the_page_does_not_hear_of_every_step() -> None:
    monitor = TrainingMonitor(config(1000), every=60.0)
    sent: list[object] = []
    monitor.observe(sent.append, "shown")
    for step in range(1, 301):
        monitor(Progress(1, "transformer", step, 1000, 1.0, 0.5 if step == 200 else None, 1.0, 1.0))
    assert len(sent) == 1, "with the validation only, as the last update was a moment ago"
    assert len(monitor.shown["curve"]["step"]) == 200


def test_long_runs_are_averaged() -> None:
    """20,000 steps in two stages: at most 400 points, each the mean of its steps, none across stages."""
    curve = Curve(MOST_POINTS)
    losses = np.random.default_rng(0).random(20_000)
    for step, loss in enumerate(losses):
        curve.add(int(step >= 7_001), step + 1, {"loss": float(loss), "late": 2.0 if step > 15_000 else None})
    columns = curve.columns(["late"])
    ends = columns["step"]
    assert len(ends) <= MOST_POINTS and len(ends) > MOST_POINTS / 4
    assert ends[-1] == 20_000 and 7_001 in ends
    begins = [0, *ends[:-1]]
    means = [losses[a:b].mean() for a, b in zip(begins, ends, strict=True)]
    assert np.allclose(columns["loss"], means, atol=1e-3)
    stages = [int(end > 7_001) for end in ends]
    assert columns["stage"] == stages
    assert columns["fields"][0][0] is None and columns["fields"][0][-1] == 2.0


def test_scores_are_sorted_by_lead() -> None:
    nested = by_lead({"rmse_over_persistence/a/3h": 0.5, "other/a/3h": 1.0, "loss": 2.0})
    assert nested == {"3h": {"a": {"rmse_over_persistence": 0.5}}}


def write_run(folder: Path, steps: int) -> None:
    with open_trackers(folder, config()) as track:
        for progress in ALL[:steps]:
            track(progress)


def test_a_folder_shows_the_same_as_the_run_itself(tmp_path: Path) -> None:
    write_run(tmp_path, 7)
    (tmp_path / "config.yaml").write_text(dump_config(config()))
    live = TrainingMonitor(config())
    for progress in ALL:
        live(progress)
    live.send_shown()
    assert TrainingMonitor.of(tmp_path).shown == live.shown
    (tmp_path / "config.yaml").unlink()
    bare = TrainingMonitor.of(tmp_path, follow=False)
    assert bare.shown["curve"] == live.shown["curve"], "without its configuration the curve is the same"


def test_a_running_folder_is_followed(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    (tmp_path / "config.yaml").write_text(dump_config(config()))
    with (tmp_path / "log.csv").open("a") as file:
        file.write("0,grid_skip,3,0.3")  # a row that is being written
    monitor = TrainingMonitor.of(tmp_path, every=0.02)
    assert monitor.shown["curve"]["step"] == [1, 2] and monitor.meta["title"] == f"Training in {tmp_path}"
    write_run(tmp_path, 7)
    wait_for(lambda: monitor.finished and monitor.shown["finished"], 10)
    assert len(monitor.shown["curve"]["step"]) == 7
    wait_for(lambda: not any(t.name.startswith("follow") for t in threading.enumerate()), 10)


def test_following_can_be_ended(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    monitor = TrainingMonitor.of(tmp_path, every=0.02)
    monitor.stop()
    wait_for(lambda: not any(t.name.startswith("follow") for t in threading.enumerate()), 10)
    write_run(tmp_path, 7)
    time.sleep(0.1)
    assert len(monitor.shown["curve"]["step"]) == 2


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    assert "holds no log.csv" in str(TrainingMonitor.of(tmp_path).fault)
    with pytest.raises(UserError, match=r"holds no log\.csv"):
        TrainingMonitor.of(tmp_path).to_html(tmp_path / "page.html")
    assert "a Config or None was expected" in str(TrainingMonitor("demo").fault)  # type: ignore[arg-type]
    assert "folder is 5" in str(TrainingMonitor.of(5).fault)  # type: ignore[arg-type]
    (tmp_path / "log.csv").write_text("stage,step\nfirst,1\n")
    assert "cannot be read" in str(TrainingMonitor.of(tmp_path).fault)


def test_closing_the_widget_ends_the_following(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    monitor = TrainingMonitor.of(tmp_path, every=0.02)
    assert any(t.name == f"follow {tmp_path}" for t in threading.enumerate())
    monitor.close()
    wait_for(lambda: not any(t.name == f"follow {tmp_path}" for t in threading.enumerate()), 10)


def test_a_run_that_blew_up_has_gaps(tmp_path: Path) -> None:
    monitor = TrainingMonitor()
    for step, loss in enumerate((0.5, float("nan"), float("inf")), 1):
        monitor(Progress(0, "all", step, 3, loss, loss, 1.0, 1.0, {"temperature": loss}))
    monitor.send_shown()
    assert monitor.shown["curve"]["loss"] == [0.5, None, None]
    assert monitor.shown["validation"] == [[1, 0.5]] and monitor.shown["now"]["loss"] is None
    monitor.to_html(tmp_path / "page.html")


def test_state_and_script_are_small(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "atmorep_lite" / "widgets"
    assert (folder / "training_monitor.js").stat().st_size < 15_000
    monitor = TrainingMonitor(title="A & B </script>")
    names = [f"field_{i}" for i in range(6)]
    rng = np.random.default_rng(0)
    for step in range(1, 5_001):
        losses = dict(zip(names, rng.random(6).tolist(), strict=True))
        monitor._take(Progress(0, "all", step, 5_000, 0.5, None, 1.0, 1.0, losses, waiting=0.1))
    monitor.send_shown()
    assert len(json.dumps(monitor.shown)) < 40_000
    page = monitor.to_html(tmp_path / "new" / "monitor.html")
    assert page.stat().st_size < 80_000 and "https://" not in page.read_text(encoding="utf-8")
