"""Biases are shared by fields at the same places, and by no others."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch

from atmorep_lite.attention import locality_bias, locality_slopes
from atmorep_lite.model import AtmoRep, nearness
from atmorep_lite.model.nearness import Nearness
from atmorep_lite.tokens import token_positions
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, tiny_model

CONFIG = tiny_model(*coupled_fields(), locality=0.4, coupling_heads=2)


@pytest.mark.parametrize("apart", [False, True])
def test_every_bias_is_that_of_its_pair(apart: bool) -> None:
    tokens = random_tokens(CONFIG)
    info = tokens[WIND].info.clone()
    if apart:
        info[:, :, -1, -1, -1, 5] += 1.0  # one token's longitude
    tokens[HEAT] = replace(tokens[HEAT], info=info)
    near = Nearness(CONFIG, tokens)
    place = {name: token_positions(field.info).flatten(1, 4) for name, field in tokens.items()}
    cross = int(CONFIG.heads * CONFIG.cross_fraction)
    for name, other in ((WIND, HEAT), (HEAT, WIND)):
        expected = {
            "self": (name, CONFIG.heads),
            other: (other, CONFIG.coupling_heads),
        }
        found = near.encoder(name)
        assert set(found) == set(expected)
        for origin, (far, heads) in expected.items():
            bias = locality_bias(place[name], place[far], locality_slopes(0.4, heads))
            assert torch.equal(found[origin], bias)
        for origin, heads in (("self", CONFIG.heads - cross), ("encoder", cross)):
            bias = locality_bias(place[name], place[name], locality_slopes(0.4, heads))
            assert torch.equal(near.decoder(name)[origin], bias)
    assert (near.encoder(WIND)["self"] is near.encoder(HEAT)["self"]) != apart


def test_fields_of_other_shapes_are_not_compared() -> None:
    tokens = random_tokens(CONFIG)
    tokens[HEAT] = replace(
        tokens[HEAT], **{key: getattr(tokens[HEAT], key)[:, :, :1] for key in ("values", "info", "mask")}
    )
    found = Nearness(CONFIG, tokens).encoder(WIND)
    own, other = (tokens[name].mask[0].numel() for name in (WIND, HEAT))
    assert own != other
    assert found["self"].shape[-2:] == (own, own) and found[HEAT].shape[-2:] == (own, other)


def test_a_pass_forms_each_bias_once() -> None:
    tokens = random_tokens(CONFIG)
    tokens[HEAT] = replace(tokens[HEAT], info=tokens[WIND].info.clone())
    with patch.object(nearness, "locality_bias", wraps=locality_bias) as formed:
        AtmoRep(CONFIG)(tokens)
    cross = int(CONFIG.heads * CONFIG.cross_fraction)
    assert formed.call_count == len({CONFIG.heads, CONFIG.coupling_heads, CONFIG.heads - cross, cross} - {0})


def test_without_locality_there_is_none() -> None:
    plain = tiny_model(*coupled_fields(), locality=0.0)
    near = Nearness(plain, random_tokens(plain))
    assert near.encoder(WIND) == near.decoder(HEAT) == {}


def test_half_precision_casts_it_once() -> None:
    tokens = random_tokens(CONFIG)
    with torch.autocast("cpu", torch.bfloat16):
        half = Nearness(CONFIG, tokens).encoder(WIND)["self"]
    whole = Nearness(CONFIG, tokens).encoder(WIND)["self"]
    assert half is not None and whole is not None
    assert half.dtype == torch.bfloat16 and torch.equal(half, whole.bfloat16())
