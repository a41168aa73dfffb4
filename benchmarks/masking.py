"""What drawing masks costs, and how much each task hides: the six fields of the paper, batches of 96.

Neighbourhoods lie at random latitudes between 60 degrees south and north, with the settings of
:class:`~atmorep_lite.config.MaskingConfig`.  Run as ``python benchmarks/masking.py``; about a minute on one
core.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from atmorep_lite.config import TASKS, load_config
from atmorep_lite.masking import (
    STRATEGIES,
    Purpose,
    Scene,
    batch_keys,
    corrupt_as_published,
    distort,
    draw_masks,
    generator,
)

BATCH = 96
SPOILT = 8  # samples whose values are spoilt; a batch of 96 holds 2 GB


def best_time(run: Callable[[], object], repeats: int = 5) -> float:
    """Seconds of the fastest run, after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    torch.set_num_threads(1)
    config = load_config("paper")
    fields, masking = config.model.fields, config.masking
    keys = batch_keys(0, epoch=1, step=0, batch_size=BATCH)
    height = config.model.extent[1]
    scenes = []
    for key in keys:
        rng = generator(key, Purpose.PLACE)
        north, west = rng.uniform(-60 + height / 4, 60), rng.uniform(0, 360)
        centres = {
            f.name: (
                north - (np.arange(f.num_tokens[1]) + 0.5) * f.token_size[1] / 4,
                (west + (np.arange(f.num_tokens[2]) + 0.5) * f.token_size[2] / 4) % 360,
            )
            for f in fields
        }
        scenes.append(Scene(fields, centres))

    print(f"| task | ms for {BATCH} samples | hidden share: mean | 5 % | 95 % |\n|---|---|---|---|---|")
    for name in TASKS:

        def draw(name: str = name) -> list:
            return [
                STRATEGIES[name](scene, generator(key, Purpose.MASK), masking)
                for scene, key in zip(scenes, keys, strict=True)
            ]

        seconds = best_time(draw)
        shares = [float(torch.cat([m.flatten() for m in masks.values()]).float().mean()) for masks in draw()]
        low, high = np.quantile(shares, (0.05, 0.95))
        print(f"| `{name}` | {1e3 * seconds:.0f} | {np.mean(shares):.2f} | {low:.2f} | {high:.2f} |")

    masks, _ = draw_masks(fields, keys[:SPOILT], masking)
    generator_of_values = torch.Generator().manual_seed(0)
    values = {
        f.name: torch.randn(
            SPOILT, len(f.levels), *f.num_tokens, f.token_values, generator=generator_of_values
        )
        for f in fields
    }

    def ours() -> None:
        rngs = [generator(key, Purpose.DISTORTION) for key in keys[:SPOILT]]
        for f in fields:
            distort(values[f.name], masks[f.name], f.token_size, masking, rngs)

    def published() -> None:
        rng = np.random.default_rng(0)
        for f in fields:
            for level in range(len(f.levels)):
                corrupt_as_published(values[f.name][:, level], f.token_size, masking, rng)

    print(f"spoiling {SPOILT} samples: {1e3 * best_time(ours):.0f} ms; ", end="")
    print(f"published: {1e3 * best_time(published):.0f} ms")


if __name__ == "__main__":
    main()
