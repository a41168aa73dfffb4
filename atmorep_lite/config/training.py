"""How the model learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, field_validator

from atmorep_lite.config.base import Strict
from atmorep_lite.fields import find_name


class StageConfig(Strict):
    """A stretch of training: which part of the network learns, how long, how fast.

    ``short_leads`` divides the weight of an error by the distance in steps to the nearest visible state (part
    ``grid_skip``) or by the typical departure at that distance (other parts).  Errors grow with it, so that
    otherwise the longest leads make most of the loss.  ``root_errors`` (for the part ``grid_skip``) takes the
    root of the mean square of every variable and step, then their mean with weights distance**-1.5: what is
    forecast well counts as much as what is not.  The part ``regression`` is fitted in closed form to
    ``steps`` batches of forecasts; it has no rate.
    """

    part: Literal["all", "grid_skip", "regression", "transformer"] = "all"
    steps: int = Field(gt=0)
    batch_size: int = Field(default=8, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    short_leads: bool = False
    root_errors: bool = False
    forecast: float | None = Field(
        default=None, ge=0, le=1, description="overrides masking.forecast in this stage"
    )


class WeightsConfig(Strict):
    """How much a hidden token's error counts.

    ``area``: in proportion to the area of its grid cells, the cosine of latitude.  ``level="mass"``: in
    proportion to the mass of the layer around its pressure level, from halfway to the level above to halfway
    to the one below.  The published network's default losses have neither weight.

    Neighbourhoods are drawn by area already (:meth:`~atmorep_lite.data.sampling.Neighbourhoods.draw`): with
    ``area`` off, a square kilometre counts about the same everywhere; with it on, more at low latitudes.
    """

    area: bool = True
    level: Literal["none", "mass"] = "none"


class StartConfig(Strict):
    """Trained models that a run starts from (:mod:`atmorep_lite.transfer`).

    ``models``: model folders, or names of shipped models.  One model of the same fields: training goes on.
    Several: their fields are coupled.  ``new_fields`` are those that none of the models has.
    """

    models: tuple[str, ...] = Field(min_length=1)
    new_fields: tuple[str, ...] = ()

    @field_validator("new_fields")
    @classmethod
    def _canonical_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(find_name(name) or name for name in names)


class TrainingConfig(Strict):
    """Optimisation.  Each stage's learning rate rises over ``warmup`` steps and falls as a cosine to 0.

    ``loss``: names of losses (:mod:`atmorep_lite.losses`) and their factors, ``{crps: 1.0, spectral: 0.1}``.
    """

    stages: tuple[StageConfig, ...] = Field(min_length=1)
    loss: dict[str, PositiveFloat] = Field(default={"crps": 1.0}, min_length=1)
    weights: WeightsConfig = WeightsConfig()
    start: StartConfig | None = None
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=20, ge=0)
    clip: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=200, gt=0)
    checkpointing: bool = Field(
        default=False, description="compute layers again in the backward pass: less memory, more time"
    )
