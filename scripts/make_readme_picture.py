"""Draw the picture of the README: a forecast beside the truth, and what one token of it attends to.

Run as `python scripts/make_readme_picture.py book/images/readme.png`. Needs the extra `plot`, the shipped
model, and the test record of `data_samples` (else it takes the sample inside the package).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from cartopy import crs
from cartopy.mpl.geoaxes import GeoAxes
from matplotlib.collections import QuadMesh
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import atmorep_lite as ar
from atmorep_lite.figures import INK, QUIET, describe, new_figure, save_figure
from atmorep_lite.labels import long_name
from atmorep_lite.plotting import field_scale, map_field, use_offline_coastlines

LEVEL, LEAD = 500, np.timedelta64(24, "h")
PLACE = {"latitude": 45.0, "longitude": 320.0}  # North Atlantic
FIELD = "vorticity"


def forecast_column(figure: Figure, weather: xr.Dataset, model: ar.AtmoRep, start: np.datetime64) -> float:
    """Truth above forecast; returns the forecast's RMSE over that of persistence."""
    from atmorep_lite.verification import area_weights

    predicted = ar.forecast(model, weather, [start], members=False)[FIELD]
    predicted = predicted.sel(time=start, prediction_timedelta=LEAD, level=LEVEL)
    truth, before = (weather[FIELD].sel(time=t, level=LEVEL) for t in (start + LEAD, start))
    scale = field_scale([truth], FIELD)
    axes = [_map_axes(figure, crs.Robinson(), 0.01, bottom, 0.385, 0.4) for bottom in (0.555, 0.125)]
    titles = ("Vorticity at 500 hPa, simulated: truth", "Forecast 24 hours ahead")
    meshes = [
        map_field(values, ax, scale=scale, title=title, colorbar=False)
        for ax, values, title in zip(axes, (truth, predicted), titles, strict=True)
    ]
    for ax in axes:
        ax.title.set_fontsize(10.5)
    _scale(figure, meshes[0], 0.06, 0.285, "10⁻⁵ s⁻¹", extend="both")
    area = area_weights(truth["latitude"])
    errors = [
        float(((guess.reset_coords(drop=True) - truth.reset_coords(drop=True)) ** 2).weighted(area).mean())
        for guess in (predicted, before)
    ]
    return float(np.sqrt(errors[0] / errors[1]))


def attention_column(figure: Figure, weather: xr.Dataset, model: ar.AtmoRep, start: np.datetime64) -> None:
    """What one token of the forecast attends to: a map for each field that it hears."""
    use_offline_coastlines()
    capture = ar.capture_attention(model, weather, start, **PLACE)
    field = capture.fields[FIELD]
    token = ar.token_at(field, level=LEVEL, **PLACE)
    layer = model.config.encoder_layers - 1
    maps = ar.attention_maps(capture, query_fields=[FIELD], layers=[layer], queries=[token])[FIELD].children
    shares = {}
    for name, node in maps.items():
        weights = node["attention"].mean("head").isel(layer=0, query=0).unstack("key")
        shares[name] = 100 * weights.sum(["key_level", "key_time"])
    norm = PowerNorm(0.5, 0, max(float(share.max()) for share in shares.values()))
    places = [(x, y) for y in (0.57, 0.165) for x in (0.425, 0.716)]
    axes = [_map_axes(figure, crs.PlateCarree(central_longitude=320), *at, 0.277, 0.29) for at in places]
    _, _, row, column = np.unravel_index(token, field.mask.shape)
    height, width = field.token_size
    corner = field.longitude[column] - width / 2, field.latitude[row] - height / 2
    mesh = None
    for ax, (name, share) in zip(axes, shares.items(), strict=True):
        mesh = ax.pcolormesh(
            share["key_longitude"],
            share["key_latitude"],
            share.transpose("key_latitude", "key_longitude"),
            cmap="magma_r",
            norm=norm,
            transform=crs.PlateCarree(),
        )
        _finish(ax, "vorticity itself" if name == FIELD else long_name(name).lower())
        ax.add_patch(
            Rectangle(corner, width, height, fill=False, ec="#009E73", lw=2, transform=crs.PlateCarree())
        )
    _scale(
        figure,
        mesh,
        0.5,
        0.42,
        "share of the attention, all hours and levels (%)",
        ticks=[0, 1, 2, 5, 10, 20],
    )
    figure.text(0.425, 0.965, "What the framed token of the forecast attends to", fontsize=10.5, color=INK)


def _map_axes(
    figure: Figure, projection: crs.Projection, left: float, bottom: float, width: float, height: float
) -> GeoAxes:
    """Axes of a map at a place given in parts of the figure."""
    return figure.add_axes((left, bottom, width, height), projection=projection)


def _scale(
    figure: Figure, mesh: QuadMesh | None, left: float, width: float, label: str, **how: object
) -> None:
    """A slim colour scale along the bottom."""
    bar = figure.colorbar(
        mesh, cax=figure.add_axes((left, 0.095, width, 0.02)), orientation="horizontal", **how
    )
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=8, width=0.4, length=3, colors=INK)
    bar.set_label(label, fontsize=8, color=INK, labelpad=1)


def _finish(ax: GeoAxes, title: str) -> None:
    ax.coastlines("110m", linewidth=0.7, color=INK)
    ax.spines["geo"].set(linewidth=0.6, edgecolor=QUIET)
    ax.set_title(title, loc="left", fontsize=9, color=INK)


def draw() -> Figure:
    """The whole picture, 1600 pixels wide as save_figure writes it."""
    try:
        weather = ar.open_sample("test")
    except ar.UserError:
        weather = ar.open_sample()
    start = weather["time"].values[weather.sizes["time"] // 2]
    model = ar.AtmoRep.from_pretrained("demo")
    figure = new_figure(10, 5)
    figure.set_layout_engine("none")
    ratio = forecast_column(figure, weather, model, start)
    attention_column(figure, weather, model, start)
    describe(
        figure,
        "Left: vorticity of the simulated atmosphere, truth and 24-hour forecast, whose error is "
        f"{ratio:.2f} of that of persistence. Right: four maps of what one token of the forecast over the "
        "North Atlantic attends to, in vorticity itself, both wind components and temperature; most of the "
        "weight lies around its own place.",
    )
    return figure


if __name__ == "__main__":
    save_figure(draw(), Path(sys.argv[1]))
