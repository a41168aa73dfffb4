"""Cut a connection and see: what attention is worth to a model, measured by intervention.

All functions return copies; the model that is passed in stays as it is.  A head is silenced by setting its
values to zero: its map stays what it was, but nothing arrives through it.  Cutting is not retraining: a model
trained without the connection would have found other ways, so a loss measured here is an upper limit.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from atmorep_lite.errors import UserError
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.layers import EncoderLayer
from atmorep_lite.tokens import FieldTokens

if TYPE_CHECKING:
    import pandas as pd

Tokens = Mapping[str, FieldTokens]


def silence_couplings(
    model: AtmoRep,
    *,
    listener: str | None = None,
    heard: str | None = None,
    layers: Sequence[int] | None = None,
) -> AtmoRep:
    """A copy in which couplings carry nothing.

    Parameters
    ----------
    listener, heard
        Which couplings: of this field, to this field.  All by default.
    layers
        In which encoder layers; all by default.

    Raises
    ------
    UserError
        If no such coupling exists.
    """
    copied = copy.deepcopy(model)
    found = False
    for _, blocks in _encoders(copied, listener, layers):
        for block in blocks:
            for other in block.coupled_to:
                if heard not in (None, other):
                    continue
                values = cast(nn.Linear, block.coupling_kv[other]).weight
                values.data[len(values) // 2 :] = 0  # keys stand first, values second
                found = True
    if not found:
        raise UserError(
            f"{listener or 'no field'} does not listen to {heard or 'any field'} in this model; "
            "see coupled_to in its configuration"
        )
    return copied


def silence_heads(
    model: AtmoRep,
    *,
    listener: str | None = None,
    heads: Sequence[int] | None = None,
    layers: Sequence[int] | None = None,
) -> AtmoRep:
    """A copy in which heads of the encoder's self-attention carry nothing; by default all of all fields.

    Raises
    ------
    UserError
        If the field, a head or a layer does not exist.
    """
    count = model.config.heads
    chosen = range(count) if heads is None else heads
    for head in chosen:
        if not 0 <= head < count:
            raise UserError(f"head {head} does not exist; there are {count}, 0 to {count - 1}")
    copied = copy.deepcopy(model)
    for _, blocks in _encoders(copied, listener, layers):
        for block in blocks:
            weight = block.qkv.weight.data
            per_head = weight.view(
                count, 3, -1, weight.shape[1]
            )  # query, key, value of head 0, then head 1 ...
            per_head[list(chosen), 2] = 0
    return copied


def randomise_encoder(model: AtmoRep, *, seed: int) -> AtmoRep:
    """A copy whose embeddings and encoders are as before training; the rest stays as trained.

    The locality bias, which is not learnt, stays.  The control for everything that is read off a map.
    """
    copied = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = AtmoRep(model.config)
    copied.embeddings, copied.encoders = fresh.embeddings, fresh.encoders
    return copied.train(model.training)


def hide_field(tokens: Tokens, name: str) -> dict[str, FieldTokens]:
    """Hide every token of one field, past and future; show every token of the others.

    Raises
    ------
    UserError
        If there is no such field.
    """
    if name not in tokens:
        raise UserError(f"{name} is not among the fields {', '.join(tokens)}")
    return {n: replace(t, mask=torch.full_like(t.mask, n == name)) for n, t in tokens.items()}


def hide_future(model: AtmoRep, tokens: Tokens) -> dict[str, FieldTokens]:
    """Hide the last time slots of all fields, as many as the model was trained to forecast.

    Raises
    ------
    UserError
        If the model does not know how many.
    """
    if model.run_config is None:
        raise UserError("the model has no run configuration; load it with AtmoRep.from_pretrained")
    batch = len(next(iter(tokens.values())).values)
    masks = forecast_masks(model.config.fields, batch, model.run_config.masking.forecast_slots)
    return {name: replace(t, mask=masks[name]) for name, t in tokens.items()}


@torch.inference_mode()
def hidden_errors(
    model: AtmoRep, tokens: Tokens, static: Tensor | None = None, *, first_guess: bool = False
) -> pd.DataFrame:
    """Root mean square error of the ensemble mean over hidden tokens, in normalised units.

    Parameters
    ----------
    tokens
        Unspoilt values, and masks that say what the model may not see.  The model must predict departures
        (the default), so that it never reads hidden values.
    static
        ``[batch, channel, latitude, longitude]``.
    first_guess
        Score the convolutional first guess alone.

    Returns
    -------
    DataFrame: a row for each neighbourhood of the batch, a column for each field with hidden tokens; NaN
    where a neighbourhood has none.

    Raises
    ------
    UserError
        If the model predicts the fields themselves.
    """
    import pandas as pd

    if model.config.predict != "departure":
        raise UserError("this model reads the values of hidden tokens; hidden_errors needs one of departures")
    if first_guess:
        guess = {name: first.values for name, first in model.first_guess(tokens, static).items()}
    else:
        guess = {name: ensemble.mean for name, ensemble in model(tokens, static).items()}
    columns = {}
    for name, field in tokens.items():
        if name in guess and field.mask.any():
            squares = ((guess[name] - field.values) ** 2 * field.mask[..., None]).flatten(1).sum(1)
            hidden = field.mask.flatten(1).sum(1) * field.values.shape[-1]
            columns[name] = (squares / hidden).sqrt().double().numpy()
    return pd.DataFrame(columns)


@torch.inference_mode()
def restorations(model: AtmoRep, tokens: Tokens, static: Tensor | None, name: str) -> dict[str, Tensor]:
    """A hidden field, restored in four ways.

    Returns
    -------
    By name, ``[batch, level, token_time, token_lat, token_lon, channel]`` in normalised units: the "truth";
    what "streams alone" answer, without convolution and couplings; the "convolution alone"; the "whole
    model".  The last three see every other field.

    Raises
    ------
    UserError
        If there is no such field.
    """
    hidden = hide_field(tokens, name)
    apart = silence_couplings(model)
    apart.grid_skip = None
    return {
        "truth": tokens[name].values,
        "streams alone": apart(hidden, static)[name].mean,
        "convolution alone": model.first_guess(hidden, static)[name].values,
        "whole model": model(hidden, static)[name].mean,
    }


def _encoders(
    model: AtmoRep, listener: str | None, layers: Sequence[int] | None
) -> list[tuple[str, list[EncoderLayer]]]:
    """The encoder layers of one field or of all."""
    if listener is not None and listener not in model.config.names:
        raise UserError(f"{listener} is not a field of this model; it has {', '.join(model.config.names)}")
    count = model.config.encoder_layers
    for layer in layers or ():
        if not 0 <= layer < count:
            raise UserError(f"layer {layer} does not exist; there are {count}, 0 to {count - 1}")
    chosen = range(count) if layers is None else layers
    names = model.config.names if listener is None else (listener,)
    return [
        (name, [cast(EncoderLayer, cast(nn.ModuleList, model.encoders[name])[i]) for i in chosen])
        for name in names
    ]
