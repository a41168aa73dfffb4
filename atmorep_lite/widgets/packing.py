"""A capture as what the page reads: one buffer of bytes, and a description of what lies where in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from atmorep_lite.attention_maps import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS
from atmorep_lite.widgets import coastline
from atmorep_lite.widgets.checks import (
    check_capture,
    check_range,
    check_reference,
    check_size,
    chosen,
    token_shape,
)
from atmorep_lite.widgets.winds import Wind, wind_of

Precision = Literal["float16", "float32"]

MISSING = 65535  # of the quantised values
SIGNED = 0.15  # a field counts as signed where its smaller side reaches this part of the larger
_READABLE = {
    "kg kg-1": (1e3, "g kg⁻¹"),
    "kg kg**-1": (1e3, "g kg⁻¹"),
    "s-1": (1e5, "10⁻⁵ s⁻¹"),
    "s**-1": (1e5, "10⁻⁵ s⁻¹"),
}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Buffer:
    """Arrays one after another, each at a multiple of four bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, array: np.ndarray) -> int:
        """Append an array (little endian, C order); returns where it starts."""
        start, data = self._length, array.astype(array.dtype.newbyteorder("<")).tobytes()
        padding = -len(data) % 4
        self._parts += [data, bytes(padding)]
        self._length += len(data) + padding
        return start

    def bytes(self) -> bytes:
        """Everything added so far."""
        return b"".join(self._parts)


def pack(
    capture: AttentionCapture,
    *,
    layers: Iterable[int] | None,
    heads: Iterable[int] | None,
    precision: Precision,
    reference: AttentionCapture | None = None,
) -> tuple[dict[str, Any], bytes]:
    """Description and buffer of a capture.

    Parameters
    ----------
    capture
        What to pack.
    layers, heads
        Which layers, and which self-attention heads, counted from 0; all where None. Coupling heads all stay.
    precision
        Number format of queries and keys.
    reference
        Capture of the same tokens by another model, to be subtracted; its pairs alone are packed.

    Returns
    -------
    dict, bytes
        The description holds only what JSON can; its numbers named ``at`` are offsets into the buffer.

    Raises
    ------
    UserError
        For a capture, layer, head or precision that does not fit.
    """
    if precision not in ("float16", "float32"):
        raise UserError(f"The precision {precision!r} is unknown: choose float16 or float32.")
    check_capture(capture)
    if reference is not None:
        check_reference(capture, reference)
    depth = next(iter(capture.pairs.values())).q.shape[0]
    kept_layers = chosen("layer", layers, depth)
    self_heads = [p.q.shape[1] for p in capture.pairs.values() if p.query_field == p.key_field]
    kept_heads = chosen("head", heads, min(self_heads)) if heads is not None and self_heads else None

    def heads_of(pair: CapturedPair) -> list[int]:
        own = pair.query_field == pair.key_field
        return kept_heads if own and kept_heads is not None else list(range(pair.q.shape[1]))

    def pack_pairs(source: AttentionCapture) -> list[dict[str, Any]]:
        return [_pack_pair(p, kept_layers, heads_of(p), precision, buffer) for p in source.pairs.values()]

    per_layer = sum(len(heads_of(p)) * (p.q[0, 0].size + p.k[0, 0].size) for p in capture.pairs.values())
    check_size(per_layer * len(kept_layers) * (1 if reference is None else 2), precision)
    buffer = Buffer()
    description: dict[str, Any] = {
        "precision": precision,
        "layers": kept_layers,
        "fields": [_pack_field(field, capture, buffer) for field in capture.fields.values()],
        "pairs": pack_pairs(capture),
        "hidden": any(bool(field.mask.any()) for field in capture.fields.values()),
    }
    if reference is not None:
        description["reference"] = {"pairs": pack_pairs(reference)}
    if (wind := wind_of(capture)) is not None:
        description["wind"] = _pack_wind(wind, capture, buffer)
    if capture.geometry == "sphere":
        coast = np.frombuffer(coastline.packed(), "<i2")
        description["coast"] = {"at": buffer.add(coast), "count": len(coast)}
    return description, buffer.bytes()


def pretty_units(units: str) -> tuple[float, str]:
    """Factor and name under which values are shown: ("kg kg-1") -> (1000, "g kg⁻¹")."""
    if units in _READABLE:
        return _READABLE[units]
    return 1.0, re.sub(
        r"(?<=[A-Za-z])(?:\*\*|\^)?(-?\d+)\b", lambda found: found[1].translate(_SUPERSCRIPT), units
    )


def _pack_pair(
    pair: CapturedPair, layers: list[int], heads: list[int], precision: Precision, buffer: Buffer
) -> dict[str, Any]:
    if precision == "float16":
        check_range(pair)
    part = np.ix_(layers, heads)
    return {
        "query": pair.query_field,
        "key": pair.key_field,
        "heads": heads,
        "channels": pair.q.shape[-1],
        "q": {"at": buffer.add(pair.q[part].astype(precision))},
        "k": {"at": buffer.add(pair.k[part].astype(precision))},
        "slope": pair.slope[part].astype(float).tolist(),
    }


def _hours(field: CapturedField, capture: AttentionCapture) -> list[float]:
    """Times of the tokens: hours relative to the newest token of the capture; on a plane its own frames."""
    if capture.geometry == "plane":
        return np.asarray(field.time, dtype=float).tolist()
    newest = max(f.time.max() for f in capture.fields.values())
    return ((field.time - newest) / np.timedelta64(1, "h")).astype(float).tolist()


def _pack_wind(wind: Wind, capture: AttentionCapture, buffer: Buffer) -> dict[str, Any]:
    speed = np.hypot(wind.u, wind.v).reshape(len(wind.field.level), -1)
    most = [max(float(np.nanmax(one, initial=0.0)), 1e-12) for one in speed]
    units = pretty_units(wind.field.units)[1] if capture.geometry == "sphere" else ""
    flow = "wind" if capture.geometry == "sphere" else "velocity"
    return {
        "shape": list(token_shape(wind.field)),
        "level": np.asarray(wind.field.level, dtype=float).tolist(),
        "hours": _hours(wind.field, capture),
        "latitude": np.asarray(wind.field.latitude, dtype=float).tolist(),
        "longitude": np.asarray(wind.field.longitude, dtype=float).tolist(),
        "most": most,
        "name": flow,
        "text": f"{flow} at the map's time, if switched on; the longest is {max(most):.2g} {units}".rstrip(),
        "u": {"at": buffer.add(wind.u.astype(np.float32))},
        "v": {"at": buffer.add(wind.v.astype(np.float32))},
    }


def _pack_field(field: CapturedField, capture: AttentionCapture, buffer: Buffer) -> dict[str, Any]:
    known = FIELDS.get(field.name) if capture.geometry == "sphere" else None
    factor, units = pretty_units(field.units)
    quantised, ranges, signed = _quantise(field.values * factor)
    return {
        "name": field.name,
        "label": known.long_name if known else field.name.replace("_", " "),
        "units": units,
        "shape": list(token_shape(field)),
        "level": np.asarray(field.level, dtype=float).tolist(),
        "hours": _hours(field, capture),
        "latitude": np.asarray(field.latitude, dtype=float).tolist(),
        "longitude": np.asarray(field.longitude, dtype=float).tolist(),
        "token": [float(size) for size in field.token_size],
        "grid": list(field.values.shape[2:]),
        "range": ranges,
        "signed": signed,
        "plane": capture.geometry == "plane",
        "period": list(capture.period) if capture.period is not None else None,
        "values": {"at": buffer.add(quantised)},
        "mask": {"at": buffer.add(field.mask.astype(np.uint8))},
        "position": {
            "at": buffer.add(field.position.astype(np.float32)),
            "coordinates": field.position.shape[1],
        },
    }


def _quantise(values: np.ndarray) -> tuple[np.ndarray, list[list[float]], bool]:
    """Values [level, ...] as uint16 between each level's least and greatest, and whether they are signed."""
    quantised = np.full(values.shape, MISSING, dtype=np.uint16)
    ranges = []
    for level, out in zip(values, quantised, strict=True):
        seen = np.isfinite(level)
        least, greatest = (float(level[seen].min()), float(level[seen].max())) if seen.any() else (0.0, 1.0)
        greatest = greatest if greatest > least else least + 1.0
        out[seen] = np.rint((level[seen] - least) / (greatest - least) * (MISSING - 1))
        ranges.append([least, greatest])
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    return quantised, ranges, bool(low < 0 < high and min(-low, high) > SIGNED * max(-low, high))
