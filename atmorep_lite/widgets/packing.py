"""A capture as what the page reads: one buffer of bytes, and a description of what lies where in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from atmorep_lite.attention_maps import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.attention_maps.winds import Wind, wind_of
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS
from atmorep_lite.widgets import coastline
from atmorep_lite.widgets.checks import (
    check_capture,
    check_names,
    check_range,
    check_reference,
    check_size,
    chosen,
    chosen_fields,
    token_shape,
)
from atmorep_lite.widgets.precision import Precision, bytes_each, check_precision, measured_error, to_int8

if TYPE_CHECKING:
    from atmorep_lite.widgets.evidence import Evidence

References = Mapping[str, AttentionCapture | Sequence[AttentionCapture]]

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
    fields: Iterable[str] | None = None,
    layers: Iterable[int] | None,
    heads: Iterable[int] | None,
    precision: Precision,
    references: References | None = None,
    evidence: Evidence | None = None,
) -> tuple[dict[str, Any], bytes]:
    """Description and buffer of a capture.

    Parameters
    ----------
    capture
        What to pack.
    fields
        Names of the fields to pack; all where None.
    layers, heads
        Which layers, and which self-attention heads, counted from 0; all where None. Coupling heads all stay.
    precision
        Number format of queries and keys.
    references
        By name, captures of tokens alike by another model or of other dates, to compare with: one, or several
        whose rows are averaged. Their pairs alone are packed.
    evidence
        What else is known about the model.

    Returns
    -------
    dict, bytes
        The description holds only what JSON can; its numbers named ``at`` are offsets into the buffer.

    Raises
    ------
    UserError
        For a capture, reference, layer, head or precision that does not fit.
    """
    check_precision(precision)
    check_capture(capture)
    if references is not None and not isinstance(references, Mapping):
        raise UserError(
            f"The references are {type(references).__name__}, where a dict of name to capture was expected."
        )
    others = {
        name: list(one) if isinstance(one, Iterable) else [one] for name, one in (references or {}).items()
    }
    check_names(others)
    for one in (one for several in others.values() for one in several):
        check_reference(capture, one)
    wind = wind_of(capture)  # also where its fields stay behind
    if fields is not None:
        names = chosen_fields(fields, capture)
        capture = _some_fields(capture, names)
        others = {name: [_some_fields(one, names) for one in several] for name, several in others.items()}
    depth = next(iter(capture.pairs.values())).q.shape[0]
    kept_layers = chosen("layer", layers, depth)
    self_heads = [p.q.shape[1] for p in capture.pairs.values() if p.query_field == p.key_field]
    kept_heads = chosen("head", heads, min(self_heads)) if heads is not None and self_heads else None

    def heads_of(pair: CapturedPair) -> list[int]:
        own = pair.query_field == pair.key_field
        return kept_heads if own and kept_heads is not None else list(range(pair.q.shape[1]))

    def pack_pairs(source: AttentionCapture) -> list[dict[str, Any]]:
        packed = [_pack_pair(p, kept_layers, heads_of(p), precision, buffer) for p in source.pairs.values()]
        sources.append((packed, source))
        return packed

    per_layer = sum(
        len(heads_of(p)) * (p.q[0, 0].size + p.k[0, 0].size) * bytes_each(precision, p.q.shape[-1])
        for p in capture.pairs.values()
    )
    check_size(per_layer * len(kept_layers) * (1 + sum(map(len, others.values()))))
    buffer = Buffer()
    sources: list[tuple[list[dict[str, Any]], AttentionCapture]] = []
    description: dict[str, Any] = {
        "precision": precision,
        "layers": kept_layers,
        "fields": [_pack_field(field, capture, buffer) for field in capture.fields.values()],
        "pairs": pack_pairs(capture),
        "references": [
            {"name": name, "captures": [pack_pairs(one) for one in several]}
            for name, several in others.items()
        ],
        "hidden": any(bool(field.mask.any()) for field in capture.fields.values()),
    }
    if wind is not None:
        description["wind"] = _pack_wind(wind, capture, buffer)
    if capture.geometry == "sphere":
        coast = np.frombuffer(coastline.packed(), "<i2")
        description["coast"] = {"at": buffer.add(coast), "count": len(coast)}
    from atmorep_lite.widgets.evidence import Evidence, pack_evidence

    if not isinstance(evidence, Evidence | None):
        raise UserError(
            f"The evidence is {type(evidence).__name__}, where an Evidence was expected: try Evidence.of()."
        )
    description["evidence"] = pack_evidence(evidence or Evidence(), capture, buffer)
    data = buffer.bytes()
    return description | {"accuracy": measured_error(description, data, sources)}, data


def _some_fields(capture: AttentionCapture, names: list[str]) -> AttentionCapture:
    """The capture with some of its fields, and the pairs among them."""
    return replace(
        capture,
        fields={name: capture.fields[name] for name in names},
        pairs={key: pair for key, pair in capture.pairs.items() if set(key) <= set(names)},
    )


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

    def packed(numbers: np.ndarray) -> dict[str, int]:
        if precision != "int8":
            return {"at": buffer.add(numbers.astype(precision))}
        integers, scale = to_int8(numbers)
        return {"at": buffer.add(integers), "scale": buffer.add(scale)}

    return {
        "query": pair.query_field,
        "key": pair.key_field,
        "heads": heads,
        "channels": pair.q.shape[-1],
        "q": packed(pair.q[part]),
        "k": packed(pair.k[part]),
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
        "text": f"{flow} at the map's time; the longest is {max(most):.2g} {units}".rstrip(),
        "u": {"at": buffer.add(wind.u.astype(np.float32))},
        "v": {"at": buffer.add(wind.v.astype(np.float32))},
    }


def _pack_field(field: CapturedField, capture: AttentionCapture, buffer: Buffer) -> dict[str, Any]:
    known = FIELDS.get(field.name) if capture.geometry == "sphere" else None
    factor, units = pretty_units(field.units)
    quantised, ranges, signed = quantise(field.values * factor)
    error = {}
    if field.error is not None and np.isfinite(field.error).any():
        differences, error_ranges, _ = quantise(field.error * factor)
        error = {"error": {"at": buffer.add(differences), "range": error_ranges}}
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
        **_table_axes(field, capture),
        "period": list(capture.period) if capture.period is not None else None,
        "values": {"at": buffer.add(quantised)},
        "mask": {"at": buffer.add(field.mask.astype(np.uint8))},
        "position": {
            "at": buffer.add(field.position.astype(np.float32)),
            "coordinates": field.position.shape[1],
        },
        **error,
    }


def _table_axes(field: CapturedField, capture: AttentionCapture) -> dict[str, Any]:
    """Names of the columns that say where and when a token is, and times of the clock, where it has any."""
    if capture.geometry == "plane":
        return {"axes": ["level", "time_frames", "y", "x"]}
    clock = [moment.item().isoformat() for moment in field.time.astype("datetime64[s]")]
    return {"axes": ["level_hPa", "time_h", "latitude_degN", "longitude_degE", "time_utc"], "clock": clock}


def quantise(values: np.ndarray) -> tuple[np.ndarray, list[list[float]], bool]:
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
