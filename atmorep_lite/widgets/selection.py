"""What an attention explorer shows: the first view, and what becomes of a wish to see something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from atmorep_lite.attention_maps import nearest
from atmorep_lite.errors import UserError
from atmorep_lite.widgets.rows import Meta, attention_rows, find_field, index_of, token_count

ENTRIES = (
    "query_field",
    "query",
    "layer",
    "head",
    "coupling_head",
    "key_level",
    "key_hours",
    "temperature",
    "view",
    "scale",
    "arrows",
)


def first_view(meta: Meta, data: bytes) -> dict[str, Any]:
    """The middle token of a field's last level and newest time, in the last layer.

    The keys shown are the level and time that hold most of its attention, all fields taken together; in an
    explorer of times, keys of the query's own field.
    """
    pair = next((p for p in meta["pairs"] if p["query"] == p["key"]), meta["pairs"][0])
    asked, shown = find_field(meta, pair["query"]), find_field(meta, pair["key"])
    levels, times, rows, columns = asked["shape"]
    middle = (levels - 1, times - 1, rows // 2, columns // 2)
    query = int(np.ravel_multi_index(middle, asked["shape"]))
    layer = meta["layers"][-1]
    shares: dict[tuple[float, float], float] = {}
    for other in meta["pairs"]:
        if other["query"] == asked["name"]:
            key = find_field(meta, other["key"])
            slots = attention_rows(meta, data, other, query, layer, "mean", 1.0).mean(axis=0).sum(axis=(2, 3))
            for (level, time), share in np.ndenumerate(slots):
                place = key["level"][level], key["hours"][time]
                shares[place] = shares.get(place, 0.0) + share
    key_level, key_hours = max(shares, key=shares.__getitem__)
    first = {
        "query_field": asked["name"],
        "query": query,
        "layer": layer,
        "head": "mean",
        "coupling_head": "mean",
        "key_level": key_level,
        "key_hours": key_hours,
        "temperature": 1.0,
        "view": "attention",
        "scale": "linear",
        "arrows": False,
    }
    return {**first, "key_field": shown["name"]} if meta["panels"] == "times" else first


def complete(meta: Meta, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The wish with all entries: those left out stay as before; every entry checked.

    A new query field without a query gets the token nearest to the one before.

    Raises
    ------
    UserError
        Where an entry is unknown or names something that the explorer does not have.
    """
    entries = (*ENTRIES, "key_field") if meta["panels"] == "times" else ENTRIES
    unknown = sorted(set(wanted) - set(entries))
    if unknown:
        raise UserError(f"The entries {unknown} of selected are unknown: use some of {entries}.")
    merged = {**before, **wanted}
    if before and before.get("key_field") == before["query_field"] and "key_field" not in wanted:
        merged["key_field"] = merged["query_field"]
    if "key_field" in merged:
        find_field(meta, merged["key_field"])
    if before and "query" not in wanted and merged["query_field"] != before["query_field"]:
        merged["query"] = _same_place(meta, before, merged["query_field"])
    check_query(meta, merged["query_field"], merged["query"])
    index_of("layer", merged["layer"], meta["layers"])
    for kind in ("head", "coupling_head"):
        known = _heads(meta, own=kind == "head")
        if merged[kind] != "mean" and known:
            index_of(kind.replace("_", " "), merged[kind], known)
    for kind in ("key_level", "key_hours"):
        if not _is_number(merged[kind]):
            raise UserError(f"The {kind} of selected is {merged[kind]!r}, where a number was expected.")
    for kind, allowed in choices(meta).items():
        if merged[kind] not in allowed:
            raise UserError(f"The {kind} {merged[kind]!r} is unknown: choose one of {allowed}.")
    check_temperature(merged["temperature"])
    return merged


def choices(meta: Meta) -> dict[str, tuple[Any, ...]]:
    """Values that entries with few values may take."""
    views = ("attention", "contours", "field", *(("difference",) if "reference" in meta else ()))
    return {
        "view": views,
        "scale": ("linear", "root"),
        "arrows": (False, True) if "wind" in meta else (False,),
    }


def check_query(meta: Meta, name: str, query: int) -> None:
    """Raise `UserError` unless the field is there and has the token."""
    tokens = token_count(find_field(meta, name))
    if not _is_number(query) or query != int(query) or not 0 <= query < tokens:
        raise UserError(f"The query {query!r} of {name} is unknown: choose a token from 0 to {tokens - 1}.")


def check_temperature(temperature: float) -> None:
    """Raise `UserError` unless the temperature is a positive number."""
    if not _is_number(temperature) or not 0 < temperature < np.inf:
        raise UserError(f"The temperature is {temperature!r}, where a positive number was expected: try 1.")


def nearest_token(
    field: dict[str, Any], latitude: float, longitude: float, level: float | None, hours: float
) -> int:
    """Index of the token whose latitude, longitude, level and time are each nearest to those given."""
    tall, wide = field["period"] or ((None, None) if field["plane"] else (None, 360.0))
    places = (
        nearest(field["level"], field["level"][-1] if level is None else level),
        nearest(field["hours"], hours),
        nearest(field["latitude"], latitude, period=tall),
        nearest(field["longitude"], longitude, period=wide),
    )
    return int(np.ravel_multi_index(places, field["shape"]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _heads(meta: Meta, *, own: bool) -> list[int]:
    """Numbers of the self-attention heads, or of the coupling heads, of any field."""
    lists = [pair["heads"] for pair in meta["pairs"] if (pair["query"] == pair["key"]) == own]
    return sorted({head for heads in lists for head in heads})


def _same_place(meta: Meta, before: Mapping[str, Any], name: str) -> int:
    """Token of field ``name`` nearest to the query before."""
    old = find_field(meta, before["query_field"])
    level, time, row, column = np.unravel_index(before["query"], old["shape"])
    place = old["latitude"][row], old["longitude"][column], old["level"][level], old["hours"][time]
    return nearest_token(find_field(meta, name), *place)
