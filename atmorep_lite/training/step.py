"""One training step's arithmetic: hide, predict, compare.

A batch may be computed in equal parts: by several processes, or one after the other.  A loss is a weighted
mean over all that is hidden in the batch, and parts hide different amounts.  So a part's loss is its weighted
*sum*, divided by the *mean over parts* of the sums of weights (``whole``): the mean over parts of such losses
is the loss of the batch, and so are their gradients, to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from atmorep_lite.config import FieldConfig, MaskingConfig, ModelConfig, WeightsConfig
from atmorep_lite.data.sampling import Batch
from atmorep_lite.losses import LOSSES, PATCH_LOSSES
from atmorep_lite.masking import Key, Purpose, corrupt_as_published, distort, generator
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.fill import fill_in_time
from atmorep_lite.tokens import FieldTokens, detokenize, spread_over_token, tokenize
from atmorep_lite.training.weights import token_weights


def hide(tokens: Mapping[str, FieldTokens], masks: Mapping[str, Tensor]) -> dict[str, FieldTokens]:
    """Tokens as a model may see them: zeros where ``masks`` are True.  Context tokens come along."""
    return {
        name: replace(field, values=torch.where(masks[name][..., None], 0.0, field.values), mask=masks[name])
        for name, field in tokens.items()
    }


def spoil(
    model: ModelConfig,
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
    if model.predict != "field":
        return tokens
    rngs = [generator(key, Purpose.DISTORTION) for key in keys]
    at_random = torch.tensor([task == "random" for task in drawn])
    out = {}
    for f in model.fields:
        values, mask = tokens[f.name].values.clone(), tokens[f.name].mask.clone()
        samples = at_random & ~mask.flatten(1).all(1)
        spoilt = mask & samples.view(-1, 1, 1, 1, 1)
        truth = batch.tokens[f.name].values
        if model.published is None:
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
    whole: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Loss over the hidden tokens of all predicted fields: total, and per field for the log.

    Errors are measured in units of the departures' typical size where the model predicts departures, and
    weighted by ``weights`` (by area if None); ``short_leads`` divides these by that typical size, for losses
    of single values.  Total = sum over losses k and fields f of ``w_k w_f L_kf / sum w_f``.

    ``whole``: where this is a part of a batch, the mean over parts of :func:`hidden_weights`.
    """
    predictions = model.predict_hidden(tokens, batch.static)
    total = batch.static.new_zeros(())
    field_weights = {f.name: f.loss_weight for f in model.config.fields}
    normalisation = sum(field_weights[name] for name in predictions)
    per_field = {}
    for number, (name, ensemble) in enumerate(predictions.items()):
        mask, f = tokens[name].mask, model.config.field(name)
        if not mask.any():
            if whole is not None and whole[number].any():  # elsewhere it is hidden: all must differentiate it
                total = total + 0.0 * ensemble.members.sum()
            continue
        weight = token_weights(tokens[name], f.levels, weights or WeightsConfig())
        members, target = ensemble.members.transpose(0, 1), batch.tokens[name].values[mask]
        if ensemble.scale is not None:
            members, target = members / ensemble.scale, target / ensemble.scale
        each = weight[mask][:, None]
        if short_leads and ensemble.scale is not None:
            each = each * ensemble.scale.mean() / ensemble.scale
        of_values, of_patches = 1.0, 1.0
        if whole is not None:
            scale = ensemble.scale if short_leads else None
            of_values, of_patches = (_sums(weight[mask], scale) / whole[number].to(weight.device)).tolist()
        loss = total.new_zeros(())
        for kind, factor in losses.items():
            if kind in LOSSES:
                loss = loss + factor * of_values * LOSSES[kind](members, target, each)
            else:
                patches = _patches(members - target, mask, weight, f)
                loss = loss + factor * of_patches * PATCH_LOSSES[kind](*patches)
        per_field[name] = float(loss.detach())
        total = total + field_weights[name] / normalisation * loss
    return total, per_field


def hidden_weights(
    model: AtmoRep,
    tokens: Mapping[str, FieldTokens],
    weights: WeightsConfig | None = None,
    *,
    short_leads: bool = False,
) -> Tensor:
    """Sums of the weights with which :func:`masked_loss` weighs hidden tokens, known before any prediction.

    Returns
    -------
    ``[predicted field, 2]`` float64: for losses of single values, and for losses of patches.
    """
    scale = departure_scales(model, tokens) if short_leads and model.config.predict == "departure" else {}
    out = []
    for name in model.predicted:
        mask = tokens[name].mask
        weight = token_weights(tokens[name], model.config.field(name).levels, weights or WeightsConfig())
        out.append(_sums(weight[mask], scale[name][mask] if name in scale else None))
    return torch.stack(out)


def departure_scales(model: AtmoRep, tokens: Mapping[str, FieldTokens]) -> dict[str, Tensor]:
    """The departures' typical size, ``[batch, level, token..., channel]``, without running the network."""
    out = {}
    for f in model.config.fields:
        hidden = spread_over_token(tokens[f.name].mask, f.token_size)
        _, gap = fill_in_time(torch.zeros_like(hidden, dtype=torch.float32), hidden)
        table = model.departure_scale[f.name].detach().to(gap.device)
        level = torch.arange(len(table), device=gap.device).view(1, -1, 1, 1, 1)
        out[f.name] = tokenize(table[level, gap], f.token_size)
    return out


def _sums(weight: Tensor, scale: Tensor | None) -> Tensor:
    """Of ``weight [hidden token]``, also divided by ``scale [hidden token, channel]``."""
    plain = weight.double().sum()
    values = plain if scale is None else (weight[:, None] / scale).double().sum()
    return torch.stack((values, plain))


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
    whole: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Squared error of the first guess (fill and grid-scale skip), in the same units and weights.

    ``short_leads`` divides the weights by the distance to the nearest visible state.  ``root_errors`` gives
    the mean over variables and steps of root mean square errors instead, weighted by distance**-1.5.

    ``whole``: where this is a part of a batch, the mean over parts of :func:`guess_sums`.  A root is no mean
    over parts: there the errors of the others, which ``whole`` holds, count as constants.
    """
    guess = model.first_guess_on_grid(tokens, batch.static)
    fields = model.config.fields
    target = torch.cat([detokenize(batch.tokens[f.name].values, f.token_size) for f in fields], 1)
    cosine_of_latitude = batch.static[:, 1, None, None]
    weight = guess.hidden * cosine_of_latitude
    if short_leads:
        weight = weight / guess.gap.clamp(min=1)
    errors = weight * ((guess.values - target) / guess.scale) ** 2
    in_all = weight if whole is None else whole[0].to(weight)[None, :, :, None, None]
    variable = errors.detach().sum((0, 2, 3, 4)) / in_all.sum((0, 2, 3, 4)).clamp(min=1e-6)
    levels = [len(f.levels) for f in fields]
    per_field = {f.name: float(v.mean()) for f, v in zip(fields, variable.split(levels), strict=True)}
    if not root_errors:
        return errors.sum() / in_all.sum(), per_field
    own = errors.sum((0, 3, 4))
    if whole is None:
        importance = (weight / guess.gap.clamp(min=1) ** 1.5).sum((0, 3, 4))
        return _root_mean(own, weight.sum((0, 3, 4)), importance), per_field
    weights, importance, others = whole.to(own)
    loss = _root_mean(others + (own - own.detach()), weights, importance)
    return loss, per_field


def _root_mean(errors: Tensor, weight: Tensor, importance: Tensor) -> Tensor:
    """Weighted mean of root mean square errors; sums ``[variable, time]``."""
    each = errors / weight.clamp(min=1e-6)
    return (importance * (each + 1e-6).sqrt()).sum() / importance.sum()


def guess_sums(
    model: AtmoRep,
    tokens: Mapping[str, FieldTokens],
    batch: Batch,
    *,
    short_leads: bool = False,
    root_errors: bool = False,
) -> Tensor:
    """What :func:`first_guess_loss` must know of a whole batch, summed over samples and places.

    Returns
    -------
    ``[1, variable, time]``: the weights, known without running the network; with ``root_errors`` ``[3,
    variable, time]``: weights, importances and weighted squared errors.
    """
    fields = model.config.fields
    hidden = torch.cat([spread_over_token(tokens[f.name].mask, f.token_size) for f in fields], 1)
    weight = hidden * batch.static[:, 1, None, None]
    gap = hidden
    if short_leads or root_errors:
        gap = fill_in_time(torch.zeros_like(weight), hidden)[1].clamp(min=1)
    if short_leads:
        weight = weight / gap
    if not root_errors:
        return weight.sum((0, 3, 4))[None]
    guess = model.first_guess_on_grid(tokens, batch.static)
    target = torch.cat([detokenize(batch.tokens[f.name].values, f.token_size) for f in fields], 1)
    errors = weight * ((guess.values - target) / guess.scale) ** 2
    return torch.stack([part.sum((0, 3, 4)) for part in (weight, weight / gap**1.5, errors)])
