"""Learning rates."""

from __future__ import annotations

import math

from atmorep_lite.config import TrainingConfig

#: Steps of an epoch of the published training: 49,152 samples in batches of 96.
PUBLISHED_EPOCH = 512


def rate_factor(step: int, steps: int, training: TrainingConfig) -> float:
    """Factor on a stage's learning rate at ``step`` of ``steps``, by ``training.schedule``."""
    if training.schedule == "published":
        return published_learning_rate(step // PUBLISHED_EPOCH, start=0.5, peak=1.0, floor=0.5)
    if training.schedule == "constant":
        return min(1.0, (step + 1) / max(1, training.warmup))
    return cosine(step, steps, training.warmup)


def cosine(step: int, steps: int, warmup: int) -> float:
    """Factor on the peak rate: linear rise over ``warmup`` steps, then half a cosine to 0 at ``steps``."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def published_learning_rate(
    epoch: int, *, start: float, peak: float, floor: float, rise: int = 3, decay: float = 1.025
) -> float:
    """The published rate: linear rise over ``rise`` epochs, then divided by ``decay``, down to ``floor``."""
    if epoch < rise:
        return start + (peak - start) * epoch / (rise - 1)
    return max(peak / decay ** (epoch - rise + 1), floor)
