"""Attention rollout over all fields at once: where a token's stream comes from, through all layers.

Abnar & Zuidema 2020 (arXiv:2005.00928): a layer passes on half of a token itself (the residual stream) and
half of what it attends to; layers multiply,

    R = B_1 ... B_L read from the last,   B_l = (A_l + I) / 2,   rows of A_l sum to 1.

Here A_l is one matrix over the tokens of all fields.  Its rows are mixtures of separate softmaxes, one for
each field that is heard and each head.  With what shares is not told by the softmaxes: equal ones are a
convention, those of :func:`~atmorep_lite.attention_maps.flow.field_flow` are measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import xarray as xr

from atmorep_lite.attention_maps.captured import AttentionCapture
from atmorep_lite.attention_maps.heads import query_chunks
from atmorep_lite.attention_maps.weights import attention_maps, chosen_indices, joint_index
from atmorep_lite.errors import UserError


def rollout(
    capture: AttentionCapture,
    *,
    queries: Mapping[str, Sequence[int]],
    flow: xr.DataArray | None = None,
    layers: Sequence[int] | None = None,
) -> xr.DataArray:
    """Rows of the rollout: how much of each token of every field is in the queries after the last layer.

    Rows are multiplied by one layer after another, and a layer's weights are made in pieces, so that the
    whole matrix is never needed.

    Parameters
    ----------
    queries
        Token indices by field, such as ``{"vorticity": [17]}``.
    flow
        Shares of the fields, and of the heads where it has the dimension ``head``: what
        :func:`~atmorep_lite.attention_maps.flow.field_flow` measured.  By default every field that is heard
        has the same share, and every head of it.
    layers
        Which layers, in order; all by default.

    Returns
    -------
    DataArray ``[query, key]``, both indexed by field, level, time, latitude and longitude (on a plane y, x).
    Each row sums to 1 over the keys of all fields.

    Raises
    ------
    UserError
        If there is no such field, token or layer, or the flow lacks a pair.
    """
    starts, count = {}, 0
    for name, field in capture.fields.items():
        starts[name] = count
        count += field.mask.size
    chosen = _chosen(capture, queries)
    asked = [starts[name] + token for name, tokens in chosen.items() for token in tokens]
    rows = np.zeros((len(asked), count))
    rows[np.arange(len(asked)), asked] = 1.0
    depth = next(iter(capture.pairs.values())).q.shape[0]
    order = chosen_indices("layer", layers, depth)
    shares = {layer: _shares(capture, layer, flow) for layer in order}
    for layer in reversed(order):
        heard = np.zeros_like(rows)
        for key in capture.pairs:
            at, to = starts[key[0]], starts[key[1]]
            here = rows[:, at : at + capture.fields[key[0]].mask.size]
            if not here.any():
                continue
            for part, weights in _mixed(capture, key, layer, shares[layer][key], here):
                heard[:, to : to + weights.shape[1]] += here[:, part] @ weights
        # a field that hears nobody keeps itself
        lone = [n for n in capture.fields if not any(key[0] == n for key in capture.pairs)]
        for name in lone:
            own = slice(starts[name], starts[name] + capture.fields[name].mask.size)
            heard[:, own] += rows[:, own]
        rows = (rows + heard) / 2
    plane = capture.geometry == "plane"
    index = joint_index("key", capture.fields, plane=plane)
    asked_index = joint_index("query", capture.fields, plane=plane)
    full = xr.DataArray(np.arange(count), dims="query", coords=asked_index)[asked]
    return xr.DataArray(rows, dims=("query", "key"), coords=index, name="rollout").assign_coords(full.coords)


def _mixed(
    capture: AttentionCapture, key: tuple[str, str], layer: int, shares: np.ndarray, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of the matrix of one pair, its heads mixed: indices of queries, and ``[query, key]``."""
    needed = np.flatnonzero(rows.any(0))  # tokens that no row reaches need no weights
    for part in query_chunks(capture, key, len(needed)):
        tokens = needed[part]
        tree = attention_maps(
            capture, query_fields=[key[0]], key_fields=[key[1]], layers=[layer], queries=tokens.tolist()
        )
        weights = cast(xr.DataArray, tree["/".join(key)]["attention"]).values[0]
        yield tokens, np.tensordot(shares, weights, axes=1)


def _shares(
    capture: AttentionCapture, layer: int, flow: xr.DataArray | None
) -> dict[tuple[str, str], np.ndarray]:
    """Share of every head of every pair ``[head]``; those of one query field sum to 1."""
    raw = {}
    for key, pair in capture.pairs.items():
        heads = pair.q.shape[1]
        if flow is None:
            raw[key] = np.full(heads, 1.0 / heads)
            continue
        try:
            sizes = flow.sel(layer=layer, query_field=key[0], key_field=key[1])
        except KeyError as error:
            raise UserError(f"the flow lacks layer {layer} of {key[0]} and {key[1]}") from error
        values = np.full(heads, float(sizes) / heads) if not sizes.ndim else sizes.values[:heads]
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise UserError(f"the flow of {key[0]} and {key[1]} in layer {layer} is not a positive number")
        raw[key] = values.astype(float)
    out = {}
    for key, values in raw.items():
        total = sum(float(other.sum()) for near, other in raw.items() if near[0] == key[0])
        if not total:
            raise UserError(f"nothing flows to {key[0]} in layer {layer}; leave the flow out")
        out[key] = values / total
    return out


def _chosen(capture: AttentionCapture, queries: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    chosen = {}
    for name, tokens in queries.items():
        if name not in capture.fields:
            raise UserError(f"{name} is not a field of this capture; it has {', '.join(capture.fields)}")
        if len(tokens):
            chosen[name] = chosen_indices(f"{name}'s token", tokens, capture.fields[name].mask.size)
    if not any(chosen.values()):
        raise UserError("a rollout needs at least one query, such as queries={'temperature': [0]}")
    return chosen
