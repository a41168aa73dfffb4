"""A real ensemble forecast as the EnsembleExplorer shows it: spread and error of every lead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.layout import hours, is_simulated
from atmorep_lite.verification import rank_histogram, skill_table
from atmorep_lite.widgets.explorer import Content
from atmorep_lite.widgets.maps_packing import pack_coast, pack_maps, readable, regular_grid, rolled

BINS = 8  # of equal counts, by spread


def pack_forecast(
    prediction: xr.Dataset,
    truth: xr.Dataset,
    *,
    field: str,
    level: int,
    leads_hours: Sequence[float] | None,
) -> Content:
    """Maps and numbers of the explorer; see :meth:`EnsembleExplorer.of_forecast`.

    Raises
    ------
    UserError
        Where the forecast has no ensemble, lacks the field, level or a lead, or holds missing values.
    """
    if "number" not in prediction.dims or prediction.sizes["number"] < 2:
        raise UserError(
            "The forecast has no ensemble, where the dimension number with at least 2 members was expected: "
            "forecast with members=True."
        )
    for what, data in (("forecast", prediction), ("truth", truth)):
        if field not in data or level not in data["level"].values:
            raise UserError(
                f"The {what} has no {field} at level {level}, where one that it holds was expected: "
                f"choose among {[str(n) for n in data.data_vars]} and {data['level'].values.tolist()}."
            )
    offered = (prediction["prediction_timedelta"].values / np.timedelta64(1, "h")).tolist()
    leads = list(offered if leads_hours is None else leads_hours)
    chosen, truth = prediction[[field]].sel(level=[level]), truth[[field]].sel(level=[level]).load()
    table = skill_table({"model": chosen}, truth, leads)
    initial = _common(chosen, truth, leads)
    steps, maps = [], []
    factor, unit = readable(str(prediction[field].attrs.get("units", "")))
    for lead, row in zip(leads, table.itertuples(), strict=True):
        members, observed = _at(chosen, truth, field, initial, lead)
        if not row.rmse > 1e-12 * np.nanmax(np.abs(observed)):
            raise UserError(
                f"The mean of the members equals the truth at {lead:g} h, where an error was "
                "expected to compare the spread with: give the truth of another source."
            )
        variance = members.var(axis=1, ddof=1)
        squared = (members.mean(axis=1) - observed) ** 2
        inflated = (members.shape[1] + 1) / members.shape[1]
        maps += [np.sqrt(inflated * variance.mean(0)), np.sqrt(squared.mean(0))]
        ranks = rank_histogram(chosen, truth, field, level=level, lead_hours=lead)
        steps.append(
            {
                "lead": float(lead),
                "rmse": factor * float(row.rmse),
                "spread": factor * float(row.rmse * row.spread_skill),
                "crps": factor * float(row.crps),
                "ratio": float(row.spread_skill),
                "ranks": ranks.values.tolist(),
                "most": factor * float(np.nanquantile(maps[-2:], 0.995)),
                "bins": (factor * _binned(inflated * variance, squared)).tolist(),
            }
        )
    grid = regular_grid(prediction["latitude"].values, prediction["longitude"].values)
    description, buffer = pack_maps(rolled(factor * np.stack(maps), grid), shared=True)
    meta: dict[str, Any] = {
        "leads": [float(lead) for lead in leads],
        "steps": steps,
        "members": prediction.sizes["number"],
        "times": len(initial),
        "field": field.replace("_", " "),
        "level": int(level),
        "units": unit,
        "simulated": is_simulated(truth),
        "grid": grid,
        "coast": pack_coast(buffer),
        "maps": description,
    }
    return Content(meta, {"lead": float(leads[-1])}, buffer.bytes())


def _common(prediction: xr.Dataset, truth: xr.Dataset, leads: Sequence[float]) -> np.ndarray:
    """Initial times at which the truth of every lead is known."""
    initial = prediction["time"].values.astype("datetime64[ns]")
    known = truth["time"].values.astype("datetime64[ns]")
    return initial[np.logical_and.reduce([np.isin(initial + hours(lead), known) for lead in leads])]


def _at(
    prediction: xr.Dataset, truth: xr.Dataset, field: str, initial: np.ndarray, lead: float
) -> tuple[np.ndarray, np.ndarray]:
    """Members ``[time, number, latitude, longitude]`` and truth ``[time, latitude, longitude]``, float64."""
    step = prediction[field].isel(level=0).sel(time=initial, prediction_timedelta=hours(lead))
    grid = {name: prediction[name] for name in ("latitude", "longitude")}
    observed = truth[field].isel(level=0).sel(time=initial + hours(lead)).sel(grid, method="nearest")
    dims = ("time", "number", "latitude", "longitude")
    return step.transpose(*dims).values.astype(float), observed.transpose("time", *dims[2:]).values.astype(
        float
    )


def _binned(variance: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """Root mean square spread and error ``[bin, 2]`` of places sorted by spread, in bins of equal counts."""
    points = np.stack([variance.ravel(), squared.ravel()])[:, np.isfinite(squared).ravel()]
    parts = np.array_split(points[:, np.argsort(points[0])], BINS, axis=1)
    return np.sqrt([part.mean(axis=1) for part in parts])
