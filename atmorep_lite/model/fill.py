"""A simple fill of what is hidden, from which the network predicts the departure.

At each grid point the hidden steps are interpolated linearly in time between the nearest visible ones and
held at the ends; so a forecast's fill is persistence.  Where a point is never visible the fill is 0, the mean
of normalised data.
"""

from __future__ import annotations

import torch
from torch import Tensor


def fill_in_time(values: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Fill hidden steps from the visible ones.

    Parameters
    ----------
    values, hidden
        ``[..., time, latitude, longitude]``; values where ``hidden`` is True are never read.

    Returns
    -------
    filled, gap
        Filled values, and the number of steps to the nearest visible one (0 where visible, the number of
        steps where the point is never visible), both of the same shape.
    """
    steps = values.shape[-3]
    visible = ~hidden
    index = torch.arange(steps, device=values.device).view(-1, 1, 1)
    before = torch.where(visible, index, -1).cummax(-3).values
    after = torch.where(visible, index, steps).flip(-3).cummin(-3).values.flip(-3)
    has_before, has_after = before >= 0, after < steps
    left = values.gather(-3, before.clamp(min=0))
    right = values.gather(-3, after.clamp(max=steps - 1))
    left, right = torch.where(has_before, left, right), torch.where(has_after, right, left)
    span = (after - before).clamp(min=1)
    weight = torch.where(has_before & has_after, (index - before) / span, 0.0).to(values.dtype)
    filled = torch.where(has_before | has_after, left + weight * (right - left), torch.zeros_like(values))
    to_before = torch.where(has_before, index - before, steps)
    to_after = torch.where(has_after, after - index, steps)
    return filled, torch.minimum(to_before, to_after)
