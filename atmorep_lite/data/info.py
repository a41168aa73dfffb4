"""What a dataset holds, in one screen or as JSON, and what a configuration would miss in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
import zarr

from atmorep_lite.config import ModelConfig
from atmorep_lite.data.derive import SOURCES, with_derived
from atmorep_lite.data.opening import open_dataset
from atmorep_lite.data.prepared import is_prepared, open_prepared
from atmorep_lite.data.quality import examine
from atmorep_lite.data.sampling import is_global
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS
from atmorep_lite.layout import is_simulated

STATISTICS = ("min", "mean", "max")

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType


def describe_dataset(dataset: xr.Dataset, *, times: int | None = 4) -> dict[str, Any]:
    """What is there, in plain types that JSON can hold.

    Parameters
    ----------
    times
        How many time steps to read for the statistics and the search for mistakes; None for all.
    """
    latitude, longitude = dataset["latitude"].values, dataset["longitude"].values
    found: dict[str, Any] = {
        "grid": {
            "latitude": {"points": len(latitude), "from": float(latitude[0]), "to": float(latitude[-1])},
            "longitude": {"points": len(longitude), "from": float(longitude[0]), "to": float(longitude[-1])},
            "global": bool(is_global(longitude)),
        },
        "simulated": is_simulated(dataset),
        "megabytes": sum(v.nbytes for v in dataset.data_vars.values()) / 1e6,
    }
    if "time" in dataset.dims:
        time = dataset["time"].values
        found["time"] = {
            "steps": len(time),
            "from": str(time[0])[:16],
            "to": str(time[-1])[:16],
            "hours": _spacing(time),
        }
    if "level" in dataset.dims:
        kind = "model level" if dataset["level"].attrs.get("level_type") == "model" else "hPa"
        found["levels"] = {"kind": kind, "values": [float(level) for level in dataset["level"].values]}
    few = dataset
    if "time" in dataset.dims and times is not None:
        count = dataset.sizes["time"]
        few = dataset.isel(time=np.unique(np.linspace(0, count - 1, min(times, count)).round().astype(int)))
    found["fields"] = {}
    for name, variable in sorted(few.data_vars.items()):
        if not np.issubdtype(variable.dtype, np.number):
            continue
        found["fields"][str(name)] = {
            "units": str(variable.attrs.get("units", "")),
            "dims": [str(dim) for dim in variable.dims],
            "known": str(name) in FIELDS,
        }
        if times != 0:
            numbers = (variable.min(), variable.mean(dtype=np.float64), variable.max())
            computed = xr.merge([n.rename(k) for k, n in zip(STATISTICS, numbers, strict=True)]).compute()
            found["fields"][str(name)] |= {k: float(computed[k]) for k in STATISTICS}
    found["findings"] = [
        {"kind": f.kind, "name": f.name, "words": f.words, "repairable": f.repairable}
        for f in examine(dataset, times=times)
    ]
    found["mended"] = [dataset.attrs["repaired"]] if "repaired" in dataset.attrs else []
    found["times_read"] = few.sizes.get("time", 0) if times is None or times else 0
    return found


def _spacing(time: np.ndarray) -> float | None:
    """Hours between times; None where that differs, or for a single time."""
    steps = np.unique(np.diff(time))
    return float(steps[0] / np.timedelta64(1, "h")) if len(steps) == 1 else None


def missing_for(dataset: xr.Dataset, model: ModelConfig) -> list[str]:
    """What a model needs and the data lack, in sentences; empty if nothing."""
    lacking = []
    available = with_derived(dataset.isel(time=slice(0, 1)) if "time" in dataset.dims else dataset, SOURCES)
    for field in model.fields:
        if field.name not in available:
            lacking.append(f"{field.name} is missing")
            continue
        levels = np.atleast_1d(available[field.name].coords.get("level", np.zeros(1)))
        absent = [f"{level:g}" for level in field.levels if level not in levels]
        if absent and field.levels != (0,):
            lacking.append(f"{field.name} is missing on level {', '.join(absent)}")
    needed = dict(zip(("time", "latitude", "longitude"), model.extent, strict=True))
    for axis, count in needed.items():
        if dataset.sizes.get(axis, 0) < count:
            lacking.append(f"{axis} has {dataset.sizes.get(axis, 0)} points, a neighbourhood needs {count}")
    return lacking


def report(
    path: str | os.PathLike[str],
    model: ModelConfig | None = None,
    *,
    times: int | None = 4,
    picture: Path | None = None,
) -> dict[str, Any]:
    """Open data and describe them.

    Parameters
    ----------
    model
        Say also what they lack for it (``missing``).
    times
        As for :func:`describe_dataset`; of a store behind an address nothing is read.
    picture
        Draw :func:`first_map` to this file (``picture`` in the report).
    """
    if is_prepared(path):
        marks = zarr.open_group(path, mode="r").attrs
        found = {"path": os.fspath(path), "prepared": marks["prepared"], "complete": "complete" in marks}
        dataset = open_prepared(path) if found["complete"] else None
        if dataset is not None:
            found |= describe_dataset(dataset, times=0)
    else:
        dataset = open_dataset(path, leave_out_conflicts=True)
        remote = "://" in os.fspath(path)
        found = {"path": os.fspath(path), **describe_dataset(dataset, times=0 if remote else times)}
    if model is not None and dataset is not None:
        found["missing"] = missing_for(dataset, model)
    if picture is not None and dataset is not None:
        from atmorep_lite.figures import save_figure

        found["picture"] = os.fspath(save_figure(first_map(dataset), picture))
    return found


def first_map(dataset: xr.Dataset) -> Figure:
    """A quick look: the first known field of a dataset at its first time and lowest level.

    Raises
    ------
    UserError
        If the dataset has no field on a grid.
    """
    from atmorep_lite.plotting import map_field

    for name in sorted(dataset.data_vars, key=lambda key: (str(key) not in FIELDS, str(key))):
        variable = dataset[name]
        if {"latitude", "longitude"} <= set(variable.dims) and min(variable.shape) > 0:
            picked = {d: 0 for d in variable.dims if d not in ("latitude", "longitude", "level")}
            shown = variable.isel(picked | ({"level": -1} if "level" in variable.dims else {}))
            return cast("Figure", map_field(shown.load(), simulated=is_simulated(dataset)).figure)
    raise UserError("the dataset has no field with latitude and longitude to draw")


def screen(found: dict[str, Any]) -> list[RenderableType]:
    """A report as text and a table for the terminal."""
    from rich.markup import escape
    from rich.table import Table

    plan = found.get("prepared")
    if plan is not None and not found["complete"]:
        return [
            f"[bold]{escape(found['path'])}[/bold], prepared for training, not complete: "
            "run the same `data prepare` again"
        ]
    grid = found["grid"]
    lines = [f"[bold]{escape(found['path'])}[/bold]" + (", simulated" if found["simulated"] else "")]
    if plan is not None:
        left_out = ", without times that were missing or wrong" if plan.get("skip_bad") else ""
        lines.append(f"prepared   for training, complete, normalised: {plan['kind']}{left_out}")
    if "time" in found:
        time = found["time"]
        irregular = ", not equally spaced" if time["steps"] > 1 else ""
        spacing = irregular if time["hours"] is None else f", every {time['hours']:g} h"
        lines.append(f"time       {time['steps']:,} steps, {time['from']} to {time['to']}{spacing}")
    for axis in ("latitude", "longitude"):
        span = grid[axis]
        # in memory, a region across 0 degrees runs on beyond 360
        first, last = (v - 360 if axis == "longitude" and v >= 360 else v for v in (span["from"], span["to"]))
        lines.append(f"{axis:10} {span['points']} points, {first:g} to {last:g}")
    if "levels" in found:
        values = found["levels"]["values"]
        lines.append(f"levels     {', '.join(f'{v:g}' for v in values)} ({found['levels']['kind']})")
    lines.append(
        f"size       {found['megabytes']:,.0f} MB in memory, {'global' if grid['global'] else 'regional'}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("field", "units", *STATISTICS, "axes"):
        right = title in STATISTICS
        table.add_column(
            title, justify="right" if right else "left", no_wrap=title != "field", overflow="fold"
        )
    for name, field in found["fields"].items():
        numbers = (f"{field[k]:.4g}" if k in field else "" for k in STATISTICS)
        axes = [dim for dim in field["dims"] if dim not in ("latitude", "longitude")]
        known = escape(name) if field["known"] else f"[dim]{escape(name)} (unknown)[/dim]"
        table.add_row(known, field["units"], *numbers, " x ".join(axes) or "map")
    blocks: list[RenderableType] = ["\n".join(lines), table]
    findings = [f"mended: {escape(words)}" for words in found["mended"]]
    findings += [
        f"{'can be mended' if f['repairable'] else 'mistake'}: {escape(f['name'])}: {escape(f['words'])}"
        for f in found["findings"]
    ]
    read = found["times_read"]
    sound = f"Nothing looks wrong in the {read:,} time steps read." if read else "No values were read."
    blocks.append("\n".join(findings) or sound)
    if "missing" in found:
        blocks.append("\n".join(found["missing"]) or "Nothing is missing for this configuration.")
    return blocks
