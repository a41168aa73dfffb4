"""Weights of tokens against arithmetic, and the training loss with them against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atmorep_lite.config import WeightsConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Batch, Neighbourhoods, Place
from atmorep_lite.losses import crps, spectral
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import detokenize, spread_over_token
from atmorep_lite.training.step import hide, masked_loss
from atmorep_lite.training.weights import layer_masses, token_weights
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, tiny_field, tiny_model, wave


def case(**changes) -> tuple[AtmoRep, Batch, dict]:
    torch.manual_seed(0)
    model = AtmoRep(tiny_model(*coupled_fields(), **changes)).eval()
    for table in model.departure_scale.values():
        table.data = 0.3 + 0.1 * torch.arange(table.numel(), dtype=torch.float32).view_as(table)
    record = wave(names=(WIND, HEAT), times=10)
    data = Neighbourhoods(record, model.config, Normalizer.fit(record, "global"))
    batch = data.batch([Place(0, 0, 3), Place(4, 4, 12)])
    masks = {n: t.mask for n, t in random_tokens(model.config, seed=3).items()}
    masks[WIND][0, 0] = False  # one level of one sample is wholly visible
    return model, batch, hide(batch.tokens, masks)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((500,), [1.0]),
        ((500, 850), [1.0, 1.0]),
        ((850, 500, 250), [350 / 300, 1.0, 250 / 300]),  # 350, 300 and 250 hPa thick
        ((50, 450), [250 / 325, 400 / 325]),  # 0 to 250 and 250 to 650 hPa
    ],
)
def test_layers_reach_halfway_to_their_neighbours(levels: tuple[int, ...], expected: list[float]) -> None:
    np.testing.assert_allclose(layer_masses(levels).numpy(), expected, rtol=1e-6)


def test_token_weights_are_area_times_mass() -> None:
    field = tiny_field(levels=(850, 500, 250))
    tokens = random_tokens(tiny_model(field))[field.name]
    both = token_weights(tokens, field.levels, WeightsConfig(area=True, level="mass"))
    mass = layer_masses(field.levels)
    for at in np.ndindex(tokens.mask.shape):
        latitude = 90.0 - float(tokens.info[at][4])
        expected = math.cos(math.radians(latitude)) * float(mass[at[1]])
        assert float(both[at]) == pytest.approx(expected, rel=1e-5)
    none = token_weights(tokens, field.levels, WeightsConfig(area=False))
    assert (none == 1).all() and none.shape == tokens.mask.shape


@torch.no_grad()
@pytest.mark.parametrize("weights", [WeightsConfig(area=False), WeightsConfig(area=True, level="mass")])
@pytest.mark.parametrize("predict", ["departure", "field"])
def test_loss_against_a_loop_over_tokens_and_patches(weights: WeightsConfig, predict: str) -> None:
    model, batch, tokens = case(predict=predict)
    out = model(tokens, batch.static)
    expected = {}
    for f in model.config.fields:
        mask, scale = tokens[f.name].mask, out[f.name].scale
        weight = token_weights(tokens[f.name], f.levels, weights)
        unit = torch.ones_like(batch.tokens[f.name].values) if scale is None else scale
        members, truth = out[f.name].members.movedim(1, 0) / unit, batch.tokens[f.name].values / unit
        points = patch = whole = parts = 0.0
        for place in np.argwhere(mask.numpy()):
            at = tuple(place)
            points += float(weight[at] * crps(members[(slice(None), *at)], truth[at]))
            whole += float(weight[at])
        hidden = spread_over_token(mask, f.token_size)
        grid, known = detokenize(members, f.token_size), detokenize(truth, f.token_size)
        seen = torch.where(hidden, grid, known)  # visible points hold the truth
        for b, level, step in np.ndindex(hidden.shape[:3]):
            slot = (b, level, step // f.token_size[0])
            share = float((weight[slot] * mask[slot]).mean())
            patch += share * float(spectral(seen[:, b, level, step], known[b, level, step]))
            parts += share
        expected[f.name] = points / whole + 0.1 * patch / parts
    loss, per_field = masked_loss(model, tokens, batch, {"crps": 1.0, "spectral": 0.1}, weights)
    assert per_field == pytest.approx(expected, rel=1e-4)
    assert float(loss) == pytest.approx(sum(expected.values()) / 2, rel=1e-4)


def test_the_spectral_loss_alone_trains_and_is_0_where_nothing_is_hidden() -> None:
    model, batch, tokens = case(predict="field")
    loss, _ = masked_loss(model, tokens, batch, {"spectral": 1.0})
    loss.backward()
    gradient = model.tails[WIND].biases[-1].grad
    assert gradient is not None and torch.isfinite(gradient).all() and (gradient != 0).all()
    for field in tokens.values():
        field.mask[:] = False
    assert float(masked_loss(model, tokens, batch, {"spectral": 1.0})[0]) == 0.0
