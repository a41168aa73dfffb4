"""One training step's arithmetic: hide, predict, compare."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from atmorep_lite.config import MaskingConfig
from atmorep_lite.data.sampling import Batch
from atmorep_lite.losses import LOSSES
from atmorep_lite.masking import corrupt_as_published
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens, detokenize


def hide(
    model: AtmoRep,
    batch: Batch,
    masks: Mapping[str, Tensor],
    masking: MaskingConfig,
    rng: np.random.Generator,
) -> dict[str, FieldTokens]:
    """Tokens as the model may see them.

    A model that predicts departures never reads hidden values, so only the mask is set.  The published form
    sees zeros where a whole slot is hidden, and BERT's mixture of zeros, noise and unchanged tokens
    otherwise; its masks are then redrawn by :func:`~atmorep_lite.masking.corrupt_as_published`.
    """
    out = {}
    for f in model.config.fields:
        tokens, mask = batch.tokens[f.name], masks[f.name]
        values = torch.where(mask[..., None], 0.0, tokens.values)
        slots_hidden = mask.flatten(3).all(-1).any()
        if model.config.predict == "field" and not slots_hidden:
            pairs = [
                corrupt_as_published(tokens.values[:, level], f.token_size, masking, rng)
                for level in range(len(f.levels))
            ]
            values = torch.stack([values for values, _ in pairs], 1)
            mask = torch.stack([mask for _, mask in pairs], 1)
        out[f.name] = FieldTokens(values, tokens.info, mask)
    return out


def masked_loss(
    model: AtmoRep, tokens: Mapping[str, FieldTokens], batch: Batch, losses: Mapping[str, float]
) -> tuple[Tensor, dict[str, float]]:
    """Loss over the hidden tokens of all predicted fields: total, and per field for the log.

    Errors are measured in units of the departures' typical size where the model predicts departures, and
    weighted by the area of the token.  Total = sum over losses k and fields f of ``w_k w_f L_kf / sum w_f``.
    """
    predictions = model(tokens, batch.static)
    total = batch.static.new_zeros(())
    weights = {f.name: f.loss_weight for f in model.config.fields}
    normalisation = sum(weights[name] for name in predictions)
    per_field = {}
    for name, ensemble in predictions.items():
        mask = tokens[name].mask
        if not mask.any():
            continue
        members = ensemble.members.movedim(1, 0)[:, mask]
        target = batch.tokens[name].values[mask]
        if ensemble.scale is not None:
            members, target = members / ensemble.scale[mask], target / ensemble.scale[mask]
        area = torch.sin(torch.deg2rad(tokens[name].info[..., 4][mask]))[:, None].clamp(min=1e-3)
        loss = sum(
            (w * LOSSES[kind](members, target, area) for kind, w in losses.items()), total.new_zeros(())
        )
        per_field[name] = float(loss.detach())
        total = total + weights[name] / normalisation * loss
    return total, per_field


def first_guess_loss(
    model: AtmoRep, tokens: Mapping[str, FieldTokens], batch: Batch, *, short_leads: bool = False
) -> tuple[Tensor, dict[str, float]]:
    """Squared error of the first guess (fill and grid-scale skip), in the same units and weights.

    ``short_leads`` divides the weights by the distance to the nearest visible state.
    """
    guess = model.first_guess_on_grid(tokens, batch.static)
    fields = model.config.fields
    target = torch.cat([detokenize(batch.tokens[f.name].values, f.token_size) for f in fields], 1)
    cosine_of_latitude = batch.static[:, 1, None, None]
    weight = guess.hidden * cosine_of_latitude
    if short_leads:
        weight = weight / guess.gap.clamp(min=1)
    errors = weight * ((guess.values - target) / guess.scale) ** 2
    variable = errors.detach().sum((0, 2, 3, 4)) / weight.sum((0, 2, 3, 4)).clamp(min=1e-6)
    levels = [len(f.levels) for f in fields]
    per_field = {f.name: float(v.mean()) for f, v in zip(fields, variable.split(levels), strict=True)}
    return errors.sum() / weight.sum(), per_field
