"""What arrives, against layers from which all other parts were taken out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atmorep_lite.ablation import silence_couplings, silence_heads
from atmorep_lite.attention_maps import attention_maps, capture_attention, field_flow, neighbourhood
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.nearness import Nearness
from atmorep_lite.tokens import FieldTokens
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, ready_model, tiny_model, wave

CONFIG = tiny_model(*coupled_fields(), locality=0.4, coupling_heads=2)


@pytest.fixture(scope="module")
def model() -> AtmoRep:
    return ready_model(CONFIG, wave(times=10, names=(WIND, HEAT)))


@pytest.fixture(scope="module")
def tokens() -> dict[str, FieldTokens]:
    return random_tokens(CONFIG)


@torch.no_grad()
def test_what_arrives(model: AtmoRep, tokens: dict) -> None:
    """The first layer's change before its perceptron is a sum of parts; each part alone by silencing."""
    found = field_flow(model, tokens)
    assert found.dims == ("layer", "query_field", "key_field") and found.shape == (2, 2, 2)
    guess = model.first_guess(tokens)
    filled = {name: field.with_values(guess[name].values) for name, field in tokens.items()}
    x, y = (model.embeddings[name](filled[name]) for name in (WIND, HEAT))
    bias = Nearness(CONFIG, filled).encoder(WIND)
    only_self = silence_couplings(model).encoders[WIND][0]
    only_heard = silence_heads(model).encoders[WIND][0]
    for layer, key in ((only_self, WIND), (only_heard, HEAT)):
        layer.mlp = torch.nn.Identity()
        added = layer(x, {HEAT: y}, bias) - x
        expected = added.square().mean().sqrt() / x.square().mean().sqrt()
        assert float(found.sel(layer=0, query_field=WIND, key_field=key)) == pytest.approx(
            float(expected), rel=1e-4
        )
    silent = field_flow(silence_couplings(model), tokens)
    assert float(silent.sel(query_field=WIND, key_field=HEAT).max()) == 0.0
    assert not model.encoders[WIND][0]._forward_pre_hooks  # hooks are taken off again


def test_flow_is_the_loop_over_weights_values_and_output() -> None:
    """|| sum_j alpha_ij V_j W_out || token by token, from captured weights."""
    record = wave(times=10, names=(WIND, HEAT))
    model = ready_model(CONFIG, record)
    where = {"latitude": 45.0, "longitude": 5.0}
    cube = neighbourhood(model, record, "2001-01-01T18", **where)
    capture = capture_attention(model, record, "2001-01-01T18", **where)
    whole = field_flow(model, cube.tokens, cube.static)
    heads = field_flow(model, cube.tokens, cube.static, per_head=True)
    assert heads.dims == ("layer", "head", "query_field", "key_field") and heads.sizes["head"] == 4
    guess = model.first_guess(cube.tokens, cube.static)
    x, y = (
        model.embeddings[n](cube.tokens[n].with_values(guess[n].values))[0].detach().numpy()
        for n in (WIND, HEAT)
    )
    block, d = model.encoders[WIND][0], CONFIG.field(WIND).embed_dim // 4
    out = block.out.weight.detach().numpy()

    def normed(z: np.ndarray) -> np.ndarray:
        return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5)

    kv = block.coupling_kv[HEAT].weight.detach().numpy()
    qkv = block.qkv.weight.detach().numpy()
    maps = attention_maps(capture, query_fields=[WIND], layers=[0])
    for key, count, first in ((WIND, 4, 0), (HEAT, 2, 4)):
        weights = maps[f"{WIND}/{key}"]["attention"].values[0]
        total = np.zeros_like(x)
        for head in range(count):
            rows = qkv[(3 * head + 2) * d :][:d] if key == WIND else kv[(count + head) * d :][:d]
            values = normed(x if key == WIND else y) @ rows.T
            added = np.zeros_like(x)
            for i in range(len(x)):
                heard = sum(weights[head, i, j] * values[j] for j in range(len(values)))
                added[i] = out[:, (first + head) * d : (first + head + 1) * d] @ heard
            total += added
            size = np.sqrt((added**2).mean() / (x**2).mean())
            found = heads.sel(layer=0, head=head, query_field=WIND, key_field=key)
            assert float(found) == pytest.approx(size, rel=1e-3)
        size = np.sqrt((total**2).mean() / (x**2).mean())
        assert float(whole.sel(layer=0, query_field=WIND, key_field=key)) == pytest.approx(size, rel=1e-3)
    assert heads.sel(head=[2, 3], query_field=WIND, key_field=HEAT).isnull().all()
    assert heads.sel(query_field=WIND, key_field=WIND).notnull().all()
