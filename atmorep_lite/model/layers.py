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


class Dropout(nn.Dropout):
    """``nn.Dropout``; eagerly on a CPU from 16 random bits a value, not a random float, and a mask of bytes.

    3 % of a training step and 8 % of its memory less; the rate is rounded to a multiple of 2**-16.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        words = torch.empty(x.numel() // 4 + 1, dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: x.numel()].view(x.shape)
        return x * (1 / (1 - self.p)) * (bits >= round(self.p * 2**16) - 2**15)


class MLP(nn.Module):
    """Residual perceptron ``x + f(norm(x))``, applied to every token alone.

    The published network applies GELU after the last layer too, so it can lower a value by at most 0.17.
    """

    def __init__(self, width: int, layers: int, dropout: float, *, published: bool) -> None:
        super().__init__()
        widths = [width, *[2 * width] * (layers - 1), width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = Dropout(dropout)
        self.published = published

    def forward(self, x: Tensor) -> Tensor:
        y = layer_norm(x)
        for layer in self.layers[:-1]:
            y = self.dropout(F.gelu(layer(y)))
        y = self.layers[-1](y)
        return x + (F.gelu(y) if self.published else y)


class EncoderLayer(nn.Module):
    """Self-attention of one field, coupling heads for every coupled field, then the MLP.

    Self heads and coupling heads are separate softmaxes; their outputs stand side by side and one projection
    mixes them (Lessig et al. 2023, Multiformer).  The rows of ``qkv`` are query, key and value of head 0,
    then of head 1, ...; those of ``coupling_q`` are the queries of all heads for the first coupled field,
    then for the second, ...; those of ``coupling_kv[other]`` are the keys of all its heads, then the values.
    """

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        e, self.heads, self.coupling_heads = field.embed_dim, model.heads, model.coupling_heads
        d = e // self.heads
        self.coupled_to = field.coupled_to
        self.qk_norm = model.qk_norm
        self.norm_coupling_queries = model.qk_norm and model.published != "2024"
        self.qkv = nn.Linear(e, 3 * e, bias=False)
        each = self.coupling_heads * d
        if self.coupled_to:
            self.coupling_q = nn.Linear(e, each * len(self.coupled_to), bias=False)
            self.coupling_kv = nn.ModuleDict(
                {
                    other: nn.Linear(model.field(other).embed_dim, 2 * each, bias=False)
                    for other in self.coupled_to
                }
            )
        self.out = nn.Linear(e + each * len(self.coupled_to), e, bias=False)
        self.dropout = Dropout(model.dropout)
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
        q, k, v = split_parts(self.qkv(normed), self.heads, 3)
        if self.qk_norm:
            q, k = layer_norm(q), layer_norm(k)
        if record is not None:
            record["self"] = (q, k)
        heard = [join_heads(attend(q, k, v, bias.get("self")))]
        queries = self.coupling_q(normed).chunk(len(self.coupled_to), -1) if self.coupled_to else ()
        for other, query in zip(self.coupled_to, queries, strict=True):
            keys_and_values = self.coupling_kv[other](layer_norm(others[other])).chunk(2, -1)
            q, k, v = (split_heads(part, self.coupling_heads) for part in (query, *keys_and_values))
            if self.norm_coupling_queries:
                q = layer_norm(q)
            if self.qk_norm:
                k = layer_norm(k)
            if record is not None:
                record[other] = (q, k)
            heard.append(join_heads(attend(q, k, v, bias.get(other))))
        return self.mlp(x + self.dropout(self.out(torch.cat(heard, -1))))


class DecoderLayer(nn.Module):
    """Some of the heads look at the decoder's own tokens, the others at an encoder layer's output.

    The network published in 2024 normalises queries and keys here always; by default this follows
    ``qk_norm``.  The scale is learnt.
    """

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        e, d = field.embed_dim, field.embed_dim // model.heads
        self.cross_heads = int(model.heads * model.cross_fraction)
        self.self_heads = model.heads - self.cross_heads
        if self.self_heads:
            self.qkv = nn.Linear(e, 3 * self.self_heads * d, bias=False)
        if self.cross_heads:
            self.cross_q = nn.Linear(e, self.cross_heads * d, bias=False)
            self.cross_kv = nn.Linear(e, 2 * self.cross_heads * d, bias=False)
        normed = model.qk_norm or model.published == "2024"
        self.norm_q = nn.LayerNorm(d) if normed else nn.Identity()
        self.norm_k = nn.LayerNorm(d) if normed else nn.Identity()
        self.out = nn.Linear(e, e, bias=False)
        self.dropout = Dropout(model.dropout)
        self.mlp = MLP(e, model.mlp_layers, model.dropout, published=model.published is not None)

    def forward(
        self,
        x: Tensor,
        encoded: Tensor,
        bias: Mapping[str, Tensor | None],
        record: Record | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """One layer: ``x`` and the encoder's output ``encoded``, both ``[b, n, e]``.

        With ``wanted`` ``[b, m]`` only these tokens ask and are returned, ``[b, m, e]``; all are listened to.
        """
        normed = layer_norm(x)
        heard = []
        if self.self_heads:
            q, k, v = split_parts(self.qkv(normed), self.self_heads, 3)
            heard.append(self._attend("self", q, k, v, bias, record, wanted))
        if self.cross_heads:
            q = split_heads(self.cross_q(normed), self.cross_heads)
            k, v = split_parts(self.cross_kv(layer_norm(encoded)), self.cross_heads, 2)
            heard.append(self._attend("encoder", q, k, v, bias, record, wanted))
        return self.mlp(take_tokens(x, wanted) + self.dropout(self.out(torch.cat(heard, -1))))

    def _attend(
        self,
        origin: str,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Mapping[str, Tensor | None],
        record: Record | None,
        wanted: Tensor | None,
    ) -> Tensor:
        q, k = self.norm_q(take_tokens(q, wanted)), self.norm_k(k)
        if record is not None:
            record[origin] = (q, k)
        near = bias.get(origin)
        return join_heads(attend(q, k, v, None if near is None else take_tokens(near, wanted)))


def split_parts(x: Tensor, heads: int, parts: int) -> tuple[Tensor, ...]:
    """``[b, n, heads*parts*d]``, the parts of a head together -> ``parts`` times ``[b, heads, n, d]``."""
    return x.unflatten(-1, (heads, parts, -1)).permute(3, 0, 2, 1, 4).unbind(0)


def take_tokens(x: Tensor, index: Tensor | None) -> Tensor:
    """Rows ``index`` ``[b, m]`` of the last axis but one of ``x`` ``[b, ..., n, c]``; all if None."""
    if index is None:
        return x
    return x.take_along_dim(index.reshape(len(index), *[1] * (x.dim() - 3), -1, 1), -2)


def hidden_tokens(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Where the hidden tokens of a mask ``[batch, ...]`` are, in two steps that keep shapes rectangular.

    Returns
    -------
    The tokens to ask for, ``[batch, m]``: each sample's hidden ones, filled up with visible ones to the
    largest number of the batch; and among these, flattened, the rows that are hidden.
    """
    flat = mask.flatten(1)
    count = flat.sum(1)
    wanted = flat.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(count.max())]
    ordinal = torch.arange(wanted.shape[1], device=mask.device)
    return wanted, (ordinal < count[:, None]).flatten().nonzero().flatten()
