"""Carrying a grid-scale skip over to a model with more variables, a variable being a field at a level.

The skip's first and last convolutions have a block of channels for every variable.  What belongs to known
variables is copied; what would bring a new variable into their forecasts begins at zero, and so does all that
is forecast of the new one.  So the first guess of the known variables is at first what it was.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atmorep_lite.config import ModelConfig
from atmorep_lite.model.grid_skip import ACROSS, SEEN, GridSkip


@torch.no_grad()
def carry_skip(theirs: GridSkip, ours: GridSkip, before: ModelConfig, after: ModelConfig) -> None:
    """Copy ``theirs``, of a model ``before``, into ``ours``, of a model ``after``.

    Both models have the same settings of the skip, as many time steps and as many token slots.
    """
    assert before.grid_skip is not None
    steps, static = before.extent[0], before.grid_skip.static_channels
    slots = steps // min(f.token_size[0] for f in before.fields)
    old, new = _variables(before), _variables(after)
    shared = [(new.index(variable), n) for n, variable in enumerate(old) if variable in new]
    counts = len(new), len(old)
    seen = _blocks(shared, counts, (steps, steps - 1, steps - 2, slots), static)
    forecast = _blocks(shared, counts, (steps,), 0)
    hidden = (torch.arange(before.grid_skip.width),) * 2
    for name, inputs, outputs in (
        ("inputs", seen, hidden),
        ("linear", seen, forecast),
        ("outputs", hidden, forecast),
    ):
        a, b = getattr(ours, name), getattr(theirs, name)
        new_kernels, old_kernels = (c.weight.unflatten(1, (-1, c.size**2)) for c in (a, b))
        _place(new_kernels, old_kernels, outputs, inputs)
        a.bias.zero_()
        a.bias[outputs[0]] = b.bias[outputs[1]]
    ours.blocks.load_state_dict(theirs.blocks.state_dict())
    if theirs.regression is not None and ours.regression is not None:
        found = theirs.regression.coefficients.shape[1] - theirs.regression.local
        inputs = _blocks(shared, counts, (ACROSS**2,) * SEEN, found)
        targets = _blocks(shared, counts, (theirs.regression.leads,), 0)
        fitted, coefficients = (r.coefficients.movedim(0, -1) for r in (ours.regression, theirs.regression))
        _place(fitted, coefficients, inputs, targets)


def _variables(config: ModelConfig) -> list[tuple[str, int]]:
    """Field and level of every variable, in the order of the skip's channels."""
    return [(field.name, level) for field in config.fields for level in field.levels]


def _blocks(
    shared: list[tuple[int, int]], counts: tuple[int, int], widths: tuple[int, ...], rest: int
) -> tuple[Tensor, Tensor]:
    """Channels of the shared variables (new number, old number) in the new and in the old order.

    Channels run over parts, in each over the variables, and for each variable over the part's width; ``rest``
    channels at the end belong to none.
    """
    into: list[int] = []
    out_of: list[int] = []
    first = [0, 0]
    for width in widths:
        for a, b in shared:
            into += range(first[0] + a * width, first[0] + (a + 1) * width)
            out_of += range(first[1] + b * width, first[1] + (b + 1) * width)
        first = [start + count * width for start, count in zip(first, counts, strict=True)]
    into += range(first[0], first[0] + rest)
    out_of += range(first[1], first[1] + rest)
    return torch.tensor(into), torch.tensor(out_of)


def _place(ours: Tensor, theirs: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]) -> None:
    """Zero but for the rows and columns (new numbers, old numbers) that are taken over."""
    ours.zero_()
    ours[rows[0][:, None], columns[0]] = theirs[rows[1][:, None], columns[1]]
