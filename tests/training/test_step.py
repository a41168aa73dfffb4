"""Hiding and comparing, against loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from atmorep_lite.config import MaskingConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Batch, Neighbourhoods, Place
from atmorep_lite.losses import crps, mse_ensemble
from atmorep_lite.masking import (
    Purpose,
    batch_keys,
    corrupt_as_published,
    draw_masks,
    forecast_masks,
    generator,
)
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens, detokenize, spread_over_token
from atmorep_lite.training.step import first_guess_loss, hide, masked_loss, spoil
from tests.tiny import HEAT, WIND, coupled_fields, tiny_field, tiny_model, wave

KEYS = batch_keys(0, epoch=0, step=0, batch_size=2)


def case(**changes) -> tuple[AtmoRep, Batch]:
    wind, heat = coupled_fields()
    heat = heat.model_copy(update={"loss_weight": 3.0})
    torch.manual_seed(0)
    model = AtmoRep(tiny_model(wind, heat, **changes)).eval()
    for table in model.departure_scale.values():
        table.data = 0.3 + 0.1 * torch.arange(table.numel(), dtype=torch.float32).view_as(table)
    record = wave(names=(WIND, HEAT), times=10)
    data = Neighbourhoods(record, model.config, Normalizer.fit(record, "global"))
    return model, data.batch([Place(0, 0, 3), Place(4, 4, 12)])


def nearest_visible(hidden: Tensor, step: int) -> int:
    return min([abs(step - other) for other in range(6) if not hidden[other]], default=6)


def masks_of(model: AtmoRep, seed: int = 0) -> dict[str, Tensor]:
    keys = batch_keys(seed, epoch=0, step=0, batch_size=2)
    return draw_masks(model.config.fields, keys, MaskingConfig(forecast=0.0))[0]


def test_hidden_values_are_zeros_and_the_batch_stays_as_it_is() -> None:
    model, batch = case()
    masks = masks_of(model)
    tokens = hide(batch.tokens, masks)
    for name, mask in masks.items():
        assert torch.equal(tokens[name].mask, mask)
        assert torch.equal(tokens[name].values[~mask], batch.tokens[name].values[~mask])
        assert (tokens[name].values[mask] == 0).all()
        assert batch.tokens[name].values[mask].abs().max() > 0.1
    assert spoil(model.config, tokens, batch, ["random"] * 2, KEYS, MaskingConfig()) is tokens, "never read"


def test_context_tokens_come_along() -> None:
    model, batch = case()
    outer = batch.tokens[WIND]
    tokens = {WIND: replace(outer, context=batch.tokens[HEAT])}
    assert hide(tokens, masks_of(model))[WIND].context is batch.tokens[HEAT]


def test_a_model_of_the_field_is_shown_spoilt_tokens_where_they_were_hidden_at_random() -> None:
    """Sample 0 is hidden at random, sample 1 a forecast; a field that is hidden altogether stays zeros."""
    model, batch = case(predict="field")
    masks, future = masks_of(model), forecast_masks(model.config.fields, 2, 1)
    for name, mask in masks.items():
        mask[1] = future[name][1]
    masks[HEAT][0] = True
    hidden = hide(batch.tokens, masks)
    before = {name: field.values.clone() for name, field in hidden.items()}
    untouched = MaskingConfig(zero=0.0, noise=0.0, coarse=0.0)
    shown = spoil(model.config, hidden, batch, ["random", "forecast"], KEYS, untouched)
    for name, field in shown.items():
        assert torch.equal(hidden[name].values, before[name]) and torch.equal(field.mask, masks[name])
        assert torch.equal(field.values[1], before[name][1])
    assert torch.equal(shown[WIND].values[0], batch.tokens[WIND].values[0])
    assert (shown[HEAT].values[0] == 0).all()
    noisy = [
        spoil(model.config, hidden, batch, ["random", "forecast"], keys, MaskingConfig(zero=0.0, noise=1.0))
        for keys in (KEYS, KEYS, KEYS[::-1])
    ]
    assert torch.equal(noisy[0][WIND].values, noisy[1][WIND].values)
    assert not torch.equal(noisy[0][WIND].values, noisy[2][WIND].values)


def test_spoilt_values_do_not_depend_on_the_other_samples() -> None:
    model, batch = case(predict="field")
    hidden = hide(batch.tokens, masks_of(model))
    masking = MaskingConfig(zero=0.3, noise=0.5, coarse=0.5)
    both = spoil(model.config, hidden, batch, ["random"] * 2, KEYS, masking)
    second = {n: FieldTokens(t.values[1:], t.info[1:], t.mask[1:]) for n, t in hidden.items()}
    truth = {n: FieldTokens(t.values[1:], t.info[1:], t.mask[1:]) for n, t in batch.tokens.items()}
    alone = spoil(model.config, second, Batch(truth, batch.static[1:]), ["random"], KEYS[1:], masking)
    for name, field in alone.items():
        assert torch.equal(field.values[0], both[name].values[1])


def test_published_models_are_shown_what_the_published_code_shows() -> None:
    """All samples that are hidden at random are corrupted together, field by field and level by level."""
    model, batch = case(predict="field", published="2024")
    hidden = hide(batch.tokens, masks_of(model))
    torch.manual_seed(3)
    shown = spoil(model.config, hidden, batch, ["random"] * 2, KEYS, MaskingConfig())
    torch.manual_seed(3)
    rng = generator(KEYS[0], Purpose.DISTORTION)
    for f in model.config.fields:
        for level in range(len(f.levels)):
            values, mask = corrupt_as_published(
                batch.tokens[f.name].values[:, level], f.token_size, MaskingConfig(), rng
            )
            assert torch.equal(shown[f.name].values[:, level], values)
            assert torch.equal(shown[f.name].mask[:, level], mask)
    future = hide(batch.tokens, forecast_masks(model.config.fields, 2, 1))
    same = spoil(model.config, future, batch, ["forecast"] * 2, KEYS, MaskingConfig())
    assert all(torch.equal(same[name].values, future[name].values) for name in future)


@torch.no_grad()
@pytest.mark.parametrize("predict", ["departure", "field"])
def test_loss_against_a_loop_over_tokens(predict: str) -> None:
    """Per field the area-weighted mean over hidden tokens, errors in units of the departure's scale."""
    model, batch = case(predict=predict)
    tokens = hide(batch.tokens, masks_of(model, 1))
    out = model(tokens, batch.static)
    expected, total = {}, 0.0
    for f in model.config.fields:
        sums = [0.0, 0.0]
        for place in np.argwhere(tokens[f.name].mask.numpy()):
            at = tuple(place)
            b, *rest = at
            members = out[f.name].members[(b, slice(None), *rest)].double()
            target = batch.tokens[f.name].values[at].double()
            unit = out[f.name].scale[at].double() if predict == "departure" else 1.0
            area = math.sin(math.radians(tokens[f.name].info[at][4].item()))
            value = crps(members / unit, target / unit) + 0.5 * mse_ensemble(members / unit, target / unit)
            sums[0] += area * value.item()
            sums[1] += area
        expected[f.name] = sums[0] / sums[1]
        total += f.loss_weight / 4.0 * expected[f.name]
    loss, per_field = masked_loss(model, tokens, batch, {"crps": 1.0, "mse_ensemble": 0.5})
    assert per_field == pytest.approx(expected, rel=1e-4)
    assert loss.item() == pytest.approx(total, rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("short_leads", [False, True])
def test_first_guess_loss_against_a_loop_over_points(short_leads: bool) -> None:
    model, batch = case()
    tokens = hide(batch.tokens, masks_of(model, 2))
    guess = model.first_guess(tokens, batch.static)
    top = bottom = 0.0
    for f in model.config.fields:
        parts = (batch.tokens[f.name].values, guess[f.name].values, guess[f.name].scale)
        truth, ours, unit = (detokenize(x, f.token_size).double() for x in parts)
        hidden = spread_over_token(tokens[f.name].mask, f.token_size)
        for b, row in np.ndindex(2, 4):
            area = batch.static[b, 1, row, 0].item()
            for level, step, column in np.ndindex(hidden.shape[1], 6, 8):
                at = (b, level, step, row, column)
                if not hidden[at]:
                    continue
                weight = (
                    area / nearest_visible(hidden[b, level, :, row, column], step) if short_leads else area
                )
                top += weight * ((ours[at] - truth[at]) / unit[at]).item() ** 2
                bottom += weight
    loss, per_field = first_guess_loss(model, tokens, batch, short_leads=short_leads)
    assert loss.item() == pytest.approx(top / bottom, rel=1e-4)
    assert set(per_field) == {WIND, HEAT}


def test_short_leads_weigh_by_the_inverse_of_the_lead() -> None:
    """A forecast's errors at lead k count 1/k."""
    model, batch = case()
    future = forecast_masks(model.config.fields, 2, 1)
    tokens = hide(batch.tokens, future)
    guess = model.first_guess_on_grid(tokens, batch.static)
    target = torch.cat(
        [detokenize(batch.tokens[f.name].values, f.token_size) for f in model.config.fields], 1
    )
    squares = ((guess.values - target) / guess.scale).double() ** 2
    area = batch.static[:, 1, None].expand_as(squares[:, :, 0]).double()
    hidden_steps = [t for t in range(squares.shape[2]) if guess.hidden[0, 0, t].all()]
    top = sum((squares[:, :, t] * area).sum() / (lead + 1) for lead, t in enumerate(hidden_steps))
    bottom = sum(area.sum() / (lead + 1) for lead in range(len(hidden_steps)))
    loss, _ = first_guess_loss(model, tokens, batch, short_leads=True)
    assert loss.item() == pytest.approx((top / bottom).item(), rel=1e-4)


def test_visible_tokens_and_input_fields_do_not_count() -> None:
    torch.manual_seed(0)
    wind, heat = coupled_fields()
    model = AtmoRep(tiny_model(wind, heat.model_copy(update={"loss_weight": 0.0}))).eval()
    record = wave(names=(WIND, HEAT), times=10)
    batch = Neighbourhoods(record, model.config, Normalizer.fit(record, "global")).batch([Place(0, 0, 0)] * 2)
    masks = masks_of(model)
    tokens = hide(batch.tokens, masks)
    loss, per_field = masked_loss(model, tokens, batch, {"crps": 1.0})
    assert set(per_field) == {WIND}
    moved = {
        name: t.with_values(torch.where(masks[name][..., None], t.values, t.values + 5.0))
        if name == WIND
        else t
        for name, t in batch.tokens.items()
    }
    again, _ = masked_loss(model, tokens, Batch(moved, batch.static), {"crps": 1.0})
    assert torch.equal(loss, again), "targets at visible tokens are not compared"


def test_a_perfect_first_guess_costs_nothing() -> None:
    """A field that does not change in time is filled without error."""
    torch.manual_seed(0)
    model = AtmoRep(tiny_model(tiny_field())).eval()
    record = wave(times=10)
    still = record.copy(data={HEAT: np.broadcast_to(record[HEAT].values[:1], record[HEAT].shape)})
    batch = Neighbourhoods(still, model.config, Normalizer.fit(record, "global")).batch([Place(1, 0, 0)])
    tokens = hide(batch.tokens, forecast_masks(model.config.fields, 1, 2))
    assert first_guess_loss(model, tokens, batch)[0].item() == pytest.approx(0.0, abs=1e-10)
