"""What coarser tokens of a larger region may show.

A context token overlaps tokens of the neighbourhood, some of them hidden, or lies beyond it.  It is hidden if
any of its points is.  Inside the neighbourhood, points are hidden as their tokens are; outside, at those time
steps that are hidden throughout the neighbourhood (so a forecast knows nobody's future, and a hidden field is
hidden everywhere).  Hidden context tokens are filled in time from the visible ones, as the neighbourhood is.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from atmorep_lite.config import ContextConfig, FieldConfig
from atmorep_lite.errors import UserError
from atmorep_lite.model.fill import fill_in_time
from atmorep_lite.tokens import FieldTokens, detokenize, spread_over_token, tokenize


def show_context(tokens: FieldTokens, field: FieldConfig) -> FieldTokens:
    """The same tokens with a context that shows nothing of what is hidden; without context as they are.

    The context's own ``mask`` and its values where hidden are not read.

    Raises
    ------
    UserError
        If the field's configuration has a context and the tokens have none.
    """
    if field.context is None:
        return tokens
    context = tokens.context
    if context is None or context.offset is None:
        raise UserError(f"the model reads a context of {field.name}, which the tokens lack; cut them with it")
    size = field.context.token_size
    mask = hidden_context(tokens.mask, context.offset, field, field.context)
    filled, _ = fill_in_time(detokenize(context.values, size), spread_over_token(mask, size))
    return replace(tokens, context=replace(context, values=tokenize(filled, size), mask=mask))


def hidden_context(mask: Tensor, offset: Tensor, field: FieldConfig, context: ContextConfig) -> Tensor:
    """Which context tokens are hidden, ``[b, level, token_time, token_lat, token_lon]``.

    Parameters
    ----------
    mask
        The neighbourhood's, ``[b, level, token_time, token_lat, token_lon]``.
    offset
        ``[b, 2]``, row and column of the neighbourhood's first point in the context's region.
    """
    points = spread_over_token(mask, field.token_size)
    _, height, width = field.extent
    throughout = points.flatten(-2).all(-1)
    region = throughout[..., None, None].repeat(1, 1, 1, *context.extent[1:])
    for sample, (row, column) in enumerate(offset.tolist()):
        region[sample, ..., row : row + height, column : column + width] = points[sample]
    tt, ty, tx = context.token_size
    return tokenize(region, (tt, ty * context.coarsen, tx * context.coarsen)).any(-1)
