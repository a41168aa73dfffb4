"""Neighbourhoods: cubes of hours x degrees, cut out of a normalised record held in memory.

The wrap at longitude 0/360 is handled, the poles are never crossed, and the end of the record is never
spliced into its beginning.  Time and place travel with every cube.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from atmorep_lite.config import ContextConfig, FieldConfig, ModelConfig, Triple
from atmorep_lite.data.derive import with_derived
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.opening import check_finite, select
from atmorep_lite.data.places import Place, Places, check_extent, is_global
from atmorep_lite.data.prepared import PackedField, packed_field, runs, statistics, typical_changes
from atmorep_lite.data.static_maps import phase_of_year, static_maps
from atmorep_lite.data.timing import check_time_step, time_step
from atmorep_lite.errors import UserError
from atmorep_lite.masking.keys import Key
from atmorep_lite.tokens import FieldTokens, coarsened, token_info, tokenize


@dataclass(frozen=True)
class _Region:
    """Grid indices of a rectangle; ``place`` is its corner, with a column not yet wrapped at 0/360."""

    place: Place
    rows: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Cubes of all fields, ready for masking: unmasked tokens by field, and static maps.

    ``static`` is ``[batch, 8, latitude, longitude]``: sine and cosine of latitude and of longitude, surface
    geopotential (in units of 10,000 m2 s-2), land fraction, sine and cosine of the time of year; zeros where
    the data have no such map.
    """

    tokens: dict[str, FieldTokens]
    static: Tensor


@dataclass(frozen=True)
class InMemory:
    """One normalised field ``[level, time, latitude, longitude]`` in memory."""

    values: np.ndarray

    def cut(
        self, start: int, steps: int, row: int, height: int, columns: np.ndarray, *, out: np.ndarray
    ) -> np.ndarray:
        """``[level, time, latitude, longitude]`` of a box; columns may wrap around the globe."""
        box = self.values[:, start : start + steps, row : row + height]
        at = 0
        for part in runs(columns):
            here = slice(at, at + part.stop - part.start)
            out[..., here] = box[..., part]
            at = here.stop
        return out


class Neighbourhoods:
    """All neighbourhoods of a record, for a model's fields, levels and extent.

    The record is held in memory, or stays on disk if it was prepared (:mod:`atmorep_lite.data.prepared`).
    ``least_steps`` is how many time steps the record must have, if fewer than a whole neighbourhood will do.
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        model: ModelConfig,
        normalizer: Normalizer,
        *,
        least_steps: int | None = None,
    ) -> None:
        self.model = model
        self.time = dataset["time"].values.astype("datetime64[ns]")
        self.latitude = dataset["latitude"].values.astype(float)
        self.longitude = dataset["longitude"].values.astype(float)
        grid = (len(self.time), len(self.latitude), len(self.longitude))
        check_extent(model, grid, model.extent[0] if least_steps is None else least_steps)
        check_time_step(normalizer, self.time)
        self.spans_globe = is_global(self.longitude)
        self.sound = np.ones(len(self.time), bool)
        if "sound" in dataset:
            self.sound = dataset["sound"].values.astype(bool)
        self.places = Places.fitting(model.extent, self.sound, self.latitude, self.longitude)
        if not self.steps and least_steps is None:
            raise UserError(
                f"the data have no {model.extent[0]} sound time steps in a row, but a neighbourhood of the "
                "model needs that many; use more data or a configuration with fewer time steps"
            )
        self.prepared = dataset if "prepared" in dataset.attrs else None
        self.fields: dict[str, PackedField | InMemory]
        if self.prepared is not None:
            self.fields = {f.name: packed_field(self.prepared, f) for f in model.fields}
            _check_same(statistics(self.prepared), normalizer, model)
        else:
            self.fields = {f.name: InMemory(_normalised(dataset, f, normalizer)) for f in model.fields}
        self.static = static_maps(dataset, self.latitude, self.longitude)

    @property
    def steps(self) -> int:
        """Number of possible first time steps."""
        return len(self.places.starts)

    @property
    def time_step(self) -> float:
        """Hours between two steps."""
        return time_step(self.time)

    def draw(self, count: int, rng: np.random.Generator) -> list[Place]:
        """Random places: uniform in time and longitude, area-weighted in latitude."""
        return self.places.draw(count, rng)

    def draw_at(self, keys: Sequence[Key], *, crops: int = 1, windows: int = 64) -> list[Place]:
        """Each sample's place by its key; see :meth:`atmorep_lite.data.places.Places.draw_at`."""
        return self.places.draw_at(keys, crops=crops, windows=windows)

    def batch(self, places: list[Place], known_steps: int | None = None) -> Batch:
        """Cut out the cubes at ``places``.

        With ``known_steps`` only that many steps are read and the rest is NaN-free zeros to be hidden by a
        mask: a forecast then cannot see the future even by mistake, and may reach past the end of the record.
        """
        steps, height, width = self.model.extent
        known = steps if known_steps is None else known_steps
        for p in places:
            if not self.sound[p.step : p.step + known].all():
                bad = self.time[p.step + int(self.sound[p.step : p.step + known].argmin())]
                raise UserError(
                    f"the data are not sound at {str(bad)[:16]}, which a neighbourhood that begins at "
                    f"{str(self.time[p.step])[:16]} needs; choose a time before or {steps} steps after it"
                )
        regions = [self._region(p, height, width) for p in places]
        times = [self._times(p.step, steps, known) for p in places]
        tokens = {}
        for f in self.model.fields:
            cut = self._cut(f, regions, times, known, f.token_size)
            context = None if f.context is None else self._context(f, f.context, regions, times, known)
            tokens[f.name] = replace(cut, context=context)
        maps = np.stack([self.static[:, r.rows[0] : r.rows[-1] + 1].take(r.columns, -1) for r in regions])
        phase = np.array([phase_of_year(t[0]) for t in times])
        season = np.stack((np.sin(phase), np.cos(phase)), 1)[:, :, None, None]
        static = np.concatenate((maps, np.broadcast_to(season, (len(places), 2, height, width))), 1)
        return Batch(tokens, torch.from_numpy(static.astype(np.float32)))

    def _region(self, place: Place, height: int, width: int) -> _Region:
        columns = np.arange(place.column, place.column + width) % len(self.longitude)
        return _Region(place, np.arange(place.row, place.row + height), columns)

    def _around(self, inner: _Region, height: int, width: int) -> _Region:
        """A larger rectangle, centred on ``inner`` as well as the edges of the grid allow."""
        row = inner.place.row - (height - len(inner.rows)) // 2
        row = min(max(row, 0), len(self.latitude) - height)
        column = inner.place.column - (width - len(inner.columns)) // 2
        if not self.spans_globe:
            column = min(max(column, 0), len(self.longitude) - width)
        return self._region(Place(inner.place.step, row, column), height, width)

    def _context(
        self,
        f: FieldConfig,
        context: ContextConfig,
        regions: list[_Region],
        times: list[np.ndarray],
        known: int,
    ) -> FieldTokens:
        """Coarser tokens of larger regions around the cubes."""
        around = [self._around(r, *context.extent[1:]) for r in regions]
        cut = self._cut(f, around, times, known, context.token_size, context.coarsen)
        corners = [[[r.place.row, r.place.column] for r in each] for each in (regions, around)]
        return replace(cut, offset=torch.tensor(corners[0]) - torch.tensor(corners[1]))

    def _cut(
        self,
        f: FieldConfig,
        regions: list[_Region],
        times: list[np.ndarray],
        known: int,
        token_size: Triple,
        coarsen: int = 1,
    ) -> FieldTokens:
        """Tokens of one field in regions of one size; of means over ``coarsen`` x ``coarsen`` points."""
        source, first = self.fields[f.name], regions[0]
        steps = len(times[0])
        shape = (len(regions), len(f.levels), steps, len(first.rows), len(first.columns))
        cube = np.empty(shape, np.float32) if known == steps else np.zeros(shape, np.float32)
        for b, r in enumerate(regions):
            source.cut(r.place.step, known, int(r.rows[0]), len(r.rows), r.columns, out=cube[b, :, :known])
        grid = torch.from_numpy(cube)
        values = tokenize(grid if coarsen == 1 else coarsened(grid, coarsen), token_size)
        size = (token_size[0], token_size[1] * coarsen, token_size[2] * coarsen)
        info = np.stack(
            [
                token_info(t, self.latitude[r.rows], self.longitude[r.columns], f.levels, size)
                for t, r in zip(times, regions, strict=True)
            ]
        )
        info[..., 7] *= coarsen
        mask = torch.zeros(values.shape[:-1], dtype=torch.bool)
        return FieldTokens(values, torch.from_numpy(info), mask)

    def typical_departures(self) -> dict[str, Tensor]:
        """Standard deviation of ``x(t + gap) - x(t)``, area-weighted: ``[level, gap]`` for gap 0 ... extent.

        Entry 0 is a small positive number (nothing is hidden there); the last one, for points that are never
        visible, is the standard deviation of the field itself.
        """
        steps = self.model.extent[0]
        weight = np.cos(np.deg2rad(self.latitude))[:, None]
        weight = weight / weight.mean()
        if self.prepared is not None:
            return {f.name: _measured_changes(self.prepared, f, steps) for f in self.model.fields}
        out = {}
        for name, field in self.fields.items():
            assert isinstance(field, InMemory)
            values = field.values
            chosen = np.linspace(0, self.steps - 1, min(self.steps, 400)).astype(int)
            table = np.empty((values.shape[0], steps + 1), np.float32)
            for gap in range(1, steps):
                change = values[:, chosen + gap] - values[:, chosen]
                table[:, gap] = np.sqrt((change**2 * weight).mean((1, 2, 3)))
            table[:, 0] = table[:, 1]
            table[:, steps] = np.sqrt((values[:, chosen] ** 2 * weight).mean((1, 2, 3)))
            out[name] = torch.from_numpy(np.maximum(table, 1e-3))
        return out

    def _times(self, step: int, steps: int, known: int) -> np.ndarray:
        if known == steps:
            return self.time[step : step + steps]
        spacing = self.time[1] - self.time[0]
        return self.time[step] + spacing * np.arange(steps)


def load_field(dataset: xr.Dataset, field: FieldConfig) -> xr.Dataset:
    """One field on its levels (level 0 stands for a surface field), in memory; derived where it lacks.

    Raises
    ------
    UserError
        If it is not there, or holds a NaN.
    """
    dataset = with_derived(dataset, [field.name])
    wanted = select(dataset, [field.name], None if field.levels == (0,) else np.array(field.levels)).load()
    check_finite(wanted)
    return wanted


def _normalised(dataset: xr.Dataset, field: FieldConfig, normalizer: Normalizer) -> np.ndarray:
    """``[level, time, latitude, longitude]`` float32."""
    (values,) = normalizer.normalize(load_field(dataset, field)).data_vars.values()
    if "level" not in values.dims:
        values = values.expand_dims("level")
    return np.ascontiguousarray(values.transpose("level", "time", "latitude", "longitude").values)


def _measured_changes(prepared: xr.Dataset, field: FieldConfig, steps: int) -> Tensor:
    """The table of :meth:`Neighbourhoods.typical_departures` from what preparation has measured."""
    changes = typical_changes(prepared, field, steps - 1)
    whole = np.ones_like(changes[:, :1])  # the fields are normalised
    table = np.concatenate((changes[:, :1], changes, whole), 1)
    return torch.from_numpy(np.maximum(table, 1e-3).astype(np.float32))


def _check_same(found: Normalizer, wanted: Normalizer, model: ModelConfig) -> None:
    """A prepared store is normalised already: by the statistics that are wanted, or it is refused."""
    for f in model.fields:
        for ours, theirs in ((found.mean, wanted.mean), (found.std, wanted.std)):
            if f.name not in ours or f.name not in theirs:
                continue
            a, b = ours[f.name], theirs[f.name]
            if "level" in a.dims and "level" in b.dims:
                a, b = a.sel(level=list(f.levels)), b.sel(level=list(f.levels))
            if a.shape != b.shape or not np.allclose(a, b, rtol=1e-4, atol=1e-12, equal_nan=True):
                raise UserError(
                    f"the prepared store is normalised with other statistics of {f.name} than the model's; "
                    "prepare it with --statistics of the training store"
                )
