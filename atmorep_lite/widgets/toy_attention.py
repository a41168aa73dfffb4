"""ToyAttention: one query, a few keys and values in the plane, to be dragged; all numbers follow at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import anywidget
import numpy as np
import traitlets

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.page import module_source, style_source, write_page

_NAME = "toy_attention"
MOST_KEYS = 6
FORMS = ("identity", "turn", "stretch")
ENTRIES = ("query", "keys", "values", "form", "angle", "temperature")
Form = Literal["identity", "turn", "stretch"]
Point = Sequence[float]


class ToyAttention(anywidget.AnyWidget):
    """Attention of one query to a few keys in the plane.

    ``weights = softmax(q . G k / (sqrt(2) temperature))``, with a matrix G that can be chosen.

    Parameters
    ----------
    query
        Two numbers between -3 and 3.
    keys
        One to six pairs of such numbers.
    values
        As many pairs as keys; the keys themselves where left out.
    form
        The matrix G: "identity"; "turn", with which a query looks for what lies ``angle`` degrees
        counter-clockwise of it; "stretch", which counts the direction at ``angle`` double and the one across
        it by minus one half, as a learnt form might.
    angle
        Degrees between -180 and 180.
    temperature
        Divides the scores before the softmax.
    title, caption
        Shown above and below.

    Attributes
    ----------
    selected : dict
        All of the above but title and caption. Reading tells what the reader chose; setting some entries
        moves the view.

    Raises
    ------
    UserError
        Where points, form, angle or temperature are not as said above, or an entry of ``selected`` is
        unknown.

    Examples
    --------
    >>> toy = ToyAttention(query=[1, 0], keys=[[1, 0], [0, 1]])
    >>> toy.weights().round(2)
    array([0.67, 0.33])
    >>> toy.selected = {"form": "turn", "angle": 90}
    >>> toy.weights().round(2)
    array([0.33, 0.67])
    """

    _esm = module_source(_NAME)
    _css = style_source(_NAME)

    meta = traitlets.Dict().tag(sync=True)
    selected = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        *,
        query: Point = (1.6, 0.7),
        keys: Sequence[Point] = ((1.8, -0.6), (0.6, 1.9), (-1.7, 0.8), (-0.5, -1.8)),
        values: Sequence[Point] | None = None,
        form: Form = "identity",
        angle: float = 90.0,
        temperature: float = 1.0,
        title: str | None = None,
        caption: str | None = None,
    ) -> None:
        super().__init__(meta={"title": title or "", "caption": caption or ""})
        self.selected = {
            "query": query,
            "keys": keys,
            "values": values,
            "form": form,
            "angle": angle,
            "temperature": temperature,
        }

    def matrix(self) -> np.ndarray:
        """The matrix G, ``[2, 2]``."""
        angle = np.deg2rad(self.selected["angle"])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        forms = {"identity": np.eye(2), "turn": turn.T, "stretch": turn @ np.diag([2.0, -0.5]) @ turn.T}
        return forms[self.selected["form"]]

    def weights(self) -> np.ndarray:
        """The weights ``[key]`` that the page shows; they sum to 1."""
        shown = self.selected
        scores = np.array(shown["query"]) @ self.matrix() @ np.array(shown["keys"]).T
        scores /= np.sqrt(2.0) * shown["temperature"]
        powers = np.exp(scores - scores.max())
        return powers / powers.sum()

    def output(self) -> np.ndarray:
        """The weighted average of the values, ``[2]``."""
        shown = self.selected
        return self.weights() @ np.array(shown["keys"] if shown["values"] is None else shown["values"])

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write a stand-alone page that needs no network and no kernel; returns its path."""
        return write_page(
            path,
            title=self.meta["title"] or "Attention in the plane",
            module=str(self._esm),
            style=str(self._css),
            state={"meta": self.meta, "selected": self.selected},
            data=b"",
        )

    @traitlets.validate("selected")
    def _complete_selected(self, proposal: dict[str, Any]) -> dict[str, Any]:
        return complete(proposal["value"], self.selected)


def complete(wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """``wanted`` with what it leaves out taken from ``before``; `UserError` for what cannot be shown."""
    unknown = sorted(set(wanted) - set(ENTRIES))
    if unknown:
        raise UserError(f"The entries {unknown} of selected are unknown: use some of {ENTRIES}.")
    merged = {**before, **wanted}
    if not merged:  # before the first view
        return {}
    keys = _points("keys", merged["keys"])
    if not 1 <= len(keys) <= MOST_KEYS:
        raise UserError(f"There are {len(keys)} keys, where 1 to {MOST_KEYS} were expected.")
    values = None if merged["values"] is None else _points("values", merged["values"])
    if values is not None and len(values) != len(keys):
        raise UserError(f"There are {len(values)} values and {len(keys)} keys: give each key one value.")
    if merged["form"] not in FORMS:
        raise UserError(f"The form {merged['form']!r} is unknown: choose one of {FORMS}.")
    temperature, angle = (_number(name, merged[name]) for name in ("temperature", "angle"))
    if not 2**-4 <= temperature <= 2**4:
        raise UserError(f"The temperature is {temperature}, where 1/16 to 16 was expected.")
    if abs(angle) > 180:
        raise UserError(f"The angle is {angle} degrees, where -180 to 180 was expected.")
    (query,) = _points("query", [merged["query"]])
    shown = {"query": query, "keys": keys, "values": values}
    return {**shown, "form": merged["form"], "angle": angle, "temperature": temperature}


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise UserError(f"The {name} is {value!r}, where a number was expected.")
    return float(value)


def _points(name: str, points: Any) -> list[list[float]]:
    """Points as nested lists of floats, as they travel to the page."""
    try:
        array = np.asarray(points, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != 2 or not (np.abs(array) <= 3).all():
        raise UserError(f"The {name} are not points: give pairs of numbers between -3 and 3.")
    return array.tolist()
