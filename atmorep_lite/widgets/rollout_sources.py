"""Where the RolloutExplorer's forecasts come from: forecasters of a flow, and datasets of weather."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.layout import dates, hours, is_simulated
from atmorep_lite.widgets.maps_packing import readable, regular_grid
from atmorep_lite.widgets.rollout_packing import Rollouts

if TYPE_CHECKING:
    from torch import Tensor

    from atmorep_lite.zoo import forecaster


def of_models(
    models: Mapping[str, forecaster.Forecaster], trajectory: Tensor
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Truth ``[lead, y, x]``, forecasts alike by name, and the state ``[y, x]`` that they start from."""
    import torch

    from atmorep_lite.zoo import forecaster

    if not isinstance(models, Mapping) or not models:
        raise UserError(f"The models are {models!r}, where a dict of name to forecaster was expected.")
    for name, model in models.items():
        if isinstance(model, type) or not callable(model):
            raise UserError(
                f"The model {name!r} is {model!r}, where a forecaster was expected: give what "
                "from_pretrained returns, not the class."
            )
    seen = forecaster.FRAMES
    if not isinstance(trajectory, torch.Tensor) or trajectory.ndim != 3 or len(trajectory) <= seen:
        shape = tuple(getattr(trajectory, "shape", ()))
        raise UserError(
            f"The trajectory is {type(trajectory).__name__} of shape {shape}, "
            f"where a tensor [frame, y, x] with more than {seen} frames was expected."
        )
    if not torch.isfinite(trajectory).all():
        raise UserError(
            "The trajectory holds NaN or infinity, where finite numbers were expected: look for missing "
            "values, or a simulation that blew up."
        )
    first, steps = trajectory[None, :seen], len(trajectory) - seen
    guesses = {str(name): forecaster.rollout(model, first, steps)[0] for name, model in models.items()}
    return trajectory[seen:], guesses, trajectory[seen - 1]


def of_datasets(
    forecasts: Mapping[str, xr.Dataset],
    truth: xr.Dataset,
    field: str,
    level: int,
    time: object | None,
    record: xr.Dataset | None,
) -> Rollouts:
    """Rollouts on the sphere, in readable units."""
    if not isinstance(forecasts, Mapping) or not forecasts:
        raise UserError("There are no forecasts, where a dict of name to Dataset was expected.")
    named = [*((f"forecast {name!r}", data) for name, data in forecasts.items()), ("truth", truth)]
    for what, data in named + ([("record", record)] if record is not None else []):
        if not isinstance(data, xr.Dataset):
            raise UserError(f"The {what} is {type(data).__name__}, where a Dataset was expected.")
        if field not in data or level not in data["level"].values:
            raise UserError(
                f"The {what} has no {field} at level {level}, where one that all have was expected: "
                f"choose among {[str(n) for n in data.data_vars]} and {data['level'].values.tolist()}."
            )
    first = next(iter(forecasts.values()))
    initial = (dates(first["time"].values) if time is None else dates(time))[0]
    leads = _common_leads(forecasts, truth, initial)
    grid = regular_grid(first["latitude"].values, first["longitude"].values)
    factor, unit = readable(str(truth[field].attrs.get("units", "")))

    def states(data: xr.Dataset, dim: str) -> np.ndarray:
        if (data["latitude"].shape, data["longitude"].shape) != (
            first["latitude"].shape,
            first["longitude"].shape,
        ):
            data = data.sel({name: first[name] for name in ("latitude", "longitude")}, method="nearest")
        return factor * data[field].sel(level=level).transpose(dim, "latitude", "longitude").values.astype(
            float
        )

    guesses = {}
    for name, data in forecasts.items():
        step = data.sel(time=initial, prediction_timedelta=hours(leads))
        guesses[name] = states(step.mean("number") if "number" in step.dims else step, "prediction_timedelta")
    observed = states(truth.sel(time=initial + hours([0.0, *leads])), "time")
    start = observed[:1]
    baselines = {"persistence": np.broadcast_to(start, observed.shape)}
    if record is not None:
        mean = states(record[[field]].mean("time").expand_dims("time"), "time")
        baselines["climatology"] = np.broadcast_to(mean, observed.shape)
    place = f" at {level} hPa" if level else ""
    return Rollouts(
        observed,
        {name: np.concatenate([start, guess]) for name, guess in guesses.items()},
        np.array([0.0, *leads]),
        grid,
        baselines,
        field.replace("_", " ") + place,
        unit,
        "h",
        is_simulated(truth),
    )


def _common_leads(
    forecasts: Mapping[str, xr.Dataset], truth: xr.Dataset, initial: np.datetime64
) -> list[float]:
    """Leads in hours that all forecasts have and of which the truth is known."""
    known = dates(truth["time"].values)
    for what, times in [
        ("truth", known),
        *((f"forecast {n!r}", dates(f["time"].values)) for n, f in forecasts.items()),
    ]:
        if initial not in times:
            raise UserError(
                f"The {what} has no {str(initial)[:16]}, where the initial time was expected: choose among "
                f"{str(times[0])[:16]} to {str(times[-1])[:16]}."
            )
    offered = [f["prediction_timedelta"].values / np.timedelta64(1, "h") for f in forecasts.values()]
    leads = [
        float(lead)
        for lead in np.sort(offered[0])
        if lead > 0 and all(lead in other for other in offered) and initial + hours(lead) in known
    ]
    if not leads:
        raise UserError(
            "The forecasts and the truth have no lead in common: give forecasts of the same weather."
        )
    return leads
