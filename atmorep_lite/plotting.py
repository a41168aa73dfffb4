"""Maps and figures.  Needs the extra ``plot`` (matplotlib, cartopy); coastlines come with the package.

Colours can be told apart by colour-blind readers: viridis for amounts, red-blue around zero for what has a
sign, Okabe and Ito's palette for lines.  A figure of simulated weather says so.  Every figure carries a
sentence for those who cannot see it, :func:`~atmorep_lite.figures.figure_alt_text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.figures import INK, OKABE_ITO, QUIET, describe, new_figure
from atmorep_lite.figures import figure_alt_text as figure_alt_text
from atmorep_lite.figures import save_figure as save_figure
from atmorep_lite.labels import drawn_units, long_name, moment
from atmorep_lite.layout import hours, is_simulated
from atmorep_lite.verification import MEAN, PERSISTENCE, area_weights, relative_to_persistence

if TYPE_CHECKING:
    import pandas as pd
    from cartopy.crs import Projection
    from cartopy.mpl.geoaxes import GeoAxes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

ASSETS = Path(__file__).parent / "assets" / "cartopy"
CLIMATOLOGY = "climatology"
SIGNED = {
    "vorticity",
    "divergence",
    "u_component_of_wind",
    "v_component_of_wind",
    "vertical_velocity",
    "10m_u_component_of_wind",
    "10m_v_component_of_wind",
}


@dataclass(frozen=True)
class Scale:
    """How values become colours: limits in the units drawn, colour map, and whether zero is the middle."""

    low: float
    high: float
    colours: str


def use_offline_coastlines() -> None:
    """Let cartopy find the coastlines of this package, so that ``ax.coastlines("110m")`` asks no server.

    Raises
    ------
    UserError
        If cartopy is not installed, or the coastlines are missing from the package.
    """
    try:
        import cartopy
    except ImportError as error:
        raise UserError(
            'drawing maps needs cartopy; install it with `pip install "atmorep-lite[plot]"`'
        ) from error
    coast = "shapefiles/natural_earth/physical/ne_110m_coastline.shp"
    if not (ASSETS / coast).exists():
        raise UserError(f"{ASSETS / coast} is missing; install atmorep-lite again")
    if not (Path(cartopy.config["pre_existing_data_dir"]) / coast).exists():
        cartopy.config["pre_existing_data_dir"] = ASSETS


def map_field(
    data: xr.DataArray,
    ax: GeoAxes | None = None,
    *,
    scale: Scale | None = None,
    projection: Projection | None = None,
    title: str | None = None,
    simulated: bool | None = None,
    colorbar: bool = True,
) -> QuadMesh:
    """Draw one latitude-longitude map with coastlines.

    Parameters
    ----------
    data
        ``[latitude, longitude]`` in SI units; its name says the field.  A region is shown as a region.
    ax
        Where to draw; by default a new figure, reached as ``map_field(...).figure``.
    scale
        By default of the data: viridis, or red-blue around zero for fields with a sign.
    projection
        Of the new figure: by default Robinson for the globe and PlateCarree for a region.
    title
        By default field, level and time as far as the data says them, and "simulated" where it is.
    simulated
        Whether a model made the data; by default what its attribute ``simulated`` says.
    colorbar
        Draw the colours' scale with its units below the map.

    Raises
    ------
    UserError
        If the data is not a map, or cartopy is missing.
    """
    use_offline_coastlines()
    from cartopy import crs
    from cartopy.feature import NaturalEarthFeature

    if set(data.dims) != {"latitude", "longitude"}:
        raise UserError(
            f"a map needs the dimensions latitude and longitude, not {data.dims}; select the others first"
        )
    name = str(data.name)
    caption = _caption(data, is_simulated(data) if simulated is None else simulated)
    latitude, longitude = _edges(data)
    if ax is None:
        figure = new_figure(7.2, 6.2 * _aspect(latitude, longitude) + 1.1, layout="compressed")
        ax = figure.add_subplot(projection=projection or _projection(longitude))
        describe(figure, f"Map of {caption}. {_range_sentence(data, name)}")
    scale = scale or field_scale([data], name)
    factor, units = drawn_units(name, data)
    values = data.transpose("latitude", "longitude").values * factor
    mesh = ax.pcolormesh(
        longitude,
        latitude,
        values,
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
        transform=crs.PlateCarree(),
        rasterized=True,
    )
    for width, colour in ((1.3, "white"), (0.5, INK)):  # dark lines in a light halo show on any colour
        coast = NaturalEarthFeature("physical", "coastline", "110m", facecolor="none", edgecolor=colour)
        ax.add_feature(coast, linewidth=width, alpha=0.35 if colour == "white" else 0.9)
    if _is_global(longitude):
        ax.set_global()
    else:
        middle = (longitude[0] + longitude[-1]) / 2
        plain = crs.PlateCarree(central_longitude=middle)
        ax.set_extent([*(longitude[[0, -1]] - middle), *np.sort(latitude[[0, -1]])], crs=plain)
        lines = ax.gridlines(draw_labels=["left", "bottom"], linewidth=0.3, color=QUIET, alpha=0.6)
        lines.xlabel_style = lines.ylabel_style = {"size": 8, "color": QUIET}
    ax.spines["geo"].set(linewidth=0.6, edgecolor=QUIET)
    ax.set_title(caption if title is None else title, loc="left", fontsize=10, color=INK)
    if colorbar:
        draw_colorbar([mesh], units)
    return mesh


def draw_colorbar(meshes: Sequence[QuadMesh], units: str) -> None:
    """A slim scale below maps that share it, pointed where values lie outside the limits."""
    values = np.concatenate([np.asarray(mesh.get_array()).ravel() for mesh in meshes])
    low, high = meshes[0].get_clim()
    rounding = 1e-6 * (high - low)
    below, above = np.nanmin(values) < low - rounding, np.nanmax(values) > high + rounding
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    axes: list[Any] = [mesh.axes for mesh in meshes]
    bar = axes[0].figure.colorbar(
        meshes[0], ax=axes, orientation="horizontal", extend=extend, shrink=0.72, aspect=34, pad=0.04
    )
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=8, width=0.4, length=3, colors=INK)
    bar.set_label(units, fontsize=9, color=INK)


def field_scale(maps: Sequence[xr.DataArray], name: str, *, signed: bool | None = None) -> Scale:
    """One scale for several maps of a field: from the 0.5th to the 99.5th percentile, in the units drawn."""
    factor, _ = drawn_units(name, maps[0])
    values = np.concatenate([np.asarray(m.values, np.float64).ravel() for m in maps]) * factor
    values = values[np.isfinite(values)]
    if not values.size:
        raise UserError(f"there is no finite value of {name} to draw; choose another time or level")
    if signed if signed is not None else name in SIGNED:
        top = float(np.percentile(np.abs(values), 99.5)) or 1.0
        return Scale(-top, top, "RdBu_r")
    low, high = (float(x) for x in np.percentile(values, [0.5, 99.5]))
    return Scale(low, high if high > low else low + 1.0, "viridis")


def forecast_maps(
    truth: xr.Dataset,
    forecast: xr.Dataset,
    field: str,
    *,
    level: int,
    lead_hours: int,
    time: np.datetime64 | str | None = None,
) -> Figure:
    """Truth, forecast and error side by side, at the forecast's valid time.

    Parameters
    ----------
    truth
        ``[time, level, latitude, longitude]``.
    forecast
        ``[time, prediction_timedelta, (number), level, latitude, longitude]``; of an ensemble the mean is
        drawn.
    field, level, lead_hours
        What to draw; level in hPa, lead in hours.
    time
        Initial time; by default the first.

    Raises
    ------
    UserError
        If the forecast or the truth lacks what was asked for.
    """
    initial = np.asarray(forecast["time"].values[0] if time is None else time, "datetime64[ns]")
    valid = initial + hours(lead_hours)
    try:
        ahead = forecast[field].sel(level=level, time=initial, prediction_timedelta=hours(lead_hours))
        grid = {name: ahead[name] for name in ("latitude", "longitude")}
        right = truth[field].sel(level=level, time=valid).sel(grid, method="nearest", tolerance=1e-3)
    except KeyError as error:
        raise UserError(
            f"no {field} at {level} hPa, {lead_hours} h after {moment(initial)}, in both forecast and truth "
            f"({error}); choose what both have"
        ) from error
    members = ahead.sizes.get("number", 1)
    predicted = (ahead.mean("number") if members > 1 else ahead.squeeze(drop=True)).rename(field)
    right = right.assign_coords(grid)
    error_map = (predicted.reset_coords(drop=True) - right.reset_coords(drop=True)).rename(field)
    error_map.attrs = dict(right.attrs)
    latitude, longitude = _edges(right)
    figure = new_figure(11.0, 3.4 * _aspect(latitude, longitude) + 1.25, layout="compressed")
    axes = figure.subplots(1, 3, subplot_kw={"projection": _projection(longitude)})
    shared = field_scale([right, predicted], field)
    factor, units = drawn_units(field, right)
    what = "Forecast" if members == 1 else f"Forecast, mean of {members} members"
    own = field_scale([error_map], field, signed=True)
    panels = [
        (right, shared, "Truth"),
        (predicted, shared, what),
        (error_map, own, "Error: forecast − truth"),
    ]
    meshes = [
        map_field(data, ax, scale=scale, title=title, colorbar=False)
        for ax, (data, scale, title) in zip(axes, panels, strict=True)
    ]
    draw_colorbar(meshes[:2], units)
    draw_colorbar(meshes[2:], units)
    mark = ", simulated" if is_simulated(truth) else ""
    when = f"valid {moment(valid)}, {lead_hours} h after {moment(initial)}"
    figure.suptitle(
        f"{long_name(field)} at {level} hPa{mark}  ·  {when}", x=0.01, ha="left", fontsize=11, color=INK
    )
    rmse = float(np.sqrt((error_map**2).weighted(_weights(error_map)).mean())) * factor
    describe(
        figure,
        f"Three maps of {long_name(field).lower()} at {level} hPa{mark}, {when}: truth, "
        f"{what[0].lower() + what[1:]}, and error. {_range_sentence(right, field)} "
        f"The error has a root mean square of {rmse:.3g} {units}.",
    )
    return figure


def skill_plot(table: pd.DataFrame) -> Figure:
    """RMSE over that of persistence against lead time: one panel for the mean, one for each field.

    Parameters
    ----------
    table
        As made by :func:`atmorep_lite.verification.skill_table`, with the model ``"persistence"``.

    Raises
    ------
    UserError
        If the table has no row of persistence.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ratios = relative_to_persistence(table)
    models = [m for m in ratios["model"].unique() if m != PERSISTENCE]
    learned = [m for m in models if m != CLIMATOLOGY]
    colours = {m: OKABE_ITO[i % len(OKABE_ITO)] for i, m in enumerate(learned)} | {CLIMATOLOGY: "#999999"}
    panels = list(ratios["field"].unique())
    leads = sorted(ratios["lead_hours"].unique())
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(3.0 * columns + 0.6, 2.35 * rows + 0.9)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, panel in zip(axes, panels, strict=False):
        ax.axhline(1.0, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        for i, model in enumerate(models):
            line = ratios[(ratios["field"] == panel) & (ratios["model"] == model)].sort_values("lead_hours")
            ax.plot(
                line["lead_hours"],
                line["ratio"],
                color=colours[model],
                marker="osD^vPX"[i % 7],
                markersize=4.5,
                linewidth=1.8,
                label=model,
            )
        ax.set_title("Mean of all fields" if panel == MEAN else long_name(panel), loc="left", fontsize=10,
                     fontweight="bold" if panel == MEAN else "normal", color=INK)  # fmt: skip
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 2, 5, 10]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_xticks(leads)
        ax.grid(axis="y", color="#dddddd", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=9, colors=INK, width=0.6)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    label = {"xytext": (0, 3), "textcoords": "offset points", "fontsize": 8, "color": INK}
    axes[0].annotate("persistence", (leads[0], 1.0), **label)
    figure.supxlabel("lead time (hours)", fontsize=10, color=INK)
    figure.supylabel("RMSE / RMSE of persistence", fontsize=10, color=INK)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=min(6, len(labels)), frameon=False, fontsize=9
    )
    longest = ratios[(ratios["field"] == MEAN) & (ratios["lead_hours"] == leads[-1])].sort_values("ratio")
    ranking = ", ".join(f"{row.model} {row.ratio:.2f}" for row in longest.itertuples())
    mark = " on simulated weather" if table.attrs.get("simulated") else ""
    if mark:
        figure.text(
            0.993, 0.985, "simulated weather", ha="right", va="top", fontsize=9, color=QUIET, style="italic"
        )
    describe(
        figure,
        f"Forecast error{mark} relative to persistence against lead time, in {len(panels)} panels: the mean "
        f"and each field. Mean ratio at {leads[-1]} hours, best first: {ranking}.",
    )
    return figure


def _projection(longitude_edges: np.ndarray) -> Projection:
    from cartopy import crs

    if _is_global(longitude_edges):
        return crs.Robinson()
    return crs.PlateCarree(central_longitude=float(longitude_edges[[0, -1]].mean()))


def _aspect(latitude_edges: np.ndarray, longitude_edges: np.ndarray) -> float:
    """Height over width of the map: Robinson's for the globe."""
    if _is_global(longitude_edges):
        return 0.507
    return float(abs(latitude_edges[-1] - latitude_edges[0]) / abs(longitude_edges[-1] - longitude_edges[0]))


def _is_global(longitude_edges: np.ndarray) -> bool:
    return bool(abs(longitude_edges[-1] - longitude_edges[0]) > 359.0)


def _edges(data: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Cell edges around the cell centres, latitude ``[n + 1]`` and longitude ``[m + 1]``, degrees.

    Latitudes end at the poles; longitudes run on past 360 where the data crosses 0.
    """
    latitude = data["latitude"].values.astype(np.float64)
    longitude = np.unwrap(data["longitude"].values.astype(np.float64), period=360)
    if min(latitude.size, longitude.size) < 2:
        raise UserError("a map needs at least two latitudes and two longitudes; choose a larger region")
    edges = []
    for centres in (latitude, longitude):
        middle = (centres[1:] + centres[:-1]) / 2
        edges.append(np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]]))
    return np.clip(edges[0], -90.0, 90.0), edges[1]


def _weights(data: xr.DataArray) -> xr.DataArray:
    return xr.DataArray(area_weights(data["latitude"]).values, dims="latitude")


def _caption(data: xr.DataArray, simulated: bool) -> str:
    words = [long_name(str(data.name))]
    if "level" in data.coords and data["level"].size == 1:
        words.append(f"at {data['level'].item():g} hPa")
    if "time" in data.coords and data["time"].size == 1:
        words.append(f"on {moment(data['time'].values)}")
    return " ".join(words) + (", simulated" if simulated else "")


def _range_sentence(data: xr.DataArray, name: str) -> str:
    factor, units = drawn_units(name, data)
    low, high = float(data.min()) * factor, float(data.max()) * factor
    mean = float(data.weighted(_weights(data)).mean()) * factor
    return f"Values from {low:.3g} to {high:.3g} {units}, mean {mean:.3g} {units}."
