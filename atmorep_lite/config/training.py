"""How the model learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from atmorep_lite.config.base import Strict
from atmorep_lite.fields import find_name


class StageConfig(Strict):
    """A stretch of training: which part of the network learns, how long, how fast.

    ``batch_size`` counts the samples of one step over all processes and micro-batches.  ``short_leads``
    divides the weight of an error by the distance in steps to the nearest visible state (part
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
    ``statistics``: with ``carry`` the data are normalised as the models' were, and only what the models have
    not seen (fields, levels) is measured; with ``refit`` all is measured anew on the training record, which
    another grid, another climate or another time step asks for.
    """

    models: tuple[str, ...] = Field(min_length=1)
    new_fields: tuple[str, ...] = ()
    statistics: Literal["carry", "refit"] = "carry"

    @field_validator("new_fields")
    @classmethod
    def _canonical_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(find_name(name) or name for name in names)


class GuardConfig(Strict):
    """What happens when a step goes wrong.

    A loss or a gradient that is no number always counts as wrong; with ``spike`` also one that exceeds this
    many times its running median.  ``stop`` ends the run and names the samples; ``skip`` leaves the step out.
    """

    spike: float | None = Field(default=None, gt=1)
    action: Literal["stop", "skip"] = "stop"


class LoraConfig(Strict):
    """Low-rank corrections of frozen matrices, ``W + alpha / rank * B A`` (Hu et al. 2022, arXiv:2106.09685).

    ``layers``: patterns (as of file names) of the names of the linear layers that get one; by default those
    of every attention.
    """

    rank: int = Field(default=8, gt=0)
    alpha: float = Field(default=16.0, gt=0)
    layers: tuple[str, ...] = Field(default=("*.qkv", "*_q", "*_kv*", "*.out"), min_length=1)


class TrainingConfig(Strict):
    """Optimisation.

    ``schedule`` of each stage's learning rate: ``cosine`` rises over ``warmup`` steps and falls as a cosine
    to 0, ``constant`` rises and stays, ``published`` repeats that of the published coupled model in epochs of
    512 steps, whatever ``warmup``: from half the rate to all of it in the third, then divided by 1.025 each,
    down to half.

    ``loss``: names of losses (:mod:`atmorep_lite.losses`) and their factors, ``{crps: 1.0, spectral: 0.1}``.

    ``accumulate``: every process computes its share of a batch in so many parts, one after the other, and
    adds up the gradients: less memory, the same step.  ``precision: bfloat16`` multiplies matrices in 16 bits
    and keeps weights and sums in 32.  ``parallel`` matters on several processes: ``ddp`` gives each the whole
    model, ``fsdp`` an equal share of every weight, gathered when needed.  ``ema``: the weights that are
    saved at the end are a running mean with this decay, for example 0.999.

    ``keep``: how many checkpoints stay.  ``validate_every``: how many steps apart the loss and the scores on
    the validation record are computed; if None, the loss with every checkpoint and scores after each stage.
    ``freeze``: patterns (as of file names) of the names of parameters that do not learn.

    ``trackers``: who receives the numbers of every step besides ``log.csv`` and ``scores.csv``:
    ``tensorboard`` (event files in the run folder), ``wandb``, ``mlflow`` (both if installed; without an
    account or server they write into the run folder).  One that fails is told once and left out.
    """

    stages: tuple[StageConfig, ...] = Field(min_length=1)
    loss: dict[str, PositiveFloat] = Field(default={"crps": 1.0}, min_length=1)
    weights: WeightsConfig = WeightsConfig()
    start: StartConfig | None = None
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "published", "constant"] = "cosine"
    warmup: int = Field(default=20, ge=0)
    clip: float = Field(default=1.0, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    accumulate: int = Field(default=1, gt=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = Field(default=False, description="compile the model's blocks with torch.compile")
    checkpointing: bool = Field(
        default=False, description="compute layers again in the backward pass: less memory, more time"
    )
    parallel: Literal["ddp", "fsdp"] = "ddp"
    freeze: tuple[str, ...] = ()
    lora: LoraConfig | None = None
    guard: GuardConfig = GuardConfig()
    checkpoint_every: int = Field(default=200, gt=0)
    keep: int = Field(default=2, gt=0)
    validate_every: int | None = Field(default=None, gt=0)
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)

    @model_validator(mode="after")
    def _parts_of_a_batch(self) -> TrainingConfig:
        for index, stage in enumerate(self.stages):
            if stage.part != "regression" and stage.batch_size % self.accumulate:
                raise ValueError(
                    f"stages.{index} has batch_size {stage.batch_size}, which cannot be accumulated in "
                    f"{self.accumulate} equal parts; choose a multiple"
                )
        return self
