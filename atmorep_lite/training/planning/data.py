"""The data of a planned run: what is there, what is missing, how much is read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from atmorep_lite.config import Config
from atmorep_lite.data.info import missing_for
from atmorep_lite.data.source import open_source
from atmorep_lite.data.timing import shared_times, time_step
from atmorep_lite.errors import UserError


@dataclass(frozen=True)
class Data:
    """A record: what is there, or (not ``usable``) the sentence that says what is wrong.

    ``windows`` is the number of times at which a neighbourhood can begin.
    """

    role: str
    source: str
    words: str
    usable: bool
    windows: int = 0
    bytes_in_memory: float = 0.0


def look_at_data(config: Config) -> tuple[tuple[Data, ...], list[str]]:
    """Both records as far as they are there, and a warning if they share times."""
    opened: dict[str, xr.Dataset] = {}
    found = []
    wanted = (
        ("training", config.data.train, config.data.train_period),
        ("validation", config.data.validation, config.data.validation_period),
    )
    for role, source, period in wanted:
        try:
            dataset = open_source(source, period)
            lacking = missing_for(dataset, config.model)
        except UserError as error:
            found.append(Data(role, source, str(error), usable=False))
            continue
        if lacking:
            found.append(Data(role, source, f"in {source}, {'; '.join(lacking)}", usable=False))
            continue
        opened[role] = dataset
        found.append(_describe(role, source, dataset, config))
    warnings = []
    if len(opened) == 2:
        shared = shared_times(*(opened[role]["time"].values for role in ("training", "validation")))
        warnings = [] if shared is None else [shared]
        told = [_grid(opened[role]) for role in ("training", "validation")]
        if told[0] != told[1]:
            found[1] = replace(
                found[1],
                words=f"they come {told[1]}, the training data {told[0]}; bring them together",
                usable=False,
            )
    return tuple(found), warnings


def _grid(dataset: xr.Dataset) -> str:
    """Time step and grid, in words."""
    hours = time_step(dataset["time"].values) if dataset.sizes["time"] > 1 else 0.0
    return f"every {hours:g} h on {dataset.sizes['latitude']} x {dataset.sizes['longitude']} points"


def _describe(role: str, source: str, dataset: xr.Dataset, config: Config) -> Data:
    time = dataset["time"].values
    hours = time_step(time) if len(time) > 1 else 0.0
    rows, columns = dataset.sizes["latitude"], dataset.sizes["longitude"]
    prepared = "prepared" in dataset.attrs
    words = (
        f"{len(time):,} times from {str(time[0])[:13]} to {str(time[-1])[:13]}, every {hours:g} h, "
        f"{rows} x {columns} points, {'prepared' if prepared else 'read into memory'}"
    )
    levels = sum(len(f.levels) for f in config.model.fields)
    size = 0.0 if prepared else 4.0 * levels * len(time) * rows * columns
    return Data(role, source, words, True, len(time) - config.model.extent[0] + 1, size)


def bytes_per_sample(config: Config) -> float:
    """What a sample reads from a prepared store, 2 bytes a value."""
    return sum(
        2.0 * len(f.levels) * float(np.prod((f if f.context is None else f.context).extent))
        for f in config.model.fields
    )
