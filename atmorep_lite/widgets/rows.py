"""Attention rows in float64 from the packed queries and keys: what the page computes, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
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
    shape = find_field(meta, pair["key"])["shape"]
    rows = [packed_rows(meta, data, pair, [query], depth, index, temperature)[0] for index in heads]
    return np.array(rows).reshape(-1, *shape)


def packed_rows(
    meta: Meta,
    data: bytes,
    pair: dict[str, Any],
    queries: Sequence[int],
    depth: int,
    index: int,
    temperature: float = 1.0,
) -> np.ndarray:
    """Weights [query, key] of some queries, of the layer and head at these places of the packed arrays."""
    asked, shown = find_field(meta, pair["query"]), find_field(meta, pair["key"])
    q = _channels(meta, data, pair, "q", token_count(asked), depth, index)[list(queries)]
    k = _channels(meta, data, pair, "k", token_count(shown), depth, index)
    here, there = _positions(data, asked)[list(queries)], _positions(data, shown)
    return softmax_rows(q, k, pair["slope"][depth][index], here, there, temperature)


def softmax_rows(
    q: np.ndarray,
    k: np.ndarray,
    slope: float,
    here: np.ndarray,
    there: np.ndarray,
    temperature: float = 1.0,
) -> np.ndarray:
    """Weights [query, key] in float64 from q [query, channel], k [key, channel] and scaled positions."""
    scores = q @ k.T / np.sqrt(q.shape[-1])
    if slope:
        scores -= slope * np.linalg.norm(here[:, None] - there[None], axis=-1)
    weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _channels(
    meta: Meta, data: bytes, pair: dict[str, Any], part: str, tokens: int, depth: int, index: int
) -> np.ndarray:
    """Queries or keys [token, channel] of one layer and head of a pair."""
    dtype = np.dtype(meta["precision"]).newbyteorder("<")
    block, channels = depth * len(pair["heads"]) + index, pair["channels"]
    start = pair[part]["at"] + block * tokens * channels * dtype.itemsize
    numbers = (
        np.frombuffer(data, dtype, tokens * channels, start).reshape(tokens, channels).astype(np.float64)
    )
    if meta["precision"] != "int8":
        return numbers
    scales = np.frombuffer(data, "<f4", tokens, pair[part]["scale"] + 4 * block * tokens)
    return numbers * scales[:, None]


def _positions(data: bytes, field: dict[str, Any]) -> np.ndarray:
    """Scaled positions [token, coordinate] of a field."""
    count = token_count(field) * field["position"]["coordinates"]
    flat = np.frombuffer(data, "<f4", count, field["position"]["at"])
    return flat.reshape(token_count(field), -1).astype(np.float64)
