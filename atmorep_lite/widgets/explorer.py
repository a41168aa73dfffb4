"""What all explorers have in common: traits that travel to the page, checks, a page of its own."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import numpy as np
import traitlets

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.page import module_source, page_text, style_source, write_page

_log = logging.getLogger(__name__)


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
        of its picture, and its ``fault``; so does any other error, whose traceback is logged at level INFO.
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
        words = {"title": title, "caption": caption}
        content = _made(make, words)
        shown = {name: text if isinstance(text, str) else "" for name, text in words.items()}
        super().__init__(meta=shown | content.meta, data=content.data)
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
            Where the explorer has no picture, with its ``fault``; where no file can be written there.
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
            return self.selected
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
        raise UserError(f"selected has no entries {unknown}: use some of {tuple(allowed)}.")
    merged = {**before, **wanted}
    for name, value in merged.items():
        choices = allowed[name]
        if isinstance(choices, Between):
            plain = value.item() if isinstance(value, np.generic) else value
            found = [plain] if plain in choices else []
        else:
            found = among(choices, value)
        if not found:
            said = str(choices) if isinstance(choices, Between) else f"one of {choices}"
            raise UserError(f"selected[{name!r}] is {value!r}: choose {said}.")
        (merged[name],) = found
    return merged


def among(choices: Sequence[Any], value: Any) -> list[Any]:
    """The choice that equals a value, or none; 2 is found for 2.0, but no number for a truth value."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, np.ndarray):
        return []
    same = (one for one in choices if one == plain and isinstance(one, bool) == isinstance(plain, bool))
    return list(islice(same, 1))


def _made(make: Callable[[], Content], words: Mapping[str, Any]) -> Content:
    """The content, or a fault in its place."""
    try:
        for name, text in words.items():
            if text is not None and not isinstance(text, str):
                raise UserError(f"The {name} is {text!r}, where words were expected: give a string.")
        content = make()
        for part, state in (("meta", content.meta), ("selected", content.selected)):
            for entry, number in _endless(part, state):
                raise UserError(
                    f"The number {entry} is {number}, which no page can hold: look for missing values in the "
                    "data, or send None for a gap."
                )
    except UserError as error:
        return Content({"fault": str(error)}, {})
    except Exception as error:  # before a class a sentence, not a traceback
        _log.info("the explorer could not be made", exc_info=True)
        told = f"{type(error).__name__}: {error}".rstrip(": ")
        return Content({"fault": f"The explorer cannot be made of what it was given ({told}): check it."}, {})
    return content


def _endless(entry: str, state: Any) -> Iterator[tuple[str, float]]:
    """Places and values of the numbers in a state that are not finite, which JSON has no word for."""
    if isinstance(state, Mapping):
        for name, value in state.items():
            yield from _endless(f"{entry}[{name!r}]", value)
    elif isinstance(state, list | tuple):
        for index, value in enumerate(state):
            if isinstance(value, list | tuple | dict | float):
                yield from _endless(f"{entry}[{index}]", value)
    elif isinstance(state, float) and not math.isfinite(state):
        yield entry, state


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    return bool(np.isfinite(value))
