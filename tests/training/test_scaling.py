"""The scaling model, against rules that anyone can check by hand."""

from __future__ import annotations

import math

import pytest

from atmorep_lite.config import load_config
from atmorep_lite.errors import UserError
from atmorep_lite.training.planning.memory import Kept, States
from atmorep_lite.training.planning.scaling import (
    BUCKET,
    MACHINES,
    Machine,
    Needs,
    memory_in_each,
    most_samples,
    needs,
    predict,
)

SMALL = Machine(
    "toy", peak=1e12, memory=10e9, bandwidth=1e12, within=10e9, between=1e9, per_node=2, latency=0.0
)
WORK = Needs(
    flops=1e12,
    forward=0.3e12,
    remembered=States(weights=4e8, gradients=4e8, optimizers=8e8, ema=0.0, largest=1e7),
    kept=Kept(fixed=1e8, per_sample=1e9),
    bytes_read=1e6,
)


def test_one_gpu_computes_and_nothing_else() -> None:
    found = predict(WORK, SMALL, 1, samples=4, mfu=0.5)
    assert found.computing == pytest.approx(4 * 1e12 / 0.5e12)
    assert found.communicating == found.waiting == found.traffic == 0
    assert found.optimizing == pytest.approx(2 * 16e8 / 1e12)
    assert found.efficiency == pytest.approx(1.0)
    assert found.samples_per_second == pytest.approx(4 / found.seconds)
    assert found.bytes_per_second == pytest.approx(found.samples_per_second * 1e6)


def test_a_ring_sends_every_gradient_twice_through_the_narrowest_link() -> None:
    """Four GPUs in two nodes: 2 x 3/4 of 400 MB through two adapters of 1 GB/s."""
    found = predict(WORK, SMALL, 4, samples=1, overlap=0.0)
    assert found.traffic == pytest.approx(2 * 4e8 * 3 / 4)
    assert found.communicating == pytest.approx(6e8 / 2e9)
    within = predict(WORK, SMALL, 2, samples=1, overlap=0.0)
    assert within.communicating == pytest.approx(2 * 4e8 / 2 / 10e9)


def test_messages_hide_behind_the_backward_pass() -> None:
    shown, hidden = (predict(WORK, SMALL, 4, samples=1, mfu=1.0, overlap=o) for o in (0.0, 0.3))
    assert shown.waiting == pytest.approx(0.3)
    assert hidden.waiting == pytest.approx(0.3 - 0.3 * 2 / 3)
    assert predict(WORK, SMALL, 4, samples=8, overlap=0.8).waiting == 0


def test_accumulating_spares_ddp_messages_but_not_fsdp() -> None:
    ddp = [predict(WORK, SMALL, 8, accumulate=a).traffic for a in (1, 4)]
    fsdp = [predict(WORK, SMALL, 8, accumulate=a, parallel="fsdp").traffic for a in (1, 4)]
    assert ddp[1] == ddp[0]
    assert fsdp[1] == 4 * fsdp[0] == pytest.approx(4 * 1.5 * ddp[0])


def test_fsdp_leaves_room_for_what_ddp_copies() -> None:
    assert memory_in_each(WORK, 1, 2, "ddp") == pytest.approx(1e9 + 16e8 + 1e8 + 2e9)
    assert memory_in_each(WORK, 16, 2, "ddp") == pytest.approx(1e9 + 20e8 + 1e8 + 2e9)
    assert memory_in_each(WORK, 16, 2, "fsdp") == pytest.approx(1e9 + 1e8 + 2e7 + 1e8 + 2e9)
    assert most_samples(WORK, SMALL, 16, "ddp") == 5
    assert most_samples(WORK, SMALL, 16, "fsdp") == 7


def test_latency_grows_with_the_number_of_gpus() -> None:
    slow = Machine("slow", 1e12, 10e9, 1e12, 1e15, 1e15, per_node=2, latency=1e-3)
    found = predict(WORK, slow, 1024, samples=1, overlap=0.0)
    assert found.communicating == pytest.approx(2 * math.ceil(4e8 / BUCKET) * 1e-3 * 10, rel=1e-3)


def test_the_planning_figure_for_the_published_single_field_model() -> None:
    """476 samples/s on an H100 at 40 % of its peak, 0.83 TFLOP a sample."""
    work = needs(load_config("paper_single"))
    found = predict(work, MACHINES["H100"], 1, samples=48, mfu=0.40)
    assert found.samples_per_second == pytest.approx(476, rel=0.03)
    assert found.bytes_per_second == pytest.approx(476 * 5 * 36 * 54 * 108 * 4, rel=0.03)


def test_impossible_questions_are_refused() -> None:
    for settings in ({"gpus": 0}, {"gpus": 2, "mfu": 1.5}, {"gpus": 2, "overlap": -0.1}):
        with pytest.raises(UserError, match="a step needs 1 GPU"):
            predict(WORK, SMALL, **settings)
