"""Numbers for attention maps: how sharp, how far, how long ago, and how much of it is there without learning.

A measure takes the weights as :func:`~atmorep_lite.attention_maps.weights.attention_maps` labels them,
``[..., query, key]`` with places, levels and times on both axes, and returns a labelled array without
``key``.  None of them says that a connection matters; for that see :mod:`atmorep_lite.ablation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import xarray as xr

from atmorep_lite.attention_maps.captured import AttentionCapture
from atmorep_lite.attention_maps.weights import attention_maps
from atmorep_lite.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

EARTH_RADIUS = 6371.0  # km
HOUR = np.timedelta64(1, "h")
AXES = ("level", "time", "latitude", "longitude")


def relative_entropy(weights: xr.DataArray) -> xr.DataArray:
    """Entropy of each row divided by that of uniform weights: 0 if one key has all, 1 if all are alike.

    ``-sum_j w_j log w_j / log N`` over the ``N`` keys; a weight of 0 adds nothing.
    """
    count = _checked(weights).sizes["key"]
    if count == 1:
        raise UserError("entropy relative to uniform needs at least two keys; this map has one")
    logarithm = np.log(weights.where(weights > 0, 1.0))
    return (-(weights * logarithm).sum("key") / np.log(count)).rename("entropy")


def great_circle(
    latitude: xr.DataArray,
    longitude: xr.DataArray,
    other_latitude: xr.DataArray,
    other_longitude: xr.DataArray,
) -> xr.DataArray:
    """Distance in km on a sphere of radius 6371 km between places in degrees (haversine formula)."""
    north, east, north2, east2 = map(np.deg2rad, (latitude, longitude, other_latitude, other_longitude))
    half = (
        np.sin((north2 - north) / 2) ** 2 + np.cos(north) * np.cos(north2) * np.sin((east2 - east) / 2) ** 2
    )
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(half.clip(0, 1)))


def key_distance(weights: xr.DataArray) -> xr.DataArray:
    """Great-circle distance in km from every query's place to every key's, ``[query, key]``."""
    _checked(weights, "query")
    places = [
        xr.DataArray(weights[f"{axis}_{name}"].values, dims=axis)
        for axis in ("query", "key")
        for name in ("latitude", "longitude")
    ]
    return great_circle(*places).transpose("query", "key").rename("distance_km")


def mean_distance(weights: xr.DataArray) -> xr.DataArray:
    """Mean great-circle distance in km to what is attended to, weighted by attention."""
    return (weights * key_distance(weights)).sum("key").rename("distance_km")


def share_within(weights: xr.DataArray, radius_km: float) -> xr.DataArray:
    """Share of each row's weight on keys nearer than ``radius_km``, at any level and time."""
    return weights.where(key_distance(weights) < radius_km, 0.0).sum("key").rename("share_within")


def mean_lag(weights: xr.DataArray) -> xr.DataArray:
    """Mean time in hours by which keys precede their query, weighted; negative if they follow it."""
    _checked(weights, "query")
    asked, kept = (weights[f"{axis}_time"].values for axis in ("query", "key"))
    lag = xr.DataArray((asked[:, None] - kept[None]) / HOUR, dims=("query", "key"))
    return (weights * lag).sum("key").rename("lag_h")


def share_by(weights: xr.DataArray, axis: str) -> xr.DataArray:
    """Share of each row's weight by one coordinate of the keys, ``[..., query, key_<axis>]``.

    ``axis`` is "level", "time", "latitude" or "longitude".

    Raises
    ------
    UserError
        If ``axis`` is none of these four.
    """
    _checked(weights)
    if axis not in AXES:
        raise UserError(f"keys have no {axis!r}; choose one of {', '.join(AXES)}")
    labels = weights[f"key_{axis}"].values
    parts = [
        weights.isel(key=np.flatnonzero(labels == value)).sum("key").expand_dims({f"key_{axis}": [value]}, -1)
        for value in dict.fromkeys(labels)
    ]
    return xr.concat(parts, f"key_{axis}").transpose(..., f"key_{axis}").rename("share")


def moved_share(weights: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Share of the weight that lies elsewhere in ``other``: half the sum of absolute differences, 0 to 1.

    Tokens are compared by their position in the map, so maps of different days can be compared.

    Raises
    ------
    UserError
        If the maps differ in shape.
    """
    _checked(weights)
    if weights.dims != other.dims or weights.shape != other.shape:
        raise UserError(
            f"maps of the shapes {dict(weights.sizes)} and {dict(other.sizes)} cannot be compared; "
            "choose the same layers, heads and queries for both"
        )
    return (abs(weights - other.values).sum("key") / 2).rename("moved_share")


def mean_map(maps: Sequence[xr.DataArray]) -> xr.DataArray:
    """Mean over maps of different days, token by token, labelled as the first.

    Raises
    ------
    UserError
        If there is none, or they differ in shape.
    """
    if not maps:
        raise UserError("a mean needs at least one map")
    if len({m.shape for m in maps}) > 1:
        raise UserError("maps of different shapes have no mean; choose the same layers, heads and queries")
    return maps[0].copy(data=np.mean([m.values for m in maps], axis=0))


def bias_only(capture: AttentionCapture) -> AttentionCapture:
    """The capture with all queries zero: what the locality bias alone, without data, would attend to."""
    silent = {key: replace(pair, q=np.zeros_like(pair.q)) for key, pair in capture.pairs.items()}
    return replace(capture, pairs=silent)


def head_table(
    capture: AttentionCapture, *, radius_km: float = 2000.0, queries: Sequence[int] | None = None
) -> pd.DataFrame:
    """One row for each pair of fields, layer and head: the measures, averaged over queries.

    Parameters
    ----------
    capture
        What :func:`~atmorep_lite.attention_maps.capture.capture_attention` kept, on the sphere.
    radius_km
        Radius for ``near``.
    queries
        Token indices to average over; all by default, which needs memory for every weight of a pair.

    Returns
    -------
    DataFrame with the columns ``query_field``, ``key_field``, ``kind`` ("self" or "coupling"), ``layer``,
    ``head``, ``entropy`` (relative to uniform), ``distance_km``, ``near`` (share within the radius),
    ``lag_h`` and ``same_level`` (share on keys of the query's level).

    Raises
    ------
    UserError
        If the capture is not on the sphere.
    """
    import pandas as pd

    if capture.geometry != "sphere":
        raise UserError("distances in km need places on the sphere; this capture lies on a plane")
    rows = []
    for key in capture.pairs:
        query_field, key_field = key
        tree = attention_maps(capture, query_fields=[query_field], key_fields=[key_field], queries=queries)
        weights = cast(xr.DataArray, tree[f"{query_field}/{key_field}/attention"])
        own_level = xr.DataArray(
            weights["query_level"].values[:, None] == weights["key_level"].values, dims=("query", "key")
        )
        measured = xr.Dataset(
            {
                "entropy": relative_entropy(weights),
                "distance_km": mean_distance(weights),
                "near": share_within(weights, radius_km),
                "lag_h": mean_lag(weights),
                "same_level": weights.where(own_level, 0.0).sum("key"),
            }
        )
        table = measured.mean("query").to_dataframe().reset_index()
        table.insert(0, "query_field", query_field)
        table.insert(1, "key_field", key_field)
        table.insert(2, "kind", "self" if query_field == key_field else "coupling")
        rows.append(table)
    return pd.concat(rows, ignore_index=True)


def _checked(weights: xr.DataArray, *dims: str) -> xr.DataArray:
    """The weights, if they have the axis ``key`` with its places, and ``dims``."""
    if not {"key", *dims} <= set(weights.dims) or "key_latitude" not in weights.coords:
        raise UserError(
            "this measure needs weights as attention_maps labels them, with the dimensions "
            f"{', '.join((*dims, 'key'))}; these have {', '.join(map(str, weights.dims))}"
        )
    return weights
