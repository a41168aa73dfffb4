"""Hiding and comparing, against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from atmorep_lite.config import MaskingConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Batch, Neighbourhoods, Place
from atmorep_lite.losses import crps, mse_ensemble
from atmorep_lite.masking import draw_masks, forecast_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import detokenize, spread_over_token
from atmorep_lite.training.step import first_guess_loss, hide, masked_loss
from tests.tiny import HEAT, WIND, coupled_fields, tiny_field, tiny_model, wave


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
    return draw_masks(model.config.fields, 2, MaskingConfig(), np.random.default_rng(seed), forecast=0.0)


def test_a_departure_model_is_given_the_mask_and_no_hidden_value() -> None:
    model, batch = case()
    masks = masks_of(model)
    tokens = hide(model, batch, masks, MaskingConfig(), np.random.default_rng(0))
    for name, mask in masks.items():
        assert torch.equal(tokens[name].mask, mask)
        assert torch.equal(tokens[name].values[~mask], batch.tokens[name].values[~mask])
        assert (tokens[name].values[mask] == 0).all()
        assert batch.tokens[name].values[mask].abs().max() > 0.1, "the batch itself stays as it is"


def test_the_published_form_corrupts_random_tokens_and_zeroes_the_future() -> None:
    model, batch = case(predict="field")
    rng = np.random.default_rng(0)
    tokens = hide(model, batch, masks_of(model), MaskingConfig(noise=0.0, coarse=0.0, zero=1.0), rng)
    for name, field in tokens.items():
        assert field.mask.any() and (field.values[field.mask] == 0).all()
        assert torch.equal(field.values[~field.mask], batch.tokens[name].values[~field.mask])
    mixed = hide(model, batch, masks_of(model), MaskingConfig(zero=0.0, noise=1.0, coarse=0.0), rng)
    at = mixed[WIND].mask
    assert at.any() and not torch.equal(mixed[WIND].values[at], batch.tokens[WIND].values[at])
    future = forecast_masks(model.config.fields, 2, 1)
    tokens = hide(model, batch, future, MaskingConfig(), rng)
    for name, mask in future.items():
        assert torch.equal(tokens[name].mask, mask) and (tokens[name].values[mask] == 0).all()


@torch.no_grad()
@pytest.mark.parametrize("predict", ["departure", "field"])
def test_loss_against_a_loop_over_tokens(predict: str) -> None:
    """Per field the area-weighted mean over hidden tokens, errors in units of the departure's scale."""
    model, batch = case(predict=predict)
    rng = np.random.default_rng(1)
    tokens = hide(model, batch, masks_of(model, 1), MaskingConfig(), rng)
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
    tokens = hide(model, batch, masks_of(model, 2), MaskingConfig(), np.random.default_rng(0))
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
    tokens = hide(model, batch, future, MaskingConfig(), np.random.default_rng(0))
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
    tokens = hide(model, batch, masks, MaskingConfig(), np.random.default_rng(0))
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
    tokens = hide(
        model, batch, forecast_masks(model.config.fields, 1, 2), MaskingConfig(), np.random.default_rng(0)
    )
    assert first_guess_loss(model, tokens, batch)[0].item() == pytest.approx(0.0, abs=1e-10)
