"""Influence against finite differences, gradient x attention against a model with its weights in the open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from atmorep_lite import attention
from atmorep_lite.attention_maps import (
    attention_maps,
    capture_attention,
    gradient_attention,
    influence,
    key_relevance,
    neighbourhood,
)
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep, layers
from tests.tiny import HEAT, WIND, coupled_fields, ready_model, tiny_field, tiny_model, wave

PLACE = {"latitude": 45.0, "longitude": 5.0}
TIME = "2001-01-01T18"
QUERY = 2 * 8 + 5  # of the wind: level 500, the hidden slot


@pytest.fixture(scope="module")
def data():
    record = wave(times=10, names=(WIND, HEAT))
    rng = np.random.default_rng(0)
    return record.copy(data={n: v + rng.normal(size=v.shape) for n, v in record.data_vars.items()})


@pytest.fixture(scope="module")
def model(data):
    config = tiny_model(
        *coupled_fields(), locality=0.4, coupling_heads=2, grid_skip={"width": 8, "blocks": 1}
    )
    model = ready_model(config, data)
    with torch.no_grad():
        for weight in model.parameters():  # no part is silent
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model


@pytest.fixture(scope="module")
def cube(model, data):
    return neighbourhood(model, data, TIME, **PLACE)


@pytest.fixture(scope="module")
def capture(model, data):
    return capture_attention(model, data, TIME, **PLACE)


@pytest.fixture(scope="module")
def found(model, cube, capture):
    return influence(model, cube.tokens, cube.static, places=capture.fields, field=WIND, query=QUERY)


@torch.no_grad()
def predicted(model, tokens, static) -> torch.Tensor:
    """[batch, channel] of the token asked about."""
    return model(tokens, static)[WIND].mean.flatten(1, 4)[:, QUERY]


def test_influence_is_that_of_finite_differences(model, cube, capture, found) -> None:
    """In double precision: central differences of every value of some tokens of both fields."""
    step, checked = 1e-5, 0
    model.double()
    try:
        for name in (WIND, HEAT):
            mask = cube.tokens[name].mask[0].flatten()
            channels = cube.tokens[name].values.shape[-1]
            moves = step * torch.cat((torch.eye(channels), -torch.eye(channels))).double()
            wide = {n: many(t, len(moves)) for n, t in cube.tokens.items()}
            static = cube.static.double().expand(len(moves), *cube.static.shape[1:])
            for token in np.flatnonzero(~mask.numpy())[::9]:
                values = wide[name].values.clone()
                values.flatten(1, 4)[:, token] += moves
                ends = predicted(model, wide | {name: wide[name].with_values(values)}, static)
                slopes = (ends[:channels] - ends[channels:]) / (2 * step)
                one = found.sel(key_field=name).isel(key=int(token))
                assert float(one) == pytest.approx(float(slopes.norm()), rel=2e-3, abs=1e-7)
                checked += 1
    finally:
        model.float()
    assert checked >= 8


def many(tokens, count: int):
    """So many copies of one neighbourhood, in double precision."""
    parts = {"values": tokens.values.double(), "info": tokens.info.double(), "mask": tokens.mask}
    return replace(tokens, **{k: v.expand(count, *v.shape[1:]).contiguous() for k, v in parts.items()})


def test_hidden_tokens_have_none_and_labels_are_those_of_the_capture(capture, found) -> None:
    hidden = np.concatenate([f.mask.ravel() for f in capture.fields.values()])
    np.testing.assert_array_equal(np.isnan(found), hidden)
    assert float(found.sel(key_field=HEAT).max()) > 0  # what is heard counts
    for name, field in capture.fields.items():
        mine = found.sel(key_field=name)
        assert mine.sizes["key"] == field.mask.size
        level, time, row, column = np.unravel_index(3, field.mask.shape)
        one = mine.isel(key=3)
        assert one.key_level == field.level[level] and one.key_time.values == field.time[time]
        assert one.key_latitude == field.latitude[row] and one.key_longitude == field.longitude[column]


def test_random_directions_are_right_on_average(model, cube, capture, found) -> None:
    """The square of the norm, over many draws of few directions."""
    given = {"places": capture.fields, "field": WIND, "query": QUERY, "most": 4}
    draws = np.stack([influence(model, cube.tokens, cube.static, seed=s, **given) for s in range(24)])
    ratio = np.nansum(draws**2, 1) / np.nansum(found.values**2)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / 24**0.5 and ratio.std() < (2 / 4) ** 0.5
    assert ratio.std() > 0.01


def test_gradients_of_weights_are_those_of_a_model_with_weights_in_the_open(
    model, cube, capture, monkeypatch
) -> None:
    """The attention of the encoder is written out, each weight multiplied by a leaf of ones."""
    leaves = []

    def open_attention(q, k, v, bias=None):
        weights = attention.attention_weights(q, k, bias)
        leaves.append(torch.ones_like(weights).requires_grad_())
        return (weights * leaves[-1]) @ v

    monkeypatch.setattr(layers, "attend", open_attention)
    y = model(cube.tokens, cube.static)[WIND].mean[0].flatten(0, 3)[QUERY].mean()
    slopes = iter(torch.autograd.grad(y, leaves, allow_unused=True))
    monkeypatch.undo()
    tree = gradient_attention(model, cube.tokens, cube.static, places=capture.fields, field=WIND, query=QUERY)
    for layer in range(2):
        for name in (WIND, HEAT):
            for key in (name, HEAT if name == WIND else WIND):
                slope = next(slopes)
                expected = np.zeros(1) if slope is None else slope[0].numpy()
                product = tree[f"{name}/{key}"]["gradient_attention"]
                assert product.dims == ("layer", "head", "query", "key")
                np.testing.assert_allclose(
                    product.values[layer], np.broadcast_to(expected, product.shape[1:]), atol=2e-6
                )
    assert np.abs(tree[f"{WIND}/{HEAT}"]["gradient_attention"].values[1]).max() > 1e-4
    # in the last layer nothing of the temperature's stream reaches the wind any more
    assert (tree[f"{HEAT}/{HEAT}"]["gradient_attention"].values[1] == 0).all()


def test_chosen_rows_and_relevance(model, cube, capture) -> None:
    given = {"places": capture.fields, "field": WIND, "query": QUERY}
    tree = gradient_attention(model, cube.tokens, cube.static, **given)
    few = gradient_attention(model, cube.tokens, cube.static, **given, layers=[1], queries=[2, QUERY])
    pair = f"{WIND}/{HEAT}"
    np.testing.assert_allclose(
        few[pair]["gradient_attention"][0], tree[pair]["gradient_attention"][1][:, [2, QUERY]], atol=1e-9
    )
    maps = attention_maps(capture, layers=[1], queries=[2, QUERY])
    assert few[pair]["gradient_attention"].indexes["key"].equals(maps[pair]["attention"].indexes["key"])
    relevance = key_relevance(tree, places=capture.fields)
    expected = sum(np.abs(tree[f"{name}/{HEAT}"]["gradient_attention"]).sum(("layer", "head", "query")).values
                   for name in (WIND, HEAT))  # fmt: skip
    np.testing.assert_allclose(relevance.sel(key_field=HEAT), expected)
    assert list(dict.fromkeys(relevance.key_field.values)) == [WIND, HEAT]


def test_mistakes_are_explained(model, cube, capture) -> None:
    given = {"places": capture.fields, "field": WIND}
    with pytest.raises(UserError, match="is visible"):
        influence(model, cube.tokens, cube.static, **given, query=0)
    with pytest.raises(UserError, match="does not exist"):
        influence(model, cube.tokens, cube.static, **given, query=10**6)
    with pytest.raises(UserError, match="not predicted"):
        influence(model, cube.tokens, places=capture.fields, field="humidity", query=0)
    around = tiny_field(WIND, context={"num_tokens": (3, 1, 2), "token_size": (2, 4, 8)})
    with pytest.raises(UserError, match="context"):
        influence(AtmoRep(tiny_model(around, positions="sphere")), cube.tokens, **given, query=QUERY)
    with pytest.raises(UserError, match="0 backward passes"):
        influence(model, cube.tokens, cube.static, **given, query=QUERY, most=0)
    whole = AtmoRep(tiny_model(*coupled_fields(), predict="field"))  # what is hidden changes its prediction
    with pytest.raises(UserError, match="one of departures"):
        influence(whole, cube.tokens, cube.static, **given, query=QUERY)
    with pytest.raises(UserError, match="layer 9"):
        gradient_attention(model, cube.tokens, cube.static, **given, query=QUERY, layers=[9])
    two = {n: replace(t, values=t.values.repeat(2, *[1] * 5), mask=t.mask.repeat(2, *[1] * 4))
           for n, t in cube.tokens.items()}  # fmt: skip
    with pytest.raises(UserError, match="one neighbourhood"):
        influence(model, two, **given, query=QUERY)
