"""What a vorticity field says about its flow: streamfunction, velocity, energy, enstrophy, circulation.

The domain is the periodic square of side 2 pi, fields are ``[..., y, x]`` with ``n x n`` points at
``2 pi i / n``.  A flow without divergence has a streamfunction,

    u = -d(psi)/dy,   v = d(psi)/dx,   vorticity = dv/dx - du/dy = Laplacian(psi),

so the wind follows from the vorticity by inverting a Laplacian, which in Fourier space is a division:
``psi_k = -vorticity_k / |k|^2``.  This is the periodic form of the law of Biot and Savart: every vortex moves
the fluid everywhere.  The mean of the vorticity (``k = 0``) moves nothing; in a periodic flow it is zero.

Derivatives are exact for all wave numbers below the highest, ``n / 2``, whose derivative cannot be told from
zero on the grid and is set to zero (Canuto et al. 2006, section 2.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atmorep_lite.errors import UserError

SIDE = 2 * math.pi
"""Length of the side of the periodic square."""


def grid(points: int, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Coordinates ``(y, x)`` of the grid points, each ``[y, x]``, from 0 up to but without 2 pi."""
    axis = torch.arange(points, dtype=torch.float64) * (SIDE / points)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return y.to(dtype), x.to(dtype)


def wave_numbers(points: int, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Wave numbers ``ky`` ``[ky, 1]`` and ``kx`` ``[1, kx]`` in the order of ``torch.fft.rfft2``."""
    ky = torch.fft.fftfreq(points, 1 / points, dtype=dtype)[:, None]
    kx = torch.fft.rfftfreq(points, 1 / points, dtype=dtype)[None, :]
    return ky, kx


def two_thirds(points: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """1 for the waves that the solver keeps, ``|k| < n / 3``, else 0: ``[ky, kx]`` (Orszag 1971)."""
    ky, kx = wave_numbers(points, dtype=dtype)
    largest = (points - 1) // 3
    return ((ky.abs() <= largest) & (kx <= largest)).to(dtype)


def check_field(field: Tensor, name: str = "vorticity") -> int:
    """Number ``n`` of points along a side of ``[..., n, n]``.

    Raises
    ------
    UserError
        If it is not a tensor of finite real numbers on a square with an even number of at least 8 points.
    """
    if not isinstance(field, Tensor) or not field.is_floating_point():
        raise UserError(f"{name} must be a floating-point torch tensor [..., y, x]; got {_kind(field)}.")
    if field.device.type != "cpu":
        raise UserError(f"flows are computed on the CPU; {name} is on {field.device}, pass {name}.cpu().")
    if field.dtype not in (torch.float32, torch.float64):
        raise UserError(f"{name} must be float32 or float64; got {field.dtype}, pass {name}.float().")
    if field.ndim < 2 or field.shape[-1] != field.shape[-2] or field.shape[-1] < 8 or field.shape[-1] % 2:
        raise UserError(
            f"{name} must be [..., y, x] on a square with an even number of at least 8 points a side; "
            f"got the shape {tuple(field.shape)}."
        )
    if not torch.isfinite(field).all():
        raise UserError(f"{name} holds values that are not finite; fill or remove them first.")
    return field.shape[-1]


def _kind(value: object) -> str:
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def inverse_laplacian(points: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Factor ``[ky, kx]`` from the spectrum of the vorticity to that of the streamfunction, ``-1 / |k|^2``.

    It is zero for the mean, which has no streamfunction.
    """
    ky, kx = wave_numbers(points, dtype=dtype)
    square = ky**2 + kx**2
    square[0, 0] = torch.inf
    return -1 / square


def velocity_operators(points: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Factors ``[2, ky, kx]`` from the spectrum of the vorticity to those of u and of v."""
    ky, kx = (k * (k.abs() < points / 2) for k in wave_numbers(points, dtype=dtype))
    inverse = inverse_laplacian(points, dtype=dtype)
    return torch.stack([-1j * ky * inverse, 1j * kx * inverse])


def streamfunction(vorticity: Tensor) -> Tensor:
    """Streamfunction ``[..., y, x]`` whose Laplacian is the vorticity less its mean; its own mean is zero."""
    points = check_field(vorticity)
    psi = torch.fft.rfft2(vorticity) * inverse_laplacian(points, dtype=vorticity.dtype)
    return torch.fft.irfft2(psi, s=(points, points))


def velocity(vorticity: Tensor) -> tuple[Tensor, Tensor]:
    """Wind ``(u, v)`` along x and y, each ``[..., y, x]``, of a vorticity field; the wind's mean is zero.

    Raises
    ------
    UserError
        If the field is not a finite real tensor on a square.
    """
    points = check_field(vorticity)
    spectrum = torch.fft.rfft2(vorticity)
    to_u, to_v = velocity_operators(points, dtype=vorticity.dtype)
    u, v = (torch.fft.irfft2(factor * spectrum, s=(points, points)) for factor in (to_u, to_v))
    return u, v


def energy(vorticity: Tensor) -> Tensor:
    """Kinetic energy per area ``<u^2 + v^2> / 2``, ``[...]``.

    It falls at the rate ``2 * viscosity * enstrophy``.
    """
    u, v = velocity(vorticity)
    return (u.square() + v.square()).mean((-2, -1)) / 2


def enstrophy(vorticity: Tensor) -> Tensor:
    """Enstrophy per area ``<vorticity^2> / 2``, ``[...]``."""
    check_field(vorticity)
    return vorticity.square().mean((-2, -1)) / 2


def circulation(vorticity: Tensor) -> Tensor:
    """Integral of the vorticity over the square, ``[...]``; zero in a periodic flow."""
    check_field(vorticity)
    return vorticity.mean((-2, -1)) * SIDE**2
