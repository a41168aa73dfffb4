"""Reading a prepared store (:mod:`atmorep_lite.data.prepare`): neighbourhoods out of memory-mapped files."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from atmorep_lite.config import FieldConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError


class PackedField:
    """One field of a prepared store, ``[time, level, latitude, longitude]``, normalised.

    Nothing is read but what :meth:`cut` asks for; what was read stays in the operating system's cache, which
    processes share.  An object can be sent to other processes; files are opened where they are used.
    """

    def __init__(
        self,
        store: str | os.PathLike[str],
        name: str,
        levels: list[int] | None = None,
        *,
        first: int = 0,
    ) -> None:
        """``levels``: indices of the levels to read, all by default.  ``first``: the time called 0."""
        array = zarr.open_group(store, mode="r")[name]
        assert isinstance(array, zarr.Array)
        self.folder = Path(store) / name / "c"
        written = (Path(store) / name / "zarr.json").stat()
        self.version = (written.st_ino, written.st_mtime_ns)  # another store may come to the same place
        self.shape = array.shape
        self.chunk: tuple[int, ...] = array.chunks
        self.scale = np.float32(str(array.attrs["scale_factor"]))
        self.levels = levels
        self.first = first

    def cut(
        self,
        start: int,
        steps: int,
        row: int,
        height: int,
        columns: np.ndarray,
        *,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """``[level, time, latitude, longitude]`` float32 of a box; columns may wrap around the globe."""
        count = 1 if len(self.shape) == 3 else self.shape[1]
        levels = range(count) if self.levels is None else self.levels
        if out is None:
            out = np.empty((len(levels), steps, height, len(columns)), np.float32)
        parts = runs(columns)
        done = 0
        while done < steps:
            number, first = divmod(self.first + start + done, self.chunk[0])
            length = min(steps - done, self.chunk[0] - first)
            block = self._block(number)[first : first + length].reshape(length, count, *self.shape[-2:])
            at = 0
            for part in parts:
                here = slice(at, at + part.stop - part.start)
                for k, level in enumerate(levels):  # a list of levels as an index would copy whole rows
                    out[k, done : done + length, :, here] = block[:, level, row : row + height, part]
                at = here.stop
            done += length
        out *= self.scale
        return out

    def _block(self, number: int) -> np.ndarray:
        path = self.folder.joinpath(str(number), *"0" * (len(self.shape) - 1))
        return _mapped(str(path), self.chunk, self.version)


@lru_cache(maxsize=1024)
def _mapped(path: str, shape: tuple[int, ...], version: tuple[int, int]) -> np.ndarray:
    """A block's file; ``version`` tells stores apart that came to be at the same place."""
    try:
        return np.asarray(np.memmap(path, np.dtype("<i2"), mode="r", shape=shape))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is missing or cut short ({error}); remove it and prepare the store again"
        ) from error


def runs(columns: np.ndarray) -> list[slice]:
    """Consecutive columns as slices: one, or two where they wrap around the globe."""
    breaks = np.flatnonzero(np.diff(columns) != 1) + 1
    return [slice(int(part[0]), int(part[-1]) + 1) for part in np.split(columns, breaks)]


def is_prepared(path: str | os.PathLike[str]) -> bool:
    """Whether there is a prepared store at ``path``, complete or not."""
    marker = Path(path) / "zarr.json"
    return marker.is_file() and '"prepared"' in marker.read_text(errors="replace")


def open_prepared(path: str | os.PathLike[str]) -> xr.Dataset:
    """A prepared store as a lazy dataset: the fields normalised, their statistics, coordinates and maps.

    Fields are NaN at times that are not sound.

    Raises
    ------
    UserError
        If it is not there, or its preparation has not ended.
    """
    if not is_prepared(path):
        raise UserError(f"{path} is no prepared store; make one with `atmorep-lite data prepare`")
    dataset = xr.open_zarr(path, consolidated=False)
    if "complete" not in dataset.attrs:
        raise UserError(
            f"{path} is not complete; run the same `atmorep-lite data prepare` again to finish it"
        )
    if "sound" in dataset:
        sound = dataset["sound"].load()
        for name in dataset.attrs["prepared"]["fields"]:
            encoding = dataset[name].encoding
            dataset[name] = dataset[name].where(sound)
            dataset[name].encoding = encoding
    return dataset.assign_attrs(store=os.fspath(path))


def packed_field(prepared: xr.Dataset, field: FieldConfig) -> PackedField:
    """One field of a prepared store, on the field's levels and from the dataset's first time on.

    Raises
    ------
    UserError
        If the store lacks the field or a level.
    """
    store, fields = prepared.attrs["store"], prepared.attrs["prepared"]["fields"]
    if field.name not in fields:
        raise UserError(
            f"{store} was prepared with {', '.join(fields)}, without {field.name}; prepare it anew"
        )
    levels = None
    if "level" in prepared[field.name].dims:
        have = list(prepared["level"].values)
        absent = [level for level in field.levels if level not in have]
        if absent:
            raise UserError(
                f"{store} was prepared without level {absent[0]} of {field.name}; prepare it anew"
            )
        levels = [have.index(level) for level in field.levels]
    times = xr.open_zarr(store, consolidated=False)["time"].values
    return PackedField(
        store, field.name, levels, first=int(np.searchsorted(times, prepared["time"].values[0]))
    )


def typical_changes(prepared: xr.Dataset, field: FieldConfig, steps: int) -> np.ndarray:
    """The tendency spread: root mean square of ``x(t + gap) - x(t)``, ``[level, gap]``, gap 1 ... steps.

    Area-weighted, over pairs of times of the record from which the store was prepared (its variable
    ``change_FIELD``).  In units of the field's standard deviation; where that differs between grid points or
    months, of its root mean square over them, area-weighted: one number for each level.

    Raises
    ------
    UserError
        If it was measured for fewer steps.
    """
    table = prepared[f"change_{field.name}"]
    if table.sizes["gap"] < steps:
        raise UserError(
            f"{prepared.attrs['store']} knows changes over {table.sizes['gap']} steps, the model needs "
            f"{steps}; prepare it anew with more --gaps"
        )
    table = table.sel(level=list(field.levels)) if "level" in table.dims else table.expand_dims("level")
    return table.isel(gap=slice(0, steps)).transpose("level", "gap").values


def statistics(prepared: xr.Dataset) -> Normalizer:
    """The normalisation of a prepared store."""
    fields = prepared.attrs["prepared"]["fields"]
    names = {f"{kind}_{name}" for kind in ("mean", "std") for name in fields}
    return Normalizer.from_dataset(prepared[sorted(names)].load().drop_attrs(deep=False))
