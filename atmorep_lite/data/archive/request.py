"""What is to be fetched: a request in the user's words, checked against what an archive holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from atmorep_lite.config import ModelConfig
from atmorep_lite.data.archive.regrid import (
    latitude_bounds,
    latitude_weights,
    longitude_bounds,
    longitude_weights,
    target_grid,
)
from atmorep_lite.data.archive.sources import Source, Variable
from atmorep_lite.data.derive import SOURCES as DERIVED
from atmorep_lite.data.opening import select
from atmorep_lite.errors import UserError
from atmorep_lite.fields import canonical_name

Region = tuple[float, float, float, float]


@dataclass(frozen=True)
class Request:
    """Fields x levels x period x region x resolution.

    Attributes
    ----------
    fields
        Names in any spelling.
    levels
        hPa, or numbers of model levels; None for all.
    since, until
        First and last date, inclusive; a date without an hour means the whole day.
    every_hours
        Keep only hours of the day that this number divides; None for all.
    region
        North, west, south, east in degrees, as the Climate Data Store has it; None for the globe.
    resolution
        Degrees of a coarser grid to average over; None for the source's own.
    """

    fields: tuple[str, ...]
    levels: tuple[float, ...] | None = None
    since: str | None = None
    until: str | None = None
    every_hours: int | None = None
    region: Region | None = None
    resolution: float | None = None


@dataclass(frozen=True)
class Axis:
    """Positions in the source, in the wanted order, and their coordinate."""

    index: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Grid:
    """The horizontal part: source rows and columns to read, weights to average with, the resulting grid."""

    rows: np.ndarray
    columns: np.ndarray
    weights: tuple[np.ndarray, np.ndarray] | None
    latitude: np.ndarray
    longitude: np.ndarray


def fields_for(model: ModelConfig) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Fields and levels of a model, as a request names them."""
    levels = sorted({float(level) for f in model.fields for level in f.levels if f.levels != (0,)})
    return tuple(model.names), tuple(levels)


def wanted_variables(source: Source, fields: Sequence[str]) -> list[Variable]:
    """What has to be read for the fields: themselves, or what they are derived from; and the static maps.

    Raises
    ------
    UserError
        If the source neither has a field nor what it follows from.
    """
    names: list[str] = []
    for asked in fields:
        name = asked if asked in source.variables else canonical_name(asked)
        needed = (name,) if name in source.variables else DERIVED.get(name, (name,))
        lacking = [part for part in needed if part not in source.variables]
        if lacking:
            have = sorted(source.variables)
            shown = ", ".join(have[:30]) + (f" and {len(have) - 30} more" if len(have) > 30 else "")
            raise UserError(f"{source.address} has no {' and no '.join(lacking)}; it has {shown}")
        names += [part for part in needed if part not in names]
    names += [n for n, v in source.variables.items() if v.static and n not in names]
    return [source.variables[name] for name in names]


def wanted_times(source: Source, request: Request) -> Axis:
    """Times of the request.

    Raises
    ------
    UserError
        If dates cannot be read, are swapped or lie outside; if the source has no such hours.
    """
    first, last = (_date(text, end) for text, end in ((request.since, False), (request.until, True)))
    if first is not None and last is not None and first > last:
        raise UserError(f"--since {request.since} is later than --until {request.until}; swap them")
    times, index = source.axes["time"].values, source.index["time"]
    if source.last is not None:
        times, index = times[times <= source.last], index[times <= source.last]
    low = np.searchsorted(times, first, "left") if first is not None else 0
    high = np.searchsorted(times, last, "right") if last is not None else len(times)
    spans = f"{source.address} holds {str(times[0])[:16]} to {str(times[-1])[:16]}"
    if (first is not None and first < times[0] - np.timedelta64(1, "D")) or (
        last is not None and last > times[-1] + np.timedelta64(1, "D")
    ):
        raise UserError(f"{spans}, not all of {request.since or '...'} to {request.until or '...'}")
    times, index = times[low:high], index[low:high]
    if request.every_hours is not None:
        if 24 % request.every_hours:
            raise UserError(f"--every-hours must divide 24, {request.every_hours} does not")
        hours = (times - times.astype("datetime64[D]")) / np.timedelta64(1, "h")
        chosen = hours % request.every_hours == 0
        times, index = times[chosen], index[chosen]
        step = np.timedelta64(request.every_hours, "h")
        if len(times) > 1 and np.diff(times).min() > step:
            found = np.diff(times).min() / np.timedelta64(1, "h")
            raise UserError(f"{source.address} has only every {found:g} h, not every {request.every_hours}")
    if not len(times):
        raise UserError(f"{spans}, but no time of the request; change --since and --until")
    return Axis(index, times)


def _date(text: str | None, end: bool) -> np.datetime64 | None:
    if text is None:
        return None
    try:
        period = pd.Period(text, freq=None)
        return (period.end_time if end else period.start_time).to_datetime64()
    except (ValueError, TypeError) as error:
        raise UserError(f"{text} is no date; write 2019-01-31 or 2019-01-31T12:00") from error


def wanted_levels(source: Source, request: Request) -> Axis | None:
    """Levels of the request; None if the source has none.

    Raises
    ------
    UserError
        If a level is not there, with those that are.
    """
    if "level" not in source.dims:
        return None
    table = source.axes[["level"]].assign(position=("level", source.index["level"]))
    if request.levels is not None:
        table = select(table, ["position"], np.unique(request.levels))
    return Axis(table["position"].values, table["level"].values)


def wanted_grid(source: Source, request: Request) -> Grid:
    """Rows, columns and weights of the request.

    Raises
    ------
    UserError
        If the region is none or lies outside the data; if the resolution is finer than that of the source.
    """
    latitude, longitude = (source.axes[axis].values.astype(float) for axis in ("latitude", "longitude"))
    if request.resolution is None:
        rows, (columns, meridians) = _inside(latitude, longitude, request.region)
        return Grid(
            source.index["latitude"][rows],
            source.index["longitude"][columns],
            None,
            latitude[rows],
            meridians,
        )
    edges = latitude_bounds(latitude), longitude_bounds(longitude)
    spacing = max(abs(np.diff(axis)).max() for axis in (latitude, longitude))
    if request.resolution < spacing * (1 - 1e-6):
        raise UserError(
            f"--resolution {request.resolution:g} is finer than the source's {spacing:g}; leave it out"
        )
    to_latitude, to_longitude = target_grid(request.resolution)
    tall = latitude_weights(edges[0], latitude_bounds(to_latitude))
    wide = longitude_weights(edges[1], longitude_bounds(to_longitude))
    covered = [weights.sum(1) > 1 - 1e-6 for weights in (tall, wide)]
    rows, (columns, meridians) = _inside(to_latitude, to_longitude, request.region, *covered)
    tall, wide = tall[rows], wide[columns]
    need = [np.flatnonzero((weights > 0).any(0)) for weights in (tall, wide)]
    return Grid(
        source.index["latitude"][need[0]],
        source.index["longitude"][need[1]],
        (tall[:, need[0]], wide[:, need[1]]),
        to_latitude[rows],
        meridians,
    )


def _inside(
    latitude: np.ndarray,
    longitude: np.ndarray,
    region: Region | None,
    tall: np.ndarray | bool = True,
    wide: np.ndarray | bool = True,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Indices of the rows, and of the columns with their longitudes, running east from the western edge."""
    north, west, south, east = region or (90.0, 0.0, -90.0, 360.0)
    if not -90.0 <= south < north <= 90.0:
        raise UserError(
            f"--region is north, west, south, east; {north:g} must lie north of {south:g}, within 90"
        )
    if not west < east <= west + 360.0:
        raise UserError(f"--region is north, west, south, east; {east:g} must be up to 360 east of {west:g}")
    rows = np.flatnonzero((latitude <= north + 1e-6) & (latitude >= south - 1e-6) & tall)
    if region is None:
        columns = np.flatnonzero(np.ones(len(longitude), bool) & wide)
        meridians = longitude[columns]
    else:
        offset = np.mod(longitude - west + 1e-6, 360.0) - 1e-6
        columns = np.flatnonzero((offset <= east - west + 1e-6) & wide)
        columns = columns[np.argsort(offset[columns], kind="stable")]
        begin = np.mod(longitude[columns[:1]], 360.0)
        meridians = (begin + np.mod(longitude[columns] - begin, 360.0)).round(6) if len(columns) else begin
    if not len(rows) or not len(columns):
        spans = f"{latitude.max():g} to {latitude.min():g} N, {longitude.min():g} to {longitude.max():g} E"
        raise UserError(f"the region holds no point of the source, which covers {spans}")
    if len(columns) == len(longitude) and abs(np.ptp(longitude) + np.diff(longitude).mean() - 360.0) < 1e-3:
        columns = np.argsort(np.mod(longitude, 360.0))  # all around: from Greenwich, as data without a region
        meridians = np.mod(longitude, 360.0)[columns]
    return rows, (columns, meridians)


def as_plain(request: Request, variables: Sequence[Variable], address: str, times: Axis) -> dict[str, Any]:
    """The request as JSON, by which a later one is known to be the same."""
    return {
        "source": address,
        "fields": [variable.name for variable in variables],
        "levels": None if request.levels is None else sorted(map(float, request.levels)),
        "first": str(times.values[0])[:19],
        "last": str(times.values[-1])[:19],
        "times": len(times.values),
        "every_hours": request.every_hours,
        "region": None if request.region is None else list(map(float, request.region)),
        "resolution": request.resolution,
    }
