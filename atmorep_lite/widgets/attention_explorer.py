"""AttentionExplorer: choose a token on a map, see what it attends to in every field, or at every time.

Queries and keys travel to the page, never attention matrices: a row is computed where it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.errors import UserError
from atmorep_lite.widgets import selection
from atmorep_lite.widgets.checks import check_times
from atmorep_lite.widgets.explorer import Content, Explorer
from atmorep_lite.widgets.explorer_words import words_of
from atmorep_lite.widgets.packing import References, pack
from atmorep_lite.widgets.precision import Precision
from atmorep_lite.widgets.rows import Head, attention_rows, find_field

if TYPE_CHECKING:
    from atmorep_lite.widgets.evidence import Evidence

Panels = Literal["fields", "times"]


class AttentionExplorer(Explorer, module="attention_explorer", heading="Attention explorer"):
    """Maps of what one token attends to: one map per field or per time; any layer, head, level and time.

    Parameters
    ----------
    capture
        Queries, keys, places, times and values of one forward pass.
    fields
        Names of the fields to take along, all where left out.
    layers, heads
        Layers and self-attention heads to take along, counted from 0; all where left out. Coupling heads all
        come along. Fewer make a smaller page.
    precision
        Number format of queries and keys: "float16", "float32", or "int8" with a scale for each token, half
        as large as "float16". ``error_bound`` tells what it costs.
    panels
        "fields": one map per field, at one time. "times": one map per time of the keys of one field (the
        query's own, unless another is chosen), newest last, all of one softmax in one colour scale; the token
        under the pointer, at the time of its map, becomes the query.
    references
        What attention may be compared with, by name: a capture of the same tokens, such as by the same
        network with random weights, or several, such as of other dates, whose weights are averaged. Uniform
        attention is always there.
    evidence
        What else is known about the model, shown below the maps.
    scenes
        Named views to step through with Page Up and Page Down: ``{"name": ..., "text": ..., **selected}``.
        What a scene leaves out is as in the first view without scenes. The first scene is shown first.
    ahead
        How long after its own time a query speaks, hours or frames: 1 where tokens of the newest frame
        forecast the next. Counts for ``upstream``.
    interval
        On a plane, time units of the wind between two frames; without it ``upstream`` shows a direction only.
    title, caption
        Shown above and below the maps; say "simulated" here where the atmosphere is.

    Attributes
    ----------
    selected : dict
        What is shown. Reading tells what the reader chose, setting (all or some entries) moves the view:
        ``query_field``, ``query`` (token index in C order of level, time, latitude, longitude), ``layer``,
        ``head`` and ``coupling_head`` (number or "mean"), ``key_level`` (hPa), ``key_hours`` (relative to the
        newest token; on a plane in frames), ``temperature``, ``view`` ("attention", "contours", "field", or
        "error" where the capture knows the truth of hidden tokens), ``scale`` ("linear" or "root"),
        ``compare`` ("nothing", "uniform" or the name of a reference) and ``by`` ("minus" or "ratio"),
        ``arrows`` (True shows the wind, where the capture tells it), ``upstream`` (True shows where the mean
        of attention lies at earlier times, and where the wind came from), ``pin_a`` and ``pin_b`` (None, or a
        token as ``{"query_field": ..., "query": ...}``), ``show`` ("query", "A", "B" or "A minus B"); of an
        explorer of times also ``key_field``.
    fault : str or None
        Why there is no picture: the capture has no pairs, arrays do not fit together, hold NaN or are too
        large for a page, a reference has other tokens, a layer or head is unknown, a scene is wrong.

    Raises
    ------
    UserError
        Where an entry of ``selected`` is set that is unknown or cannot be shown.

    Examples
    --------
    >>> explorer = AttentionExplorer(capture, title="Demo model")  # doctest: +SKIP
    >>> explorer.selected = {"query_field": "temperature", "layer": 2, "head": 0}  # doctest: +SKIP
    >>> explorer.to_html("explorer.html")  # doctest: +SKIP
    """

    def __init__(
        self,
        capture: AttentionCapture,
        *,
        fields: Iterable[str] | None = None,
        layers: Iterable[int] | None = None,
        heads: Iterable[int] | None = None,
        precision: Precision = "float16",
        panels: Panels = "fields",
        references: References | None = None,
        evidence: Evidence | None = None,
        scenes: Iterable[Mapping[str, Any]] = (),
        ahead: float = 0.0,
        interval: float | None = None,
        title: str | None = None,
        caption: str | None = None,
    ) -> None:
        def make() -> Content:
            if panels not in ("fields", "times"):
                raise UserError(f"The panels {panels!r} are unknown: choose 'fields' or 'times'.")
            meta, data = pack(
                capture,
                fields=fields,
                layers=layers,
                heads=heads,
                precision=precision,
                references=references,
                evidence=evidence,
            )
            check_times(ahead, interval)
            meta |= {"panels": panels, "ahead": ahead, "interval": interval}
            meta["allowed"] = {entry: list(values) for entry, values in selection.choices(meta).items()}
            first = selection.first_view(meta, data)
            meta["scenes"] = selection.scenes_of(meta, scenes, first)
            meta["words"] = words_of(meta)
            return Content(meta, meta["scenes"][0]["selected"] if meta["scenes"] else first, data)

        super().__init__(make, title=title, caption=caption)

    @property
    def error_bound(self) -> float:
        """Largest difference of a weight on the page from the exact one, relative to its row's peak.

        Measured when the explorer was made, on at most 512 rows at temperature 1, against float64.
        """
        return float(self._shown()["accuracy"]["bound"])

    def token(
        self,
        field: str,
        *,
        latitude: float | None = None,
        longitude: float | None = None,
        y: float | None = None,
        x: float | None = None,
        level: float | None = None,
        hours: float = 0.0,
    ) -> int:
        """Index of a field's token nearest to a place, level and time, as ``selected["query"]`` takes it.

        Parameters
        ----------
        field
            Canonical field name.
        latitude, longitude
            Degrees north and east.
        y, x
            Place on a plane, instead of these.
        level
            hPa; the last level where left out.
        hours
            Hours relative to the newest token of the capture; on a plane frames.
        """
        north, east = (y, x) if latitude is None and longitude is None else (latitude, longitude)
        if north is None or east is None:
            raise UserError("A token needs a place: give latitude and longitude, or y and x on a plane.")
        return selection.nearest_token(find_field(self._shown(), field), north, east, level, hours)

    def weights(
        self,
        query_field: str,
        query: int,
        layer: int,
        head: Head = "mean",
        *,
        coupling_head: Head = "mean",
        temperature: float = 1.0,
    ) -> dict[str, np.ndarray]:
        """What one query attends to, from the very numbers that the page holds.

        Parameters
        ----------
        query_field, query
            Field and token index (C order of level, time, latitude, longitude).
        layer
            Counted from 0.
        head, coupling_head
            Head of the self-attention and of the couplings, or "mean" for the mean of the heads' weights.
        temperature
            Divides the scores before the softmax.

        Returns
        -------
        dict
            For each key field, weights [level, time, latitude, longitude] (float64) that sum to 1.

        Raises
        ------
        UserError
            For a field, token, layer, head or temperature that the explorer does not have.
        """
        result = {}
        selection.check_query(self._shown(), query_field, query)
        selection.check_temperature(temperature)
        for pair in self.meta["pairs"]:
            if pair["query"] == query_field:
                wanted = head if pair["key"] == query_field else coupling_head
                rows = attention_rows(self.meta, self.data, pair, query, layer, wanted, temperature)
                result[pair["key"]] = rows.mean(axis=0)
        return result

    def complete(self, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """``wanted`` with what it leaves out taken from ``before``; `UserError` for what cannot be shown."""
        return selection.complete(self._shown(), wanted, before)

    def _shown(self) -> dict[str, Any]:
        """The description; `UserError` where the explorer shows a message in place of maps."""
        self.check()
        return dict(self.meta)
