"""What each part of the shipped model is worth: forecasts of the held-out record, and gaps.

    python benchmarks/parts.py [model]

About five minutes on one core.  Forecast errors are relative to those of persistence, means over fields and
levels; errors of gaps (half of all tokens hidden at random) relative to that of the climatological mean.
Parts are taken away from the end: couplings, the transformer, the linear part of the grid skip, and all of
the grid skip, which leaves the fill: persistence, or lines between the visible states.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

import atmorep_lite as ar
from atmorep_lite.ablation import silence_couplings
from atmorep_lite.applications.forecast import forecast
from atmorep_lite.baselines import fit_ridge
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.evaluation import LEADS, compare, initial_times
from atmorep_lite.verification import relative_to_persistence, skill_table

NEIGHBOURHOODS, HIDDEN = 24, 0.5


def without_regression(model: ar.AtmoRep) -> ar.AtmoRep:
    """A copy whose linear part says nothing."""
    copied = copy.deepcopy(model)
    assert copied.grid_skip is not None
    if copied.grid_skip.regression is not None:
        copied.grid_skip.regression.coefficients.zero_()
    return copied


def forecasts(model: ar.AtmoRep) -> pd.DataFrame:
    """Ratio and spread/skill, a row for each kind of forecast and a column for each lead."""
    record, truth = ar.open_sample("train"), ar.open_sample("test").load()
    times = initial_times(truth)
    fields, levels = list(model.predicted), list(model.config.fields[0].levels)
    past, now = (d[fields].sel(level=levels).load() for d in (record, truth))
    named = compare(model, record, truth, times)
    named["ridge, 4 states"] = fit_ridge(past, fields, levels, LEADS, states=4).forecast(now, times)
    named["convolutions without their linear part"] = forecast(
        without_regression(model), truth, times, first_guess=True, members=False
    )
    named["whole model, couplings silenced"] = forecast(silence_couplings(model), truth, times)
    table = skill_table(named, truth, LEADS)
    ratios = relative_to_persistence(table)
    ratios = ratios[ratios["field"] == "mean"].pivot(index="model", columns="lead_hours", values="ratio")
    spread = table.groupby(["model", "lead_hours"])["spread_skill"].mean().unstack()
    return ratios.join(spread.add_prefix("spread/skill "))


@torch.inference_mode()
def gaps(model: ar.AtmoRep) -> pd.DataFrame:
    """Errors in gaps, a row for each kind of filling and a column for each field."""
    assert model.normalizer is not None
    data = Neighbourhoods(ar.open_sample("test"), model.config, model.normalizer)
    batch = data.batch(data.draw(NEIGHBOURHOODS, np.random.default_rng(0)))
    rng = np.random.default_rng(1)
    tokens = {
        name: replace(field, mask=torch.from_numpy(rng.random(field.mask.shape) < HIDDEN))
        for name, field in batch.tokens.items()
    }
    bare = copy.deepcopy(model)
    bare.grid_skip = None

    def first(one: ar.AtmoRep) -> dict[str, torch.Tensor]:
        return {name: guess.values for name, guess in one.first_guess(tokens, batch.static).items()}

    def whole(one: ar.AtmoRep) -> dict[str, torch.Tensor]:
        return {name: ensemble.mean for name, ensemble in one(tokens, batch.static).items()}

    ways: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
        "linear in time": lambda: first(bare),
        "convolutions": lambda: first(model),
        "whole model, couplings silenced": lambda: whole(silence_couplings(model)),
        "whole model": lambda: whole(model),
    }
    rows = {}
    for way, fill in ways.items():
        guess = fill()
        rows[way] = {
            name: float(
                (
                    (guess[name] - field.values)[field.mask].square().mean() / field.values.square().mean()
                ).sqrt()
            )
            for name, field in tokens.items()
        }
    return pd.DataFrame(rows).T.assign(mean=lambda table: table.mean(axis=1))


if __name__ == "__main__":
    trained = ar.AtmoRep.from_pretrained(sys.argv[1] if len(sys.argv) > 1 else "demo")
    print(gaps(trained).round(3).to_string())
    print(forecasts(trained).round(4).to_string())
