"""From weights to arrows, and how well arrows agree with the truth.

What a token i attends to, seen from its own place, is condensed to one arrow, the centroid of the weights,

    arrow_i = sum over j of  alpha_ij (x_j - x_i),   sum over j of alpha_ij = 1.

Arrows are ``[..., token, 2]``: (y, x) on a plane, (north, east) on the sphere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from atmorep_lite.errors import UserError


def shortest(difference: Tensor, *, side: float | Tensor) -> Tensor:
    """The minimum image of each difference, within half a side; at exactly half, where two are equal, 0."""
    side = torch.as_tensor(side, dtype=difference.dtype)
    wrapped = torch.remainder(difference + side / 2, side) - side / 2
    return torch.where((wrapped.abs() - side / 2).abs() < 1e-5 * side, 0.0, wrapped)


def centroids(weights: Tensor, away: Tensor) -> Tensor:
    """Centroid of attention from each query: weights ``[..., query, key]`` -> arrows ``[..., query, 2]``.

    ``away`` ``[query, key, 2]`` leads from each query to each key.  Weights are divided by their sum over the
    keys, so that those of one time out of several may be given; where that is 0 the arrow is NaN.
    """
    shares = weights / weights.sum(-1, keepdim=True)
    return torch.einsum("...qk,qkc->...qc", shares, away)


@dataclass(frozen=True)
class Agreement:
    """How well arrows agree with the truth, over ``count`` tokens that move.

    Attributes
    ----------
    correlation
        Of vectors, ``sum a.b / sqrt(sum a.a * sum b.b)``: 1 if all are parallel in one proportion, 0 by
        chance.
    angle
        Mean angle between arrow and truth, degrees; 90 by chance.
    length
        Share of the way that is covered, ``sum a.b / sum b.b``; 1 if the arrows end where the fluid was.
    count
        Number of tokens compared.
    """

    correlation: float
    angle: float
    length: float
    count: int


def agreement(arrows: Tensor, truth: Tensor, *, least: float) -> Agreement:
    """Compare arrows ``[..., 2]`` with the true ones, where the truth is at least ``least`` long.

    Raises
    ------
    UserError
        If nothing moves that far.
    """
    moving = truth.norm(dim=-1) >= least
    if not moving.any():
        raise UserError(
            f"no token moves by {least:g} or more; the longest way is {truth.norm(dim=-1).max():.3g}"
        )
    a, b = arrows[moving].double(), truth[moving].double()
    dot = (a * b).sum(-1)
    scale = (a.square().sum() * b.square().sum()).sqrt().clamp(min=1e-300)
    return Agreement(
        correlation=float(dot.sum() / scale),
        angle=float(angles(a, b).mean()),
        length=float(dot.sum() / b.square().sum()),
        count=int(moving.sum()),
    )


def angles(arrows: Tensor, truth: Tensor) -> Tensor:
    """Angle between two arrows ``[..., 2]``, degrees, 0 to 180; 0 if both are 0."""
    dot = (arrows * truth).sum(-1)
    cross = arrows[..., 0] * truth[..., 1] - arrows[..., 1] * truth[..., 0]
    return torch.atan2(cross.abs(), dot) * (180.0 / math.pi)
