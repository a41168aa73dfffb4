"""Whole runs that start from a trained model: guarded, partly frozen, by low-rank corrections; resumed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from atmorep_lite.config import Config
from atmorep_lite.data import sampling
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.training import loop
from atmorep_lite.training.loop import train
from atmorep_lite.training.tuning.lora import put_on
from atmorep_lite.training.watch.session import Progress
from tests.tiny import HEAT, WIND, ready_model, tiny_field, tiny_model, tiny_run, wave
from tests.training.together import together

RECORD = wave(times=14, names=(HEAT, WIND), levels=(500, 700, 850))
STAGES = [{"part": "transformer", "steps": 6, "batch_size": 2, "learning_rate": 2e-3}]


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "open_source", lambda name, period=None: RECORD)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    model = ready_model(tiny_model(tiny_field()), RECORD.sel(level=[500, 850]))
    model.departure_scale[HEAT].data.mul_(torch.linspace(0.5, 1.5, 7))
    model.save_pretrained(folder)
    return folder


def run_from(trained: Path, **training: object) -> Config:
    settings = {"stages": STAGES, "start": {"models": [str(trained)]}, "warmup": 1, "checkpoint_every": 100}
    return tiny_run(tiny_model(tiny_field()), **settings | training)


def stop_after(count: int) -> Callable[[Progress], None]:
    """A report that asks the run to stop, as a cluster does, after so many steps."""

    def report(progress: Progress) -> None:
        if progress.step == count:
            os.kill(os.getpid(), signal.SIGTERM)

    return report


def weights(model: AtmoRep | None) -> dict[str, torch.Tensor]:
    assert model is not None
    return model.state_dict()


def test_what_is_frozen_stays_to_the_bit(trained: Path, tmp_path: Path) -> None:
    after = weights(train(run_from(trained, freeze=["encoders.*", "*.out.weight"]), tmp_path))
    before = weights(AtmoRep.from_pretrained(trained))
    for name, weight in after.items():
        held = name.startswith(("encoders.", "departure_scale")) or name.endswith(".out.weight")
        assert torch.equal(weight, before[name]) == held, name
    held_all = run_from(trained, freeze=["e*", "decoders.*", "tails.*"])
    with pytest.raises(UserError, match="holds every parameter"):
        train(held_all, tmp_path / "nothing")


def test_a_low_rank_run_resumes_exactly_and_ends_as_an_ordinary_model(trained: Path, tmp_path: Path) -> None:
    lora = {"rank": 2, "alpha": 8.0, "layers": ["*.qkv"]}
    config = run_from(trained, lora=lora, ema=0.9)
    whole = train(config, tmp_path / "whole")
    assert train(config, tmp_path / "cut", report=stop_after(3)) is None
    torch.manual_seed(99)
    again = train(config, tmp_path / "cut", resume=True)
    assert {name for name, w in weights(whole).items() if not torch.equal(weights(again)[name], w)} == set()
    base = AtmoRep.from_pretrained(trained)
    for name, weight in weights(AtmoRep.from_pretrained(tmp_path / "whole")).items():
        change = weight - weights(base)[name]
        corrected = name.endswith(".qkv.weight")
        assert bool(change.any()) == corrected, name
        if corrected:
            assert torch.linalg.matrix_rank(change, rtol=1e-3) == 2
    put_on(base, tmp_path / "whole" / "corrections.safetensors")
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(base)[name], weight, rtol=1e-6, atol=1e-6)


def learn_sharded(trained: str, folder: str, parallel: str) -> list[float]:
    """The losses of a run with low-rank corrections, in one of several processes."""
    loop.open_source = lambda name, period=None: RECORD
    lora = {"rank": 2, "layers": ["*.qkv", "*.out"]}
    losses: list[float] = []
    stages = [STAGES[0] | {"steps": 3}]
    config = run_from(Path(trained), stages=stages, lora=lora, parallel=parallel)
    train(config, folder, report=lambda progress: losses.append(progress.loss))
    return losses


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_low_rank_on_two_processes(trained: Path, tmp_path: Path, parallel: str) -> None:
    alone = learn_sharded(str(trained), str(tmp_path / "one"), parallel)
    first, _ = together(2, learn_sharded, str(trained), str(tmp_path / "two"), parallel)
    np.testing.assert_allclose(first, alone, rtol=1e-5)
    one, two = (weights(AtmoRep.from_pretrained(tmp_path / name)) for name in ("one", "two"))
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=0, atol=1e-3, msg="Muon enlarges rounding")


def spoil(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """An infinite value in the normalised record, at one time."""
    normalised = sampling._normalised

    def spoilt(*args: object) -> np.ndarray:
        values = normalised(*args)
        values[0, step] = np.inf
        return values

    monkeypatch.setattr(sampling, "_normalised", spoilt)


def test_a_guarded_run_skips_names_the_sample_and_resumes_exactly(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    spoil(monkeypatch, step=13)
    stages = [STAGES[0] | {"steps": 16, "batch_size": 1}]
    config = run_from(trained, stages=stages, guard={"action": "skip", "spike": 20.0})
    steps: list[Progress] = []
    whole = train(config, tmp_path / "whole", report=steps.append)
    said = [line for line in capsys.readouterr().err.splitlines() if "the step is left out" in line]
    skipped = [p.step - 1 for p in steps if not np.isfinite(p.loss)]
    assert 0 < len(skipped) < 8 and len(said) == len(skipped) == steps[-1].skipped
    time = str(RECORD.time.values[13])[:16]
    for step, line in zip(skipped, said, strict=True):
        assert f"in stage 0 at step {step}: alone, the loss is nan" in line
        assert f"sample {step} (" in line and f"inf standard deviations of {HEAT} at {time}" in line
    assert all(w.isfinite().all() for w in weights(whole).values())
    after = skipped[0] + 1
    assert train(config, tmp_path / "cut", report=stop_after(after)) is None
    again: list[Progress] = []
    resumed = train(config, tmp_path / "cut", resume=True, report=again.append)
    assert again[-1].skipped == len(skipped)
    assert {name for name, w in weights(whole).items() if not torch.equal(weights(resumed)[name], w)} == set()


def test_a_guarded_run_stops_and_leaves_no_model(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, step=13)
    config = run_from(trained, stages=[STAGES[0] | {"steps": 16, "batch_size": 1}])
    with pytest.raises(UserError, match=r"became nan in stage 0 at step \d+: alone, the loss is nan"):
        train(config, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    monkeypatch.undo()


def test_a_run_starts_with_more_levels_fewer_tokens_and_a_new_field(trained: Path, tmp_path: Path) -> None:
    fields = (
        tiny_field(levels=(500, 850, 700), num_tokens=(3, 2, 3), coupled_to=(WIND,)),
        tiny_field(WIND, levels=(700,), num_tokens=(3, 2, 3)),
    )
    run = run_from(trained, start={"models": [str(trained)], "new_fields": [WIND]})
    run = Config.model_validate(run.model_dump() | {"model": tiny_model(*fields).model_dump()})
    model = train(run, tmp_path)
    assert model is not None and model.normalizer is not None
    before = AtmoRep.from_pretrained(trained)
    assert before.normalizer is not None
    old, new = before.normalizer.mean[HEAT], model.normalizer.mean[HEAT]
    assert np.array_equal(new.sel(level=[500, 850]), old) and bool(new.sel(level=700).notnull())
    assert torch.equal(model.departure_scale[HEAT][:2], before.departure_scale[HEAT])
    fresh = model.departure_scale[HEAT][2], model.departure_scale[WIND][0]
    assert all((row[:6] != 1).all() for row in fresh), "measured; the last one is 1 of normalised data"
