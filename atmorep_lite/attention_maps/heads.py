"""Every head as one row of numbers: how sharp, how far, how long ago, how much higher or lower it looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import xarray as xr

from atmorep_lite.attention_maps.captured import AttentionCapture
from atmorep_lite.attention_maps.measures import (
    mean_distance,
    mean_lag,
    mean_level_offset,
    relative_entropy,
    share_on_level,
    share_within,
)
from atmorep_lite.attention_maps.weights import attention_maps
from atmorep_lite.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

RADIUS_KM, RADIUS_TOKENS = 2000.0, 2.5
ALL_WEIGHTS = 6e7
"""Bytes of weights that are computed at once."""


def head_table(
    capture: AttentionCapture,
    *,
    radius: float | None = None,
    queries: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
) -> pd.DataFrame:
    """One row for each pair of fields, layer and head: the measures, averaged over queries.

    Parameters
    ----------
    capture
        What a model attended with, on the sphere or on a plane.
    radius
        For ``near``: km, 2000 by default; on a plane box units, by default 2.5 times a token's longer side.
    queries
        Token indices to average over; all by default.  A mapping gives each query field its own, and leaves
        out the pairs of fields that it does not name; one sequence for all fields counts from the first level
        and time of each.

    Returns
    -------
    DataFrame with the columns ``query_field``, ``key_field``, ``kind`` ("self" or "coupling"), ``layer``,
    ``head``, ``entropy`` (relative to uniform; NaN where there is one key), ``distance_km``, ``near`` (share
    within the radius), ``lag_h``, ``level_offset`` (hPa, positive if keys lie lower) and ``same_level``
    (share on keys of the query's level) and ``queries`` (how many were averaged over).  On a plane
    ``distance`` (box units) and ``lag`` (frames) stand instead of ``distance_km`` and ``lag_h``.

    Raises
    ------
    UserError
        If a query or field does not exist, there is no query, or the radius is not positive.
    """
    import pandas as pd

    if radius is not None and not radius > 0:
        raise UserError(
            f"the radius is {radius}, where a positive length was expected; leave it out for 2000 km"
        )
    wanted = queries if isinstance(queries, Mapping) else dict.fromkeys(capture.fields, queries)
    if unknown := sorted(set(wanted) - set(capture.fields)):
        raise UserError(f"{unknown[0]} is not a field of this capture; it has {', '.join(capture.fields)}")
    tables = []
    for (query_field, key_field), pair in capture.pairs.items():
        if query_field not in wanted:
            continue
        tokens = wanted[query_field]
        chosen = list(range(pair.q.shape[2])) if tokens is None else list(tokens)
        if not chosen:
            raise UserError(f"the table needs at least one query of {query_field}; leave queries out for all")
        size = max(capture.fields[query_field].token_size)
        reach = radius or (RADIUS_KM if capture.geometry == "sphere" else RADIUS_TOKENS * size)
        parts = query_chunks(capture, (query_field, key_field), len(chosen))
        pieces = [_measured(capture, query_field, key_field, chosen[part], reach) for part in parts]
        mean = cast(xr.Dataset, sum(pieces)) / len(chosen)
        table = mean.to_dataframe().reset_index()
        table.insert(0, "query_field", query_field)
        table.insert(1, "key_field", key_field)
        table.insert(2, "kind", "self" if query_field == key_field else "coupling")
        table["queries"] = len(chosen)
        tables.append(table)
    if not tables:
        raise UserError("no field is named whose heads are to be told; leave queries out for all")
    return pd.concat(tables, ignore_index=True)


def query_chunks(capture: AttentionCapture, key: tuple[str, str], count: int) -> Iterator[slice]:
    """Slices of ``count`` queries of a pair, so short that their weights on all keys take about 60 MB."""
    pair = capture.pairs[key]
    layers, heads = pair.q.shape[:2]
    step = max(1, int(ALL_WEIGHTS / (8 * layers * heads * pair.k.shape[2])))
    yield from (slice(i, i + step) for i in range(0, count, step))


def _measured(
    capture: AttentionCapture, query_field: str, key_field: str, queries: list[int], radius: float
) -> xr.Dataset:
    """Every measure of one pair, summed over queries, ``[layer, head]``."""
    tree = attention_maps(capture, query_fields=[query_field], key_fields=[key_field], queries=queries)
    weights = cast(xr.DataArray, tree[f"{query_field}/{key_field}/attention"])
    if weights.sizes["key"] > 1:
        entropy = relative_entropy(weights)
    else:
        entropy = xr.full_like(weights.isel(key=0, drop=True), float("nan"))
    distance, lag = mean_distance(weights), mean_lag(weights)
    measured = {
        "entropy": entropy,
        str(distance.name): distance,
        "near": share_within(weights, radius),
        str(lag.name): lag,
        "level_offset": mean_level_offset(weights),
        "same_level": share_on_level(weights),
    }
    return xr.Dataset({name: values.sum("query", skipna=False) for name, values in measured.items()})
