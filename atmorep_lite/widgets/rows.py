"""Attention rows in float64 from the packed queries and keys: what the page computes, in NumPy."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from atmorep_lite.errors import UserError

Head = int | Literal["mean"]
Meta = dict[str, Any]  # as made by `packing.pack`


def find_field(meta: Meta, name: str) -> dict[str, Any]:
    """Description of one field; `UserError` where the explorer has no such field."""
    for field in meta["fields"]:
        if field["name"] == name:
            found: dict[str, Any] = field
            return found
    names = [field["name"] for field in meta["fields"]]
    raise UserError(f"The field {name!r} is not in this explorer: choose one of {names}.")


def index_of(kind: str, wanted: Any, known: list[int]) -> int:
    """Where ``wanted`` stands among the known layers or heads; `UserError` where it does not."""
    if wanted not in known:
        raise UserError(f"The {kind} {wanted!r} is not in this explorer: choose one of {known}.")
    return known.index(wanted)


def token_count(field: dict[str, Any]) -> int:
    """Number of tokens of a field."""
    return int(np.prod(field["shape"]))


def attention_rows(
    meta: Meta, data: bytes, pair: dict[str, Any], query: int, layer: int, head: Head, temperature: float
) -> np.ndarray:
    """Weights [head, level, time, latitude, longitude] of one query, each head summing to 1.

    softmax(q.k / sqrt(channel) / temperature - slope * |position_query - position_key| / temperature).

    Parameters
    ----------
    meta, data
        As made by `packing.pack`.
    pair
        One entry of ``meta["pairs"]``.
    query
        Token index.
    layer, head
        Numbers as in the capture; head "mean" gives the rows of all heads.
    temperature
        Positive.
    """
    depth = index_of("layer", layer, meta["layers"])
    heads = range(len(pair["heads"])) if head == "mean" else [index_of("head", head, pair["heads"])]
    from_field, to_field = find_field(meta, pair["query"]), find_field(meta, pair["key"])
    q = _channels(meta, data, pair, "q", token_count(from_field))[depth, :, query].astype(np.float64)
    k = _channels(meta, data, pair, "k", token_count(to_field))[depth].astype(np.float64)
    distance = np.linalg.norm(_positions(data, to_field) - _positions(data, from_field)[query], axis=-1)
    rows = []
    for index in heads:
        scores = k[index] @ q[index] / np.sqrt(pair["channels"]) - pair["slope"][depth][index] * distance
        row = np.exp((scores - scores.max()) / temperature)
        rows.append(row / row.sum())
    return np.array(rows).reshape(-1, *to_field["shape"])


def _channels(meta: Meta, data: bytes, pair: dict[str, Any], part: str, tokens: int) -> np.ndarray:
    """Queries or keys [layer, head, token, channel] of a pair."""
    shape = (len(meta["layers"]), len(pair["heads"]), tokens, pair["channels"])
    dtype = np.dtype(meta["precision"]).newbyteorder("<")
    return np.frombuffer(data, dtype, int(np.prod(shape)), pair[part]["at"]).reshape(shape)


def _positions(data: bytes, field: dict[str, Any]) -> np.ndarray:
    """Scaled positions [token, coordinate] of a field."""
    count = token_count(field) * field["position"]["coordinates"]
    flat = np.frombuffer(data, "<f4", count, field["position"]["at"])
    return flat.reshape(token_count(field), -1).astype(np.float64)
