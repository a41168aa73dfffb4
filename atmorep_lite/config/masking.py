"""What is hidden from the model, and how often."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from atmorep_lite.config.base import Strict
from atmorep_lite.errors import UserError

#: What a model can be asked for, by name (:mod:`atmorep_lite.masking`).
TASKS = (
    "random",
    "forecast",
    "hindcast",
    "interpolation",
    "level",
    "field",
    "crop",
    "box",
    "swath",
    "lost_swath",
)


class MaskingConfig(Strict):
    """Which tasks the model learns from, how often, and how much each hides (:mod:`atmorep_lite.masking`).

    ``tasks`` gives the relative weights of tasks, by name (:data:`TASKS`); each sample of a batch draws its
    own.  Without it, a sample is a forecast with probability ``forecast``, else tokens are hidden at random.

    - ``random``: a fraction of the tokens of each field and level, uniform from 0 to ``max_rate``; with
      probability ``whole_field`` one field altogether as well.
    - ``forecast``, ``hindcast``, ``interpolation``: ``forecast_slots`` token slots (of the first field) at
      the end, ``hindcast_slots`` at the beginning, ``interpolation_slots`` in between.
    - ``level``: ``hidden_levels`` levels of all fields.  ``field``: one predicted field.
    - ``crop``, ``box``: what lies outside or inside a box whose sides are a fraction of the neighbourhood's,
      uniform between the two ``box_sides``.
    - ``swath``, ``lost_swath``: what lies outside a satellite's swaths, or inside one of them.
      ``swath_width`` in degrees of arc, ``swath_spacing`` in degrees of longitude from one orbit to the next,
      ``swath_inclination`` of the orbit in degrees.

    For models of the field itself, tokens hidden at random are spoilt instead: with probability ``zero`` set
    to 0, ``noise`` mixed with noise, ``coarse`` shown at a resolution lower by up to ``coarse_factor``.
    """

    tasks: dict[str, float] | None = None
    forecast: float = Field(default=0.5, ge=0, le=1)
    forecast_slots: int = Field(default=1, ge=1)
    hindcast_slots: int = Field(default=1, ge=1)
    interpolation_slots: int = Field(default=1, ge=1)
    max_rate: float = Field(default=0.5, gt=0, le=1)
    whole_field: float = Field(default=0.0, ge=0, le=1)
    hidden_levels: int = Field(default=1, ge=1)
    box_sides: tuple[float, float] = (0.25, 0.75)
    swath_width: float = Field(default=10.0, gt=0, lt=180)
    swath_spacing: float = Field(default=25.0, gt=0, le=360)
    swath_inclination: float = Field(default=98.7, gt=0, lt=180)
    zero: float = Field(default=0.9, ge=0, le=1)
    noise: float = Field(default=0.2, ge=0, le=1)
    coarse: float = Field(default=0.05, ge=0, le=1)
    coarse_factor: float = Field(default=2.0, gt=1)

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, tasks: dict[str, float] | None) -> dict[str, float] | None:
        for name, weight in (tasks or {}).items():
            if name not in TASKS:
                raise ValueError(f"there is no task {name!r}; there are {', '.join(TASKS)}")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of {name} is {weight}; give a number of 0 or more")
        if tasks is not None and sum(tasks.values()) == 0:
            raise ValueError("no task has a weight above 0; give one to random, for example")
        return tasks

    @field_validator("box_sides")
    @classmethod
    def _ordered_sides(cls, sides: tuple[float, float]) -> tuple[float, float]:
        if not 0 < sides[0] <= sides[1] < 1:
            raise ValueError(f"the sides {sides[0]} to {sides[1]} do not rise from above 0 to below 1")
        return sides

    @model_validator(mode="before")
    @classmethod
    def _forecast_among_tasks(cls, tree: Any) -> Any:
        """With ``tasks``, ``forecast`` is the share of forecasts in them, whatever it was."""
        tasks = tree.get("tasks") if isinstance(tree, dict) else None
        if not isinstance(tasks, dict) or not all(isinstance(w, int | float) for w in tasks.values()):
            return tree
        total = sum(tasks.values())
        share = tasks.get("forecast", 0.0) / total if 0 < total < float("inf") else 0.0
        return tree | {"forecast": share}

    def shares(self, forecast: float | None = None) -> dict[str, float]:
        """Probability of each task; ``forecast`` replaces that of forecasts and scales the others.

        Raises
        ------
        UserError
            If this leaves a share to other tasks, but there are none.
        """
        target = self.forecast if forecast is None else forecast
        weights = {"random": 1.0} if self.tasks is None else self.tasks
        others = {name: weights[name] for name in TASKS if weights.get(name) and name != "forecast"}
        if target < 1 and not others:
            raise UserError(
                f"a share of forecasts of {target:g} leaves {1 - target:g} to other tasks, but masking.tasks "
                "names none; give one to random, for example"
            )
        total = sum(others.values())
        shares = (
            {name: weight / total * (1 - target) for name, weight in others.items()} if target < 1 else {}
        )
        return shares | ({"forecast": target} if target > 0 else {})
