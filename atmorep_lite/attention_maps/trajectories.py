"""Where the air was: ways back along the wind of a capture.

The wind is taken from the token nearest in level, time and place, so a way is as exact as tokens are small.
"""

from __future__ import annotations

import numpy as np

from atmorep_lite.attention_maps.captured import AttentionCapture
from atmorep_lite.attention_maps.geometry import HOUR, follow, minimum_image, ways
from atmorep_lite.attention_maps.winds import Wind


def back_ways(
    capture: AttentionCapture,
    wind: Wind,
    level: np.ndarray,
    time: np.ndarray,
    place: np.ndarray,
    lag: np.ndarray,
    *,
    interval: float,
    steps: int,
) -> np.ndarray:
    """From places of arrival to where the wind came from, ``[arrival, departure, 2]``; NaN for no past.

    Parameters
    ----------
    level, time, place
        [arrival], [arrival] and [arrival, 2]: level, time as the capture counts it, and place.
    lag
        [arrival, departure] hours or frames to go back.
    interval
        On a plane, time units of the wind in one frame.
    steps
        1: straight along the great circle, x - u dt, with the wind on arrival.  More: so many such pieces,
        each with the wind where and when it begins (``wind.time`` nearest to that).
    """
    sphere = capture.geometry == "sphere"
    past = np.where(lag > 0, lag, np.nan)
    scale = 3.6 if sphere else interval  # m/s times h is 3.6 km
    levels = np.abs(np.asarray(wind.field.level, float) - level[:, None].astype(float)).argmin(1)[:, None]
    start = np.broadcast_to(place[:, None], (*lag.shape, 2))
    here = start
    for step in range(steps):
        gone = np.where(lag > 0, lag, 0.0) * step / steps
        now = time[:, None] - (gone * 3600e9).astype("timedelta64[ns]") if sphere else time[:, None] - gone
        speed = _wind_at(capture, wind, np.broadcast_to(levels, lag.shape), now, here)
        way = -speed * (scale * past / steps)[..., None]
        here = follow(capture, here, way)
    return way if steps == 1 else ways(capture, start, here)


def _wind_at(
    capture: AttentionCapture, wind: Wind, levels: np.ndarray, time: np.ndarray, place: np.ndarray
) -> np.ndarray:
    """(v, u) of the wind's token nearest in time and place, ``[..., 2]``."""
    field = wind.field
    stamps = field.time if wind.time is None else wind.time
    age = np.abs((stamps - time[..., None]) / (HOUR if capture.geometry == "sphere" else 1.0))
    period = (None, 360.0) if capture.geometry == "sphere" else capture.period or (None, None)
    rows, columns = (
        _nearest(centres, place[..., i], period[i])
        for i, centres in enumerate((field.latitude, field.longitude))
    )
    return np.stack((wind.v, wind.u), -1)[levels, age.argmin(-1), rows, columns]


def _nearest(centres: np.ndarray, wanted: np.ndarray, side: float | None) -> np.ndarray:
    """Index of the nearest centre; 0 where nothing is wanted (NaN)."""
    return np.abs(np.nan_to_num(minimum_image(centres - wanted[..., None], side))).argmin(-1)
