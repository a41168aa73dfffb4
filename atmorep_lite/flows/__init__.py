"""Two-dimensional flow on a periodic square: vortices to learn from, and the truth to compare models with.

>>> from atmorep_lite import flows
>>> trajectories = flows.vortex_trajectories(2, frames=3, seed=0)
>>> trajectories.shape
torch.Size([2, 3, 64, 64])
>>> forecast = flows.semi_lagrangian(trajectories[:, :2])
>>> forecast.shape
torch.Size([2, 64, 64])
"""

from atmorep_lite.flows.diagnostics import (
    SIDE,
    circulation,
    energy,
    enstrophy,
    grid,
    streamfunction,
    velocity,
)
from atmorep_lite.flows.gallery import gallery
from atmorep_lite.flows.interpolation import interpolate
from atmorep_lite.flows.transport import back_trajectory, diffuse, semi_lagrangian, trace_back
from atmorep_lite.flows.vortices import draw_vortices, elliptic_vortex, vortex_trajectories
from atmorep_lite.flows.vorticity import INTERVAL, VISCOSITY, solve

__all__ = [
    "INTERVAL",
    "SIDE",
    "VISCOSITY",
    "back_trajectory",
    "circulation",
    "diffuse",
    "draw_vortices",
    "elliptic_vortex",
    "energy",
    "enstrophy",
    "gallery",
    "grid",
    "interpolate",
    "semi_lagrangian",
    "solve",
    "streamfunction",
    "trace_back",
    "velocity",
    "vortex_trajectories",
]
