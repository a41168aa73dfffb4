"""Following the fluid: where it came from, and a forecast made from nothing but that.

Without viscosity a particle keeps its vorticity, so the next frame is the present one, read where the
particles come from.  Such a *semi-Lagrangian* forecast (Staniforth and Côté 1991) needs the wind on the way:

    d(position)/dt = (u, v)(position, t),   integrated backwards from every grid point.

Positions are ``(y, x)`` on the last axis, and departures are given as displacements, which do not jump where
the square closes: arrival point + displacement = departure point.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from atmorep_lite.errors import UserError
from atmorep_lite.flows.diagnostics import check_field, grid, velocity, wave_numbers
from atmorep_lite.flows.interpolation import evaluate, interpolate, spline_coefficients
from atmorep_lite.flows.vorticity import INTERVAL, VISCOSITY, solve


def trace_back(u: Tensor, v: Tensor, *, duration: float, points: Tensor | None = None) -> Tensor:
    """Follow the fluid backwards through a sequence of winds.

    Parameters
    ----------
    u, v
        Wind ``[..., time, y, x]`` at an odd number of equally spaced times; the first is ``duration`` before
        the last.  A time step of the fourth-order Runge-Kutta method spans two of their intervals.
    duration
        Time between the first and the last wind.
    points
        Where the fluid is at the last time, positions ``[..., point, 2]`` as ``(y, x)``; default: at the grid
        points, in which case the result is ``[..., y, x, 2]``.

    Returns
    -------
    Tensor
        Displacement ``(y, x)``, ``[..., point, 2]``, from there to where the fluid was at the first time.

    Raises
    ------
    UserError
        If the winds do not fit each other or their number is even.
    """
    side = check_field(u, "u")
    check_field(v, "v")
    if u.shape != v.shape or u.ndim < 3 or u.shape[-3] % 2 == 0 or u.shape[-3] < 3:
        raise UserError(
            "u and v must be alike, [..., time, y, x] with an odd number of at least 3 times; "
            f"got {tuple(u.shape)} and {tuple(v.shape)}."
        )
    on_grid = points is None
    if points is None:
        points = torch.stack(grid(side, dtype=u.dtype), dim=-1).flatten(0, 1)
    elif points.ndim < 2 or points.shape[-1] != 2:
        raise UserError(f"points must be positions [..., point, 2] as (y, x); got {tuple(points.shape)}.")
    points = points.to(u)
    winds = spline_coefficients(torch.stack([v, u], dim=-3)).movedim(-4, 0)  # [time, ..., 2, y, x]

    def wind(time: int, position: Tensor) -> Tensor:
        y, x = position.unsqueeze(-3).unbind(-1)
        return evaluate(winds[time], y, x).movedim(-2, -1)

    step = 2 * duration / (u.shape[-3] - 1)
    moved = torch.zeros_like(points)
    for now in range(u.shape[-3] - 1, 0, -2):
        first = wind(now, points + moved)
        second = wind(now - 1, points + moved - step / 2 * first)
        third = wind(now - 1, points + moved - step / 2 * second)
        fourth = wind(now - 2, points + moved - step * third)
        moved = moved - step / 6 * (first + 2 * second + 2 * third + fourth)
    return moved.unflatten(-2, (side, side)) if on_grid else moved


def back_trajectory(
    vorticity: Tensor,
    *,
    frames: int = 1,
    interval: float = INTERVAL,
    viscosity: float = VISCOSITY,
    mean_flow: tuple[float, float] = (0.0, 0.0),
    points: Tensor | None = None,
    substeps: int = 4,
) -> Tensor:
    """Where the fluid that a flow solves to have at each point was some frames earlier.

    The wind between frames is not interpolated: the flow is solved anew from the earlier frame, with
    ``2 * substeps`` states per frame.

    Parameters
    ----------
    vorticity
        The earlier frame, ``[..., y, x]``, at which the fluid departs.
    frames
        Number of frames from departure to arrival.
    interval, viscosity, mean_flow
        As the flow was solved with.
    points
        Where the fluid arrives, ``[..., point, 2]`` as ``(y, x)``; default: at the grid points.
    substeps
        Time steps of the back-trajectory per frame.

    Returns
    -------
    Tensor
        Displacement ``(y, x)`` from arrival to departure, ``[..., y, x, 2]``, or ``[..., point, 2]`` with
        ``points``.  It points upstream.

    Raises
    ------
    UserError
        If an argument is out of range.
    """
    if frames < 1 or substeps < 1:
        raise UserError(f"frames and substeps must be at least 1; got {frames} and {substeps}.")
    count = 2 * substeps * frames
    states = solve(
        vorticity,
        frames=count + 1,
        interval=interval / (2 * substeps),
        viscosity=viscosity,
        mean_flow=mean_flow,
    )
    u, v = velocity(states)
    return trace_back(u + mean_flow[0], v + mean_flow[1], duration=interval * frames, points=points)


def semi_lagrangian(
    frames: Tensor,
    *,
    wind: Literal["frozen", "extrapolated", "true"] = "extrapolated",
    future: Tensor | None = None,
    interval: float = INTERVAL,
    viscosity: float = VISCOSITY,
    mean_flow: tuple[float, float] = (0.0, 0.0),
    substeps: int = 2,
) -> Tensor:
    """Forecast the next frame by carrying the vorticity with a guess of the wind.

    Parameters
    ----------
    frames
        Vorticity ``[..., frame, y, x]``, the newest last.
    wind
        ``"frozen"``: that of the newest frame.  ``"extrapolated"``: on the straight line through the last two
        frames.  ``"true"``: on the line between the newest frame and ``future``; no forecast, as it uses what
        is to be forecast, but the best that carrying with two winds can do.
    future
        The frame to be forecast, ``[..., y, x]``, for ``wind="true"`` only.
    interval
        Time between frames.
    viscosity
        Applied after carrying, exactly; 0 to leave it out.
    mean_flow
        Constant wind ``(u, v)`` in addition to the one that the vorticity makes.
    substeps
        Time steps of the back-trajectories.

    Returns
    -------
    Tensor
        Vorticity ``[..., y, x]`` one frame later.

    Raises
    ------
    UserError
        If ``wind`` is none of these, or lacks a frame that it needs.
    """
    points = check_field(frames, "frames")
    if substeps < 1:
        raise UserError(f"substeps counts the steps of the back-trajectories, at least 1; got {substeps}.")
    if wind not in ("frozen", "extrapolated", "true"):
        raise UserError(f"wind must be 'frozen', 'extrapolated' or 'true'; got {wind!r}.")
    needed = 2 if wind == "extrapolated" else 1
    if frames.ndim < 3 or frames.shape[-3] < needed:
        raise UserError(
            f"frames must be [..., frame, y, x] with {needed} or more frames for wind={wind!r}; "
            f"got {tuple(frames.shape)}."
        )
    if (future is None) == (wind == "true"):
        raise UserError("future, the frame to be forecast, goes with wind='true' and with nothing else.")
    newest = frames[..., -1, :, :]
    if future is not None and future.shape != newest.shape:
        raise UserError(f"future must be {tuple(newest.shape)}, like one frame; got {tuple(future.shape)}.")
    if wind == "frozen":
        change = torch.zeros_like(newest)
    elif future is None:
        change = newest - frames[..., -2, :, :]
    else:
        change = future - newest
    times = torch.linspace(0, 1, 2 * substeps + 1, dtype=frames.dtype)[:, None, None]
    u, v = velocity(newest.unsqueeze(-3) + times * change.unsqueeze(-3))
    moved = trace_back(u + mean_flow[0], v + mean_flow[1], duration=interval)
    y, x = (torch.stack(grid(points, dtype=frames.dtype), dim=-1) + moved).flatten(-3, -2).unbind(-1)
    carried = interpolate(newest, y, x).unflatten(-1, (points, points))
    return diffuse(carried, viscosity * interval)


def diffuse(field: Tensor, amount: float) -> Tensor:
    """Solve the heat equation, ``amount`` being viscosity times time: ``[..., y, x]`` -> smoother."""
    check_field(field, "field")
    if not amount >= 0:
        raise UserError(f"amount is viscosity times time and cannot be negative; got {amount}.")
    ky, kx = wave_numbers(field.shape[-1], dtype=field.dtype)
    decay = torch.exp(-amount * (ky**2 + kx**2))
    return torch.fft.irfft2(torch.fft.rfft2(field) * decay, s=field.shape[-2:])
