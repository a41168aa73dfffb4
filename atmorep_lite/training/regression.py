"""The closed-form fit of :class:`~atmorep_lite.model.grid_skip.LatitudeRegression`.

A coefficient is a sum over polynomials ``T_i(s)`` of the sine of latitude, so the normal equations need the
sums of ``T_i T_j f f'`` over all points, f the inputs.  As ``T_i T_j = (T_{i+j} + T_{|i-j|}) / 2``, the sums
of ``T_k f f'`` for k = 0 ... 2 (polynomials - 1) suffice, whatever the grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from atmorep_lite.data.sampling import Batch
from atmorep_lite.errors import UserError
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.grid_skip import LatitudeRegression, chebyshev
from atmorep_lite.tokens import detokenize
from atmorep_lite.training.processes import ALONE, Processes
from atmorep_lite.training.step import hide

#: Ridge penalty relative to the mean square of each input.
PENALTY = 1e-4


class LatitudeEquations:
    """Normal equations of a linear map whose coefficients are polynomials of the sine of latitude.

    Attributes
    ----------
    gram
        ``[k, input, input]``: sums of weight x T_k x input x input.
    cross
        ``[polynomial, input, target]``: sums of weight x T_k x input x target.
    """

    def __init__(
        self, polynomials: int, inputs: int, targets: int, device: torch.device | None = None
    ) -> None:
        options: Any = {"dtype": torch.float64, "device": device}
        self.gram = torch.zeros(2 * polynomials - 1, inputs, inputs, **options)
        self.cross = torch.zeros(polynomials, inputs, targets, **options)

    def add(self, inputs: Tensor, targets: Tensor, sine: Tensor, weight: Tensor) -> None:
        """Add maps: ``inputs [b, input, y, x]``, ``targets [b, target, y, x]``, ``sine [b, y]``, ``weight
        [y, x]``."""
        rows = sine.unique()
        grams, crosses = [], []
        for s in rows:
            sample, row = (sine == s).nonzero(as_tuple=True)
            seen = inputs[sample, :, row].transpose(1, 2).flatten(0, 1)  # [point, input]
            weighted = (seen * weight[row].reshape(-1, 1)).T
            grams.append(weighted @ seen)
            crosses.append(weighted @ targets[sample, :, row].transpose(1, 2).flatten(0, 1))
        polynomials = chebyshev(rows, len(self.gram)).T
        self.gram += torch.tensordot(polynomials, torch.stack(grams), 1)
        self.cross += torch.tensordot(polynomials[: len(self.cross)], torch.stack(crosses), 1)

    def solve(self, penalty: float) -> Tensor:
        """Coefficients ``[polynomial, input, target]``; ``penalty`` relative to each input's mean square."""
        count, inputs, targets = self.cross.shape
        i, j = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
        matrix = torch.empty(count, inputs, count, inputs, dtype=torch.float64, device=self.gram.device)
        for a, b in zip(i.ravel().tolist(), j.ravel().tolist(), strict=True):
            matrix[a, :, b] = (self.gram[a + b] + self.gram[abs(a - b)]) / 2
        matrix = matrix.view(count * inputs, count * inputs)
        size = self.gram[0].diagonal()
        damping = penalty * size + 1e-12 * size.max()
        matrix.diagonal().add_(damping.repeat(count))
        solution = torch.cholesky_solve(
            self.cross.view(-1, targets), torch.linalg.cholesky_ex(matrix, check_errors=True).L
        )
        return solution.view(count, inputs, targets)


def check_regression(model: AtmoRep) -> LatitudeRegression:
    """The part of a model that is fitted.

    Raises
    ------
    UserError
        If the model has no such part.
    """
    skip = model.grid_skip
    if skip is None or skip.regression is None:
        raise UserError(
            "the model has no regression to fit; set model.grid_skip.forecast_steps or leave out the stage"
        )
    return skip.regression


@torch.no_grad()
def fit_regression(
    model: AtmoRep, batches: Iterable[Batch], *, penalty: float = PENALTY, processes: Processes = ALONE
) -> None:
    """Fit the linear part of ``model``'s grid skip to what its convolutions leave, and write it into it.

    Parameters
    ----------
    batches
        Unmasked neighbourhoods of the training record; the last steps of each are to be forecast.  Points in
        the middle of a neighbourhood count more, as they do when forecasts of neighbourhoods are blended.
    processes
        Each brings batches of its own; all get the fit to those of all.

    Raises
    ------
    UserError
        If the model has no such part.
    """
    regression, fields = check_regression(model), model.config.fields
    regression.coefficients.zero_()
    polynomials, inputs, targets = regression.coefficients.shape
    equations = LatitudeEquations(polynomials, inputs, targets, regression.coefficients.device)
    heard: list[tuple[Tensor, Tensor]] = []
    hook = regression.register_forward_pre_hook(lambda _, given: heard.append(given))
    slots = regression.leads // fields[0].token_size[0]
    try:
        for batch in batches:
            masks = forecast_masks(fields, len(batch.static), slots)
            tokens = hide(batch.tokens, {k: mask.to(batch.static.device) for k, mask in masks.items()})
            guess = model.first_guess_on_grid(tokens, batch.static)
            truth = torch.cat([detokenize(batch.tokens[f.name].values, f.token_size) for f in fields], 1)
            missing = ((truth - guess.values) / guess.scale)[:, :, -regression.leads :]
            seen, sine = heard.pop()
            height, width = (torch.sin(torch.pi * (torch.arange(n) + 0.5) / n) for n in seen.shape[-2:])
            equations.add(seen, missing.flatten(1, 2), sine, torch.outer(height, width).to(seen))
    finally:
        hook.remove()
    processes.sum(equations.gram)
    processes.sum(equations.cross)
    regression.coefficients.copy_(equations.solve(penalty))
