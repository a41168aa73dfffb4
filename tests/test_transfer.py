"""Starting from trained models: nothing changes at first, and everything can be learnt from there."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import xarray as xr

from atmorep_lite.config import Config, FieldConfig, ModelConfig, StartConfig
from atmorep_lite.convert import config_from_published, config_to_published
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError
from atmorep_lite.losses import crps
from atmorep_lite.model import AtmoRep, Ensemble
from atmorep_lite.tokens import FieldTokens
from atmorep_lite.training import loop
from atmorep_lite.transfer import couple, start_model
from atmorep_lite.transfer_statistics import merge_normalizers
from tests.tiny import (
    HEAT,
    WIND,
    coupled_fields,
    random_tokens,
    tiny_field,
    tiny_model,
    tiny_run,
    wave,
)

OTHER = "v_component_of_wind"


def alone(field: FieldConfig) -> FieldConfig:
    return field.model_copy(update={"coupled_to": ()})


def shaken(config: ModelConfig, seed: int) -> AtmoRep:
    """A model all of whose weights are random, as after training."""
    torch.manual_seed(seed)
    model = AtmoRep(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    return model


def inputs(config: ModelConfig) -> dict[str, FieldTokens]:
    """Tokens in float64, so that rounding does not hide a difference."""
    return {
        name: replace(t, values=t.values.double(), info=t.info.double())
        for name, t in random_tokens(config).items()
    }


def predictions(model: AtmoRep, tokens: dict[str, FieldTokens]) -> dict[str, Ensemble]:
    return copy.deepcopy(model).double().eval()({name: tokens[name] for name in model.config.names})


@pytest.fixture
def singles() -> list[AtmoRep]:
    wind, heat = coupled_fields()
    return [shaken(tiny_model(alone(f)), seed) for seed, f in enumerate((heat, wind))]


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"coupling_heads": 2}, {"grid_skip": {"width": 8, "blocks": 1}}])
def test_a_coupled_model_predicts_at_first_what_the_single_ones_did(singles, changes: dict) -> None:
    config = tiny_model(*coupled_fields(), **changes)
    model = couple(singles, config)
    tokens = inputs(config)
    together = predictions(model, tokens)
    for single in singles:
        (name,) = single.config.names
        expected = predictions(single, tokens)[name]
        torch.testing.assert_close(together[name].members, expected.members)
        torch.testing.assert_close(together[name].scale, expected.scale)
        for parameter in single.parameters():
            parameter.add_(1.0)
        assert torch.equal(predictions(model, tokens)[name].members, together[name].members), "no copy"


def gradients(model: AtmoRep, tokens: dict) -> dict[str, torch.Tensor]:
    model.zero_grad()
    out = model(tokens)
    sum(crps(e.members.movedim(1, 0), tokens[n].values) for n, e in out.items()).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_gradients_reach_new_columns_at_once_and_the_coupling_heads_after_one_step(singles) -> None:
    config = tiny_model(*coupled_fields())
    model, tokens = couple(singles, config).double(), inputs(config)
    own = {WIND: 24, HEAT: 32}
    first = gradients(model, tokens)
    for name in own:
        for layer in range(2):
            block = f"encoders.{name}.{layer}"
            columns = first[f"{block}.out.weight"][:, own[name] :]
            assert columns.shape[1] == own[name] // 4 and (columns != 0).all()
            for key in (k for k in first if k.startswith(f"{block}.coupling")):
                assert (first[key] == 0).all()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key in first:
                parameter -= 1e-3 * first[key]
    second = gradients(model, tokens)
    for name in own:
        for key in (k for k in second if k.startswith(f"encoders.{name}.") and ".coupling" in k):
            assert second[key].abs().max() > 1e-9, key


@torch.no_grad()
def test_new_coupling_heads_begin_at_the_usual_size(singles) -> None:
    config = tiny_model(*coupled_fields())
    model, usual = couple(singles, config), AtmoRep(config)
    for layer, plain in zip(model.encoders[WIND], usual.encoders[WIND], strict=True):
        for ours, theirs in (
            (layer.coupling_q.weight, plain.coupling_q.weight),
            (layer.coupling_kv[HEAT].weight, plain.coupling_kv[HEAT].weight),
        ):
            assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.2)


@torch.no_grad()
def test_a_larger_model_starts_from_a_smaller_coupled_one() -> None:
    """Couplings keep their field although the order of fields and couplings changes."""
    wind, heat = coupled_fields()
    small = shaken(tiny_model(wind, heat), 0)
    other = tiny_field(OTHER)
    config = tiny_model(
        other.model_copy(update={"coupled_to": (WIND,)}),
        heat.model_copy(update={"coupled_to": (OTHER, WIND), "loss_weight": 0.5}),
        wind.model_copy(update={"coupled_to": (OTHER, HEAT)}),
    )
    model = couple([small, shaken(tiny_model(other), 1)], config)
    tokens = inputs(config)
    before, after = predictions(small, tokens), predictions(model, tokens)
    for name in (WIND, HEAT):
        torch.testing.assert_close(after[name].members, before[name].members)
    fresh = couple([small], config, new_fields=[OTHER])
    torch.testing.assert_close(predictions(fresh, tokens)[HEAT].members, before[HEAT].members)


@torch.no_grad()
def test_a_field_may_become_input_only_and_a_skip_goes_with_all_its_fields() -> None:
    skip = {"grid_skip": {"width": 8, "blocks": 1}}
    source = shaken(tiny_model(*coupled_fields(), **skip), 0)
    wind, heat = coupled_fields()
    config = tiny_model(wind, heat.model_copy(update={"loss_weight": 0.0}), **skip)
    tokens = inputs(config)
    model = couple([source], config)
    assert model.predicted == (WIND,)
    torch.testing.assert_close(
        predictions(model, tokens)[WIND].members, predictions(source, tokens)[WIND].members
    )


@torch.no_grad()
@pytest.mark.parametrize("year", ["2023", "2024"])
def test_published_single_field_models_are_sources(year: str) -> None:
    form = {"published": year, "predict": "field", "dropout": 0.05}
    fields = [f.model_copy(update={"coupled_to": ()}) for f in coupled_fields()]
    settings = [config_to_published(tiny_model(f, **form)) for f in fields]
    sources = [shaken(config_from_published(s, year=year), i) for i, s in enumerate(settings)]
    config = tiny_model(*coupled_fields(), **form)
    model, tokens = couple(sources, config), inputs(config)
    for source in sources:
        (name,) = source.config.names
        torch.testing.assert_close(
            predictions(model, tokens)[name].members, predictions(source, tokens)[name].members
        )
    assert model.normalizer is None


def test_models_that_do_not_fit_are_refused_in_one_sentence(singles) -> None:
    wind, heat = coupled_fields()
    config = tiny_model(wind, heat)
    other = tiny_field(OTHER)
    refusals = [
        (singles[:1], config, {}, f"none of the models to start from has the field {WIND}"),
        ([*singles, singles[0]], config, {}, f"two of the models to start from have the field {HEAT}"),
        (singles, tiny_model(alone(heat)), {}, f"has the field {WIND}, which the configuration lacks"),
        (singles, config, {"new_fields": [OTHER]}, f"{OTHER} cannot be a new field: the configuration lacks"),
        (singles, config, {"new_fields": [HEAT]}, f"{HEAT} cannot be a new field: a model to start from has"),
        (singles, tiny_model(wind, heat, heads=2), {}, f"model of {HEAT} has model.heads: 4, the config.* 2"),
        (
            singles,
            tiny_model(wind.model_copy(update={"embed_dim": 32}), heat),
            {},
            f"has embed_dim 24 for {WIND}, the configuration 32",
        ),
        (
            singles,
            tiny_model(wind, heat.model_copy(update={"num_tokens": (3, 4, 2), "token_size": (2, 1, 4)})),
            {},
            rf"has token_size \(1, 1, 4\) for {HEAT}, the configuration \(2, 1, 4\)",
        ),
        (
            [shaken(config, 0)],
            tiny_model(wind, alone(heat)),
            {},
            f"{HEAT} is coupled to {WIND}, in the configuration not",
        ),
        (
            [shaken(tiny_model(wind, heat.model_copy(update={"loss_weight": 0.0})), 0)],
            config,
            {},
            f"does not predict {HEAT}",
        ),
        (
            [AtmoRep(tiny_model(other, grid_skip={"width": 8, "blocks": 1})), *singles],
            tiny_model(other, wind, heat),
            {},
            rf"model of {OTHER} has the grid_skip \(width=8.*\), the configuration None; make them equal",
        ),
    ]
    for sources, wanted, options, said in refusals:
        with pytest.raises(UserError, match=said):
            couple(sources, wanted, **options)


def test_normalisers_are_joined_if_their_grids_agree() -> None:
    record = wave(names=(WIND, HEAT))
    parts = [Normalizer.fit(record[[WIND]], "anomaly"), Normalizer.fit(record[[HEAT]], "global")]
    joined = merge_normalizers(parts)
    for part in parts:
        for kind in ("mean", "std"):
            for name, expected in getattr(part, kind).items():
                xr.testing.assert_equal(getattr(joined, kind)[name].reset_coords(drop=True), expected)
    elsewhere = Normalizer.fit(wave(names=(HEAT,), rows=4), "local")
    with pytest.raises(UserError, match="different grids of latitude"):
        merge_normalizers([parts[0], elsewhere])


def test_a_run_starts_from_trained_models(monkeypatch, tmp_path: Path) -> None:
    """Weights, departure scales and normalisation are those of the sources; only new fields are fitted."""
    fields = (*coupled_fields(), tiny_field(OTHER))
    warm = 2.0 * wave(names=(WIND, HEAT, OTHER)) - 100.0
    records = {"wave": wave(names=(WIND, HEAT, OTHER)), "warm": warm}
    monkeypatch.setattr(loop, "open_source", lambda name, period: records[name])
    stage = {"part": "transformer", "steps": 1, "batch_size": 2, "learning_rate": 1e-9}
    for f in fields[:2]:
        run = tiny_run(tiny_model(alone(f)), stages=[stage])
        run = run.model_copy(update={"data": run.data.model_copy(update={"train": "warm"})})
        loop.train(run, tmp_path / f.name)
    start = {"models": [str(tmp_path / f.name) for f in fields[:2]], "new_fields": ["v"]}
    run = tiny_run(tiny_model(*fields), stages=[stage], start=start)
    assert isinstance(run, Config) and run.training.start is not None
    assert run.training.start.new_fields == (OTHER,)
    coupled = loop.train(run, tmp_path / "coupled")
    singles = [AtmoRep.from_pretrained(tmp_path / f.name) for f in fields[:2]]
    begun = start_model(StartConfig(**start), run.model)
    for single in singles:
        (name,) = single.config.names
        for model in (begun, coupled):
            assert torch.equal(model.departure_scale[name], single.departure_scale[name])
            expected = single.normalizer.mean[name]
            xr.testing.assert_equal(model.normalizer.mean[name].sel(level=expected.level), expected)
            torch.testing.assert_close(
                model.embeddings[name].value.weight, single.embeddings[name].value.weight, atol=1e-6, rtol=0
            )
    fresh = Normalizer.fit(records["wave"][[OTHER]], "global")
    assert coupled.normalizer.mean[OTHER].equals(fresh.mean[OTHER])
    assert (coupled.departure_scale[OTHER] != 1).any()
    assert AtmoRep.from_pretrained(tmp_path / "coupled").normalizer.mean[OTHER].equals(fresh.mean[OTHER])
