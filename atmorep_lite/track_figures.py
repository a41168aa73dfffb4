"""Tracks of cyclones on a map.  Needs the extra ``plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atmorep_lite.errors import UserError
from atmorep_lite.figures import INK, QUIET, describe, new_figure
from atmorep_lite.plotting import use_offline_coastlines

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Ten-minute or one-minute wind from which a system counts as a tropical storm and as a hurricane, m s-1.
STORM, HURRICANE = 17.5, 32.9
CATEGORIES = (
    ("below storm force, or unknown", -np.inf, "#9a9a9a", 0.8),
    (f"storm, {STORM:g} m/s and more", STORM, "#0072B2", 1.3),
    (f"hurricane force, {HURRICANE:g} m/s and more", HURRICANE, "#D55E00", 2.0),
)


def track_map(tracks: pd.DataFrame, *, margin: float = 5.0) -> Figure:
    """Tracks as lines, coloured by the wind at the beginning of each piece.

    Parameters
    ----------
    tracks
        A table with the columns ``storm``, ``time``, ``latitude``, ``longitude`` and ``wind`` as
        :func:`~atmorep_lite.data.tracks.read_tracks` makes it.
    margin
        Room around the tracks in degrees.

    Raises
    ------
    UserError
        If no storm has two positions, or cartopy is missing.
    """
    use_offline_coastlines()
    from cartopy import crs
    from cartopy.feature import NaturalEarthFeature
    from matplotlib.lines import Line2D

    storms = [rows for _, rows in tracks.groupby("storm", sort=False) if len(rows) > 1]
    if not storms:
        raise UserError("no storm of the table has two positions, so there is no track to draw")
    middle = _middle(tracks["longitude"].to_numpy())
    projection = crs.PlateCarree(central_longitude=middle)
    x = (tracks["longitude"].to_numpy() - middle + 180.0) % 360.0 - 180.0
    west, east = max(x.min() - margin, -180.0), min(x.max() + margin, 180.0)
    south = max(tracks["latitude"].min() - margin, -90.0)
    north = min(tracks["latitude"].max() + margin, 90.0)
    figure = new_figure(7.2, 7.2 * min(1.2, max(0.4, (north - south) / (east - west))) + 0.7)
    ax = figure.add_subplot(projection=projection)
    ax.set_extent([west, east, south, north], crs=projection)
    ax.add_feature(NaturalEarthFeature("physical", "coastline", "110m", facecolor="none"), lw=0.5, ec=INK)
    for rows in storms:
        along = (rows["longitude"].to_numpy() - middle + 180.0) % 360.0 - 180.0
        up, wind = rows["latitude"].to_numpy(), np.nan_to_num(rows["wind"].to_numpy(), nan=-1.0)
        for i in range(len(rows) - 1):
            if abs(along[i + 1] - along[i]) > 180.0:  # over the map's edge
                continue
            _, _, colour, width = [c for c in CATEGORIES if wind[i] >= c[1]][-1]
            ax.plot(along[i : i + 2], up[i : i + 2], color=colour, lw=width, solid_capstyle="round")
        ax.plot(along[0], up[0], "o", color=INK, ms=2.2)
    lines = ax.gridlines(draw_labels=["left", "bottom"], linewidth=0.3, color=QUIET, alpha=0.6)
    lines.xlabel_style = lines.ylabel_style = {"size": 8, "color": QUIET}
    first, last = str(tracks["time"].min())[:10], str(tracks["time"].max())[:10]
    title = f"{len(storms)} tracks, {first} to {last}"
    ax.set_title(title, loc="left", fontsize=10, color=INK)
    handles = [Line2D([], [], color=colour, lw=width, label=name) for name, _, colour, width in CATEGORIES]
    handles.append(Line2D([], [], color=INK, marker="o", ms=3, lw=0, label="first position"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    strongest = tracks["wind"].max()
    words = "no wind is known" if np.isnan(strongest) else f"the strongest wind is {strongest:.0f} m/s"
    describe(figure, f"Map of {title}, between {south:.0f} and {north:.0f} degrees north; {words}.")
    return figure


def _middle(longitude: np.ndarray) -> float:
    """The middle of the shortest stretch of longitudes that holds all of them, degrees east."""
    ordered = np.unique(longitude % 360.0)
    gaps = np.diff(np.append(ordered, ordered[0] + 360.0))
    widest = int(gaps.argmax())
    begin, extent = ordered[(widest + 1) % len(ordered)], 360.0 - gaps[widest]
    return float((begin + extent / 2) % 360.0)
