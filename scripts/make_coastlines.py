"""Make the coastlines that cartopy draws without network, from Natural Earth as npm's `world-atlas` packs it.

    npm pack world-atlas@2.0.2
    python scripts/make_coastlines.py world-atlas-2.0.2.tgz atmorep_lite/assets/cartopy

The archive holds TopoJSON on the sphere: coasts run across the antimeridian, Antarctica's ring around the
pole.  A shapefile is flat, so rings are unrolled, closed along the pole where they go round it, and cut at
longitude -180 / 180.  Needs shapely and pyshp, which come with cartopy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import shapefile
from shapely import affinity
from shapely.geometry import LineString, MultiLineString, MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient
from shapely.ops import linemerge, unary_union

SHA256 = "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97"
WGS84 = (
    'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]'
)
SPEED_LIMIT = 180.0  # degrees: a longer step in longitude is a crossing of the antimeridian


def read_topology(archive: Path) -> dict[str, Any]:
    """The TopoJSON of 1:110m land in the npm archive, whose checksum must be the known one."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{archive} is not world-atlas 2.0.2: its SHA-256 is {found}, expected {SHA256}")
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/land-110m.json")
        assert member is not None
        return json.load(member)


def rings(topology: dict[str, Any]) -> list[list[np.ndarray]]:
    """Polygons as lists of rings (outer first), each ``[point, (longitude, latitude)]`` in degrees."""
    scale, origin = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = [np.cumsum(arc, axis=0) * scale + origin for arc in topology["arcs"]]

    def joined(indices: list[int]) -> np.ndarray:
        pieces = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in indices]
        return np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])

    polygons = []
    for geometry in topology["objects"]["land"]["geometries"]:
        parts = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        polygons += [[joined(ring) for ring in part] for part in parts]
    return polygons


def unrolled(ring: np.ndarray) -> np.ndarray:
    """The ring with longitudes that run on past 180 instead of jumping."""
    steps = np.diff(ring[:, 0])
    steps -= 360 * np.round(steps / 360) * (np.abs(steps) > SPEED_LIMIT)
    return np.column_stack([ring[0, 0] + np.concatenate([[0.0], np.cumsum(steps)]), ring[:, 1]])


def filled(polygon: list[np.ndarray]) -> BaseGeometry:
    """The polygon on the unrolled plane; a ring that goes round a pole is closed along it."""
    outer = unrolled(polygon[0])
    if abs(outer[-1, 0] - outer[0, 0]) > SPEED_LIMIT:
        pole = np.copysign(90.0, outer[:, 1].mean())
        outer = np.concatenate([outer, [[outer[-1, 0], pole], [outer[0, 0], pole]]])
    shape = Polygon(outer).buffer(0)
    for hole in polygon[1:]:
        lake = Polygon(unrolled(hole)).buffer(0)
        for turn in (-360.0, 0.0, 360.0):  # the outer ring may have been unrolled into another turn
            shape = shape.difference(affinity.translate(lake, xoff=turn))
    return shape


def cut(shape: BaseGeometry) -> BaseGeometry:
    """The part of the unrolled plane back within -180..180, cut at the antimeridian."""
    pieces = []
    for turn in (-1, 0, 1):
        window = box(360 * turn - 180, -90, 360 * turn + 180, 90)
        pieces.append(affinity.translate(shape.intersection(window), xoff=-360.0 * turn))
    return unary_union([piece for piece in pieces if not piece.is_empty])


def write(out: Path, name: str, kind: int, feature: str, shapes: list[BaseGeometry]) -> None:
    """One shapefile with the attribute `featurecla`, and its projection."""
    path = out / name
    with shapefile.Writer(str(path), shapeType=kind) as writer:
        writer.field("featurecla", "C", 20)
        for shape in shapes:
            if kind == shapefile.POLYLINE:
                writer.line([[tuple(p) for p in np.round(shape.coords, 4)]])
            else:
                clockwise = orient(shape, sign=-1.0)  # as shapefiles want it
                every = [clockwise.exterior, *clockwise.interiors]
                writer.poly([[tuple(p) for p in np.round(ring.coords, 4)] for ring in every])
            writer.record(feature)
    path.with_suffix(".prj").write_text(WGS84)


def parts(shape: BaseGeometry) -> list[BaseGeometry]:
    """The polygons or lines of a geometry, without stray points."""
    simple = getattr(shape, "geoms", [shape])
    return [part for part in simple if part.length > 0]


def main() -> None:
    verbatim = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=verbatim)
    parser.add_argument("archive", type=Path, help="world-atlas-2.0.2.tgz")
    parser.add_argument("assets", type=Path, help="folder that becomes cartopy's data folder")
    arguments = parser.parse_args()
    out = arguments.assets / "shapefiles" / "natural_earth" / "physical"
    out.mkdir(parents=True, exist_ok=True)
    polygons = rings(read_topology(arguments.archive))
    land = cut(unary_union([filled(polygon) for polygon in polygons]))
    edge = MultiLineString([[(x, -90), (x, 90)] for x in (-180, 180)])  # rings in the source that end there
    coast = [cut(LineString(unrolled(ring))).difference(edge) for polygon in polygons for ring in polygon]
    lines = [line for shape in coast for line in parts(linemerge(shape) if len(parts(shape)) > 1 else shape)]
    assert isinstance(land, MultiPolygon)
    write(out, "ne_110m_land", shapefile.POLYGON, "Land", parts(land))
    write(out, "ne_110m_coastline", shapefile.POLYLINE, "Coastline", lines)
    print(f"{len(parts(land))} pieces of land, {len(lines)} coastlines in {out}")


if __name__ == "__main__":
    main()
