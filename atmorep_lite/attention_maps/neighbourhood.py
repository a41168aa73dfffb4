"""One neighbourhood around a place, cut out of data as a model shall see it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from torch import Tensor

from atmorep_lite.config import ModelConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.errors import UserError
from atmorep_lite.layout import dates
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens


@dataclass(frozen=True)
class Neighbourhood:
    """One neighbourhood, and what is needed to put its tokens back on the map.

    Attributes
    ----------
    tokens
        By field, batch axis of one, with the mask that the model is to see.
    static
        ``[1, channel, latitude, longitude]``.
    data
        What it was cut from: the record, or as much of it as was read.
    place
        First step, row and column in ``data``.
    time
        [time] datetime64 of every step, also of those beyond the record.
    known
        Number of steps that were read; later ones hold zeros, and are hidden.
    normalizer
        The model's.
    units
        Of each field's physical values.
    """

    tokens: dict[str, FieldTokens]
    static: Tensor
    data: Neighbourhoods
    place: Place
    time: np.ndarray
    known: int
    normalizer: Normalizer
    units: dict[str, str]


def neighbourhood(
    model: AtmoRep,
    dataset: xr.Dataset,
    time: str | np.datetime64,
    *,
    latitude: float,
    longitude: float,
    forecast: bool = True,
) -> Neighbourhood:
    """The neighbourhood around a place, for the functions that need a model and its ``tokens``.

    Parameters are those of :func:`~atmorep_lite.attention_maps.capture_attention`, and so are the tokens.
    Of the record only the neighbourhood's own times are read, all around the globe.

    Raises
    ------
    UserError
        If the place is none on the sphere, the time is not in the data or has too little history, or the
        model has no normalisation.
    """
    check_place(latitude, longitude)
    known = _known(model, forecast)
    data = opened(model, _window(dataset, time, known, model.config.extent[0]), known=known)
    units = units_of(model, dataset)
    return cut(model, data, units, time, latitude=latitude, longitude=longitude, forecast=forecast)


def opened(model: AtmoRep, dataset: xr.Dataset, *, known: int | None = None) -> Neighbourhoods:
    """The record as the model shall see it, in memory, to be :func:`cut` many times.

    ``known`` is how many steps it must have, a whole neighbourhood if left out.

    Raises
    ------
    UserError
        If the record is too short or lacks something, or the model has no normalisation.
    """
    return Neighbourhoods(
        dataset, model.config, _normalizer(model), least_steps=known or model.config.extent[0]
    )


def units_of(model: AtmoRep, dataset: xr.Dataset) -> dict[str, str]:
    """Units of each of the model's fields in a record, empty where it has none."""
    return {n: str(dataset[n].attrs.get("units", "")) if n in dataset else "" for n in model.config.names}


def cut(
    model: AtmoRep,
    data: Neighbourhoods,
    units: dict[str, str],
    time: str | np.datetime64,
    *,
    latitude: float,
    longitude: float,
    forecast: bool = True,
) -> Neighbourhood:
    """As :func:`neighbourhood`, out of a record that is :func:`opened`."""
    check_place(latitude, longitude)
    known = _known(model, forecast)
    steps, height, width = model.config.extent
    place = _place(data, dates(time)[0], known, latitude, longitude, (height, width))
    batch = data.batch([place], known_steps=known)
    tokens = batch.tokens
    if slots := _slots(model, forecast):
        masks = forecast_masks(model.config.fields, 1, slots)
        tokens = {name: replace(field, mask=masks[name]) for name, field in tokens.items()}
    times = data.time[place.step] + (data.time[1] - data.time[0]) * np.arange(steps)
    return Neighbourhood(tokens, batch.static, data, place, times, known, _normalizer(model), units)


def check_place(latitude: float, longitude: float) -> None:
    """Raise ``UserError`` for a place that is none on the sphere."""
    if not abs(latitude) <= 90 or not np.isfinite(longitude):
        raise UserError(
            f"there is no place at latitude {latitude}, longitude {longitude}; choose degrees, the latitude "
            "from -90 to 90"
        )


def refuse_context(config: ModelConfig) -> None:
    """Raise ``UserError`` where a model sees tokens outside of the neighbourhood, which no map can show."""
    if wider := [f.name for f in config.fields if f.context is not None]:
        raise UserError(
            f"{', '.join(wider)} attends to context tokens outside of the neighbourhood, which a map cannot "
            "show; capture a model without FieldConfig.context"
        )


def _normalizer(model: AtmoRep) -> Normalizer:
    if model.normalizer is None or model.run_config is None:
        raise UserError(
            "the model has no normalisation; load it with AtmoRep.from_pretrained or train it with train()"
        )
    return model.normalizer


def _slots(model: AtmoRep, forecast: bool) -> int:
    """Slots that are hidden, which only a forecast does."""
    _normalizer(model)
    assert model.run_config is not None
    return model.run_config.masking.forecast_slots if forecast else 0


def _known(model: AtmoRep, forecast: bool) -> int:
    """Steps that are read."""
    return model.config.extent[0] - _slots(model, forecast) * model.config.fields[0].token_size[0]


def _place(
    data: Neighbourhoods,
    time: np.datetime64,
    known: int,
    latitude: float,
    longitude: float,
    size: tuple[int, int],
) -> Place:
    first = _first_step(data.time, time, known)
    height, width = size
    row = int(np.abs(data.latitude - latitude).argmin()) - height // 2
    column = int(np.abs((data.longitude - longitude + 180.0) % 360.0 - 180.0).argmin()) - width // 2
    row = min(max(row, 0), len(data.latitude) - height)
    if data.spans_globe:
        column %= len(data.longitude)
    else:
        column = min(max(column, 0), len(data.longitude) - width)
    return Place(first, row, column)


def _first_step(times: np.ndarray, time: np.datetime64, known: int) -> int:
    """Where in a record a neighbourhood begins whose ``known`` steps end with ``time``."""
    found = np.flatnonzero(times == time)
    if not len(found):
        raise UserError(
            f"the data hold no state at {str(time)[:16]}; "
            f"they cover {str(times[0])[:16]} to {str(times[-1])[:16]}"
        )
    if found[0] < known - 1:
        raise UserError(f"the model needs the {known} states up to {str(time)[:16]}; choose a later time")
    return int(found[0]) - known + 1


def _window(dataset: xr.Dataset, time: str | np.datetime64, known: int, steps: int) -> xr.Dataset:
    """The times of one neighbourhood: a fault elsewhere in the record does no harm, and little is read."""
    if "prepared" in dataset.attrs:  # which is read where it is asked, and knows its bad times
        return dataset
    times = dataset["time"].values.astype("datetime64[ns]")
    first = _first_step(times, dates(time)[0], known)
    end = first + steps
    return dataset.isel(time=slice(min(first, max(len(times) - 2, 0)), end))  # two, to know their distance
