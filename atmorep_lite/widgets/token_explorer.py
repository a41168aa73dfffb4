"""TokenExplorer: a field cut into space-time tokens of any size that fits; what that size costs and keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from atmorep_lite.config import Triple
from atmorep_lite.tokens import INFO, token_info, tokenize
from atmorep_lite.widgets.explorer import Between, Content, Explorer
from atmorep_lite.widgets.gridded import (
    AXES,
    GridField,
    Piece,
    Range,
    check_token_size,
    divisors,
    pack_piece,
    read_piece,
)
from atmorep_lite.widgets.packing import Buffer
from atmorep_lite.widgets.token_sizes import TokenNumbers, TwoSizes, token_numbers, two_sizes, whole_tokens

FIELDS = ("temperature", "vorticity", "specific_humidity")
KINDS = ("values", "departures")
VIEWS = ("values", "means", "lost", "order")


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes
    ----------
    index
        Its place in the sequence, counted from 0: level first, then time, latitude, longitude.
    place
        (level, time, latitude, longitude), each counted from 0.
    values
        ``[time, latitude, longitude]`` in the units shown.
    info
        What the network is told about time and place, by name (:data:`atmorep_lite.tokens.INFO`).
    """

    index: int
    place: tuple[int, int, int, int]
    values: np.ndarray
    info: dict[str, float]


class TokenExplorer(Explorer, module="token_explorer", heading="Tokens"):
    """A field on its map, cut into tokens whose size the reader chooses.

    Parameters
    ----------
    dataset
        Canonical data (:func:`atmorep_lite.open_dataset`); the simulated sample of the package where None.
    field
        The field, or several to choose from, in any known spelling.
    levels
        hPa; all where None.
    time
        The first time; the record's first where None.
    steps
        How many consecutive times.
    latitude, longitude
        (south, north) and (west, east) in degrees; the whole record where None.  Such a region is trimmed, in
        the south and east, to whole tokens of the first size; the caption then says so.
    token_size
        The first token size (time, latitude, longitude), in grid points; must divide the piece.
    compare
        Sizes to show side by side.
    kind
        "values", or "departures" from the record's mean at each point.
    title, caption
        Shown above and below.

    Attributes
    ----------
    selected : dict
        ``field``, ``level`` (hPa), ``step``, ``row``, ``column`` (the grid point whose token is chosen),
        ``token_time``, ``token_latitude``, ``token_longitude``, ``kind`` ("values" or "departures"), ``view``
        ("values", "means": each token filled with its mean, "lost": what the means leave out, "order": the
        sequence). Reading tells what the reader chose; setting some entries moves the view.

    Examples
    --------
    >>> explorer = TokenExplorer(token_size=(4, 4, 4))
    >>> explorer.numbers().tokens
    1152
    >>> explorer.selected = {"token_time": 12}
    >>> explorer.numbers().tokens
    384
    """

    def __init__(
        self,
        dataset: xr.Dataset | None = None,
        field: str | Iterable[str] = FIELDS,
        *,
        levels: Sequence[int] | None = None,
        time: str | np.datetime64 | None = None,
        steps: int = 12,
        latitude: Range | None = None,
        longitude: Range | None = None,
        token_size: Triple = (4, 4, 4),
        compare: Sequence[Triple] | None = None,
        kind: str = "values",
        title: str | None = None,
        caption: str | None = None,
    ) -> None:
        self._piece: Piece | None = None

        def make() -> Content:
            piece = read_piece(
                dataset, field, levels=levels, time=time, steps=steps, latitude=latitude, longitude=longitude
            )
            found, piece = piece.shape, whole_tokens(piece, token_size, latitude, longitude)
            size = check_token_size(token_size, piece.shape)
            sizes = _to_compare(piece.shape) if compare is None else compare
            meta, data = _pack(piece, [check_token_size(one, piece.shape) for one in sizes])
            self._piece = piece
            first = piece.fields[0]
            selected = {
                "field": first.name,
                "level": first.level[0],
                "step": piece.shape[0] - 1,
                "row": piece.shape[1] // 4,
                "column": piece.shape[2] // 2,
                **dict(zip(_SIZES, size, strict=True)),
                "kind": kind,
                "view": "values",
            }
            self.complete(selected, {})
            if piece.shape != found:
                (_, tall, wide), (_, rows, columns) = found, piece.shape
                kept = f"{rows} by {columns} make whole tokens."
                trimmed = f"Of {tall} by {wide} points (latitude, longitude), {kept}"
                meta["caption"] = f"{caption or ''} {trimmed}".strip()
            return Content(meta, selected, data)

        super().__init__(make, title=title, caption=caption)

    def allowed(self) -> Mapping[str, tuple[Any, ...] | Between]:
        assert self._piece is not None
        shape = self._piece.shape
        return {
            "field": tuple(f.name for f in self._piece.fields),
            "level": tuple(sorted({level for f in self._piece.fields for level in f.level})),
            **{name: tuple(range(n)) for name, n in zip(("step", "row", "column"), shape, strict=True)},
            **{name: tuple(divisors(n)) for name, n in zip(_SIZES, shape, strict=True)},
            "kind": KINDS,
            "view": VIEWS,
        }

    def complete(self, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        merged = super().complete(wanted, before)
        levels = self._field(merged["field"]).level
        if merged["level"] not in levels:  # fields may lie on different levels
            merged["level"] = min(levels, key=lambda level: abs(level - merged["level"]))
        return merged

    @property
    def token_size(self) -> Triple:
        """The size shown, in grid points: (time, latitude, longitude)."""
        self.check()
        time, latitude, longitude = (self.selected[name] for name in _SIZES)
        return time, latitude, longitude

    def numbers(self) -> TokenNumbers:
        """What the size shown costs, and keeps of the field, level and kind shown."""
        size = self.token_size
        return token_numbers(self._values(), size, self._level)

    def two_sizes(self) -> TwoSizes:
        """What several resolutions at once cost and keep: half of the piece, each way, in small tokens."""
        size = self.token_size
        return two_sizes(self._values(), size, self._level, (self.selected["row"], self.selected["column"]))

    def token(self) -> Token:
        """The token chosen."""
        size, values, now = self.token_size, self._values(), self.selected
        assert self._piece is not None
        level = self._level
        place = tuple(now[n] // s for n, s in zip(("step", "row", "column"), size, strict=True))
        tokens = tokenize(torch.from_numpy(values), size)
        info = token_info(
            self._piece.time, self._piece.latitude, self._piece.longitude, self._field().level, size
        )
        at = (level, place[0], place[1], place[2])
        told = dict(zip(INFO, info[at].tolist(), strict=True))
        index = int(np.ravel_multi_index(at, tokens.shape[:4]))
        return Token(index, at, tokens[at].reshape(size).numpy(), told)

    def _field(self, name: str | None = None) -> GridField:
        assert self._piece is not None
        wanted = self.selected["field"] if name is None else name
        return next(f for f in self._piece.fields if f.name == wanted)

    @property
    def _level(self) -> int:
        """Which of the field's levels is shown."""
        return self._field().level.index(self.selected["level"])

    def _values(self) -> np.ndarray:
        """``[level, time, latitude, longitude]`` of what is shown."""
        field = self._field()
        return field.values if self.selected["kind"] == "values" else field.departures


_SIZES = tuple(f"token_{axis}" for axis in AXES)


def _to_compare(shape: Triple) -> list[Triple]:
    """Three sizes to show side by side: the divisors nearest to 2, 4 and 8 points each way."""
    sizes = [
        [divisors(n)[np.abs(np.log2(np.array(divisors(n)) / points)).argmin()] for n in shape]
        for points in (2, 4, 8)
    ]
    return list(dict.fromkeys((t, y, x) for t, y, x in sizes))


def _pack(piece: Piece, compare: list[Triple]) -> tuple[dict[str, Any], bytes]:
    buffer = Buffer()
    meta = pack_piece(piece, buffer)
    info = token_info(piece.time, piece.latitude, piece.longitude, (0,), (1, 1, 1))[0]
    for described, field in zip(meta["fields"], piece.fields, strict=True):
        described["mean"] = {"at": buffer.add(field.mean.astype(np.float32))}
        most = [_most(level) for level in field.departures]
        described["departures"] = [[-one, one] for one in most]
    return meta | {
        "sizes": {name: divisors(n) for name, n in zip(_SIZES, piece.shape, strict=True)},
        "compare": [list(size) for size in compare],
        "info": {
            **{name: info[:, 0, 0, i].tolist() for i, name in enumerate(INFO[:3])},
            "colatitude": info[0, :, 0, 4].tolist(),
            "longitude": info[0, 0, :, 5].tolist(),
            "resolution": float(info[0, 0, 0, 7]),
        },
    }, buffer.bytes()


def _most(values: np.ndarray) -> float:
    """The size that all but one in a thousand values stay below."""
    sizes = np.abs(values[np.isfinite(values)])
    return float(np.quantile(sizes, 0.999)) or 1.0 if len(sizes) else 1.0
