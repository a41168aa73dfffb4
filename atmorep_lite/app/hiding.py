"""What is hidden from the model on the stage: a task's tokens, and strokes over them.

A stroke hides (or shows again) the tokens of some fields, levels and hours, in some region. The lecturer
paints strokes on a map; a scene writes them down under ``hide``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from atmorep_lite.app.stage import Stage
from atmorep_lite.config import FieldConfig
from atmorep_lite.config.base import Strict
from atmorep_lite.errors import UserError
from atmorep_lite.fields import canonical_name
from atmorep_lite.masking import forecast_masks, hide_slots

Task = Literal["forecast", "fill", "interpolate"]
Masks = dict[str, np.ndarray]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


class Area(Strict):
    """A rectangle in degrees; from west eastwards to east, 0/360 may lie between."""

    north: Annotated[float, Field(ge=-90, le=90)]
    south: Annotated[float, Field(ge=-90, le=90)]
    west: float
    east: float

    @model_validator(mode="after")
    def _upright(self) -> Area:
        if self.south >= self.north:
            raise ValueError(f"its south ({self.south:g}) must lie below its north ({self.north:g})")
        return self


class Stroke(Strict):
    """Tokens to hide, or to show again.

    Attributes
    ----------
    fields, levels, hours
        Which ones; all where left out. Levels in hPa; hours from ``time``, each stands for its token's slot.
    area
        Only tokens whose centre lies inside.
    cells
        Only the tokens in which these points (latitude, longitude) lie.
    part
        Only this share of them, drawn at random from ``seed``, for each field, level and hour on its own.
    show
        True shows the tokens again.
    """

    fields: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    levels: Annotated[tuple[int, ...], BeforeValidator(_listed)] = ()
    hours: Annotated[tuple[float, ...], BeforeValidator(_listed)] = ()
    area: Area | None = None
    cells: tuple[tuple[float, float], ...] | None = None
    part: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0
    show: bool = False


def masks(
    stage: Stage, task: Task, strokes: Sequence[Stroke], latitude: np.ndarray, longitude: np.ndarray
) -> Masks:
    """What is hidden in one neighbourhood.

    Parameters
    ----------
    stage
        Record and model.
    task
        "forecast": the last slots, as the model was trained to. "interpolate": the slots between the first
        and the last. "fill": nothing but the strokes.
    strokes
        Laid over it, one after another.
    latitude, longitude
        [row], [column] grid points of the neighbourhood.

    Returns
    -------
    By field, [level, slot, row, column] True where a token is hidden.

    Raises
    ------
    UserError
        If a stroke names what is not there, or everything is hidden.
    """
    config = stage.network.config
    hidden = {f.name: _of_task(stage, task, f) for f in config.fields}
    for number, stroke in enumerate(strokes):
        check(stage, stroke)
        names = {_name(name) for name in stroke.fields} or set(config.names)
        for f in (config.field(name) for name in config.names if name in names):
            chosen = _chosen(stage, stroke, f, latitude, longitude)
            if stroke.part < 1.0:
                rng = np.random.default_rng([stroke.seed, number, config.names.index(f.name)])
                chosen &= rng.random(chosen.shape) < stroke.part
            hidden[f.name][chosen] = not stroke.show
    if all(mask.all() for mask in hidden.values()):
        raise UserError("everything is hidden, so the model sees nothing: show some tokens again")
    return hidden


def check(stage: Stage, stroke: Stroke) -> None:
    """Raise `UserError` where a stroke names a field, level or hour that is not there."""
    config = stage.network.config
    names = [check_field(stage, name) for name in stroke.fields] or list(config.names)
    levels = sorted({level for name in names for level in config.field(name).levels})
    if unknown := [level for level in stroke.levels if level not in levels]:
        raise UserError(f"{unknown[0]} hPa is no level of {', '.join(names)}; choose one of {series(levels)}")
    spacing = stage.hours[1] - stage.hours[0]
    for hour in stroke.hours:
        if not stage.hours[0] - spacing < hour <= stage.hours[-1]:
            raise UserError(
                f"the hour {hour:g} lies outside of the window; choose one from {stage.hours[0]:g} to "
                f"{stage.hours[-1]:g}"
            )


def check_field(stage: Stage, name: str) -> str:
    """The canonical name of a field that the model has; `UserError` for another."""
    known = _name(name)
    if known not in stage.network.config.names:
        raise UserError(
            f"the model {stage.model!r} has no field {name!r}; it has {', '.join(stage.network.config.names)}"
        )
    return known


def slot_of(stage: Stage, hour: float, field: FieldConfig) -> int:
    """The token slot in which an hour lies."""
    return int(np.searchsorted(stage.hours, hour - 1e-6)) // field.token_size[0]


def _name(name: str) -> str:
    try:
        return canonical_name(name)
    except UserError:
        return name


def _of_task(stage: Stage, task: Task, f: FieldConfig) -> np.ndarray:
    fields = stage.network.config.fields
    shape = (len(f.levels), *f.num_tokens)
    if task == "forecast":
        return forecast_masks(fields, 1, stage.forecast_slots)[f.name][0].numpy()
    if task == "interpolate":
        longest = max(other.token_size[0] for other in fields)  # visible at both ends, of every field
        ends = longest // f.token_size[0]
        if shape[1] <= 2 * ends:
            raise UserError(
                f"{f.name} has {shape[1]} times, too few to hide one between two: choose another task"
            )
        return hide_slots(shape, range(ends, shape[1] - ends)).numpy()
    return np.zeros(shape, bool)


def _chosen(
    stage: Stage, stroke: Stroke, f: FieldConfig, latitude: np.ndarray, longitude: np.ndarray
) -> np.ndarray:
    """[level, slot, row, column] tokens of a field that a stroke names."""
    _, ty, tx = f.token_size
    north, east = latitude.reshape(-1, ty).mean(1), longitude.reshape(-1, tx).mean(1)
    level = np.isin(f.levels, stroke.levels) if stroke.levels else np.ones(len(f.levels), bool)
    slot = np.zeros(f.num_tokens[0], bool)
    slot[[slot_of(stage, hour, f) for hour in stroke.hours] if stroke.hours else slice(None)] = True
    region = np.ones((len(north), len(east)), bool)
    if stroke.area is not None:
        region = _inside(stroke.area, north, east)
    if stroke.cells is not None:
        tall, wide = abs(latitude[0] - latitude[1]) * ty, (longitude[1] - longitude[0]) * tx
        painted = np.zeros_like(region)
        for lat, lon in stroke.cells:
            down = np.abs(north - lat) <= tall / 2 + 1e-6
            painted |= down[:, None] & (np.abs((east - lon + 180.0) % 360.0 - 180.0) <= wide / 2 + 1e-6)
        region &= painted
    return level[:, None, None, None] & slot[:, None, None] & region


def _inside(area: Area, north: np.ndarray, east: np.ndarray) -> np.ndarray:
    down = (north <= area.north) & (north >= area.south)
    width = area.east - area.west
    across = (east - area.west) % 360.0 <= (width if 0 < width <= 360.0 else width % 360.0)
    return down[:, None] & across


def series(values: Iterable[object]) -> str:
    """Values in a sentence."""
    return ", ".join(map(str, values))
