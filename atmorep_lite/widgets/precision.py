"""Number formats of queries and keys on a page, and what they cost in accuracy, measured."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.errors import UserError
from atmorep_lite.widgets.rows import Meta, packed_rows, softmax_rows

Precision = Literal["int8", "float16", "float32"]

MOST_BLOCKS, ROWS_EACH = 64, 8  # pairs x layers x heads that are measured, and rows of each


def check_precision(precision: str) -> None:
    """Raise `UserError` for an unknown number format."""
    if precision not in get_args(Precision):
        raise UserError(f"The precision {precision!r} is unknown: choose one of {get_args(Precision)}.")


def bytes_each(precision: Precision, channels: int) -> float:
    """Bytes of one number; in int8 its part of the scale of its token is counted."""
    return np.dtype(precision).itemsize + (4 / channels if precision == "int8" else 0)


def to_int8(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers [..., token, channel] from -127 to 127, and the scale [..., token] to multiply them by."""
    scale = np.maximum(np.abs(numbers).max(axis=-1), 1e-30).astype(np.float32) / np.float32(127)
    return np.rint(numbers / scale[..., None]).astype(np.int8), scale


def measured_error(
    meta: Meta, data: bytes, captures: list[tuple[list[dict[str, Any]], AttentionCapture]]
) -> dict:
    """Largest difference of a weight from its exact value, relative to the peak of its row.

    Rows of the packed numbers against rows in float64 of the numbers before packing, at temperature 1: of at
    most 64 combinations of pair, layer and head, spread evenly, 8 queries each, spread evenly.

    Parameters
    ----------
    meta, data
        What was packed.
    captures
        The packed pairs of each capture, and the capture that they come from.

    Returns
    -------
    ``{"bound": ..., "rows": number of rows measured}``
    """
    blocks = [
        (pair, capture, depth, index)
        for pairs, capture in captures
        for pair in pairs
        for depth in range(len(meta["layers"]))
        for index in range(len(pair["heads"]))
    ]
    worst, rows = 0.0, 0
    for number in _spread(len(blocks), MOST_BLOCKS):
        packed, capture, depth, index = blocks[number]
        pair = capture.pairs[packed["query"], packed["key"]]
        queries = _spread(pair.q.shape[2], ROWS_EACH)
        q, k = (
            part[meta["layers"][depth], packed["heads"][index]].astype(np.float64)
            for part in (pair.q, pair.k)
        )
        here, there = (
            capture.fields[name].position.astype(np.float64) for name in (packed["query"], packed["key"])
        )
        slope = float(pair.slope[meta["layers"][depth], packed["heads"][index]])
        exact = softmax_rows(q[queries], k, slope, here[queries], there)
        error = np.abs(packed_rows(meta, data, packed, queries, depth, index) - exact)
        worst = max(worst, float((error.max(axis=1) / exact.max(axis=1)).max()))
        rows += len(queries)
    return {"bound": worst, "rows": rows}


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of the numbers from 0 to ``count`` - 1, evenly spread, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
