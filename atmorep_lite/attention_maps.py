"""Attention as data: what a model's attention layers saw, with place, level and time of every token.

Token order everywhere: C order of (level, time, latitude, longitude). The weights of one query are a softmax
over all tokens of the key field,

    softmax( q.k / sqrt(channel) / temperature - slope * |position_query - position_key| / temperature ),

so that they sum to one over every level, time and place of that field. Self-attention heads and coupling
heads are separate softmaxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr

from atmorep_lite.attention import attention_weights
from atmorep_lite.errors import UserError


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


def attention_maps(
    source: AttentionCapture,
    *,
    query_fields: Sequence[str] | None = None,
    key_fields: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    queries: Sequence[int] | None = None,
    temperature: float = 1.0,
) -> xr.DataTree:
    """The weights themselves, labelled.

    Parameters
    ----------
    source
        What :func:`~atmorep_lite.attention_capture.capture_attention` kept.
    query_fields, key_fields, layers, heads
        What to compute; all by default.  A coupling pair has one head, 0, and is left out without it.
    queries
        Token indices (see :func:`token_at`); all tokens by default.
    temperature
        Divides the scores; 1 is what the model uses.

    Returns
    -------
    A tree with one node ``query_field/key_field`` per pair, its variable ``attention`` with dims
    ``(layer, head, query, key)``.  ``query`` and ``key`` are multi-indexed by level, time, latitude and
    longitude (``query_level``, ``key_time``, ...), so ``.sel(query_level=500)`` works.  Each row sums to 1.
    NetCDF knows no multi-index: ``.reset_index(["query", "key"])`` before saving a node.

    Raises
    ------
    UserError
        If a field, layer or token does not exist, or the result would need more than 2 GB.
    """
    pairs = {
        key: pair
        for key, pair in source.pairs.items()
        if (query_fields is None or key[0] in query_fields) and (key_fields is None or key[1] in key_fields)
    }
    for name in {*(query_fields or ()), *(key_fields or ())} - set(source.fields):
        raise UserError(f"{name} is not a field of this model; it has {', '.join(source.fields)}")
    if not pairs:
        raise UserError("no pair of these fields is coupled in this model; see the keys of capture.pairs")
    wanted_heads = _chosen("head", heads, max(pair.q.shape[1] for pair in pairs.values()))
    nodes = {}
    for (query_field, key_field), pair in pairs.items():
        chosen_layers = _chosen("layer", layers, pair.q.shape[0])
        chosen_heads = [head for head in wanted_heads if head < pair.q.shape[1]]
        if not chosen_heads:
            continue
        chosen_queries = _chosen("token", queries, pair.q.shape[2])
        size = 8 * len(chosen_layers) * len(chosen_heads) * len(chosen_queries) * pair.k.shape[2]
        if size > 2e9:
            raise UserError(
                f"all weights of {query_field} -> {key_field} would need {size / 1e9:.1f} GB; "
                "choose fewer queries, layers or heads"
            )
        weights = _weights(source, pair, chosen_layers, chosen_heads, chosen_queries, temperature)
        node = xr.Dataset(
            {"attention": (("layer", "head", "query", "key"), weights)},
            coords={"layer": chosen_layers, "head": chosen_heads},
            attrs={"query_field": query_field, "key_field": key_field, "stage": pair.stage},
        )
        labels = _index("query", source.fields[query_field], chosen_queries)
        labels |= _index("key", source.fields[key_field], None)
        nodes[f"{query_field}/{key_field}"] = node.assign_coords(labels)
    return xr.DataTree.from_dict(nodes)


def token_at(field: CapturedField, *, latitude: float, longitude: float, level: int, slot: int = -1) -> int:
    """Index of the token of a field nearest to a place, at a level (hPa) and time slot (-1 is the newest)."""
    levels = [int(x) for x in field.level]
    if level not in levels:
        raise UserError(f"{field.name} has no level {level} here; it has {', '.join(map(str, levels))}")
    row = int(np.abs(field.latitude - latitude).argmin())
    offset = (field.longitude - longitude + 180.0) % 360.0 - 180.0
    column = int(np.abs(offset).argmin())
    shape = field.mask.shape
    return int(np.ravel_multi_index((levels.index(level), slot % shape[1], row, column), shape))


def _weights(
    source: AttentionCapture,
    pair: CapturedPair,
    layers: list[int],
    heads: list[int],
    queries: list[int],
    temperature: float,
) -> np.ndarray:
    q = torch.from_numpy(pair.q[np.ix_(layers, heads, queries)]).double()
    k = torch.from_numpy(pair.k[np.ix_(layers, heads)]).double()
    here = torch.from_numpy(source.fields[pair.query_field].position[queries]).double()
    there = torch.from_numpy(source.fields[pair.key_field].position).double()
    slope = torch.from_numpy(pair.slope[np.ix_(layers, heads)]).double()
    bias = -slope[..., None, None] * torch.cdist(here, there)
    return attention_weights(q / temperature, k, bias / temperature).numpy()


def _chosen(what: str, wanted: Sequence[int] | None, count: int) -> list[int]:
    if wanted is None:
        return list(range(count))
    for item in wanted:
        if not 0 <= item < count:
            raise UserError(f"{what} {item} does not exist; there are {count}, 0 to {count - 1}")
    return [int(item) for item in wanted]


def _index(axis: str, field: CapturedField, chosen: list[int] | None) -> xr.Coordinates:
    index = pd.MultiIndex.from_product(
        [field.level, field.time, field.latitude, field.longitude],
        names=[f"{axis}_{name}" for name in ("level", "time", "latitude", "longitude")],
    )
    return xr.Coordinates.from_pandas_multiindex(index if chosen is None else index[chosen], axis)
