"""Gradient x attention: the weights that a prediction would miss.

A weight may be large and of no consequence.  Multiplied by the derivative of a prediction y with respect to
it, it tells to first order what y would lose without it (Chefer et al. 2021, arXiv:2103.15679, for models
with couplings),

    alpha_ij dy/d alpha_ij = alpha_ij  (dy/d o_i) . V_j,        o_i = sum_j alpha_ij V_j,

so that it needs no weights in the graph of the derivative: only the heads' outputs o and the values V.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from atmorep_lite.attention_maps.capture import captured_pairs
from atmorep_lite.attention_maps.captured import AttentionCapture, CapturedField
from atmorep_lite.attention_maps.flow import Passed, passing
from atmorep_lite.attention_maps.influence import check_query
from atmorep_lite.attention_maps.weights import attention_maps, chosen_indices, joint_index
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.atmorep import Trace
from atmorep_lite.model.layers import EncoderLayer, layer_norm, split_heads, split_parts
from atmorep_lite.tokens import FieldTokens


def gradient_attention(
    model: AtmoRep,
    tokens: Mapping[str, FieldTokens],
    static: Tensor | None = None,
    *,
    places: Mapping[str, CapturedField],
    field: str,
    query: int,
    layers: Sequence[int] | None = None,
    queries: Sequence[int] | None = None,
) -> xr.DataTree:
    """Every weight of the encoder times what it means for one prediction.

    Parameters
    ----------
    model, tokens, static, places, field, query
        As of :func:`~atmorep_lite.attention_maps.influence`: the token whose prediction is asked about.
    layers, queries
        Which layers and which rows of the weights; all by default.

    Returns
    -------
    A tree with a node ``query_field/key_field`` per pair, its variable ``gradient_attention`` with dims
    ``(layer, head, query, key)`` labelled as :func:`~atmorep_lite.attention_maps.attention_maps` does: to
    first order the change of the mean predicted value of the token, in normalised units, that the weight
    brings.  Positive raises, negative lowers it.

    Raises
    ------
    UserError
        If the field is not predicted, the token does not exist or is not hidden, a layer does not exist, or
        there are several neighbourhoods.
    """
    check_query(model, tokens, field, query)
    chosen = chosen_indices("layer", layers, model.config.encoder_layers)
    trace: Trace = {}
    with torch.enable_grad(), passing(model) as passed:
        predicted = model(dict(tokens), static, trace=trace)[field].mean[0].flatten(0, 3)[query].mean()
        outputs = [passed[layer, name][1] for layer in chosen for name in model.config.names]
        slopes = iter(torch.autograd.grad(predicted, outputs, allow_unused=True))
    detached: Trace = {
        key: {origin: (q.detach(), k.detach()) for origin, (q, k) in record.items()}
        for key, record in trace.items()
    }
    capture = AttentionCapture(dict(places), captured_pairs(model.config, detached))
    tree = attention_maps(capture, layers=chosen, queries=queries)
    found: dict[tuple[str, str], list[np.ndarray]] = {key: [] for key in capture.pairs}
    for layer in chosen:
        for name in model.config.names:
            slope = next(slopes)
            of_heads = torch.zeros_like(passed[layer, name][1]) if slope is None else slope
            for origin, values in _values(model, layer, name, passed):
                mine = of_heads[..., slice(*_columns(model, name, origin))].detach()
                mine = split_heads(mine, len(values))[0]
                rows = mine if queries is None else mine[:, list(queries)]
                found[name, origin].append((rows @ values.transpose(-1, -2)).double().numpy())
    nodes = {}
    for key, slopes_of_layers in found.items():
        node = tree["/".join(key)].to_dataset()
        product = node["attention"] * np.stack(slopes_of_layers)
        nodes["/".join(key)] = product.rename("gradient_attention").to_dataset().assign_attrs(node.attrs)
    return xr.DataTree.from_dict(nodes)


def key_relevance(tree: xr.DataTree, *, places: Mapping[str, CapturedField]) -> xr.DataArray:
    """Gradient x attention of every key, jointly over fields.

    Parameters
    ----------
    tree
        What :func:`gradient_attention` returns.
    places
        ``capture.fields``.

    Returns
    -------
    DataArray ``[key]``, indexed by field, level, time, latitude and longitude: absolute values, summed over
    layers, heads, queries and query fields.
    """
    total = {name: np.zeros(field.mask.size) for name, field in places.items()}
    for queries in tree.children.values():
        for key_field, node in queries.children.items():
            values = cast(xr.DataArray, node["gradient_attention"])
            total[key_field] += abs(values).sum(("layer", "head", "query")).values
    return xr.DataArray(
        np.concatenate(list(total.values())), dims="key", coords=joint_index("key", places), name="relevance"
    )


def _values(model: AtmoRep, layer: int, name: str, passed: Passed) -> list[tuple[str, Tensor]]:
    """What the heads of a layer average: the key field and ``[head, key, channel]``."""
    block = cast(EncoderLayer, cast(nn.ModuleList, model.encoders[name])[layer])
    with torch.no_grad():
        out = [(name, split_parts(block.qkv(layer_norm(passed[layer, name][0])), block.heads, 3)[2][0])]
        for other in block.coupled_to:
            both = block.coupling_kv[other](layer_norm(passed[layer, other][0]))
            out.append((other, split_heads(both.chunk(2, -1)[1], block.coupling_heads)[0]))
    return out


def _columns(model: AtmoRep, name: str, key: str) -> tuple[int, int]:
    """Where the heads of one origin stand among all heads' outputs."""
    f = model.config.field(name)
    channel = f.embed_dim // model.config.heads
    if key == name:
        return 0, f.embed_dim
    each = channel * model.config.coupling_heads
    start = f.embed_dim + f.coupled_to.index(key) * each
    return start, start + each
