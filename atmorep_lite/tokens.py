"""Field <-> tokens.

A neighbourhood of one field, ``[..., time, latitude, longitude]``, is cut into equal, non-overlapping tokens
(space-time boxes), each flattened into a vector of ``channel`` values.  Cutting is a pure re-ordering:
:func:`detokenize` is its exact inverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from atmorep_lite.config import Triple
from atmorep_lite.errors import UserError

INFO = ("year", "day_of_year", "hour", "level", "colatitude", "longitude", "level", "resolution")


@dataclass(frozen=True)
class FieldTokens:
    """The tokens of one field.

    Attributes
    ----------
    values
        ``[batch, level, token_time, token_lat, token_lon, channel]``, normalised; channel runs over
        (time, latitude, longitude) inside the token.
    info
        ``[batch, level, token_time, token_lat, token_lon, 8]``: where and when the token is, raw units, in
        the order of :data:`INFO`.
    mask
        ``[batch, level, token_time, token_lat, token_lon]``, True where the token is hidden from the model.
    context
        Coarser tokens of a larger region around the neighbourhood, for fields that have them
        (:class:`atmorep_lite.config.ContextConfig`).
    offset
        Of context tokens: ``[batch, 2]``, row and column of the neighbourhood's first point in their region.
    """

    values: Tensor
    info: Tensor
    mask: Tensor
    context: FieldTokens | None = None
    offset: Tensor | None = None

    def with_values(self, values: Tensor) -> FieldTokens:
        """The same tokens holding other values."""
        return replace(self, values=values)

    @property
    def parts(self) -> tuple[FieldTokens, ...]:
        """The tokens themselves, then their context if there is one."""
        return (self,) if self.context is None else (self, self.context)

    def sequence_info(self) -> Tensor:
        """Information of all tokens that the network sees, ``[batch, token, 8]``: C order, context last."""
        return torch.cat([part.info.flatten(1, 4) for part in self.parts], 1)

    def sequence_mask(self) -> Tensor:
        """Which of them are hidden, ``[batch, token]``."""
        return torch.cat([part.mask.flatten(1) for part in self.parts], 1)


def tokenize(grid: Tensor, token_size: Triple) -> Tensor:
    """Cut ``[..., T, Y, X]`` into tokens ``[..., nt, ny, nx, tt*ty*tx]``.

    ``out[..., a, b, c, (i, j, k)] = grid[..., a*tt+i, b*ty+j, c*tx+k]``.

    Raises
    ------
    UserError
        If the grid is not a whole number of tokens in each direction.
    """
    axes = ("time", "latitude", "longitude")
    for axis, size, token in zip(axes, grid.shape[-3:], token_size, strict=True):
        if size < token or size % token:
            raise UserError(
                f"a neighbourhood of {size} points in {axis} cannot be cut into tokens of {token}; "
                "choose a token size that divides it"
            )
    lead = grid.shape[:-3]
    nt, ny, nx = (size // token for size, token in zip(grid.shape[-3:], token_size, strict=True))
    tt, ty, tx = token_size
    cut = grid.reshape(*lead, nt, tt, ny, ty, nx, tx)
    n = len(lead)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3, n + 5)
    return cut.permute(order).reshape(*lead, nt, ny, nx, tt * ty * tx)


def detokenize(tokens: Tensor, token_size: Triple) -> Tensor:
    """Inverse of :func:`tokenize`: ``[..., nt, ny, nx, channel]`` -> ``[..., T, Y, X]``."""
    lead = tokens.shape[:-4]
    nt, ny, nx = tokens.shape[-4:-1]
    tt, ty, tx = token_size
    n = len(lead)
    cut = tokens.reshape(*lead, nt, ny, nx, tt, ty, tx)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2, n + 5)
    return cut.permute(order).reshape(*lead, nt * tt, ny * ty, nx * tx)


def spread_over_token(per_token: Tensor, token_size: Triple) -> Tensor:
    """Repeat one value per token over its grid points: ``[..., nt, ny, nx]`` -> ``[..., T, Y, X]``."""
    for axis, size in zip((-3, -2, -1), token_size, strict=True):
        per_token = per_token.repeat_interleave(size, dim=axis)
    return per_token


def coarsened(grid: Tensor, points: int) -> Tensor:
    """Means over squares of ``points`` x ``points``: ``[..., y, x]`` -> ``[..., y / points, x / points]``."""
    *_, rows, columns = grid.shape
    blocks = grid.unflatten(-1, (columns // points, points)).unflatten(-3, (rows // points, points))
    return blocks.mean((-3, -1))


def token_info(
    time: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
    levels: tuple[int, ...],
    token_size: Triple,
) -> np.ndarray:
    """Where and when each token is.

    Parameters
    ----------
    time, latitude, longitude
        Coordinates of the neighbourhood's grid points (datetime64; degrees north, descending; degrees east).

    Returns
    -------
    ``[level, token_time, token_lat, token_lon, 8]`` float32 in the order of :data:`INFO`: the date of the
    token's last time step (day of year counted from 0), colatitude and longitude of its point
    ``(ty // 2, tx // 2)``, resolution in degrees.
    """
    tt, ty, tx = token_size
    last = time[tt - 1 :: tt].astype("datetime64[s]")
    year = last.astype("datetime64[Y]")
    day = (last.astype("datetime64[D]") - year.astype("datetime64[D]")).astype(float)
    hour = (last - last.astype("datetime64[D]")).astype(float) / 3600.0
    colatitude = 90.0 - latitude[ty // 2 :: ty]
    east = longitude[tx // 2 :: tx] % 360.0
    resolution = abs(float(latitude[1] - latitude[0])) if len(latitude) > 1 else 0.0
    info = np.empty((len(levels), len(last), len(colatitude), len(east), 8), np.float32)
    info[..., 0] = (year.astype(int) + 1970)[None, :, None, None]
    info[..., 1] = day[None, :, None, None]
    info[..., 2] = hour[None, :, None, None]
    info[..., 3] = info[..., 6] = np.asarray(levels, np.float32)[:, None, None, None]
    info[..., 4] = colatitude[None, None, :, None]
    info[..., 5] = east[None, None, None, :]
    info[..., 7] = resolution
    return info


def scaled_info(info: Tensor) -> Tensor:
    """Token information as smooth features of order one: ``[..., 8]`` -> ``[..., 10]``.

    Year in twenties, day of year and hour as points on circles, sine of latitude, longitude as a point on a
    circle, logarithm of level and of resolution.  (The published network feeds the raw numbers, so that
    the year, about 2000, dwarfs all else.)
    """
    year, day, hour, level, colatitude, longitude, _, resolution = info.unbind(-1)
    day, hour, east = (2 * math.pi * x for x in (day / 365.25, hour / 24.0, longitude / 360.0))
    features = (
        (year - 2000.0) / 20.0,
        torch.sin(day),
        torch.cos(day),
        torch.sin(hour),
        torch.cos(hour),
        torch.cos(torch.deg2rad(colatitude)),
        torch.sin(east),
        torch.cos(east),
        torch.log(_pressure(level) / 500.0),
        torch.log2(resolution.clamp(min=1e-3)),
    )
    return torch.stack(features, -1)


def _pressure(level: Tensor) -> Tensor:
    """The level, where 0 stands for the surface, at about 1000 hPa."""
    return torch.where(level == 0, 1000.0, level)


def token_positions(info: Tensor) -> Tensor:
    """Tokens' places as points whose Euclidean distances are meaningful: ``[b, ..., 8]`` -> ``[b, ..., 5]``.

    Three coordinates on the sphere in units of 1000 km (so distance is the chord), time in units of 6 h
    (relative to the sample's latest token, which ends with the neighbourhood whatever the tokens' length),
    and twice the logarithm of the level.
    """
    year, day, hour, level, colatitude, longitude, _, _ = info.unbind(-1)
    theta, phi = torch.deg2rad(colatitude), torch.deg2rad(longitude)
    radius = 6.371
    past = year.double() - 1.0
    leap_days = (past / 4).floor() - (past / 100).floor() + (past / 400).floor()
    hours = (365.0 * past + leap_days + day) * 24.0 + hour
    latest = hours.flatten(1).amax(1).reshape(-1, *[1] * (hours.dim() - 1))
    hours = (hours - latest).to(info.dtype)
    return torch.stack(
        (
            radius * torch.sin(theta) * torch.cos(phi),
            radius * torch.sin(theta) * torch.sin(phi),
            radius * torch.cos(theta),
            hours / 6.0,
            2.0 * torch.log(_pressure(level)),
        ),
        -1,
    )


def token_spans(info: Tensor, token_size: Triple) -> Tensor:
    """How much each token covers: ``[b, level, token_time, token_lat, token_lon, 8]`` -> ``[b, ..., 3]``.

    Duration in units of 6 h, height and width on the equator in units of 1000 km.  The duration is read from
    the tokens' dates; where there is one slot only, a time step is taken for an hour.
    """
    time = token_positions(info)[..., 3]
    hours = time[:, :, 1:2] - time[:, :, :1] if info.shape[2] > 1 else token_size[0] / 6.0
    degree = 6.371 * math.pi / 180.0
    edge = info[..., 7].clamp(min=1e-3) * degree
    return torch.stack((torch.zeros_like(edge) + hours, edge * token_size[1], edge * token_size[2]), -1)
