"""Every head against the wind: mean angle and distance to the back-trajectory, and what chance would give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import xarray as xr

from atmorep_lite.attention_maps.arrows import agreement, angles
from atmorep_lite.attention_maps.captured import AttentionCapture
from atmorep_lite.attention_maps.upstream import Arrows, pair_arrows, wind_or_error
from atmorep_lite.attention_maps.weights import chosen_indices
from atmorep_lite.attention_maps.winds import Wind

MOVES = 0.25
"""An arrow shorter than this part of the true way is no displacement."""
QUARTER_DEGREE = 111.2 / 4  # km of a quarter of a degree of latitude
MEASURES = (
    "angle",
    "distance",
    "length",
    "correlation",
    "moving",
    "count",
    "random_angle",
    "random_angle_error",
    "other_angle",
    "random_distance",
    "still_distance",
)


def displacement(
    capture: AttentionCapture,
    wind: Wind | None = None,
    *,
    against: AttentionCapture | None = None,
    key_level: float | None = None,
    ahead: float = 0.0,
    interval: float = 1.0,
    steps: int = 1,
    least: float | None = None,
    queries: Sequence[int] | None = None,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> xr.Dataset:
    """How well each head's centroid of attention agrees with where the wind came from.

    Parameters
    ----------
    capture, wind, against, key_level, ahead, interval, steps, queries, layers, heads
        As of :func:`~atmorep_lite.attention_maps.upstream.upstream_arrows`.
    least
        Queries whose true way is shorter (km; box units) are left out; by default a quarter of a token's
        north-south side, since a token hides the direction of shorter ways.

    Returns
    -------
    Dataset over ``(pair, layer, head, lag)``; ``pair`` is indexed by ``query_field`` and ``key_field``,
    ``lag`` in hours (on a plane in frames).  NaN where a pair has no such head or nothing moves so far.

    - ``angle``: mean angle between arrow and truth in degrees, over the queries that ``moving`` counts
    - ``distance``: mean distance of their ends, km (box units), over all queries counted
    - ``length``: share of the way that is covered, ``sum a.b / sum b.b``
    - ``correlation``: ``sum a.b / sqrt(sum a.a sum b.b)``
    - ``moving``: share of queries whose arrow is at least a quarter of the true way; about 0 for a head that
      looks at its own place, which shows no displacement whatever its angle
    - ``count``: number of queries
    - ``random_angle``, ``random_angle_error``: 90 and its standard error for so many random directions;
      neighbouring tokens share their wind, so the true error is larger
    - ``other_angle``: angle to the truth of other queries: what a direction shared by all would give
    - ``random_distance``: as ``distance``, for arrows of the same lengths in random directions
    - ``still_distance``: as ``distance``, for arrows of no length

    Raises
    ------
    UserError
        If there is no wind and the capture holds none, a head, layer or token does not exist, ``steps`` is
        not positive, or ``against`` has other tokens.
    """
    wind = wind_or_error(capture, wind)
    found = {}
    heads = chosen_indices("head", heads, max(pair.q.shape[1] for pair in capture.pairs.values()))
    for key, pair in capture.pairs.items():
        some = [head for head in heads if head < pair.q.shape[1]]
        if not some:
            continue
        arrows = pair_arrows(
            capture,
            key,
            wind,
            against=against,
            key_level=key_level,
            ahead=ahead,
            interval=interval,
            steps=steps,
            queries=queries,
            layers=layers,
            heads=some,
        )
        found[key] = _summary(arrows, _least(capture, key[0]) if least is None else least, some)
    index = pd.MultiIndex.from_tuples(list(found), names=["query_field", "key_field"])
    joined = xr.concat(list(found.values()), "pair", join="outer")
    joined["count"] = joined["count"].fillna(0).astype(int)
    joined = joined.assign_coords(layer=list(joined["layer"].values if layers is None else layers))
    return joined.assign_coords(xr.Coordinates.from_pandas_multiindex(index, "pair"))


def _least(capture: AttentionCapture, name: str) -> float:
    tall = capture.fields[name].token_size[0]
    return tall * QUARTER_DEGREE if capture.geometry == "sphere" else tall / 4


def _summary(arrows: Arrows, least: float, heads: list[int]) -> xr.Dataset:
    """All measures of one pair, ``[layer, head, lag]``."""
    lags = np.unique(arrows.lag[arrows.lag > 0])
    layers = arrows.seen.shape[0]
    values = {name: np.full((layers, len(heads), len(lags)), np.nan) for name in MEASURES}
    for i, lag in enumerate(lags):
        query, time = np.nonzero(arrows.lag == lag)
        true = torch.from_numpy(arrows.true[query, time])
        far = true.norm(dim=-1) >= least
        for layer, head in np.ndindex(layers, len(heads)):
            seen = torch.from_numpy(arrows.seen[layer, head][query, time])
            known = far & seen.isfinite().all(-1)
            values["count"][layer, head, i] = int(known.sum())
            if known.any():
                for name, value in compare(seen[known], true[known]).items():
                    values[name][layer, head, i] = value
    dims = ("layer", "head", "lag")
    coords = {"layer": range(layers), "head": heads, "lag": lags.astype(float)}
    return xr.Dataset({name: (dims, array) for name, array in values.items()}, coords=coords)


def compare(seen: torch.Tensor, true: torch.Tensor) -> dict[str, float]:
    """Measures of arrows ``[query, 2]``, all of which have a true way."""
    overall = agreement(seen, true, least=0.0)
    size, way = seen.norm(dim=-1), true.norm(dim=-1)
    moving = size >= MOVES * way
    out = {
        "distance": (seen - true).norm(dim=-1).mean(),
        "length": overall.length,
        "correlation": overall.correlation,
        "moving": moving.double().mean(),
        "random_distance": _random_distance(size, way),
        "still_distance": way.mean(),
    }
    count = int(moving.sum())
    if count:
        out["angle"] = angles(seen[moving], true[moving]).mean()
        out["random_angle"], out["random_angle_error"] = 90.0, 180.0 / (12.0 * count) ** 0.5
    if count > 1:
        shifts = sorted({max(1, count * k // 9) for k in range(1, 9)})
        others = [angles(seen[moving], true[moving].roll(shift, 0)).mean() for shift in shifts]
        out["other_angle"] = torch.stack(others).mean()
    return {name: float(value) for name, value in out.items()}


def _random_distance(size: torch.Tensor, way: torch.Tensor, directions: int = 32) -> torch.Tensor:
    """Mean distance of the ends of two arrows of these lengths over all angles between them."""
    angle = (torch.arange(directions) + 0.5) * (torch.pi / directions)
    square = size[:, None] ** 2 + way[:, None] ** 2 - 2 * (size * way)[:, None] * angle.cos()
    return square.clamp(min=0).sqrt().mean()
