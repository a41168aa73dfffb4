"""Filling gaps: half of all tokens hidden at random, restored by the shipped model and by its parts.

Run as ``python benchmarks/gap_filling.py``; half a minute on one core.  Errors are root mean squares over the
hidden values, divided by that of the climatological mean (so 1 is what knowing nothing gives).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

import atmorep_lite as ar
from atmorep_lite.data.sampling import Neighbourhoods

NEIGHBOURHOODS, HIDDEN = 24, 0.5


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    model, weather = ar.AtmoRep.from_pretrained("demo"), ar.open_sample("test")
    assert model.normalizer is not None
    data = Neighbourhoods(weather, model.config, model.normalizer)
    batch = data.batch(data.draw(NEIGHBOURHOODS, np.random.default_rng(0)))
    rng = np.random.default_rng(1)
    tokens = {
        name: replace(field, mask=torch.from_numpy(rng.random(field.mask.shape) < HIDDEN))
        for name, field in batch.tokens.items()
    }
    whole = {name: ensemble.mean for name, ensemble in model(tokens, batch.static).items()}
    convolution = {name: guess.values for name, guess in model.first_guess(tokens, batch.static).items()}
    model.grid_skip = None
    linear = {name: guess.values for name, guess in model.first_guess(tokens, batch.static).items()}
    table = pd.DataFrame(
        {
            name: {
                what: _error(guess[name], tokens[name])
                for what, guess in (
                    ("linear in time", linear),
                    ("convolution alone", convolution),
                    ("whole model", whole),
                )
            }
            for name in model.predicted
        }
    )
    print(table.assign(mean=table.mean(axis=1)).round(3).to_string())


def _error(guess: torch.Tensor, field: ar.FieldTokens) -> float:
    wrong = (guess - field.values)[field.mask].square().mean()
    return float((wrong / field.values.square().mean()).sqrt())


if __name__ == "__main__":
    main()
