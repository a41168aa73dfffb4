"""From tokens to vectors: values, where-and-when, and position on the token grid."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from atmorep_lite.config import FieldConfig
from atmorep_lite.tokens import FieldTokens, scaled_info

INFO_CHANNELS = 16


def harmonic_positions(
    levels: int, nt: int, ny: int, nx: int, channels: int, *, published: bool = False
) -> Tensor:
    """Harmonic code of a token's place on its grid, ``[level, token_time, token_lat, token_lon, channel]``.

    Even channels carry latitude and time, odd channels longitude and level, at frequencies that rise linearly
    with the channel::

        code[2k]   = 0.5 sin(8 y w_k) + sin(t w_k)        w_k = 2 pi (2k) / channels
        code[2k+1] = 0.5 cos(8 x w_k) + cos(v w_k)

    ``published=True`` numbers the rows of tokens as the published code does, ``s // ny`` for the flat index
    ``s = y nx + x``, where ``s // nx`` was meant; weights trained with it depend on that.
    """
    frequency = 2 * math.pi * (2 * torch.arange(channels // 2)) / channels
    flat = torch.arange(ny * nx)
    rows = flat // (ny if published else nx)
    columns = flat % nx

    def wave(function: Callable[[Tensor], Tensor], index: Tensor, factor: float = 1.0) -> Tensor:
        return function(factor * index[:, None].double() * frequency.double()).float()

    space_even, space_odd = 0.5 * wave(torch.sin, rows, 8.0), 0.5 * wave(torch.cos, columns, 8.0)
    time = wave(torch.sin, torch.arange(nt))
    level = wave(torch.cos, torch.arange(levels))
    code = torch.zeros(levels, nt, ny * nx, channels)
    code[..., 0::2] = space_even[None, None] + time[None, :, None]
    code[..., 1::2] = space_odd[None, None] + level[:, None, None]
    return code.reshape(levels, nt, ny, nx, channels)


class TokenEmbedding(nn.Module):
    """Linear embedding of a token's values, beside a linear embedding of its token information.

    ``[batch, level, token_time, token_lat, token_lon, channel]`` -> ``[batch, token, embed_dim]`` with the
    tokens in C order.  The information net starts at zero, so place and time enter only as far as they help.
    With ``flag_hidden`` a learnt vector is added to hidden tokens.
    """

    position: Tensor

    def __init__(self, field: FieldConfig, *, published: bool, flag_hidden: bool) -> None:
        super().__init__()
        self.published = published
        self.value = nn.Linear(field.token_values, field.embed_dim - INFO_CHANNELS)
        self.info = nn.Linear(8 if published else 10, INFO_CHANNELS)
        nn.init.zeros_(self.info.weight)
        nn.init.zeros_(self.info.bias)
        self.hidden = nn.Parameter(torch.randn(field.embed_dim) * 0.5) if flag_hidden else None
        code = harmonic_positions(len(field.levels), *field.num_tokens, field.embed_dim, published=published)
        self.register_buffer("position", code, persistent=False)

    def forward(self, tokens: FieldTokens) -> Tensor:
        info = tokens.info if self.published else scaled_info(tokens.info)
        x = torch.cat((self.value(tokens.values), self.info(info)), -1) + self.position
        if self.hidden is not None:
            x = x + tokens.mask[..., None] * self.hidden
        return x.flatten(1, 4)
