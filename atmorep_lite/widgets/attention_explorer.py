"""AttentionExplorer: choose a token on a map, see what it attends to in every field, or at every time.

Queries and keys travel to the page, never attention matrices: a row is computed where it is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import anywidget
import numpy as np
import traitlets

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.errors import UserError
from atmorep_lite.widgets import selection
from atmorep_lite.widgets.packing import Precision, pack
from atmorep_lite.widgets.page import module_source, style_source, write_page
from atmorep_lite.widgets.rows import Head, attention_rows, find_field

_NAME = "attention_explorer"
Panels = Literal["fields", "times"]


class AttentionExplorer(anywidget.AnyWidget):
    """Maps of what one token attends to: one map per field or per time; any layer, head, level and time.

    Parameters
    ----------
    capture
        Queries, keys, places, times and values of one forward pass.
    layers, heads
        Layers and self-attention heads to take along, counted from 0; all where left out. Coupling heads all
        come along. Fewer make a smaller page.
    precision
        Number format of queries and keys: "float16" (a row is within about 0.1 % of its peak) or "float32".
    panels
        "fields": one map per field, at one time. "times": one map per time of the keys of one field (the
        query's own, unless another is chosen), newest last, all of one softmax in one colour scale; the token
        under the pointer, at the time of its map, becomes the query.
    reference
        Another capture of the same tokens, such as by the same network with random weights; the maps can then
        show the difference.
    reference_name
        What the reference is called on the page.
    title, caption
        Shown above and below the maps; say "simulated" here where the atmosphere is.

    Attributes
    ----------
    selected : dict
        What is shown. Reading tells what the reader chose, setting (all or some entries) moves the view:
        ``query_field``, ``query`` (token index in C order of level, time, latitude, longitude), ``layer``,
        ``head`` and ``coupling_head`` (number or "mean"), ``key_level`` (hPa), ``key_hours`` (relative to the
        newest token; on a plane in frames), ``temperature``, ``view`` ("attention", "contours", "field", or
        "difference" where there is a reference), ``scale`` ("linear" or "root"), ``arrows`` (True shows the
        wind, where the capture tells it); of an explorer of times also ``key_field``.

    Raises
    ------
    UserError
        Where the capture has no pairs, arrays do not fit together, hold NaN or are too large for a page, the
        reference has other tokens, or a layer, head or entry of ``selected`` is unknown.

    Examples
    --------
    >>> explorer = AttentionExplorer(capture, title="Demo model")  # doctest: +SKIP
    >>> explorer.selected = {"query_field": "temperature", "layer": 2, "head": 0}  # doctest: +SKIP
    >>> explorer.to_html("explorer.html")  # doctest: +SKIP
    """

    _esm = module_source(_NAME)
    _css = style_source(_NAME)

    meta = traitlets.Dict().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    selected = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        capture: AttentionCapture,
        *,
        layers: Iterable[int] | None = None,
        heads: Iterable[int] | None = None,
        precision: Precision = "float16",
        panels: Panels = "fields",
        reference: AttentionCapture | None = None,
        reference_name: str = "reference",
        title: str | None = None,
        caption: str | None = None,
    ) -> None:
        if panels not in ("fields", "times"):
            raise UserError(f"The panels {panels!r} are unknown: choose 'fields' or 'times'.")
        meta, data = pack(capture, layers=layers, heads=heads, precision=precision, reference=reference)
        if reference is not None:
            meta["reference"]["name"] = reference_name
        meta |= {"panels": panels, "title": title or "", "caption": caption or ""}
        super().__init__(meta=meta, data=data)
        self.selected = selection.first_view(self.meta, self.data)

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
        return selection.nearest_token(find_field(self.meta, field), north, east, level, hours)

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
        selection.check_query(self.meta, query_field, query)
        selection.check_temperature(temperature)
        for pair in self.meta["pairs"]:
            if pair["query"] == query_field:
                wanted = head if pair["key"] == query_field else coupling_head
                rows = attention_rows(self.meta, self.data, pair, query, layer, wanted, temperature)
                result[pair["key"]] = rows.mean(axis=0)
        return result

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write a stand-alone page that needs no network and no kernel; returns its path."""
        return write_page(
            path,
            title=self.meta["title"] or "Attention explorer",
            module=str(self._esm),
            style=str(self._css),
            state={"meta": self.meta, "selected": self.selected},
            data=self.data,
        )

    @traitlets.validate("selected")
    def _complete_selected(self, proposal: dict[str, Any]) -> dict[str, Any]:
        return selection.complete(self.meta, proposal["value"], self.selected)
