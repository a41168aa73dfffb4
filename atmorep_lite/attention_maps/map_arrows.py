"""Any map of one token's keys against the wind: influence, relevance, rollout, a mean of heads.

Attention may look nowhere while the model depends on what lies upstream, or the other way round: the same
arrow drawn from :func:`~atmorep_lite.attention_maps.influence` tells.  One arrow proves nothing, nor do many
where the wind is the same everywhere: hold them against the truth of other tokens
(:func:`~atmorep_lite.attention_maps.displacement_table.compare`, ``other_angle``).  A fixed stencil for
westerlies points upstream too.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from atmorep_lite.attention_maps.captured import AttentionCapture
from atmorep_lite.attention_maps.upstream import Arrival, Arrows, arrow_dataset, wind_or_error
from atmorep_lite.attention_maps.weights import chosen_indices
from atmorep_lite.attention_maps.winds import Wind
from atmorep_lite.errors import UserError


def map_arrows(
    capture: AttentionCapture,
    values: xr.DataArray,
    *,
    field: str,
    query: int,
    key_field: str | None = None,
    wind: Wind | None = None,
    key_level: float | None = None,
    ahead: float = 0.0,
    interval: float = 1.0,
    steps: int = 1,
) -> xr.Dataset:
    """Centroid of a map at each earlier time against where the air came from.

    Parameters
    ----------
    capture
        Where and when the tokens are.
    values
        ``[key]``, none negative, NaN where nothing is known: the keys of every field one after another, as
        :func:`~atmorep_lite.attention_maps.influence` and the others label them.  Square an influence first:
        the squares of norms add.
    field, query
        The token whose map it is.
    key_field
        Which field's keys; the token's own by default.
    wind, key_level, ahead, interval, steps
        As of :func:`~atmorep_lite.attention_maps.upstream_arrows`.

    Returns
    -------
    Dataset over ``key_time`` with the variables of :func:`~atmorep_lite.attention_maps.upstream_arrows`; NaN
    for times at which nothing is known.

    Raises
    ------
    UserError
        If the map lacks the field's keys, the token does not exist, or there is no wind.
    """
    key = field, key_field or field
    for name in key:
        if name not in capture.fields:
            raise UserError(f"{name} is not a field of this capture; it has {', '.join(capture.fields)}")
    mine = (
        values.values[values["key_field"].values == key[1]]
        if values.dims == ("key",) and "key_field" in values.coords
        else np.empty(0)
    )
    kept = capture.fields[key[1]].mask
    if values.dims != ("key",) or mine.size != kept.size:
        raise UserError(
            f"the map has the dimensions {values.dims} and {mine.size} keys of {key[1]}; expected one row, "
            f"[key], with its {kept.size} tokens"
        )
    numbers = chosen_indices("token", [query], capture.fields[field].mask.size)
    arrival = Arrival.of(capture, key, numbers, key_level)
    levels, times, rows, columns = kept.shape
    grid = mine.reshape(levels, times, rows * columns)[arrival.key_level]
    seen = arrival.centroids(capture, torch.from_numpy(np.nan_to_num(grid)), slice(None))
    true, lag = arrival.truth(
        capture, wind_or_error(capture, wind), ahead=ahead, interval=interval, steps=steps
    )
    found = arrow_dataset(capture, Arrows(seen, true, lag, arrival.place), ("query", "key_time"))
    return found.isel(query=0).assign_coords(key_time=arrival.key_time)
