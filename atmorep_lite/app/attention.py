"""From a scene's look at attention to an explorer of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from atmorep_lite.app.compute import Answer
from atmorep_lite.app.hiding import check_field, slot_of
from atmorep_lite.config.base import Strict
from atmorep_lite.errors import UserError
from atmorep_lite.widgets import AttentionExplorer


class Look(Strict):
    """What the attention explorer opens with; what is left out it chooses itself.

    Attributes
    ----------
    field, level, latitude, longitude, hours
        The token that asks; hours as on the stage, from ``time``.
    layer, head, coupling_head
        Counted from 0, or "mean".
    key_level, key_hours
        Level and hours of the maps.
    temperature, view, scale, arrows
        As :class:`~atmorep_lite.widgets.AttentionExplorer` takes them.
    """

    field: str | None = None
    level: int | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: float | None = None
    hours: float | None = None
    layer: int | None = None
    head: int | Literal["mean"] | None = None
    coupling_head: int | Literal["mean"] | None = None
    key_level: int | None = None
    key_hours: float | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None
    view: str | None = None
    scale: Literal["linear", "root"] | None = None
    arrows: bool | None = None


def explore(given: Answer, look: Look) -> AttentionExplorer:
    """The explorer of an answer's attention, on the token that ``look`` names.

    Raises
    ------
    UserError
        If the look names what is not there or a place off the map, or the model's attention cannot be shown.
    """
    explorer = AttentionExplorer(given.capture())
    explorer.check()
    _count_as_stage(explorer, float(given.stage.hours[-1]))
    plain = ("layer", "head", "coupling_head", "key_level", "temperature", "view", "scale", "arrows")
    wanted: dict[str, Any] = {name: getattr(look, name) for name in plain if getattr(look, name) is not None}
    config = given.stage.network.config
    name = check_field(given.stage, look.field) if look.field else explorer.selected["query_field"]
    f = config.field(name)
    if look.level is not None and look.level not in f.levels:
        raise UserError(f"attention: {name} has no level {look.level}; choose one of {list(f.levels)}")
    if look.key_hours is not None:
        slot = slot_of(given.stage, _inside(given, look.key_hours), f)
        wanted["key_hours"] = _explorer_hours(explorer, name)[slot]
    wanted["query_field"] = name
    hours = given.stage.hours[-1] if look.hours is None else _inside(given, look.hours)
    north = float(given.latitude.mean() if look.latitude is None else look.latitude)
    east = float(given.longitude.mean() if look.longitude is None else look.longitude)
    _check_place(given, north, east)
    wanted["query"] = explorer.token(
        name,
        latitude=north,
        longitude=east,
        level=look.level,
        hours=_explorer_hours(explorer, name)[slot_of(given.stage, hours, f)],
    )
    explorer.selected = wanted
    return explorer


def release(explorer: AttentionExplorer) -> None:
    """Forget an explorer that has been sent or tried: ipywidgets keeps every widget that is not closed."""
    explorer.layout.close()
    explorer.close()


def _inside(given: Answer, hour: float) -> float:
    hours = given.stage.hours
    if not hours[0] <= hour <= hours[-1]:
        raise UserError(f"attention: {hour:g} hours lie outside of the window, {hours[0]:g} to {hours[-1]:g}")
    return hour


def _check_place(given: Answer, north: float, east: float) -> None:
    """Raise `UserError` where a place lies off the map."""
    spacing = abs(float(given.latitude[1] - given.latitude[0]))
    top, bottom = given.latitude.max() + spacing / 2, given.latitude.min() - spacing / 2
    left, right = given.longitude[0] - spacing / 2, given.longitude[-1] + spacing / 2
    if not bottom <= north <= top or (east - left) % 360.0 > right - left:
        raise UserError(
            f"attention: the place {north:g}, {east:g} lies off the map, which reaches from latitude "
            f"{bottom:.1f} to {top:.1f} and from longitude {left:.1f} to {right:.1f}"
        )


def _count_as_stage(explorer: AttentionExplorer, newest: float) -> None:
    """Let the explorer count hours as the stage does, where its newest token stands at ``newest``."""
    meta = dict(explorer.meta)

    def later(one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "hours": [hour + newest for hour in one["hours"]]}

    meta["fields"] = [later(field) for field in meta["fields"]]
    if "wind" in meta:
        meta["wind"] = later(meta["wind"])
    explorer.meta = meta
    explorer.selected = {"key_hours": explorer.selected["key_hours"] + newest}


def _explorer_hours(explorer: AttentionExplorer, name: str) -> np.ndarray:
    """[slot] hours at which a field's tokens stand, the last of each slot."""
    return next(field["hours"] for field in explorer.meta["fields"] if field["name"] == name)
