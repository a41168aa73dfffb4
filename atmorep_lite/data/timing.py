"""Times of data against each other: one time step for a model's whole life, and nothing validated on what
was learned from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError

#: Attribute of a model's statistics (and so of its file ``normalization.nc``).
ATTRIBUTE = "time_step_hours"


def time_step(time: np.ndarray) -> float:
    """Hours between equally spaced times.

    Raises
    ------
    UserError
        If they are not equally spaced, or a single one.
    """
    if len(time) < 2:
        raise UserError(
            f"the data have {len(time)} points in time, so their time step is not known; use more"
        )
    spacing = np.diff(time)
    if (spacing != spacing[0]).any():
        raise UserError(
            "the time steps of the data are not equally spaced; select a gap-free period, or prepare them "
            "with `atmorep-lite data prepare --skip-bad`"
        )
    return float(spacing[0] / np.timedelta64(1, "h"))


def with_time_step(normalizer: Normalizer, time: np.ndarray) -> Normalizer:
    """The statistics of data with these times, which remember the time step.

    A network counts steps, not hours: at another step the same weights mean something else.

    Raises
    ------
    UserError
        If they remember another one.
    """
    check_time_step(normalizer, time)
    return replace(normalizer, mean=normalizer.mean.assign_attrs({ATTRIBUTE: time_step(time)}))


def known_time_step(normalizer: Normalizer) -> float | None:
    """The time step in hours that statistics remember; None of such as were never trained with."""
    found = normalizer.mean.attrs.get(ATTRIBUTE)
    return None if found is None else float(found)


def check_time_step(normalizer: Normalizer, time: np.ndarray) -> None:
    """Refuse data with another time step than that of a model's training data.

    Raises
    ------
    UserError
        It names both.
    """
    known, found = known_time_step(normalizer), time_step(time)
    if known is not None and abs(known - found) > 1e-6:
        raise UserError(
            f"the model was trained on data with a time step of {known:g} h, but these have one of {found:g} "
            "h; use data with the model's time step, or train a model on these"
        )


def shared_times(training: np.ndarray, validation: np.ndarray) -> str | None:
    """A sentence if there are times in both, else None.

    Only times are compared: two simulations may share them and yet be independent.
    """
    both = np.intersect1d(training, validation)
    if not len(both):
        return None
    first, last = (str(t)[:16] for t in (both[0], both[-1]))
    return (
        f"{len(both)} of the {len(validation)} times of the validation data are training data too, from "
        f"{first} to {last}, so the validation error there is no error on unseen data; set "
        "data.train_period and data.validation_period apart unless these are different simulations"
    )
