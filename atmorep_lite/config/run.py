"""A whole run: data, model, masking, training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from atmorep_lite.config.base import Strict
from atmorep_lite.config.masking import MaskingConfig
from atmorep_lite.config.model import ModelConfig
from atmorep_lite.config.training import TrainingConfig


class DataConfig(Strict):
    """Where the data are and how they are normalised.

    ``train`` and ``validation`` are paths, URLs, or the names of shipped samples; ``*_period`` cuts
    ``[first, last]`` (inclusive) out of them.

    ``workers``: processes that make batches ahead of time; 0 makes them where the network runs, which does
    for small data.  ``crops``: samples that share a window of time, so that slow disks are read less often;
    ``windows``: how many windows are then mixed.  Which samples are drawn depends on ``crops`` and
    ``windows``, not on ``workers``.
    """

    train: str
    validation: str
    train_period: tuple[str, str] | None = None
    validation_period: tuple[str, str] | None = None
    normalization: Literal[
        "global", "local", "anomaly", "monthly_global", "monthly_local", "monthly_anomaly"
    ] = "anomaly"
    workers: int = Field(default=0, ge=0)
    crops: int = Field(default=1, ge=1)
    windows: int = Field(default=64, ge=1)


class Config(Strict):
    """A whole run: data, model, masking, training."""

    data: DataConfig
    model: ModelConfig
    masking: MaskingConfig = MaskingConfig()
    training: TrainingConfig

    @model_validator(mode="after")
    def _forecast_fits(self) -> Config:
        first = self.model.fields[0]
        steps = self.masking.forecast_slots * first.token_size[0]
        for field in self.model.fields:
            if steps % field.token_size[0]:
                raise ValueError(
                    f"masking.forecast_slots hides {steps} time steps, which is not a whole number of "
                    f"tokens of {field.name} ({field.token_size[0]} steps each)"
                )
        drawn = [self.masking.forecast if s.forecast is None else s.forecast for s in self.training.stages]
        if any(drawn) and steps >= first.extent[0]:
            raise ValueError(
                f"masking.forecast_slots hides {steps} of {first.extent[0]} time steps; leave one token slot "
                "visible, or set masking.forecast to 0"
            )
        for stage in self.training.stages:
            self.masking.shares(stage.forecast)
        return self
