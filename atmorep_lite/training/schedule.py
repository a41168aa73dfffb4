"""Learning rates."""

from __future__ import annotations

import math


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
