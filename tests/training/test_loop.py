"""Whole runs of a few steps: exact resumption, clean stops, refusals, and that something is learnt."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from atmorep_lite.config import TASKS, Config, StageConfig, dump_config, parse_config
from atmorep_lite.data import source
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.training import batch_loss, loop, stages
from atmorep_lite.training.batch_loss import BatchLoss, PartLoss
from atmorep_lite.training.ema import WeightMean
from atmorep_lite.training.loop import fit_normalizer, open_source, train, training_loss
from atmorep_lite.training.parts import parts_of_stage
from atmorep_lite.training.processes import ALONE, Processes
from atmorep_lite.training.watch.session import Progress
from tests.tiny import HEAT, WIND, coupled_fields, tiny_field, tiny_model, tiny_run, wave

pytestmark = pytest.mark.filterwarnings("ignore:.* times of the validation data are training data")


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record called ``wave`` instead of a file."""
    data = wave(times=14)
    monkeypatch.setattr(loop, "open_source", lambda name, period=None: data)
    monkeypatch.setattr(stages, "validate", lambda *_, **__: {})  # has tests of its own


def stop_after(count: int):
    """A report that asks the run to stop, as a cluster does, after so many steps."""
    seen: list[Progress] = []

    def report(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == count:
            os.kill(os.getpid(), signal.SIGTERM)

    return report


def same_weights(a: AtmoRep, b: AtmoRep) -> bool:
    states = a.state_dict(), b.state_dict()
    return all(torch.equal(states[0][k], states[1][k]) for k in {**states[0], **states[1]})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> AtmoRep:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "open_source", lambda name, period=None: wave(times=14))
        patch.setattr(stages, "validate", lambda *_, **__: {})
        model = train(tiny_run(), tmp_path_factory.mktemp("whole") / "run")
    assert model is not None
    return model


@pytest.mark.parametrize("count", [1, 4, 6, 8])  # first step; end of stage 0; between checkpoints; last step
def test_a_stopped_run_resumes_exactly(tmp_path: Path, uninterrupted: AtmoRep, count: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert train(tiny_run(), tmp_path, report=stop_after(count)) is None
    assert signal.getsignal(signal.SIGTERM) is before, "handlers are put back"
    assert not (tmp_path / "model.safetensors").exists()
    torch.manual_seed(99)
    steps: list[Progress] = []
    model = train(tiny_run(), tmp_path, resume=True, report=steps.append)
    assert model is not None and len(steps) == 8 - count
    assert same_weights(model, uninterrupted)


def test_a_killed_run_resumes_from_its_last_checkpoint(tmp_path: Path, uninterrupted: AtmoRep) -> None:
    """Killed without warning after step 3 + 1 of stage 1; the last state is that of step 3."""

    class Killed(BaseException):
        pass

    def report(progress: Progress) -> None:
        if (progress.stage, progress.step) == (1, 4):
            raise Killed

    with pytest.raises(Killed):
        train(tiny_run(), tmp_path, report=report)
    model = train(tiny_run(), tmp_path, resume=True)
    assert model is not None and same_weights(model, uninterrupted)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [(r["stage"], r["step"]) for r in rows] == [(str(s), str(k)) for s in (0, 1) for k in range(1, 5)]


def test_the_log_has_one_row_per_step(tmp_path: Path) -> None:
    train(tiny_run(), tmp_path, report=stop_after(5))
    train(tiny_run(), tmp_path, resume=True)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [(r["stage"], r["step"]) for r in rows] == [(str(s), str(k)) for s in (0, 1) for k in range(1, 5)]
    assert all(float(r["loss"]) > 0 for r in rows)
    validated = [(r["stage"], r["step"]) for r in rows if r["validation"]]
    assert validated == [("0", "3"), ("0", "4"), ("1", "3"), ("1", "4")]


def test_a_finished_run_loads_and_is_not_overwritten(tmp_path: Path, uninterrupted: AtmoRep) -> None:
    model = train(tiny_run(), tmp_path)
    assert model is not None and not model.training and same_weights(model, uninterrupted)
    assert same_weights(AtmoRep.from_pretrained(tmp_path), model)
    again = train(tiny_run(), tmp_path, resume=True)
    assert again is not None and same_weights(again, model), "resuming a finished run changes nothing"
    for lost in ("none", "checkpoints"):  # a model folder without checkpoints is not overwritten either
        shutil.rmtree(tmp_path / lost, ignore_errors=True)
        content = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        with pytest.raises(UserError, match="holds a run already; continue it with --resume"):
            train(tiny_run(), tmp_path)
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == content


def test_layers_may_be_computed_twice(tmp_path: Path, uninterrupted: AtmoRep) -> None:
    """Less memory, the same weights, dropout included."""
    model = train(tiny_run(checkpointing=True), tmp_path)
    assert model is not None and model.checkpointing
    for name, value in uninterrupted.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to resume"):
        train(tiny_run(), tmp_path, resume=True)
    train(tiny_run(), tmp_path, report=stop_after(2))
    with pytest.raises(UserError, match="was started with another configuration"):
        train(tiny_run(seed=5), tmp_path, resume=True)


def test_another_seed_is_another_run(tmp_path: Path, uninterrupted: AtmoRep) -> None:
    model = train(tiny_run(seed=5), tmp_path)
    assert model is not None and not same_weights(model, uninterrupted)


def spoil_loss(monkeypatch: pytest.MonkeyPatch, *, call: int) -> None:
    """Make the loss of one part, counted over the whole run, no number."""
    calls = iter(range(1000))
    plain = batch_loss.first_guess_loss

    def spoilt(*args, **options):
        loss, per_field = plain(*args, **options)
        return (loss * float("nan") if next(calls) == call else loss), per_field

    monkeypatch.setattr(batch_loss, "first_guess_loss", spoilt)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil_loss(monkeypatch, call=2)
    with pytest.raises(UserError, match=r"the loss became nan in stage 0 at step 2: .* lower learning rate"):
        train(tiny_run(), tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_step_that_goes_wrong_may_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil_loss(monkeypatch, call=2)
    skipped: list[int] = []
    model = train(tiny_run(guard={"action": "skip"}), tmp_path, report=lambda p: skipped.append(p.skipped))
    assert model is not None and skipped == [0, 0, 1, 1, 1, 1, 1, 1]
    assert "the loss became nan in stage 0 at step 2" in capsys.readouterr().err


def test_a_batch_in_parts_has_the_same_gradient(uninterrupted: AtmoRep) -> None:
    """Parts hide different amounts, so the mean of their means would be another number."""
    config, model, data = ready()
    stage = StageConfig(part="all", steps=1, batch_size=6)
    gradients, losses = [], []
    for each in (1, 2, 3):
        model.zero_grad()
        whole = PartLoss(model.eval(), config, stage)
        make = parts_of_stage(data, config, stage, 0, ALONE, each=each)
        loss, per_field = BatchLoss(whole, whole, ALONE)([make(n) for n in range(each)], backward=True)
        losses.append([float(loss), *per_field.values()])
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    means = np.mean([float(whole(make(n))[0]) for n in range(3)])
    assert abs(means - losses[0][0]) > 1e-3 * means
    for parts in (1, 2):
        assert losses[parts] == pytest.approx(losses[0], rel=1e-6)
        assert gradients[parts].keys() == gradients[0].keys()
        for name, gradient in gradients[parts].items():
            torch.testing.assert_close(gradient, gradients[0][name], rtol=1e-3, atol=1e-6)


def test_the_mean_of_the_weights() -> None:
    """After steps to 1, 2, 3 with a decay of 0.5: ((0 / 2 + 1 / 2) / 2 + 2 / 2) / 2 + 3 / 2 = 2.125."""
    weight = torch.nn.Parameter(torch.zeros(2))
    mean = WeightMean({"w": weight}, 0.5)
    for value in (1.0, 2.0, 3.0):
        weight.data.fill_(value)
        mean.update()
    with mean.in_place():
        assert weight.tolist() == [2.125, 2.125]
    assert weight.tolist() == [3.0, 3.0]
    mean.settle()
    assert weight.tolist() == [2.125, 2.125]
    off = WeightMean({"w": weight}, None)
    off.update()
    off.settle()
    assert weight.tolist() == [2.125, 2.125] and not off.mean


def test_a_run_with_a_mean_of_weights_ends_elsewhere(tmp_path: Path, uninterrupted: AtmoRep) -> None:
    model = train(tiny_run(ema=0.9), tmp_path)
    assert model is not None and not same_weights(model, uninterrupted)


def test_half_precision_keeps_whole_weights(tmp_path: Path, uninterrupted: AtmoRep) -> None:
    """Losses differ from those in float32 by what 8 bits of a number can do; weights are float32."""
    losses: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for precision, told in losses.items():
        config = tiny_run(precision=precision, optimizer="adamw")
        model = train(config, tmp_path / precision, report=lambda p, told=told: told.append(p.loss))
        assert model is not None and {p.dtype for p in model.parameters()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)


def test_unknown_loss(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no loss 'crsp'"):
        train(tiny_run(loss={"crsp": 1.0}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def ready() -> tuple[Config, AtmoRep, Neighbourhoods]:
    config = tiny_run()
    data = wave(times=14)
    torch.manual_seed(0)
    model = AtmoRep(config.model)
    return config, model, Neighbourhoods(data, config.model, Normalizer.fit(data, "global"))


def test_a_step_is_a_function_of_seed_stage_and_step() -> None:
    config, model, data = ready()
    stage = config.training.stages[1]

    def loss(index: int, step: int) -> float:
        return training_loss(model, data, config, stage, index, step)[0].item()

    first = loss(1, 7)
    torch.manual_seed(123)
    np.random.default_rng().random()
    assert loss(1, 7) == first, "dropout included"
    others = {loss(1, 8), loss(2, 7), loss(0, 7), loss(-1, 7)}
    assert len(others) == 4 and first not in others


def test_a_sample_is_the_same_one_in_any_part_of_any_batch() -> None:
    """Values and masks: two batches of three are three batches of two, also in parts."""
    config, _, data = ready()
    shown = []
    for size, each in ((2, 1), (3, 1), (6, 1), (6, 3)):
        stage = config.training.stages[1].model_copy(update={"batch_size": size})
        make = parts_of_stage(data, config, stage, 1, ALONE, each=each)
        parts = [make(n).tokens[HEAT] for n in range(6 * each // size)]
        shown.append((torch.cat([p.values for p in parts]), torch.cat([p.mask for p in parts])))
        two = [Processes(rank, 2, torch.device("cpu")) for rank in range(2)]
        if size == 6 and each == 1:
            halves = [parts_of_stage(data, config, stage, 1, p, each=1)(0).tokens[HEAT] for p in two]
            shown.append((torch.cat([p.values for p in halves]), torch.cat([p.mask for p in halves])))
    for values, masks in shown[1:]:
        assert torch.equal(values, shown[0][0]) and torch.equal(masks, shown[0][1])
    assert len(shown[0][0]) == 6 and not torch.equal(shown[0][0][0], shown[0][0][1])


def every_task() -> Config:
    """A run of two coupled fields in which every way of hiding is drawn."""
    tasks = {name: 1.0 for name in TASKS}
    run = tiny_run(tiny_model(*coupled_fields(), dropout=0.1)).model_dump()
    stages = [{"part": "transformer", "steps": 6, "batch_size": 4, "learning_rate": 2e-3}]
    return Config.model_validate(
        run
        | {"masking": {"tasks": tasks}, "training": {"stages": stages, "checkpoint_every": 3, "warmup": 1}}
    )


@pytest.mark.parametrize("predict", ["departure", "field"])
def test_a_run_on_every_task_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predict: str
) -> None:
    monkeypatch.setattr(loop, "open_source", lambda name, period=None: wave(times=14, names=(WIND, HEAT)))
    config = every_task()
    config = config.model_copy(update={"model": config.model.model_copy(update={"predict": predict})})
    whole = train(config, tmp_path / "whole")
    assert train(config, tmp_path / "run", report=stop_after(2)) is None
    torch.manual_seed(99)
    resumed = train(config, tmp_path / "run", resume=True)
    assert whole is not None and resumed is not None and same_weights(whole, resumed)


def test_a_task_that_does_not_fit_is_refused_before_the_run(tmp_path: Path) -> None:
    run = tiny_run().model_dump() | {"masking": {"tasks": {"random": 1, "field": 0.01}}}
    with pytest.raises(UserError, match="hiding a whole field needs a second one"):
        train(Config.model_validate(run), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_validation_leaves_training_alone() -> None:
    config, model, data = ready()
    model.train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    stage = config.training.stages[1]
    value = loop.validation_loss(model, data, config, stage)
    assert torch.equal(torch.rand(3), expected) and model.training
    assert value == loop.validation_loss(model, data, config, stage)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("part", ["grid_skip", "transformer"])
def test_an_advected_wave_is_learnt(tmp_path: Path, part: str) -> None:
    """Departures from persistence are wholly predictable here; both parts of the model find that out."""
    model = tiny_model(
        tiny_field(levels=(500,), embed_dim=32), encoder_layers=1, grid_skip={"width": 16, "blocks": 1}
    )
    stage = {"part": part, "steps": 60, "batch_size": 8, "learning_rate": 1e-2, "forecast": 1.0}
    losses: list[float] = []
    train(
        tiny_run(model, stages=[stage], warmup=5, checkpoint_every=60),
        tmp_path,
        report=lambda p: losses.append(p.loss),
    )
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    assert last < 0.5 * first, (first, last)


def test_only_the_stages_part_moves(tmp_path: Path) -> None:
    stage = {"part": "grid_skip", "steps": 2, "batch_size": 2, "learning_rate": 1e-2}
    model = train(tiny_run(stages=[stage]), tmp_path)
    assert model is not None
    torch.manual_seed(0)
    start = AtmoRep(model.config).state_dict()
    for name, value in model.state_dict().items():
        if not name.startswith("departure_scale"):
            assert torch.equal(value, start[name]) != name.startswith("grid_skip") or "norm" in name, name


def test_the_departure_scale_comes_from_the_data(uninterrupted: AtmoRep) -> None:
    data = wave(times=14)
    model = uninterrupted.config
    table = Neighbourhoods(data, model, Normalizer.fit(data, "global")).typical_departures()[HEAT]
    torch.testing.assert_close(uninterrupted.departure_scale[HEAT].data, table)
    assert (table[:, 1:5] > 0.05).all()


def test_statistics_cover_surface_and_upper_fields() -> None:
    upper = wave(levels=(500, 700, 850))
    surface = wave(names=("2m_temperature",), levels=(1,)).isel(level=0, drop=True)
    fields = (tiny_field(levels=(850,)), tiny_field("2m_temperature", levels=(0,)))
    fit = fit_normalizer(upper.merge(surface), tiny_run(tiny_model(*fields)))
    assert fit.mean[HEAT].dims == ("level",) and fit.mean.level.values.tolist() == [850]
    assert fit.mean["2m_temperature"].dims == ()


RUN = """
import sys, time
from pathlib import Path
from atmorep_lite.config import load_config
from atmorep_lite.training import loop
from tests.tiny import wave
loop.open_source = lambda name, period=None: wave(times=14)

def slowly(progress):
    Path(sys.argv[2]).touch()
    time.sleep(0.2)

finished = loop.train(load_config(sys.argv[1] + ".yaml"), sys.argv[1], report=slowly)
print("finished" if finished else "stopped")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_a_process_cleanly(
    tmp_path: Path, root: Path, number: signal.Signals
) -> None:
    config = tiny_run()
    (tmp_path / "run.yaml").write_text(dump_config(config))
    started = tmp_path / "started"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "run"), str(started)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not started.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, errors = process.communicate(timeout=300)
    assert (process.returncode, out.strip()) == (0, "stopped"), errors
    if number == signal.SIGTERM:
        model = train(config, tmp_path / "run", resume=True)
        whole = train(config, tmp_path / "whole")
        assert model is not None and whole is not None and same_weights(model, whole)


def test_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(source, "open_dataset", lambda name, **options: wave())
    part = open_source("record.nc", ("2001-01-02", "2001-01-03T06"))
    assert part.time.values[[0, -1]].astype("datetime64[h]").astype(str).tolist() == [
        "2001-01-02T00",
        "2001-01-03T06",
    ]
    with pytest.raises(UserError, match=r"record\.nc holds nothing in the period 2005-01-01 to 2005-02-01"):
        open_source("record.nc", ("2005-01-01", "2005-02-01"))


def test_a_resumed_run_may_change_what_changes_no_step(tmp_path: Path) -> None:
    config = tiny_run()
    text = dump_config(config)
    free = parse_config(yaml.safe_load(text) | {"training": yaml.safe_load(text)["training"] | {"keep": 7}})
    other = parse_config(
        yaml.safe_load(text) | {"training": yaml.safe_load(text)["training"] | {"clip": 7.0}}
    )
    assert loop._difference(text, config) == loop._difference(text, free) == ""
    assert loop._difference(text, other) == "training.clip"


@pytest.mark.parametrize("date", ["01.02.2001", "2001/02/01", "yesterday", "20010201"])
def test_dates_are_iso(date: str) -> None:
    with pytest.raises(UserError, match="is no date; write 2001-01-31"):
        source.open_source("sample", (date, None))


def test_an_impossible_later_stage_is_refused_at_once(tmp_path: Path) -> None:
    stages = [{"part": "all", "steps": 2, "batch_size": 2}, {"part": "regression", "steps": 2}]
    with pytest.raises(UserError, match="no regression to fit"):
        train(tiny_run(stages=stages), tmp_path)
    assert not (tmp_path / "log.csv").exists()
