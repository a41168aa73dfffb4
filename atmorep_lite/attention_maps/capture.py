"""Running a model on one neighbourhood and keeping what its encoder attends with.

:func:`capture_attention` fills the data classes of :mod:`atmorep_lite.attention_maps.captured`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from atmorep_lite.attention import locality_slopes
from atmorep_lite.attention_maps.captured import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.config import FieldConfig, ModelConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.errors import UserError
from atmorep_lite.layout import dates
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model import AtmoRep
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

    Raises
    ------
    UserError
        If the time is not in the data or has too little history, or the model sees context tokens, for which
        the maps have no place.
    """
    if model.normalizer is None or model.run_config is None:
        raise UserError(
            "the model has no normalisation; load it with AtmoRep.from_pretrained or train it with train()"
        )
    config = model.config
    if wider := [f.name for f in config.fields if f.context is not None]:
        raise UserError(
            f"{', '.join(wider)} attends to context tokens outside of the neighbourhood, which a map cannot "
            "show; capture a model without FieldConfig.context"
        )
    steps, height, width = config.extent
    slots = model.run_config.masking.forecast_slots if forecast else 0
    known = steps - slots * config.fields[0].token_size[0]
    data = Neighbourhoods(dataset, config, model.normalizer, least_steps=known)
    place = _place(data, dates(time)[0], known, latitude, longitude, (height, width))
    batch = data.batch([place], known_steps=known)
    tokens = batch.tokens
    if slots:
        masks = forecast_masks(config.fields, 1, slots)
        tokens = {name: replace(field, mask=masks[name]) for name, field in tokens.items()}
    trace: Trace = {}
    with torch.inference_mode():
        predictions = model(tokens, batch.static, trace=trace)
    times = data.time[place.step] + (data.time[1] - data.time[0]) * np.arange(steps)
    fields = {}
    for f in config.fields:
        shown = predictions[f.name].mean if f.name in predictions else tokens[f.name].values
        units = str(dataset[f.name].attrs.get("units", ""))
        fields[f.name] = _captured_field(
            model.normalizer, data, units, f, tokens[f.name], shown, place, times
        )
    return AttentionCapture(fields, captured_pairs(config, trace))


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
    normalizer: Normalizer,
    data: Neighbourhoods,
    units: str,
    f: FieldConfig,
    tokens: FieldTokens,
    predicted: torch.Tensor,
    place: Place,
    times: np.ndarray,
) -> CapturedField:
    """Visible tokens show the data, hidden ones the model's prediction."""
    _, height, width = f.extent
    tt, ty, tx = f.token_size
    shown = torch.where(tokens.mask[..., None], predicted, tokens.values)
    grid = detokenize(shown, f.token_size)[0, :, tt - 1 :: tt].numpy()
    latitude = data.latitude[place.row : place.row + height]
    columns = np.arange(place.column, place.column + width)
    spacing = float(data.longitude[1] - data.longitude[0])
    longitude = data.longitude[0] + spacing * columns
    slots = times.reshape(-1, tt)
    template = xr.Dataset(
        {f.name: (("level", "time", "latitude", "longitude"), grid)},
        coords={
            "time": slots[:, -1],
            "level": list(f.levels),
            "latitude": latitude,
            "longitude": data.longitude[columns % len(data.longitude)],
        },
    )
    here = normalizer.at(latitude, template["longitude"].values)
    physical = here.denormalize(template)[f.name].transpose("level", "time", "latitude", "longitude")
    return CapturedField(
        name=f.name,
        level=np.array(f.levels),
        time=slots[:, 0] + (slots[:, -1] - slots[:, 0]) // 2,
        latitude=latitude.reshape(-1, ty).mean(1),
        longitude=longitude.reshape(-1, tx).mean(1),
        token_size=(ty * abs(float(latitude[1] - latitude[0])), tx * spacing),
        position=token_positions(tokens.info).flatten(1, 4)[0].numpy(),
        values=physical.values.astype(np.float32),
        mask=tokens.mask[0].numpy(),
        units=units,
    )


def _place(
    data: Neighbourhoods,
    time: np.datetime64,
    known: int,
    latitude: float,
    longitude: float,
    size: tuple[int, int],
) -> Place:
    found = np.flatnonzero(data.time == time)
    if not len(found):
        raise UserError(
            f"the data hold no state at {str(time)[:16]}; "
            f"they cover {str(data.time[0])[:16]} to {str(data.time[-1])[:16]}"
        )
    if found[0] < known - 1:
        raise UserError(f"the model needs the {known} states up to {str(time)[:16]}; choose a later time")
    height, width = size
    row = int(np.abs(data.latitude - latitude).argmin()) - height // 2
    column = int(np.abs((data.longitude - longitude + 180.0) % 360.0 - 180.0).argmin()) - width // 2
    row = min(max(row, 0), len(data.latitude) - height)
    if data.spans_globe:
        column %= len(data.longitude)
    else:
        column = min(max(column, 0), len(data.longitude) - width)
    return Place(int(found[0]) - known + 1, row, column)
