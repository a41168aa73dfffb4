"""The assembled model: what it may and may not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from atmorep_lite.config import ModelConfig
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep, Ensemble
from atmorep_lite.model.fill import fill_in_time
from atmorep_lite.model.tails import EnsembleTails
from atmorep_lite.tokens import FieldTokens, detokenize, spread_over_token
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, tiny_field, tiny_model

Tokens = dict[str, FieldTokens]


def build(*, trained: bool = True, **changes) -> AtmoRep:
    """Two coupled fields on different token grids, with a grid-scale skip that is not zero."""
    settings = {"locality": 0.5, "grid_skip": {"width": 8, "blocks": 1}} | changes
    torch.manual_seed(0)
    model = AtmoRep(tiny_model(*coupled_fields(), **settings)).eval()
    if trained and model.grid_skip is not None:
        torch.nn.init.normal_(model.grid_skip.outputs.weight, std=0.3)
    for table in model.departure_scale.values():
        table.data = 0.2 + 0.1 * torch.arange(table.numel(), dtype=torch.float32).view_as(table)
    return model


def poisoned(tokens: Tokens, poison: float) -> Tokens:
    """The same with something else in the hidden tokens."""
    return {n: t.with_values(torch.where(t.mask[..., None], poison, t.values)) for n, t in tokens.items()}


@torch.no_grad()
@pytest.mark.parametrize("poison", [7.0, float("nan"), float("inf")])
def test_a_departure_model_never_reads_what_is_hidden(poison: float) -> None:
    model = build()
    tokens = random_tokens(model.config)
    tokens[WIND].mask[0] = True  # one field of one sample never visible
    expected, out = model(tokens), model(poisoned(tokens, poison))
    for name in model.predicted:
        assert torch.isfinite(out[name].members).all()
        assert torch.equal(out[name].members, expected[name].members)


@torch.no_grad()
def test_a_departure_model_returns_what_is_visible() -> None:
    model = build()
    tokens = random_tokens(model.config)
    for name, ensemble in model(tokens).items():
        visible = ~tokens[name].mask
        for member in ensemble.members.unbind(1):
            assert torch.equal(member[visible], tokens[name].values[visible])
            assert not torch.equal(member[~visible], tokens[name].values[~visible])


@torch.no_grad()
def test_a_hidden_value_is_the_fill_plus_scaled_departures() -> None:
    """Without skip, members = fill + departure_scale[level, gap] * tail, at every point."""
    model = build(grid_skip=None)
    tokens = random_tokens(model.config)
    outputs = model(tokens)
    guess = {n: tokens[n].with_values(g.values) for n, g in model.first_guess(tokens).items()}
    encoded = model.encode(guess)
    for f in model.config.fields:
        t = tokens[f.name]
        hidden = spread_over_token(t.mask, f.token_size)
        fill, gap = fill_in_time(detokenize(t.values, f.token_size), hidden)
        raw = model.tails[f.name](model.decode(f.name, t, encoded[f.name])).movedim(2, 1)
        raw = detokenize(raw.unflatten(2, t.mask.shape[1:]), f.token_size)
        members = detokenize(outputs[f.name].members, f.token_size)
        scale = detokenize(outputs[f.name].scale, f.token_size)
        for b, level, *point in np.argwhere(hidden.numpy())[::7]:
            at = (b, level, *point)
            unit = model.departure_scale[f.name][level, gap[at]]
            assert scale[at] == unit
            expected = fill[at] + unit * raw[(b, slice(None), level, *point)]
            torch.testing.assert_close(members[(b, slice(None), level, *point)], expected)


@torch.no_grad()
def test_a_field_model_predicts_every_token() -> None:
    model = build(predict="field", grid_skip=None)
    tokens = random_tokens(model.config)
    out = model(tokens)
    changed = model(poisoned(tokens, 2.0))
    for f in model.config.fields:
        shape = (2, 3, len(f.levels), *f.num_tokens, f.token_values)
        assert out[f.name].members.shape == shape and out[f.name].scale is None
        assert not torch.allclose(out[f.name].members, changed[f.name].members)


@torch.no_grad()
@pytest.mark.parametrize("predict", ["field", "departure"])
def test_hidden_tokens_alone_are_the_same_numbers(predict: str) -> None:
    model = build(predict=predict, decoder_layers=2, grid_skip=None)
    tokens = random_tokens(model.config, batch=3)
    tokens[WIND].mask[1] = False  # samples differ in how much they hide
    tokens[HEAT].mask[2] = True
    outputs, hidden = model(tokens), model.predict_hidden(tokens)
    for name, expected in outputs.items():
        mask = tokens[name].mask
        assert hidden[name].members.shape == (int(mask.sum()), 3, model.config.field(name).token_values)
        torch.testing.assert_close(
            hidden[name].members, expected.members.movedim(1, 5)[mask], atol=1e-5, rtol=1e-5
        )
        if predict == "departure":
            assert torch.equal(hidden[name].scale, expected.scale[mask])
    nothing = {n: replace(t, mask=torch.zeros_like(t.mask)) for n, t in tokens.items()}
    assert model.predict_hidden(nothing)[HEAT].members.shape == (0, 3, 4)


@torch.no_grad()
def test_fields_hear_each_other_through_coupling_only() -> None:
    model = build(grid_skip=None)
    tokens = random_tokens(model.config)
    other = tokens | {HEAT: tokens[HEAT].with_values(tokens[HEAT].values + 1.0)}
    assert not torch.allclose(model(tokens)[WIND].members, model(other)[WIND].members, atol=1e-4)
    for layer in model.encoders[WIND]:
        d = layer.coupling_kv[HEAT].weight.shape[0] // 2
        layer.coupling_kv[HEAT].weight[d:] = 0.0  # values
    assert torch.equal(model(tokens)[WIND].members, model(other)[WIND].members)
    assert not torch.equal(model(tokens)[HEAT].members, model(other)[HEAT].members)


@torch.no_grad()
def test_samples_of_a_batch_do_not_mix() -> None:
    model = build()
    tokens = random_tokens(model.config, batch=3)
    alone = {n: FieldTokens(t.values[1:2], t.info[1:2], t.mask[1:2]) for n, t in tokens.items()}
    static = torch.randn(3, 8, *model.config.extent[1:])
    together, single = model(tokens, static), model(alone, static[1:2])
    for name in model.predicted:
        torch.testing.assert_close(together[name].members[1:2], single[name].members, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_an_untrained_skip_leaves_the_fill() -> None:
    model = build(trained=False)
    tokens = random_tokens(model.config)
    guess = model.first_guess(tokens, torch.randn(2, 8, *model.config.extent[1:]))
    for f in model.config.fields:
        hidden = spread_over_token(tokens[f.name].mask, f.token_size)
        fill, _ = fill_in_time(detokenize(tokens[f.name].values, f.token_size), hidden)
        assert torch.equal(detokenize(guess[f.name].values, f.token_size), fill)


def test_an_input_field_is_heard_but_not_predicted() -> None:
    wind, heat = coupled_fields()
    torch.manual_seed(0)
    model = AtmoRep(tiny_model(wind, heat.model_copy(update={"loss_weight": 0.0}))).eval()
    tokens = random_tokens(model.config)
    assert model.predicted == (WIND,) and set(model(tokens)) == {WIND}
    assert not any(name.startswith(("decoders." + HEAT, "tails." + HEAT)) for name in model.state_dict())


def test_gradients_reach_every_parameter() -> None:
    model = build().train()
    tokens = random_tokens(model.config)
    tokens = poisoned(tokens, float("nan"))
    loss = sum(e.members.square().sum() for e in model(tokens, torch.randn(2, 8, 4, 8)).values())
    loss.backward()
    for name, parameter in model.named_parameters():
        if name.startswith("departure_scale"):
            assert parameter.grad is None
            continue
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        if not name.endswith("norm_k.bias"):  # a constant in all scores: the softmax ignores it
            assert parameter.grad.abs().max() > 0, name


def test_checkpointing_changes_no_gradient() -> None:
    model = build(dropout=0.2).train()
    tokens = random_tokens(model.config)
    gradients = []
    for model.checkpointing in (False, True):
        model.zero_grad()
        torch.manual_seed(1)  # the same dropout
        sum(e.members.square().sum() for e in model.predict_hidden(tokens).values()).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_names_of_the_weights_stay() -> None:
    """Saved models depend on them."""
    names = set(build().state_dict())
    for expected in (
        f"embeddings.{HEAT}.value.weight",
        f"embeddings.{HEAT}.hidden",
        f"encoders.{WIND}.1.coupling_kv.{HEAT}.weight",
        f"encoders.{WIND}.0.mlp.layers.0.bias",
        f"decoders.{WIND}.0.cross_kv.weight",
        f"tails.{HEAT}.weights.0",
        f"departure_scale.{HEAT}",
        "grid_skip.blocks.0.pair.weight",
    ):
        assert expected in names


def test_bad_input_is_told_in_one_sentence() -> None:
    model = build()
    tokens = random_tokens(model.config)
    with pytest.raises(UserError, match=f"needs the fields {HEAT}, which were not given"):
        model({WIND: tokens[WIND]})
    short = replace(tokens[HEAT], values=tokens[HEAT].values[:, :, :2])
    with pytest.raises(UserError, match=rf"tokens of {HEAT} have shape .*\(1, 6, 4, 2, 4\)"):
        model(tokens | {HEAT: short})
    with pytest.raises(UserError, match="would predict nothing"):
        AtmoRep(ModelConfig(fields=(tiny_field(loss_weight=0.0),), heads=4))


def test_ensemble_mean_and_spread() -> None:
    members = torch.randn(2, 5, 1, 2, 2, 2, 3)
    ensemble = Ensemble(members)
    torch.testing.assert_close(ensemble.mean, torch.from_numpy(members.numpy().mean(1)))
    torch.testing.assert_close(ensemble.spread, torch.from_numpy(members.numpy().std(1, ddof=1)))
    alone = Ensemble(members[:, :1])
    assert (alone.spread == 0).all() and alone.spread.shape == alone.mean.shape


@torch.no_grad()
def test_tails_are_independent_heads() -> None:
    torch.manual_seed(0)
    tails = EnsembleTails(8, 5, members=3, hidden=1)
    torch.nn.init.normal_(tails.norm_weight)
    torch.nn.init.normal_(tails.norm_bias)
    x = torch.randn(2, 4, 8)
    out = tails(x)
    assert out.shape == (2, 4, 3, 5)
    for m in range(3):
        net = torch.nn.Sequential(
            torch.nn.LayerNorm(8), torch.nn.Linear(8, 8), torch.nn.GELU(), torch.nn.Linear(8, 5)
        )
        sources = (tails.norm_weight, tails.norm_bias, tails.weights[0], tails.biases[0])
        for parameter, source in zip(
            net.parameters(), (*sources, tails.weights[1], tails.biases[1]), strict=True
        ):
            parameter.copy_(source[m])
        torch.testing.assert_close(out[:, :, m], net(x), atol=1e-6, rtol=1e-5)
