"""What stands on the stage: a record and a model that fit together.

``time`` is everywhere the last state that a forecast sees; hours count from it. All tasks look at the same
window around it, so that changing the task changes what is hidden and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

import numpy as np
import xarray as xr

from atmorep_lite.attention_maps.neighbourhood import Neighbourhood, cut, opened, units_of
from atmorep_lite.data.opening import open_dataset
from atmorep_lite.data.samples import SAMPLES, open_sample
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.errors import UserError
from atmorep_lite.layout import dates, is_simulated
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.checkpoint import PRETRAINED

HELD = 128 * 2**20  # bytes of a record that is held in memory as a whole


@dataclass(frozen=True, eq=False)
class Stage:
    """A record and a model that fit together.

    Parameters
    ----------
    data, model
        Their names, as the lecturer gave them.
    dataset
        Canonical record.
    network
        The trained model.
    """

    data: str
    model: str
    dataset: xr.Dataset
    network: AtmoRep

    @property
    def steps(self) -> int:
        """Time steps of a window."""
        return self.network.config.extent[0]

    @property
    def forecast_slots(self) -> int:
        """Token slots (of the first field) that a forecast hides."""
        assert self.network.run_config is not None
        return self.network.run_config.masking.forecast_slots

    @property
    def known(self) -> int:
        """Time steps up to and with ``time``."""
        return self.steps - self.forecast_slots * self.network.config.fields[0].token_size[0]

    @cached_property
    def hours(self) -> np.ndarray:
        """[step] hours from ``time``: -9, -6 ... 24."""
        times = self.dataset["time"].values
        spacing = float((times[1] - times[0]) / np.timedelta64(1, "h"))
        return spacing * (np.arange(self.steps) - self.known + 1)

    @cached_property
    def times(self) -> np.ndarray:
        """Every ``time`` whose whole window lies in the record, without a gap."""
        times = self.dataset["time"].values.astype("datetime64[ns]")
        even = np.diff(times) == times[1] - times[0]
        sound = (
            self.dataset["sound"].values.astype(bool)
            if "sound" in self.dataset
            else np.ones(len(times), bool)
        )
        first = [
            i
            for i in range(len(times) - self.steps + 1)
            if even[i : i + self.steps - 1].all() and sound[i : i + self.steps].all()
        ]
        return times[np.array(first, int) + self.known - 1]

    @property
    def simulated(self) -> bool:
        """Whether the record says that a model made it."""
        return is_simulated(self.dataset)

    def at(self, time: str | np.datetime64) -> np.datetime64:
        """The time, checked.

        Raises
        ------
        UserError
            If the record has no window around it.
        """
        wanted = dates(time)[0]
        if wanted not in self.times:
            raise UserError(
                f"the data {self.data!r} have no window of {self.steps} states around {str(wanted)[:16]}; "
                f"choose a time of theirs from {str(self.times[0])[:16]} to {str(self.times[-1])[:16]}"
            )
        return wanted

    def cut(self, time: str | np.datetime64, latitude: float, longitude: float) -> Neighbourhood:
        """The window around a time, in the neighbourhood around a place, with nothing hidden."""
        return _cut(self, str(self.at(time)), float(latitude), float(longitude))


@cache
def open_stage(data: str = "sample", model: str = "demo") -> Stage:
    """Open a record and a model, once.

    Parameters
    ----------
    data
        A shipped sample ("sample", "test" ...) or whatever :func:`atmorep_lite.open_dataset` opens.
    model
        A shipped model ("demo") or the path of a model folder.

    Raises
    ------
    UserError
        If one of them cannot be opened, or the record lacks what the model needs.
    """
    network = _weather_model(model)
    if network.normalizer is None or network.run_config is None:
        raise UserError(f"the model {model!r} has no normalisation; train it with atmorep-lite train")
    network.eval()
    dataset = open_sample(data) if data in SAMPLES else open_dataset(data)
    if dataset.nbytes <= HELD and "prepared" not in dataset.attrs:
        dataset = dataset.load()
    stage = Stage(data, model, dataset, network)
    if dataset.sizes.get("time", 0) < stage.steps or not len(stage.times):
        raise UserError(
            f"the data {data!r} hold no {stage.steps} states in a row, which the model {model!r} looks at; "
            "choose a longer record"
        )
    try:
        stage.cut(stage.times[0], 45.0, 0.0)
    except UserError as error:
        raise UserError(f"the model {model!r} cannot look at the data {data!r}: {error}") from error
    return stage


def _weather_model(model: str) -> AtmoRep:
    """The trained model of that name or path; `UserError` where it is none of weather."""
    suited = [path.parent.name for path in sorted(PRETRAINED.glob("*/normalization.nc"))]
    shipped = (PRETRAINED / model).is_dir() and "/" not in model
    if shipped and model not in suited:
        raise UserError(
            f"{model} is a model of another kind; the app shows weather models, such as {suited[0]}"
        )
    if not shipped and not Path(model).is_dir():
        raise UserError(
            f"there is no model {model!r}; give the path of a model folder, or {' or '.join(suited)}"
        )
    return AtmoRep.from_pretrained(model)


@lru_cache(maxsize=4)
def _around(stage: Stage, time: str) -> Neighbourhoods:
    """The window around a time, read and normalised once for all places."""
    (now,) = np.flatnonzero(stage.dataset["time"].values == np.datetime64(time))
    first = int(now) - stage.known + 1
    return opened(stage.network, stage.dataset.isel(time=slice(first, first + stage.steps)))


@lru_cache(maxsize=32)
def _cut(stage: Stage, time: str, latitude: float, longitude: float) -> Neighbourhood:
    data, units = _around(stage, time), units_of(stage.network, stage.dataset)
    place = {"latitude": latitude, "longitude": longitude}
    return cut(stage.network, data, units, data.time[-1], **place, forecast=False)
