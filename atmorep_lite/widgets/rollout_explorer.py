"""RolloutExplorer: forecasts beside the truth, lead by lead, with their errors and spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.explorer import Between, Content, Explorer
from atmorep_lite.widgets.maps_packing import plane_grid
from atmorep_lite.widgets.rollout_packing import VIEWS, Rollouts, pack_rollouts
from atmorep_lite.widgets.rollout_sources import of_datasets, of_models

if TYPE_CHECKING:
    from torch import Tensor

    from atmorep_lite.zoo import forecaster


class RolloutExplorer(Explorer, module="rollout_explorer", heading="Forecast and truth"):
    """Forecasts of one field beside the truth: maps to be scrubbed in time, errors and spectra.

    Parameters
    ----------
    truth
        ``[lead, y, x]`` on a periodic plane (for the sphere see :meth:`of_weather`); an array or a tensor.
    forecasts
        Name to forecast, each like the truth; at most 6.
    start
        The state that the forecasts start from, ``[y, x]``: shown as lead 0, and the persistence that the
        errors are compared with.
    climatology
        A mean state ``[y, x]`` whose error is shown, too; 0 for the mean flow of vorticity.
    interval, lead_unit
        Time between two leads, and its unit.
    field, units
        What is shown.
    side
        Length of the plane along x.
    title, caption
        Shown above and below.

    Attributes
    ----------
    selected : dict
        ``lead``, ``model`` (the forecast looked at), ``view`` ("one": truth, forecast and difference; "all":
        every forecast; "differences": of every forecast).

    Notes
    -----
    Maps travel with 16 bits a value, or 8 where a page would be heavier than about 1.5 MB; the page says how
    far they are from the numbers.  Errors and spectra are computed here, from the exact values.
    """

    def __init__(
        self,
        truth: np.ndarray | Tensor,
        forecasts: Mapping[str, np.ndarray | Tensor],
        *,
        start: np.ndarray | Tensor | None = None,
        climatology: np.ndarray | Tensor | float | None = None,
        interval: float = 1.0,
        lead_unit: str = "frames",
        field: str = "vorticity",
        units: str = "",
        side: float = 2 * math.pi,
        title: str | None = None,
        caption: str | None = None,
    ) -> None:
        def make() -> Content:
            states = _array("truth", truth)
            if not isinstance(forecasts, Mapping):
                raise UserError(
                    f"The forecasts are {type(forecasts).__name__}, where a dict of name to forecast was "
                    "expected: give each a name."
                )
            guesses = {str(name): _array(f"forecast {name!r}", guess) for name, guess in forecasts.items()}
            if states.ndim != 3:
                raise UserError(f"The truth has shape {states.shape}, where [lead, y, x] was expected.")
            if interval not in Between(1e-12, 1e12):
                raise UserError(f"The interval is {interval!r}, where a positive number was expected.")
            leads = interval * np.arange(1, len(states) + 1)
            baselines = {}
            if start is not None:
                first = _array("start", start)
                if first.shape != states.shape[1:]:
                    raise UserError(
                        f"The start has shape {first.shape}, where {states.shape[1:]}, a state like those "
                        "of the truth, was expected."
                    )
                states = np.concatenate([first[None], states])
                guesses = {n: np.concatenate([first[None], g]) for n, g in guesses.items() if g.ndim == 3}
                leads = np.concatenate([[0.0], leads])
                baselines["persistence"] = np.broadcast_to(first, states.shape)
            if climatology is not None:
                mean = _array("climatology", climatology)
                if mean.shape not in ((), states.shape[1:]):
                    raise UserError(
                        f"The climatology has shape {mean.shape}, where {states.shape[1:]}, a state like "
                        "those of the truth, was expected."
                    )
                baselines["climatology"] = np.broadcast_to(mean, states.shape)
            grid = plane_grid(states.shape[1], states.shape[2], side)
            return pack_rollouts(
                Rollouts(states, guesses, leads, grid, baselines, field, units, lead_unit, simulated=False)
            )

        super().__init__(make, title=title, caption=caption)

    @classmethod
    def of_flow(
        cls, models: Mapping[str, forecaster.Forecaster], trajectory: Tensor, **words: Any
    ) -> RolloutExplorer:
        """Rollouts of forecasters of a flow from the first three frames of a trajectory ``[frame, y, x]``.

        Parameters
        ----------
        models
            Name to forecaster (three frames to the next, see :mod:`atmorep_lite.zoo`).
        trajectory
            The truth; the frames from the fourth on are forecast.
        words
            ``title``, ``caption``, ``units``, ... as for the class.
        """
        explorer = cls.__new__(cls)
        told = {name: words.pop(name, None) for name in ("title", "caption")}

        def make() -> Content:
            truth, guesses, start = of_models(models, trajectory)
            made = cls(truth, guesses, start=start, climatology=0.0, **words)
            made.check()
            return Content(made.meta | told, made.selected, made.data)

        Explorer.__init__(explorer, make, **told)
        return explorer

    @classmethod
    def of_weather(
        cls,
        forecasts: Mapping[str, xr.Dataset],
        truth: xr.Dataset,
        *,
        field: str,
        level: int,
        time: object | None = None,
        record: xr.Dataset | None = None,
        title: str | None = None,
        caption: str | None = None,
    ) -> RolloutExplorer:
        """Forecasts of the atmosphere from one initial time, on the sphere.

        Parameters
        ----------
        forecasts
            Name to forecast, ``[time, prediction_timedelta, (number), level, latitude, longitude]``, all on
            one grid.  Of an ensemble the mean is shown: for a member pass ``forecast.isel(number=0)``.
        truth
            ``[time, level, latitude, longitude]``, same units; holds the initial time, too.
        field, level
            What to show; the level in hPa (0 for fields without levels).
        time
            Initial time; the first that all forecasts have where left out.
        record
            Whose mean over time is the climatology that errors are compared with.
        title, caption
            Shown above and below; say "simulated" here where the atmosphere is.
        """
        explorer = cls.__new__(cls)

        def make() -> Content:
            return pack_rollouts(of_datasets(forecasts, truth, field, level, time, record))

        Explorer.__init__(explorer, make, title=title, caption=caption)
        return explorer

    def allowed(self) -> Mapping[str, tuple[Any, ...] | Between]:
        """What the entries of ``selected`` may be."""
        return {
            "lead": tuple(self.meta["leads"]),
            "model": tuple(self.meta["forecasts"]),
            "view": VIEWS,
        }


def _array(name: str, values: Any) -> np.ndarray:
    """Numbers as float64, also of a tensor; `UserError` for anything else."""
    try:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"The {name} is no array of numbers: give [lead, y, x] as an array or a tensor."
        ) from error
