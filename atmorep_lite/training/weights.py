"""How much each token's error counts: by the area of its place and the mass of its layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atmorep_lite.config import WeightsConfig
from atmorep_lite.tokens import FieldTokens


def token_weights(tokens: FieldTokens, levels: Sequence[int], weights: WeightsConfig) -> Tensor:
    """Weight of each token, ``[batch, level, token_time, token_lat, token_lon]``; 1 without any weighting.

    The area is that of the token's middle row: the sine of its colatitude, at least 0.001.
    """
    out = torch.ones_like(tokens.info[..., 0])
    if weights.area:
        out = out * torch.sin(torch.deg2rad(tokens.info[..., 4])).clamp(min=1e-3)
    if weights.level == "mass":
        out = out * layer_masses(levels).to(out)[:, None, None, None]
    return out


def layer_masses(levels: Sequence[int]) -> Tensor:
    """Thickness in pressure of the layer around each level, ``[level]``, divided by their mean.

    A layer reaches halfway to its neighbours, the outermost as far outwards as inwards, but not above 0 hPa;
    thickness in pressure is mass per area, by hydrostatic balance.  ``levels`` in hPa, in any order.
    """
    if len(levels) == 1:
        return torch.ones(1)
    pressure, order = torch.tensor(levels, dtype=torch.float64).sort()
    between = (pressure[1:] + pressure[:-1]) / 2
    top, bottom = 2 * pressure[:1] - between[:1], 2 * pressure[-1:] - between[-1:]
    thickness = torch.cat((top.clamp(min=0), between, bottom)).diff()
    return (thickness / thickness.mean())[order.argsort()].float()
