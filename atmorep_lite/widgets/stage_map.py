"""StageMap: maps on which a lecturer hides tokens, and what comes back; the picture of the live app."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from atmorep_lite.errors import UserError
from atmorep_lite.widgets import coastline
from atmorep_lite.widgets.explorer import Content, Explorer
from atmorep_lite.widgets.packing import Buffer


class StageMap(Explorer, module="stage_map", heading="Stage"):
    """Cards of one field, each on its map: what the model sees, what comes back, error, spread, members.

    The page asks through ``selected``; whoever made it answers with :meth:`send_answer`
    (:class:`atmorep_lite.app.session.Session` does).

    Parameters
    ----------
    meta
        ``scenes`` (each with name and text), ``data``, ``models`` and ``cards`` to choose from.
    selected
        The first view.

    Attributes
    ----------
    answer, numbers
        What is shown: description and numbers of one field (:func:`atmorep_lite.app.sending.as_sent`).
        A ``fault`` in the description is a sentence that the page shows over the last good picture.
    guest, guest_data
        Another explorer that lives on this page: its module, style, description, first view; its numbers.
    """

    live = ("answer", "guest")

    answer = traitlets.Dict().tag(sync=True)
    numbers = traitlets.Bytes().tag(sync=True)
    guest = traitlets.Dict().tag(sync=True)
    guest_data = traitlets.Bytes().tag(sync=True)

    def __init__(self, meta: Mapping[str, Any], selected: Mapping[str, Any]) -> None:
        def make() -> Content:
            buffer = Buffer()
            coast = np.frombuffer(coastline.packed(), "<i2")
            place = {"at": buffer.add(coast), "count": len(coast)}
            return Content({**meta, "coast": place}, dict(selected), buffer.bytes())

        self._known = frozenset(selected)
        super().__init__(make)

    def complete(self, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """``wanted`` with what it leaves out taken from ``before``; the session checks what it says."""
        if unknown := sorted(set(wanted) - self._known):
            raise UserError(f"selected has no entries {unknown}: use some of {sorted(self._known)}.")
        return {**before, **wanted}

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Not possible: its pictures come from a model.

        Raises
        ------
        UserError
            Always; it names what can be saved instead.
        """
        raise UserError(
            "the live app needs a running model and cannot be a page of its own; save an AttentionExplorer"
        )

    def send_answer(self, answer: dict[str, Any], numbers: bytes) -> None:
        """Show something else."""
        with self.hold_trait_notifications():
            self.numbers = numbers
            self.answer = answer

    def send_guest(self, explorer: anywidget.AnyWidget) -> None:
        """Let another explorer live on the page, in the place of the one before."""
        number = self.guest.get("number", 0) + 1
        with self.hold_trait_notifications():
            self.guest_data = explorer.data
            self.guest = {
                "number": number,
                "size": len(explorer.data),
                "module": str(explorer._esm),
                "style": str(explorer._css),
                "meta": explorer.meta,
                "selected": explorer.selected,
            }
