"""Area-conservative regridding between regular latitude-longitude grids.

A cell reaches half-way to its neighbours; its area on the sphere is (longitudes) x (difference of the sine
of latitude), so the mean over a coarser cell is a product of two small matrices of overlaps, one for latitude
and one for longitude (first-order conservative remapping: Jones 1999, Mon. Wea. Rev. 127, eq. 4).  The
integral of a field over the sphere stays what it was.
"""

from __future__ import annotations

import numpy as np

from atmorep_lite.errors import UserError


def latitude_bounds(latitude: np.ndarray) -> np.ndarray:
    """Edges ``[n + 1]`` of the cells of latitudes ``[n]`` in degrees, in the same order; none past a pole.

    An outermost row nearer to a pole than to its neighbour reaches the pole: those of a Gaussian grid lie
    0.77 of a grid distance off.
    """
    bounds = np.clip(_half_way(latitude), -90.0, 90.0)
    for outer, inner in ((0, 1), (-1, -2)):
        distance = abs(latitude[outer] - latitude[inner])
        if 90.0 - abs(latitude[outer]) < 0.99 * distance:  # a whole one: the row at the pole was left out
            bounds[outer] = np.copysign(90.0, latitude[outer])
    return bounds


def longitude_bounds(longitude: np.ndarray) -> np.ndarray:
    """Edges ``[n + 1]`` of the cells of ascending longitudes ``[n]`` in degrees."""
    return _half_way(longitude)


def _half_way(centres: np.ndarray) -> np.ndarray:
    centres = np.asarray(centres, float)
    if len(centres) < 2:
        raise UserError(
            "a grid to regrid needs at least 2 points in latitude and longitude; take a larger region"
        )
    inside = (centres[1:] + centres[:-1]) / 2
    return np.concatenate(([2 * centres[0] - inside[0]], inside, [2 * centres[-1] - inside[-1]]))


def latitude_weights(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Shares ``[target, source]`` of the area of each target cell, from edges ``[n + 1]`` in degrees.

    A row sums to 1 where the source covers the target cell wholly, to less elsewhere.
    """
    edges = [np.sin(np.deg2rad(bounds)) for bounds in (source, target)]
    return _overlap(*edges)


def longitude_weights(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Shares ``[target, source]`` of the width of each target cell; 360 degrees further is the same place."""
    turns = (-720.0, -360.0, 0.0, 360.0, 720.0)
    return np.sum([_overlap(source + turn, target) for turn in turns], axis=0)


def _overlap(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    lows = np.minimum(source[1:], source[:-1]), np.minimum(target[1:], target[:-1])
    highs = np.maximum(source[1:], source[:-1]), np.maximum(target[1:], target[:-1])
    shared = np.minimum(highs[1][:, None], highs[0]) - np.maximum(lows[1][:, None], lows[0])
    return shared.clip(0.0) / (highs[1] - lows[1])[:, None]


def regrid(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Mean over each target cell.

    Parameters
    ----------
    values
        ``[..., latitude, longitude]`` on the source grid.
    rows, columns
        Weights ``[target, source]`` of latitude and longitude.

    Returns
    -------
    numpy.ndarray
        ``[..., latitude, longitude]`` on the target grid, float32.  Where values are NaN, the mean of the
        others in the cell; NaN where they cover less than half of it.
    """
    rows, columns = rows.astype(np.float32), columns.astype(np.float32).T
    values = values.astype(np.float32, copy=False)
    bad = np.isnan(values)
    if not bad.any():
        return np.matmul(np.matmul(rows, values), columns)
    total = np.matmul(np.matmul(rows, np.where(bad, np.float32(0), values)), columns)
    share = np.matmul(np.matmul(rows, (~bad).astype(np.float32)), columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(share >= 0.5 - 1e-6, total / share, np.float32(np.nan))


def target_grid(resolution: float) -> tuple[np.ndarray, np.ndarray]:
    """Latitudes (north to south, poles included) and longitudes (from 0) of a global grid, in degrees.

    Raises
    ------
    UserError
        If 180 degrees are no whole number of steps.
    """
    count = 180.0 / resolution if resolution > 0 else 0.5
    if abs(count - round(count)) > 1e-6 * count or count < 2:
        near = 180.0 / max(2, round(count))
        raise UserError(
            f"180 degrees are no whole number of steps of {resolution:g}; take {near:g} or another divisor"
        )
    steps = round(count)
    latitude = np.linspace(90.0, -90.0, steps + 1).round(6)
    return latitude, (np.arange(2 * steps) * (180.0 / steps)).round(6)
