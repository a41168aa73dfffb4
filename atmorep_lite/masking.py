"""What is hidden from the model.

Two steps, kept apart.  *Selecting* gives a boolean mask per token: at random (as BERT), the last time slots
(forecast), slots in between (interpolation), whole fields.  *Corrupting* writes something else into the
selected tokens' values, as the published network needs; a model that predicts departures from a fill ignores
what hidden tokens hold, so it needs no corruption.

Masks have the token shape ``[batch, level, token_time, token_lat, token_lon]``, True = hidden.  Every random
function takes its generator, so a mask is a pure function of the seed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from atmorep_lite.config import FieldConfig, MaskingConfig, Triple
from atmorep_lite.errors import UserError

TokenShape = tuple[int, int, int, int, int]


def hide_slots(shape: TokenShape, slots: Iterable[int]) -> Tensor:
    """Hide all tokens of the given time slots (negative counts from the end)."""
    slots = list(slots)
    count = shape[2]
    for slot in slots:
        if not -count <= slot < count:
            raise UserError(f"time slot {slot} does not exist; there are {count} slots, 0 to {count - 1}")
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[:, :, slots] = True
    return mask


def hide_future(shape: TokenShape, slots: int) -> Tensor:
    """Forecasting: hide the last ``slots`` time slots."""
    if not 0 < slots < shape[2]:
        raise UserError(
            f"a forecast of {slots} token slots needs more than {slots} slots, but there are {shape[2]}"
        )
    return hide_slots(shape, range(shape[2] - slots, shape[2]))


def forecast_masks(fields: Iterable[FieldConfig], batch: int, slots: int) -> dict[str, Tensor]:
    """A forecast's masks: the same time steps hidden in all fields, ``slots`` token slots of the first.

    Raises
    ------
    UserError
        If these steps are not a whole number of slots of every field, or nothing would stay visible.
    """
    fields = list(fields)
    steps = slots * fields[0].token_size[0]
    masks = {}
    for f in fields:
        if steps % f.token_size[0]:
            raise UserError(
                f"a forecast of {steps} time steps is not a whole number of tokens of {f.name} "
                f"({f.token_size[0]} steps each); choose another masking.forecast_slots"
            )
        masks[f.name] = hide_future((batch, len(f.levels), *f.num_tokens), steps // f.token_size[0])
    return masks


def hide_at_random(shape: TokenShape, max_rate: float, rng: np.random.Generator) -> Tensor:
    """BERT-style: per sample and level hide a fraction from U(0, ``max_rate``), at least one token."""
    batch, levels = shape[:2]
    count = int(np.prod(shape[2:]))
    hidden = np.ceil(rng.random((batch, levels)) * max_rate * count).clip(1)
    order = rng.random((batch, levels, count)).argsort(-1).argsort(-1)
    return torch.from_numpy(order < hidden[..., None]).view(shape)


def draw_masks(
    fields: Iterable[FieldConfig],
    batch: int,
    masking: MaskingConfig,
    rng: np.random.Generator,
    *,
    forecast: float,
) -> dict[str, Tensor]:
    """Masks of all fields for one training batch.

    With probability ``forecast`` the future of every field is hidden; else, with probability
    ``masking.whole_field``, one field is hidden altogether; else tokens are hidden at random, independently
    per field, level and sample.
    """
    fields = list(fields)
    shapes: dict[str, TokenShape] = {f.name: (batch, len(f.levels), *f.num_tokens) for f in fields}
    if rng.random() < forecast:
        return forecast_masks(fields, batch, masking.forecast_slots)
    masks = {name: hide_at_random(shape, masking.max_rate, rng) for name, shape in shapes.items()}
    if rng.random() < masking.whole_field:
        name = fields[rng.integers(len(fields))].name
        masks[name] = torch.ones(shapes[name], dtype=torch.bool)
    return masks


def corrupt_as_published(
    values: Tensor, token_size: Triple, masking: MaskingConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The published BERT masking of one field and level, draw for draw.

    A fraction U(0, ``max_rate``) of each sample's tokens is selected.  Of these, independently, 90 % are set
    to zero, 20 % mixed with noise of a tenth of the values' spread, 5 % coarsened (in the published code:
    smoothed by interpolating up and down again).  The rest of the selected tokens stays as it is but is
    predicted too. Noise comes from torch's global generator.

    Parameters
    ----------
    values
        ``[batch, token_time, token_lat, token_lon, channel]`` of one level, normalised.  Left as it is.

    Returns
    -------
    corrupted, mask
        Of the shape of ``values``, and without the channel axis.
    """
    batch, count = values.shape[0], int(np.prod(values.shape[1:4]))
    flat = values.reshape(batch, count, -1)
    rates = rng.random(batch) * masking.max_rate
    chosen = [rng.permutation(count)[: int(np.ceil(count * rate))] for rate in rates]
    picked = torch.from_numpy(np.concatenate([b * count + tokens for b, tokens in enumerate(chosen)]))
    out = flat.reshape(batch * count, -1).clone()
    deviation = out.std(0)
    zeroed, noised, coarsened = (
        torch.from_numpy(rng.random(len(picked)) < p) for p in (masking.zero, masking.noise, masking.coarse)
    )
    out[picked[zeroed]] = 0.0
    at = picked[noised]
    noise = torch.randn(len(at), out.shape[1])
    share = torch.from_numpy(rng.random(len(at), dtype=np.float32))[:, None]
    out[at] = (1.0 - share) * out[at] + 0.1 * deviation * noise
    if masking.coarse > 0 and coarsened.any():
        at = picked[coarsened]
        finer = 2.0 - rng.random()
        tt, ty, tx = token_size
        tokens = out[at].view(-1, 1, tt, ty, tx)
        stretched = F.interpolate(tokens, size=(tt, int(ty * finer), int(tx * finer)), mode="trilinear")
        out[at] = F.interpolate(stretched, size=(tt, ty, tx), mode="trilinear").flatten(1)
    mask = torch.zeros(batch * count, dtype=torch.bool)
    mask[picked] = True
    return out.view_as(values), mask.view(values.shape[:4])
