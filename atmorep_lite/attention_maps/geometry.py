"""Ways between tokens: on the sphere along great circles, on a plane the shortest way round.

On the sphere a way is told as (north, east) in km at its start: the great-circle distance along the initial
bearing (azimuthal equidistant coordinates).  On a plane it is (y, x) in the box's units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from atmorep_lite.attention_maps.arrows import shortest
from atmorep_lite.attention_maps.captured import AttentionCapture

EARTH_RADIUS = 6371.0  # km
HOUR = np.timedelta64(1, "h")


def minimum_image(difference: Any, side: float | None) -> Any:
    """Each difference (any kind of array), the short way round a circle of length ``side`` (None: a line)."""
    return difference if side is None else (difference + side / 2) % side - side / 2


def ways(capture: AttentionCapture, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Ways from places to places of a capture's kind: ``[..., 2]`` and ``[..., 2]`` -> ``[..., 2]``.

    Places are (latitude, longitude) in degrees or (y, x), and broadcast against each other.  At exactly half
    of a periodic box, where two ways are equal, the way is 0: their mean, as a centroid needs it.
    """
    if capture.geometry == "sphere":
        return _sphere_ways(start, end)
    sides = capture.period or (None, None)
    return np.stack([_balanced(end[..., i] - start[..., i], sides[i]) for i in (0, 1)], -1)


def follow(capture: AttentionCapture, start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Where ways lead: the inverse of :func:`ways`.

    On the sphere longitudes are within 180 degrees of the start; on a periodic plane places stay in the box.
    """
    if capture.geometry == "sphere":
        return _sphere_follow(start, way)
    end = start + way
    return end if capture.period is None else end % np.asarray(capture.period)


def _balanced(difference: np.ndarray, side: float | None) -> np.ndarray:
    if side is None:
        return difference
    return shortest(torch.from_numpy(np.ascontiguousarray(difference)), side=side).numpy()


def _sphere_ways(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    north, east, north2, east2 = (np.deg2rad(p[..., i]) for p in (start, end) for i in (0, 1))
    turn = east2 - east
    # the end as seen from the start: east, north and up
    x = np.cos(north2) * np.sin(turn)
    y = np.cos(north) * np.sin(north2) - np.sin(north) * np.cos(north2) * np.cos(turn)
    up = np.sin(north) * np.sin(north2) + np.cos(north) * np.cos(north2) * np.cos(turn)
    flat = np.hypot(x, y)
    length = EARTH_RADIUS * np.arctan2(flat, up)
    scale = np.where(flat > 1e-12, length / np.maximum(flat, 1e-12), EARTH_RADIUS)
    return np.stack((scale * y, scale * x), -1)


def _sphere_follow(start: np.ndarray, way: np.ndarray) -> np.ndarray:
    north, angle = np.deg2rad(start[..., 0]), np.hypot(way[..., 0], way[..., 1]) / EARTH_RADIUS
    bearing = np.arctan2(way[..., 1], way[..., 0])
    sine = np.sin(north) * np.cos(angle) + np.cos(north) * np.sin(angle) * np.cos(bearing)
    north2 = np.arcsin(np.clip(sine, -1, 1))
    turn = np.arctan2(np.sin(bearing) * np.sin(angle) * np.cos(north), np.cos(angle) - np.sin(north) * sine)
    return np.stack((np.rad2deg(north2), start[..., 1] + np.rad2deg(turn)), -1)
