"""Statistics of a record in one pass, piece by piece: on one machine or many, in bounded memory.

Each piece of the record gives its count, mean, sum of squared deviations, least and largest value for every
grid point.  Two pieces merge exactly (Chan, Golub & LeVeque 1979)::

    n = n_a + n_b,   d = mean_b - mean_a
    mean = mean_a + d n_b / n,   squares = squares_a + squares_b + d^2 n_a n_b / n

so pieces may be computed anywhere, in any order, and records of different years can be joined later.  A
second product is how much fields change in so many steps, the unit in which a model of departures predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from atmorep_lite.data.bad_times import BadTime
from atmorep_lite.errors import UserError

#: From how many times on changes are measured in long records of large fields.
STARTS = 64
#: Finds the times of a record in memory that cannot be used.
Inspector = Callable[[xr.Dataset], list[BadTime]]


@dataclass(frozen=True)
class Moments:
    """Moments of every field and grid point, one row for all times or one for each month of the year.

    Attributes
    ----------
    rows
        ``[row]``: 0 for all times together, or the months (1 ... 12) that the record has, ascending.
    count
        ``[row]``: number of times.
    mean, squares, low, high
        Datasets of the fields with dims ``(row, [level], latitude, longitude)``, float64: mean, sum of
        squared deviations from it, least and largest value.
    changes
        Of each field ``[gap, [level]]``: area-weighted mean of ``(x(t + gap) - x(t))^2``, gap 1, 2, ...
    pairs
        ``[gap]``: number of pairs of times behind ``changes``.
    bad
        What was found to be wrong, time by time.
    """

    rows: np.ndarray
    count: np.ndarray
    mean: xr.Dataset
    squares: xr.Dataset
    low: xr.Dataset
    high: xr.Dataset
    changes: xr.Dataset
    pairs: np.ndarray
    bad: tuple[BadTime, ...] = field(default=())

    def merge(self, other: Moments) -> Moments:
        """The moments of both records together."""
        rows = np.union1d(self.rows, other.rows)
        one, two = self._on(rows), other._on(rows)
        a, b = (xr.DataArray(m.count.astype(float), dims="row") for m in (one, two))
        both = (a + b).clip(min=1.0)
        difference = two.mean - one.mean
        pairs = one.pairs + two.pairs
        share = xr.DataArray(two.pairs / np.maximum(pairs, 1), dims="gap")
        return Moments(
            rows,
            one.count + two.count,
            one.mean + difference * (b / both),
            one.squares + two.squares + difference**2 * (a * b / both),
            xr.where(one.low < two.low, one.low, two.low),
            xr.where(one.high > two.high, one.high, two.high),
            one.changes + (two.changes - one.changes) * share,
            pairs,
            one.bad + two.bad,
        )

    def _on(self, rows: np.ndarray) -> Moments:
        """The same with further rows that count nothing; only these months are held in memory before."""
        if np.array_equal(rows, self.rows):
            return self

        def wider(part: xr.Dataset, fill: float) -> xr.Dataset:
            return part.assign_coords(row=self.rows).reindex(row=rows, fill_value=fill).drop_vars("row")

        count = np.zeros(len(rows), int)
        count[np.searchsorted(rows, self.rows)] = self.count
        return replace(
            self,
            rows=rows,
            count=count,
            mean=wider(self.mean, 0.0),
            squares=wider(self.squares, 0.0),
            low=wider(self.low, np.inf),
            high=wider(self.high, -np.inf),
        )


def moments_of(
    piece: xr.Dataset,
    *,
    by_month: bool = False,
    gaps: int = 0,
    beyond: int = 0,
    inspect: Inspector | None = None,
    skip_bad: bool = False,
) -> Moments:
    """Moments of a record that fits into memory; its last ``beyond`` times serve only to form changes.

    ``gaps``: form changes over 1 ... ``gaps`` steps.  ``inspect`` looks for times that are wrong, which
    ``skip_bad`` leaves out of all moments and changes.
    """
    piece = piece.load()
    total = piece.sizes["time"]
    steps = total - beyond
    bad = [] if inspect is None else inspect(piece)
    used = np.ones(total, bool)
    if skip_bad and bad:
        used = ~np.isin(piece["time"].values, [found.time for found in bad])
    mine = piece["time"].values[:steps]
    own = piece.isel(time=np.flatnonzero(used[:steps])).astype(np.float64)
    label = own["time"].dt.month.values if by_month else np.zeros(own.sizes["time"], int)
    rows, count = np.unique(label, return_counts=True)
    parts: dict[str, list[xr.Dataset]] = {name: [] for name in ("mean", "squares", "low", "high")}
    for row in rows:
        chosen = own.isel(time=np.flatnonzero(label == row))
        mean = chosen.mean("time", skipna=False)
        parts["mean"].append(mean)
        parts["squares"].append(((chosen - mean) ** 2).sum("time", skipna=False))
        parts["low"].append(chosen.min("time"))
        parts["high"].append(chosen.max("time"))
    none = own.isel(time=slice(0, 0)).sum("time").expand_dims(row=0)
    changes, pairs = _changes(piece, used, steps, gaps)
    return Moments(
        rows,
        count,
        **{name: xr.concat(part, "row") if part else none for name, part in parts.items()},
        changes=changes,
        pairs=pairs,
        bad=tuple(found for found in bad if found.time in mine),
    )


def _changes(piece: xr.Dataset, used: np.ndarray, steps: int, gaps: int) -> tuple[xr.Dataset, np.ndarray]:
    """Mean squared change over 1 ... ``gaps`` steps that begin in the first ``steps``; number of pairs."""
    weight = np.cos(np.deg2rad(piece["latitude"]))
    weight = weight / weight.mean()
    changes, pairs = [], []
    for gap in range(1, gaps + 1):
        last = max(min(steps, piece.sizes["time"] - gap), 0)
        first = np.flatnonzero(used[:last] & used[gap : gap + last])
        pairs.append(len(first))
        ahead, now = (piece.isel(time=first + k).drop_vars("time") for k in (gap, 0))
        squared = ((ahead - now).astype(np.float64) ** 2 * weight).mean(("latitude", "longitude"))
        changes.append(squared.mean("time") if len(first) else squared.sum("time"))
    if changes:
        return xr.concat(changes, "gap"), np.array(pairs, int)
    empty = (
        piece.isel(latitude=0, longitude=0, drop=True).astype(np.float64).isel(time=slice(0, 0)).sum("time")
    )
    return empty.expand_dims(gap=0), np.array(pairs, int)


def fit_moments(
    dataset: xr.Dataset,
    *,
    by_month: bool = False,
    gaps: int = 0,
    piece_megabytes: float = 128.0,
    inspect: Inspector | None = None,
    skip_bad: bool = False,
) -> Moments:
    """Moments of a record of any size, read once.

    Runs on dask: with threads on this machine, or on the cluster of the ``dask.distributed.Client`` that is
    active.  Each thread holds one piece, of about ``piece_megabytes``.  Pieces and their order of merging do
    not depend on where they are computed, so the result does not either, to the last bit.

    Changes are those between all pairs of times.  Of a long record whose pieces are shorter than ``gaps``,
    which would be read several times for that, they are those from :data:`STARTS` times on, evenly spaced.

    Parameters
    ----------
    by_month
        One row for each month of the year instead of one for all times.
    inspect, skip_bad
        As for :func:`moments_of`.

    Raises
    ------
    UserError
        If there is no time in the dataset, or none is left.
    """
    import dask

    if dataset.sizes.get("time", 0) == 0:
        raise UserError("statistics need data with times; this dataset has none")
    slices = time_pieces(dataset, piece_megabytes)
    sampled = gaps > slices[0].stop and dataset.sizes["time"] >= STARTS * (gaps + 1)
    ahead, gaps = gaps, 0 if sampled else gaps
    each = dask.delayed(moments_of)
    merge = dask.delayed(Moments.merge)
    found = []
    for part in slices:
        beyond = min(part.stop + gaps, dataset.sizes["time"]) - part.stop
        piece = dataset.isel(time=slice(part.start, part.stop + beyond))
        options = {"by_month": by_month, "gaps": gaps, "beyond": beyond}
        found.append(each(piece, inspect=inspect, skip_bad=skip_bad, **options))
    while len(found) > 1:  # a tree, so that merging never waits for the last piece
        found = [
            merge(*pair) if len(pair) == 2 else pair[0]
            for pair in (found[i : i + 2] for i in range(0, len(found), 2))
        ]
    (result,) = dask.compute(found[0])
    if not len(result.rows):
        raise UserError(f"not one of {dataset.sizes['time']} times is usable, first {result.bad[0].words}")
    result = replace(result, bad=tuple(sorted(result.bad, key=lambda one: one.time)))
    if not sampled:
        return result
    used = np.ones(dataset.sizes["time"], bool)
    if skip_bad:
        used = ~np.isin(dataset["time"].values, [found.time for found in result.bad])
    changes, pairs = _sampled_changes(dataset, used, ahead)
    return replace(result, changes=changes, pairs=pairs)


def _sampled_changes(dataset: xr.Dataset, used: np.ndarray, gaps: int) -> tuple[xr.Dataset, np.ndarray]:
    """As :func:`_changes`, from :data:`STARTS` times on; one of them at a time, in few chunks of memory."""
    weight = np.cos(np.deg2rad(dataset["latitude"]))
    weight = weight / weight.mean()
    good = np.flatnonzero(used[: len(used) - gaps])
    starts = good[np.linspace(0, len(good) - 1, STARTS).astype(int)] if len(good) else good
    pairs = np.array([used[starts + gap].sum() for gap in range(1, gaps + 1)], int)
    total = xr.zeros_like(dataset.isel(latitude=0, longitude=0, time=0, drop=True).load().astype(np.float64))
    total = total.expand_dims(gap=gaps).copy()
    for start in starts:
        piece = dataset.isel(time=slice(start, start + gaps + 1)).drop_vars("time").astype(np.float64)
        change = piece.isel(time=slice(1, None)) - piece.isel(time=0)
        squared = (change**2 * weight).mean(("latitude", "longitude"), skipna=False).compute()
        known = xr.DataArray(used[start + 1 : start + gaps + 1], dims="gap")
        total = total + squared.rename(time="gap").where(known, 0.0)
    return total / xr.DataArray(np.maximum(pairs, 1), dims="gap"), pairs


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
