"""Positions and token information, against loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from atmorep_lite.model.embedding import TokenEmbedding, harmonic_positions
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


def embedding(**changes: bool) -> tuple[TokenEmbedding, object]:
    torch.manual_seed(0)
    field = tiny_field()
    tokens = random_tokens(tiny_model(field))[field.name]
    return TokenEmbedding(field, **({"published": False, "flag_hidden": True} | changes)), tokens


def test_tokens_come_out_in_c_order_with_value_information_and_position() -> None:
    net, tokens = embedding(flag_hidden=False)
    torch.nn.init.normal_(net.info.weight)
    out = net(tokens)
    assert out.shape == (2, 2 * 3 * 2 * 4, 24)
    assert net.info.weight.shape == (16, 10)
    for n, place in enumerate(np.ndindex(2, 3, 2, 4)):
        value = net.value.weight @ tokens.values[1][place] + net.value.bias
        torch.testing.assert_close(out[1, n, :8], value + net.position[place][:8], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("published", [False, True])
def test_place_and_time_do_not_matter_before_training(published: bool) -> None:
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
    without, _ = embedding(flag_hidden=False)
    assert without.hidden is None and torch.equal(
        without(tokens), without(replace(tokens, mask=~tokens.mask))
    )
