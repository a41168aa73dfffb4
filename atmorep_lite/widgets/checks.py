"""What an attention explorer needs of a capture, checked once, each fault told in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from atmorep_lite.attention_maps import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.errors import UserError
from atmorep_lite.widgets.explorer import is_number

FLOAT16_MAX = 65504.0
RESERVED = ("nothing", "uniform")  # what else maps are compared with
MOST_BYTES = 250_000_000  # of queries and keys on one page: what a browser still reads without complaint


def check_capture(capture: AttentionCapture) -> None:
    """Raise `UserError` unless all arrays of the capture fit together and hold only finite numbers."""
    if not isinstance(capture, AttentionCapture):
        raise UserError(
            f"The capture is {type(capture).__name__}, where an AttentionCapture was expected: give what "
            "capture_attention returns."
        )
    if not capture.pairs:
        raise UserError(
            "The capture holds no attention pair, where at least one (query field, key field) was expected: "
            "capture attention for at least one field."
        )
    for field in capture.fields.values():
        _check_field(field)
        _check_axes(field, capture.geometry)
    for key, pair in capture.pairs.items():
        _check_pair(key, pair, capture.fields)
    depths = {pair.q.shape[0] for pair in capture.pairs.values()}
    if len(depths) > 1:
        raise UserError(
            f"The pairs of the capture have different numbers of layers ({sorted(depths)}), where one was "
            "expected: capture the same layers for every pair."
        )


def token_shape(field: CapturedField) -> tuple[int, int, int, int]:
    """Numbers of (levels, times, latitudes, longitudes) of a field's tokens."""
    return len(field.level), len(field.time), len(field.latitude), len(field.longitude)


def _check_field(field: CapturedField) -> None:
    shape = token_shape(field)
    tokens = int(np.prod(shape))
    if tokens == 0:
        raise UserError(
            f"The field {field.name} of the capture has no token: capture at least one of each axis."
        )
    if field.mask.shape != shape:
        raise UserError(
            f"The mask of {field.name} has shape {field.mask.shape}, where {shape} was expected: give one "
            "value per (level, time, latitude, longitude)."
        )
    values = field.values.shape
    if len(values) != 4 or values[:2] != shape[:2] or values[2] % shape[2] or values[3] % shape[3]:
        raise UserError(
            f"The values of {field.name} have shape {values}, where {shape[:2]} and multiples of {shape[2:]} "
            "were expected: give the grid points of whole tokens."
        )
    if field.error is not None and field.error.shape != values:
        raise UserError(
            f"The error of {field.name} has shape {field.error.shape}, where {values} was expected: give one "
            "number per value, NaN where the truth is unknown."
        )
    if field.position.ndim != 2 or field.position.shape[0] != tokens or not np.isfinite(field.position).all():
        raise UserError(
            f"The positions of {field.name} have shape {field.position.shape}, where finite numbers "
            f"[{tokens}, coordinate] were expected: give one position per token."
        )


def _check_axes(field: CapturedField, geometry: str) -> None:
    for axis in ("level", "time", "latitude", "longitude"):
        numbers = np.asarray(getattr(field, axis))
        dates = numbers.dtype.kind == "M"
        if axis == "time" and dates == (geometry == "plane"):
            expected = "floats, in frames" if geometry == "plane" else "datetime64"
            raise UserError(
                f"The time of {field.name} is {numbers.dtype} on a {geometry}, where {expected}, was "
                "expected: set the geometry of the capture, or give it such times."
            )
        missing = np.isnat(numbers).any() if dates else not np.isfinite(numbers).all()
        steps = np.sign(np.diff(numbers.astype(float)))
        down = axis == "level" or (axis == "latitude" and geometry == "sphere")
        if missing or not ((steps == 1).all() or (down and (steps == -1).all())):
            raise UserError(
                f"The {axis} of {field.name} is {numbers.tolist()[:6]}, where ascending "
                f"{'or descending ' if down else ''}numbers were expected: sort the tokens along it."
            )
    if not min(field.token_size) > 0:
        raise UserError(
            f"The token size of {field.name} is {field.token_size}, where two positive sizes were expected: "
            "give the extent of one token, north-south and east-west (y and x on a plane)."
        )


def _check_pair(key: tuple[str, str], pair: CapturedPair, fields: dict[str, CapturedField]) -> None:
    name = f"{pair.query_field} to {pair.key_field}"
    if key != (pair.query_field, pair.key_field) or not set(key) <= set(fields):
        raise UserError(
            f"The pair stored under {key} says {name}, where two of {sorted(fields)} and the same key were "
            "expected: key the pairs by (query field, key field)."
        )
    queries, keys = (int(np.prod(token_shape(fields[field]))) for field in key)
    layers, heads, _, channels = pair.q.shape if pair.q.ndim == 4 else (0, 0, 0, 0)
    expected = {
        "q": (layers, heads, queries, channels),
        "k": (layers, heads, keys, channels),
        "slope": (layers, heads),
    }
    for part, shape in expected.items():
        array = getattr(pair, part)
        if array.shape != shape or 0 in shape:
            raise UserError(
                f"The {part} of the pair {name} has shape {array.shape}, where q [layer, head, {queries}, "
                f"channel], k [layer, head, {keys}, channel] and slope [layer, head] were expected: capture "
                "the pair again with the tokens of its two fields."
            )
        if not np.isfinite(array).all():
            raise UserError(
                f"The {part} of the pair {name} holds NaN or infinity, where finite numbers were expected: "
                "look for missing values in the data or a diverged model."
            )
    if pair.slope.any() and fields[key[0]].position.shape[1] != fields[key[1]].position.shape[1]:
        raise UserError(
            f"The positions of {name} have different numbers of coordinates, where the locality bias needs "
            "the same: give both fields the same scaled coordinates."
        )


def check_range(pair: CapturedPair) -> None:
    """Raise `UserError` where a query or key does not fit into float16."""
    if max(np.abs(pair.q).max(), np.abs(pair.k).max()) > FLOAT16_MAX:
        raise UserError(
            f"The queries or keys of {pair.query_field} to {pair.key_field} exceed {FLOAT16_MAX:.0f}, the "
            'limit of float16: build the explorer with precision="float32".'
        )


def check_reference(capture: AttentionCapture, reference: AttentionCapture) -> None:
    """Raise `UserError` unless the reference attends with the same pairs, layers, heads and tokens."""
    check_capture(reference)
    ours, theirs = (
        {key: (pair.q.shape[:3], pair.k.shape[2]) for key, pair in c.pairs.items()}
        for c in (capture, reference)
    )
    if ours != theirs:
        raise UserError(
            "The reference has other pairs, layers, heads or tokens than the capture, where the same were "
            "expected: capture both at the same place and time with models of the same configuration."
        )


def check_names(references: Mapping[str, Sequence[AttentionCapture]]) -> None:
    """Raise `UserError` unless every reference has a name of its own and at least one capture."""
    for name, captures in references.items():
        if not isinstance(name, str) or not name.strip() or name in RESERVED:
            raise UserError(f"A reference is called {name!r}: choose a name, and none of {RESERVED}.")
        if not all(isinstance(capture, AttentionCapture) for capture in captures):
            raise UserError(
                f"The reference {name!r} is no capture, where one or several were expected: give what "
                "capture_attention returns."
            )
        if not captures:
            raise UserError(f"The reference {name!r} holds no capture, where at least one was expected.")


def check_times(ahead: float, interval: float | None) -> None:
    """Raise `UserError` unless the time ahead is 0 or more and the one between frames positive or None."""
    for name, value, least in (("ahead", ahead, 0.0), ("interval", interval, 1e-12)):
        missing = value is None and name == "interval"
        if not missing and not (is_number(value) and least <= value):  # type: ignore[operator]
            raise UserError(
                f"The {name} is {value!r}, where a {'positive ' if least else ''}number was expected."
            )


def check_size(size: float) -> None:
    """Raise `UserError` where so many bytes of queries and keys would make too large a page."""
    if size > MOST_BYTES:
        raise UserError(
            f"The queries and keys take {size / 1e6:.0f} MB, where at most {MOST_BYTES / 1e6:.0f} MB fit "
            'on a page: choose fewer layers or heads, precision="int8", or capture a smaller region.'
        )


def chosen(kind: str, wanted: Iterable[int] | None, count: int) -> list[int]:
    """The wanted indices of ``count`` layers or heads, all where none are named."""
    if wanted is None:
        return list(range(count))
    given = list(wanted) if isinstance(wanted, Iterable) else [None]
    if not all(isinstance(i, int | np.integer) and not isinstance(i, bool) for i in given):
        raise UserError(
            f"The {kind}s are {wanted!r}, where a list of whole numbers was expected: try {kind}s=[0]."
        )
    indices = sorted({int(i) for i in given})
    unknown = [index for index in indices if not 0 <= index < count]
    if unknown or not indices:
        raise UserError(
            f"The {kind}s {unknown or 'given'} are not in the capture, where some of 0 to {count - 1} were "
            f"expected: choose among these, counted from 0, or leave {kind}s out for all."
        )
    return indices


def chosen_fields(wanted: Iterable[str], capture: AttentionCapture) -> list[str]:
    """The wanted fields in the capture's order; `UserError` where one is unknown, or no pair remains."""
    given = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
    if not all(isinstance(name, str) for name in given):
        raise UserError(f"The fields are {wanted!r}, where names were expected: try {list(capture.fields)}.")
    names = set(given)
    if unknown := sorted(names - set(capture.fields)):
        raise UserError(
            f"The fields {unknown} are not in the capture: choose some of {list(capture.fields)}, or leave "
            "fields out for all."
        )
    if not any(set(key) <= names for key in capture.pairs):
        raise UserError(
            f"No field of {sorted(names)} attends to any of them: choose fields that are coupled."
        )
    return [name for name in capture.fields if name in names]
