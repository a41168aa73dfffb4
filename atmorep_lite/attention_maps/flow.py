"""What arrives: how much each field adds to each stream, which weights cannot tell.

Self heads and coupling heads are separate softmaxes that sum to 1 each, so their weights cannot be compared
between fields.  What a head adds to the stream of token i can (Kobayashi et al. 2020, arXiv:2004.10102):

    arrives_i = W_out  sum_j alpha_ij V_j      (the columns of W_out that belong to the head).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from atmorep_lite.model import AtmoRep
from atmorep_lite.model.layers import EncoderLayer
from atmorep_lite.tokens import FieldTokens

Passed = dict[tuple[int, str], tuple[Tensor, Tensor]]
"""By (layer, field): the stream before the layer ``[b, n, e]``, and what its heads heard, side by side
``[b, n, heads * channel]``: all self heads, then those of each coupled field."""


@torch.inference_mode()
def field_flow(
    model: AtmoRep,
    tokens: Mapping[str, FieldTokens],
    static: Tensor | None = None,
    *,
    per_head: bool = False,
) -> xr.DataArray:
    """How much each field adds to each stream: the size of ``W_out alpha V`` relative to that stream.

    Parameters
    ----------
    tokens, static
        What the model takes, any number of neighbourhoods.
    per_head
        One entry for each head; heads partly cancel, so the sum over heads is no sum of these.

    Returns
    -------
    DataArray ``[layer, query_field, key_field]``, or ``[layer, head, query_field, key_field]``: root mean
    square over tokens and channels of what the heads of that origin add together, divided by that of the
    stream before the layer; NaN where there is no coupling, or no such head.
    """
    with passing(model) as passed:
        model(tokens, static)
    config = model.config
    names = list(config.names)
    heads = max(config.heads, config.coupling_heads)
    shape = (config.encoder_layers, heads if per_head else 1, len(names), len(names))
    sizes = np.full(shape, np.nan)
    for (layer, name), (stream, heard) in passed.items():
        unit = float(stream.square().mean().sqrt())
        for key, part, weight in parts(model, layer, name, heard):
            each = [(part[..., [h], :], weight[:, [h]]) for h in range(part.shape[2])]
            for head, (of_head, columns) in enumerate(each if per_head else [(part, weight)]):
                added = of_head.flatten(2) @ columns.flatten(1).T
                size = float(added.square().mean().sqrt()) / unit
                sizes[layer, head, names.index(name), names.index(key)] = size
    flow = xr.DataArray(
        sizes,
        dims=("layer", "head", "query_field", "key_field"),
        coords={
            "layer": range(shape[0]),
            "head": range(shape[1]),
            "query_field": names,
            "key_field": names,
        },
        name="field_flow",
    )
    return flow if per_head else flow.isel(head=0, drop=True)


@contextmanager
def passing(model: AtmoRep) -> Iterator[Passed]:
    """While open, a forward pass leaves in the dictionary what went through each encoder layer."""
    passed: Passed = {}
    handles = []
    for name in model.config.names:
        for number, module in enumerate(cast(nn.ModuleList, model.encoders[name])):
            stream: list[Tensor] = []

            def before(module: nn.Module, inputs: tuple, stream: list[Tensor] = stream) -> None:
                stream[:] = [inputs[0]]

            def mixing(
                module: nn.Module,
                inputs: tuple,
                stream: list[Tensor] = stream,
                key: tuple[int, str] = (number, name),
            ) -> None:
                passed[key] = (stream[0], inputs[0])

            block = cast(EncoderLayer, module)
            handles += [block.register_forward_pre_hook(before), block.out.register_forward_pre_hook(mixing)]
    try:
        yield passed
    finally:
        for handle in handles:
            handle.remove()


def parts(model: AtmoRep, layer: int, name: str, heard: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """For each origin: the key field, what its heads heard ``[b, n, h, d]``, their columns ``[e, h, d]``."""
    block = cast(EncoderLayer, cast(nn.ModuleList, model.encoders[name])[layer])
    d = heard.shape[-1] // (block.heads + block.coupling_heads * len(block.coupled_to))
    counts = [block.heads, *[block.coupling_heads] * len(block.coupled_to)]
    widths = [d * count for count in counts]
    split = zip(counts, heard.split(widths, -1), block.out.weight.split(widths, 1), strict=True)
    for key, (count, part, weight) in zip((name, *block.coupled_to), split, strict=True):
        yield key, part.unflatten(-1, (count, d)), weight.unflatten(-1, (count, d))
