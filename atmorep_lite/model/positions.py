"""Codes of a token's place, added to its embedding so that attention can tell tokens apart.

Two kinds.  :func:`harmonic_positions` numbers the tokens of the neighbourhood, as the published network does.
:func:`sphere_positions` is a function of where on Earth, how high and when the token is, so that it means the
same on another grid, and for tokens of another size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

#: Longest wavelength and number of wavelengths, each half as long as the one before it.
GLOBAL_WAVES = (40.0, 4)  #: of the place on the sphere, in 1000 km: 40,000 to 5,000 km
LOCAL_WAVES = (40.0, 10)  #: of the place in the neighbourhood: 40,000 to 80 km
TIME_WAVES = (64.0, 8)  #: in units of 6 h: 16 days to 3 h
LEVEL_WAVES = (20.0, 5)  #: in units of half an e-folding of the pressure


def harmonic_positions(
    levels: int, nt: int, ny: int, nx: int, channels: int, *, published: bool = False
) -> Tensor:
    """Harmonic code of a token's place on its grid, ``[level, token_time, token_lat, token_lon, channel]``.

    Even channels carry latitude and time, odd channels longitude and level, at frequencies that rise linearly
    with the channel::

        code[2k]   = 0.5 sin(8 y w_k) + sin(t w_k)        w_k = 2 pi (2k) / channels
        code[2k+1] = 0.5 cos(8 x w_k) + cos(v w_k)

    Rows and columns ``channels / 16`` apart share a code.  ``published=True`` numbers the rows of tokens as
    the published code does, ``s // ny`` for the flat index ``s = y nx + x``, where ``s // nx`` was meant;
    weights trained with it depend on that.
    """
    frequency = 2 * math.pi * (2 * torch.arange(channels // 2)) / channels
    flat = torch.arange(ny * nx)
    rows = flat // (ny if published else nx)
    columns = flat % nx

    def wave(function: Callable[[Tensor], Tensor], index: Tensor, factor: float = 1.0) -> Tensor:
        return function(factor * index[:, None].double() * frequency.double()).float()

    space_even, space_odd = 0.5 * wave(torch.sin, rows, 8.0), 0.5 * wave(torch.cos, columns, 8.0)
    time = wave(torch.sin, torch.arange(nt))
    level = wave(torch.cos, torch.arange(levels))
    code = torch.zeros(levels, nt, ny * nx, channels)
    code[..., 0::2] = space_even[None, None] + time[None, :, None]
    code[..., 1::2] = space_odd[None, None] + level[:, None, None]
    return code.reshape(levels, nt, ny, nx, channels)


def sphere_positions(places: Tensor, centre: Tensor, spans: Tensor) -> Tensor:
    """Code of a token's true place, time and size.

    Sines and cosines of the coordinates at wavelengths that halve from one to the next.  The longest is so
    long that no two places share a code; amplitudes fall with the square root of the wavelength, so that the
    distance of two codes grows about as the square root of the tokens' distance on the sphere.

    Parameters
    ----------
    places
        ``[b, n, 5]`` from :func:`atmorep_lite.tokens.token_positions`.
    centre
        ``[b, 3]``, the point (in the coordinates of ``places``) from which east and north are counted.
    spans
        ``[b, n, 3]`` from :func:`atmorep_lite.tokens.token_spans`.

    Returns
    -------
    ``[b, n, SPHERE_FEATURES]``: the place on Earth, the place east and north of the centre, the time before
    the end of the neighbourhood, the level, and the logarithm of the token's size.
    """
    earth, time, level = places[..., :3], places[..., 3:4], places[..., 4:]
    parts = (
        waves(earth, *GLOBAL_WAVES),
        waves(east_and_north(earth, centre), *LOCAL_WAVES),
        waves(time, *TIME_WAVES),
        waves(level, *LEVEL_WAVES),
        torch.log2(spans),
    )
    return torch.cat(parts, -1)


SPHERE_FEATURES = 2 * (3 * GLOBAL_WAVES[1] + 2 * LOCAL_WAVES[1] + TIME_WAVES[1] + LEVEL_WAVES[1]) + 3


def waves(x: Tensor, longest: float, count: int) -> Tensor:
    """Sine and cosine of each coordinate at ``count`` wavelengths: ``[..., c]`` -> ``[..., 2 c count]``."""
    halvings = torch.arange(count, device=x.device, dtype=x.dtype)
    phase = x[..., None] * (2 * math.pi / longest * 2.0**halvings)
    amplitude = 2.0 ** (-halvings / 2)
    return torch.cat((amplitude * torch.sin(phase), amplitude * torch.cos(phase)), -1).flatten(-2)


def east_and_north(points: Tensor, centre: Tensor) -> Tensor:
    """How far east and north of a centre, along the straight axes there: ``[b, n, 3]`` -> ``[b, n, 2]``."""
    up = F.normalize(centre, dim=-1)
    east = F.normalize(torch.stack((-up[:, 1], up[:, 0] + 1e-6, torch.zeros_like(up[:, 0])), -1), dim=-1)
    north = torch.linalg.cross(up, east)
    return points @ torch.stack((east, north), -1)
