"""Where a token is, told by turning its queries and keys: rotary position encoding on the torus.

A head's channels are taken in pairs.  Pair p of a token at place x (an angle along each axis) is turned by
the angle m_p . x (Su et al. 2021, in several dimensions).  A dot product of two turned vectors then depends
on places through their displacement only:

    R(m . x_i) q . R(m . x_j) k  =  q . R(m . (x_j - x_i)) k .

With *integer* wave vectors m the turn is the same after a full circle, so that the encoding is exactly
periodic.  And with constant terms in the projections (q = W x + b) the product of the constants alone is a
Fourier series of the displacement,

    b_q . R(m . (x_j - x_i)) b_k  =  sum over p of  a_p cos(m_p . (x_j - x_i) + phase_p),

a learnt kernel of relative position, at no cost: no bias matrix that would rule out the fast kernel.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from atmorep_lite.config import Triple


def wave_vectors(count: int, slots: Triple) -> Tensor:
    """The ``count`` longest waves on a grid of tokens, ``[pair, 3]`` integers (time, y, x).

    One of each pair m, -m (they tell the same), longest waves first.  An axis with one token has none.
    """
    for reach in itertools.count(1):
        axes = [range(-reach, reach + 1) if n > 1 else range(1) for n in slots]
        half = [m for m in itertools.product(*axes) if m > (0, 0, 0) and _length(m) <= reach * reach]
        if len(half) >= count:
            break
    return torch.tensor(sorted(half, key=lambda m: (_length(m), m))[:count])


def _length(m: tuple[int, ...]) -> int:
    """Square of a wave vector's length."""
    return sum(c * c for c in m)


def token_angles(slots: Triple) -> Tensor:
    """Place of each token as angles, ``[token, 3]`` (time, y, x), tokens in C order.

    In space the circle is the torus.  Time is no circle: its ``n`` slots take part of one with ``2 n - 1``
    places, so that all differences stay different.
    """
    nt, ny, nx = slots
    axes = [torch.arange(n) * (2 * math.pi / places) for n, places in ((nt, 2 * nt - 1), (ny, ny), (nx, nx))]
    return torch.cartesian_prod(*axes)


def rotation(slots: Triple, channels: int) -> Tensor:
    """Cosine and sine of every turn: ``[2, token, pair]`` for heads of ``channels`` = 2 pairs channels."""
    turn = token_angles(slots).double() @ wave_vectors(channels // 2, slots).double().T
    return torch.stack((turn.cos(), turn.sin())).float()


def turn(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn queries or keys ``[b, h, token, channel]``; channel i pairs with i + channel / 2."""
    (cos, sin), (first, second) = rotation, x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


def beside(focus: float, angles: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Constants of queries and keys, each ``[h, channel]``, that make every head look beside its query.

    Head h's weights are proportional to exp(c (cos(dy - oy) + cos(dx - ox))), about a Gaussian of standard
    deviation 1 / sqrt(c) around the offset (oy, ox), one standard deviation away in the direction
    ``angles[h]`` (from the x axis towards y).  The concentrations c run from ``focus`` for the first head
    down to a quarter of it for the last.
    """
    heads, pairs = len(angles), channels // 2
    concentration = focus * 0.25 ** (torch.arange(heads) / max(1, heads - 1))
    offset = torch.stack((angles.cos(), angles.sin())) / concentration.sqrt()  # x, y: the first two waves
    amplitude = (concentration * math.sqrt(channels)).sqrt()
    q, k = torch.zeros(2, heads, 2, pairs)
    q[:, 0, :2] = amplitude[:, None]
    k[:, 0, :2], k[:, 1, :2] = (amplitude * offset.cos()).T, -(amplitude * offset.sin()).T
    return q.flatten(1), k.flatten(1)
