"""Coastlines for the maps of the widgets: a compact JSON of polylines, and how it was made.

``coastline.json`` is Natural Earth's 1:110 million land (public domain) as packed by the npm package
world-atlas 2.0.2. To make it again::

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m atmorep_lite.widgets.coastline package/land-110m.json
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

COASTLINE = Path(__file__).with_name("coastline.json")
SOURCE = "Natural Earth 1:110m land, public domain (npm world-atlas 2.0.2); degrees east and north"
BREAK = 32767  # between two polylines in the packed form

Line = list[list[float]]


def polylines(topology: dict[str, Any], *, digits: int = 1, tolerance: float = 0.2) -> list[Line]:
    """Coastlines of a TopoJSON of land, cut where they run along the antimeridian or the south pole.

    Parameters
    ----------
    topology
        Parsed TopoJSON with quantised arcs and an object named ``land``.
    digits
        Decimals of a degree that are kept.
    tolerance
        Degrees by which a coast may move when points are left out.

    Returns
    -------
    list
        Polylines [[longitude, latitude], ...], longitudes within -180 ... 180.
    """
    scale, shift = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    lines: list[Line] = []
    for arc in topology["arcs"]:
        points = np.round(np.cumsum(np.array(arc, dtype=float), axis=0) * scale + shift, digits)
        line: Line = []
        for lon, lat in points.tolist():
            if line and _on_the_frame(line[-1], [lon, lat]):
                lines.append(line)
                line = []
            line.append([lon, lat])
        lines.append(line)
    return [_thinned(np.array(line), tolerance).tolist() for line in lines if len(line) > 1]


def _thinned(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Polyline [point, 2] with the fewest points that Douglas and Peucker's (1973) halving leaves."""
    if len(points) < 3:
        return points
    (x, y), (dx, dy) = (points - points[0]).T, points[-1] - points[0]
    chord = np.hypot(dx, dy)
    distance = np.abs(dx * y - dy * x) / chord if chord > 0 else np.hypot(x, y)
    farthest = int(distance.argmax())
    if distance[farthest] <= tolerance:
        return points[[0, -1]]
    halves = _thinned(points[: farthest + 1], tolerance), _thinned(points[farthest:], tolerance)
    return np.concatenate([halves[0][:-1], halves[1]])


def _on_the_frame(start: list[float], end: list[float]) -> bool:
    """Whether a segment is no coast: along or across the antimeridian, or along the south pole."""
    along = abs(start[0]) >= 179.9 and abs(end[0]) >= 179.9
    return along or abs(start[0] - end[0]) > 180 or min(start[1], end[1]) <= -89.9


@cache
def packed() -> bytes:
    """The coastlines as int16 pairs (tenths of a degree), polylines apart by a pair of ``BREAK``."""
    lines: list[Line] = json.loads(COASTLINE.read_text())["lines"]
    pairs = [pair for line in lines for pair in [*line, [BREAK / 10, BREAK / 10]]]
    return np.rint(np.array(pairs) * 10).astype("<i2").tobytes()


def main(arguments: list[str]) -> None:
    """Write ``coastline.json`` beside this file from the TopoJSON named on the command line."""
    lines = polylines(json.loads(Path(arguments[0]).read_text()))
    # 12.0 -> 12: a sixth of the file
    short = [[[int(v) if v == int(v) else v for v in point] for point in line] for line in lines]
    temporary = COASTLINE.with_suffix(".unfinished")
    temporary.write_text(json.dumps({"source": SOURCE, "lines": short}, separators=(",", ":")) + "\n")
    os.replace(temporary, COASTLINE)


if __name__ == "__main__":
    main(sys.argv[1:])
