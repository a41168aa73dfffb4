"""What coarse tokens of a larger region are worth, and whether they should see every point or means.

A small transformer of neighbourhoods of 8 x 16 points: alone (*none*); with as many coarse tokens of the
16 x 32 points around, either of all their points (*points*: eight sub-patches each) or of means over 2 x 2
points (*means*: two sub-patches each, as a fine token).  One embedding network for fine and coarse.  Run as
``python benchmarks/context.py``; errors as in ``benchmarks/positions.py``.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import pandas as pd
import torch
from positions import build, configuration, fit, scores

from atmorep_lite.config import Config, parse_config
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.training.loop import open_source, training_data

CONTEXTS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "points": {"num_tokens": [3, 4, 8], "token_size": [4, 4, 4]},
    "means": {"num_tokens": [3, 4, 8], "token_size": [4, 2, 2], "coarsen": 2},
    "few": {"num_tokens": [3, 2, 4], "token_size": [4, 4, 4], "coarsen": 2},
}


def with_context(context: str, *, seed: int, steps: int) -> Config:
    """The small transformer of ``positions.py`` with sub-patches, a smaller neighbourhood and a context."""
    tree = configuration("sphere", locality=1.0, seed=seed, steps=steps).model_dump()
    tree["model"]["subpatches"] = {"size": [2, 2, 2], "width": 64, "layers": 1}
    for field in tree["model"]["fields"]:
        field |= {"num_tokens": [3, 4, 8], "context": CONTEXTS[context]}
    return parse_config(tree)


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", nargs="+", default=list(CONTEXTS), choices=list(CONTEXTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=200)
    chosen = parser.parse_args()
    torch.set_flush_denormal(True)
    rows = []
    for seed in chosen.seeds:
        for context in chosen.contexts:
            config = with_context(context, seed=seed, steps=chosen.steps)
            data, normalizer = training_data(config)
            held_out = Neighbourhoods(open_source(config.data.validation), config.model, normalizer)
            model = build(config, "sphere", data)
            if not rows:
                print("fill", scores(model, held_out, fill=True), flush=True)
            started = time.process_time()
            fit(model, config, data)
            seconds = (time.process_time() - started) / chosen.steps
            row = {"context": context, "seed": seed, **scores(model.eval(), held_out), "s/step": seconds}
            rows.append(row)
            print(row, flush=True)
    table = pd.DataFrame(rows).groupby("context", sort=False)[["gaps", "forecast", "s/step"]]
    print(table.agg(["mean", "std"]).round(4).to_string())


if __name__ == "__main__":
    main()
