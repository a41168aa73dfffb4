"""Running a model on one neighbourhood and keeping what its encoder attends with.

:func:`capture_attention` fills the data classes of :mod:`atmorep_lite.attention_maps.captured`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr

from atmorep_lite.attention import locality_slopes
from atmorep_lite.attention_maps.captured import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.attention_maps.neighbourhood import Neighbourhood, neighbourhood, refuse_context
from atmorep_lite.config import FieldConfig, ModelConfig
from atmorep_lite.model import AtmoRep, Ensemble
from atmorep_lite.model.atmorep import Trace
from atmorep_lite.tokens import FieldTokens, detokenize, token_positions


def capture_attention(
    model: AtmoRep,
    dataset: xr.Dataset,
    time: str | np.datetime64,
    *,
    latitude: float,
    longitude: float,
    forecast: bool = True,
) -> AttentionCapture:
    """Run the model once on the neighbourhood around a place and keep what its encoder attends with.

    Parameters
    ----------
    model
        A trained model (:meth:`AtmoRep.from_pretrained`).
    dataset
        Canonical data with the model's fields.
    time
        Initial time of the forecast: the last state that the model sees.  With ``forecast=False`` nothing is
        hidden and ``time`` is the last state of the neighbourhood.
    latitude, longitude
        Wanted centre; the neighbourhood is moved so that it crosses no pole.

    Returns
    -------
    What the encoder attended with, and of each field what the tokens hold.  The ``error`` of hidden tokens is
    that of this single neighbourhood: at its edges, beyond which the model sees nothing, it is larger than
    that of :func:`~atmorep_lite.applications.forecast`, which joins overlapping neighbourhoods.

    Raises
    ------
    UserError
        If the place is none on the sphere, the time is not in the data or has too little history, or the
        model sees context tokens, for which the maps have no place.
    """
    refuse_context(model.config)
    cube = neighbourhood(model, dataset, time, latitude=latitude, longitude=longitude, forecast=forecast)
    trace: Trace = {}
    with torch.inference_mode():
        predictions = model(cube.tokens, cube.static, trace=trace)
    return as_capture(model, cube, predictions, trace)


def as_capture(
    model: AtmoRep, cube: Neighbourhood, predictions: Mapping[str, Ensemble], trace: Trace
) -> AttentionCapture:
    """What one pass left, as a capture: ``predictions = model(cube.tokens, cube.static, trace=trace)``.

    The masks of ``cube.tokens`` may be any (``dataclasses.replace``).
    """
    truth, steps = _truth(cube)
    fields = {}
    for f in model.config.fields:
        predicted = predictions[f.name].mean if f.name in predictions else None
        fields[f.name] = _captured_field(cube, f, predicted, truth, steps)
    return AttentionCapture(fields, captured_pairs(model.config, trace))


def captured_pairs(config: ModelConfig, trace: Trace) -> dict[tuple[str, str], CapturedPair]:
    """The encoder's part of a trace of one neighbourhood, by (query field, key field)."""
    pairs = {}
    for f in config.fields:
        for origin in ("self", *f.coupled_to):
            records = [trace["encoder", layer, f.name][origin] for layer in range(config.encoder_layers)]
            q, k = (np.stack([record[i][0].float().numpy() for record in records]) for i in (0, 1))
            other = f.name if origin == "self" else origin
            slopes = locality_slopes(config.locality, q.shape[1]).numpy()
            slope = np.broadcast_to(slopes, q.shape[:2]).astype(np.float32)
            pairs[f.name, other] = CapturedPair(f.name, other, q, k, slope, "encoder")
    return pairs


def _captured_field(
    cube: Neighbourhood,
    f: FieldConfig,
    predicted: torch.Tensor | None,
    truth: dict[str, FieldTokens],
    steps: int,
) -> CapturedField:
    """Visible tokens show the data, hidden ones the model's prediction, or NaN where there is none.

    ``truth`` holds for so many ``steps`` from the first.
    """
    _, height, width = f.extent
    tt, ty, tx = f.token_size
    place, data, tokens = cube.place, cube.data, cube.tokens[f.name]
    latitude = data.latitude[place.row : place.row + height]
    columns = np.arange(place.column, place.column + width)
    spacing = float(data.longitude[1] - data.longitude[0])
    longitude = data.longitude[0] + spacing * columns
    slots = cube.time.reshape(-1, tt)
    wrapped = data.longitude[columns % len(data.longitude)]
    coordinates = {
        "time": slots[:, -1],
        "level": list(f.levels),
        "latitude": latitude,
        "longitude": wrapped,
    }

    def physical(values: torch.Tensor) -> np.ndarray:
        """Normalised tokens -> physical values at the last step of each slot."""
        grid = detokenize(values, f.token_size)[0, :, tt - 1 :: tt].numpy()
        axes = ("level", "time", "latitude", "longitude")
        template = xr.Dataset({f.name: (axes, grid)}, coords=coordinates)
        here = cube.normalizer.at(latitude, wrapped)
        return here.denormalize(template)[f.name].transpose(*axes).values.astype(np.float32)

    hidden = tokens.mask[..., None]
    unknown = torch.full_like(tokens.values, torch.nan) if predicted is None else predicted
    shown = physical(torch.where(hidden, unknown, tokens.values))
    error = None
    if f.name in truth and predicted is not None and hidden[:, :, : steps // tt].any():
        error = shown - physical(truth[f.name].values)
        error[~np.repeat(np.repeat(tokens.mask[0].numpy(), ty, 2), tx, 3)] = np.nan
        error[:, steps // tt :] = np.nan
    return CapturedField(
        name=f.name,
        level=np.array(f.levels),
        time=slots[:, 0] + (slots[:, -1] - slots[:, 0]) // 2,
        latitude=latitude.reshape(-1, ty).mean(1),
        longitude=longitude.reshape(-1, tx).mean(1),
        token_size=(ty * abs(float(latitude[1] - latitude[0])), tx * spacing),
        position=token_positions(tokens.info).flatten(1, 4)[0].numpy(),
        values=shown,
        mask=tokens.mask[0].numpy(),
        units=cube.units[f.name],
        error=error,
        value_time=slots[:, -1],
    )


def _truth(cube: Neighbourhood) -> tuple[dict[str, FieldTokens], int]:
    """The tokens with their true values, and for how many steps the record holds these; none where no more.

    Beyond, where the record ends or is not sound, the values mean nothing.
    """
    if cube.known == len(cube.time):
        return cube.tokens, cube.known
    here = slice(cube.place.step, cube.place.step + len(cube.time))
    recorded = cube.data.time[here]
    sound = (recorded == cube.time[: len(recorded)]) & cube.data.sound[here]
    steps = len(sound) if sound.all() else int(sound.argmin())
    if steps <= cube.known:
        return {}, steps
    return cube.data.batch([cube.place], known_steps=steps).tokens, steps
