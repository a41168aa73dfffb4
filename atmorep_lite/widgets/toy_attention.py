"""ToyAttention: one query, a few keys and values in the plane, to be dragged; every step follows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.explorer import Between, Content, Explorer, complete

MOST_KEYS = 6
FORMS = ("identity", "turn", "stretch")
POINTS = ("query", "keys", "values")
Form = Literal["identity", "turn", "stretch"]
Point = Sequence[float]


class ToyAttention(Explorer, module="toy_attention", heading="Attention in the plane"):
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

    fault : str or None
        What is not as said above; the page then shows this sentence.

    Examples
    --------
    >>> toy = ToyAttention(query=[1, 0], keys=[[1, 0], [0, 1]])
    >>> toy.weights().round(2)
    array([0.67, 0.33])
    >>> toy.selected = {"form": "turn", "angle": 90}
    >>> toy.weights().round(2)
    array([0.33, 0.67])
    """

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
        wanted: dict[str, Any] = {"query": query, "keys": keys, "values": values}
        wanted |= {"form": form, "angle": angle, "temperature": temperature}
        super().__init__(lambda: Content({}, self.complete(wanted, {})), title=title, caption=caption)

    def matrix(self) -> np.ndarray:
        """The matrix G, ``[2, 2]``."""
        self.check()
        angle = np.deg2rad(self.selected["angle"])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        forms = {"identity": np.eye(2), "turn": turn.T, "stretch": turn @ np.diag([2.0, -0.5]) @ turn.T}
        return forms[self.selected["form"]]

    def weights(self) -> np.ndarray:
        """The weights ``[key]`` that the page shows; they sum to 1."""
        self.check()
        shown = self.selected
        scores = np.array(shown["query"]) @ self.matrix() @ np.array(shown["keys"]).T
        scores /= np.sqrt(2.0) * shown["temperature"]
        powers = np.exp(scores - scores.max())
        return powers / powers.sum()

    def output(self) -> np.ndarray:
        """The weighted average of the values, ``[2]``."""
        shown = self.selected
        return self.weights() @ np.array(shown["keys"] if shown["values"] is None else shown["values"])

    def allowed(self) -> dict[str, tuple[Any, ...] | Between]:
        return {"form": FORMS, "angle": Between(-180, 180), "temperature": Between(2**-4, 2**4)}

    def complete(self, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(wanted) - {*POINTS, *self.allowed()}):
            names = (*POINTS, *self.allowed())
            raise UserError(f"selected has no entries {unknown}: use some of {names}.")
        merged = {**before, **wanted}
        plain = complete(self.allowed(), {k: v for k, v in merged.items() if k not in POINTS}, {})
        keys = _points("keys", merged["keys"])
        if not 1 <= len(keys) <= MOST_KEYS:
            raise UserError(f"There are {len(keys)} keys, where 1 to {MOST_KEYS} were expected.")
        values = None if merged["values"] is None else _points("values", merged["values"])
        if values is not None and len(values) != len(keys):
            raise UserError(f"There are {len(values)} values and {len(keys)} keys: give each key one value.")
        (query,) = _points("query", [merged["query"]])
        return {"query": query, "keys": keys, "values": values, **plain}


def _points(name: str, points: Any) -> list[list[float]]:
    """Points as nested lists of floats, as they travel to the page."""
    try:
        array = np.asarray(points, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != 2 or not (np.abs(array) <= 3).all():
        said = (
            "query is not a point: give a pair" if name == "query" else f"{name} are not points: give pairs"
        )
        raise UserError(f"The {said} of numbers between -3 and 3.")
    return array.tolist()
