"""One training step's arithmetic: hide, predict, compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from atmorep_lite.config import FieldConfig, MaskingConfig, WeightsConfig
from atmorep_lite.data.sampling import Batch
from atmorep_lite.losses import LOSSES, PATCH_LOSSES
from atmorep_lite.masking import Key, Purpose, corrupt_as_published, distort, generator
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens, detokenize
from atmorep_lite.training.weights import token_weights


def hide(tokens: Mapping[str, FieldTokens], masks: Mapping[str, Tensor]) -> dict[str, FieldTokens]:
    """Tokens as a model may see them: zeros where ``masks`` are True.  Context tokens come along."""
    return {
        name: replace(field, values=torch.where(masks[name][..., None], 0.0, field.values), mask=masks[name])
        for name, field in tokens.items()
    }


def spoil(
    model: AtmoRep,
    tokens: dict[str, FieldTokens],
    batch: Batch,
    drawn: Sequence[str],
    keys: Sequence[Key],
    masking: MaskingConfig,
) -> dict[str, FieldTokens]:
    """BERT's mixture of zeros, noise, coarser and unchanged values in place of tokens hidden at random.

    For models of the field itself only: a model that predicts departures never reads hidden values.  Tokens
    that another task hides, or a whole hidden field, stay zeros.

    ``model.published`` does as the published code did, for all samples of the batch at once: it selects the
    tokens anew (:func:`~atmorep_lite.masking.corrupt_as_published`), so that ``tokens``' masks change too.

    Parameters
    ----------
    tokens
        What :func:`hide` returns.
    drawn, keys
        Each sample's task and key.
    """
    if model.config.predict != "field":
        return tokens
    rngs = [generator(key, Purpose.DISTORTION) for key in keys]
    at_random = torch.tensor([task == "random" for task in drawn])
    out = {}
    for f in model.config.fields:
        values, mask = tokens[f.name].values.clone(), tokens[f.name].mask.clone()
        samples = at_random & ~mask.flatten(1).all(1)
        spoilt = mask & samples.view(-1, 1, 1, 1, 1)
        truth = batch.tokens[f.name].values
        if model.config.published is None:
            values[spoilt] = distort(truth, spoilt, f.token_size, masking, rngs)
        else:
            for level in range(len(f.levels) if samples.any() else 0):
                values[samples, level], mask[samples, level] = corrupt_as_published(
                    truth[samples, level], f.token_size, masking, rngs[0]
                )
        out[f.name] = replace(tokens[f.name], values=values, mask=mask)
    return out


def masked_loss(
    model: AtmoRep,
    tokens: Mapping[str, FieldTokens],
    batch: Batch,
    losses: Mapping[str, float],
    weights: WeightsConfig | None = None,
    *,
    short_leads: bool = False,
) -> tuple[Tensor, dict[str, float]]:
    """Loss over the hidden tokens of all predicted fields: total, and per field for the log.

    Errors are measured in units of the departures' typical size where the model predicts departures, and
    weighted by ``weights`` (by area if None); ``short_leads`` divides these by that typical size, for losses
    of single values.  Total = sum over losses k and fields f of ``w_k w_f L_kf / sum w_f``.
    """
    predictions = model.predict_hidden(tokens, batch.static)
    total = batch.static.new_zeros(())
    field_weights = {f.name: f.loss_weight for f in model.config.fields}
    normalisation = sum(field_weights[name] for name in predictions)
    per_field = {}
    for name, ensemble in predictions.items():
        mask, f = tokens[name].mask, model.config.field(name)
        if not mask.any():
            continue
        weight = token_weights(tokens[name], f.levels, weights or WeightsConfig())
        members, target = ensemble.members.transpose(0, 1), batch.tokens[name].values[mask]
        if ensemble.scale is not None:
            members, target = members / ensemble.scale, target / ensemble.scale
        each = weight[mask][:, None]
        if short_leads and ensemble.scale is not None:
            each = each * ensemble.scale.mean() / ensemble.scale
        loss = total.new_zeros(())
        for kind, factor in losses.items():
            if kind in LOSSES:
                loss = loss + factor * LOSSES[kind](members, target, each)
            else:
                loss = loss + factor * PATCH_LOSSES[kind](*_patches(members - target, mask, weight, f))
        per_field[name] = float(loss.detach())
        total = total + field_weights[name] / normalisation * loss
    return total, per_field


def _patches(
    errors: Tensor, mask: Tensor, weight: Tensor, field: FieldConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Errors at grid points, 0 where visible; zeros as their target; the weight of each patch.

    ``[member, hidden token, channel]`` -> ``[member, batch, level, time, latitude, longitude]``, the same
    without members, and ``[batch, level, time, 1, 1]``: the mean of the hidden tokens' weights, so that a
    patch counts as much as is hidden of it.
    """
    tokens = errors.new_zeros((len(errors), *mask.shape, errors.shape[-1]))
    tokens[:, mask] = errors
    patches = detokenize(tokens, field.token_size)
    per_slot = (weight * mask).mean((-2, -1), keepdim=True)
    return patches, torch.zeros_like(patches[0]), per_slot.repeat_interleave(field.token_size[0], 2)


def first_guess_loss(
    model: AtmoRep,
    tokens: Mapping[str, FieldTokens],
    batch: Batch,
    *,
    short_leads: bool = False,
    root_errors: bool = False,
) -> tuple[Tensor, dict[str, float]]:
    """Squared error of the first guess (fill and grid-scale skip), in the same units and weights.

    ``short_leads`` divides the weights by the distance to the nearest visible state.  ``root_errors`` gives
    the mean over variables and steps of root mean square errors instead, weighted by distance**-1.5.
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
    if not root_errors:
        return errors.sum() / weight.sum(), per_field
    each = errors.sum((0, 3, 4)) / weight.sum((0, 3, 4)).clamp(min=1e-6)
    importance = (weight / guess.gap.clamp(min=1) ** 1.5).sum((0, 3, 4))
    return (importance * (each + 1e-6).sqrt()).sum() / importance.sum(), per_field
