"""Pictures of flows on the periodic square: frames in one colour scale, arrows on top."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from atmorep_lite.errors import UserError
from atmorep_lite.figures import INK, OKABE_ITO, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

SIDE = 2 * math.pi


def draw_field(
    ax: Axes, field: Tensor, *, limit: float, title: str = "", colours: str = "RdBu_r", side: float = SIDE
) -> AxesImage:
    """Draw ``field`` ``[y, x]``, y upwards, colours from -limit to limit; grid points are cell centres."""
    half = side / field.shape[-1] / 2
    extent = (-half, side - half, -half, side - half)
    image = ax.imshow(np.asarray(field), origin="lower", extent=extent, cmap=colours, vmin=-limit, vmax=limit)
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])
    return image


def frames_figure(
    rows: Mapping[str, Sequence[Tensor]],
    titles: Sequence[str],
    *,
    label: str = "vorticity (dimensionless)",
    limit: float | None = None,
    width: float = 1.75,
) -> Figure:
    """Small multiples: a row of fields ``[y, x]`` per entry, all in one colour scale.

    Parameters
    ----------
    rows
        Fields by the name of their row.
    titles
        Of the columns.
    limit
        End of the colour scale; the largest absolute value where left out.

    Raises
    ------
    UserError
        If a row has not one field for each title.
    """
    for name, fields in rows.items():
        if len(fields) != len(titles):
            raise UserError(
                f"the row {name} has {len(fields)} fields for {len(titles)} titles; give one each"
            )
    limit = limit or max(float(abs(field).max()) for fields in rows.values() for field in fields)
    figure = new_figure(width * len(titles) + 0.9, width * len(rows) + 0.35, layout="compressed")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, (name, fields) in enumerate(rows.items()):
        axes[row, 0].set_ylabel(name, fontsize=9)
        for column, field in enumerate(fields):
            image = draw_field(axes[row, column], field, limit=limit, title="" if row else titles[column])
    figure.colorbar(image, ax=axes, label=label, shrink=0.85, pad=0.02)
    return figure


def draw_arrows(ax: Axes, places: Tensor, arrows: Tensor, *, colour: str = INK, **style: Any) -> None:
    """Arrows ``[token, 2]`` (y, x) at ``places`` ``[token, 2]``, to scale: they end where they point to."""
    y, x = np.asarray(places).T
    v, u = np.asarray(arrows).T
    look: dict[str, Any] = {
        "width": 0.007,
        "headwidth": 4,
        "headlength": 4.5,
        "headaxislength": 4,
        "edgecolor": "white",
    }
    look |= {"linewidth": 0.4, "zorder": 3, "clip_on": True} | style
    ax.quiver(x, y, u, v, color=colour, angles="xy", scale_units="xy", scale=1, **look)


def arrows_figure(
    panels: Mapping[str, tuple[Tensor, Tensor, Tensor]],
    places: Tensor,
    *,
    least: float,
    limit: float = 3.0,
    width: float = 4.2,
) -> Figure:
    """Fields side by side, with true arrows in black and other ones in orange where the fluid moves.

    Parameters
    ----------
    panels
        Field ``[y, x]``, true arrows and arrows to compare, both ``[token, 2]``, by title.
    places
        ``[token, 2]``.
    least
        Arrows are drawn where the true one is at least this long.
    """
    figure = new_figure(width * len(panels), width)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, (field, truth, arrows)) in zip(axes, panels.items(), strict=True):
        moving = truth.norm(dim=-1) >= least
        draw_field(ax, field, limit=limit, title=title)
        draw_arrows(ax, places[moving], truth[moving], colour="black", width=0.009, headwidth=3.6)
        draw_arrows(ax, places[moving], arrows[moving], colour=OKABE_ITO[1], width=0.0055, linewidth=0)
    return figure


def translation_figure(
    errors: Mapping[str, float],
    before: Tensor,
    after: Tensor,
    weights: Tensor,
    place: Tensor,
    upstream: Tensor,
    looked: Tensor,
) -> Figure:
    """Errors of several networks as bars (the last one stands out), and what one token attends to.

    Parameters
    ----------
    errors
        By name.
    before, after
        One sample ``[y, x]``.
    weights
        Attention of one token, ``[token_y, token_x]``.
    place, upstream, looked
        Place of the token; where its content came from, and the centroid of its attention, relative to that
        place; ``[2]``, in tokens.
    """
    side = float(weights.shape[0])
    figure = new_figure(9.6, 2.5)
    bars, left, middle, right = figure.subplots(1, 4, width_ratios=[1.1, 1, 1, 1])
    bars.barh(list(errors), list(errors.values()), color=[OKABE_ITO[4]] * (len(errors) - 1) + [OKABE_ITO[5]])
    bars.invert_yaxis()
    bars.set(xlabel="relative error", xlim=(0, 1))
    draw_field(left, before, limit=3, title="before", side=side)
    draw_field(middle, after, limit=3, title="after: the framed token asks", side=side)
    seen = draw_field(right, weights, limit=1, title="what it attends to", side=side, colours="viridis")
    seen.set_clim(0, float(weights.max()))
    middle.plot(float(place[1]), float(place[0]), "s", mfc="none", mec="black", ms=8)
    for ax, arrow, colour in ((left, upstream, "black"), (right, looked, OKABE_ITO[1])):
        draw_arrows(ax, place[None], arrow[None], colour=colour, width=0.015)
    return figure


def enstrophy_spectrum(vorticity: Tensor) -> Tensor:
    """Enstrophy per area by wave number 1, 2, ..., mean over all leading axes: ``[..., y, x]`` -> ``[wave]``.

    Each wave vector counts for the nearest whole number; those shorter than two thirds of the grid's shortest
    wave, which the solver does not resolve, are left out.
    """
    points = vorticity.shape[-1]
    power = torch.fft.fft2(vorticity).abs().square().flatten(0, -3).mean(0) / points**4 / 2
    k = torch.fft.fftfreq(points, 1 / points)
    ring = torch.hypot(k[:, None], k[None]).round().long()
    total = torch.zeros(points).index_add(0, ring.flatten(), power.flatten())
    return total[1 : (points - 1) // 3 + 1]
