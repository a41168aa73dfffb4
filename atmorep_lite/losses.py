"""Losses of an ensemble of predictions.

All take ``members`` ``[member, ...]`` and ``target`` ``[...]`` and return a scalar, the mean over all values,
weighted by ``weight`` (broadcastable to the target) where given.  Those of :data:`LOSSES` take values in any
order; those of :data:`PATCH_LOSSES` need whole patches ``[..., latitude, longitude]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from atmorep_lite.errors import UserError


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return values.mean()
    weight = weight.expand_as(values)
    return (values * weight).sum() / weight.sum()


def _mean_and_spread(members: Tensor) -> tuple[Tensor, Tensor]:
    if members.shape[0] < 2:
        raise UserError("this loss needs the spread of at least 2 members; use crps or mse for one")
    mean = members.mean(0)
    variance = (members - mean).square().sum(0) / (len(members) - 1)  # Tensor.std is slow on a CPU
    return mean, variance.clamp(min=1e-36).sqrt()


def mse(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared error of the ensemble mean."""
    return _mean((members.mean(0) - target) ** 2, weight)


def mse_ensemble(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared error, averaged over members; draws every member to the mean (Lessig et al. 2023)."""
    return _mean(((members - target) ** 2).mean(0), weight)


def stats(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""The published statistical loss :math:`(e^{-(y-\mu)^2 / 2\sigma^2} - 1)^2 + \sqrt{\sigma}`.

    Not a proper score: its optimal spread is not the true one, and it collapses to zero spread where errors
    are of order one.  Where sigma is 0 its limit is used (1, or 0 where the mean is exact), without a
    gradient.
    """
    mean, sigma = _mean_and_spread(members)
    likeness = torch.exp(-0.5 * ((target - mean) / sigma) ** 2)
    return _mean((likeness - 1.0) ** 2 + sigma.sqrt(), weight)


def stats_area(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""The published variant :math:`0.2\,\mathrm{erf}((y-\mu)/\sigma^2)^2 + \sqrt{\sigma}`."""
    mean, sigma = _mean_and_spread(members)
    safe = sigma.clamp(min=1e-9)
    return _mean(0.2 * torch.erf((target - mean) / safe**2) ** 2 + safe.sqrt(), weight)


def _standardised(members: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mean, sigma = _mean_and_spread(members)
    sigma = sigma.clamp(min=1e-6)
    z = (target - mean) / sigma
    cumulative = 0.5 * (1.0 + torch.erf(z / math.sqrt(2.0)))
    return sigma, z, cumulative, torch.exp(-0.5 * z**2)


def gaussian_crps(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""CRPS of the Gaussian with the ensemble's mean and spread (Gneiting & Raftery 2007, eq. 21):

    .. math:: \sigma [ z (2\Phi(z) - 1) + 2\varphi(z) - 1/\sqrt\pi ], \quad z = (y - \mu)/\sigma.
    """
    sigma, z, cumulative, bell = _standardised(members, target)
    density = bell / math.sqrt(2.0 * math.pi)
    return _mean(sigma * (z * (2.0 * cumulative - 1.0) + 2.0 * density - 1.0 / math.sqrt(math.pi)), weight)


def gaussian_likelihood(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Negative log-likelihood of the Gaussian with the ensemble's mean and spread:

    .. math:: \log\sigma + (y - \mu)^2 / 2\sigma^2 + \frac12 \log 2\pi.

    A spread below 1e-3 counts as 1e-3: the likelihood of a collapsed ensemble has no lower bound.
    """
    mean, sigma = _mean_and_spread(members)
    sigma = sigma.clamp(min=1e-3)
    z = (target - mean) / sigma
    return _mean(sigma.log() + 0.5 * z**2 + 0.5 * math.log(2.0 * math.pi), weight)


def crps(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""CRPS in the standard form :math:`E|X - y| - \frac12 E|X - X'|`, where pairs include equal ones.

    The right form for deterministic heads, which are not exchangeable draws (``fair_crps`` is for those).
    Computed from sorted members in O(m log m).
    """
    return _kernel_crps(members, target, weight, pairs=members.shape[0] ** 2)


def fair_crps(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """CRPS in the fair form, unbiased for members that are random draws (Ferro 2014); needs two members."""
    count = members.shape[0]
    if count < 2:
        raise UserError("fair_crps needs at least 2 members; use crps for one")
    return _kernel_crps(members, target, weight, pairs=count * (count - 1))


def _kernel_crps(members: Tensor, target: Tensor, weight: Tensor | None, *, pairs: int) -> Tensor:
    count = members.shape[0]
    accuracy = (members - target).abs().mean(0)
    # sum over i, j of |x_i - x_j| = 2 sum_i (2i - n + 1) x_(i) for sorted x, i from 0
    rank = 2.0 * torch.arange(count, device=members.device, dtype=members.dtype) - (count - 1)
    differences = 2.0 * torch.tensordot(rank, members.sort(0).values, dims=1)
    return _mean(accuracy - 0.5 * differences / pairs, weight)


def published_crps(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """What the published code calls CRPS; kept to reproduce it.  Its optimum is biased: use :func:`crps`."""
    mean, sigma = _mean_and_spread(members)
    z = (target - mean) / sigma
    cumulative = 0.5 * (1.0 + torch.erf(z / math.sqrt(2.0)))
    mixed = z * (2.0 * math.sqrt(2.0 * math.pi) * cumulative - 1.0) + 2.0 * torch.exp(-0.5 * z**2)
    return _mean(sigma * (mixed - 1.0 / math.sqrt(math.pi)), weight)


def published_kernel_crps(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The published kernel CRPS: the fair value, but no gradient of its spread term: it trains plain MAE."""
    accuracy = (members - target).abs().mean(0)
    return _mean(accuracy + (fair_crps(members, target, weight) - _mean(accuracy, weight)).detach(), weight)


def fourier_coefficients(patch: Tensor) -> Tensor:
    """Real and imaginary parts of a patch's Fourier coefficients, as an isometry.

    ``[..., latitude, longitude]`` -> ``[..., ky, kx, 2]`` with the same sum of squares (Parseval's theorem):
    of each pair of conjugate coefficients one is kept, times the square root of 2.
    """
    columns = patch.shape[-1]
    coefficients = torch.view_as_real(torch.fft.rfft2(patch, norm="ortho"))
    pairs = torch.full((columns // 2 + 1, 1), 2.0, dtype=patch.dtype, device=patch.device)
    pairs[0] = 1.0
    if columns % 2 == 0:
        pairs[-1] = 1.0
    return coefficients * pairs.sqrt()


def taper(rows: int, columns: int) -> Tensor:
    """Hann window of a patch, ``[latitude, longitude]`` float64, with a mean square of 1."""
    y, x = (torch.sin(math.pi * (torch.arange(n).double() + 0.5) / n) ** 2 for n in (rows, columns))
    window = y[:, None] * x
    return window / window.square().mean().sqrt()


def spectral(members: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""CRPS of the Fourier coefficients of tapered patches ``[..., latitude, longitude]``.

    .. math:: \sum_k (1 + |k|)\, \mathrm{CRPS}(\hat x_k, \hat y_k) \,/\, \sum_k (1 + |k|),

    with :math:`\hat x` the coefficients of taper times field in both directions (real and imaginary parts)
    and :math:`|k|` in waves along the longer side of the patch.  A CRPS of a linear image of the field, so a
    proper score.  Unlike scores of single points it sees whether errors at neighbouring points belong
    together.  How different coefficients belong together it does not see, so that it hardly knows the spread
    near the edges of a patch: train with it beside such a score, not alone.

    ``weight`` may vary between patches only: ``[..., 1, 1]``.

    Raises
    ------
    UserError
        If the weight varies within patches.
    """
    rows, columns = target.shape[-2:]
    if weight is not None and weight.shape[-2:] != (1, 1):
        raise UserError("spectral weighs whole patches: give a weight [..., 1, 1], not one for each point")
    errors = (members - target) * taper(rows, columns).to(members)
    ky = torch.fft.fftfreq(rows, dtype=torch.float64)[:, None]
    kx = torch.fft.rfftfreq(columns, dtype=torch.float64)
    waves = (1.0 + max(rows, columns) * torch.hypot(ky, kx)).to(members)[..., None]
    coefficients = fourier_coefficients(errors)
    # the CRPS does not change when members and target are shifted together
    truth = torch.zeros_like(coefficients[0])
    return crps(coefficients, truth, waves if weight is None else weight[..., None] * waves)


def _by_name(*losses: Callable[..., Tensor]) -> dict[str, Callable[..., Tensor]]:
    return {loss.__name__: loss for loss in losses}


LOSSES = _by_name(
    mse, mse_ensemble, stats, stats_area, gaussian_crps, gaussian_likelihood, crps, fair_crps,
    published_crps, published_kernel_crps,
)  # fmt: skip
"""Losses of values in any order, by name."""

PATCH_LOSSES = _by_name(spectral)
"""Losses of whole patches ``[..., latitude, longitude]``, by name."""


def check_losses(names: Iterable[str]) -> None:
    """Raise a :class:`UserError` if a name is neither in :data:`LOSSES` nor in :data:`PATCH_LOSSES`."""
    for name in names:
        if name not in LOSSES | PATCH_LOSSES:
            raise UserError(f"there is no loss {name!r}; choose among {', '.join(LOSSES | PATCH_LOSSES)}")
