"""Attention, the one operation from which everything here is made.

Legend of axes: ``b`` batch, ``h`` head, ``q`` query token, ``k`` key token, ``d`` channel of one head.

    weights = softmax_k( q . k / sqrt(d) + bias ),   output = weights . v        (Vaswani et al. 2017, eq. 1)

Outputs go through the fused kernel; :func:`attention_weights` is the same formula written out, used only
where the weights themselves are wanted.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Weighted mean of ``v`` ``[b, h, k, d]`` for each query ``[b, h, q, d]``; ``bias`` ``[b, h, q, k]``."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def attention_weights(q: Tensor, k: Tensor, bias: Tensor | None = None) -> Tensor:
    """The weights ``[b, h, q, k]`` that :func:`attend` uses; each row sums to 1."""
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if bias is not None:
        scores = scores + bias
    return scores.softmax(-1)


def locality_slopes(locality: float, heads: int) -> Tensor:
    """One strength of the locality bias per head, ``[h]``: from ``locality`` down to about a sixteenth of it.

    A geometric series as in ALiBi (Press et al. 2022), so that some heads look near and some far.
    """
    return locality * 2.0 ** (-4.0 * torch.arange(heads) / heads)


def locality_bias(query_position: Tensor, key_position: Tensor, slopes: Tensor) -> Tensor:
    """Fixed bias ``-slope * distance``: positions ``[b, q, 5]``, ``[b, k, 5]`` -> ``[b, h, q, k]``.

    It is not learnt: a learnt bias would rule out the fast attention kernel on a CPU.  Distances are formed
    from differences; the faster way, by a matrix product, would put a token 10 km away from itself.
    """
    distance = torch.cdist(query_position, key_position, compute_mode="donot_use_mm_for_euclid_dist")
    return -slopes.to(distance)[None, :, None, None] * distance[:, None]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``[b, n, heads*d]`` -> ``[b, heads, n, d]``."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """``[b, h, n, d]`` -> ``[b, n, h*d]``."""
    return x.transpose(1, 2).flatten(2)
