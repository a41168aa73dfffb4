"""Looking at every time of a record: which of them cannot be used, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from atmorep_lite.data.plausible import HUGE, PLAUSIBLE, SEA_ONLY
from atmorep_lite.data.quality import Finding, Kind, examine, one_variable, repaired, times_in_words
from atmorep_lite.fields import FIELDS


@dataclass(frozen=True)
class BadTime:
    """One time at which one field cannot be used, and why."""

    time: np.datetime64
    name: str
    kind: Kind
    words: str


def examine_all(dataset: xr.Dataset) -> list[Finding]:
    """As :func:`~atmorep_lite.data.quality.examine`, reading every time, piece by piece."""
    from atmorep_lite.data.moments import time_pieces

    found = examine(dataset)
    moving = [name for name, variable in dataset.data_vars.items() if "time" in variable.dims]
    if not moving:
        return found
    mended, rest = repaired(dataset, found)
    record = mended[[name for name in moving if np.issubdtype(mended[name].dtype, np.number)]]
    bad = [one for part in time_pieces(record, 128.0) for one in bad_times(record.isel(time=part).load())]
    bad = [one for one in bad if one.name not in SEA_ONLY or one.kind != "not finite"]
    always = [
        one for one in rest if one.kind in ("missing times", "repeated times") or one.name not in record
    ]
    return [one for one in found if one.repairable] + always + together(bad)


def bad_times(record: xr.Dataset, *, plausible: bool = True) -> list[BadTime]:
    """All times of a record in memory at which a field has NaN, fill values or impossible values.

    Parameters
    ----------
    record
        Canonical fields with time.
    plausible
        Look also for values that are finite but impossible (:data:`PLAUSIBLE`).
    """
    found = []
    for key, variable in record.data_vars.items():
        name = str(key)
        values = variable.transpose("time", ...).values.reshape(variable.sizes["time"], -1)
        low, high = values.min(1), values.max(1)  # NaN if there is one
        good = np.isfinite(low) & np.isfinite(high)
        if plausible and name in FIELDS:
            good &= (low >= -HUGE) & (high <= HUGE)
        if plausible and name in PLAUSIBLE:
            limits, mean = PLAUSIBLE[name], values.mean(1, dtype=np.float64)
            good &= (low >= limits.low) & (high <= limits.high)
            good &= (mean >= limits.mean_low) & (mean <= limits.mean_high)
        empty = np.isnan(values).all(1)
        found += [
            BadTime(time, name, "missing times", "no values") for time in variable["time"].values[empty]
        ]
        for index in np.flatnonzero(~good & ~empty):
            one = variable.isel(time=[index])
            mistakes = list(one_variable(name, one, everywhere=True))
            if name in SEA_ONLY:  # NaN are the land; told last, so that they hide nothing
                mistakes.sort(key=lambda mistake: mistake.kind == "not finite")
            mistake = mistakes[0]
            found.append(BadTime(one["time"].values[0], name, mistake.kind, mistake.words))
    return found


def together(bad: Iterable[BadTime]) -> list[Finding]:
    """One finding for each field and kind of mistake, with the number of times and the first."""
    groups: dict[tuple[str, Kind], list[BadTime]] = {}
    for one in bad:
        groups.setdefault((one.name, one.kind), []).append(one)
    return [
        Finding(
            kind,
            name,
            f"{'missing' if kind == 'missing times' else 'wrong'} at "
            f"{times_in_words(sorted(one.time for one in group))}: {group[0].words}",
        )
        for (name, kind), group in sorted(groups.items())
    ]
