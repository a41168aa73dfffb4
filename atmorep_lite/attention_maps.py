"""Attention as data: what a model's attention layers saw, with place, level and time of every token.

Token order everywhere: C order of (level, time, latitude, longitude). The weights of one query are a softmax
over all tokens of the key field,

    softmax( q.k / sqrt(channel) / temperature - slope * |position_query - position_key| / temperature ),

so that they sum to one over every level, time and place of that field. Self-attention heads and coupling
heads are separate softmaxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CapturedField:
    """The tokens of one field: where and when they are, what they hold, which of them were hidden.

    Parameters
    ----------
    name
        Canonical field name.
    level
        [level] hPa.
    time
        [time] datetime64, centre time of each token slot.
    latitude
        [latitude] token centres in degrees north, north to south.
    longitude
        [longitude] token centres in degrees east, ascending; may run past 360, never wrapped.
    token_size
        Extent of one token (degrees latitude, degrees longitude).
    position
        [token, coordinate] scaled positions used by the locality bias.
    values
        [level, time, latitude * values per token, longitude * values per token] physical values at the last
        time step of each token slot.
    mask
        [level, time, latitude, longitude] True where the token was hidden from the model.
    units
        Units of ``values``.
    """

    name: str
    level: np.ndarray
    time: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    token_size: tuple[float, float]
    position: np.ndarray
    values: np.ndarray
    mask: np.ndarray
    units: str


@dataclass(frozen=True)
class CapturedPair:
    """One family of softmaxes: queries of one field, keys of one field (the same: self; another: coupling).

    Parameters
    ----------
    query_field, key_field
        Canonical field names.
    q
        [layer, head, query, channel] as they enter the dot product, after normalisation.
    k
        [layer, head, key, channel] likewise.
    slope
        [layer, head] slope of the locality bias; 0 where there is none.
    stage
        "encoder".
    """

    query_field: str
    key_field: str
    q: np.ndarray
    k: np.ndarray
    slope: np.ndarray
    stage: str


@dataclass(frozen=True)
class AttentionCapture:
    """Every field and every pair of one forward pass; ``pairs`` is keyed by (query field, key field)."""

    fields: dict[str, CapturedField]
    pairs: dict[tuple[str, str], CapturedPair]
