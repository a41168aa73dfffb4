"""Forecasters of a two-dimensional fluid, all with one interface: three frames in, the next frame out."""

from atmorep_lite.zoo.fno import FNO
from atmorep_lite.zoo.forecaster import (
    linear_extrapolation,
    one_step_error,
    persistence,
    relative_error,
    rollout,
    rollout_errors,
    windows,
)
from atmorep_lite.zoo.linear import FourierDiagonal, RidgeStencil
from atmorep_lite.zoo.train import FitProgress, fit
from atmorep_lite.zoo.vortexformer import VortexFormer, VortexFormerConfig

__all__ = [
    "FNO",
    "FitProgress",
    "FourierDiagonal",
    "RidgeStencil",
    "VortexFormer",
    "VortexFormerConfig",
    "fit",
    "linear_extrapolation",
    "one_step_error",
    "persistence",
    "relative_error",
    "rollout",
    "rollout_errors",
    "windows",
]
