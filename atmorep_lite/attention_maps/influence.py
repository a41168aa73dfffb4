"""Which visible tokens a prediction depends on: the exact derivative, through the whole model.

Attention tells where one layer takes values from.  What a prediction owes to a token, through every layer,
perceptron, coupling and the convolution beside the transformer, is the Jacobian of the one with respect to
the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from atmorep_lite.attention_maps.captured import CapturedField
from atmorep_lite.attention_maps.neighbourhood import refuse_context
from atmorep_lite.attention_maps.weights import joint_index
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens

MOST = 64
"""Backward passes at most, unless told otherwise."""


def influence(
    model: AtmoRep,
    tokens: Mapping[str, FieldTokens],
    static: Tensor | None = None,
    *,
    places: Mapping[str, CapturedField],
    field: str,
    query: int,
    most: int = MOST,
    seed: int = 0,
) -> xr.DataArray:
    """How much a predicted token depends on every visible token of every field.

    Parameters
    ----------
    model
        A model in evaluation mode.
    tokens, static
        What it takes: one neighbourhood (:func:`~atmorep_lite.attention_maps.neighbourhood`).
    places
        ``capture.fields`` of that neighbourhood, for the labels.
    field, query
        The hidden token whose prediction is asked about: its field, and its index in C order of level, time,
        latitude and longitude (:func:`~atmorep_lite.attention_maps.token_at`).
    most
        Backward passes at most.  A token of more values is asked about in so many random directions, which
        estimate the square of the norm without bias (Hutchinson 1990), with a relative standard error of at
        most ``sqrt(2 / most)``.
    seed
        Of these directions.

    Returns
    -------
    DataArray ``[key]``, indexed by field, level, time, latitude and longitude: the Frobenius norm of
    ``d prediction / d token``, of the ensemble mean, in normalised units; how much the prediction's values
    change (root of the sum of squares) per unit of change of the token's.  NaN for hidden tokens, which the
    model does not read.

    Raises
    ------
    UserError
        If the field is not predicted, the token does not exist or is not hidden, there are several
        neighbourhoods, or the model sees context tokens or reads the values of hidden ones
        (``predict: field``).
    """
    check_query(model, tokens, field, query)
    if model.config.predict != "departure":
        raise UserError("this model reads the values of hidden tokens; influence needs one of departures")
    if most < 1:
        raise UserError(f"{most} backward passes tell nothing; choose 1 or more")
    visible = {name: part.values.detach().clone().requires_grad_() for name, part in tokens.items()}
    given = {name: replace(part, values=visible[name]) for name, part in tokens.items()}
    with torch.enable_grad():
        predicted = model(given, static)[field].mean[0].flatten(0, 3)[query]
        squares = {name: torch.zeros(part.mask[0].numel()) for name, part in tokens.items()}
        for direction in _directions(len(predicted), most, seed):
            slopes = torch.autograd.grad(
                predicted, list(visible.values()), direction, retain_graph=True, allow_unused=True
            )
            for name, slope in zip(visible, slopes, strict=True):
                if slope is not None:
                    squares[name] += slope[0].flatten(0, 3).square().sum(-1)
    out = []
    for name, square in squares.items():
        norm = square.sqrt().double()
        norm[tokens[name].mask[0].flatten()] = torch.nan
        out.append(norm.numpy())
    index = joint_index("key", {name: places[name] for name in tokens})
    return xr.DataArray(
        np.concatenate(out),
        dims="key",
        coords=index,
        name="influence",
        attrs={"field": field, "query": query},
    )


def _directions(count: int, most: int, seed: int) -> Tensor:
    """Rows ``[pass, count]`` whose outer products sum to the identity, or do so on average."""
    if count <= most:
        return torch.eye(count)
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (most, count), generator=generator) * 2.0 - 1.0
    return signs / math.sqrt(most)


def check_query(model: AtmoRep, tokens: Mapping[str, FieldTokens], field: str, query: int) -> None:
    """Raise ``UserError`` unless the token is hidden in the one neighbourhood and the model predicts it."""
    refuse_context(model.config)
    if field not in model.predicted:
        raise UserError(f"{field} is not predicted by this model; choose one of {', '.join(model.predicted)}")
    mask = tokens[field].mask
    if len(mask) != 1:
        raise UserError(f"a token is looked for in one neighbourhood; these tokens hold {len(mask)}")
    count = mask[0].numel()
    if not 0 <= query < count:
        raise UserError(f"token {query} does not exist; there are {count}, 0 to {count - 1}")
    if not mask[0].flatten()[query]:
        raise UserError(
            f"token {query} of {field} is visible, so nothing is predicted there; choose a hidden one"
        )
