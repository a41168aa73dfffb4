"""Values of a periodic field between its grid points, by cubic splines.

The spline through the grid values is a sum of cubic B-splines.  Its coefficients follow from the values by
a division in Fourier space: at grid points a B-spline is 1/6, 4/6, 1/6, so the values are the coefficients
times ``(4 + 2 cos(k h)) / 6`` along each axis, with ``h`` between points (Unser 1999).  What is left is a
weighted sum of the 4 x 4 coefficients around each point.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atmorep_lite.errors import UserError
from atmorep_lite.flows.diagnostics import SIDE, check_field


def spline_coefficients(field: Tensor) -> Tensor:
    """Coefficients ``[..., y, x]`` of the periodic cubic B-splines through the values ``[..., y, x]``."""
    points = field.shape[-1]
    angle = 2 * math.pi / points * torch.arange(points, dtype=field.dtype)
    symbol = (4 + 2 * angle.cos()) / 6
    half = symbol[: points // 2 + 1]
    return torch.fft.irfft2(torch.fft.rfft2(field) / (symbol[:, None] * half), s=(points, points))


def evaluate(coefficients: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Spline with coefficients ``[..., y, x]`` at the positions ``y``, ``x`` ``[..., point]``.

    Leading axes of all three are broadcast; coordinates outside 0 to 2 pi are taken modulo 2 pi.
    """
    points = coefficients.shape[-1]
    lead = torch.broadcast_shapes(coefficients.shape[:-2], y.shape[:-1])
    flat = coefficients.flatten(-2).expand(*lead, -1)
    rows, row_weights = _taps(y, points)
    columns, column_weights = _taps(x, points)
    value = torch.zeros(())
    for row, row_weight in zip(rows, row_weights, strict=True):
        part = torch.zeros(())
        for column, weight in zip(columns, column_weights, strict=True):
            part = part + weight * flat.gather(-1, (row * points + column).expand(*lead, -1))
        value = value + row_weight * part
    return value


def interpolate(field: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Value ``[..., point]`` of a field ``[..., y, x]`` at ``y``, ``x`` ``[..., point]``, by cubic splines.

    Raises
    ------
    UserError
        If the field is not a finite real tensor on a square, or y and x do not fit each other.
    """
    check_field(field, "field")
    if y.shape != x.shape or not y.ndim:
        raise UserError(f"y and x must be alike, [..., point]; got {tuple(y.shape)} and {tuple(x.shape)}.")
    return evaluate(spline_coefficients(field), y, x)


def _taps(position: Tensor, points: int) -> tuple[list[Tensor], list[Tensor]]:
    """Indices and weights of the four B-splines that are not zero at a position."""
    scaled = position * (points / SIDE)
    below = scaled.floor()
    t = scaled - below
    s = 1 - t
    weights = [s**3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (4 - 6 * s**2 + 3 * s**3) / 6, t**3 / 6]
    index = below.long()
    return [(index + offset) % points for offset in (-1, 0, 1, 2)], weights
