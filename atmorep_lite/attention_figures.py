"""Static figures of attention: who listens to whom, where one token looks, heads beside their controls.

All maps of weights in a figure share one scale, weight over uniform weight, so that 1 is what chance gives.
For the page that reacts see :class:`~atmorep_lite.widgets.AttentionExplorer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from torch import Tensor

from atmorep_lite.config import ModelConfig, Triple
from atmorep_lite.errors import UserError
from atmorep_lite.figures import INK, OKABE_ITO, QUIET, describe, new_figure
from atmorep_lite.labels import long_name
from atmorep_lite.layout import is_simulated
from atmorep_lite.plotting import map_field, use_offline_coastlines
from atmorep_lite.tokens import detokenize

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def fields_in_tokens(fields: Sequence[xr.DataArray], token_size: Triple) -> Figure:
    """Maps of a region side by side, cut by the edges of tokens.

    Parameters
    ----------
    fields
        ``[latitude, longitude]`` in SI units, regions whose first row and column begin a token.
    token_size
        Time steps, rows, columns.
    """
    from cartopy import crs

    figure = new_figure(4.4 * len(fields), 3.3, layout="compressed")
    for i, data in enumerate(fields):
        north, east = data["latitude"].values, data["longitude"].values
        steps = north[0] - north[1], east[1] - east[0]
        projection = crs.PlateCarree(central_longitude=float(east.mean()))
        ax: Any = figure.add_subplot(1, len(fields), i + 1, projection=projection)
        place = f" at {data['level'].item():g} hPa" if "level" in data.coords else ""
        mark = ", simulated" if is_simulated(data) else ""
        map_field(data, ax, title=f"{long_name(str(data.name))}{place}{mark}")
        rows = north[0] + steps[0] / 2 - steps[0] * np.arange(0, len(north) + 1, token_size[1])
        columns = east[0] - steps[1] / 2 + steps[1] * np.arange(0, len(east) + 1, token_size[2])
        style: dict[str, Any] = {
            "colors": INK,
            "linewidths": 0.9,
            "transform": crs.PlateCarree(),
            "zorder": 3,
        }
        ax.hlines(rows, columns[0], columns[-1], **style)
        ax.vlines(columns, rows[-1], rows[0], **style)
    names = " and ".join(long_name(str(data.name)).lower() for data in fields)
    describe(figure, f"Maps of {names}, cut into tokens of {token_size[1]} by {token_size[2]} points.")
    return figure


def coupling_graph(config: ModelConfig, names: Mapping[str, str] | None = None) -> Figure:
    """Fields as discs in a ring; an arrow leads from the field that is heard to the field that listens.

    Parameters
    ----------
    names
        What to write into the discs, by field name; the field names themselves by default.
    """
    fields = config.names
    names = names or {name: name for name in fields}
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(fields)) / len(fields)
    at = dict(zip(fields, np.stack((np.cos(angle), np.sin(angle)), 1), strict=True))
    ink = {name: OKABE_ITO[i % len(OKABE_ITO)] for i, name in enumerate(fields)}
    figure = new_figure(3.9, 3.7)
    ax = figure.subplots()
    arrow = {"arrowstyle": "-|>", "shrinkA": 20, "shrinkB": 20, "connectionstyle": "arc3,rad=0.13", "lw": 1.6}
    for field in config.fields:
        for other in field.coupled_to:
            ax.annotate("", at[field.name], at[other], arrowprops=arrow | {"color": ink[other]})
        x, y = at[field.name]
        ax.scatter(x, y, s=1200, fc="white", ec=ink[field.name], lw=3)
        ax.text(x, y, names[field.name], ha="center", va="center", fontsize=11, color=INK)
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.15, 1.3), aspect="equal")
    ax.axis("off")
    heard = "; ".join(f"{f.name} listens to {', '.join(f.coupled_to) or 'nobody'}" for f in config.fields)
    describe(figure, f"Graph of {len(fields)} fields: {heard}.")
    return figure


def weight_maps(
    rows: Mapping[str, xr.DataArray], *, level: int, columns: Sequence[str] | None = None, most: float = 30.0
) -> Figure:
    """Where one token looks: a row of maps for each entry, a column for each time of the keys.

    Parameters
    ----------
    rows
        Label to ``[key]`` weights of one query and head (``weights.isel(query=0, head=0)``), labelled as
        :func:`~atmorep_lite.attention_maps.attention_maps` does.  Each sums to 1 over levels, times, places.
    level
        Of the keys, hPa.
    columns
        Names of the times; by default hours before or after the query.
    most
        Colours run from ``1 / most`` to ``most`` times the uniform weight.

    Raises
    ------
    UserError
        If an entry is not the map of one token and head.
    """
    from cartopy import crs
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    use_offline_coastlines()
    for label, weights in rows.items():
        if weights.dims != ("key",):
            raise UserError(
                f"{label} has the dimensions {weights.dims}, not key alone; choose one layer, head and query"
            )
    first = next(iter(rows.values()))
    times = np.unique(first["key_time"].values)
    middle = float(np.mean(np.unique(first["key_longitude"].values)))
    height = 1.12 * len(rows) + 0.75
    figure = new_figure(2.45 * len(times), height, layout="compressed")
    projection: dict[str, Any] = {"projection": crs.PlateCarree(central_longitude=middle)}
    axes = figure.subplots(len(rows), len(times), subplot_kw=projection, squeeze=False)
    plain, meshes = crs.PlateCarree(), []
    for line, (label, weights) in zip(axes, rows.items(), strict=True):
        asked = {axis: weights[f"query_{axis}"].item() for axis in ("latitude", "longitude")}
        asked_time = weights["query_time"].values
        size = weights.sizes["key"]
        for i, (ax, time) in enumerate(zip(line, np.unique(weights["key_time"].values), strict=True)):
            grid = weights.unstack("key").sel(key_level=level, key_time=time) * size
            north, east = grid["key_latitude"].values, grid["key_longitude"].values
            norm = LogNorm(1 / most, most)
            meshes.append(ax.pcolormesh(east, north, grid.values, norm=norm, cmap="RdBu_r", transform=plain))
            ax.coastlines("110m", linewidth=0.5, color=INK)
            steps = float(abs(east[1] - east[0])), float(abs(north[1] - north[0]))
            corner = asked["longitude"] - steps[0] / 2, asked["latitude"] - steps[1] / 2
            here = bool(time == asked_time)
            style: dict[str, Any] = {
                "lw": 2.0 if here else 1.1,
                "ls": "-" if here else ":",
                "ec": "black",
                "fill": False,
            }
            ax.add_patch(Rectangle(corner, *steps, transform=plain, zorder=4, **style))
            ax.spines["geo"].set(linewidth=0.5, edgecolor=QUIET)
            lag = (time - asked_time) / np.timedelta64(1, "h")
            name = columns[i] if columns is not None else f"{lag:+.0f} h"
            ax.set_title(f"{label}, {name}", fontsize=9, loc="left", color=INK)
    bar = figure.colorbar(meshes[0], ax=axes, shrink=0.7, aspect=22, label="weight / uniform weight")
    ticks = [t for t in (0.01, 0.1, 1, 10, 100) if 1 / most <= t <= most]
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.4)
    words = ", ".join(f"{label} up to {float(w.max()) * w.sizes['key']:.0f}" for label, w in rows.items())
    describe(figure, f"Maps of attention weight over uniform weight at {level} hPa: {words}.")
    return figure


def head_atlas(tables: Mapping[str, pd.DataFrame], *, x: str, y: str, labels: Sequence[str]) -> Figure:
    """Every head as a point: self heads round, couplings triangular; the first table filled, others hollow.

    Parameters
    ----------
    tables
        Name to what :func:`~atmorep_lite.attention_maps.heads.head_table` returns.
    x, y
        Columns of the tables.
    labels
        Of the two axes, with units.
    """
    figure = new_figure(5.6, 3.7)
    ax = figure.subplots()
    for number, (name, table) in enumerate(tables.items()):
        for kind, mark, ink in (("self", "o", OKABE_ITO[0]), ("coupling", "^", OKABE_ITO[5])):
            part = table[table["kind"] == kind]
            fill = ink if number == 0 else "none"
            style: dict[str, Any] = {
                "marker": mark,
                "ec": ink,
                "fc": fill,
                "lw": 0.9,
                "alpha": 1.0 if number else 0.8,
            }
            ax.scatter(part[x], part[y], 30, label=f"{kind}, {name}", **style)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)
    words = "; ".join(
        f"{name}, {kind}: mean {x} {part[x].mean():.2f}, {y} {part[y].mean():.2f}"
        for name, table in tables.items()
        for kind, part in table.groupby("kind")
    )
    describe(figure, f"Scatter plot of heads. {words}.")
    return figure


def field_matrices(panels: Mapping[str, pd.DataFrame], *, percent: Sequence[bool] | None = None) -> Figure:
    """Tables of field against field side by side, as coloured squares with their numbers; NaN stays white.

    Parameters
    ----------
    panels
        Title to table: rows listen, columns are heard.
    percent
        For each panel whether its numbers are shares to be written as percentages.
    """
    figure = new_figure(4.1 * len(panels), 3.8)
    axes = np.atleast_1d(np.asarray(figure.subplots(1, len(panels))))
    for i, (ax, (title, table)) in enumerate(zip(axes, panels.items(), strict=True)):
        values = table.to_numpy(float)
        top = float(np.nanmax(np.abs(values)))
        ax.imshow(values, cmap="viridis", vmin=0.0, vmax=top)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                text = f"{100 * value:.1f} %" if percent is not None and percent[i] else f"{value:.2f}"
                ink = "white" if value < 0.6 * top else "black"
                ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
        ax.set_xticks(range(len(table.columns)), list(table.columns))
        ax.set_yticks(range(len(table.index)), list(table.index))
        ax.set(xlabel="field that is heard", ylabel="field that listens")
        ax.set_title(title, fontsize=10, loc="left", color=INK)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    describe(figure, f"{len(panels)} tables of field against field: {'; '.join(panels)}.")
    return figure


def token_maps(
    values: Mapping[str, Tensor], token_size: Triple, *, level: int, step: int, sample: int = 0
) -> Figure:
    """Several guesses of one neighbourhood side by side, put together from their tokens.

    Parameters
    ----------
    values
        Title to ``[batch, level, token_time, token_lat, token_lon, channel]``, normalised; the first entry is
        the truth.  Titles of the others name the root mean square error relative to that of zero, which is
        the climatological mean, over all levels and times of the sample.
    level, step, sample
        Which level (by number), time step and sample to draw.
    """
    panels = {title: detokenize(part, token_size)[sample] for title, part in values.items()}
    first, truth = next(iter(panels.items()))
    top = float(truth[level, step].abs().max())
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(2.4 * columns + 0.6, 1.45 * rows + 0.1, layout="compressed")
    axes = np.asarray(figure.subplots(rows, columns, squeeze=False)).ravel()
    for ax in axes[len(panels) :]:
        ax.axis("off")
    words = []
    for ax, (title, guess) in zip(axes, panels.items(), strict=False):
        image = ax.imshow(guess[level, step].numpy(), cmap="RdBu_r", vmin=-top, vmax=top)
        error = float((guess - truth).square().mean().sqrt() / truth.square().mean().sqrt())
        words.append(title if title == first else f"{title} {error:.2f}")
        ax.set_title(words[-1], fontsize=9, loc="left", color=INK)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(linewidth=0.5, edgecolor=QUIET)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=18, label="standard deviations")
    bar.outline.set_linewidth(0.4)
    describe(figure, f"Maps of one neighbourhood with errors relative to zero: {', '.join(words)}.")
    return figure


def square_maps(maps: Mapping[str, Tensor]) -> Figure:
    """Whole attention maps side by side, with one scale: title to weights ``[query, key]``."""
    figure = new_figure(2.65 * len(maps) + 0.7, 3.2)
    axes = np.atleast_1d(np.asarray(figure.subplots(1, len(maps), sharey=True)))
    for ax, (title, weights) in zip(axes, maps.items(), strict=True):
        image = ax.imshow(weights.numpy(), cmap="viridis", vmin=0, vmax=1)
        ax.set_xlabel("place j looked at", color=INK)
        ax.set_title(title, fontsize=10, loc="left", color=INK)
    axes[0].set_ylabel("place i that looks", color=INK)
    bar = figure.colorbar(image, ax=axes, label="attention weight")
    bar.outline.set_linewidth(0.4)
    describe(figure, f"Square pictures of attention weights: {', '.join(maps)}.")
    return figure
