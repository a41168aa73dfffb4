"""AtmoRep: one transformer per physical field, coupled by cross-attention, with an ensemble at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from atmorep_lite.config import Config, ModelConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError
from atmorep_lite.model.context import show_context
from atmorep_lite.model.embedding import TokenEmbedding
from atmorep_lite.model.fill import fill_in_time
from atmorep_lite.model.grid_skip import GridSkip
from atmorep_lite.model.layers import DecoderLayer, EncoderLayer, Record, hidden_tokens, take_tokens
from atmorep_lite.model.nearness import Nearness
from atmorep_lite.model.tails import SMALL_START, Ensemble, EnsembleTails
from atmorep_lite.tokens import FieldTokens, detokenize, spread_over_token, tokenize

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

    With ``checkpointing`` set to True, training keeps only the input of every layer and computes the rest
    again in the backward pass: far less memory, about a quarter more time.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        self.run_config: Config | None = None
        self.normalizer: Normalizer | None = None
        self.predicted = tuple(field.name for field in config.fields if field.loss_weight > 0)
        if not self.predicted:
            raise UserError("no field has a loss_weight above 0, so the model would predict nothing")
        departs = config.predict == "departure"
        self.embeddings = nn.ModuleDict({f.name: TokenEmbedding(f, config) for f in config.fields})
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
        guess: Mapping[str, FirstGuess] | None = None,
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
        guess
            What :meth:`first_guess` said of these tokens, if it has been asked already.

        Raises
        ------
        UserError
            If a field is missing.
        """
        guess, tokens = self._shown(tokens, static, guess)
        near = Nearness(self.config, tokens)
        encoded = self.encode(tokens, trace, near=near)
        out = {}
        for name in self.predicted:
            mask = tokens[name].mask
            x = self.decode(name, tokens[name], encoded[name], trace, near=near)[:, : mask[0].numel()]
            members = self.tails[name](x).transpose(1, 2).unflatten(2, mask.shape[1:])
            if name not in guess:
                out[name] = Ensemble(members)
                continue
            first = guess[name]
            departure = mask[..., None] * first.scale
            out[name] = Ensemble(first.values[:, None] + departure[:, None] * members, first.scale)
        return out

    def predict_hidden(
        self, tokens: Mapping[str, FieldTokens], static: Tensor | None = None
    ) -> dict[str, Ensemble]:
        """What ``forward`` says of the hidden tokens, and nothing else: all that a training step needs.

        The last decoder layer and the tails then run for these tokens only.

        Returns
        -------
        By field, members ``[hidden token, member, channel]`` in the order of ``values[mask]``.

        Raises
        ------
        UserError
            If a field is missing.
        """
        self._check(tokens)
        hidden = {name: hidden_tokens(tokens[name].mask) for name in self.predicted}
        guess, tokens = self._shown(tokens, static)
        near = Nearness(self.config, tokens)
        encoded = self.encode(tokens, near=near)
        out = {}
        for name in self.predicted:
            wanted, rows = hidden[name]
            x = self.decode(name, tokens[name], encoded[name], wanted=wanted, near=near)
            members = self.tails[name](x.flatten(0, 1)[rows])
            if name not in guess:
                out[name] = Ensemble(members)
                continue
            values, scale = (
                take_tokens(part.flatten(1, 4), wanted).flatten(0, 1)[rows]
                for part in (guess[name].values, guess[name].scale)
            )
            out[name] = Ensemble(values[:, None] + scale[:, None] * members, scale)
        return out

    def _shown(
        self,
        tokens: Mapping[str, FieldTokens],
        static: Tensor | None,
        guess: Mapping[str, FirstGuess] | None = None,
    ) -> tuple[Mapping[str, FirstGuess], dict[str, FieldTokens]]:
        """The first guess (none for a model of fields) and the tokens that the transformer sees.

        Fields that the model does not have are left out.
        """
        self._check(tokens)
        shown = {f.name: show_context(tokens[f.name], f) for f in self.config.fields}
        if self.config.predict == "field":
            return {}, shown
        guess = guess or self.first_guess(tokens, static)
        return guess, {name: field.with_values(guess[name].values) for name, field in shown.items()}

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
        self, tokens: Mapping[str, FieldTokens], trace: Trace | None = None, near: Nearness | None = None
    ) -> dict[str, list[Tensor]]:
        """Output ``[batch, token, embed_dim]`` of the embedding and of every encoder layer, by field.

        All fields step together: a layer reads the other fields' values of the layer before.  ``near`` is
        formed of the tokens if it is not given.
        """
        near = near or Nearness(self.config, tokens)
        states = {name: self.embeddings[name](tokens[name]) for name in self.config.names}
        outputs = {name: [state] for name, state in states.items()}
        bias = {name: near.encoder(name) for name in self.config.names}
        for layer in range(self.config.encoder_layers):
            before = dict(states)
            for name in self.config.names:
                record = None if trace is None else trace.setdefault(("encoder", layer, name), {})
                block = cast(nn.ModuleList, self.encoders[name])[layer]
                states[name] = self._run(block, before[name], before, bias[name], record)
                outputs[name].append(states[name])
        return outputs

    def decode(
        self,
        name: str,
        tokens: FieldTokens,
        encoded: list[Tensor],
        trace: Trace | None = None,
        wanted: Tensor | None = None,
        near: Nearness | None = None,
    ) -> Tensor:
        """Decoder of one field, ``[batch, token, embed_dim]``; only of ``wanted`` ``[batch, m]`` if given.

        Block ``l`` attends to the ``l``-th encoder layer's output counted from the end.  A decoder deeper
        than the encoder spreads its blocks evenly over the encoder's layers, in the same order.
        """
        x = encoded[-1]
        bias = (near or Nearness(self.config, {name: tokens})).decoder(name)
        blocks = cast(nn.ModuleList, self.decoders[name])
        for layer, block in enumerate(blocks):
            record = None if trace is None else trace.setdefault(("decoder", layer, name), {})
            back = layer * self.config.encoder_layers // max(self.config.encoder_layers, len(blocks))
            last = layer == len(blocks) - 1
            x = self._run(block, x, encoded[-1 - back], bias, record, wanted if last else None)
        return x

    def _run(self, block: nn.Module, *inputs: Any) -> Tensor:
        if self.checkpointing and self.training:
            return cast(Tensor, checkpoint(block, *inputs, use_reentrant=False))
        return cast(Tensor, block(*inputs))

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
