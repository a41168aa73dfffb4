"""How a request is carried out: which chunks of a source make which chunk of the copy, at what cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atmorep_lite.data.archive.chunk_store import MissingChunk
from atmorep_lite.data.archive.regrid import regrid
from atmorep_lite.data.archive.remote import RemoteError
from atmorep_lite.data.archive.request import (
    Axis,
    Grid,
    Request,
    wanted_grid,
    wanted_levels,
    wanted_times,
    wanted_variables,
)
from atmorep_lite.data.archive.sources import Source, Variable
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS, to_si

COMPRESSION_LEVEL = 1  # of zstd; higher ones are slower and save little
#: Uncompressed size that a chunk of the copy should have, in bytes, and what it may have at most.
CHUNK_BYTES, LARGEST_CHUNK = 32e6, 256e6


@dataclass(frozen=True)
class Piece:
    """One chunk of the copy: the times ``start`` to ``stop`` of a variable."""

    variable: Variable
    start: int
    stop: int


@dataclass(frozen=True)
class Plan:
    """A request against a source, checked."""

    source: Source
    request: Request
    variables: list[Variable]
    times: Axis
    levels: Axis | None
    grid: Grid

    def shape(self, variable: Variable) -> tuple[int, ...]:
        """Of the variable in the copy: [time,] [level,] latitude, longitude."""
        sizes = {
            "time": len(self.times.values),
            "level": 0 if self.levels is None else len(self.levels.values),
            "latitude": len(self.grid.latitude),
            "longitude": len(self.grid.longitude),
        }
        return tuple(sizes[axis] for axis in self.axes(variable))

    def axes(self, variable: Variable) -> tuple[str, ...]:
        """The canonical axes of a variable in the copy."""
        order = [axis for axis in ("time", "level", "latitude", "longitude") if axis in variable.dims]
        return tuple(axis for axis in order if axis != "time" or not variable.static)

    def block(self, variable: Variable) -> int:
        """Times in one chunk of the copy.

        About 32 MB; and several chunks of the source, so that few of them are needed by two.
        """
        if variable.static:
            return 1
        a_time = 4 * int(np.prod(self.shape(variable)[1:]))
        steps = max(1, round(CHUNK_BYTES / a_time))
        at_once = self._together(variable)
        if at_once > 1:
            steps = max(steps, min(4 * at_once, max(at_once, int(LARGEST_CHUNK / a_time))))
        return min(steps, len(self.times.values))

    def _together(self, variable: Variable) -> int:
        """The most times of the request that lie in one chunk of the source."""
        chunk = self.times.index // variable.chunks[variable.dims.index("time")]
        return int(np.unique(chunk, return_counts=True)[1].max())

    def pieces(self) -> list[Piece]:
        """All chunks of the copy, in the order of time."""
        found = []
        for variable in self.variables:
            count = 1 if variable.static else len(self.times.values)
            block = self.block(variable)
            found += [Piece(variable, k, min(k + block, count)) for k in range(0, count, block)]
        return sorted(found, key=lambda piece: piece.start)

    def groups(self, piece: Piece) -> Iterator[np.ndarray]:
        """Positions (in ``times``) of a piece that lie in the same chunk of the source."""
        steps = np.arange(piece.start, piece.stop)
        if "time" not in piece.variable.dims:
            yield steps
            return
        chunk = self.times.index[steps] // piece.variable.chunks[piece.variable.dims.index("time")]
        yield from np.split(steps, np.flatnonzero(np.diff(chunk)) + 1)

    def chunks(self, variable: Variable, steps: np.ndarray) -> list[tuple[int, ...]]:
        """Chunks of the source that one reading touches."""
        index = self._index(variable, steps)
        parts = [
            np.unique(index[dim] // size) for dim, size in zip(variable.dims, variable.chunks, strict=True)
        ]
        return [
            tuple(map(int, at))
            for at in np.stack(np.meshgrid(*parts, indexing="ij"), -1).reshape(-1, len(parts))
        ]

    def _index(self, variable: Variable, steps: np.ndarray) -> dict[str, np.ndarray]:
        found = {"time": self.times.index[steps], "latitude": self.grid.rows, "longitude": self.grid.columns}
        return found if self.levels is None else found | {"level": self.levels.index}

    def read(self, variable: Variable, steps: np.ndarray) -> np.ndarray:
        """Values of a variable at some times: float32, SI units, axes as :meth:`axes` says, regridded."""
        wanted = self._index(variable, steps)
        ordered = {dim: np.sort(wanted[dim]) for dim in variable.dims}
        lazy = self.source.raw[variable.raw]
        lazy = lazy.isel({self.source.dims[dim]: _as_slice(index) for dim, index in ordered.items()})
        values = np.asarray(lazy.values, np.float32)
        values = values.transpose(
            [variable.dims.index(a) for a in ("time", "level", "latitude", "longitude") if a in variable.dims]
        )
        if variable.static and "time" in variable.dims:
            values = values[0]
        for number, axis in enumerate(self.axes(variable)):
            order = np.searchsorted(ordered[axis], wanted[axis])
            if (np.diff(order) == 1).all():
                continue
            backwards = len(order) == values.shape[number] and (np.diff(order) == -1).all()
            values = np.flip(values, number) if backwards else values.take(order, number)
        if self.grid.weights is not None:
            values = regrid(values, *self.grid.weights)
        factor, offset = (
            to_si(variable.name, variable.units) if variable.name in FIELDS and variable.units else (1.0, 0.0)
        )
        return values if (factor, offset) == (1.0, 0.0) else values * np.float32(factor) + np.float32(offset)


def _as_slice(index: np.ndarray) -> np.ndarray | slice:
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def make_plan(source: Source, request: Request) -> Plan:
    """Check a request against a source.

    Raises
    ------
    UserError
        If the source lacks a field, level, period or place of the request.
    """
    variables = wanted_variables(source, request.fields)
    on_levels = any("level" in variable.dims for variable in variables)
    return Plan(
        source,
        request,
        variables,
        wanted_times(source, request),
        wanted_levels(source, request) if on_levels else None,
        wanted_grid(source, request),
    )


def read_patiently(plan: Plan, variable: Variable, steps: np.ndarray, *, attempts: int = 4) -> np.ndarray:
    """As :meth:`Plan.read`; what cannot be decoded is read anew.

    Raises
    ------
    UserError
        If a chunk cannot be had, is missing or stays damaged.
    """
    what = f"{variable.name} at {str(plan.times.values[steps[0]])[:16]}"
    kept = "what was fetched is kept, run the same command again to go on"
    for attempt in range(1, attempts + 1):
        try:
            return plan.read(variable, steps)
        except RemoteError as error:
            reason = error.reason
            raise UserError(f"{what}: chunk {error.key} could not be read ({reason}); {kept}") from error
        except MissingChunk as error:
            raise UserError(f"{what}: {error}") from error
        except (UserError, MemoryError):
            raise
        except Exception as error:  # of whatever codec finds the bytes damaged
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            damage = error
        if attempt < attempts:
            time.sleep(min(0.2 * 2**attempt, 5.0))
    number = ".".join(map(str, plan.chunks(variable, steps)[0]))
    raise UserError(
        f"{what}: chunk {variable.raw}/{number} is damaged ({reason}, read {attempts} times); {kept}"
    ) from damage
