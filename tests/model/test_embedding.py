"""Embedding of tokens: order, token information, codes of place, the flag of hidden tokens, the context."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from atmorep_lite.config import ContextConfig, ModelConfig, SubpatchConfig, parse_model_config
from atmorep_lite.errors import UserError
from atmorep_lite.model.embedding import TokenEmbedding, middle_of
from atmorep_lite.model.positions import harmonic_positions, sphere_positions
from atmorep_lite.tokens import FieldTokens, token_positions, token_spans
from tests.tiny import random_tokens, tiny_field, tiny_model


@pytest.mark.parametrize("published", [False, True])
def test_harmonic_positions_against_the_formula(published: bool) -> None:
    levels, nt, ny, nx, channels = 2, 3, 2, 5, 32
    code = harmonic_positions(levels, nt, ny, nx, channels, published=published)
    assert code.shape == (levels, nt, ny, nx, channels)
    for v, t, y, x, k in np.ndindex(levels, nt, ny, nx, channels // 2):
        w = 2 * math.pi * 2 * k / channels
        row = (y * nx + x) // ny if published else y
        even = 0.5 * math.sin(8 * row * w) + math.sin(t * w)
        odd = 0.5 * math.cos(8 * x * w) + math.cos(v * w)
        assert code[v, t, y, x, 2 * k].item() == pytest.approx(even, abs=1e-5)
        assert code[v, t, y, x, 2 * k + 1].item() == pytest.approx(odd, abs=1e-5)


def test_wide_enough_codes_tell_all_tokens_apart() -> None:
    """Columns have period ``channels / 16`` and cosines are even, so that 16 columns need 512 channels."""
    code = harmonic_positions(2, 3, 8, 16, 512).flatten(0, 3)
    apart = torch.cdist(code, code) + 1e3 * torch.eye(len(code))
    assert apart.min() > 0.5
    narrow = harmonic_positions(1, 1, 1, 16, 64)
    torch.testing.assert_close(narrow[..., :12, :], narrow[..., 4:, :], atol=1e-4, rtol=0)


def embedding(**changes: Any) -> tuple[TokenEmbedding, FieldTokens]:
    torch.manual_seed(0)
    model = tiny_model(tiny_field(), **changes)
    return TokenEmbedding(model.fields[0], model), random_tokens(model)[model.names[0]]


def test_tokens_come_out_in_c_order_with_value_information_and_position() -> None:
    net, tokens = embedding(predict="field")
    torch.nn.init.normal_(net.info.weight)
    out = net(tokens)
    assert out.shape == (2, 2 * 3 * 2 * 4, 24)
    assert net.info.weight.shape == (16, 10)
    for n, place in enumerate(np.ndindex(2, 3, 2, 4)):
        value = net.value.weight @ tokens.values[1][place] + net.value.bias
        torch.testing.assert_close(out[1, n, :8], value + net.position[place][:8], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("published", [None, "2024"])
def test_place_and_time_do_not_matter_before_training(published: str | None) -> None:
    net, tokens = embedding(published=published)
    moved = replace(tokens, info=tokens.info + 30.0)
    assert torch.equal(net(tokens), net(moved))
    torch.nn.init.normal_(net.info.weight)
    assert not torch.allclose(net(tokens), net(moved))


def test_only_hidden_tokens_are_flagged() -> None:
    net, tokens = embedding()
    plain = net(replace(tokens, mask=torch.zeros_like(tokens.mask)))
    change = net(tokens) - plain
    hidden = tokens.mask.flatten(1)
    torch.testing.assert_close(change[hidden], net.hidden.expand(int(hidden.sum()), -1), atol=1e-5, rtol=1e-5)
    assert (change[~hidden] == 0).all()
    without, _ = embedding(predict="field")
    assert without.hidden is None and torch.equal(
        without(tokens), without(replace(tokens, mask=~tokens.mask))
    )


def test_the_code_of_the_sphere_is_added_with_the_date_beside_it() -> None:
    net, tokens = embedding(positions="sphere", predict="field")
    places = token_positions(tokens.info.flatten(1, 4))
    middle = token_positions(tokens.info)[:, 0, 0, 1, 2, :3]  # of 2 x 4 tokens
    assert torch.equal(middle_of(tokens, places), middle)
    spans = token_spans(tokens.info, (2, 2, 2)).flatten(1, 4)
    code = net.place(sphere_positions(places, middle, spans))
    value = net.value(tokens.values.flatten(1, 4))
    torch.testing.assert_close(net(tokens), torch.cat((value, torch.zeros(2, 48, 16)), -1) + code)


@pytest.mark.parametrize("subpatches", [None, SubpatchConfig(size=(1, 2, 2), width=16)])
def test_context_tokens_come_last(subpatches: SubpatchConfig | None) -> None:
    context = ContextConfig(num_tokens=(3, 1, 2), token_size=(2, 4, 4))
    model = tiny_model(tiny_field(context=context), positions="sphere", subpatches=subpatches)
    torch.manual_seed(0)
    net = TokenEmbedding(model.fields[0], model)
    tokens = random_tokens(model)["temperature"]
    shape = (2, 2, 3, 1, 2)
    wide = FieldTokens(
        torch.randn(*shape, 32), tokens.info[:, :, :, :1, :2].clone(), torch.ones(shape, dtype=torch.bool)
    )
    both = replace(tokens, context=wide)
    out = net(both)
    assert out.shape == (2, 48 + 12, 24)
    assert torch.equal(both.sequence_info()[:, :48], tokens.info.flatten(1, 4))
    other = net(replace(both, context=wide.with_values(wide.values + 1.0)))
    assert torch.equal(out[:, :48], other[:, :48]) and not torch.equal(out[:, 48:], other[:, 48:])
    seen = net(replace(both, context=replace(wide, mask=~wide.mask)))
    torch.testing.assert_close(out[:, 48:] - seen[:, 48:], net.hidden.expand(2, 12, -1), atol=1e-5, rtol=1e-5)
    if subpatches is not None:
        assert net.context_value is None, "one network for both sizes"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"published": "2024", "positions": "sphere"}, "published embedding"),
        ({"published": "2024", "subpatches": {}}, "published embedding"),
        ({"positions": "sphere", "subpatches": {"size": [2, 4, 2]}}, "cannot be cut into sub-patches"),
        ({"context": {"num_tokens": [3, 2, 4], "token_size": [2, 2, 2]}}, 'needs model.positions: "sphere"'),
        (
            {"positions": "sphere", "context": {"num_tokens": [2, 2, 4], "token_size": [2, 4, 4]}},
            "must cover the neighbourhood",
        ),
        (
            {"positions": "sphere", "context": {"num_tokens": [3, 1, 4], "token_size": [2, 2, 4]}},
            "must cover the neighbourhood",
        ),
        (
            {
                "positions": "sphere",
                "subpatches": {"size": [2, 2, 2]},
                "context": {"num_tokens": [6, 2, 4], "token_size": [1, 4, 4]},
            },
            "of \\(1, 4, 4\\) points cannot be cut",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    field = tiny_field().model_dump() | {"context": changes.get("context")}
    rest = {name: value for name, value in changes.items() if name != "context"}
    tree = tiny_model().model_dump() | {"fields": [field]} | rest
    with pytest.raises(UserError, match=message):
        parse_model_config(tree)


def test_a_context_may_be_coarser_and_is_counted_in_points() -> None:
    context = ContextConfig(num_tokens=(3, 2, 4), token_size=(2, 2, 2), coarsen=3)
    assert context.extent == (6, 12, 24) and context.token_values == 8
    assert isinstance(tiny_model(tiny_field(context=context), positions="sphere"), ModelConfig)
