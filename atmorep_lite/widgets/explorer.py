"""What all explorers have in common: traits that travel to the page, checks, a page of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import numpy as np
import traitlets

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.page import module_source, page_text, style_source, write_page


@dataclass(frozen=True)
class Between:
    """A number that may be chosen: from ``low`` to ``high``, both included."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return is_number(value) and self.low <= value <= self.high  # type: ignore[operator]

    def __str__(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Content:
    """What an explorer shows.

    Parameters
    ----------
    meta
        Description for the page; what JSON can hold.
    selected
        The first view.
    data
        Arrays for the page, see :class:`~atmorep_lite.widgets.packing.Buffer`.
    """

    meta: dict[str, Any]
    selected: dict[str, Any]
    data: bytes = b""


class Explorer(anywidget.AnyWidget):
    """Base of the explorers: ``class Tokens(Explorer, module="tokens", heading="Tokens")``.

    ``module`` names a JavaScript file of this folder, or is the path of another; ``heading`` is what a page
    without a title is called.

    Parameters
    ----------
    make
        Makes the content. A `UserError` that it raises becomes the message that the explorer shows in place
        of its picture, and its ``fault``.
    title, caption
        Shown above and below the picture; say "simulated" here where the atmosphere is.

    Attributes
    ----------
    selected : dict
        What is shown. Reading tells what the reader chose; setting some entries moves the view.
    """

    heading: ClassVar[str] = ""
    #: Further traits that the page shows; its JavaScript follows them.
    live: ClassVar[tuple[str, ...]] = ()
    #: Whether its pages run WebAssembly.
    wasm: ClassVar[bool] = False

    meta = traitlets.Dict().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    selected = traitlets.Dict().tag(sync=True)

    def __init_subclass__(cls, *, module: str | Path = "", heading: str = "", **options: Any) -> None:
        if module:
            cls._esm = module_source(module)
            cls._css = style_source(module)
            cls.heading = heading
        super().__init_subclass__(**options)

    def __init__(
        self, make: Callable[[], Content], *, title: str | None = None, caption: str | None = None
    ) -> None:
        words = {"title": title or "", "caption": caption or ""}
        try:
            content = make()
        except UserError as error:
            content = Content({"fault": str(error)}, {})
        super().__init__(meta=words | content.meta, data=content.data)
        if content.selected:
            self.selected = content.selected

    @property
    def fault(self) -> str | None:
        """Why the explorer shows a message and no picture; None where it shows its picture."""
        return self.meta.get("fault")

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write a stand-alone page that needs no network and no kernel; returns its path.

        Raises
        ------
        UserError
            Where the explorer has no picture, with its ``fault``.
        """
        self.check()
        return write_page(path, self._page_text(self.data))

    @property
    def page_bytes(self) -> int:
        """What the page that :meth:`to_html` writes weighs, in bytes."""
        return len(self._page_text(b"").encode()) + 4 * -(-len(self.data) // 3)

    def _page_text(self, data: bytes) -> str:
        return page_text(
            title=self.meta["title"] or self.heading,
            module=str(self._esm),
            style=str(self._css),
            state={name: getattr(self, name) for name in ("meta", "selected", *self.live)},
            data=data,
            wasm=self.wasm,
        )

    def check(self) -> None:
        """Raise a `UserError` with the ``fault`` where there is no picture."""
        if self.fault:
            raise UserError(self.fault)

    def allowed(self) -> Mapping[str, tuple[Any, ...] | Between]:
        """What the entries of ``selected`` may be: one of a few values, or a number :class:`Between` two."""
        return {}

    def complete(self, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """``wanted`` with what it leaves out taken from ``before``; `UserError` for what cannot be shown."""
        return complete(self.allowed(), wanted, before)

    @traitlets.validate("selected")
    def _complete_selected(self, proposal: dict[str, Any]) -> dict[str, Any]:
        if not proposal["value"]:
            return {}
        self.check()
        return self.complete(proposal["value"], self.selected)


def complete(
    allowed: Mapping[str, tuple[Any, ...] | Between], wanted: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """``wanted`` with what it leaves out taken from ``before``.

    Raises
    ------
    UserError
        Where an entry is unknown or not allowed.
    """
    if unknown := sorted(set(wanted) - set(allowed)):
        raise UserError(f"The entries {unknown} of selected are unknown: use some of {tuple(allowed)}.")
    merged = {**before, **wanted}
    for name, value in merged.items():
        choices = allowed[name]
        plain = value.item() if isinstance(value, np.generic) else value
        if plain not in choices:
            said = str(choices) if isinstance(choices, Between) else f"one of {choices}"
            raise UserError(f"The {name} of selected is {value!r}: choose {said}.")
        merged[name] = plain
    return merged


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    return bool(np.isfinite(value))
