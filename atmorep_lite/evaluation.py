"""A model beside what it must beat, on a record that it has never seen."""

from __future__ import annotations

import numpy as np
import xarray as xr

from atmorep_lite.applications.forecast import forecast
from atmorep_lite.baselines import climatology, fit_ridge, persistence
from atmorep_lite.model import AtmoRep

#: Lead times in hours that every skill table of this project shows.
LEADS = (3, 6, 12, 24)


def initial_times(truth: xr.Dataset, every_hours: int = 27) -> np.ndarray:
    """Initial times spread over a record, with room for history before and 24 h after.

    27 hours apart by default, so that every hour of the day occurs.
    """
    times = truth["time"].values
    step = int((times[1] - times[0]) / np.timedelta64(1, "h"))
    first, last = 24 // step, len(times) - 24 // step
    return times[first : last : max(1, every_hours // step)]


def compare(
    model: AtmoRep, record: xr.Dataset, truth: xr.Dataset, times: np.ndarray, *, ridge: bool = True
) -> dict[str, xr.Dataset]:
    """Forecasts of the model and of what it must beat, by name; ridge is fitted to ``record`` here.

    ``ridge=False`` leaves out the ridge regression, whose fit takes longest.
    """
    fields = list(model.predicted)
    levels = sorted({level for name in fields for level in model.config.field(name).levels})
    past, now = (d[fields].sel(level=levels).load() for d in (record, truth))
    forecasts = {
        "persistence": persistence(now, times, LEADS),
        "climatology": climatology(past, now, times, LEADS),
    }
    if ridge:
        forecasts["ridge"] = fit_ridge(past, fields, levels, LEADS).forecast(now, times)
    if model.grid_skip is not None:
        forecasts["convolution"] = forecast(model, truth, times, first_guess=True, members=False)
    forecasts["atmorep_lite"] = forecast(model, truth, times)
    return forecasts
