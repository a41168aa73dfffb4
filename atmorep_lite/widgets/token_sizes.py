"""What a size of tokens costs and keeps: numbers of tokens and attention pairs, and the variance of means."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from atmorep_lite.config import Triple
from atmorep_lite.tokens import detokenize, tokenize
from atmorep_lite.widgets.gridded import Piece, Range, check_token_size

BYTES = 4  # of one weight of attention, float32


class TokenNumbers(NamedTuple):
    """What a token size costs and keeps.

    Attributes
    ----------
    grid
        Numbers of tokens (level, time, latitude, longitude) of the field.
    tokens
        Their product: the length of the sequence that enters the field's transformer.
    values
        Values in one token.
    pairs
        Pairs of tokens that one head compares, ``tokens ** 2``.
    matrix_bytes
        Memory of one head's weights in float32.
    survives
        Share of the variance of the level shown that is left when each token is replaced by its mean; 1 minus
        ``inside`` of :func:`~atmorep_lite.token_statistics.token_statistics`. Every grid point counts alike.
    """

    grid: tuple[int, int, int, int]
    tokens: int
    values: int
    pairs: int
    matrix_bytes: int
    survives: float


class TwoSizes(NamedTuple):
    """Small tokens around the chosen one, and larger ones in the rest of the piece.

    Attributes
    ----------
    coarse
        Size of the larger tokens: twice the size shown in latitude and longitude, where that fits.
    tokens
        How many tokens there are, of both sizes.
    survives
        As in :class:`TokenNumbers`.
    """

    coarse: Triple
    tokens: int
    survives: float


def token_numbers(values: np.ndarray, token_size: Triple, level: int) -> TokenNumbers:
    """Numbers for a field ``[level, time, latitude, longitude]``; what survives is that of one level."""
    nt, ny, nx = (n // s for n, s in zip(values.shape[1:], token_size, strict=True))
    grid = (values.shape[0], nt, ny, nx)
    tokens = math.prod(grid)
    pairs = tokens**2
    kept = survives(values[level], token_size)
    return TokenNumbers(grid, tokens, math.prod(token_size), pairs, BYTES * pairs, kept)


def two_sizes(values: np.ndarray, token_size: Triple, level: int, point: tuple[int, int]) -> TwoSizes:
    """Numbers for a field of which half, each way, around a grid point (row, column) is cut finer."""
    shape = values.shape[1:]
    tall, wide = (2 * s if n % (2 * s) == 0 else s for n, s in zip(shape[1:], token_size[1:], strict=True))
    coarse = (token_size[0], tall, wide)
    counts = [n // s for n, s in zip(shape, coarse, strict=True)]
    rows, columns = (_around(p // s, n) for p, s, n in zip(point, coarse[1:], counts[1:], strict=True))
    near = np.zeros(counts[1:], dtype=bool)
    near[rows, columns] = True
    small = near.sum() * (tall // token_size[1]) * (wide // token_size[2])
    tokens = int(values.shape[0] * counts[0] * ((~near).sum() + small))
    fine = near.repeat(tall, 0).repeat(wide, 1)
    shown = values[level]
    mixed = np.where(fine, _smeared(shown, token_size), _smeared(shown, coarse))
    return TwoSizes(coarse, tokens, _share(mixed, shown))


def survives(values: np.ndarray, token_size: Triple) -> float:
    """Share of the variance that is left when each token is replaced by its mean.

    Parameters
    ----------
    values
        ``[time, latitude, longitude]``; NaN where there is none. A mean is that of the values that there are,
        and stands in their place only.
    token_size
        Points of a token in each of these directions.

    Returns
    -------
    Between 0 and 1; NaN where nothing varies.

    Examples
    --------
    >>> survives(np.array([0.0, 2.0, 4.0, 6.0]).reshape(4, 1, 1), (2, 1, 1))
    0.8
    """
    return _share(_smeared(values, token_size), values)


def _smeared(values: np.ndarray, token_size: Triple) -> np.ndarray:
    """Values with each token replaced by its mean."""
    tokens = tokenize(torch.from_numpy(np.asarray(values, float)), token_size)
    seen = torch.isfinite(tokens)
    means = torch.where(seen, tokens, 0.0).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
    return detokenize(torch.where(seen, means, math.nan), token_size).numpy()


def _share(smeared: np.ndarray, values: np.ndarray) -> float:
    """Variance of the one as a part of the other's."""
    seen = np.isfinite(values)
    whole = float(values[seen].var()) if seen.any() else 0.0
    return float(smeared[seen].var()) / whole if whole > 0 else math.nan


def _around(token: int, count: int) -> slice:
    """Half of ``count`` tokens, one at least, around one of them."""
    kept = max(1, count // 2)
    first = min(max(token - kept // 2, 0), count - kept)
    return slice(first, first + kept)


def whole_tokens(piece: Piece, size: Any, latitude: Range | None, longitude: Range | None) -> Piece:
    """A region without the last rows and columns that fill no token; axes without bounds stay whole.

    Raises
    ------
    UserError
        Where the token size is none.
    """
    _, tall, wide = check_token_size(size, size)

    def kept(points: int, number: int, bounds: Range | None) -> slice:
        return slice(points if bounds is None or points < number else points - points % number)

    _, points_lat, points_lon = piece.shape
    rows, columns = kept(points_lat, tall, latitude), kept(points_lon, wide, longitude)
    return replace(
        piece,
        fields=tuple(
            replace(f, values=f.values[..., rows, columns], mean=f.mean[..., rows, columns])
            for f in piece.fields
        ),
        latitude=piece.latitude[rows],
        longitude=piece.longitude[columns],
    )
