"""Statistics of a record in one pass, piece by piece: on one machine or many, in bounded memory.

Each piece of the record gives its count, mean, sum of squared deviations, least and largest value for every
grid point.  Two pieces merge exactly (Chan, Golub & LeVeque 1979)::

    n = n_a + n_b,   d = mean_b - mean_a
    mean = mean_a + d n_b / n,   squares = squares_a + squares_b + d^2 n_a n_b / n

so pieces may be computed anywhere, in any order, and records of different years can be joined later.  A
second product is how much fields change in so many steps, the unit in which a model of departures predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError

MONTHS = 12


@dataclass(frozen=True)
class Moments:
    """Moments of every field and grid point, one row for all times or twelve for the months of the year.

    Attributes
    ----------
    count
        ``[row]``: number of times.
    mean, squares, low, high
        Datasets of the fields with dims ``(row, [level], latitude, longitude)``, float64: mean, sum of
        squared deviations from it, least and largest value.
    changes
        Of each field ``[gap, [level]]``: area-weighted mean of ``(x(t + gap) - x(t))^2``, gap 1, 2, ...
    pairs
        ``[gap]``: number of pairs of times behind ``changes``.
    """

    count: np.ndarray
    mean: xr.Dataset
    squares: xr.Dataset
    low: xr.Dataset
    high: xr.Dataset
    changes: xr.Dataset
    pairs: np.ndarray

    def merge(self, other: Moments) -> Moments:
        """The moments of both records together."""
        count = self.count + other.count
        a, b = (xr.DataArray(m.count.astype(float), dims="row") for m in (self, other))
        both = (a + b).clip(min=1.0)
        difference = other.mean - self.mean
        pairs = self.pairs + other.pairs
        share = xr.DataArray(other.pairs / np.maximum(pairs, 1), dims="gap")
        return Moments(
            count,
            self.mean + difference * (b / both),
            self.squares + other.squares + difference**2 * (a * b / both),
            xr.where(self.low < other.low, self.low, other.low),
            xr.where(self.high > other.high, self.high, other.high),
            self.changes + (other.changes - self.changes) * share,
            pairs,
        )


def moments_of(piece: xr.Dataset, *, by_month: bool = False, gaps: int = 0, beyond: int = 0) -> Moments:
    """Moments of a record that fits into memory; its last ``beyond`` times serve only to form changes.

    ``gaps``: form changes over 1 ... ``gaps`` steps.
    """
    piece = piece.load()
    steps = piece.sizes["time"] - beyond
    own = piece.isel(time=slice(0, steps)).astype(np.float64)
    rows = own["time"].dt.month.values - 1 if by_month else np.zeros(steps, int)
    count = np.bincount(rows, minlength=MONTHS if by_month else 1)
    parts: dict[str, list[xr.Dataset]] = {name: [] for name in ("mean", "squares", "low", "high")}
    for row, number in enumerate(count):
        chosen = own.isel(time=np.flatnonzero(rows == row))
        mean = chosen.mean("time", skipna=False) if number else chosen.sum("time")
        parts["mean"].append(mean)
        parts["squares"].append(((chosen - mean) ** 2).sum("time", skipna=False))
        parts["low"].append(chosen.min("time") if number else mean + np.inf)
        parts["high"].append(chosen.max("time") if number else mean - np.inf)
    weight = np.cos(np.deg2rad(piece["latitude"]))
    weight = weight / weight.mean()
    changes, pairs = [], []
    for gap in range(1, gaps + 1):
        last = min(steps, piece.sizes["time"] - gap)
        pairs.append(max(last, 0))
        ahead, now = (piece.isel(time=slice(s, s + pairs[-1])).drop_vars("time") for s in (gap, 0))
        squared = ((ahead - now).astype(np.float64) ** 2 * weight).mean(("latitude", "longitude"))
        changes.append(squared.mean("time") if last > 0 else squared.sum("time"))
    empty = own.isel(latitude=0, longitude=0, time=0, drop=True)
    return Moments(
        count,
        **{name: xr.concat(part, "row") for name, part in parts.items()},
        changes=xr.concat(changes, "gap") if changes else empty.expand_dims(gap=0),
        pairs=np.array(pairs, int),
    )


def fit_moments(
    dataset: xr.Dataset, *, by_month: bool = False, gaps: int = 0, piece_megabytes: float = 128.0
) -> Moments:
    """Moments of a record of any size, read once.

    Runs on dask: with threads on this machine, or on the cluster of the ``dask.distributed.Client`` that is
    active.  Each thread holds one piece, of about ``piece_megabytes``.

    Raises
    ------
    UserError
        If there is no time in the dataset.
    """
    import dask

    if dataset.sizes.get("time", 0) == 0:
        raise UserError("statistics need data with times; this dataset has none")
    slices = time_pieces(dataset, piece_megabytes)
    each = dask.delayed(moments_of)
    merge = dask.delayed(Moments.merge)
    found = []
    for part in slices:
        beyond = min(part.stop + gaps, dataset.sizes["time"]) - part.stop
        piece = dataset.isel(time=slice(part.start, part.stop + beyond))
        found.append(each(piece, by_month=by_month, gaps=gaps, beyond=beyond))
    while len(found) > 1:  # a tree, so that merging never waits for the last piece
        found = [
            merge(*pair) if len(pair) == 2 else pair[0]
            for pair in (found[i : i + 2] for i in range(0, len(found), 2))
        ]
    (result,) = dask.compute(found[0])
    return result


def time_pieces(dataset: xr.Dataset, megabytes: float) -> list[slice]:
    """Stretches of time of about so many megabytes, that begin where a chunk of the data begins."""
    steps = dataset.sizes["time"]
    bytes_a_step = sum(v.nbytes for v in dataset.data_vars.values() if "time" in v.dims) / steps
    length = max(1, int(megabytes * 1e6 / max(bytes_a_step, 1.0)))
    chunk = max((c[0] for c in _time_chunks(dataset)), default=1)
    length = max(chunk, length // chunk * chunk)
    return [slice(start, min(start + length, steps)) for start in range(0, steps, length)]


def _time_chunks(dataset: xr.Dataset) -> Sequence[tuple[int, ...]]:
    return [v.chunksizes["time"] for v in dataset.data_vars.values() if v.chunks and "time" in v.chunksizes]
