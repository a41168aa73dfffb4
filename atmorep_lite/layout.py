"""The layout of forecasts, as WeatherBench 2 has it, and small helpers to make and read it.

A forecast has the dims ``(time, prediction_timedelta, [number], level, latitude, longitude)``: ``time`` is
the initial time, ``prediction_timedelta`` the lead, ``number`` the ensemble member.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError

GRID = ("latitude", "longitude")
_PIECE = 4_000_000  # values


def hours(count: float | Sequence[float] | np.ndarray) -> np.ndarray:
    """Hours as ``timedelta64[ns]``, exact to the second, in the shape of ``count``."""
    return (np.asarray(count, np.float64) * 3600).round().astype("timedelta64[s]").astype("timedelta64[ns]")


def dates(times: object) -> np.ndarray:
    """One or several times, as text or any kind of date, as an array of ``datetime64[ns]``.

    Raises
    ------
    UserError
        If they are no dates.
    """
    try:
        return np.atleast_1d(np.asarray(times, "datetime64[ns]"))
    except (ValueError, TypeError) as error:
        raise UserError(f"{times!r} is not a date; write dates like 2001-01-31T12:00") from error


def forecast_dataset(
    values: Mapping[str, np.ndarray], like: xr.Dataset, times: np.ndarray, leads: Sequence[float]
) -> xr.Dataset:
    """Dataset in the forecast layout.

    Parameters
    ----------
    values
        Field name to ``[time, lead, level, latitude, longitude]`` or, for an ensemble,
        ``[time, lead, number, level, latitude, longitude]``.
    like
        Where the grid, the levels and the attributes come from.
    times, leads
        Initial times; lead times in hours.
    """
    dims = ("time", "prediction_timedelta", "level", *GRID)
    coordinates: dict[str, np.ndarray] = {"time": np.asarray(times), "prediction_timedelta": hours(leads)}
    coordinates |= {name: like[name].values for name in dims[2:]}
    variables = {}
    for name, array in values.items():
        ensemble = array.ndim == len(dims) + 1
        variables[name] = (
            (*dims[:2], "number", *dims[2:]) if ensemble else dims,
            array,
            dict(like[name].attrs),
        )
    forecast = xr.Dataset(variables, coords=coordinates, attrs=dict(like.attrs))
    for name in dims[2:]:
        forecast[name].attrs.update(like[name].attrs)
    return forecast


def weather(dataset: xr.Dataset) -> xr.Dataset:
    """The variables that depend on time and level.

    Raises
    ------
    UserError
        If there are none.
    """
    names = [n for n, v in dataset.data_vars.items() if {"time", "level"} <= set(v.dims)]
    if not names:
        raise UserError(
            "the dataset has no variable with the dimensions time and level; open it with open_dataset"
        )
    return dataset[names]


def at_times(dataset: xr.Dataset, times: np.ndarray) -> xr.Dataset:
    """The dataset at some of its times.

    Raises
    ------
    UserError
        If it lacks one.
    """
    wanted = np.asarray(times, "datetime64[ns]")
    known = dataset["time"].values.astype("datetime64[ns]")
    lacking = wanted[~np.isin(wanted, known)]
    if lacking.size:
        covered = f"{str(known.min())[:16]} to {str(known.max())[:16]}" if known.size else "no time"
        raise UserError(
            f"the dataset has no {str(lacking[0])[:16]}; it covers {covered}: choose initial times inside "
            "it, with room for earlier states where the forecast needs them"
        )
    return dataset.sel(time=wanted)


def same_grid(dataset: xr.Dataset, other: xr.Dataset, what: str) -> None:
    """Check that both have the same latitudes and longitudes, to 0.001 degrees; ``what`` names the first.

    Raises
    ------
    UserError
        If they have not.
    """
    for name in GRID:
        a, b = dataset[name].values, other[name].values
        if a.shape != b.shape or not np.allclose(a, b, atol=1e-3):
            raise UserError(f"{what} is on another grid (its {name} differs); regrid one of the two")


def pieces(count: int, each: int) -> Iterator[slice]:
    """Slices that cover ``range(count)``, so short that ``each`` values per item stay within about 32 MB."""
    length = max(1, _PIECE // max(each, 1))
    yield from (slice(i, i + length) for i in range(0, count, length))


def is_simulated(data: xr.Dataset | xr.DataArray) -> bool:
    """Whether the data says of itself, in the attribute ``simulated``, that a model made it."""
    return str(data.attrs.get("simulated", "")).lower() == "true"
