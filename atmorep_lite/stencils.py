"""What a stencil on the grid recovers of a hidden field: two references for a network that does the same.

One is the definition of vorticity, in centred differences of the wind.  The other is a ridge regression on
the points around, of all other fields at the same time, with one closed-form fit per latitude row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.layout import GRID, same_grid
from atmorep_lite.ridge import NormalEquations, solve_path, square_stencil

EARTH_RADIUS = 6.371e6  # m


def wind_vorticity(u: xr.DataArray, v: xr.DataArray) -> xr.DataArray:
    """Vorticity in 1/s of a wind in m/s, by centred differences on the sphere.

    ``(dv/dlongitude - d(u cos(latitude))/dlatitude) / (radius cos(latitude))``; longitudes wrap, differences
    are one-sided in the outermost rows.

    Parameters
    ----------
    u, v
        ``[..., latitude, longitude]`` eastward and northward wind on a global grid without the poles.

    Raises
    ------
    UserError
        If the grid holds a pole or does not go once around the globe.
    """
    east = u["longitude"].values
    spacing = float(east[1] - east[0])
    if not np.isclose(spacing * len(east), 360.0, atol=1e-3) or float(abs(u["latitude"]).max()) > 89.999:
        raise UserError(
            "vorticity needs winds on all longitudes and no latitude at a pole; select such a grid"
        )
    cosine = np.cos(np.deg2rad(u["latitude"]))
    eastward = (v.roll(longitude=-1) - v.roll(longitude=1)) / (2 * np.deg2rad(spacing))
    northward = (u * cosine).differentiate("latitude") / np.deg2rad(1.0)
    curl = (eastward - northward) / (EARTH_RADIUS * cosine)
    return curl.transpose(*u.dims).rename("vorticity").assign_attrs(units="s-1")


@dataclass(frozen=True)
class HiddenField:
    """A fitted regression for one field on the others at the same time.

    Attributes
    ----------
    field, sources, levels
        What is recovered, and from what.
    width
        Points across the stencil.
    mean, scale
        ``[channel, y, x]`` and ``[channel, y]`` of the sources; channel = (field, level) in C order.
    own_mean
        ``[level, y, x]`` of the field itself.
    coefficients
        ``[y, input, level]``.
    """

    field: str
    sources: tuple[str, ...]
    levels: tuple[int, ...]
    width: int
    mean: np.ndarray
    scale: np.ndarray
    own_mean: np.ndarray
    coefficients: np.ndarray

    def recover(self, dataset: xr.Dataset) -> xr.DataArray:
        """The field as the others suggest it, ``[time, level, latitude, longitude]`` in its units."""
        anomaly = (_stack(dataset, self.sources, self.levels) - self.mean) / self.scale[..., None]
        stencil = square_stencil(anomaly.shape[1], self.width)
        like = dataset[self.field].sel(level=list(self.levels)).transpose("time", "level", *GRID)
        rows = [self.coefficients[y].T @ stencil.gather(anomaly, y) for y in range(anomaly.shape[2])]
        return like.copy(data=(np.stack(rows, 2) + self.own_mean).astype(np.float32))


def fit_hidden_field(
    record: xr.Dataset,
    field: str,
    sources: Sequence[str],
    levels: Sequence[int],
    *,
    width: int = 3,
    penalty: float = 1e-3,
) -> HiddenField:
    """Fit a field to ``width`` x ``width`` points of other fields at the same time, row by row.

    Parameters
    ----------
    record
        ``[time, level, latitude, longitude]`` on a global grid.
    field, sources, levels
        What to recover, from what, at which levels (hPa); every level sees all levels.
    penalty
        Ridge penalty per sample, in units of an input's variance.

    Raises
    ------
    UserError
        If the field is among its sources or the penalty is not positive.
    """
    if field in sources:
        raise UserError(f"{field} is hidden and cannot be a source of itself; leave it out of the sources")
    if penalty <= 0:
        raise UserError(f"a ridge penalty of {penalty} is not positive; choose for example 1e-3")
    same_grid(record[[field]], record[list(sources)], "the hidden field")
    seen, wanted = _stack(record, sources, levels), _stack(record, [field], levels)
    mean, own_mean = seen.mean(0), wanted.mean(0)
    scale = np.sqrt(((seen - mean) ** 2).mean((0, 3)))
    scale = np.where(scale > 0, scale, 1.0)
    rows, columns = seen.shape[2:]
    stencil = square_stencil(seen.shape[1], width)
    sums = NormalEquations(stencil, rows, columns, seen.shape[1], len(levels))
    sums.add((seen - mean) / scale[..., None], wanted - own_mean)
    penalties = np.array([penalty * sums.samples])
    coefficients = np.stack([solve_path(*sums.row(y), penalties)[0] for y in range(rows)])
    return HiddenField(
        field, tuple(sources), tuple(int(x) for x in levels), width, mean, scale, own_mean, coefficients
    )


def _stack(dataset: xr.Dataset, names: Sequence[str], levels: Sequence[int]) -> np.ndarray:
    """``[time, channel, y, x]`` float64; channel = (field, level) in C order."""
    chosen = [dataset[n].sel(level=list(levels)).transpose("time", "level", *GRID).values for n in names]
    return np.concatenate(chosen, 1).astype(np.float64)
