"""Looking for mistakes in data before they become a model's mistakes.

:func:`examine` looks at everything and reports all it finds, each finding with its place; :func:`repaired`
mends what has one possible meaning only (degrees Celsius called kelvin, say) and says so; what remains is an
error, for :func:`refuse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS

Kind = Literal["missing times", "not finite", "fill values", "units", "upside down", "out of range"]


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


@dataclass(frozen=True)
class Plausible:
    """Limits that no value in the troposphere or stratosphere exceeds, and of its mean, SI units."""

    low: float
    high: float
    mean_low: float
    mean_high: float


_WIND = Plausible(-250.0, 250.0, -100.0, 100.0)
PLAUSIBLE = {
    "temperature": Plausible(150.0, 345.0, 180.0, 310.0),
    "2m_temperature": Plausible(170.0, 345.0, 200.0, 325.0),
    "sea_surface_temperature": Plausible(255.0, 320.0, 265.0, 310.0),
    "u_component_of_wind": _WIND,
    "v_component_of_wind": _WIND,
    "10m_u_component_of_wind": _WIND,
    "10m_v_component_of_wind": _WIND,
    "specific_humidity": Plausible(-1e-3, 0.05, 0.0, 0.03),
    "geopotential": Plausible(-1.5e4, 6e5, -5e3, 5.5e5),
    "vorticity": Plausible(-5e-3, 5e-3, -1e-4, 1e-4),
    "divergence": Plausible(-5e-3, 5e-3, -1e-4, 1e-4),
    "vertical_velocity": Plausible(-60.0, 60.0, -1.0, 1.0),
    "mean_sea_level_pressure": Plausible(8.4e4, 1.1e5, 9.6e4, 1.05e5),
    "surface_pressure": Plausible(4e4, 1.1e5, 5e4, 1.05e5),
    "total_precipitation": Plausible(-1e-4, 0.5, 0.0, 0.05),
}
#: Mistakes of units that are seen in practice: ``x_SI = factor * x + offset``, and what the values are.
MIX_UPS = {
    "temperature": ((1.0, 273.15, "degrees Celsius"),),
    "2m_temperature": ((1.0, 273.15, "degrees Celsius"),),
    "sea_surface_temperature": ((1.0, 273.15, "degrees Celsius"),),
    "mean_sea_level_pressure": ((100.0, 0.0, "hPa"),),
    "surface_pressure": ((100.0, 0.0, "hPa"),),
    "specific_humidity": ((1e-3, 0.0, "g kg-1"),),
}
FILL_VALUES = (9999.0, -9999.0, 999.0, -999.0, 99999.0, -99999.0, 32767.0, -32767.0, -32768.0)
HUGE = 1e12
SEA_ONLY = {"sea_surface_temperature", "sea_ice_cover"}  # missing over land


def examine(dataset: xr.Dataset, *, times: int | None = 12) -> list[Finding]:
    """All that looks wrong in a canonical dataset.

    Parameters
    ----------
    times
        How many time steps to read, spread over the record, first and last among them; None for all of them.
        Times are checked completely in any case.

    Returns
    -------
    Findings, empty if nothing looks wrong.
    """
    return [*_times(dataset), *_orientation(dataset), *_values(dataset, times)]


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


def refuse(findings: Sequence[Finding], *, origin: str = "the data") -> None:
    """Raise one error that tells all findings.

    Raises
    ------
    UserError
        If there are any.
    """
    if findings:
        told = "; ".join(f"{found.name}: {found.words}" for found in findings)
        raise UserError(f"{origin} cannot be used as they are. {told}. Mend this, or select what is sound")


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
    missing = int((np.round(steps[wide] / usual) - 1).sum())
    after = np.datetime_as_string(time[wide[0]], "m") if len(wide) else ""
    if missing:
        hours = usual / np.timedelta64(1, "h")
        yield Finding(
            "missing times",
            "time",
            f"{missing} of the {hours:g}-hourly times are missing, first after {after}",
        )
    narrow = np.flatnonzero(steps < usual)
    if len(narrow):
        at = np.datetime_as_string(time[narrow[0] + 1], "m")
        yield Finding(
            "missing times", "time", f"{len(narrow)} times lie between the regular ones, first {at}"
        )


def _orientation(dataset: xr.Dataset) -> Iterator[Finding]:
    """Antarctica is high and land, the Arctic is neither."""
    for name, least in (("geopotential_at_surface", 8000.0), ("land_sea_mask", 0.5)):
        if name not in dataset or not {"latitude", "longitude"} <= set(dataset[name].dims):
            continue
        zonal = dataset[name].mean([d for d in dataset[name].dims if d != "latitude"]).load()
        north, south = (zonal.where(sign * zonal["latitude"] > 80).mean().item() for sign in (1, -1))
        if np.isfinite(north) and np.isfinite(south) and north - south > least:
            yield Finding(
                "upside down",
                "latitude",
                f"south and north are swapped, for {name} shows Antarctica in the north",
            )
            return


def _values(dataset: xr.Dataset, times: int | None) -> Iterator[Finding]:
    for key, variable in sorted(dataset.data_vars.items()):
        name = str(key)
        if not np.issubdtype(variable.dtype, np.number):
            continue
        if "time" in variable.dims and times is not None:
            count = variable.sizes["time"]
            chosen = np.unique(np.linspace(0, count - 1, min(times, count)).round().astype(int))
            variable = variable.isel(time=chosen)
        yield from _one_variable(name, variable.load())


def _one_variable(name: str, variable: xr.DataArray) -> Iterator[Finding]:
    values = variable.values
    bad = ~np.isfinite(values)
    if bad.any() and name not in SEA_ONLY:
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
