"""From tokens to vectors: values, where-and-when, and a code of the place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atmorep_lite.config import FieldConfig, ModelConfig
from atmorep_lite.model.positions import SPHERE_FEATURES, harmonic_positions, sphere_positions
from atmorep_lite.model.subpatches import SubpatchEmbedding
from atmorep_lite.tokens import FieldTokens, scaled_info, token_positions, token_spans

INFO_CHANNELS = 16


class TokenEmbedding(nn.Module):
    """Embedding of a token's values beside a linear embedding of its token information, plus a code of place.

    ``[batch, level, token_time, token_lat, token_lon, channel]`` -> ``[batch, token, embed_dim]`` with the
    tokens in C order, those of the context last.  Values are embedded by one linear map, or by the small
    transformer of :mod:`atmorep_lite.model.subpatches` if the model has one, which then serves tokens of
    every size.  The information net starts at zero, so date and time enter only as far as they help.  Where
    the model predicts departures, a learnt vector is added to hidden tokens.
    """

    position: Tensor

    def __init__(self, field: FieldConfig, model: ModelConfig) -> None:
        super().__init__()
        self.published = model.published is not None
        self.sizes = [field.token_size]
        width = field.embed_dim - INFO_CHANNELS
        self.value = (
            nn.Linear(field.token_values, width)
            if model.subpatches is None
            else SubpatchEmbedding(width, model.subpatches)
        )
        self.info = nn.Linear(8 if self.published else 10, INFO_CHANNELS)
        nn.init.zeros_(self.info.weight)
        nn.init.zeros_(self.info.bias)
        departs = model.predict == "departure"
        self.hidden = nn.Parameter(torch.randn(field.embed_dim) * 0.5) if departs else None
        self.context_value: nn.Linear | None = None
        if field.context is not None:
            self.sizes.append(field.context.token_size)
            if model.subpatches is None:
                self.context_value = nn.Linear(field.context.token_values, width)
        self.place: nn.Linear | None = None
        if model.positions == "sphere":
            self.place = nn.Linear(SPHERE_FEATURES, field.embed_dim)
        else:
            code = harmonic_positions(
                len(field.levels), *field.num_tokens, field.embed_dim, published=self.published
            )
            self.register_buffer("position", code, persistent=False)

    def forward(self, tokens: FieldTokens) -> Tensor:
        info = tokens.sequence_info()
        x = torch.cat((self._values(tokens), self.info(info if self.published else scaled_info(info))), -1)
        if self.place is None:
            x = x + self.position.flatten(0, 3)
        else:
            places, spans = token_positions(info), torch.cat(self._spans(tokens), 1)
            x = x + self.place(sphere_positions(places, middle_of(tokens, places), spans))
        if self.hidden is not None:
            x = x + tokens.sequence_mask()[..., None] * self.hidden
        return x

    def _values(self, tokens: FieldTokens) -> Tensor:
        values = [part.values.flatten(1, 4) for part in tokens.parts]
        if isinstance(self.value, SubpatchEmbedding):
            parts = zip(values, self.sizes, self._spans(tokens), strict=True)
            return torch.cat([self.value(*part) for part in parts], 1)
        fine = self.value(values[0])
        return fine if self.context_value is None else torch.cat((fine, self.context_value(values[1])), 1)

    def _spans(self, tokens: FieldTokens) -> list[Tensor]:
        """What the tokens cover, ``[b, n, 3]``; the context's apart."""
        sizes = zip(tokens.parts, self.sizes, strict=True)
        return [token_spans(part.info, size).flatten(1, 4) for part, size in sizes]


def middle_of(tokens: FieldTokens, places: Tensor) -> Tensor:
    """Place of the neighbourhood's middle token, ``[b, 3]``, out of the sequence's places ``[b, n, 5]``."""
    _, _, _, rows, columns = tokens.mask.shape
    return places[:, rows // 2 * columns + columns // 2, :3]
