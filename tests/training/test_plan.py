"""Plans of runs: against what training really holds, reads and does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from atmorep_lite import open_sample
from atmorep_lite.config import load_config
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.optimizer import build_optimizers, trainable
from atmorep_lite.training.planning.data import look_at_data
from atmorep_lite.training.planning.memory import kept, states
from atmorep_lite.training.planning.plan import plan
from atmorep_lite.training.planning.plan_memory import Memory, device_for, memory_of, too_little
from atmorep_lite.training.planning.screen import duration, screen

PEAK = """
import resource, sys, torch
from atmorep_lite import open_sample
from atmorep_lite.config import load_config
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.planning.memory import loss_of_shapes
from atmorep_lite.training.optimizer import trainable

def now(kind):
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(kind)).split()[1])

torch.set_num_threads(1)
config = load_config(sys.argv[1])
model = AtmoRep(config.model).train()
model.checkpointing = sys.argv[3] == "True"
for parameter in trainable(model, sys.argv[2]).values():
    parameter.grad = torch.zeros_like(parameter)
loss_of_shapes(model, config, 1, sys.argv[2], 0.25).backward()
open("/proc/self/clear_refs", "w").write("5")
before = now("VmRSS")
loss_of_shapes(model, config, int(sys.argv[4]), sys.argv[2], 0.25).backward()
print(now("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
@pytest.mark.parametrize(
    ("name", "part", "checkpointing", "samples"),
    [("era5_t2m_uk", "transformer", False, 24), ("talk", "all", True, 12)],
)
def test_activations_are_what_a_step_really_holds(
    name: str, part: str, checkpointing: bool, samples: int
) -> None:
    """The process's own peak of memory during a step, to a fifth."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, name, part, str(checkpointing), str(samples)],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            "OMP_NUM_THREADS": "1",
            "MALLOC_MMAP_THRESHOLD_": "65536",
            "MALLOC_TRIM_THRESHOLD_": "0",
            "PATH": "/usr/bin:/bin",
        },
    )
    assert done.returncode == 0, done.stderr
    found = kept(load_config(name), part=part, checkpointing=checkpointing).of(samples)
    assert found == pytest.approx(float(done.stdout), rel=0.2)


def test_remembered_bytes_are_the_optimizers_own() -> None:
    config = load_config("demo", ["training.ema=0.999"])
    stage = config.training.stages[1]
    model = AtmoRep(config.model)
    learning = trainable(model, stage.part)
    optimizers = build_optimizers(learning, stage, config.training)
    for parameter in learning.values():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
    held = sum(
        v.nbytes
        for o in optimizers
        for s in o.state.values()
        for v in s.values()
        if isinstance(v, torch.Tensor)
    )
    found = states(config, stage)
    assert found.optimizers == held
    assert found.gradients == sum(p.nbytes for p in learning.values())
    assert found.weights == found.ema == sum(t.nbytes for t in (*model.parameters(), *model.buffers()))


def test_bfloat16_needs_less() -> None:
    config = load_config("era5_t2m_uk")
    assert kept(config, half=True).of(8) < 0.9 * kept(config).of(8)


def test_the_published_model_is_planned_in_seconds_without_its_data_and_its_memory() -> None:
    import resource

    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = plan(load_config("paper"), processes=32, gpu="A100")
    assert time.process_time() - begun < 20
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    )  # kB; the weights alone are 3 GB
    assert found.parameters == 741_136_128
    assert sum(w.embedding + w.encoder + w.decoder + w.tails for w in found.weights) == found.parameters
    assert not [p for p in found.problems if "needs" in p]
    for store in ("era5_train.zarr", "era5_validation.zarr"):
        assert any(f"there is no file or folder {store}" in problem for problem in found.problems)
    assert found.stages[0].samples == 65_536 * 768
    assert 20 * 3600 < found.seconds < 30 * 3600


def test_a_plan_says_what_is_there_and_what_would_happen() -> None:
    found = plan(load_config("talk"), processes=2)
    assert [d.usable for d in found.data] == [True, True]
    assert found.data[0].windows == 2400 - 12 + 1
    assert not found.problems
    assert found.stages[0].at_once == 2
    assert found.bytes_per_sample == 2 * 5 * 2 * 12 * 16 * 32
    assert found.memory.data == 4 * 5 * 2 * (2400 + 160) * 32 * 64
    json.dumps(found.as_dict())


def test_everything_that_cannot_work_is_said_at_once(tmp_path: Path) -> None:
    changes = [
        "data.train=nowhere.zarr",
        "training.stages=[{steps: 5, batch_size: 6}]",
        "model.fields.0.levels=[300, 850]",
    ]
    found = plan(load_config("talk", changes), processes=4, run_dir=tmp_path / "not" / "there")
    assert len(found.problems) == 3
    shares = next(problem for problem in found.problems if "batch_size" in problem)
    assert shares.endswith("choose a multiple of 4")
    assert any("vorticity is missing on level 300" in problem for problem in found.problems)
    shown = Console(width=120, record=True)
    for part in screen(found):
        shown.print(part)
    assert shown.export_text().count("to mend") == 3


def test_too_little_memory_is_a_sentence_with_a_way_out() -> None:
    small = Memory(1e9, 2e9, 1e9, 1e9, 0.0, 50e9, 0.0, available=40e9)
    said = too_little(small, 8, device_for("A100", "float32", 8))
    assert said.startswith("training needs 55.0 GB of memory, the GPU has 40.0 GB for each process")
    assert "training.checkpointing: true" in said
    heavy = replace(small, weights=60e9)
    assert "training.parallel: fsdp" in too_little(heavy, 8, device_for("A100", "float32", 8))
    full = replace(small, data=80e9)
    assert "prepare the data" in too_little(full, 1, device_for(None, "float32", 1))


def test_fsdp_shares_what_ddp_copies() -> None:
    config = load_config("era5_t2m_uk")
    stage, device = config.training.stages[1], device_for("A100", "float32", 8)
    ddp, _ = memory_of(config, stage, 1, 0.3, 8, device)
    changed = load_config("era5_t2m_uk", ["training.parallel=fsdp"])
    fsdp, _ = memory_of(changed, stage, 1, 0.3, 8, device)
    assert fsdp.optimizers == pytest.approx(ddp.optimizers / 8)
    assert fsdp.gradients == pytest.approx(ddp.gradients / 16)
    assert fsdp.activations == ddp.activations


def test_the_same_times_in_both_records_are_a_warning() -> None:
    (said,) = look_at_data(load_config("talk", ["data.validation=train"]))[1]
    assert "no error on unseen data" in said


def test_an_unknown_gpu_is_refused() -> None:
    with pytest.raises(UserError, match="choose among A100"):
        plan(load_config("talk"), gpu="abacus")


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s"), (600, "10 min"), (7200, "2 h"), (864_000, "10 days")]
)
def test_durations_are_told_in_fitting_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_records_of_different_steps_or_grids_do_not_go_together(tmp_path: Path) -> None:
    coarse = tmp_path / "coarse.nc"
    sample = open_sample("sample").isel(time=slice(None, None, 2)).load().drop_encoding()
    sample.to_netcdf(coarse)
    records, _ = look_at_data(load_config("demo", ["data.train=sample", f"data.validation={coarse}"]))
    assert records[0].usable and not records[1].usable
    assert "every 6 h on 32 x 64 points, the training data every 3 h" in records[1].words


def test_what_the_run_would_refuse_is_no_ready_plan() -> None:
    refused = {
        "training.loss={crsp: 1}": "there is no loss 'crsp'",
        "training.freeze=[nothing.*]": "matches no parameter",
        "training.start={models: [nowhere]}": "there is no model 'nowhere'",
    }
    problems = " ".join(plan(load_config("demo", ["data.train=sample", *refused])).problems)
    assert all(words in problems for words in refused.values())
