"""Forecasting: the future is a hidden part of the neighbourhood, and the globe is tiled by neighbourhoods.

Tiles overlap by half and are blended with smooth weights, so that no seam shows and the middle of a tile,
which has the most context, counts most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.errors import UserError
from atmorep_lite.layout import dates, forecast_dataset
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import detokenize


def forecast(
    model: AtmoRep,
    dataset: xr.Dataset,
    times: Sequence | np.ndarray | None = None,
    *,
    members: bool = True,
    first_guess: bool = False,
) -> xr.Dataset:
    """Forecast every predicted field of the model.

    Parameters
    ----------
    model
        A trained model (:meth:`AtmoRep.from_pretrained`).
    dataset
        Canonical data that hold the model's fields and levels for the steps up to each initial time.
    times
        Initial times; all that have enough history if omitted.
    members
        Keep the ensemble as dimension ``number``; otherwise its mean.
    first_guess
        Only the fill and the grid-scale skip, without the transformer (a single member).

    Returns
    -------
    Dataset in WeatherBench 2's layout, dims ``(time, prediction_timedelta, [number], level, latitude,
    longitude)``, physical units; ``time`` is the initial time.

    Raises
    ------
    UserError
        If an initial time is not in the data or has too little history, or the model was not trained with
        this package (so that it has no normalisation).
    """
    if model.normalizer is None or model.run_config is None:
        raise UserError(
            "the model has no normalisation; load it with AtmoRep.from_pretrained or train it with train()"
        )
    config = model.config
    steps, height, width = config.extent
    if first_guess and config.predict != "departure":
        raise UserError("this model predicts the fields themselves and has no first guess: leave it out")
    slots = model.run_config.masking.forecast_slots
    known = steps - slots * config.fields[0].token_size[0]
    data = Neighbourhoods(dataset, config, model.normalizer, least_steps=known)
    first_steps = _first_steps(data, times, known)
    rows, columns = tile_starts(data, height, width)
    weight = np.outer(_bell(height), _bell(width)).astype(np.float32)
    everything: dict[str, list[np.ndarray]] = {name: [] for name in model.predicted}
    for step in first_steps:
        places = [Place(step, row, column) for row in rows for column in columns]
        tiles = _predict(model, data, places, known, slots, first_guess)
        for name, values in tiles.items():
            globe = _blend(values[..., known:, :, :], places, weight, len(data.latitude), len(data.longitude))
            everything[name].append(globe if members else globe.mean(0, keepdims=True))
    spacing = (data.time[1] - data.time[0]) / np.timedelta64(1, "h")
    leads = [float(spacing) * (k + 1) for k in range(steps - known)]
    initial = data.time[np.array(first_steps) + known - 1]
    levels = {name: config.field(name).levels for name in everything}
    return _physical(model.normalizer, dataset, levels, everything, initial, leads, members)


def tile_starts(data: Neighbourhoods, height: int, width: int) -> tuple[list[int], list[int]]:
    """First rows and columns of tiles that cover the grid and overlap by about half."""

    def starts(size: int, tile: int) -> list[int]:
        count = 1 + int(np.ceil((size - tile) / max(1, tile // 2)))
        return sorted({int(s) for s in np.linspace(0, size - tile, count).round()})

    rows = starts(len(data.latitude), height)
    if not data.spans_globe:
        return rows, starts(len(data.longitude), width)
    count = int(np.ceil(len(data.longitude) / max(1, width // 2)))
    return rows, [int(c) for c in np.linspace(0, len(data.longitude), count, endpoint=False).round()]


def _first_steps(data: Neighbourhoods, times: Sequence | np.ndarray | None, known: int) -> list[int]:
    if times is None:
        return list(range(len(data.time) - known + 1))
    steps = []
    for time in dates(times):
        found = np.flatnonzero(data.time == time)
        if not len(found):
            raise UserError(f"the data hold no state at {str(time)[:16]}, so no forecast can start there")
        if found[0] < known - 1:
            raise UserError(
                f"a forecast from {str(time)[:16]} needs the {known} states up to then; the data begin at "
                f"{str(data.time[0])[:16]}"
            )
        steps.append(int(found[0]) - known + 1)
    if not steps:
        raise UserError("no initial time was given")
    return steps


@torch.inference_mode()
def _predict(
    model: AtmoRep, data: Neighbourhoods, places: list[Place], known: int, slots: int, first_guess: bool
) -> dict[str, np.ndarray]:
    """Members of each tile, ``[tile, member, level, time, latitude, longitude]``, normalised."""
    batch = data.batch(places, known_steps=known)
    masks = forecast_masks(model.config.fields, len(places), slots)
    tokens = {name: replace(field, mask=masks[name]) for name, field in batch.tokens.items()}
    if first_guess:
        guesses = model.first_guess(tokens, batch.static)
        members = {name: guesses[name].values[:, None] for name in model.predicted}
    else:
        members = {name: ensemble.members for name, ensemble in model(tokens, batch.static).items()}
    return {name: detokenize(m, model.config.field(name).token_size).numpy() for name, m in members.items()}


def _bell(size: int) -> np.ndarray:
    """Smooth weights that rise from near 0 at the edges to 1 in the middle."""
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 + 1e-3


def _blend(
    values: np.ndarray, places: list[Place], weight: np.ndarray, rows: int, columns: int
) -> np.ndarray:
    """``[tile, member, level, time, y, x]`` -> ``[member, level, time, latitude, longitude]``."""
    total = np.zeros((*values.shape[1:4], rows, columns), np.float32)
    weights = np.zeros((rows, columns), np.float32)
    height, width = weight.shape
    for tile, place in zip(values, places, strict=True):
        down = slice(place.row, place.row + height)
        across = np.arange(place.column, place.column + width) % columns
        total[..., down, across] += tile * weight
        weights[down, across] += weight
    return total / weights


def _physical(
    normalizer: Normalizer,
    dataset: xr.Dataset,
    levels: dict[str, tuple[int, ...]],
    everything: dict[str, list[np.ndarray]],
    times: np.ndarray,
    leads: list[float],
    members: bool,
) -> xr.Dataset:
    parts = []
    for name, globes in everything.items():
        # [time, member, level, lead, y, x] -> [time, lead, member, level, y, x]
        values = np.stack(globes).transpose(0, 3, 1, 2, 4, 5)
        like = dataset[[name]]
        surface = levels[name] == (0,)
        like = like.expand_dims(level=[0]) if surface else like.sel(level=list(levels[name]))
        normal = forecast_dataset({name: values if members else values[:, :, 0]}, like, times, leads)
        physical = normalizer.denormalize(normal)
        physical[name].attrs = dict(dataset[name].attrs)
        parts.append(
            physical.transpose("time", "prediction_timedelta", ..., "level", "latitude", "longitude")
        )
    merged = xr.merge(parts, join="outer").astype(np.float32)
    merged.attrs = dict(dataset.attrs)
    return merged
