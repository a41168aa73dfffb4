"""Random numbers of a sample: a function of its key alone, and never the same twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atmorep_lite.errors import UserError
from atmorep_lite.masking.keys import Key, Purpose, batch_keys, generator

WORD = 1 << 64


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x64, ten rounds, in whole numbers, from the paper of Salmon et al."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = second // WORD ^ b ^ k0, second % WORD, first // WORD ^ d ^ k1, first % WORD
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) % WORD, (k1 + 0xBB67AE8584CAA73B) % WORD
    return [a, b, c, d]


@given(
    key=st.builds(Key, *[st.integers(0, 2**32)] * 2, st.integers(0, 2**40)),
    purpose=st.sampled_from(Purpose),
)
def test_numbers_are_an_encryption_of_the_key(key: Key, purpose: Purpose) -> None:
    """Against the published algorithm; numpy counts up before it draws."""
    raw = generator(key, purpose).bit_generator.random_raw(8).tolist()
    expected = [
        number
        for count in (1, 2)
        for number in philox([count, key.sample, 0, int(purpose)], [key.seed, key.epoch])
    ]
    assert raw == expected


def test_no_two_of_many_keys_draw_the_same() -> None:
    keys = [Key(*k) for k in itertools.product(range(5), range(5), range(480))]
    draws = {generator(key, purpose).bit_generator.random_raw() for key in keys for purpose in Purpose}
    assert len(keys) == 12_000 and len(draws) == len(keys) * len(Purpose)


def test_first_draws_of_neighbouring_samples_look_independent() -> None:
    first = np.array([generator(Key(0, 1, n), Purpose.MASK).random(2) for n in range(4000)])
    assert stats.kstest(first[:, 0], "uniform").pvalue > 1e-3
    for a, b in ((first[1:, 0], first[:-1, 0]), (first[:, 0], first[:, 1])):
        assert stats.pearsonr(a, b).pvalue > 1e-3


def test_samples_are_numbered_through_whatever_the_batch_size() -> None:
    def numbers(batch_size: int) -> list[Key]:
        steps = range(24 // batch_size)
        return [key for step in steps for key in batch_keys(7, epoch=2, step=step, batch_size=batch_size)]

    assert numbers(1) == numbers(4) == numbers(24) == [Key(7, 2, n) for n in range(24)]


@given(
    step=st.integers(0, 2**40), size=st.integers(1, 6), processes=st.integers(1, 5), split=st.integers(1, 3)
)
def test_processes_and_micro_batches_share_a_step(step: int, size: int, processes: int, split: int) -> None:
    """Contiguous shares: of each process, and of its micro-batches as a process of their own would have."""
    batch_size = size * processes * split
    whole = batch_keys(7, epoch=2, step=step, batch_size=batch_size)
    shares = [
        batch_keys(7, epoch=2, step=step, batch_size=batch_size, part=(part, processes * split))
        for part in range(processes * split)
    ]
    assert [key for share in shares for key in share] == whole
    for rank in range(processes):
        mine = batch_keys(7, epoch=2, step=step, batch_size=batch_size, part=(rank, processes))
        assert mine == [key for share in shares[rank * split : (rank + 1) * split] for key in share]


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"batch of 9 samples cannot be shared by 2 .* a batch_size that 2 divides"
    ):
        batch_keys(7, epoch=2, step=0, batch_size=9, part=(0, 2))
