"""Random numbers that belong to one sample.

Shared generators go wrong quietly: in the published code every worker process got a copy of the same ones,
and got it again each epoch, so that all workers and all epochs drew the same masks.  Here nothing is shared
and nothing is carried along.  A sample's numbers follow from its :class:`Key`, whoever asks, in whatever
order, however many samples are asked for at once, and also after a restart.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np


class Key(NamedTuple):
    """Which sample: of which run (``seed``), epoch and process (``rank``), and its number there."""

    seed: int
    epoch: int
    rank: int
    sample: int


class Purpose(IntEnum):
    """What a sample's random numbers are for; different purposes do not disturb each other."""

    PLACE = 0
    MASK = 1
    DISTORTION = 2
    NETWORK = 3


def batch_keys(seed: int, *, epoch: int, rank: int, step: int, batch_size: int) -> list[Key]:
    """Keys of one step's samples: sample ``n`` of an epoch is the same one for any batch size."""
    return [Key(seed, epoch, rank, step * batch_size + b) for b in range(batch_size)]


def generator(key: Key, purpose: Purpose) -> np.random.Generator:
    """The generator of a sample for a purpose.

    Philox numbers are an encryption of a counter: ``number = encrypt(counter, key)``, a one-to-one map for
    each key.  Run and epoch make the key, and process, sample and purpose all of the counter but its first
    64 bits, which count the draws.  Two samples of an epoch thus never encrypt the same counter.

    Source: Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3, SC11.
    """
    philox = np.random.Philox(key=[key.seed, key.epoch], counter=[0, key.sample, key.rank, int(purpose)])
    return np.random.Generator(philox)
