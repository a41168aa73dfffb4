"""How good is a forecast?  Scores against a truth, on the ``scores`` library.

Conventions, the same for every model:

- A forecast is a Dataset with dims ``(time, prediction_timedelta, [number], level, latitude, longitude)``:
  ``time`` is the *initial* time, so the truth to compare with is that at ``time + prediction_timedelta``.
- Maps are averaged with area weights, not with the cosine of the latitude.
- **The root of the RMSE is taken last**, after averaging over maps and initial times.  (Averaging the RMSE
  of single maps instead gives smaller numbers.)
- All models are scored on the same initial times, fields and levels: those that all of them have.
- Points where the truth is missing do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.layout import hours, is_simulated, pieces, same_grid

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("field", "level", "lead_hours", "model", "rmse", "crps", "spread_skill")
PERSISTENCE = "persistence"
MEAN = "mean"  # stands for "all fields" in the tables of ratios


def area_weights(latitude: xr.DataArray | np.ndarray | Sequence[float]) -> xr.DataArray:
    """Share of the sphere of each row of a latitude-longitude grid, scaled to a mean of 1.

    A row stands for its cell: ``sin(upper edge) - sin(lower edge)``.  Edges lie midway between rows.  The
    outer edges lie half a spacing beyond the outer rows, or at the pole where no further row would fit.

    Parameters
    ----------
    latitude
        ``[latitude]``, degrees, strictly ascending or descending.

    Returns
    -------
    DataArray ``[latitude]``, dimensionless.

    Raises
    ------
    UserError
        If the latitudes are not monotonic or leave [-90, 90].
    """
    rows = np.asarray(latitude, np.float64)
    steps = np.diff(rows)
    if (
        rows.ndim != 1
        or not rows.size
        or np.abs(rows).max() > 90
        or not ((steps > 0).all() or (steps < 0).all())
    ):
        raise UserError(
            "area weights need latitudes in degrees, within -90..90 and strictly ascending or descending; "
            "sort the dataset by latitude first"
        )
    if rows.size == 1:
        return xr.DataArray([1.0], dims="latitude", coords={"latitude": rows})
    edges = np.concatenate(
        [[_outer_edge(rows[0], -steps[0])], (rows[1:] + rows[:-1]) / 2, [_outer_edge(rows[-1], steps[-1])]]
    )
    areas = np.abs(np.diff(np.sin(np.deg2rad(edges))))
    return xr.DataArray(areas / areas.mean(), dims="latitude", coords={"latitude": rows})


def _outer_edge(row: float, outward: float) -> float:
    """Edge beyond the outermost ``row``; ``outward`` is the spacing, positive towards the north pole."""
    no_room_for_another_row = abs(row + outward) > 90 + 1e-6
    return float(np.copysign(90.0, outward)) if no_room_for_another_row else row + outward / 2


def skill_table(
    forecasts: Mapping[str, xr.Dataset],
    truth: xr.Dataset,
    leads_hours: Sequence[int] = (3, 6, 12, 24),
) -> pd.DataFrame:
    """Score several forecasts of the same weather.

    Parameters
    ----------
    forecasts
        Model name to forecast, ``[time, prediction_timedelta, (number), level, latitude, longitude]``.
    truth
        ``[time, level, latitude, longitude]`` in the same units; may cover more than the forecasts do.
    leads_hours
        Lead times in hours; every forecast must have them.

    Returns
    -------
    DataFrame with the columns ``field, level, lead_hours, model, rmse, crps, spread_skill``, one row per
    score; its ``attrs`` say over how many ``initial_times`` and whether the weather is ``simulated``.

    ``rmse``
        Of the ensemble mean, in the field's units; root taken after averaging over space and times.
    ``crps``
        Continuous ranked probability score in the field's units, standard form (the exact score of the
        members' distribution, ``method="ecdf"`` in ``scores``), because the heads of an ensemble network
        are not random draws.  For a single member it is the mean absolute error.
    ``spread_skill``
        ``sqrt(mean variance of the members) * sqrt((n+1)/n) / rmse``, variance with n-1, root after
        averaging; 1 for a reliable ensemble (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1), NaN for a
        single member.

    Raises
    ------
    UserError
        If a lead is missing, grids differ, a forecast is not finite, or nothing is common to all forecasts.
    """
    import pandas as pd

    if not forecasts:
        raise UserError("a skill table needs at least one forecast; pass a dict of model name to Dataset")
    first = next(iter(forecasts.values()))
    _check_layout(forecasts, truth)
    fields = _common("field", [[str(n) for n in d.data_vars] for d in (*forecasts.values(), truth)])
    levels = _common("level", [d["level"].values.tolist() for d in (*forecasts.values(), truth)])
    times = _common_times(forecasts, truth, leads_hours)
    truth_grid = _on_grid(truth, first)
    weights = xr.DataArray(area_weights(first["latitude"]).values, dims="latitude")
    rows = []
    for field in fields:
        for level in levels:
            at_level = truth_grid[field].sel(level=level)
            for lead in leads_hours:
                for model, forecast in forecasts.items():
                    step = forecast[field].sel(level=level, prediction_timedelta=hours(lead))
                    try:
                        scored = _score(step, at_level, times, hours(lead), weights)
                    except _NotFinite as error:
                        raise UserError(
                            f"the forecast of {field} by model {model!r} at {lead} h is not finite; "
                            "mend the model or leave it out of the table"
                        ) from error
                    rows.append((field, level, int(lead), model, *scored))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs |= {"initial_times": len(times), "simulated": is_simulated(truth)}
    return table


class _NotFinite(ValueError):
    """A forecast has missing or infinite values where the truth has values."""


def _score(
    forecast: xr.DataArray,
    truth: xr.DataArray,
    times: np.ndarray,
    lead: np.ndarray,
    weights: xr.DataArray,
) -> tuple[float, float, float]:
    """(rmse, crps, spread/skill) of one field, level and lead, block of initial times by block."""
    from scores.continuous import mse
    from scores.probability import crps_for_ensemble

    squared, crps, variance = [], [], []
    members = 1
    for ensemble, observed in _blocks(forecast, truth, times, lead):
        members = ensemble.sizes["number"]
        squared.append(mse(ensemble.mean("number"), observed, preserve_dims=["time"], weights=weights))
        crps.append(crps_for_ensemble(ensemble, observed, "number", preserve_dims=["time"], weights=weights))
        if members > 1:
            known = ensemble.var("number", ddof=1).where(np.isfinite(observed))
            variance.append(known.weighted(weights).mean(["latitude", "longitude"]))
    rmse = float(np.sqrt(xr.concat(squared, "time").mean()))
    spread_skill = float("nan")
    if members > 1 and rmse > 0:
        spread = float(np.sqrt(xr.concat(variance, "time").mean() * (members + 1) / members))
        spread_skill = spread / rmse
    return rmse, float(xr.concat(crps, "time").mean()), spread_skill


def _blocks(
    forecast: xr.DataArray, truth: xr.DataArray, times: np.ndarray, lead: np.ndarray
) -> Iterator[tuple[xr.DataArray, xr.DataArray]]:
    """Yield (ensemble ``[time, number, latitude, longitude]``, truth ``[time, latitude, longitude]``)."""
    if "number" not in forecast.dims:
        forecast = forecast.expand_dims("number")
    dims = ("time", "number", "latitude", "longitude")
    forecast = forecast.transpose(*dims)
    for part in pieces(len(times), int(np.prod(forecast.shape[1:]))):
        initial = times[part]
        ensemble = forecast.sel(time=initial).values.astype(np.float64)
        observed = truth.sel(time=initial + lead).transpose("time", *dims[2:]).values.astype(np.float64)
        if (np.isfinite(observed)[:, None] & ~np.isfinite(ensemble)).any():
            raise _NotFinite
        yield xr.DataArray(ensemble, dims=dims), xr.DataArray(observed, dims=("time", *dims[2:]))


def relative_to_persistence(table: pd.DataFrame) -> pd.DataFrame:
    """RMSE divided by that of persistence: below 1 is skill.

    Parameters
    ----------
    table
        As made by :func:`skill_table`, with the model ``"persistence"`` among its rows.

    Returns
    -------
    DataFrame with the columns ``field, lead_hours, model, ratio``: first ``field == "mean"``, the mean of
    the ratios over fields and levels, then one block per field (mean over its levels).

    Raises
    ------
    UserError
        If the table has no row of persistence.
    """
    import pandas as pd

    keys = ["field", "level", "lead_hours"]
    reference = table.loc[table["model"] == PERSISTENCE].set_index(keys)["rmse"]
    if reference.empty:
        raise UserError(
            'the skill table has no model "persistence" to divide by; add baselines.persistence to it'
        )
    ratios = table.assign(ratio=table["rmse"].to_numpy() / reference.reindex(table[keys]).to_numpy())
    groups = ["lead_hours", "model"]
    overall = ratios.groupby(groups, sort=False)["ratio"].mean().reset_index().assign(field=MEAN)
    per_field = ratios.groupby(["field", *groups], sort=False)["ratio"].mean().reset_index()
    return pd.concat([overall, per_field], ignore_index=True)[["field", *groups, "ratio"]]


def rank_histogram(
    forecast: xr.Dataset, truth: xr.Dataset, field: str, *, level: int, lead_hours: int
) -> xr.DataArray:
    """How often the truth falls below, between and above the sorted members; flat if reliable.

    Where the truth equals members, its count is shared equally among the ranks in question, which is what
    random tie-breaking gives on average.  Points are weighted by area.

    Returns
    -------
    DataArray ``[rank]``, n members + 1 ranks from 1, relative frequencies that sum to 1.

    Raises
    ------
    UserError
        If the forecast has no ensemble, or lacks the field, level or lead.
    """
    from scores.probability import rank_histogram as scores_rank_histogram

    if "number" not in forecast.dims:
        raise UserError("a rank histogram needs an ensemble; pass a forecast with the dimension 'number'")
    _check_layout({"forecast": forecast}, truth)
    if field not in forecast or field not in truth or level not in forecast["level"].values:
        raise UserError(f"no {field} at {level} hPa in both forecast and truth; choose one that both have")
    times = _common_times({"forecast": forecast}, truth, [lead_hours])
    step = forecast[field].sel(level=level, prediction_timedelta=hours(lead_hours))
    at_level = _on_grid(truth, forecast)[field].sel(level=level)
    weights = xr.DataArray(area_weights(forecast["latitude"]).values, dims="latitude")
    total: xr.DataArray | float = 0.0
    for ensemble, observed in _blocks(step, at_level, times, hours(lead_hours)):
        share = scores_rank_histogram(ensemble, observed, "number", weights=weights)
        total = total + share * (observed.sizes["time"] / len(times))
    assert isinstance(total, xr.DataArray)
    return total.rename("relative_frequency")


def _common(kind: str, lists: list[list]) -> list:
    """Entries that all lists have, in the order of the first."""
    shared = [x for x in lists[0] if all(x in other for other in lists[1:])]
    if not shared:
        raise UserError(
            f"the forecasts and the truth have no {kind} in common; compare forecasts of the same weather"
        )
    return shared


def _common_times(forecasts: Mapping[str, xr.Dataset], truth: xr.Dataset, leads: Sequence[int]) -> np.ndarray:
    """Initial times of all forecasts for which the truth has every valid time, ``[time]``."""
    for model, forecast in forecasts.items():
        available = forecast["prediction_timedelta"].values
        for lead in leads:
            if hours(lead) not in available:
                offered = ", ".join(f"{x / np.timedelta64(1, 'h'):g}" for x in available)
                raise UserError(
                    f"model {model!r} has no lead of {lead} h; it has {offered} h: choose among these"
                )
    initial = [f["time"].values.astype("datetime64[ns]") for f in forecasts.values()]
    times = initial[0][np.logical_and.reduce([np.isin(initial[0], other) for other in initial])]
    if not times.size:
        raise UserError("the forecasts have no initial time in common; compare forecasts of the same weather")
    known = truth["time"].values.astype("datetime64[ns]")
    covered = np.logical_and.reduce([np.isin(times + hours(lead), known) for lead in leads])
    if not covered.any():
        raise UserError(
            "the truth has none of the valid times (initial time + lead) of the forecasts; "
            "pass a truth that covers the forecast period"
        )
    return times[covered]


def _check_layout(forecasts: Mapping[str, xr.Dataset], truth: xr.Dataset) -> None:
    """Every forecast has the layout of the module's docstring and the grid of the first."""
    missing = {"time", "level", "latitude", "longitude"} - set(truth.dims)
    if missing:
        raise UserError(f"the truth lacks the dimension {sorted(missing)[0]!r}; open it with open_dataset")
    first = next(iter(forecasts.values()))
    for model, forecast in forecasts.items():
        needed = {"time", "prediction_timedelta", "level", "latitude", "longitude"}
        if missing := needed - set(forecast.dims):
            raise UserError(
                f"the forecast of model {model!r} lacks the dimension {sorted(missing)[0]!r}; "
                f"its dimensions must be {', '.join(sorted(needed))} and, for ensembles, number"
            )
        if forecast["prediction_timedelta"].dtype.kind != "m":
            raise UserError(
                f"prediction_timedelta of model {model!r} is not a time difference; convert it, "
                "for example with pandas.to_timedelta(hours, unit='h')"
            )
        same_grid(forecast, first, f"the forecast of model {model!r}")


def _on_grid(truth: xr.Dataset, forecast: xr.Dataset) -> xr.Dataset:
    """The truth at the points of the forecast's grid, which may be a region of the truth's."""
    grid = {name: forecast[name] for name in ("latitude", "longitude")}
    try:
        return truth.sel(grid, method="nearest", tolerance=1e-3)
    except KeyError as error:
        raise UserError(
            "the truth is not on the forecast's grid; regrid the forecast or the truth first"
        ) from error
