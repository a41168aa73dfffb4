"""Flows whose solution is known in closed form, and symmetries of the square."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atmorep_lite.flows import grid

MIDDLE = math.pi
RADIUS = 0.6


def double_grid(points: int) -> tuple[Tensor, Tensor]:
    return grid(points, dtype=torch.float64)


def taylor_green(
    points: int, *, time: float, viscosity: float, mean_flow: tuple[float, float] = (0, 0)
) -> Tensor:
    """An eigenfunction of the Laplacian: carried by the mean flow, it decays at the rate 5 * viscosity."""
    y, x = double_grid(points)
    y, x = y - mean_flow[1] * time, x - mean_flow[0] * time
    return math.exp(-5 * viscosity * time) * (torch.sin(x) * torch.cos(2 * y) + 0.5 * torch.cos(2 * x + y))


def shielded_vortex(
    points: int, *, strength: float = 3.0, time: float = 0.0, viscosity: float = 0.0
) -> Tensor:
    """Round vortex with no circulation, hence no wind outside, hence steady on a periodic square too.

    Its streamfunction is a Gaussian that spreads as the heat equation says: radius^2 grows by 4 viscosity t.
    """
    y, x = double_grid(points)
    square = (y - MIDDLE) ** 2 + (x - MIDDLE) ** 2
    wide = RADIUS**2 + 4 * viscosity * time
    return strength * (RADIUS**2 / wide) ** 2 * (1 - square / wide) * torch.exp(-square / wide)


def angular_velocity(distance: Tensor, *, strength: float = 3.0) -> Tensor:
    """Radians per time at which fluid turns around the centre of :func:`shielded_vortex`."""
    return strength / 2 * torch.exp(-((distance / RADIUS) ** 2))


def smooth_noise(points: int, *, seed: int = 0, count: int = 1, largest: int = 5) -> Tensor:
    """Random vorticity ``[count, y, x]`` of long waves only, float64, zero mean, rms 1."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfft2(torch.randn(count, points, points, dtype=torch.float64, generator=generator))
    k = torch.fft.fftfreq(points, 1 / points, dtype=torch.float64)
    wave = (k[:, None] ** 2 + k[None, : points // 2 + 1] ** 2).sqrt()
    field = torch.fft.irfft2(spectrum * ((wave > 0) & (wave <= largest)), s=(points, points))
    return field / field.square().mean((-2, -1), keepdim=True).sqrt()


def mirror(field: Tensor) -> Tensor:
    """The field at ``-x``."""
    return field.flip(-1).roll(1, -1)


def quarter_turn(field: Tensor) -> Tensor:
    """The field turned counter-clockwise about the origin: value at ``(y, x)`` is that at ``(-x, y)``."""
    return mirror(field.transpose(-1, -2))


def relative(guess: Tensor, truth: Tensor) -> float:
    return float((guess - truth).norm() / truth.norm())
