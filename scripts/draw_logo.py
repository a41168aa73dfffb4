"""Draw the logo: a globe of tokens, one of them asking, the others coloured by how much it attends to them.

Run as `python scripts/draw_logo.py book/images/logo.svg`. Needs numpy alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SIZE, RADIUS = 512, 236.0
VIEW_LATITUDE, VIEW_LONGITUDE = 24.0, 0.0
ROWS, GAP = 18.0, 1.5  # degrees of latitude of a token, and of the gap around it
EDGE = 0.08  # cosine of the angle to the viewer where tokens are cut
QUERY = (27.0, 0.0)
# Seven steps from little to much attention, readable on white and on black.
COLOURS = ("#3a6499", "#2b748e", "#23898e", "#27ad81", "#5cc863", "#a5db36", "#f4c430")
ASKING = "#e4572e"


def project(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orthographic projection: x, y in pixels and the cosine of the angle to the viewer."""
    lat, lon, lat0 = np.radians(latitude), np.radians(longitude - VIEW_LONGITUDE), np.radians(VIEW_LATITUDE)
    x = np.cos(lat) * np.sin(lon)
    y = np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(lon)
    depth = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(lon)
    return SIZE / 2 + RADIUS * x, SIZE / 2 - RADIUS * y, depth


def outline(south: float, north: float, west: float, east: float) -> str | None:
    """Path of one token on the globe, cut at the globe's edge, or None where it lies behind it."""
    side = np.linspace(0, 1, 13)
    south, north = south + GAP, north - GAP
    latitude = np.concatenate([np.full(13, north), north + (south - north) * side,
                               np.full(13, south), south + (north - south) * side])  # fmt: skip
    gap = GAP / np.cos(np.radians(latitude))  # equally wide all along
    run = np.concatenate([side, np.ones(13), 1 - side, np.zeros(13)])
    longitude = west + gap + (east - west - 2 * gap) * run
    return path_of(latitude, longitude)


def path_of(latitude: np.ndarray, longitude: np.ndarray) -> str | None:
    """SVG path through those of these points of the sphere that face the viewer."""
    x, y, depth = project(latitude, longitude)
    points = [f"{a:.1f} {b:.1f}" for a, b, seen in zip(x, y, depth > EDGE, strict=True) if seen]
    return "M" + "L".join(points) + "Z" if len(points) > 12 else None


def attention(latitude: float, longitude: float) -> float:
    """A stretched bell upstream (west) of the asking token, between 0 and 1."""
    east = (longitude - QUERY[1] + 28) / 46
    north = (latitude - QUERY[0] + 4) / 24
    return float(np.exp(-(east**2) - north**2))


def draw() -> str:
    """The logo as SVG text."""
    ring = np.linspace(-180, 180, 49)
    cap = path_of(np.full(49, 90 - ROWS + GAP), ring)
    shapes = [f'<path fill="{COLOURS[0]}" stroke="{COLOURS[0]}" d="{cap}"/>']
    for south in np.arange(-72, 72, ROWS):
        middle = south + ROWS / 2
        count = max(6, round(360 * np.cos(np.radians(middle)) / ROWS))
        width = 360 / count
        for step in range(count):
            west = step * width - 180 - width / 2
            path = outline(south, south + ROWS, west, west + width)
            if path is None:
                continue
            centre = west + width / 2
            asking = south <= QUERY[0] < south + ROWS and abs(centre - QUERY[1]) < width / 2
            weight = attention(middle, centre)
            colour = ASKING if asking else COLOURS[round(weight * (len(COLOURS) - 1))]
            shapes.append(f'<path fill="{colour}" stroke="{colour}" d="{path}"/>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" role="img">',
            "<title>AtmoRep-lite</title>",
            f'<circle cx="{SIZE / 2}" cy="{SIZE / 2}" r="{RADIUS + 11}" fill="none"',
            ' stroke="#7f8fa6" stroke-width="7"/>',
            '<g stroke-width="4" stroke-linejoin="round">',
            *shapes,
            "</g>",
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(), encoding="utf-8")
