"""Low-rank corrections: no change at first, nothing else learns, and an ordinary model at the end."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from atmorep_lite.config import FieldConfig, TrainingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.losses import crps
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens
from atmorep_lite.training.processes import processes
from atmorep_lite.training.tuning.freeze import held
from atmorep_lite.training.tuning.lora import adapt, is_correction, merge, put_on, save_corrections
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, tiny_field, tiny_model, tiny_run
from tests.training.together import together

ATTENTION = ("*.qkv", "*.coupling_q", "*.coupling_kv.*", "encoders.*.out", "decoders.*.out")


def training(rank: int = 2, alpha: float = 6.0, layers=ATTENTION, **changes) -> TrainingConfig:
    lora = {"rank": rank, "alpha": alpha, "layers": layers}
    return tiny_run(start={"models": ["trained"]}, lora=lora, **changes).training


@pytest.fixture
def model() -> AtmoRep:
    torch.manual_seed(0)
    return AtmoRep(tiny_model(*coupled_fields(), locality=0.5)).eval()


def members(model: AtmoRep) -> dict[str, Tensor]:
    with torch.no_grad():
        return {name: e.members for name, e in model(random_tokens(model.config)).items()}


def loss_of(model: torch.nn.Module, tokens: dict[str, FieldTokens]) -> Tensor:
    return sum(crps(e.members.movedim(1, 0), tokens[n].values) for n, e in model(tokens).items())


def learn(model: AtmoRep, settings: TrainingConfig, steps: int = 3) -> None:
    """A few steps of gradient descent on what may learn."""
    frozen = held(model, settings)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=0.02)
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(model, random_tokens(model.config, seed=step)).backward()
        optimizer.step()


def test_nothing_changes_at_first(model: AtmoRep) -> None:
    before = members(model)
    adapt(model, training())
    assert all(torch.equal(before[name], after) for name, after in members(model).items())


def test_only_the_corrections_learn_and_both_factors_do(model: AtmoRep) -> None:
    settings = training()
    adapt(model, settings)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    learn(model, settings)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) != is_correction(name), name


def test_how_many_numbers_learn(model: AtmoRep) -> None:
    """rank x (inputs + outputs) for each matrix, counted by hand."""
    settings = training(layers=("encoders.*.qkv", "decoders.*.cross_kv"))
    adapt(model, settings)
    frozen = held(model, settings)
    widths = {WIND: 24, HEAT: 32}
    by_hand = sum(2 * 2 * (e + 3 * e) + 2 * (e + 2 * e // 2) for e in widths.values())
    assert sum(p.numel() for n, p in model.named_parameters() if n not in frozen) == by_hand


def test_the_sum_is_the_papers(model: AtmoRep) -> None:
    """Eq. 3: h = W x + (alpha / rank) B A x, here 6 / 2; queries, keys and values of all heads share A."""
    adapt(model, training())
    layer = model.encoders[WIND][0].qkv
    original, parts = layer.parametrizations.weight.original, layer.parametrizations.weight[0]
    assert parts.A.shape == (2, 24) and parts.B.shape == (72, 2)
    with torch.no_grad():
        parts.B.normal_()
        x = torch.randn(5, 24)
        torch.testing.assert_close(layer(x), x @ original.T + 3.0 * (x @ parts.A.T) @ parts.B.T)


def test_merged_models_are_ordinary_and_predict_the_same(model: AtmoRep) -> None:
    plain, settings = copy.deepcopy(model), training()
    assert settings.lora is not None
    adapt(model, settings)
    learn(model, settings)
    corrected = members(model)
    first = members(plain)
    assert all((corrected[name] - first[name]).abs().max() > 1e-3 for name in first), "something was learnt"
    added = dict(plain.named_parameters())
    with torch.no_grad():
        for name, layer in model.named_modules():
            if parametrize.is_parametrized(layer, "weight"):
                low = dict(layer.parametrizations.named_parameters())
                product = low["weight.0.B"] @ low["weight.0.A"]
                added[f"{name}.weight"].add_(settings.lora.alpha / settings.lora.rank * product)
    merge(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    for after in (members(plain), members(model)):
        for name, expected in corrected.items():
            torch.testing.assert_close(after[name], expected, rtol=1e-6, atol=1e-6)


def test_corrections_alone_are_small_and_can_be_put_on_again(model: AtmoRep, tmp_path: Path) -> None:
    plain, settings = copy.deepcopy(model), training()
    assert settings.lora is not None
    adapt(model, settings)
    learn(model, settings)
    path = tmp_path / "corrections.safetensors"
    save_corrections(path, model.state_dict(), settings.lora)
    learnt = sum(p.numel() for n, p in model.named_parameters() if is_correction(n))
    assert 4 * learnt < path.stat().st_size < 4 * learnt + 8192
    put_on(plain, path)
    for name, expected in members(model).items():
        torch.testing.assert_close(members(plain)[name], expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(UserError, match="were learnt on other weights than these"):
        put_on(plain, path)  # a second time
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="holds no corrections"):
        put_on(plain, path)


def test_freezing_holds_corrections_too_and_new_fields_learn_as_a_whole(model: AtmoRep) -> None:
    settings = training(freeze=("decoders.*",))
    adapt(model, settings)
    frozen = held(model, settings)
    learning = {name for name, _ in model.named_parameters()} - frozen
    assert learning and all(is_correction(n) and n.startswith("encoders.") for n in learning)
    torch.manual_seed(0)
    begun = AtmoRep(model.config)
    start = {"models": ["trained"], "new_fields": [HEAT]}
    settings = tiny_run(start=start, lora={"rank": 2, "layers": ["*.qkv"]}).training
    adapt(begun, settings)
    frozen = held(begun, settings)
    for name, _ in begun.named_parameters():
        of_heat = name.split(".")[1] == HEAT and not name.startswith("departure_scale")
        assert (name not in frozen) == (of_heat or is_correction(name)), name
        assert not (of_heat and is_correction(name))


def test_what_cannot_be_corrected(model: AtmoRep) -> None:
    refusals = [
        (training(layers=["*.atention.*"]), r"'\*.atention.\*' matches no linear layer"),
        (training(layers=["tails.*"]), "matches no linear layer"),
        (training(rank=24), "rank 24 is not below the 24 of decoders.u_component_of_wind.0.cross_kv"),
        (tiny_run(lora={"rank": 2}).training, "starts from none; set training.start.models"),
    ]
    for settings, said in refusals:
        if settings.lora is not None and settings.lora.rank == 24:
            settings = training(rank=24, layers=["decoders.*.cross_kv"])
        with pytest.raises(UserError, match=said):
            adapt(model, settings)


def test_layers_computed_twice_or_traced_do_not_mind(model: AtmoRep) -> None:
    settings = training()
    adapt(model, settings)
    tokens = random_tokens(model.config)
    gradients = []
    for twice in (False, True):
        model.train().checkpointing = twice
        model.zero_grad()
        loss_of(model, tokens).backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if is_correction(n)})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected)
    layer = model.decoders[WIND][0].eval()
    traced = torch.compile(layer, backend="eager", fullgraph=True)
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(traced(x, x, {}), layer(x, x, {}))


def learnt_alone_or_together() -> dict[str, np.ndarray]:
    """Corrections after three steps; each process has its own tokens, gradients are means over them."""
    tokens_by_process = [random_tokens(tiny_model(*coupled_fields()), seed=seed) for seed in (0, 1)]
    torch.manual_seed(0)
    model, settings = AtmoRep(tiny_model(*coupled_fields())), training()
    adapt(model, settings)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in held(model, settings))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    with processes() as group:
        alone = group.count == 1
        mine = tokens_by_process if alone else [tokens_by_process[group.rank]]
        wrapped = model if alone else torch.nn.parallel.DistributedDataParallel(model)
        for _ in range(3):
            optimizer.zero_grad()
            (sum(loss_of(wrapped, tokens) for tokens in mine) / len(mine)).backward()
            optimizer.step()
    return {name: p.detach().numpy() for name, p in model.named_parameters() if is_correction(name)}


def test_two_processes_learn_what_one_does() -> None:
    alone = learnt_alone_or_together()
    first, second = together(2, learnt_alone_or_together)
    for name, expected in alone.items():
        assert (first[name] == second[name]).all()
        np.testing.assert_allclose(first[name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fields", [coupled_fields(), (tiny_field(),)])
def test_by_default_every_attention_is_corrected_and_nothing_else(fields: tuple[FieldConfig, ...]) -> None:
    plain = AtmoRep(tiny_model(*fields))
    adapt(plain, tiny_run(start={"models": ["trained"]}, lora={"rank": 2}).training)
    for name, layer in plain.named_modules():
        if name.startswith(("encoders", "decoders")) and isinstance(layer, torch.nn.Linear):
            assert hasattr(layer, "parametrizations") == (".mlp." not in name), name
