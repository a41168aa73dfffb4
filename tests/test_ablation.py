"""Silencing against networks from which the parts were taken out by hand; errors against their definition."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from atmorep_lite.ablation import (
    hidden_errors,
    hide_field,
    hide_future,
    randomise_encoder,
    restorations,
    silence_couplings,
    silence_heads,
)
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, ready_model, tiny_model, wave

CONFIG = tiny_model(*coupled_fields(), locality=0.4)
UNCOUPLED = tiny_model(*(f.model_copy(update={"coupled_to": ()}) for f in coupled_fields()), locality=0.4)


@pytest.fixture(scope="module")
def model() -> AtmoRep:
    return ready_model(CONFIG, wave(times=10, names=(WIND, HEAT)))


@pytest.fixture(scope="module")
def tokens() -> dict[str, FieldTokens]:
    return random_tokens(CONFIG)


@torch.no_grad()
def members(model: AtmoRep, tokens: dict[str, FieldTokens]) -> dict[str, torch.Tensor]:
    return {name: ensemble.members for name, ensemble in model(tokens).items()}


def assert_same_except(a: dict, b: dict, changed: set[str]) -> None:
    for name in a:
        assert torch.equal(a[name], b[name]) == (name not in changed), name


@torch.no_grad()
def test_silenced_couplings_leave_a_network_that_has_none(model: AtmoRep, tokens: dict) -> None:
    """An uncoupled network with the same weights, less the columns of W_out that mixed the couplings in."""
    apart = AtmoRep(UNCOUPLED).eval()
    weights = {name: value for name, value in model.state_dict().items() if "coupling" not in name}
    for name, value in apart.state_dict().items():
        weights[name] = weights[name][:, : value.shape[1]] if name.endswith(".out.weight") else weights[name]
    apart.load_state_dict(weights)
    silent, expected = members(silence_couplings(model), tokens), members(apart, tokens)
    for name in expected:
        torch.testing.assert_close(silent[name], expected[name])
    assert_same_except(members(model, tokens), silent, {WIND, HEAT})


def test_uncoupled_streams_do_not_depend_on_each_other(model: AtmoRep, tokens: dict) -> None:
    other = tokens | {HEAT: tokens[HEAT].with_values(tokens[HEAT].values.flip(0))}
    silent = silence_couplings(model)
    assert_same_except(members(silent, tokens), members(silent, other), {HEAT})
    assert_same_except(members(model, tokens), members(model, other), {WIND, HEAT})


def test_only_the_listener_changes_in_the_last_layer(model: AtmoRep, tokens: dict) -> None:
    whole = members(model, tokens)
    assert_same_except(whole, members(silence_couplings(model, listener=WIND, layers=[1]), tokens), {WIND})
    assert_same_except(whole, members(silence_couplings(model, heard=WIND, layers=[1]), tokens), {HEAT})
    # from the first layer on, what one stream has lost reaches the other
    assert_same_except(
        whole, members(silence_couplings(model, listener=WIND, layers=[0]), tokens), {WIND, HEAT}
    )


@torch.no_grad()
def test_a_silenced_head_adds_nothing(model: AtmoRep, tokens: dict) -> None:
    """As if its columns of W_out were zero."""
    by_hand = copy.deepcopy(model)
    d = CONFIG.field(WIND).embed_dim // CONFIG.heads
    by_hand.encoders[WIND][1].out.weight[:, 2 * d : 3 * d] = 0
    silent = silence_heads(model, listener=WIND, heads=[2], layers=[1])
    for name, expected in members(by_hand, tokens).items():
        torch.testing.assert_close(members(silent, tokens)[name], expected)
    assert_same_except(members(model, tokens), members(silent, tokens), {WIND})
    assert_same_except(members(model, tokens), members(silence_heads(model), tokens), {WIND, HEAT})


def test_the_model_itself_is_not_changed(model: AtmoRep) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    silence_couplings(model)
    silence_heads(model)
    randomise_encoder(model, seed=1)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_random_encoder(model: AtmoRep) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (randomise_encoder(model, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(first[name], again[name])
        if name.startswith(("decoders", "tails", "departure")):
            assert torch.equal(first[name], value)
    weight = f"encoders.{WIND}.0.qkv.weight"
    assert not torch.equal(first[weight], other[weight])
    assert not torch.equal(first[weight], model.state_dict()[weight])


def test_hiding(model: AtmoRep, tokens: dict) -> None:
    hidden = hide_field(tokens, HEAT)
    assert hidden[HEAT].mask.all() and not hidden[WIND].mask.any()
    assert hidden[HEAT].values is tokens[HEAT].values
    future = hide_future(model, tokens)
    assert future[WIND].mask[:, :, -1:].all() and not future[WIND].mask[:, :, :-1].any()
    assert future[HEAT].mask[:, :, -2:].all() and not future[HEAT].mask[:, :, :-2].any()  # half as long


@torch.no_grad()
def test_errors_are_those_of_hidden_tokens(model: AtmoRep, tokens: dict) -> None:
    table = hidden_errors(model, tokens)
    assert list(table) == [WIND, HEAT] and len(table) == 2
    prediction, guess = model(tokens), model.first_guess(tokens)
    first = hidden_errors(model, tokens, first_guess=True)
    for name, field in tokens.items():
        for b in range(2):
            for found, values in ((table, prediction[name].mean), (first, guess[name].values)):
                misses = [
                    float((values[b][where] - field.values[b][where]).square().mean())
                    for where in map(tuple, field.mask[b].nonzero().tolist())
                ]
                assert found.loc[b, name] == pytest.approx(np.sqrt(np.mean(misses)), rel=1e-5)
    assert list(hidden_errors(model, hide_field(tokens, HEAT))) == [HEAT]


@torch.no_grad()
def test_restorations_of_a_hidden_field(model: AtmoRep, tokens: dict) -> None:
    found = restorations(model, tokens, None, HEAT)
    hidden = hide_field(tokens, HEAT)
    assert torch.equal(found["truth"], tokens[HEAT].values)
    assert torch.equal(found["whole model"], model(hidden)[HEAT].mean)
    spoilt = hidden[HEAT].with_values(torch.full_like(hidden[HEAT].values, 7.0))
    again = restorations(model, tokens | {HEAT: spoilt}, None, HEAT)
    for what in ("streams alone", "convolution alone", "whole model"):
        assert torch.equal(found[what], again[what])  # nobody reads what is hidden
    other = tokens | {WIND: tokens[WIND].with_values(tokens[WIND].values.flip(0))}
    elsewhere = restorations(model, other, None, HEAT)
    assert torch.equal(found["streams alone"], elsewhere["streams alone"])
    assert not torch.equal(found["whole model"], elsewhere["whole model"])


def test_mistakes_are_explained(model: AtmoRep, tokens: dict) -> None:
    with pytest.raises(UserError, match="does not listen"):
        silence_couplings(model, listener=WIND, heard=WIND)
    with pytest.raises(UserError, match="not a field"):
        silence_couplings(model, listener="humidity")
    with pytest.raises(UserError, match="head 4"):
        silence_heads(model, heads=[4])
    with pytest.raises(UserError, match="layer 2"):
        silence_heads(model, layers=[2])
    with pytest.raises(UserError, match="not among"):
        hide_field(tokens, "humidity")
    with pytest.raises(UserError, match="run configuration"):
        hide_future(AtmoRep(CONFIG), tokens)
    published = AtmoRep(tiny_model(*coupled_fields(), predict="field"))
    with pytest.raises(UserError, match="hidden tokens"):
        hidden_errors(published, tokens)
