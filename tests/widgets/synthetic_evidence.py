"""Evidence of the form that the measuring functions return, made by formula for a synthetic capture."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.widgets.evidence import Evidence


def make_evidence(capture: AttentionCapture, *, seed: int = 0) -> Evidence:
    """Flow, ablation, rollout and influence of every field's middle token at the last level and time."""
    rng = np.random.default_rng(seed)
    return Evidence(
        flow=make_flow(capture, rng),
        ablation=make_ablation(capture, rng),
        queries=tuple((name, middle(capture)) for name in capture.fields),
        **make_rows(capture, rng),
    )


def middle(capture: AttentionCapture) -> int:
    """Index of a field's middle token at the last level and newest time; all fields have the same tokens."""
    shape = next(iter(capture.fields.values())).mask.shape
    return int(np.ravel_multi_index((shape[0] - 1, shape[1] - 1, shape[2] // 2, shape[3] // 2), shape))


def make_flow(capture: AttentionCapture, rng: np.random.Generator) -> xr.DataArray:
    """[layer, query_field, key_field] most from the field itself; NaN where fields are not coupled."""
    names = list(capture.fields)
    layers = next(iter(capture.pairs.values())).q.shape[0]
    flow = np.full((layers, len(names), len(names)), np.nan)
    for query, key in capture.pairs:
        i, j = names.index(query), names.index(key)
        flow[:, i, j] = (0.5 if i == j else 0.15 * rng.random()) * (0.4 + rng.random(layers))
    coords = {"layer": range(layers), "query_field": names, "key_field": names}
    return xr.DataArray(flow, coords, dims=("layer", "query_field", "key_field"))


def make_ablation(capture: AttentionCapture, rng: np.random.Generator) -> pd.DataFrame:
    """What two fields lose without each coupling, and without each head."""
    rows = []
    for scored in list(capture.fields)[:2]:
        for (query, key), pair in capture.pairs.items():
            if query != key:
                loss = rng.gamma(1, 0.03) * (2 if query == scored else 0.3) - 0.004
                rows.append((query, key, "coupling", -1, -1, scored, loss))
                continue
            for layer, head in np.ndindex(pair.q.shape[:2]):
                rows.append((query, key, "self", layer, head, scored, rng.gamma(1, 0.01)))
    columns = ["query_field", "key_field", "kind", "layer", "head", "field", "loss"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(low=table.loss - 0.01, high=table.loss + 0.012, neighbourhoods=8)


def make_rows(capture: AttentionCapture, rng: np.random.Generator) -> dict[str, xr.DataArray]:
    """Rollout and influence [query, key]: bumps west of the query, most in its own field."""
    fields = list(capture.fields.values())
    shape = fields[0].mask.shape
    place = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).reshape(-1, 4)
    token = middle(capture)
    away = ((place - place[token] + [0, 0, 0, 2]) * [1, 0.8, 0.5, 0.4]) ** 2
    bump = np.exp(-away.sum(axis=1) / 2)
    hidden = np.concatenate([field.mask.ravel() for field in fields])
    rollout, influence = [], []
    for query in fields:
        sizes = np.concatenate([bump * (1.0 if key is query else 0.2) for key in fields])
        rollout.append((sizes + 1e-3) / (sizes + 1e-3).sum())
        influence.append(np.where(hidden, np.nan, sizes**1.5 * (0.5 + rng.random(len(sizes))) + 1e-5))
    return {
        "rollout": xr.DataArray(np.array(rollout), dims=("query", "key")),
        "influence": xr.DataArray(np.array(influence), dims=("query", "key")),
    }
