"""Neighbourhoods: cubes of hours x degrees, cut out of a normalised record held in memory.

The wrap at longitude 0/360 is handled, the poles are never crossed, and the end of the record is never
spliced into its beginning.  Time and place travel with every cube.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from atmorep_lite.config import FieldConfig, ModelConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.opening import check_finite, select
from atmorep_lite.errors import UserError
from atmorep_lite.tokens import FieldTokens, token_info, tokenize

STATIC_FIELDS = ("geopotential_at_surface", "land_sea_mask")


@dataclass(frozen=True)
class Place:
    """First grid indices of a cube: time step, row (latitude) and column (longitude)."""

    step: int
    row: int
    column: int


@dataclass(frozen=True)
class Batch:
    """Cubes of all fields, ready for masking: unmasked tokens by field, and static maps.

    ``static`` is ``[batch, 8, latitude, longitude]``: sine and cosine of latitude and of longitude, surface
    geopotential (in units of 10,000 m2 s-2), land fraction, sine and cosine of the time of year; zeros where
    the data have no such map.
    """

    tokens: dict[str, FieldTokens]
    static: Tensor


class Neighbourhoods:
    """All neighbourhoods of a record, for a model's fields, levels and extent.

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
        self._check_extent(model.extent[0] if least_steps is None else least_steps)
        self.spans_globe = is_global(self.longitude)
        self.fields = {f.name: _normalised(dataset, f, normalizer) for f in model.fields}
        self.static = _static_maps(dataset, self.latitude, self.longitude)

    @property
    def steps(self) -> int:
        """Number of possible first time steps."""
        return len(self.time) - self.model.extent[0] + 1

    def draw(self, count: int, rng: np.random.Generator) -> list[Place]:
        """Random places: uniform in time and longitude, area-weighted in latitude."""
        _, height, width = self.model.extent
        rows = np.arange(len(self.latitude) - height + 1)
        area = np.cos(np.deg2rad(self.latitude))
        weight = np.convolve(area, np.ones(height), "valid")
        columns = len(self.longitude) if self.spans_globe else len(self.longitude) - width + 1
        return [
            Place(int(s), int(r), int(c))
            for s, r, c in zip(
                rng.integers(self.steps, size=count),
                rng.choice(rows, count, p=weight / weight.sum()),
                rng.integers(columns, size=count),
                strict=True,
            )
        ]

    def batch(self, places: list[Place], known_steps: int | None = None) -> Batch:
        """Cut out the cubes at ``places``.

        With ``known_steps`` only that many steps are read and the rest is NaN-free zeros to be hidden by a
        mask: a forecast then cannot see the future even by mistake, and may reach past the end of the record.
        """
        steps, height, width = self.model.extent
        known = steps if known_steps is None else known_steps
        rows = np.stack([np.arange(p.row, p.row + height) for p in places])
        columns = np.stack([np.arange(p.column, p.column + width) for p in places]) % len(self.longitude)
        times = [self._times(p.step, steps, known) for p in places]
        tokens = {}
        for f in self.model.fields:
            source = self.fields[f.name]
            cube = np.zeros((len(places), len(f.levels), steps, height, width), np.float32)
            for b, p in enumerate(places):
                cube[b, :, :known] = source[:, p.step : p.step + known, p.row : p.row + height][
                    ..., columns[b]
                ]
            values = tokenize(torch.from_numpy(cube), f.token_size)
            info = np.stack(
                [
                    token_info(
                        times[b], self.latitude[rows[b]], self.longitude[columns[b]], f.levels, f.token_size
                    )
                    for b in range(len(places))
                ]
            )
            mask = torch.zeros(values.shape[:-1], dtype=torch.bool)
            tokens[f.name] = FieldTokens(values, torch.from_numpy(info), mask)
        maps = np.stack([self.static[:, rows[b]][..., columns[b]] for b in range(len(places))])
        phase = np.array([_phase_of_year(t[0]) for t in times])
        season = np.stack((np.sin(phase), np.cos(phase)), 1)[:, :, None, None]
        static = np.concatenate((maps, np.broadcast_to(season, (len(places), 2, height, width))), 1)
        return Batch(tokens, torch.from_numpy(static.astype(np.float32)))

    def typical_departures(self) -> dict[str, Tensor]:
        """Standard deviation of ``x(t + gap) - x(t)``, area-weighted: ``[level, gap]`` for gap 0 ... extent.

        Entry 0 is a small positive number (nothing is hidden there); the last one, for points that are never
        visible, is the standard deviation of the field itself.
        """
        steps = self.model.extent[0]
        weight = np.cos(np.deg2rad(self.latitude))[:, None]
        weight = weight / weight.mean()
        out = {}
        for name, values in self.fields.items():
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

    def _check_extent(self, steps: int) -> None:
        available = (len(self.time), len(self.latitude), len(self.longitude))
        needed = (max(steps, 2), *self.model.extent[1:])
        for axis, have, need in zip(("time", "latitude", "longitude"), available, needed, strict=True):
            if have < need:
                raise UserError(
                    f"the data have {have} points in {axis}, but a neighbourhood of the model needs {need}; "
                    "use more data or a configuration with smaller num_tokens or token_size"
                )
        spacing = np.diff(self.time)
        if len(spacing) and (spacing != spacing[0]).any():
            raise UserError("the time steps of the data are not equally spaced; select a gap-free period")


def is_global(longitude: np.ndarray) -> bool:
    """Whether equally spaced longitudes go once around the globe."""
    return len(longitude) > 1 and abs((longitude[1] - longitude[0]) * len(longitude) - 360.0) < 1e-3


def load_field(dataset: xr.Dataset, field: FieldConfig) -> xr.Dataset:
    """One field on its levels (level 0 stands for a surface field), in memory.

    Raises
    ------
    UserError
        If it is not there, or holds a NaN.
    """
    wanted = select(dataset, [field.name], None if field.levels == (0,) else np.array(field.levels)).load()
    check_finite(wanted)
    return wanted


def _normalised(dataset: xr.Dataset, field: FieldConfig, normalizer: Normalizer) -> np.ndarray:
    """``[level, time, latitude, longitude]`` float32."""
    (values,) = normalizer.normalize(load_field(dataset, field)).data_vars.values()
    if "level" not in values.dims:
        values = values.expand_dims("level")
    return np.ascontiguousarray(values.transpose("level", "time", "latitude", "longitude").values)


def _static_maps(dataset: xr.Dataset, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    north, east = np.meshgrid(np.deg2rad(latitude), np.deg2rad(longitude), indexing="ij")
    maps = [np.sin(north), np.cos(north), np.sin(east), np.cos(east)]
    for name, unit in zip(STATIC_FIELDS, (1e4, 1.0), strict=True):
        if name in dataset:
            check_finite(dataset, [name])
        maps.append(dataset[name].values / unit if name in dataset else np.zeros_like(north))
    return np.stack(maps).astype(np.float32)


def _phase_of_year(time: np.datetime64) -> float:
    year = time.astype("datetime64[Y]")
    return 2 * np.pi * float((time - year) / np.timedelta64(1, "D")) / 365.25
