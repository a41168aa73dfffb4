"""The locality bias of all attentions of a forward pass, formed once for tokens at the same places."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from atmorep_lite.attention import locality_bias, locality_slopes
from atmorep_lite.config import ModelConfig
from atmorep_lite.tokens import FieldTokens, token_positions


class Nearness:
    """Biases ``[batch, head, query, key]`` by origin of the keys; empty if the model has no locality.

    Fields on the same grid, as a model's mostly are, share them: five coupled fields then form three biases,
    not thirty.

    Parameters
    ----------
    config
        The model's.
    tokens
        Of all fields that attend or are attended to.
    """

    def __init__(self, config: ModelConfig, tokens: Mapping[str, FieldTokens]) -> None:
        self._config = config
        self._places: dict[str, Tensor] = {}
        self._biases: dict[tuple[int, int, int], Tensor] = {}
        for name in config.names if config.locality else ():
            if name in tokens:
                twin = next((n for n in self._places if _same_places(tokens[n], tokens[name])), None)
                self._places[name] = (
                    token_positions(tokens[name].sequence_info()) if twin is None else self._places[twin]
                )

    def encoder(self, name: str) -> dict[str, Tensor | None]:
        """For the encoder layers of a field: ``self``, and every field that it is coupled to."""
        if not self._config.locality:
            return {}
        coupled = self._config.field(name).coupled_to
        heads = self._config.coupling_heads
        return {
            "self": self._bias(name, name, self._config.heads),
            **{other: self._bias(name, other, heads) for other in coupled},
        }

    def decoder(self, name: str) -> dict[str, Tensor | None]:
        """For the decoder layers of a field: ``self`` and ``encoder``, where they have heads."""
        if not self._config.locality:
            return {}
        cross = int(self._config.heads * self._config.cross_fraction)
        counts = {"self": self._config.heads - cross, "encoder": cross}
        return {part: self._bias(name, name, count) for part, count in counts.items() if count}

    def _bias(self, asking: str, asked: str, heads: int) -> Tensor:
        own, far = self._places[asking], self._places[asked]
        key = (id(own), id(far), heads)
        if key not in self._biases:
            bias = locality_bias(own, far, locality_slopes(self._config.locality, heads))
            if torch.is_autocast_enabled(bias.device.type):  # else every attention would cast its own copy
                bias = bias.to(torch.get_autocast_dtype(bias.device.type))
            self._biases[key] = bias
        return self._biases[key]


def _same_places(one: FieldTokens, two: FieldTokens) -> bool:
    """Whether two fields' tokens, and those around them, lie at the same places at the same times."""
    infos = [[part.info for part in tokens.parts] for tokens in (one, two)]
    return [x.shape for x in infos[0]] == [y.shape for y in infos[1]] and all(
        x is y or torch.equal(x, y) for x, y in zip(*infos, strict=True)
    )
