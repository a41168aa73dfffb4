"""Named initial conditions, each with a flow that is known by name."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atmorep_lite.errors import UserError
from atmorep_lite.flows.diagnostics import SIDE, grid
from atmorep_lite.flows.vortices import elliptic_vortex


def gallery(points: int = 64) -> dict[str, Tensor]:
    """Initial vorticity ``[y, x]`` by name, float32, zero mean.

    - ``dipole``: two opposite vortices that carry each other along.
    - ``merger``: two like vortices, close enough to become one.
    - ``ellipse``: one long vortex, which turns, sheds filaments and becomes round.
    - ``tripole``: a core between two opposite satellites, turning as a whole.
    - ``shear layer``: two opposite layers with a small wave, which roll up (Kelvin and Helmholtz).
    - ``Taylor-Green``: cells that keep their shape and only decay.

    Raises
    ------
    UserError
        If ``points`` is odd or below 16.
    """
    if points < 16 or points % 2:
        raise UserError(f"points, along a side, must be even and at least 16; got {points}.")
    y, x = grid(points)
    width = 0.2
    layers = torch.exp(-(((y - SIDE / 4) / width) ** 2)) - torch.exp(-(((y - 3 * SIDE / 4) / width) ** 2))
    scenes = {
        "dipole": _vortices(points, (0.35, 1.5, 0.4, 5.0), (-0.35, 1.5, 0.4, -5.0)),
        "merger": _vortices(points, (0.0, math.pi - 0.5, 0.4, 4.0), (0.0, math.pi + 0.5, 0.4, 4.0)),
        "ellipse": _vortices(points, (0.0, math.pi, 0.7, 4.0), eccentricity=0.95),
        "tripole": _vortices(
            points,
            (0.0, math.pi, 0.5, 5.0),
            (0.1, math.pi - 0.9, 0.4, -3.0),
            (-0.1, math.pi + 0.9, 0.4, -3.0),
        ),
        "shear layer": 4.0 * layers * (1 + 0.05 * torch.cos(2 * x)),
        "Taylor-Green": 2.0 * torch.sin(2 * x) * torch.sin(2 * y),
    }
    return {name: scene - scene.mean() for name, scene in scenes.items()}


def _vortices(points: int, *vortices: tuple[float, ...], eccentricity: float = 0.0) -> Tensor:
    """Sum of vortices given as ``(y from the middle, x, radius, strength)``."""
    y, x, radius, strength = torch.tensor(vortices).unbind(1)
    shape = torch.full_like(y, eccentricity)
    return elliptic_vortex(
        points,
        y=y + math.pi,
        x=x,
        radius=radius,
        strength=strength,
        eccentricity=shape,
        angle=torch.zeros_like(y),
    ).sum(0)
