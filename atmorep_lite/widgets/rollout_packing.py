"""Forecasts and their truth as the RolloutExplorer's page reads them: maps in few bytes, exact numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atmorep_lite.errors import UserError
from atmorep_lite.verification import area_weights
from atmorep_lite.widgets.explorer import Content
from atmorep_lite.widgets.maps_packing import pack_coast, pack_maps, rolled
from atmorep_lite.widgets.packing import Buffer
from atmorep_lite.widgets.spectra import ring_spectrum, zonal_spectrum

MOST_BYTES = 900_000  # of maps; about 1.2 MB as text on the page
MOST_FORECASTS = 6
RESERVED = ("truth", "persistence", "climatology")
VIEWS = ("one", "all", "differences")


@dataclass(frozen=True)
class Rollouts:
    """Forecasts of one field from one initial time.

    Parameters
    ----------
    truth
        ``[lead, row, column]``, finite.
    forecasts
        By name, each like the truth.  What is not finite is shown as missing.
    leads
        ``[lead]`` ascending, in ``lead_unit``.
    grid
        As :func:`~atmorep_lite.widgets.maps_packing.regular_grid` describes it.
    baselines
        Further forecasts of which only the error is shown, such as persistence.
    field, units
        What is shown, and in which units.
    lead_unit
        ``"h"``, ``"frames"``, ...
    simulated
        Whether a model made the truth.
    """

    truth: np.ndarray
    forecasts: Mapping[str, np.ndarray]
    leads: np.ndarray
    grid: dict[str, Any]
    baselines: Mapping[str, np.ndarray]
    field: str
    units: str
    lead_unit: str
    simulated: bool


def check(shown: Rollouts) -> None:
    """Raise a `UserError` unless truth and forecasts fit together."""
    if shown.truth.ndim != 3 or 0 in shown.truth.shape or not np.isfinite(shown.truth).all():
        raise UserError(
            f"The truth has shape {shown.truth.shape} or missing values, where finite numbers [lead, row, "
            "column] were expected: give the states at the leads of the forecasts."
        )
    if not 1 <= len(shown.forecasts) <= MOST_FORECASTS:
        raise UserError(
            f"There are {len(shown.forecasts)} forecasts, where 1 to {MOST_FORECASTS} were expected: "
            "give them as a dict of name to forecast."
        )
    if taken := [name for name in shown.forecasts if name in RESERVED]:
        raise UserError(
            f"A forecast is called {taken[0]!r}, which the explorer calls something else: choose a name, and "
            f"none of {RESERVED}."
        )
    for name, forecast in (*shown.forecasts.items(), *shown.baselines.items()):
        if forecast.shape != shown.truth.shape:
            raise UserError(
                f"The forecast {name!r} has shape {forecast.shape}, where {shown.truth.shape} was expected: "
                "give it on the grid and at the leads of the truth."
            )
    if len(shown.leads) != len(shown.truth) or not (np.diff(shown.leads) > 0).all():
        raise UserError(
            f"There are {len(shown.leads)} leads for {len(shown.truth)} states, where one ascending lead "
            "each was expected."
        )


def pack_rollouts(shown: Rollouts) -> Content:
    """Content of the page.

    Raises
    ------
    UserError
        Where forecasts and truth do not fit together, or are too large for one page.
    """
    check(shown)
    names = list(shown.forecasts)
    maps = np.concatenate([shown.truth, *shown.forecasts.values()]).astype(np.float64)
    bits = next((b for b in (16, 8) if maps.size * b // 8 <= MOST_BYTES), None)
    if bits is None:
        raise UserError(
            f"The maps hold {maps.size} values, where at most {MOST_BYTES} fit on a page: give fewer leads "
            "or forecasts, or a coarser grid."
        )
    buffer = Buffer()
    description, _ = pack_maps(rolled(maps, shown.grid), shared=False, bits=bits, buffer=buffer)
    errors = {name: _errors(values, shown) for name, values in {**shown.forecasts, **shown.baselines}.items()}
    spectra = {
        name: _spectra(values, shown) for name, values in {"truth": shown.truth, **shown.forecasts}.items()
    }
    meta: dict[str, Any] = {
        "field": shown.field,
        "units": shown.units,
        "leadUnit": shown.lead_unit,
        "leads": [float(lead) for lead in shown.leads],
        "forecasts": names,
        "baselines": list(shown.baselines),
        "errors": errors,
        "relative": bool(shown.grid["plane"]),
        "spectra": spectra if spectra["truth"] is not None else None,
        "limits": [float(shown.truth.min()), float(shown.truth.max())],
        "most": float(_limit(shown)),
        "simulated": shown.simulated,
        "grid": shown.grid,
        "maps": description,
    }
    if not shown.grid["plane"]:
        meta["coast"] = pack_coast(buffer)
    first = {"lead": float(shown.leads[-1]), "model": names[0], "view": "one"}
    return Content(meta, first, buffer.bytes())


def _limit(shown: Rollouts) -> float:
    """End of the colour scale of differences: what 99.5 % of the best forecast's do not exceed."""
    sizes = [np.abs(f - shown.truth)[np.isfinite(f)] for f in shown.forecasts.values()]
    limits = [float(np.quantile(size, 0.995)) for size in sizes if size.size]
    spread = float(np.ptp(shown.truth))
    return max(min(limits, default=0.0), 1e-3 * spread, 1e-12)


def _errors(forecast: np.ndarray, shown: Rollouts) -> list[float | None]:
    """Of every lead: relative L2 error on a plane, area-weighted RMSE on the sphere; None if not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        squared = (forecast.astype(np.float64) - shown.truth) ** 2
        if shown.grid["plane"]:
            size = np.sqrt((shown.truth.astype(np.float64) ** 2).sum((1, 2)))
            return _plain(np.sqrt(squared.sum((1, 2))) / np.where(size > 0, size, 1.0))
        weights = area_weights(np.array(shown.grid["latitude"])).values
        return _plain(np.sqrt(np.einsum("tyx,y->t", squared, weights) / squared[0].size))


def _spectra(values: np.ndarray, shown: Rollouts) -> list[list[float | None]] | None:
    """Of every lead; None on a grid that is neither a periodic square nor whole circles."""
    with np.errstate(over="ignore", invalid="ignore"):
        if shown.grid["plane"]:
            square = values.shape[-1] == values.shape[-2] >= 8
            return [_plain(row) for row in ring_spectrum(values.astype(np.float64))] if square else None
        whole = values.shape[-1] * shown.grid["token"][1] > 359
        latitude = np.array(shown.grid["latitude"])
        return [_plain(row) for row in zonal_spectrum(values.astype(np.float64), latitude)] if whole else None


def _plain(numbers: np.ndarray) -> list[float | None]:
    """Numbers for JSON, with 9 figures."""
    return [float(f"{x:.9g}") if np.isfinite(x) else None for x in numbers.tolist()]
