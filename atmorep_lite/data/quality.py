"""Looking for mistakes in data before they become a model's mistakes.

:func:`examine` looks at everything and reports all it finds, each finding with its place; :func:`repaired`
mends what has one possible meaning only (degrees Celsius called kelvin, say) and says so; what remains is an
error, for :func:`refuse`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from atmorep_lite.data.plausible import (
    FILL_VALUES,
    HUGE,
    LOWER_TROPOSPHERE,
    MIX_UPS,
    PLAUSIBLE,
    POLES,
    SEA_ONLY,
    Plausible,
)
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS

Kind = Literal[
    "missing times", "repeated times", "not finite", "fill values", "units", "upside down", "out of range"
]
#: Attribute of a dataset in which opening leaves what it found: JSON, a list of ``[kind, name, words]``.
FOUND = "found_on_opening"


@dataclass(frozen=True)
class Finding:
    """One mistake: what kind, in which variable or axis, in words where; and how to mend it if that is clear.

    ``factor`` and ``offset`` turn the values into what they should be: ``factor * x + offset``.
    """

    kind: Kind
    name: str
    words: str
    factor: float | None = None
    offset: float = 0.0

    @property
    def repairable(self) -> bool:
        """Whether there is one possible meaning only."""
        return self.factor is not None or self.kind == "upside down"


def examine(dataset: xr.Dataset, *, times: int | None = 12) -> list[Finding]:
    """All that looks wrong in a canonical dataset.

    Parameters
    ----------
    times
        How many time steps to read, spread over the record, first and last among them; None for all of them,
        piece by piece; 0 for none.  Times are checked completely in any case.

    Returns
    -------
    Findings, empty if nothing looks wrong.
    """
    if times is None:
        from atmorep_lite.data.bad_times import examine_all

        return examine_all(dataset)
    told = [Finding(*found) for found in json.loads(dataset.attrs.get(FOUND, "[]"))]
    if times == 0:
        return [*told, *_times(dataset)]
    return [*told, *_times(dataset), *_orientation(dataset, times), *_values(dataset, times)]


def times_in_words(times: Sequence[np.datetime64] | np.ndarray, most: int = 4) -> str:
    """``2 times, 2001-01-01T03:00 and 2001-01-02T06:00``."""
    shown = [str(np.datetime_as_string(time, "m")) for time in times[:most]]
    more = f" and {len(times) - most} more" if len(times) > most else ""
    return f"{len(times)} time{'s' if len(times) > 1 else ''} ({', '.join(shown)}{more})"


def repaired(dataset: xr.Dataset, findings: Iterable[Finding]) -> tuple[xr.Dataset, list[Finding]]:
    """The dataset with all mended that can be, lazily, and the findings that remain.

    What was done is added to the attribute ``repaired`` of the variable or dataset.
    """
    rest = []
    for found in findings:
        if found.kind == "upside down":
            turned = dataset.isel(latitude=slice(None, None, -1)).assign_coords(latitude=dataset["latitude"])
            dataset = turned.assign_attrs(repaired=found.words)
        elif found.factor is not None:
            variable = dataset[found.name]
            mended = variable * np.float32(found.factor) + np.float32(found.offset)
            mended.attrs = variable.attrs | {"repaired": found.words}
            dataset = dataset.assign({found.name: mended})
        else:
            rest.append(found)
    return dataset, rest


def refuse(findings: Sequence[Finding], *, origin: str = "the data", advice: str = "") -> None:
    """Raise one error that tells all findings, and further advice.

    Raises
    ------
    UserError
        If there are any.
    """
    if findings:
        told = "; ".join(f"{found.name}: {found.words}" for found in findings)
        todo = (
            f"Mend this, select what is sound, {advice}" if advice else "Mend this, or select what is sound"
        )
        raise UserError(f"{origin} cannot be used as they are. {told}. {todo}")


def regular_times(time: np.ndarray) -> np.ndarray:
    """Equally spaced times from the first to the last, at the most frequent step."""
    if len(time) < 3:
        return time
    kinds, counts = np.unique(np.diff(time), return_counts=True)
    step = kinds[counts.argmax()]
    return np.arange(time[0], time[-1] + step // 2, step)


def _times(dataset: xr.Dataset) -> Iterator[Finding]:
    if "time" not in dataset.dims or dataset.sizes["time"] < 3:
        return
    time = dataset["time"].values
    steps = np.diff(time)
    days = steps / np.timedelta64(1, "D")
    if days.min() >= 28 and days.max() <= 31:  # months
        return
    kinds, counts = np.unique(steps, return_counts=True)
    usual = kinds[counts.argmax()]
    if "prediction_timedelta" in dataset.dims or (steps == usual).all():
        return
    wide = np.flatnonzero(steps > usual)
    lengths = np.round(steps[wide] / usual).astype(int) - 1
    missing = int(lengths.sum())
    if missing:
        gaps = [
            f"{n} after {np.datetime_as_string(time[k], 'm')}" for n, k in zip(lengths, wide, strict=True)
        ]
        more = f" and {len(gaps) - 4} more gaps" if len(gaps) > 4 else ""
        hours = usual / np.timedelta64(1, "h")
        yield Finding(
            "missing times",
            "time",
            f"{missing} of the {hours:g}-hourly times are missing ({', '.join(gaps[:4])}{more})",
        )
    narrow = np.flatnonzero(steps < usual)
    if len(narrow):
        yield Finding(
            "missing times",
            "time",
            f"{times_in_words(time[narrow + 1])} lie between the regular ones",
        )


def _orientation(dataset: xr.Dataset, times: int | None) -> Iterator[Finding]:
    for name, least, seen in POLES:
        if name not in dataset or not {"latitude", "longitude"} <= set(dataset[name].dims):
            continue
        variable = _few_times(dataset[name], times)
        if "level" in variable.dims:
            variable = variable.isel(level=-1)
            if variable["level"] < LOWER_TROPOSPHERE.get(dataset["level"].attrs.get("level_type"), np.inf):
                continue
        zonal = variable.load().median("longitude")  # which a few wrong values do not change
        north, south = (zonal.where(sign * zonal["latitude"] > 80).mean("latitude") for sign in (1, -1))
        more = float(((north - south) * np.sign(least)).max())
        if abs(least) < more < 10 * abs(least):
            yield Finding(
                "upside down",
                "latitude",
                f"south and north are swapped, for {name} shows {seen} in the north",
            )
            return


def _few_times(variable: xr.DataArray, times: int | None) -> xr.DataArray:
    """So many times spread over the record, first and last among them; None for all."""
    if "time" not in variable.dims or times is None:
        return variable
    count = variable.sizes["time"]
    return variable.isel(time=np.unique(np.linspace(0, count - 1, min(times, count)).round().astype(int)))


def _values(dataset: xr.Dataset, times: int | None) -> Iterator[Finding]:
    for key, variable in sorted(dataset.data_vars.items()):
        name = str(key)
        if not np.issubdtype(variable.dtype, np.number):
            continue
        yield from one_variable(name, _few_times(variable, times).load())


def one_variable(name: str, variable: xr.DataArray, *, everywhere: bool = False) -> Iterator[Finding]:
    """Findings in one variable in memory; ``everywhere``: fields of the sea must have values on land too."""
    values = variable.values
    bad = ~np.isfinite(values)
    if bad.any() and (everywhere or name not in SEA_ONLY):
        yield Finding("not finite", name, f"{_share(bad)} are NaN or infinite, first {_place(variable, bad)}")
    filled = np.abs(np.where(bad, 0.0, values)) > HUGE
    low, high = (PLAUSIBLE[name].low, PLAUSIBLE[name].high) if name in PLAUSIBLE else (-np.inf, np.inf)
    for fill in FILL_VALUES:
        if not low <= fill <= high:
            filled |= values == np.float32(fill)
    if filled.any() and name in FIELDS:
        example = values[filled][0]
        yield Finding(
            "fill values",
            name,
            f"{_share(filled)} are fill values ({example:g}), first {_place(variable, filled)}",
        )
    sound = ~(bad | (filled if name in FIELDS else np.zeros_like(bad)))
    if name not in PLAUSIBLE or not sound.any():
        return
    limits = PLAUSIBLE[name]
    if not _fits(values[sound], limits):
        yield _mix_up(name, variable, sound, limits)


def _fits(values: np.ndarray, limits: Plausible) -> bool:
    within = limits.low <= values.min() and values.max() <= limits.high
    return bool(within and limits.mean_low <= values.mean(dtype=np.float64) <= limits.mean_high)


def _mix_up(name: str, variable: xr.DataArray, sound: np.ndarray, limits: Plausible) -> Finding:
    values = variable.values
    units = FIELDS[name].units
    for factor, offset, really in MIX_UPS.get(name, ()):
        if _fits(factor * values[sound] + offset, limits):
            span = f"{values[sound].min():.4g} to {values[sound].max():.4g}"
            return Finding("units", name, f"the values ({span}) are {really}, not {units}", factor, offset)
    beyond = sound & ((values < limits.low) | (values > limits.high))
    if beyond.any():
        return Finding(
            "out of range",
            name,
            f"{_share(beyond)} lie outside {limits.low:g} to {limits.high:g} {units} (such as "
            f"{values[beyond][0]:.4g}), first {_place(variable, beyond)}",
        )
    mean = values[sound].mean(dtype=np.float64)
    expected = f"{limits.mean_low:g} to {limits.mean_high:g} {units}"
    return Finding("out of range", name, f"the mean is {mean:.4g}; expected {expected}")


def _share(bad: np.ndarray) -> str:
    return f"{int(bad.sum())} of the {bad.size} values read"


def _place(variable: xr.DataArray, bad: np.ndarray) -> str:
    """Coordinates of the first one, in words."""
    at = dict(zip(variable.dims, np.unravel_index(int(bad.argmax()), bad.shape), strict=True))
    words = []
    for axis, index in at.items():
        if axis not in variable.coords:
            continue
        value = variable[axis].values[index]
        if variable[axis].dtype.kind == "M":
            words.append(f"at {np.datetime_as_string(value, 'm')}")
        elif axis == "level":
            words.append(f"level {value:g}")
        elif axis in ("latitude", "longitude"):
            words.append(f"{axis} {value:g}")
    return ", ".join(words) or "in the file"
