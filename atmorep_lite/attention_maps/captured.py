"""What a model attended with in one forward pass, and where and when its tokens are.

Token order everywhere: C order of (level, time, latitude, longitude). Self-attention heads and coupling
heads are separate softmaxes.

A capture lies on the sphere or on a plane. On a plane ``latitude`` holds y and ``longitude`` holds x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from atmorep_lite.errors import UserError


@dataclass(frozen=True)
class CapturedField:
    """The tokens of one field: where and when they are, what they hold, which of them were hidden.

    On a plane (see :class:`AttentionCapture`) places are y and x, and times are frames.

    Parameters
    ----------
    name
        Canonical field name.
    level
        [level] hPa; on a plane any numbers, [0] where there is one level.
    time
        [time] datetime64, centre time of each token slot; on a plane floats, frames relative to the newest
        frame that the model saw, such as (-2, -1, 0).
    latitude
        [latitude] token centres in degrees north, north to south; on a plane y, ascending.
    longitude
        [longitude] token centres in degrees east, ascending; may run past 360, never wrapped; on a plane x.
    token_size
        Extent of one token (degrees latitude, degrees longitude); on a plane (y, x) in the box's units.
    position
        [token, coordinate] scaled positions used by the locality bias.
    values
        [level, time, latitude * values per token, longitude * values per token] physical values at the last
        time step of each token slot: what the model was shown or, where the token was hidden, its
        prediction; NaN where it was hidden and the model does not predict the field.
    mask
        [level, time, latitude, longitude] True where the token was hidden from the model.
    units
        Units of ``values``.
    error
        As ``values``: prediction minus truth where the token was hidden and the data hold the truth, NaN
        elsewhere.  None where nothing is known of it.  It is the error of this one neighbourhood: towards its
        edges, beyond which the model sees nothing, larger than that of
        :func:`~atmorep_lite.applications.forecast`, which joins overlapping neighbourhoods.
    value_time
        [time] datetime64 that ``values`` and ``error`` are of, the last step of each slot; None where that is
        ``time``.
    """

    name: str
    level: np.ndarray
    time: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    token_size: tuple[float, float]
    position: np.ndarray
    values: np.ndarray
    mask: np.ndarray
    units: str
    error: np.ndarray | None = None
    value_time: np.ndarray | None = None


@dataclass(frozen=True)
class CapturedPair:
    """One family of softmaxes: queries of one field, keys of one field (the same: self; another: coupling).

    Parameters
    ----------
    query_field, key_field
        Canonical field names.
    q
        [layer, head, query, channel] as they enter the dot product, after normalisation.
    k
        [layer, head, key, channel] likewise.
    slope
        [layer, head] slope of the locality bias; 0 where there is none.
    stage
        "encoder".
    """

    query_field: str
    key_field: str
    q: np.ndarray
    k: np.ndarray
    slope: np.ndarray
    stage: str


@dataclass(frozen=True)
class AttentionCapture:
    """Every field and every pair of one forward pass.

    Parameters
    ----------
    fields
        The tokens of each field.
    pairs
        Queries and keys, keyed by (query field, key field).
    geometry
        "sphere": places are degrees, times dates, levels hPa.  "plane": ``latitude`` and ``longitude`` of the
        fields hold y and x, ascending, in the box's own units; times are floats, frames relative to the
        newest frame that the model saw.
    period
        Size (y, x) of a periodic box in its units; None where the plane has edges, and on the sphere.
    """

    fields: dict[str, CapturedField]
    pairs: dict[tuple[str, str], CapturedPair]
    geometry: Literal["sphere", "plane"] = "sphere"
    period: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.geometry not in ("sphere", "plane"):
            raise UserError(f"the geometry of a capture is {self.geometry!r}; choose 'sphere' or 'plane'")
        if self.period is not None and (self.geometry == "sphere" or not min(self.period) > 0):
            raise UserError(
                f"the period {self.period} does not fit: a plane takes two positive sizes (y, x) or None, "
                "the sphere None"
            )


def check_same_tokens(
    capture: AttentionCapture, other: AttentionCapture, *, other_dates: bool = False
) -> None:
    """Raise ``UserError`` unless two captures hold the same tokens.

    Parameters
    ----------
    other_dates
        The times of ``other`` may be later or earlier, all by the same.
    """

    def refuse(what: str) -> UserError:
        return UserError(
            f"the captures differ in {what}, so their tokens are not the same; capture the same place"
            f"{'' if other_dates else ' and time'} with the same configuration"
        )

    if (capture.geometry, capture.period) != (other.geometry, other.period):
        raise refuse("their geometry")
    if list(capture.fields) != list(other.fields):
        raise refuse("their fields")
    for name, field in capture.fields.items():
        theirs = other.fields[name]
        for axis in ("level", "latitude", "longitude", "position"):
            ours, others = np.asarray(getattr(field, axis)), np.asarray(getattr(theirs, axis))
            if ours.shape != others.shape or not np.allclose(ours, others, rtol=1e-5, atol=1e-4):
                raise refuse(f"the {axis} of {name}")
        first = next(iter(capture.fields.values())).time[0], next(iter(other.fields.values())).time[0]
        start = first if other_dates else (first[0], first[0])
        if len(field.time) != len(theirs.time) or (field.time - start[0] != theirs.time - start[1]).any():
            raise refuse(f"the times of {name}")
