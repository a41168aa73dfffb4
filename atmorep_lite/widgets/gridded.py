"""Pieces of a record on its own grid, for explorers that cut them into tokens."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from atmorep_lite.config import Triple
from atmorep_lite.data.opening import select
from atmorep_lite.data.samples import open_sample
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS
from atmorep_lite.widgets import coastline
from atmorep_lite.widgets.packing import Buffer, pretty_units, quantise

AXES = ("time", "latitude", "longitude")
MOST_VALUES = 6_000_000  # on one page, at two bytes each
MEAN_OF = 400  # times of the record, at most, over which means are taken
_UNEVEN = 0.05  # steps of a grid may differ by this part: those of Gaussian grids do

Range = tuple[float, float]


@dataclass(frozen=True)
class GridField:
    """One field of a piece.

    Attributes
    ----------
    name, label, units
        As in the record; plain words; as they are shown.
    level
        hPa; 0 stands for the surface.
    values
        ``[level, time, latitude, longitude]`` float64, in ``units``; NaN where there is none.
    mean
        ``[level, latitude, longitude]``: means over the record, or over 400 times spread evenly over a
        longer one.
    """

    name: str
    label: str
    units: str
    level: tuple[int, ...]
    values: np.ndarray
    mean: np.ndarray

    @property
    def departures(self) -> np.ndarray:
        """Values minus the record's mean at each grid point and level."""
        return self.values - self.mean[:, None]


@dataclass(frozen=True)
class Piece:
    """Consecutive times of a region, or of the globe.

    Attributes
    ----------
    fields
        What is known there.
    time, latitude, longitude
        Coordinates of the grid points: datetime64; degrees north, descending; degrees east, ascending.
    simulated
        Whether the record says that it comes from a simulation.
    """

    fields: tuple[GridField, ...]
    time: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    simulated: bool

    @property
    def shape(self) -> Triple:
        """Numbers of times, latitudes and longitudes."""
        return len(self.time), len(self.latitude), len(self.longitude)

    @property
    def spacing(self) -> tuple[float, float]:
        """Degrees from one grid point to the next, north-south and east-west."""
        north_south, east_west = (
            abs(float(axis[-1] - axis[0])) / (len(axis) - 1) if len(axis) > 1 else 0.0
            for axis in (self.latitude, self.longitude)
        )
        return north_south or east_west, east_west or north_south


def read_piece(
    dataset: xr.Dataset | None,
    fields: str | Iterable[str],
    *,
    levels: Sequence[int] | None,
    time: Any,
    steps: int,
    latitude: Range | None,
    longitude: Range | None,
) -> Piece:
    """The named fields at ``steps`` times in a region.

    Parameters
    ----------
    dataset
        Canonical; the sample that comes with the package where None.
    fields
        One name or several, in any known spelling.
    levels
        hPa; all of the record where None.
    time
        The first time; the first of the record where None.
    steps
        Number of consecutive times.
    latitude, longitude
        (south, north) and (west, east) in degrees, of the grid points; all of them where None.

    Raises
    ------
    UserError
        If a field, level, time or place is not there, or all of it would be too much for a page.
    """
    record = open_sample() if dataset is None else dataset
    if not isinstance(record, xr.Dataset):
        raise UserError(f"The dataset is {type(record).__name__}: give what open_dataset returns.")
    names = [fields] if isinstance(fields, str) else list(fields) if isinstance(fields, Iterable) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"The fields are {fields!r}: name one or several of the record's fields.")
    chosen = _region(select(record, names), latitude, longitude)
    for name, field in chosen.data_vars.items():
        if wrong := {*AXES, "level"} ^ {*field.dims, "level"}:
            raise UserError(
                f"The field {name} has dimensions {field.dims}, where time, level (or none), latitude and "
                f"longitude were expected: choose another, or select one {min(map(str, wrong))}."
            )
    first = _first(chosen["time"].values, time, steps)
    shown = chosen.isel(time=slice(first, first + steps))
    numbers = sum(_leveled(shown, name, levels).size for name in shown.data_vars)
    if numbers > MOST_VALUES:
        raise UserError(
            f"The piece holds {numbers / 1e6:.0f} million values, where at most {MOST_VALUES / 1e6:.0f} "
            "million fit on a page: choose a smaller region, or fewer times, levels or fields."
        )
    every = np.linspace(0, chosen.sizes["time"] - 1, min(chosen.sizes["time"], MEAN_OF))
    chosen = chosen.isel(time=every.round().astype(int))
    piece = Piece(
        tuple(_read(str(name), chosen, shown, levels) for name in chosen.data_vars),
        shown["time"].values,
        shown["latitude"].values.astype(float),
        shown["longitude"].values.astype(float),
        str(record.attrs.get("simulated", "")).lower() == "true",
    )
    if piece.shape[1:] == (1, 1):
        raise UserError("The piece is one grid point, which makes no map: choose a larger region.")
    for axis in ("latitude", "longitude"):
        _check_even(axis, getattr(piece, axis))
    return piece


def _region(dataset: xr.Dataset, latitude: Range | None, longitude: Range | None) -> xr.Dataset:
    """Rows and columns between the bounds; columns start in the west, also across longitude 0."""
    for axis, bounds in (("latitude", latitude), ("longitude", longitude)):
        if bounds is None or axis not in dataset.dims:
            continue
        pair = isinstance(bounds, Sequence) and len(bounds) == 2
        if not pair or not all(isinstance(b, Real) for b in bounds) or not bounds[0] < bounds[1]:
            names = "(south, north)" if axis == "latitude" else "(west, east)"
            raise UserError(f"The {axis} is {bounds!r}: give two rising numbers {names}, in degrees.")
        low, high = map(float, bounds)
        places = dataset[axis].values.astype(float)
        if axis == "longitude":
            places = low + (places - low) % 360.0
            order = np.argsort(places, kind="stable")
            dataset = dataset.isel(longitude=order).assign_coords(longitude=places[order])
            places = places[order]
        (inside,) = np.nonzero((places >= low) & (places <= high))
        if not len(inside):
            raise UserError(f"The record has no {axis} from {low:g} to {high:g} degrees: choose others.")
        dataset = dataset.isel({axis: inside})
    return dataset


def _first(times: np.ndarray, time: Any, steps: int) -> int:
    """Index of the first time; `UserError` where there are not ``steps`` times from there on."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UserError(f"The number of steps is {steps!r}: give a whole number, 1 or more.")
    first = 0
    if time is not None:
        try:
            wanted = np.datetime64(time)
        except (TypeError, ValueError) as error:
            raise UserError(f"The time is {time!r}: give a date such as 2010-01-20T03.") from error
        found = np.nonzero(times == wanted)[0]
        if not len(found):
            span = " to ".join(np.datetime_as_string(times[[0, -1]], "h"))
            raise UserError(f"The record has no time {wanted}; it has {span}: choose one of these.")
        first = int(found[0])
    if first + steps > len(times):
        raise UserError(
            f"The record has {len(times) - first} times from there on, but {steps} steps were asked for: "
            "choose fewer steps or an earlier time."
        )
    return first


def _leveled(dataset: xr.Dataset, name: Hashable, levels: Any) -> xr.DataArray:
    """A field on the levels wanted, or one without levels as it is."""
    if isinstance(levels, Sequence) and not levels:
        raise UserError("There is no level among those chosen: name one or several of the record's, in hPa.")
    return (select(dataset, [str(name)], levels) if "level" in dataset[name].dims else dataset)[name]


def _read(name: str, record: xr.Dataset, shown: xr.Dataset, levels: Sequence[int] | None) -> GridField:
    known = FIELDS.get(name)
    upper = "level" in shown[name].dims

    def grid(dataset: xr.Dataset, *dims: str) -> np.ndarray:
        field = _leveled(dataset, name, levels)
        field = field.mean("time", dtype=float) if "time" not in dims else field
        field = field if upper else field.expand_dims("level")
        values = field.transpose("level", *dims).values.astype(float)
        return np.where(np.isfinite(values), values, np.nan)

    factor, units = pretty_units(str(shown[name].attrs.get("units", known.units if known else "")))
    level = _leveled(shown, name, levels)["level"].values.astype(int).tolist() if upper else [0]
    return GridField(
        name,
        known.long_name if known else name.replace("_", " "),
        units,
        tuple(level),
        grid(shown, "time", "latitude", "longitude") * factor,
        grid(record, "latitude", "longitude") * factor,
    )


def _check_even(axis: str, places: np.ndarray) -> None:
    steps = np.diff(places)
    if len(steps) and np.ptp(steps) > _UNEVEN * abs(steps.mean()):
        raise UserError(f"The {axis}s of the record are not evenly spaced: interpolate it to a regular grid.")


def divisors(number: int) -> list[int]:
    """All whole numbers that divide a number: ``divisors(12)`` is ``[1, 2, 3, 4, 6, 12]``."""
    return [n for n in range(1, number + 1) if number % n == 0]


def check_token_size(size: Any, shape: Triple) -> Triple:
    """The token size as plain whole numbers; `UserError` where tokens of it do not fill the piece."""
    whole = (
        isinstance(size, Sequence | np.ndarray)
        and len(size) == 3
        and all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in size)
    )
    if not whole:
        raise UserError(f"The token size is {size!r}: give three whole numbers, (time, latitude, longitude).")
    for axis, number, points in zip(AXES, size, shape, strict=True):
        if points % number:
            raise UserError(
                f"Tokens of {number} points do not fill the {points} points in {axis}: "
                f"choose one of {', '.join(map(str, divisors(points)))}."
            )
    return int(size[0]), int(size[1]), int(size[2])


def pack_piece(
    piece: Piece, buffer: Buffer, steps: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Any]:
    """Description of a piece for the page: coordinates, coast, and the fields at all or at some steps."""
    coast = np.frombuffer(coastline.packed(), "<i2")
    kept = {f.name: range(len(piece.time)) if steps is None else steps[f.name] for f in piece.fields}
    time = piece.time.astype("datetime64[s]")
    return {
        "hours": ((time - time[-1]) / np.timedelta64(1, "h")).astype(float).tolist(),
        "times": [str(t).replace("T", " ")[:16] for t in np.datetime_as_string(time, "m")],
        "latitude": piece.latitude.tolist(),
        "longitude": piece.longitude.tolist(),
        "spacing": list(piece.spacing),
        "simulated": piece.simulated,
        "coast": {"at": buffer.add(coast), "count": len(coast)},
        "fields": [_pack_field(field, buffer, list(kept[field.name])) for field in piece.fields],
    }


def _pack_field(field: GridField, buffer: Buffer, kept: list[int]) -> dict[str, Any]:
    quantised, ranges, signed = quantise(field.values[:, kept])
    return {
        "name": field.name,
        "label": field.label,
        "units": field.units,
        "level": list(field.level),
        "shape": [len(field.level), len(kept)],
        "grid": list(field.values.shape[2:]),
        "range": ranges,
        "signed": signed,
        "values": {"at": buffer.add(quantised)},
    }
