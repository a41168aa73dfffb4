"""Codes of place compared: the published one, the same mended, and the one on the sphere.

The same small transformer, data, batches and seeds; only the embedding of place differs.  Run as
``python benchmarks/positions.py``; ``--help`` lists what can be chosen.  Errors are root mean squares over
what is hidden in neighbourhoods of the validation record, divided by that of the climatological mean (so 1
is what knowing nothing gives): half of all tokens at random (*gaps*), or the last two of three slots
(*forecast*, 3 to 24 h).  *fill* is what the transformer starts from: linear in time, or persistence.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from atmorep_lite.config import Config, parse_config
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.embedding import TokenEmbedding
from atmorep_lite.training.loop import open_source, training_data, training_loss
from atmorep_lite.training.optimizer import build_optimizers, trainable
from atmorep_lite.training.schedule import cosine

CODES = ("published", "rows", "index", "sphere")
NEIGHBOURHOODS = 48


def configuration(code: str, *, locality: float, seed: int, steps: int) -> Config:
    """A small transformer of two coupled fields, without the grid-scale skip."""
    field = {"levels": [850], "embed_dim": 64, "num_tokens": [3, 4, 16], "token_size": [4, 2, 2]}
    return parse_config(
        {
            "data": {"train": "train", "validation": "validation"},
            "model": {
                "predict": "departure",
                "encoder_layers": 2,
                "decoder_layers": 1,
                "heads": 4,
                "members": 4,
                "dropout": 0.0,
                "locality": locality,
                "positions": "sphere" if code == "sphere" else "index",
                "fields": [
                    field | {"name": "vorticity", "coupled_to": ["temperature"]},
                    field | {"name": "temperature", "coupled_to": ["vorticity"]},
                ],
            },
            "masking": {"forecast": 0.5, "forecast_slots": 2, "max_rate": 0.9},
            "training": {
                "optimizer": "muon",
                "seed": seed,
                "stages": [{"steps": steps, "batch_size": 4, "learning_rate": 3e-3}],
            },
        }
    )


def build(config: Config, code: str, data: Neighbourhoods) -> AtmoRep:
    """The model; *published* comes with the raw token information, *rows* only numbers rows as published."""
    torch.manual_seed(config.training.seed)
    model = AtmoRep(config.model)
    departures = data.typical_departures()
    for f in config.model.fields:
        model.departure_scale[f.name].data.copy_(departures[f.name])
        if code in ("published", "rows"):
            published = TokenEmbedding(f, config.model.model_copy(update={"published": "2024"}))
            if code == "published":
                model.embeddings[f.name] = published
            else:
                model.embeddings[f.name].position.copy_(published.position)
    return model


def fit(model: AtmoRep, config: Config, data: Neighbourhoods) -> None:
    """Train for the one stage of the configuration."""
    (stage,) = config.training.stages
    parameters = trainable(model, stage.part)
    optimizers = build_optimizers(parameters, stage, config.training)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    for step in range(stage.steps):
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * cosine(step, stage.steps, config.training.warmup)
        loss, _ = training_loss(model, data, config, stage, 0, step)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), config.training.clip)
        for optimizer in optimizers:
            optimizer.step()


@torch.inference_mode()
def scores(model: AtmoRep, data: Neighbourhoods, *, fill: bool = False) -> dict[str, float]:
    """Error of the ensemble mean (or of the fill), averaged over fields, for both tasks."""
    fields = model.config.fields
    rng = np.random.default_rng(1)
    sums: dict[tuple[str, str], list[float]] = {}
    for place in data.draw(NEIGHBOURHOODS, np.random.default_rng(0)):
        batch = data.batch([place])
        gaps = {n: torch.from_numpy(rng.random(t.mask.shape) < 0.5) for n, t in batch.tokens.items()}
        for task, masks in (("gaps", gaps), ("forecast", forecast_masks(fields, 1, 2))):
            hidden = {n: replace(t, mask=masks[n]) for n, t in batch.tokens.items()}
            if fill:
                guesses = {n: g.values for n, g in model.first_guess(hidden, batch.static).items()}
            else:
                guesses = {n: e.mean for n, e in model(hidden, batch.static).items()}
            for name, guess in guesses.items():
                truth = batch.tokens[name].values[masks[name]]
                total = sums.setdefault((task, name), [0.0, 0.0])
                total[0] += float((guess[masks[name]] - truth).square().sum())
                total[1] += float(truth.square().sum())
    return {
        task: float(np.mean([(wrong / all_) ** 0.5 for (t, _), (wrong, all_) in sums.items() if t == task]))
        for task in ("gaps", "forecast")
    }


def main() -> None:
    """Train, score and print a line per run, then the means and spreads over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", nargs="+", default=CODES, choices=CODES)
    parser.add_argument("--locality", nargs="+", type=float, default=[0.0, 1.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=250)
    chosen = parser.parse_args()
    torch.set_flush_denormal(True)
    config = configuration("index", locality=0.0, seed=0, steps=1)
    data, normalizer = training_data(config)
    held_out = Neighbourhoods(open_source(config.data.validation), config.model, normalizer)
    print("fill", scores(build(config, "index", data), held_out, fill=True), flush=True)
    rows = []
    for seed in chosen.seeds:
        for locality in chosen.locality:
            for code in chosen.codes:
                config = configuration(code, locality=locality, seed=seed, steps=chosen.steps)
                started = time.process_time()
                model = build(config, code, data)
                fit(model, config, data)
                seconds = time.process_time() - started
                row = {"locality": locality, "code": code, "seed": seed, **scores(model.eval(), held_out)}
                rows.append(row | {"seconds": seconds})
                print(" ".join(f"{k}={v:.4g}" if k != "code" else v for k, v in rows[-1].items()), flush=True)
    table = pd.DataFrame(rows).groupby(["locality", "code"])[["gaps", "forecast", "seconds"]]
    print(table.agg(["mean", "std"]).round(4).to_string())


if __name__ == "__main__":
    main()
