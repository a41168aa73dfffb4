"""Figures of chapter 5: answers on a ring of stations, things cut into tokens, small square matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from atmorep_lite.errors import UserError
from atmorep_lite.figures import INK, OKABE_ITO, QUIET, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREATEST_WITH_NUMBERS = 8  # tokens of a matrix whose entries can be read


def station_figure(angle: Tensor, reading: Tensor, truth: Tensor, answers: Mapping[str, Tensor]) -> Figure:
    """Readings, truth and one answer per panel against the place on the ring, all on the same axes.

    Parameters
    ----------
    angle
        Places in radians, ``[station]``, in any order.
    reading, truth
        ``[station]``.
    answers
        Guesses ``[station]`` of the truth, by title of the panel.
    """
    order = angle.argsort()
    degrees = np.rad2deg(angle[order].numpy())
    figure = new_figure(3.7 * len(answers), 3.0)
    axes = np.atleast_1d(figure.subplots(1, len(answers), sharex=True, sharey=True))
    for ax, (title, answer), colour in zip(axes, answers.items(), OKABE_ITO[5::-5], strict=False):
        ax.plot(degrees, reading[order].numpy(), "o", ms=4, mfc="white", mec=QUIET, label="reading")
        ax.plot(degrees, truth[order].numpy(), color=INK, lw=1.4, label="truth")
        ax.plot(degrees, answer[order].numpy(), "o-", ms=4, lw=1.8, color=colour, label="answer")
        error = float((answer - truth).square().mean() / truth.square().mean()) ** 0.5
        ax.set_title(f"{title}, this draw: error {error:.2f}", loc="left", fontsize=10)
        ax.set(xlabel="place on the ring (degrees)", xlim=(0, 360), xticks=range(0, 361, 90))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", borderaxespad=0.1)
    low, high = axes[0].get_ylim()
    axes[0].set(ylabel="value (no unit)", ylim=(low - 0.14 * (high - low), high))
    describe(figure, f"Readings of {len(angle)} stations, the truth, and the answers: {', '.join(answers)}.")
    return figure


def matrix_row(
    panels: Mapping[str, Tensor],
    *,
    label: str,
    axes_labels: tuple[str, str] = ("token j (key)", "token i (query)"),
    names: Sequence[str] | None = None,
    signed: bool = False,
    size: float = 2.5,
) -> Figure:
    """Square matrices side by side with one shared colour scale; entries are written into small ones.

    Parameters
    ----------
    panels
        Matrices ``[row, column]`` by title.
    label
        Of the colour bar.
    axes_labels
        Below the columns and beside the rows.
    names
        Of rows and columns, where they are few; numbers otherwise.
    signed
        Blue to red about 0 instead of dark to bright from 0.
    size
        Width of a panel in inches.
    """
    if not panels:
        raise UserError("There are no matrices, where at least one was expected: give a mapping by title.")
    top = max(float(matrix.abs().max()) for matrix in panels.values())
    figure = new_figure(size * len(panels) + 0.9, size + 0.55, layout="compressed")
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for ax, (title, matrix) in zip(axes, panels.items(), strict=True):
        style: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -top} if signed else {"cmap": "viridis", "vmin": 0}
        picture = ax.imshow(matrix.numpy(), vmax=top, **style)
        ax.set_title(title, fontsize=10)
        ax.set(xlabel=axes_labels[0])
        if names is not None:
            ax.set_xticks(range(len(names)), names, rotation=40 if max(map(len, names)) > 3 else 0)
            ax.set_yticks(range(len(names)), names)
        if len(matrix) <= GREATEST_WITH_NUMBERS:
            _write_entries(ax, matrix, top, signed)
    axes[0].set(ylabel=axes_labels[1])
    figure.colorbar(picture, ax=list(axes), label=label, shrink=0.85)
    described = "; ".join(f"{title}, greatest entry {m.max():.2f}" for title, m in panels.items())
    describe(figure, f"Matrices in colour: {described}.")
    return figure


def token_figure(words: Sequence[str], features: Tensor, picture: Tensor, field: Tensor) -> Figure:
    """A sentence, a picture and a row of a field, each cut into as many tokens, above their cosines.

    Parameters
    ----------
    words, features
        The sentence's tokens and their vectors ``[token, number]``.
    picture, field
        Brightness and vorticity ``[y, x]``; the width is a multiple of the number of words.
    """
    count = len(words)
    figure = new_figure(8.6, 4.3)
    above, below = figure.subplots(2, 3, height_ratios=(1, 2.3))
    tables = {"five words": features}
    above[0].set(xlim=(-0.5, count - 0.5), ylim=(-1, 1))
    for i, word in enumerate(words):
        box = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": OKABE_ITO[0], "lw": 1.3}
        above[0].text(i, 0.45 - 0.9 * (i % 2), word, ha="center", va="center", fontsize=8, bbox=box)
    top = float(field.abs().max())
    styles: dict[str, tuple[Tensor, dict[str, Any]]] = {
        "five patches of a picture": (picture, {"cmap": "gray"}),
        "five boxes of vorticity": (field, {"cmap": "RdBu_r", "vmin": -top, "vmax": top}),
    }
    for ax, (title, (values, style)) in zip(above[1:], styles.items(), strict=True):
        ax.imshow(values.numpy(), **style)
        width = values.shape[1] // count
        for i in range(1, count):
            ax.axvline(i * width - 0.5, color=OKABE_ITO[1], lw=2)
        tables[title] = cut(values, count)
    for ax, (title, table) in zip(above, tables.items(), strict=True):
        ax.set_title(title, fontsize=10, loc="left")
        ax.axis("off")
        ax.text(
            0,
            -0.06,
            f"table {table.shape[0]} x {table.shape[1]}",
            transform=ax.transAxes,
            va="top",
            color=QUIET,
        )
    for ax, table in zip(below, tables.values(), strict=True):
        matrix = cosines(table)
        image = ax.imshow(matrix.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
        _write_entries(ax, matrix, 1.0, True)
        ticks = [word.strip(".") for word in words] if table is features else range(count)
        ax.set_xticks(range(count), ticks, rotation=40 if table is features else 0)
        ax.set_yticks(range(count), ticks)
        ax.set(xlabel="token j")
    below[0].set(ylabel="token i")
    figure.colorbar(image, ax=list(below), label=r"$x_i \cdot x_j \, / \, |x_i| |x_j|$", shrink=0.9)
    describe(figure, f"Three things, each cut into {count} tokens, above the cosines between the tokens.")
    return figure


def curve_figure(
    x: Sequence[float] | np.ndarray,
    lines: Mapping[str, Any],
    *,
    axes_labels: tuple[str, str],
    both_log: bool = False,
    dashed: Sequence[str] = (),
    mark: float | None = None,
    size: tuple[float, float] = (5.4, 2.9),
) -> Figure:
    """Curves over a logarithmic axis.

    Parameters
    ----------
    x
        Positive numbers.
    lines
        Numbers as many as ``x``, by what to call them.
    axes_labels
        Of ``x`` and of the numbers.
    both_log
        The vertical axis is logarithmic as well; otherwise it goes from 0 to a little above 1.
    dashed
        Lines to draw thin, dashed and without marks, as references.
    mark
        Where to draw a thin vertical line.
    size
        Width and height in inches.
    """
    figure = new_figure(*size)
    ax = figure.subplots()
    colours = iter((OKABE_ITO[0], OKABE_ITO[5], OKABE_ITO[2], OKABE_ITO[1]))
    if mark is not None:
        ax.axvline(mark, color="#bbbbbb", lw=1)
    for name, values in lines.items():
        few = {"marker": "o", "ms": 5} if len(x) < 20 else {}
        style: dict[str, Any] = {"color": QUIET, "lw": 1.3, "ls": "--"}
        if name not in dashed:
            style = {"color": next(colours), "lw": 2, **few}
        ax.plot(x, np.asarray(values), label=name, **style)
    ax.set(xscale="log", xlabel=axes_labels[0], ylabel=axes_labels[1])
    ax.set(yscale="log") if both_log else ax.set(ylim=(0, 1.05))
    if len(x) < 10:
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)
    describe(figure, f"{axes_labels[1]} against {axes_labels[0]}: {', '.join(lines)}.")
    return figure


def sun_picture() -> Tensor:
    """A computed picture, ``[y, x]`` = 16 x 80 points of brightness: sun, glow, and a brighter horizon."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 5, 80), indexing="ij")
    distance = ((x - 1.85) ** 2 + (y - 0.45) ** 2).sqrt()
    return 0.3 * y + torch.exp(-((distance / 0.38) ** 4)) + 0.5 * torch.exp(-((distance / 0.9) ** 2))


def cut(values: Tensor, count: int) -> Tensor:
    """A strip ``[y, x]``, less its mean, as ``count`` tokens side by side: ``[token, number]``."""
    if values.shape[1] % count:
        raise UserError(
            f"The strip is {values.shape[1]} points wide, which cannot be cut into {count} tokens."
        )
    pieces = values.unflatten(1, (count, -1)).transpose(0, 1)
    return pieces.flatten(1) - values.mean()


def cosines(tokens: Tensor) -> Tensor:
    """Dot products of all pairs of tokens ``[token, number]`` over their lengths, ``[token, token]``."""
    directions = tokens / tokens.norm(dim=1, keepdim=True)
    return directions @ directions.T


def _write_entries(ax: Axes, matrix: Tensor, top: float, signed: bool) -> None:
    for (i, j), value in np.ndenumerate(matrix.numpy()):
        part = value / top
        dark = abs(part) > 0.6 if signed else part < 0.6
        text = f"{value:.1f}".replace("-0.0", "0.0").replace("-", "−")
        ax.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
