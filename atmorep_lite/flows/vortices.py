"""Random elliptic vortices, and the trajectories from which the book's fluid models learn.

A vortex is a Gaussian hill of vorticity, stretched to an ellipse of the given eccentricity and turned:

    strength * exp(-(s^2 / a^2 + t^2 / b^2)),   a * b = radius^2,   eccentricity = sqrt(1 - b^2 / a^2),

with ``s``, ``t`` the distances along its long and short axis.  Its circulation ``pi * radius^2 * strength``
does not depend on the eccentricity.  Vortices of both signs are scaled so that all circulations add up to
zero, as they must on a periodic square.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atmorep_lite.errors import UserError
from atmorep_lite.flows.diagnostics import SIDE, grid
from atmorep_lite.flows.vorticity import INTERVAL, VISCOSITY, solve

BATCH = 8
"""Flows simulated together: more of them leave the processor's cache and share the shortest time step."""


def elliptic_vortex(
    points: int,
    *,
    y: Tensor,
    x: Tensor,
    radius: Tensor,
    strength: Tensor,
    eccentricity: Tensor,
    angle: Tensor,
) -> Tensor:
    """Elliptic Gaussian vortices ``[..., y, x]`` from their parameters ``[...]``, with periodic images.

    ``angle`` (radians) turns the long axis from the x axis counter-clockwise.
    """
    y, x, radius, strength, eccentricity, angle = (
        value[..., None, None] for value in (y, x, radius, strength, eccentricity, angle)
    )
    grid_y, grid_x = grid(points, dtype=x.dtype)
    ratio = (1 - eccentricity.square()).sqrt()  # of the axes, b / a
    long, short = radius / ratio.sqrt(), radius * ratio.sqrt()
    total = torch.zeros(())
    for image_y in (-SIDE, 0.0, SIDE):
        for image_x in (-SIDE, 0.0, SIDE):
            away_y, away_x = grid_y - y + image_y, grid_x - x + image_x
            along = away_x * angle.cos() + away_y * angle.sin()
            across = away_y * angle.cos() - away_x * angle.sin()
            total = total + torch.exp(-(along / long).square() - (across / short).square())
    return strength * total


def draw_vortices(
    count: int,
    *,
    generator: torch.Generator,
    points: int = 64,
    vortices: tuple[int, int] = (4, 8),
    radius: tuple[float, float] = (0.3, 0.6),
    strength: tuple[float, float] = (1.8, 3.8),
    eccentricity: tuple[float, float] = (0.0, 0.9),
) -> Tensor:
    """Draw ``count`` random scenes of elliptic vortices.

    Parameters
    ----------
    count
        Number of scenes.
    generator
        Source of randomness.  The first scenes do not depend on how many are drawn.
    points
        Grid points along a side.
    vortices, radius, strength, eccentricity
        Smallest and largest value; each is drawn uniformly between them.  The number of vortices includes
        both ends; half of them turn each way, but for one if it is odd.

    Returns
    -------
    Tensor
        Vorticity ``[count, y, x]``, float32, zero mean.

    Raises
    ------
    UserError
        If a range is empty or outside what has a meaning.
    """
    if points < 8 or points % 2:
        raise UserError(f"points, along a side, must be even and at least 8; got {points}.")
    _check_ranges(count, vortices, radius, strength, eccentricity)
    most = vortices[1]
    uniform = torch.rand(count, 6 * most + 2, generator=generator)
    number = vortices[0] + (uniform[:, :1] * (most - vortices[0] + 1)).floor()
    sign = uniform[:, 1:2]  # of the first vortex; then signs alternate
    y, x, size, peak, shape, angle = uniform[:, 2:].unflatten(1, (6, most)).unbind(1)
    size, peak, shape = (
        low + (high - low) * value
        for value, (low, high) in ((size, radius), (peak, strength), (shape, eccentricity))
    )
    signs = torch.where(torch.arange(most) % 2 == 0, 1.0, -1.0) * torch.where(sign < 0.5, -1.0, 1.0)
    peak = signs * peak * (torch.arange(most) < number)
    gained, lost = (
        (peak * size.square()).clamp(*ends).sum(1, keepdim=True) for ends in ((0, None), (None, 0))
    )
    peak = peak * torch.where(peak > 0, (-lost / gained).sqrt(), (-gained / lost).sqrt())
    scene = torch.zeros(count, points, points)
    for i in range(most):
        scene += elliptic_vortex(
            points,
            y=y[:, i] * SIDE,
            x=x[:, i] * SIDE,
            radius=size[:, i],
            strength=peak[:, i],
            eccentricity=shape[:, i],
            angle=angle[:, i] * SIDE / 2,
        )
    return scene - scene.mean((-2, -1), keepdim=True)


def vortex_trajectories(
    count: int,
    *,
    frames: int,
    seed: int,
    points: int = 64,
    eccentricity: tuple[float, float] = (0.0, 0.9),
    spin_up: float = 1.0,
    interval: float = INTERVAL,
    viscosity: float = VISCOSITY,
) -> Tensor:
    """Simulated trajectories of random elliptic vortices, for training and testing.

    Parameters
    ----------
    count, frames, seed
        Number of trajectories, of frames in each, and seed of the vortices.
    points
        Grid points along a side.
    eccentricity
        Range of the vortices' eccentricities; one above the default's tests generalisation.
    spin_up
        Time simulated before the first frame, in which the ellipses begin to turn and to deform.
    interval, viscosity
        As in :func:`solve`.

    Returns
    -------
    Tensor
        Vorticity ``[trajectory, frame, y, x]``, float32.  Flows are solved in batches of 8, each with the
        time step of its fastest flow, so the first trajectories depend on ``count`` by the error of the steps
        (relative: about 1e-4 after 24 frames).

    Raises
    ------
    UserError
        If an argument is out of range.
    """
    if spin_up < 0:
        raise UserError(f"spin_up is a time and cannot be negative; got {spin_up}.")
    generator = torch.Generator().manual_seed(seed)
    start = draw_vortices(count, generator=generator, points=points, eccentricity=eccentricity)
    batches = []
    for batch in start.split(BATCH):
        first = solve(batch, frames=2, interval=spin_up, viscosity=viscosity)[:, -1] if spin_up else batch
        batches.append(solve(first, frames=frames, interval=interval, viscosity=viscosity))
    return torch.cat(batches)


def _check_ranges(
    count: int,
    vortices: tuple[int, int],
    radius: tuple[float, float],
    strength: tuple[float, float],
    eccentricity: tuple[float, float],
) -> None:
    if count < 1:
        raise UserError(f"count is the number of scenes and must be at least 1; got {count}.")
    if not 2 <= vortices[0] <= vortices[1]:
        raise UserError(f"vortices must be (fewest, most) with at least 2, one of each sign; got {vortices}.")
    if not 0 < radius[0] <= radius[1] <= 1.5:
        raise UserError(f"radius must be (smallest, largest) between 0 and 1.5; got {radius}.")
    if not 0 < strength[0] <= strength[1]:
        raise UserError(f"strength must be (smallest, largest), positive; signs are drawn. Got {strength}.")
    if not 0 <= eccentricity[0] <= eccentricity[1] < 1:
        raise UserError(f"eccentricity must be (lowest, highest) with 0 <= e < 1; got {eccentricity}.")
