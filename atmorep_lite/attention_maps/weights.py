"""Attention weights from captured queries and keys, labelled by place, level and time.

The weights of one query are a softmax over all tokens of the key field,

    softmax( q.k / sqrt(channel) / temperature - slope * |position_query - position_key| / temperature ),

so that they sum to one over every level, time and place of that field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
import xarray as xr

from atmorep_lite.attention import attention_weights
from atmorep_lite.attention_maps.captured import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.errors import UserError


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
        What :func:`~atmorep_lite.attention_maps.capture.capture_attention` kept.
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
    longitude (``query_level``, ``key_time``, ...), so ``.sel(query_level=500)`` works; on a plane by level,
    time, y and x (``query_y``, ``key_x``, ...), and the attribute ``period`` (y, x) tells the box where it is
    periodic.  Each row sums to 1.
    NetCDF knows no multi-index: ``.reset_index(["query", "key"])`` before saving a node.

    Raises
    ------
    UserError
        If a field, layer, head or token does not exist, no query is wanted, the temperature is not positive,
        or the result would need more than 2 GB.
    """
    if not temperature > 0:
        raise UserError(
            f"the temperature is {temperature}, where a positive number was expected; 1 is the model's"
        )
    pairs = {
        key: pair
        for key, pair in source.pairs.items()
        if (query_fields is None or key[0] in query_fields) and (key_fields is None or key[1] in key_fields)
    }
    for name in {*(query_fields or ()), *(key_fields or ())} - set(source.fields):
        raise UserError(f"{name} is not a field of this model; it has {', '.join(source.fields)}")
    if not pairs:
        raise UserError("no pair of these fields is coupled in this model; see the keys of capture.pairs")
    wanted_heads = chosen_indices("head", heads, max(pair.q.shape[1] for pair in pairs.values()))
    nodes = {}
    for (query_field, key_field), pair in pairs.items():
        chosen_layers = chosen_indices("layer", layers, pair.q.shape[0])
        chosen_heads = [head for head in wanted_heads if head < pair.q.shape[1]]
        if not chosen_heads:
            continue
        chosen_queries = chosen_indices("token", queries, pair.q.shape[2])
        size = 8 * len(chosen_layers) * len(chosen_heads) * len(chosen_queries) * pair.k.shape[2]
        if size > 2e9:
            raise UserError(
                f"all weights of {query_field} -> {key_field} would need {size / 1e9:.1f} GB; "
                "choose fewer queries, layers or heads"
            )
        weights = _weights(source, pair, chosen_layers, chosen_heads, chosen_queries, temperature)
        periodic = {"period": source.period} if source.period is not None else {}
        node = xr.Dataset(
            {"attention": (("layer", "head", "query", "key"), weights, periodic)},
            coords={"layer": chosen_layers, "head": chosen_heads},
            attrs={"query_field": query_field, "key_field": key_field, "stage": pair.stage},
        )
        places = ("y", "x") if source.geometry == "plane" else ("latitude", "longitude")
        labels = _index("query", source.fields[query_field], chosen_queries, places)
        labels |= _index("key", source.fields[key_field], None, places)
        nodes[f"{query_field}/{key_field}"] = node.assign_coords(labels)
    return xr.DataTree.from_dict(nodes)


def token_at(
    field: CapturedField,
    *,
    latitude: float | None = None,
    longitude: float | None = None,
    y: float | None = None,
    x: float | None = None,
    level: float | None = None,
    slot: int = -1,
    period: tuple[float, float] | None = None,
) -> int:
    """Index of the token of a field nearest to a place.

    Parameters
    ----------
    field
        The field whose token is wanted.
    latitude, longitude
        Place on the sphere, in degrees; any turn of longitude.
    y, x
        Place on a plane, instead of ``latitude`` and ``longitude``.
    level
        hPa; may be left out where the field has one level.
    slot
        Time slot; -1 is the newest.
    period
        ``capture.period`` of a periodic plane, where the place may lie outside of the box.

    Raises
    ------
    UserError
        If no place is given, or the field has no such level or slot.
    """
    levels = field.level.tolist()
    if level is None and len(levels) == 1:
        level = levels[0]
    if level not in levels:
        raise UserError(f"{field.name} has no level {level} here; it has {', '.join(map(str, levels))}")
    _, slots, rows, columns = field.mask.shape
    if not -slots <= slot < slots:
        raise UserError(f"{field.name} has no time slot {slot} here; it has {slots}, counted from 0")
    if latitude is not None and longitude is not None:
        row = nearest(field.latitude, latitude)
        column = nearest(field.longitude, longitude, period=360.0)
    elif y is not None and x is not None:
        tall, wide = period or (None, None)
        row, column = nearest(field.latitude, y, period=tall), nearest(field.longitude, x, period=wide)
    else:
        raise UserError("token_at needs a place: latitude and longitude, or y and x on a plane")
    return ((levels.index(level) * slots + slot % slots) * rows + row) * columns + column


def nearest(centres: np.ndarray, place: float, *, period: float | None = None) -> int:
    """Index of the centre [centre] nearest to a place, on a line or on a circle of length ``period``."""
    offset = np.asarray(centres) - place
    if period is not None:
        offset = offset - period * np.round(offset / period)
    return int(np.abs(offset).argmin())


def joint_index(axis: str, places: Mapping[str, CapturedField], *, plane: bool = False) -> xr.Coordinates:
    """Coordinates of all tokens of all fields in a row, by field, level, time, latitude and longitude.

    On a plane by y and x; all names begin with ``axis`` and an underscore.
    """
    names = ("field", "level", "time", *(("y", "x") if plane else ("latitude", "longitude")))
    parts = [
        pd.MultiIndex.from_product(
            [[name], f.level, f.time, f.latitude, f.longitude], names=[f"{axis}_{n}" for n in names]
        )
        for name, f in places.items()
    ]
    return xr.Coordinates.from_pandas_multiindex(parts[0].append(parts[1:]), axis)


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


def chosen_indices(what: str, wanted: Sequence[int] | None, count: int) -> list[int]:
    """The wanted numbers of ``count`` layers, heads or tokens, all where None; ``UserError`` for others."""
    if wanted is None:
        return list(range(count))
    if not len(wanted):
        raise UserError(f"no {what} is chosen; choose some of 0 to {count - 1}, or leave them out for all")
    for item in wanted:
        if not 0 <= item < count:
            raise UserError(f"{what} {item} does not exist; there are {count}, 0 to {count - 1}")
    return [int(item) for item in wanted]


def _index(
    axis: str, field: CapturedField, chosen: list[int] | None, places: tuple[str, str]
) -> xr.Coordinates:
    index = pd.MultiIndex.from_product(
        [field.level, field.time, field.latitude, field.longitude],
        names=[f"{axis}_{name}" for name in ("level", "time", *places)],
    )
    return xr.Coordinates.from_pandas_multiindex(index if chosen is None else index[chosen], axis)
