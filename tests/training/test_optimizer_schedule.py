"""Which parameters a stage trains, and how fast."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from atmorep_lite.config import StageConfig, TrainingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.optimizer import build_optimizers, trainable
from atmorep_lite.training.schedule import cosine, published_learning_rate, rate_factor
from tests.tiny import coupled_fields, tiny_model


@pytest.fixture
def model() -> AtmoRep:
    torch.manual_seed(0)
    return AtmoRep(tiny_model(*coupled_fields(), grid_skip={"width": 8, "blocks": 1}))


def settings(**changes) -> tuple[StageConfig, TrainingConfig]:
    stage = StageConfig(steps=10, learning_rate=1e-2)
    return stage, TrainingConfig(stages=(stage,), **changes)


def groups(optimizers: list[torch.optim.Optimizer]) -> list[dict]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]


@pytest.mark.parametrize("part", ["all", "grid_skip", "transformer"])
def test_a_stage_trains_its_part_and_freezes_the_rest(model: AtmoRep, part: str) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("departure_scale"))
    chosen = trainable(model, part)
    for name, parameter in model.named_parameters():
        if name.startswith("departure_scale"):
            assert name not in chosen
            continue
        wanted = part == "all" or name.startswith("grid_skip") == (part == "grid_skip")
        assert parameter.requires_grad == wanted == (name in chosen), name


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(model: AtmoRep, kind: str) -> None:
    stage, training = settings(optimizer=kind, weight_decay=0.1)
    parameters = trainable(model, "all")
    optimizers = build_optimizers(parameters, stage, training)
    found = [p for group in groups(optimizers) for p in group["params"]]
    assert sorted(map(id, found)) == sorted(map(id, parameters.values()))
    for group in groups(optimizers):
        assert group["lr"] == 1e-2
        decays = group["weight_decay"] > 0
        assert all((p.dim() == 2) == decays for p in group["params"])
    kinds = {type(optimizer).__name__ for optimizer in optimizers}
    assert kinds == ({"AdamW"} if kind == "adamw" else {"AdamW", "Muon"})
    if kind == "muon":
        (muon,) = (o for o in optimizers if type(o).__name__ == "Muon")
        assert all(p.dim() == 2 for group in muon.param_groups for p in group["params"])


def test_muon_moves_a_matrix_by_a_rotation_of_the_rate() -> None:
    """The singular values of the update are much closer together, and its entries about 0.2 x rate."""
    stage, training = settings(optimizer="muon")
    matrix = torch.nn.Parameter(torch.zeros(16, 16))
    (optimizer,) = build_optimizers({"w": matrix}, stage, training)
    gradient = torch.randn(16, 16, generator=torch.Generator().manual_seed(0)) * torch.logspace(-1, 1, 16)
    matrix.grad = gradient
    optimizer.step()
    values = torch.linalg.svdvals(matrix.detach())
    before = torch.linalg.svdvals(gradient)
    assert values[0] / values[12] < 3 < 20 < before[0] / before[12]
    assert matrix.detach().square().mean().sqrt().item() == pytest.approx(0.2 * 1e-2, rel=0.3)


def test_cosine() -> None:
    rates = [cosine(step, 100, 20) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 20) and rates[19] == 1.0 and max(rates) == 1.0
    assert all(a < b for a, b in pairwise(rates[:20]))
    assert all(a >= b for a, b in pairwise(rates[20:])) and 0 < rates[-1] < 0.01
    assert rates[60] == pytest.approx(0.5 * (1 + math.cos(math.pi * 40 / 80)))
    assert cosine(0, 1, 0) == 1.0
    assert all(0 < cosine(step, 5, 20) <= 1 for step in range(5)), "a stage shorter than its warmup"


def test_schedules_by_name() -> None:
    """The published one: epochs of 512 steps, rates 1e-5, 1.5e-5, 2e-5, then / 1.025 down to 1e-5."""
    _, constant = settings(schedule="constant", warmup=4)
    assert [rate_factor(step, 9, constant) for step in (0, 1, 3, 4, 8)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    _, published = settings(schedule="published")
    rates = [2e-5 * rate_factor(step, 65536, published) for step in (0, 511, 512, 1024, 1536, 65535)]
    assert rates == pytest.approx([1e-5, 1e-5, 1.5e-5, 2e-5, 2e-5 / 1.025, 1e-5])
    _, usual = settings(warmup=20)
    assert [rate_factor(s, 100, usual) for s in range(100)] == [cosine(s, 100, 20) for s in range(100)]


def test_a_stage_that_trains_nothing_is_refused(model: AtmoRep) -> None:
    every = {name for name, _ in model.named_parameters()}
    with pytest.raises(UserError, match="a stage of the part grid_skip would train nothing"):
        trainable(model, "grid_skip", held=every)
    some = {name for name in every if name.startswith("encoders")}
    assert trainable(model, "all", held=some).keys().isdisjoint(some)
    assert not any(p.requires_grad for n, p in model.named_parameters() if n in some)


def test_published_rate_rises_linearly_then_decays_to_its_floor() -> None:
    def rate(epoch: int) -> float:
        return published_learning_rate(epoch, start=1e-6, peak=3e-6, floor=2e-6)

    assert [rate(e) for e in range(3)] == pytest.approx([1e-6, 2e-6, 3e-6])
    assert rate(3) == pytest.approx(3e-6 / 1.025) and rate(500) == 2e-6
