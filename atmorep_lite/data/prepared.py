"""Reading a prepared store (:mod:`atmorep_lite.data.prepare`): neighbourhoods out of memory-mapped files."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError


class PackedField:
    """One field of a prepared store, ``[time, level, latitude, longitude]``, normalised.

    Nothing is read but what :meth:`cut` asks for; what was read stays in the operating system's cache, which
    processes share.  An object can be sent to other processes; files are opened where they are used.
    """

    def __init__(self, store: str | os.PathLike[str], name: str, levels: list[int] | None = None) -> None:
        array = zarr.open_group(store, mode="r")[name]
        assert isinstance(array, zarr.Array)
        self.folder = Path(store) / name / "c"
        self.shape = array.shape
        self.chunk: tuple[int, ...] = array.chunks
        self.scale = np.float32(str(array.attrs["scale_factor"]))
        self.levels = levels

    def cut(self, start: int, steps: int, row: int, height: int, columns: np.ndarray) -> np.ndarray:
        """``[level, time, latitude, longitude]`` float32 of a box; columns may wrap around the globe."""
        out: np.ndarray | None = None
        block = self.chunk[0]
        done = 0
        while done < steps:
            number, first = divmod(start + done, block)
            count = min(steps - done, block - first)
            piece = self._block(number)[first : first + count, ..., row : row + height, :]
            if piece.ndim == 3:
                piece = piece[:, None]
            elif self.levels is not None:
                piece = piece[:, self.levels]
            if out is None:
                out = np.empty((piece.shape[1], steps, height, len(columns)), np.float32)
            at = 0
            for part in _runs(columns):
                width = part.stop - part.start
                out[:, done : done + count, :, at : at + width] = piece[..., part].swapaxes(0, 1)
                at += width
            done += count
        assert out is not None
        out *= self.scale
        return out

    def _block(self, number: int) -> np.ndarray:
        path = self.folder.joinpath(str(number), *"0" * (len(self.shape) - 1))
        return _mapped(str(path), self.chunk)


@lru_cache(maxsize=1024)
def _mapped(path: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.memmap(path, np.dtype("<i2"), mode="r", shape=shape)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is missing or cut short ({error}); remove it and prepare the store again"
        ) from error


def _runs(columns: np.ndarray) -> list[slice]:
    """Consecutive columns as slices: one, or two where they wrap around the globe."""
    breaks = np.flatnonzero(np.diff(columns) != 1) + 1
    return [slice(int(part[0]), int(part[-1]) + 1) for part in np.split(columns, breaks)]


def is_prepared(path: str | os.PathLike[str]) -> bool:
    """Whether there is a prepared store at ``path``, complete or not."""
    marker = Path(path) / "zarr.json"
    return marker.is_file() and '"prepared"' in marker.read_text(errors="replace")


def open_prepared(path: str | os.PathLike[str]) -> xr.Dataset:
    """A prepared store as a lazy dataset: the fields normalised, their statistics, coordinates and maps.

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
    return dataset


def statistics(prepared: xr.Dataset) -> Normalizer:
    """The normalisation of a prepared store."""
    fields = prepared.attrs["prepared"]["fields"]
    names = {f"{kind}_{name}" for kind in ("mean", "std") for name in fields}
    return Normalizer.from_dataset(prepared[sorted(names)].load())
