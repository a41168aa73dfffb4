"""Making, describing and writing figures; the colours that all of them share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from atmorep_lite.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Lines that colour-blind readers can tell apart (Okabe and Ito 2008), without the yellow, too pale on white.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
INK, QUIET = "#222222", "#6b6b6b"


def new_figure(
    width: float, height: float, *, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """A white figure, ``width`` x ``height`` inches, that pyplot has forgotten.

    A notebook shows it once, as the value of its cell, and nobody needs to close it.  ``compressed`` brings
    axes of fixed shape, such as maps, close together.

    Raises
    ------
    UserError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise UserError(
            'drawing needs matplotlib; install it with `pip install "atmorep-lite[plot]"`'
        ) from error
    engine = ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.05, compress=layout == "compressed")
    figure = pyplot.figure(figsize=(width, height), layout=engine, facecolor="white")
    pyplot.close(figure)
    return figure


def describe(figure: Figure, sentence: str) -> None:
    """Attach what the figure shows, in words and numbers, for those who cannot see it."""
    figure.set_label(sentence)


def figure_alt_text(figure: Figure) -> str:
    """The sentence given to :func:`describe`; empty if none was."""
    return str(figure.get_label())


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG with its alt text inside, under another name first, then renamed.

    Raises
    ------
    UserError
        If the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder; make it first")
    unfinished = path.with_name(path.name + ".unfinished")
    figure.savefig(unfinished, format="png", dpi=160, metadata={"Description": figure_alt_text(figure)})
    os.replace(unfinished, path)
    return path
