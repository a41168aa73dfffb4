"""The two kinds of transformer block: encoder with coupling, decoder with U-Net-like skips.

Legend: ``b`` batch, ``n`` tokens of a field (all levels, times and places at once), ``e`` its embedding
width, ``h`` heads, ``d = e / h`` channels of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atmorep_lite.attention import attend, join_heads, split_heads
from atmorep_lite.config import FieldConfig, ModelConfig

Record = dict[str, tuple[Tensor, Tensor]]
"""Queries and keys as they enter the dot product, ``[b, h, n, d]``, by the name of the keys' origin."""


def layer_norm(x: Tensor) -> Tensor:
    """Layer normalisation without parameters over the last axis."""
    return F.layer_norm(x, x.shape[-1:])


class MLP(nn.Module):
    """Residual perceptron ``x + f(norm(x))``, applied to every token alone.

    The published network applies GELU after the last layer too, so it can lower a value by at most 0.17.
    """

    def __init__(self, width: int, layers: int, dropout: float, *, published: bool) -> None:
        super().__init__()
        widths = [width, *[2 * width] * (layers - 1), width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.published = published

    def forward(self, x: Tensor) -> Tensor:
        y = layer_norm(x)
        for layer in self.layers[:-1]:
            y = self.dropout(F.gelu(layer(y)))
        y = self.layers[-1](y)
        return x + (F.gelu(y) if self.published else y)


class EncoderLayer(nn.Module):
    """Self-attention of one field, one coupling head per coupled field, then the MLP.

    Self heads and coupling heads are separate softmaxes; their outputs stand side by side and one projection
    mixes them (Lessig et al. 2023, Multiformer).  ``qkv`` holds query, key and value of head 0, then head 1,
    ...
    """

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        e, self.heads = field.embed_dim, model.heads
        d = e // self.heads
        self.coupled_to = field.coupled_to
        self.qk_norm = model.qk_norm
        self.norm_coupling_queries = model.qk_norm and model.published != "2024"
        self.qkv = nn.Linear(e, 3 * e, bias=False)
        if self.coupled_to:
            self.coupling_q = nn.Linear(e, d * len(self.coupled_to), bias=False)
            self.coupling_kv = nn.ModuleDict(
                {
                    other: nn.Linear(model.field(other).embed_dim, 2 * d, bias=False)
                    for other in self.coupled_to
                }
            )
        self.out = nn.Linear(d * (self.heads + len(self.coupled_to)), e, bias=False)
        self.dropout = nn.Dropout(model.dropout)
        self.mlp = MLP(e, model.mlp_layers, model.dropout, published=model.published is not None)

    def forward(
        self,
        x: Tensor,
        others: Mapping[str, Tensor],
        bias: Mapping[str, Tensor | None],
        record: Record | None = None,
    ) -> Tensor:
        """``x`` ``[b, n, e]``; ``others`` the same for each coupled field; ``bias`` by origin of the keys."""
        normed = layer_norm(x)
        q, k, v = (split_heads(part, self.heads) for part in _per_head(self.qkv(normed), self.heads, 3))
        if self.qk_norm:
            q, k = layer_norm(q), layer_norm(k)
        if record is not None:
            record["self"] = (q, k)
        heard = [join_heads(attend(q, k, v, bias.get("self")))]
        queries = self.coupling_q(normed).chunk(len(self.coupled_to), -1) if self.coupled_to else ()
        for other, query in zip(self.coupled_to, queries, strict=True):
            key, value = self.coupling_kv[other](layer_norm(others[other])).chunk(2, -1)
            query, key, value = query[:, None], key[:, None], value[:, None]
            if self.norm_coupling_queries:
                query = layer_norm(query)
            if self.qk_norm:
                key = layer_norm(key)
            if record is not None:
                record[other] = (query, key)
            heard.append(join_heads(attend(query, key, value, bias.get(other))))
        return self.mlp(x + self.dropout(self.out(torch.cat(heard, -1))))


class DecoderLayer(nn.Module):
    """Half of the heads look at the decoder's own tokens, the other half at an encoder layer's output.

    The network published in 2024 normalises queries and keys here always; by default this follows
    ``qk_norm``.  The scale is learnt.
    """

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        e, d = field.embed_dim, field.embed_dim // model.heads
        self.cross_heads = int(model.heads * model.cross_fraction)
        self.self_heads = model.heads - self.cross_heads
        self.qkv = nn.Linear(e, 3 * self.self_heads * d, bias=False)
        self.cross_q = nn.Linear(e, self.cross_heads * d, bias=False)
        self.cross_kv = nn.Linear(e, 2 * self.cross_heads * d, bias=False)
        normed = model.qk_norm or model.published == "2024"
        self.norm_q = nn.LayerNorm(d) if normed else nn.Identity()
        self.norm_k = nn.LayerNorm(d) if normed else nn.Identity()
        self.out = nn.Linear(e, e, bias=False)
        self.dropout = nn.Dropout(model.dropout)
        self.mlp = MLP(e, model.mlp_layers, model.dropout, published=model.published is not None)

    def forward(
        self, x: Tensor, encoded: Tensor, bias: Mapping[str, Tensor | None], record: Record | None = None
    ) -> Tensor:
        """One layer: ``x`` and the encoder's output ``encoded``, both ``[b, n, e]``."""
        normed, source = layer_norm(x), layer_norm(encoded)
        heard = []
        if self.self_heads:
            q, k, v = (
                split_heads(p, self.self_heads) for p in _per_head(self.qkv(normed), self.self_heads, 3)
            )
            q, k = self.norm_q(q), self.norm_k(k)
            if record is not None:
                record["self"] = (q, k)
            heard.append(join_heads(attend(q, k, v, bias.get("self"))))
        if self.cross_heads:
            q = split_heads(self.cross_q(normed), self.cross_heads)
            k, v = (
                split_heads(p, self.cross_heads)
                for p in _per_head(self.cross_kv(source), self.cross_heads, 2)
            )
            q, k = self.norm_q(q), self.norm_k(k)
            if record is not None:
                record["encoder"] = (q, k)
            heard.append(join_heads(attend(q, k, v, bias.get("encoder"))))
        return self.mlp(x + self.dropout(self.out(torch.cat(heard, -1))))


def _per_head(x: Tensor, heads: int, parts: int) -> tuple[Tensor, ...]:
    """``[b, n, heads*parts*d]``, the parts of a head together -> ``parts`` times ``[b, n, heads*d]``."""
    return tuple(part.flatten(-2) for part in x.unflatten(-1, (heads, parts, -1)).unbind(-2))
