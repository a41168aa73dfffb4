"""AtmoRep: one transformer per physical field, coupled by cross-attention, with an ensemble at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from atmorep_lite.attention import locality_bias, locality_slopes
from atmorep_lite.config import Config, ModelConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError
from atmorep_lite.model.embedding import TokenEmbedding
from atmorep_lite.model.fill import fill_in_time
from atmorep_lite.model.grid_skip import GridSkip
from atmorep_lite.model.layers import DecoderLayer, EncoderLayer, Record
from atmorep_lite.model.tails import SMALL_START, Ensemble, EnsembleTails
from atmorep_lite.tokens import FieldTokens, detokenize, spread_over_token, token_positions, tokenize

Trace = dict[tuple[str, int, str], Record]
"""What passed through the network: queries and keys by (``"encoder"`` or ``"decoder"``, layer, field)."""


@dataclass(frozen=True)
class FirstGuess:
    """Fill plus grid-scale skip of one field, and the scale: ``[batch, level, token..., channel]``."""

    values: Tensor
    scale: Tensor


@dataclass(frozen=True)
class GridGuess:
    """The first guess at grid points, ``[batch, variable, time, latitude, longitude]``, variable = field and
    level.

    ``hidden`` is True where the value was hidden (and so guessed), ``scale`` the departures' typical size
    there, ``gap`` the number of steps to the nearest visible state.
    """

    values: Tensor
    hidden: Tensor
    scale: Tensor
    gap: Tensor


class AtmoRep(nn.Module):
    """The assembled model.

    ``forward(tokens)`` takes ``{field: FieldTokens}`` for all fields of the configuration and returns
    ``{field: Ensemble}`` for those with a loss weight.  Source: Lessig et al. 2023 (arXiv:2308.13280) and its
    public code.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.run_config: Config | None = None
        self.normalizer: Normalizer | None = None
        self.predicted = tuple(field.name for field in config.fields if field.loss_weight > 0)
        if not self.predicted:
            raise UserError("no field has a loss_weight above 0, so the model would predict nothing")
        departs = config.predict == "departure"
        self.embeddings = nn.ModuleDict(
            {
                f.name: TokenEmbedding(f, published=config.published is not None, flag_hidden=departs)
                for f in config.fields
            }
        )
        self.encoders = nn.ModuleDict(
            {
                f.name: nn.ModuleList(EncoderLayer(f, config) for _ in range(config.encoder_layers))
                for f in config.fields
            }
        )
        predicted = [config.field(name) for name in self.predicted]
        self.decoders = nn.ModuleDict(
            {
                f.name: nn.ModuleList(DecoderLayer(f, config) for _ in range(config.decoder_layers))
                for f in predicted
            }
        )
        self.tails = nn.ModuleDict(
            {
                f.name: EnsembleTails(
                    f.embed_dim,
                    f.token_values,
                    config.members,
                    config.tail_layers,
                    start=SMALL_START if departs else 1.0,
                )
                for f in predicted
            }
        )
        self.departure_scale = nn.ParameterDict()
        self.grid_skip: GridSkip | None = None
        if departs:
            steps = config.extent[0]
            for f in config.fields:
                table = torch.ones(len(f.levels), steps + 1)
                self.departure_scale[f.name] = nn.Parameter(table, requires_grad=False)
            if config.grid_skip is not None:
                variables = sum(len(f.levels) for f in config.fields)
                self._slot_steps = min(f.token_size[0] for f in config.fields)
                self.grid_skip = GridSkip(variables, steps, steps // self._slot_steps, config.grid_skip)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str]) -> AtmoRep:
        """A trained model, by the name of a shipped one (``"demo"``) or the path of a model folder.

        Its ``normalizer`` and ``run_config`` (data, masking, training) come with it.

        Raises
        ------
        UserError
            If there is no such model, or its files are damaged.
        """
        from atmorep_lite.training.checkpoint import find_pretrained, load_model

        return load_model(find_pretrained(name_or_path))

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Write weights, configuration and normalisation into the folder ``path``."""
        from atmorep_lite.training.checkpoint import save_model

        save_model(path, self)

    def forward(
        self,
        tokens: Mapping[str, FieldTokens],
        static: Tensor | None = None,
        trace: Trace | None = None,
    ) -> dict[str, Ensemble]:
        """Predict every token of every predicted field.

        Parameters
        ----------
        tokens
            By field name.  Values of hidden tokens are ignored when the model predicts departures.
        static
            ``[batch, channel, latitude, longitude]`` maps for the grid-scale skip (zeros if omitted).
        trace
            If given, queries and keys of every attention are stored in it.

        Raises
        ------
        UserError
            If a field is missing.
        """
        self._check(tokens)
        guess: dict[str, FirstGuess] = {}
        if self.config.predict == "departure":
            guess = self.first_guess(tokens, static)
            tokens = {name: field.with_values(guess[name].values) for name, field in tokens.items()}
        encoded = self.encode(tokens, trace)
        out = {}
        for name in self.predicted:
            x = self.decode(name, tokens[name], encoded[name], trace)
            members = self.tails[name](x).unflatten(2, tokens[name].mask.shape[1:])
            if not guess:
                out[name] = Ensemble(members)
                continue
            first = guess[name]
            departure = tokens[name].mask[..., None] * first.scale
            out[name] = Ensemble(first.values[:, None] + departure[:, None] * members, first.scale)
        return out

    def first_guess(
        self, tokens: Mapping[str, FieldTokens], static: Tensor | None = None
    ) -> dict[str, FirstGuess]:
        """What is known before the transformer: the fill, corrected by the grid-scale skip if any."""
        grid = self.first_guess_on_grid(tokens, static)
        fields = self.config.fields
        levels = [len(f.levels) for f in fields]
        return {
            f.name: FirstGuess(tokenize(value, f.token_size), tokenize(unit, f.token_size))
            for f, value, unit in zip(
                fields, grid.values.split(levels, 1), grid.scale.split(levels, 1), strict=True
            )
        }

    def first_guess_on_grid(
        self, tokens: Mapping[str, FieldTokens], static: Tensor | None = None
    ) -> GridGuess:
        """The first guess of all fields together, at grid points."""
        self._check(tokens)
        fields = self.config.fields
        values = torch.cat([detokenize(tokens[f.name].values, f.token_size) for f in fields], 1)
        hidden = torch.cat([spread_over_token(tokens[f.name].mask, f.token_size) for f in fields], 1)
        filled, gap = fill_in_time(values, hidden)
        table = torch.cat([self.departure_scale[f.name] for f in fields])
        scale = table[torch.arange(len(table), device=table.device).view(1, -1, 1, 1, 1), gap]
        if self.grid_skip is not None and self.config.grid_skip is not None:
            if static is None:
                static = values.new_zeros(
                    len(values), self.config.grid_skip.static_channels, *values.shape[-2:]
                )
            departure = self.grid_skip(filled, hidden[:, :, :: self._slot_steps], static, table[:, 1])
            filled = filled + hidden * scale * departure
        return GridGuess(filled, hidden, scale, gap)

    def encode(
        self, tokens: Mapping[str, FieldTokens], trace: Trace | None = None
    ) -> dict[str, list[Tensor]]:
        """Output ``[batch, token, embed_dim]`` of the embedding and of every encoder layer, by field.

        All fields step together: a layer reads the other fields' values of the layer before.
        """
        states = {name: self.embeddings[name](tokens[name]) for name in self.config.names}
        outputs = {name: [state] for name, state in states.items()}
        bias = {name: self._encoder_bias(name, tokens) for name in self.config.names}
        for layer in range(self.config.encoder_layers):
            before = dict(states)
            for name in self.config.names:
                record = None if trace is None else trace.setdefault(("encoder", layer, name), {})
                block = cast(nn.ModuleList, self.encoders[name])[layer]
                states[name] = block(before[name], before, bias[name], record)
                outputs[name].append(states[name])
        return outputs

    def decode(
        self, name: str, tokens: FieldTokens, encoded: list[Tensor], trace: Trace | None = None
    ) -> Tensor:
        """Decoder of one field: block ``l`` attends to the ``l``-th encoder output counted from the end."""
        x = encoded[-1]
        bias = self._decoder_bias(tokens)
        for layer, block in enumerate(cast(nn.ModuleList, self.decoders[name])):
            record = None if trace is None else trace.setdefault(("decoder", layer, name), {})
            x = block(x, encoded[-1 - layer], bias, record)
        return x

    def _encoder_bias(self, name: str, tokens: Mapping[str, FieldTokens]) -> dict[str, Tensor | None]:
        if not self.config.locality:
            return {}
        own = token_positions(tokens[name].info).flatten(1, 4)
        slopes = locality_slopes(self.config.locality, self.config.heads)
        bias: dict[str, Tensor | None] = {"self": locality_bias(own, own, slopes)}
        for other in self.config.field(name).coupled_to:
            far = token_positions(tokens[other].info).flatten(1, 4)
            bias[other] = locality_bias(own, far, slopes[:1])
        return bias

    def _decoder_bias(self, tokens: FieldTokens) -> dict[str, Tensor | None]:
        if not self.config.locality:
            return {}
        own = token_positions(tokens.info).flatten(1, 4)
        cross = int(self.config.heads * self.config.cross_fraction)
        counts = {"self": self.config.heads - cross, "encoder": cross}
        return {
            part: locality_bias(own, own, locality_slopes(self.config.locality, count))
            for part, count in counts.items()
            if count
        }

    def _check(self, tokens: Mapping[str, FieldTokens]) -> None:
        missing = [name for name in self.config.names if name not in tokens]
        if missing:
            raise UserError(f"the model needs the fields {', '.join(missing)}, which were not given")
        for f in self.config.fields:
            expected = (len(f.levels), *f.num_tokens, f.token_values)
            if tokens[f.name].values.shape[1:] != expected:
                found = tuple(tokens[f.name].values.shape[1:])
                raise UserError(
                    f"tokens of {f.name} have shape {found} after the batch axis; "
                    f"the model expects (level, time, latitude, longitude, channel) = {expected}"
                )
