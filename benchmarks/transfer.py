"""Starting from the shipped model against starting from scratch, at the same small budget.

Run as ``python benchmarks/transfer.py [TASK ...]``; about half a minute a line on an idle core.  Every task
trains twice or more on the first ``DAYS`` days of the shipped record, on neighbourhoods of a quarter of the
shipped model's area: the convolutions for ``SKIP`` steps and the transformer for ``TRANSFORMER``, from
weights drawn at random (with the rates of the preset ``demo``) and from the shipped model (with a third of
them, or all).  Then forecasts of the last two thirds of a neighbourhood (24 h; 48 h where the time step is
6 h) of the held-out record ``test`` are scored: root mean square error of the ensemble mean, divided by that
of persistence, mean over fields and levels.  The column "untrained" is the model as it starts.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

import atmorep_lite as ar
from atmorep_lite.config import Config, load_config
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model.fill import fill_in_time
from atmorep_lite.tokens import detokenize, spread_over_token
from atmorep_lite.training.loop import train
from atmorep_lite.training.optimizer import trainable
from atmorep_lite.training.step import hide
from atmorep_lite.training.tuning.freeze import held
from atmorep_lite.training.tuning.lora import adapt
from atmorep_lite.transfer import start_model
from atmorep_lite.transfer_statistics import fill_departures

SKIP, TRANSFORMER = 30, 20
DAYS, PLACES = 100, 16
SMALL = {"num_tokens": (3, 4, 8)}

Change = Callable[[xr.Dataset], xr.Dataset]


def same(record: xr.Dataset) -> xr.Dataset:
    """The record as it is."""
    return record


def region(record: xr.Dataset) -> xr.Dataset:
    """From 3 to 76 degrees north and 0 to 174 degrees east: 14 of 32 rows, 32 of 64 columns."""
    return record.isel(latitude=slice(2, 16), longitude=slice(0, 32))


def coarse(record: xr.Dataset) -> xr.Dataset:
    """Means over 2 x 2 points: a grid of 11.25 degrees."""
    return record.coarsen(latitude=2, longitude=2).mean()


def six_hourly(record: xr.Dataset) -> xr.Dataset:
    """Every second time."""
    return record.isel(time=slice(None, None, 2))


def demo(change: dict[str, Any], new: dict[str, Any] | None = None) -> dict[str, Any]:
    """The shipped model with a quarter of its tokens and a ``change`` of all fields.

    Temperature listens to a ``new`` field.
    """
    model = ar.AtmoRep.from_pretrained("demo").config.model_dump(mode="json")
    fields = [each | SMALL | change for each in model["fields"]]
    if new is not None:
        temperature = next(each for each in fields if each["name"] == "temperature")
        temperature["coupled_to"] = [*temperature["coupled_to"], new["name"]]
        fields.append(fields[0] | new)
    return model | {"fields": fields}


@dataclass(frozen=True)
class Task:
    """A model to make from the shipped one, and the record to make it on.

    ``scored``: the field or level whose variables are scored (all if empty).  ``starts``: ways to start from
    the shipped model, as changes of the configuration's part ``training`` and of ``training.start``.
    """

    model: dict[str, Any]
    record: Change = same
    scored: str = ""
    new_fields: tuple[str, ...] = ()
    starts: dict[str, dict[str, Any]] = field(default_factory=lambda: {"carry": {}})


REFIT: dict[str, Any] = {"statistics": "refit"}
NEW: dict[str, dict[str, Any]] = {"carry": {}, "carry, full rates": {"rate": 3e-3}}
HEIGHT = {"name": "geopotential", "coupled_to": ["temperature", "u_component_of_wind", "v_component_of_wind"]}
REGION: dict[str, dict[str, Any]] = {
    "carry": {},
    "refit": REFIT,
    "carry, convolutions frozen": {"freeze": ["grid_skip.*"]},
    "carry, corrections of rank 8": {"lora": {"rank": 8}},
}
TASKS = {
    "new level, behind": Task(demo({"levels": [500, 850, 700]}), scored="700", starts=NEW),
    "new level, between": Task(demo({"levels": [500, 700, 850]}), scored="700", starts=NEW),
    "new field": Task(demo({}, HEIGHT), scored="geopotential", new_fields=("geopotential",), starts=NEW),
    "fewer tokens": Task(demo({})),
    "region": Task(demo({}), region, starts=REGION),
    "coarser grid": Task(demo({}), coarse, starts={"refit": REFIT}),
    "time step of 6 h": Task(demo({}), six_hourly, starts={"refit": REFIT}),
}


def main() -> None:
    """Run the tasks that are named, or all, and print the table."""
    warnings.simplefilter("ignore")
    chosen = sys.argv[1:] or list(TASKS)
    rows = [row for name in chosen for row in results(name, TASKS[name])]
    print(pd.DataFrame(rows).to_string(index=False))


def results(name: str, task: Task) -> list[dict[str, Any]]:
    """All runs of one task."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        names = [each["name"] for each in task.model["fields"]]
        for part in ("train", "test"):
            record = ar.open_sample(part)[[*names, "land_sea_mask", "geopotential_at_surface"]]
            record = record.isel(time=slice(0, 8 * DAYS))
            task.record(record).load().drop_encoding().to_zarr(f"{folder}/{part}.zarr")
        truth = ar.open_dataset(f"{folder}/test.zarr")
        for label, settings in {"scratch": None, **task.starts}.items():
            config = configure(task, folder, settings)
            started = time.monotonic()
            trained = train(config, Path(folder) / label)
            seconds = time.monotonic() - started
            assert trained is not None
            after = errors(trained, truth)
            before = after * np.nan if settings is None else errors(untrained(config, trained), truth)
            chosen = [task.scored in (*variable, "") for variable in after.index]
            rows.append(
                {
                    "task": name,
                    "start": label,
                    "untrained": round(before[chosen].mean(), 3),
                    "trained": round(after[chosen].mean(), 3),
                    "all variables": round(after.mean(), 3),
                    "numbers learnt": learnt(config),
                    "seconds": round(seconds),
                }
            )
            print(rows[-1], file=sys.stderr)
    return rows


def configure(task: Task, folder: str, settings: dict[str, Any] | None) -> Config:
    """The run: the same stages for all, a third of the rates for those that start from the shipped model.

    Where the convolutions are held, the transformer gets their steps too.
    """
    base = load_config("demo").model_dump(mode="json")
    training: dict[str, Any] = base["training"] | {"warmup": 10, "checkpoint_every": 1000, "trackers": []}
    rate, steps = 3e-3, (SKIP, TRANSFORMER)
    if settings is not None:
        options = dict(settings)
        rate = options.pop("rate", 1e-3)
        statistics = options.pop("statistics", "carry")
        training["start"] = {"models": ["demo"], "new_fields": task.new_fields, "statistics": statistics}
        training |= options
        if options:
            steps = (0, SKIP + TRANSFORMER)
    stages = [
        {"part": "grid_skip", "steps": steps[0], "batch_size": 8, "learning_rate": rate, "forecast": 0.8},
        {"part": "transformer", "steps": steps[1], "batch_size": 2, "learning_rate": rate},
    ]
    training["stages"] = [stage for stage in stages if stage["steps"]]
    data = {"train": f"{folder}/train.zarr", "validation": f"{folder}/test.zarr"}
    return Config.model_validate(base | {"data": data, "model": task.model, "training": training})


def untrained(config: Config, trained: ar.AtmoRep) -> ar.AtmoRep:
    """The model that a run begins with."""
    assert config.training.start is not None and trained.normalizer is not None
    torch.manual_seed(config.training.seed)
    model = start_model(config.training.start, config.model)
    record = ar.open_dataset(config.data.train)
    fill_departures(model, Neighbourhoods(record, config.model, trained.normalizer).typical_departures())
    model.normalizer = trained.normalizer
    return model.eval()


@torch.inference_mode()
def errors(model: ar.AtmoRep, truth: xr.Dataset) -> pd.Series:
    """Error of forecasts in units of persistence's, by field and level."""
    assert model.normalizer is not None
    data = Neighbourhoods(truth, model.config, model.normalizer)
    batch = data.batch(data.draw(PLACES, np.random.default_rng(0)))
    tokens = hide(batch.tokens, forecast_masks(model.config.fields, PLACES, 2))
    out = model(tokens, batch.static)
    found = {}
    for f in model.config.fields:
        guess, right = (detokenize(t, f.token_size) for t in (out[f.name].mean, batch.tokens[f.name].values))
        hidden = spread_over_token(tokens[f.name].mask, f.token_size)
        persistence, _ = fill_in_time(right, hidden)
        for index, level in enumerate(f.levels):
            wrong, usual = (
                (g - right)[:, index][hidden[:, index]].square().mean() for g in (guess, persistence)
            )
            found[f.name, str(level)] = float((wrong / usual).sqrt())
    return pd.Series(found)


def learnt(config: Config) -> int:
    """How many numbers a run may change."""
    model, training = ar.AtmoRep(config.model), config.training
    adapt(model, training)
    held_back = held(model, training)
    parts = (trainable(model, stage.part, held=held_back) for stage in training.stages)
    return sum(parameter.numel() for part in parts for parameter in part.values())


if __name__ == "__main__":
    main()
