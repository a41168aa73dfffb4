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

from atmorep_lite.errors import UserError


class Key(NamedTuple):
    """Which sample: of which run (``seed``) and epoch, and its number in the epoch.

    The number counts the samples of all processes, so it does not matter which process, or which worker of
    it, makes the sample: a run draws the same samples on one computer as on many.
    """

    seed: int
    epoch: int
    sample: int


class Purpose(IntEnum):
    """What a sample's random numbers are for; different purposes do not disturb each other."""

    PLACE = 0
    MASK = 1
    DISTORTION = 2
    NETWORK = 3
    WINDOW = 4
    ORDER = 5


def batch_keys(
    seed: int, *, epoch: int, step: int, batch_size: int, part: tuple[int, int] = (0, 1)
) -> list[Key]:
    """Keys of one step's samples, or of the share of them that one process makes.

    Sample ``n`` of an epoch is the same one for any batch size and any number of processes.

    Parameters
    ----------
    batch_size
        Samples of the step, of all processes together.
    part
        (index, count): the ``index``-th of ``count`` equal, contiguous parts of them.

    Raises
    ------
    UserError
        If the batch cannot be cut into so many equal parts.
    """
    index, count = part
    size, rest = divmod(batch_size, count)
    if rest:
        raise UserError(
            f"a batch of {batch_size} samples cannot be shared by {count} processes or micro-batches; "
            f"choose a batch_size that {count} divides"
        )
    first = step * batch_size + index * size
    return [Key(seed, epoch, n) for n in range(first, first + size)]


def generator(key: Key, purpose: Purpose) -> np.random.Generator:
    """The generator of a sample for a purpose.

    Philox numbers are an encryption of a counter: ``number = encrypt(counter, key)``, a one-to-one map for
    each key.  Run and epoch make the key; of the counter's four words of 64 bits the first counts the draws,
    the second is the sample's number, the fourth the purpose.  Two samples of an epoch thus never encrypt the
    same counter.

    Source: Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3, SC11.
    """
    philox = np.random.Philox(key=[key.seed, key.epoch], counter=[0, key.sample, 0, int(purpose)])
    return np.random.Generator(philox)
