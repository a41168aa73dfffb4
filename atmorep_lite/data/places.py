"""Where samples are cut out of a record: by area on the sphere, uniformly in time, by the sample's key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from atmorep_lite.config import ModelConfig, Triple
from atmorep_lite.errors import UserError
from atmorep_lite.masking.keys import Key, Purpose, generator


@dataclass(frozen=True)
class Place:
    """First grid indices of a cube: time step, row (latitude) and column (longitude)."""

    step: int
    row: int
    column: int


@dataclass(frozen=True)
class Places:
    """All places where a cube fits into a record.

    Attributes
    ----------
    starts
        The first time steps that there are, in rising order.
    bounds
        Of each first row: the chance of it and those before it together.
    columns
        Number of first columns: all of a globe, on which cubes wrap around, fewer of a region.
    """

    starts: np.ndarray
    bounds: np.ndarray
    columns: int

    @classmethod
    def fitting(
        cls, extent: Triple, sound: np.ndarray, latitude: np.ndarray, longitude: np.ndarray
    ) -> Places:
        """Places of cubes of ``extent`` steps x rows x columns; no step of a cube may be one not ``sound``.

        The chance of a row is proportional to the area of a cube that begins there, the sum of its rows'
        cosines of latitude.
        """
        steps, height, width = extent
        whole = np.convolve(sound, np.ones(steps), "valid") > steps - 0.5
        area = np.convolve(np.cos(np.deg2rad(latitude)), np.ones(height), "valid")
        columns = len(longitude) if is_global(longitude) else len(longitude) - width + 1
        starts = np.flatnonzero(whole) if len(sound) >= steps else np.arange(0)
        bounds = (area / area.sum()).cumsum()
        return cls(starts, bounds / bounds[-1], columns)

    def draw(self, count: int, rng: np.random.Generator) -> list[Place]:
        """Random places: uniform in time and longitude, area-weighted in latitude."""
        return [
            Place(int(s), int(r), int(c))
            for s, r, c in zip(
                self.starts[rng.integers(len(self.starts), size=count)],
                self.bounds.searchsorted(rng.random(count), side="right"),
                rng.integers(self.columns, size=count),
                strict=True,
            )
        ]

    def draw_at(self, keys: Sequence[Key], *, crops: int = 1, windows: int = 64) -> list[Place]:
        """Each sample's place, a function of its key alone.

        With ``crops`` = 1 every sample draws its own window of time.  Otherwise ``crops`` samples share one,
        at places of their own, so that what one of them has read is at hand for the next.  An epoch is then
        made of groups of ``windows * crops`` samples: each group draws ``windows`` windows, and a random
        permutation deals them out, so that the samples of a batch have different ones.
        """
        places = []
        for key in keys:
            (place,) = self.draw(1, generator(key, Purpose.PLACE))
            if crops > 1:
                rng = generator(window_key(key, crops, windows), Purpose.WINDOW)
                place = Place(int(self.starts[rng.integers(len(self.starts))]), place.row, place.column)
            places.append(place)
        return places


def window_key(key: Key, crops: int, windows: int) -> Key:
    """Which window of its epoch a sample uses: a key whose ``sample`` numbers the windows."""
    size = windows * crops
    group, number = divmod(key.sample, size)
    slot = int(_order(key.seed, key.epoch, group, size)[number])
    return Key(key.seed, key.epoch, group * windows + slot // crops)


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, group: int, size: int) -> np.ndarray:
    """The permutation of a group's samples."""
    return generator(Key(seed, epoch, group), Purpose.ORDER).permutation(size)


def check_extent(model: ModelConfig, available: Triple, steps: int) -> None:
    """Whether ``available`` times x rows x columns hold a neighbourhood, of ``steps`` times at least.

    Raises
    ------
    UserError
        If they do not, or not a field's context.
    """
    needed = (max(steps, 2), *model.extent[1:])  # two, to know the time step
    for axis, have, need in zip(("time", "latitude", "longitude"), available, needed, strict=True):
        if have < need:
            raise UserError(
                f"the data have {have} points in {axis}, but a neighbourhood of the model needs {need}; "
                "use more data or a configuration with smaller num_tokens or token_size"
            )
    for f in model.fields:
        extent = available if f.context is None else f.context.extent
        if extent[1] > available[1] or extent[2] > available[2]:
            raise UserError(
                f"the context of {f.name} covers {extent[1]} x {extent[2]} points (rows x columns), "
                f"but the data have {available[1]} x {available[2]}; choose a smaller context"
            )


def is_global(longitude: np.ndarray) -> bool:
    """Whether equally spaced longitudes go once around the globe."""
    return len(longitude) > 1 and abs((longitude[1] - longitude[0]) * len(longitude) - 360.0) < 1e-3
