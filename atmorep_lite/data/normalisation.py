"""Normalisation: from physical units to numbers of order one and back."""

from __future__ import annotations

from calendar import month_name
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import xarray as xr

from atmorep_lite.data.moments import Moments, fit_moments
from atmorep_lite.errors import UserError

Kind = Literal["global", "local", "anomaly", "monthly_global", "monthly_local", "monthly_anomaly"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Normalizer:
    """Mean and standard deviation of every field, and what kind they are.

    ``mean`` and ``std`` are Datasets of the fields, with dims ``([month], level)`` or ``([month], level,
    latitude, longitude)``.

    - ``global``: one mean and one standard deviation per field and level.
    - ``local``: both per grid point.
    - ``anomaly``: mean per grid point, one standard deviation of what remains per field and level.  Zero is
      then the local climatological mean, while errors keep their physical proportions between regions.
    - ``monthly_global``, ``monthly_local``, ``monthly_anomaly``: the same for each month of the year, so that
      the seasons are taken out as well.  The month is that of each time, for a forecast that of the valid
      time.  The first two are what the published code calls "global" and "local".
    """

    mean: xr.Dataset
    std: xr.Dataset

    @classmethod
    def fit(cls, dataset: xr.Dataset, kind: Kind = "anomaly") -> Normalizer:
        """Statistics of a canonical dataset, area-weighted where they average over latitude.

        Raises
        ------
        UserError
            If a field is constant, so that nothing could be divided by its standard deviation.
        """
        return cls.from_moments(fit_moments(dataset, by_month=kind.startswith("monthly_")), kind)

    @classmethod
    def from_moments(cls, moments: Moments, kind: Kind = "anomaly") -> Normalizer:
        """The same from moments that were computed before: by month of the year for a monthly kind."""
        monthly, part = kind.startswith("monthly_"), kind.removeprefix("monthly_")
        assert monthly == bool(moments.rows[0]), "moments by month belong to a monthly kind"
        space = ("latitude", "longitude")
        count = xr.DataArray(moments.count, dims="row")
        point, squares = moments.mean, moments.squares / count
        weights: xr.DataArray = np.cos(np.deg2rad(point["latitude"]))  # type: ignore[assignment]
        mean = point.weighted(weights).mean(space) if part == "global" else point
        spread = squares + (point - mean) ** 2
        std = (spread if part == "local" else spread.weighted(weights).mean(space)) ** 0.5
        if monthly:
            mean, std = (kept.rename(row="month").assign_coords(month=moments.rows) for kept in (mean, std))
        else:
            mean, std = mean.isel(row=0), std.isel(row=0)
        for name in point.data_vars:
            varies = (std[name] > 0).all([dim for dim in std[name].dims if dim != "month"])
            if not bool(varies.all()):
                when = f" in {month_name[int(varies['month'][~varies][0])]}" if monthly else ""
                raise UserError(
                    f"{name} does not vary in the data{when}, so it cannot be normalised; leave it out"
                )
        return cls(mean.astype(np.float32), std.astype(np.float32))

    def normalize(self, dataset: xr.Dataset) -> xr.Dataset:
        """``(x - mean) / std`` for the fields that the statistics know, in float32."""
        return ((dataset - self._like(self.mean, dataset)) / self._like(self.std, dataset)).astype(np.float32)

    def denormalize(self, dataset: xr.Dataset) -> xr.Dataset:
        """``x * std + mean``: the inverse of :meth:`normalize`."""
        return dataset * self._like(self.std, dataset) + self._like(self.mean, dataset)

    def at(self, latitude: np.ndarray, longitude: np.ndarray) -> Normalizer:
        """The statistics at some of their grid points, for a neighbourhood."""

        def cut(statistics: xr.Dataset) -> xr.Dataset:
            if "latitude" not in statistics.dims:
                return statistics
            return statistics.sel(latitude=latitude, longitude=longitude, method="nearest", tolerance=1e-3)

        return Normalizer(cut(self.mean), cut(self.std))

    def to_dataset(self) -> xr.Dataset:
        """Both statistics in one dataset, variables ``mean_*`` and ``std_*``, for saving beside a model."""
        return xr.merge(
            [
                part.rename({k: f"{p}_{k}" for k in part})
                for p, part in (("mean", self.mean), ("std", self.std))
            ]
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Normalizer:
        """Inverse of :meth:`to_dataset`."""
        parts = {}
        for prefix in ("mean_", "std_"):
            names = [str(k) for k in dataset.data_vars if str(k).startswith(prefix)]
            parts[prefix] = dataset[names].rename({k: k.removeprefix(prefix) for k in names})
        return cls(parts["mean_"], parts["std_"])

    @staticmethod
    def _like(statistics: xr.Dataset, dataset: xr.Dataset) -> xr.Dataset:
        names = list(dataset.data_vars)
        missing = [name for name in names if name not in statistics]
        if missing:
            raise UserError(
                f"there are no normalisation statistics for {', '.join(map(str, missing))}; leave it out"
            )
        chosen = statistics[names]
        if "latitude" in chosen.dims:
            for axis in ("latitude", "longitude"):
                if chosen.sizes[axis] != dataset.sizes[axis] or not np.allclose(
                    chosen[axis], dataset[axis], atol=1e-3
                ):
                    raise UserError(
                        f"the normalisation statistics are per grid point and of another {axis} grid; train "
                        "with normalization: global, or use data on the grid of the training data"
                    )
            chosen = chosen.assign_coords(latitude=dataset["latitude"], longitude=dataset["longitude"])
        if "level" in dataset.dims and "level" in chosen.dims:
            unknown = np.setdiff1d(dataset["level"], chosen["level"])
            if len(unknown):
                raise UserError(
                    f"there are no normalisation statistics for the level {unknown[0]:g}; leave it out"
                )
            chosen = chosen.sel(level=dataset["level"])
        return _of_months(chosen, dataset) if "month" in chosen.dims else chosen


def _of_months(statistics: xr.Dataset, dataset: xr.Dataset) -> xr.Dataset:
    """Monthly statistics ``[month, ...]`` for each (valid) time of the data, ``[time, ...]``."""
    if "time" not in dataset.coords:
        raise UserError("the normalisation is by month, so the data need the coordinate time")
    valid = dataset["time"]
    if "prediction_timedelta" in dataset.coords:
        valid = valid + dataset["prediction_timedelta"]
    month = valid.dt.month
    for name, variable in statistics.data_vars.items():
        if "month" not in variable.dims:
            continue
        one = variable.isel({dim: 0 for dim in variable.dims if dim != "month"})
        unknown = np.setdiff1d(month, one.dropna("month")["month"])
        if len(unknown):
            raise UserError(
                f"there are no normalisation statistics of {name} for {month_name[int(unknown[0])]}, which "
                "the training data lack; train on whole years, or without a monthly normalization"
            )
    return statistics.sel(month=month).drop_vars("month")
