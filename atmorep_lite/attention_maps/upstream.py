"""Does attention look upstream?  Its centroid at each earlier time against the back-trajectory x - u dt.

Everything happens in the plane of ways around the query's place
(:mod:`~atmorep_lite.attention_maps.geometry`): on the sphere the distance along a great circle and its
initial bearing, as (north, east) in km; on a plane (y, x) in the box's units.

    arrow = sum_j w_j (x_j - x_i) / sum_j w_j      over the keys of one time and one level,
    truth = -(v, u) dt                             with the wind at the query, dt > 0 back to the keys' time.

The plain centroid is biased in ways that have nothing to do with the wind: what is spread evenly around the
query draws it home (too short); where the region ends on one side it points to the other, and on a grid of
latitudes and longitudes, whose tokens crowd towards the pole, to the pole (wrong).  ``against`` takes that
away: what a null model attends to is subtracted and only the excess is averaged.  For weights that are a
mixture of the null and of a peak the excess has its centroid at the peak exactly; its own bias is that noise,
being positive too, is averaged over the whole region, so look at the same number for random weights.  A
straight way is an error of its own where the wind changes along it: take more ``steps``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import xarray as xr

from atmorep_lite.attention_maps.arrows import angles, centroids
from atmorep_lite.attention_maps.captured import AttentionCapture, check_same_tokens
from atmorep_lite.attention_maps.geometry import HOUR, follow, ways
from atmorep_lite.attention_maps.heads import query_chunks
from atmorep_lite.attention_maps.trajectories import back_ways
from atmorep_lite.attention_maps.weights import attention_maps, chosen_indices
from atmorep_lite.attention_maps.winds import Wind, wind_of
from atmorep_lite.errors import UserError

NOTHING = 1e-9
"""Arrows shorter than this, and an excess smaller than this, have no direction."""


@dataclass(frozen=True)
class Arrows:
    """Arrows of one pair of fields.

    Attributes
    ----------
    seen
        [layer, head, query, key_time, 2] centroids of attention; NaN where nothing exceeds the null.
    true
        [query, key_time, 2] back-trajectories; NaN for times that are not earlier.
    lag
        [query, key_time] hours or frames by which the keys' time precedes.
    place
        [query, 2] of each query.
    """

    seen: np.ndarray
    true: np.ndarray
    lag: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class Arrival:
    """Where and when queries are, and the keys that they are compared with.

    Attributes
    ----------
    level, time, place
        [query], [query] and [query, 2] of the queries.
    key_level
        [query] number of the level of the keys.
    key_time, key_place
        [key_time], and [place, 2] of every place of that field.
    """

    level: np.ndarray
    time: np.ndarray
    place: np.ndarray
    key_level: np.ndarray
    key_time: np.ndarray
    key_place: np.ndarray

    @classmethod
    def of(
        cls, capture: AttentionCapture, key: tuple[str, str], numbers: list[int], key_level: float | None
    ) -> Arrival:
        """Of some tokens of ``key[0]`` that look at ``key[1]``, at their own level unless one is given."""
        asking, kept = (capture.fields[name] for name in key)
        level, time, rows, columns = np.unravel_index(numbers, asking.mask.shape)
        wanted = asking.level[level] if key_level is None else np.full(len(level), key_level)
        return cls(
            asking.level[level],
            asking.time[time],
            np.stack((asking.latitude[rows], asking.longitude[columns]), -1),
            np.abs(np.asarray(kept.level, float) - wanted[:, None]).argmin(1),
            kept.time,
            np.stack(np.meshgrid(kept.latitude, kept.longitude, indexing="ij"), -1).reshape(-1, 2),
        )

    def centroids(self, capture: AttentionCapture, weights: torch.Tensor, part: slice) -> np.ndarray:
        """Some queries' weights ``[..., query, key_time, place]`` -> ``[..., query, key_time, 2]``."""
        away = torch.from_numpy(ways(capture, self.place[part, None], self.key_place[None]))
        return torch.stack([centroids(each, away) for each in weights.unbind(-2)], -2).numpy()

    def truth(
        self, capture: AttentionCapture, wind: Wind, *, ahead: float, interval: float, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Back-trajectories ``[query, key_time, 2]``, and how long they last ``[query, key_time]``."""
        if steps < 1:
            raise UserError(f"a way of {steps} steps leads nowhere; choose 1 or more")
        lag = self.time[:, None] - self.key_time[None]
        lag = (lag / HOUR if capture.geometry == "sphere" else lag) + ahead
        start = self.level, self.time, self.place
        return back_ways(capture, wind, *start, lag, interval=interval, steps=steps), lag


def upstream_arrows(
    capture: AttentionCapture,
    query_field: str,
    key_field: str,
    wind: Wind | None = None,
    *,
    against: AttentionCapture | None = None,
    key_level: float | None = None,
    ahead: float = 0.0,
    interval: float = 1.0,
    steps: int = 1,
    queries: Sequence[int] | None = None,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> xr.Dataset:
    """For each query and earlier time, where attention has its centroid and where the air came from.

    Parameters
    ----------
    capture
        What a model attended with, on the sphere or on a plane.
    query_field, key_field
        Which pair.
    wind
        By default :func:`~atmorep_lite.attention_maps.winds.wind_of` the capture: data where they were shown
        and the prediction where they were hidden, at the last step of each time slot.  The nearest of its
        tokens counts.
    against
        Average only what exceeds this capture's weights, such as those of
        :func:`~atmorep_lite.attention_maps.nulls.bias_only`; by default the plain weights.
    key_level
        Level of the keys, hPa; by default the one nearest to the query's.
    ahead
        How long after its own time the query speaks (hours, frames): 1 frame where the token of the newest
        frame forecasts the next, as in a VortexFormer.
    interval
        On a plane, time units of the wind between two frames.
    steps
        1: the straight way x - u dt along a great circle, with the wind at the query.  More: so many pieces,
        each with the wind of the token where and when it begins.
    queries, layers, heads
        Which ones; all by default.

    Returns
    -------
    Dataset over ``(layer, head, query, key_time)`` with ``attention_north`` and ``attention_east``,
    ``truth_north`` and ``truth_east`` (km), ``angle`` (degrees between the two, NaN where one has no length),
    ``distance`` (km between their ends), ``lag`` (h), and the ends' places, ``attention_latitude``,
    ``truth_longitude`` and so on.  On a plane the ways are ``_dy`` and ``_dx`` and the places ``_y`` and
    ``_x``, in box units and frames.  NaN for times that are not earlier.

    Raises
    ------
    UserError
        If the pair does not exist, there is no wind and the capture holds none, ``steps`` is not positive, or
        ``against`` has other tokens.
    """
    found = pair_arrows(
        capture,
        (query_field, key_field),
        wind_or_error(capture, wind),
        against=against,
        key_level=key_level,
        ahead=ahead,
        interval=interval,
        steps=steps,
        queries=queries,
        layers=layers,
        heads=heads,
    )
    pair = capture.pairs[query_field, key_field]
    return arrow_dataset(capture, found, ("layer", "head", "query", "key_time")).assign_coords(
        layer=chosen_indices("layer", layers, pair.q.shape[0]),
        head=chosen_indices("head", heads, pair.q.shape[1]),
        query=chosen_indices("token", queries, pair.q.shape[2]),
        key_time=capture.fields[key_field].time,
    )


def arrow_dataset(capture: AttentionCapture, arrows: Arrows, dims: tuple[str, ...]) -> xr.Dataset:
    """Arrows as :func:`upstream_arrows` returns them; ``dims`` are those of ``seen``, less the last."""
    true, start = arrows.true, arrows.place[:, None]
    seen = np.where(np.isnan(true), np.nan, arrows.seen)
    columns: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for what, way, axes in (("attention", seen, dims), ("truth", true, dims[-2:])):
        ends = follow(capture, start, way)
        for i, (short, place) in enumerate(_PLANE if capture.geometry == "plane" else _COMPASS):
            columns[f"{what}_{short}"] = axes, way[..., i]
            columns[f"{what}_{place}"] = axes, ends[..., i]
    columns["angle"] = dims, _angles(seen, true)
    columns["distance"] = dims, np.linalg.norm(seen - true, axis=-1)
    columns["lag"] = dims[-2:], arrows.lag
    return xr.Dataset(columns)


_COMPASS = (("north", "latitude"), ("east", "longitude"))
_PLANE = (("dy", "y"), ("dx", "x"))


def wind_or_error(capture: AttentionCapture, wind: Wind | None) -> Wind:
    """The wind given, or the capture's own.

    Raises
    ------
    UserError
        If there is neither.
    """
    wind = wind_of(capture) if wind is None else wind
    if wind is None:
        raise UserError(
            "this capture tells no wind: it needs u_component_of_wind and v_component_of_wind, or vorticity "
            "on a periodic plane; give the wind"
        )
    return wind


def pair_arrows(
    capture: AttentionCapture,
    key: tuple[str, str],
    wind: Wind,
    *,
    against: AttentionCapture | None,
    key_level: float | None,
    ahead: float,
    interval: float,
    steps: int,
    queries: Sequence[int] | None,
    layers: Sequence[int] | None,
    heads: Sequence[int] | None,
) -> Arrows:
    """The arrows of one pair; arguments as of :func:`upstream_arrows`."""
    if key not in capture.pairs:
        raise UserError(
            f"{key[0]} does not attend to {key[1]} in this capture; see the keys of capture.pairs"
        )
    if against is not None:
        check_same_tokens(capture, against, other_dates=True)
        if against.pairs.keys() != capture.pairs.keys():
            raise UserError(
                "the captures differ in their pairs of fields; compare those of one configuration"
            )
    numbers = chosen_indices("token", queries, capture.fields[key[0]].mask.size)
    arrival = Arrival.of(capture, key, numbers, key_level)
    pieces = []
    for part in query_chunks(capture, key, len(numbers)):
        options = {"queries": numbers[part], "layers": layers, "heads": heads}
        weights = _of_level(capture, key, arrival.key_level[part], options)
        if against is not None:
            plain = _of_level(against, key, arrival.key_level[part], options)
            weights = (weights - plain).clamp(min=0)
            weights[weights.sum(-1) < NOTHING] = torch.nan
        pieces.append(arrival.centroids(capture, weights, part))
    true, lag = arrival.truth(capture, wind, ahead=ahead, interval=interval, steps=steps)
    return Arrows(np.concatenate(pieces, 2), true, lag, arrival.place)


def _of_level(
    capture: AttentionCapture, key: tuple[str, str], levels: np.ndarray, options: dict
) -> torch.Tensor:
    """Weights ``[layer, head, query, time, place]`` on one level's keys per query, of sum 1 over places."""
    tree = attention_maps(capture, query_fields=[key[0]], key_fields=[key[1]], **options)
    weights = torch.from_numpy(cast(xr.DataArray, tree["/".join(key)]["attention"]).values)
    _, times, rows, columns = shape = capture.fields[key[1]].mask.shape
    by_level = weights.unflatten(-1, shape).flatten(-2)
    index = torch.from_numpy(levels).view(-1, 1, 1, 1).expand(-1, 1, times, rows * columns)
    chosen = by_level.gather(3, index.expand(*by_level.shape[:2], *index.shape)).squeeze(3)
    return chosen / chosen.sum(-1, keepdim=True)


def _angles(seen: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Degrees between arrows; NaN where one of them has no length."""
    seen, true = np.broadcast_arrays(seen, true)
    short = np.minimum(np.linalg.norm(seen, axis=-1), np.linalg.norm(true, axis=-1)) < NOTHING
    between = angles(torch.from_numpy(seen.copy()), torch.from_numpy(true.copy())).numpy()
    return np.where(short, np.nan, between)
