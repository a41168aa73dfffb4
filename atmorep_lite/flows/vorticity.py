"""A solver for two-dimensional incompressible flow, in the form of one equation for the vorticity.

    d(vorticity)/dt + u d(vorticity)/dx + v d(vorticity)/dy = viscosity * Laplacian(vorticity)

on the periodic square of side 2 pi, with the wind ``(u, v)`` from the vorticity itself
(:mod:`atmorep_lite.flows.diagnostics`).  The wind carries vorticity like dye, and the dye makes the wind.

The method is pseudo-spectral: derivatives in Fourier space, products at grid points.  A product of two waves
holds their sum; what exceeds the grid would come back as a false longer wave.  Keeping only ``|k| < n / 3``
prevents this (Orszag 1971, the two-thirds rule), so without viscosity energy and enstrophy change only by the
error of the time step.  Time steps are fourth-order Runge-Kutta; viscosity is integrated exactly by an
integrating factor ``exp(-viscosity |k|^2 t)`` (Canuto et al. 2006).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atmorep_lite.errors import UserError
from atmorep_lite.flows.diagnostics import check_field, two_thirds, velocity_operators, wave_numbers

INTERVAL = 0.5
"""Time between two frames."""
VISCOSITY = 1e-3
"""Viscosity of the flows that the book trains on.

With 64 points a side the finest filaments are not quite resolved: after one frame a flow differs by about 2 %
(relative L2) from one of 128 points.  A model that learns from 64 points learns the flow of 64 points.
"""


def solve(
    vorticity: Tensor,
    *,
    frames: int,
    interval: float = INTERVAL,
    viscosity: float = VISCOSITY,
    mean_flow: tuple[float, float] = (0.0, 0.0),
    courant: float = 1.5,
    steps: int | None = None,
) -> Tensor:
    """Integrate the vorticity equation.

    Parameters
    ----------
    vorticity
        Initial state ``[..., y, x]``; leading axes are independent flows.  Computed in its own precision:
        float32 differs from float64 by less than the time steps' own error, and is faster.
    frames
        Number of states to return, the first of them the initial one.
    interval
        Time between frames.
    viscosity
        Kinematic viscosity; 0 is allowed, but then fine structure piles up at the smallest scales.
    mean_flow
        Constant wind ``(u, v)`` in addition to the one that the vorticity makes.
    courant
        Limit of ``step * max(|u| + |v|) * largest wave number``, from which the number of steps follows anew
        in each frame.  Runge-Kutta's limit of stability is 2.8.
    steps
        Number of time steps per frame, instead of the automatic one.

    Returns
    -------
    Tensor
        ``[..., frame, y, x]``.  Waves of ``n / 3`` and shorter are dropped, in frame 0 too.

    Raises
    ------
    UserError
        If an argument is out of range, or the solution grows without bound.
    """
    points = check_field(vorticity)
    _check_options(frames=frames, interval=interval, viscosity=viscosity, courant=courant, steps=steps)
    equation = _Equation(points, vorticity.dtype, viscosity, mean_flow)
    spectrum = torch.fft.rfft2(vorticity) * equation.keep
    states = [equation.to_grid(spectrum)]
    for frame in range(1, frames):
        count = steps or max(1, math.ceil(interval * equation.rate(spectrum) / courant))
        for _ in range(count):
            spectrum = equation.step(spectrum, interval / count)
        states.append(equation.to_grid(spectrum))
        if not torch.isfinite(states[-1]).all():
            raise UserError(
                f"The flow grew without bound in frame {frame}, in {count} steps of {interval / count:.3g}: "
                "expected a stable time step; take more steps or a smaller courant number, or leave both out."
            )
    return torch.stack(states, dim=-3)


class _Equation:
    """The vorticity equation in Fourier space, with what depends on the grid computed once."""

    def __init__(
        self, points: int, dtype: torch.dtype, viscosity: float, mean_flow: tuple[float, float]
    ) -> None:
        ky, kx = wave_numbers(points, dtype=dtype)
        self.points = points
        self.largest = (points - 1) // 3
        self.keep = two_thirds(points, dtype=dtype)
        self.wind = velocity_operators(points, dtype=dtype) * self.keep
        self.curl = torch.stack([kx**2 - ky**2, ky * kx]) * self.keep
        self.decay = viscosity * (ky**2 + kx**2)
        self.mean_flow = torch.tensor(mean_flow, dtype=dtype)

    def to_grid(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=(self.points, self.points))

    def velocity(self, spectrum: Tensor) -> Tensor:
        """``(u, v)`` as ``[..., 2, y, x]``."""
        return self.to_grid(self.wind * spectrum.unsqueeze(-3)) + self.mean_flow[:, None, None]

    def rate(self, spectrum: Tensor) -> float:
        """Fastest turning of a phase by advection: ``max(|u| + |v|)`` times the largest wave number."""
        return float(self.velocity(spectrum).abs().sum(-3).max()) * self.largest

    def advection(self, spectrum: Tensor) -> Tensor:
        """``-(u, v) . grad(vorticity)``, as ``(d2/dy2 - d2/dx2)(u v) + d2/dxdy (u^2 - v^2)``.

        The two are equal because the wind has no divergence: this is minus the curl of the divergence of the
        momentum flux.  It takes four Fourier transforms, the first form five.
        """
        u, v = self.velocity(spectrum).unbind(-3)
        flux = torch.fft.rfft2(torch.stack([u * v, (v - u) * (v + u)], dim=-3))
        return (self.curl * flux).sum(-3)

    def step(self, start: Tensor, step: float) -> Tensor:
        """One Runge-Kutta step of the variable ``exp(viscosity |k|^2 t) * vorticity_k``."""
        half = torch.exp(-self.decay * (step / 2))
        first = self.advection(start)
        second = self.advection(half * (start + step / 2 * first))
        third = self.advection(half * start + step / 2 * second)
        fourth = self.advection(half * (half * start + step * third))
        return half * (half * (start + step / 6 * first) + step / 3 * (second + third)) + step / 6 * fourth


def _check_options(
    *, frames: int, interval: float, viscosity: float, courant: float, steps: int | None
) -> None:
    if frames < 1:
        raise UserError(f"frames counts the states to return and must be at least 1; got {frames}.")
    if not (interval > 0 and math.isfinite(interval)):
        raise UserError(f"interval is the time between frames and must be positive; got {interval}.")
    if not (viscosity >= 0 and math.isfinite(viscosity)):
        raise UserError(f"viscosity must be zero or positive; got {viscosity}.")
    if not courant > 0:
        raise UserError(f"courant must be positive (2.8 is the limit of stability); got {courant}.")
    if steps is not None and steps < 1:
        raise UserError(f"steps is the number of time steps per frame and must be at least 1; got {steps}.")
