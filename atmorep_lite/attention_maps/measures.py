"""Numbers for attention maps: how sharp, how far, how long ago, and how much of it is there without learning.

A measure takes the weights as :func:`~atmorep_lite.attention_maps.weights.attention_maps` labels them,
``[..., query, key]`` with places, levels and times on both axes, and returns a labelled array without
``key``.  None of them says that a connection matters; for that see
:mod:`~atmorep_lite.attention_maps.removal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import xarray as xr

from atmorep_lite.attention_maps.geometry import EARTH_RADIUS, HOUR, minimum_image
from atmorep_lite.errors import UserError


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
    """Distance from every query's place to every key's, ``[query, key]``.

    Great-circle distance in km (``distance_km``); on a plane in the box's units, the shortest way round where
    it is periodic (``distance``).
    """
    _checked(weights, "query")
    names = ("y", "x") if on_plane(weights) else ("latitude", "longitude")
    asked, kept = (
        [xr.DataArray(weights[f"{axis}_{name}"].values, dims=axis) for name in names]
        for axis in ("query", "key")
    )
    if not on_plane(weights):
        return great_circle(*asked, *kept).transpose("query", "key").rename("distance_km")
    square = sum(
        (minimum_image(there - here, side)) ** 2
        for here, there, side in zip(asked, kept, weights.attrs.get("period", (None, None)), strict=True)
    )
    distance = cast(xr.DataArray, np.sqrt(square))
    return distance.transpose("query", "key").rename("distance")


def mean_distance(weights: xr.DataArray) -> xr.DataArray:
    """Mean distance (:func:`key_distance`) to what is attended to, weighted by attention."""
    distance = key_distance(weights)
    return xr.dot(weights, distance, dim="key").rename(distance.name)


def share_within(weights: xr.DataArray, radius: float) -> xr.DataArray:
    """Share of each row's weight on keys nearer than ``radius`` (km; box units), at any level and time."""
    near = (key_distance(weights) < radius).astype(float)
    return xr.dot(weights, near, dim="key").rename("share_within")


def mean_lag(weights: xr.DataArray) -> xr.DataArray:
    """Mean time by which keys precede their query, weighted; negative if they follow it.

    In hours (``lag_h``), on a plane in frames (``lag``).
    """
    lag = -_offset(weights, "time")
    name = "lag"
    if not on_plane(weights):
        lag, name = lag / HOUR, "lag_h"
    return xr.dot(weights, lag, dim="key").rename(name)


def mean_level_offset(weights: xr.DataArray) -> xr.DataArray:
    """Mean level of the keys minus that of the query, weighted: hPa, positive if they lie lower."""
    offset = _offset(weights, "level").astype(float)
    return xr.dot(weights, offset, dim="key").rename("level_offset")


def share_on_level(weights: xr.DataArray) -> xr.DataArray:
    """Share of each row's weight on keys of the query's own level."""
    own = (_offset(weights, "level") == 0).astype(float)
    return xr.dot(weights, own, dim="key").rename("same_level")


def share_by(weights: xr.DataArray, axis: str) -> xr.DataArray:
    """Share of each row's weight by one coordinate of the keys, ``[..., query, key_<axis>]``.

    ``axis`` is "level", "time", "latitude" or "longitude"; on a plane "y" and "x" instead of these two.

    Raises
    ------
    UserError
        If ``axis`` is none of these four.
    """
    _checked(weights)
    axes = ("level", "time", *(("y", "x") if on_plane(weights) else ("latitude", "longitude")))
    if axis not in axes:
        raise UserError(f"keys have no {axis!r}; choose one of {', '.join(axes)}")
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


def on_plane(weights: xr.DataArray) -> bool:
    """Whether keys lie on a plane."""
    return "key_y" in weights.coords


def _offset(weights: xr.DataArray, axis: str) -> xr.DataArray:
    """Key minus query along one axis, ``[query, key]``."""
    _checked(weights, "query")
    asked, kept = (weights[f"{end}_{axis}"].values for end in ("query", "key"))
    return xr.DataArray(kept[None] - asked[:, None], dims=("query", "key"))


def _checked(weights: xr.DataArray, *dims: str) -> xr.DataArray:
    """The weights, if they have the axis ``key`` with its places, and ``dims``."""
    if not {"key", *dims} <= set(weights.dims) or not {"key_latitude", "key_y"} & set(weights.coords):
        raise UserError(
            "this measure needs weights as attention_maps labels them, with the dimensions "
            f"{', '.join((*dims, 'key'))}; these have {', '.join(map(str, weights.dims))}"
        )
    return weights
