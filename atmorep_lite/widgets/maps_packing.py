"""Maps as a page reads them: few bytes a value, with the error that this makes said."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from atmorep_lite.errors import UserError
from atmorep_lite.widgets import coastline
from atmorep_lite.widgets.packing import Buffer

_SCALED = {"kg kg-1": (1e3, "g kg⁻¹"), "s-1": (1e5, "10⁻⁵ s⁻¹")}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def readable(units: str) -> tuple[float, str]:
    """Factor to units that make readable numbers, and their name: ``"s-1"`` -> 100000, ``"10⁻⁵ s⁻¹"``."""
    plain = units.replace("**", "").strip()
    if plain in _SCALED:
        return _SCALED[plain]
    return 1.0, re.sub(r"-?\d+", lambda found: found.group().translate(_SUPERSCRIPT), plain)


def pack_maps(
    maps: np.ndarray, *, shared: bool, bits: int = 16, buffer: Buffer | None = None
) -> tuple[dict[str, Any], Buffer]:
    """Maps as whole numbers between a least and a greatest value.

    Parameters
    ----------
    maps
        ``[map, row, column]``; what is not finite is marked as missing.
    shared
        One range for all maps; otherwise each has its own, so that one that blows up does not spoil others.
    bits
        8 or 16 a value.
    buffer
        Where to append; a new one where left out.

    Returns
    -------
    dict, Buffer
        The description: ``at``, ``bits``, ``shape``, ``ranges`` ``[map][2]``, and ``errors`` ``[map]``, the
        greatest difference between a value and what the page reads.
    """
    buffer = buffer or Buffer()
    missing = 2**bits - 1
    if shared:
        maps_range = _range(maps)
    ranges, errors, codes = [], [], np.full(maps.shape, missing, np.uint16)
    for values, code in zip(maps.astype(np.float64), codes, strict=True):
        low, high = maps_range if shared else _range(values)
        seen = np.isfinite(values)
        code[seen] = np.rint((values[seen] - low) / (high - low) * (missing - 1))
        read = low + code[seen] / (missing - 1) * (high - low)
        errors.append(float(np.abs(read - values[seen]).max(initial=0.0)))
        ranges.append([low, high])
    at = buffer.add(codes.astype(np.uint8 if bits == 8 else np.uint16))
    return {"at": at, "bits": bits, "shape": list(maps.shape), "ranges": ranges, "errors": errors}, buffer


def _range(values: np.ndarray) -> tuple[float, float]:
    seen = values[np.isfinite(values)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def pack_coast(buffer: Buffer) -> dict[str, int]:
    """Coastlines: where they lie in the buffer."""
    coast = np.frombuffer(coastline.packed(), "<i2")
    return {"at": buffer.add(coast), "count": len(coast)}


def rolled(maps: np.ndarray, grid: dict[str, Any]) -> np.ndarray:
    """Maps ``[..., longitude]`` with their columns in the order of the grid's longitudes."""
    return np.roll(maps, -grid["roll"], axis=-1)


def plane_grid(rows: int, columns: int, side: float) -> dict[str, Any]:
    """Grid of a periodic square (or rectangle), ``columns`` points along ``side``, y upwards."""
    step = side / columns
    return regular_grid(step * np.arange(rows), step * np.arange(columns), plane=True)


def regular_grid(latitude: np.ndarray, longitude: np.ndarray, *, plane: bool = False) -> dict[str, Any]:
    """Grid as the page's maps need it; one that goes round the sphere starts at 180 degrees west.

    Raises
    ------
    UserError
        Where an axis is not regular.
    """
    latitude, longitude = np.asarray(latitude, float), np.asarray(longitude, float)
    for name, axis in (("latitude", latitude), ("longitude", longitude)):
        steps = np.diff(axis)
        if len(axis) < 2 or not np.isfinite(axis).all() or not np.allclose(steps, steps[0], rtol=1e-3):
            raise UserError(
                f"The {name} has {len(axis)} values with unequal steps or fewer than two, where a regular "
                "axis was expected: interpolate to a regular grid first."
            )
    dlat, dlon = abs(latitude[1] - latitude[0]), longitude[1] - longitude[0]
    turn = 0
    if not plane and len(longitude) * dlon > 359:
        turn = int(np.searchsorted(longitude, 180.0 - 1e-6))
        longitude = np.concatenate([longitude[turn:] - 360.0, longitude[:turn]])
    return {
        "plane": plane,
        "latitude": latitude.tolist(),
        "longitude": longitude.tolist(),
        "token": [float(dlat), float(dlon)],
        "roll": turn,
    }
