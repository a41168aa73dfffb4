"""What to compare a map with: equal weights, the locality bias alone, random weights, the mean of many days.

All are captures of the same tokens, so whatever takes a capture takes them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from atmorep_lite.attention_maps.capture import capture_attention
from atmorep_lite.attention_maps.captured import AttentionCapture, CapturedPair, check_same_tokens
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep


def uniform(capture: AttentionCapture) -> AttentionCapture:
    """The capture with equal weights on all keys."""
    flat = {
        key: replace(pair, q=np.zeros_like(pair.q), slope=np.zeros_like(pair.slope))
        for key, pair in capture.pairs.items()
    }
    return replace(capture, pairs=flat)


def bias_only(capture: AttentionCapture) -> AttentionCapture:
    """The capture with all queries zero: what the locality bias alone, without data, would attend to.

    Without a locality bias that is uniform.
    """
    silent = {key: replace(pair, q=np.zeros_like(pair.q)) for key, pair in capture.pairs.items()}
    return replace(capture, pairs=silent)


def random_capture(
    model: AtmoRep,
    dataset: xr.Dataset,
    time: str | np.datetime64,
    *,
    seed: int,
    latitude: float,
    longitude: float,
    forecast: bool = True,
) -> AttentionCapture:
    """What the model would attend to with embeddings and encoder as before training.

    Arguments as of :func:`~atmorep_lite.attention_maps.capture_attention`; ``seed`` draws the weights.
    """
    from atmorep_lite.ablation import randomise_encoder

    fresh = randomise_encoder(model, seed=seed)
    return capture_attention(fresh, dataset, time, latitude=latitude, longitude=longitude, forecast=forecast)


def capture_many(
    model: AtmoRep,
    dataset: xr.Dataset,
    times: Sequence[str | np.datetime64] | np.ndarray,
    *,
    latitude: float,
    longitude: float,
    forecast: bool = True,
) -> list[AttentionCapture]:
    """Captures of one place at many times, in their order."""
    place = {"latitude": latitude, "longitude": longitude}
    return [capture_attention(model, dataset, time, **place, forecast=forecast) for time in times]


def mean_capture(captures: Sequence[AttentionCapture], *, channels: int | None = None) -> AttentionCapture:
    """The mean of the attention of many days, as a capture with the tokens of the first.

    The mean is that of the scores, so weights are the normalised geometric mean of the days' weights: exact,
    since the scores of ``D`` days are one dot product of all their channels side by side.  It lies below the
    arithmetic mean (:func:`~atmorep_lite.attention_maps.measures.mean_map`) where days disagree.

    Parameters
    ----------
    captures
        Of one place and model, at any times.
    channels
        Keep this many channels a head, those in which most of the scores' variance lies; all by default.

    Raises
    ------
    UserError
        If there is no capture, they differ in their tokens, or ``channels`` is not positive.
    """
    if not captures:
        raise UserError("a mean needs at least one capture")
    if channels is not None and channels < 1:
        raise UserError(f"a mean capture with {channels} channels holds nothing; choose 1 or more")
    shapes = {tuple((k, p.q.shape, p.k.shape) for k, p in c.pairs.items()) for c in captures}
    if len(shapes) > 1:
        raise UserError("captures of different models or regions have no mean; capture one place and model")
    first = captures[0]
    for other in captures[1:]:
        check_same_tokens(first, other, other_dates=True)
    pairs = {key: _mean_pair([c.pairs[key] for c in captures], channels) for key in first.pairs}
    return replace(first, pairs=pairs)


def _mean_pair(pairs: Sequence[CapturedPair], channels: int | None) -> CapturedPair:
    q = np.concatenate([pair.q for pair in pairs], -1) / len(pairs) ** 0.5
    k = np.concatenate([pair.k for pair in pairs], -1)
    if channels is not None and channels < q.shape[-1]:
        q, k = _fewer_channels(q, k, channels)
    return replace(pairs[0], q=q.astype(np.float32), k=k.astype(np.float32))


def _fewer_channels(q: np.ndarray, k: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The best approximation of the scores by so few channels: a truncated singular value decomposition.

    A number added to all scores of a query changes no weight, so the mean key is taken off first.
    """
    wide = q.shape[-1]
    k = k - k.mean(-2, keepdims=True)
    (basis_q, small_q), (basis_k, small_k) = np.linalg.qr(q), np.linalg.qr(k)
    left, sizes, right = np.linalg.svd(small_q @ small_k.swapaxes(-1, -2))
    root = np.sqrt(sizes[..., None, :channels])
    scale = (channels / wide) ** 0.5  # scores are divided by the root of the number of channels
    return (
        scale * (basis_q @ left[..., :channels]) * root,
        (basis_k @ right.swapaxes(-1, -2)[..., :channels]) * root,
    )
