"""Normalisation: from physical units to numbers of order one and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from atmorep_lite.data.moments import Moments, fit_moments
from atmorep_lite.errors import UserError

Kind = Literal["global", "local", "anomaly"]


@dataclass(frozen=True)
class Normalizer:
    """Mean and standard deviation of every field, and what kind they are.

    ``mean`` and ``std`` are Datasets of the fields, with dims ``(level)`` or ``(level, latitude,
    longitude)``.

    - ``global``: one mean and one standard deviation per field and level.
    - ``local``: both per grid point.
    - ``anomaly``: mean per grid point, one standard deviation of what remains per field and level.  Zero is
      then the local climatological mean, while errors keep their physical proportions between regions.
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
        return cls.from_moments(fit_moments(dataset), kind)

    @classmethod
    def from_moments(cls, moments: Moments, kind: Kind = "anomaly") -> Normalizer:
        """The same from moments that were computed before."""
        space = ("latitude", "longitude")
        point, squares = (part.isel(row=0) for part in (moments.mean, moments.squares / moments.count[0]))
        weights: xr.DataArray = np.cos(np.deg2rad(point["latitude"]))  # type: ignore[assignment]
        mean = point.weighted(weights).mean(space) if kind == "global" else point
        spread = squares + (point - mean) ** 2
        std = (spread if kind == "local" else spread.weighted(weights).mean(space)) ** 0.5
        for name in point.data_vars:
            if not bool((std[name] > 0).all()):
                raise UserError(f"{name} does not vary in the data, so it cannot be normalised; leave it out")
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
        return chosen
