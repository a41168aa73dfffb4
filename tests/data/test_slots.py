"""Tensors through shared memory: the same ones, whatever they are and however often a slot is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from atmorep_lite.data.loader import AHEAD, steps_ahead
from atmorep_lite.data.slots import Slots


@dataclass(frozen=True)
class Pair:
    first: Tensor
    rest: dict[str, list[Tensor]]


def item_of(n: int) -> tuple[Pair, int]:
    """Of sizes and kinds that change from item to item: also empty ones, scalars, and views."""
    generator = torch.Generator().manual_seed(n)
    whole = torch.rand(3 + n % 5, 7, generator=generator)
    kinds = [whole > 0.5, whole.double(), (9 * whole).to(torch.int16), torch.tensor(n), torch.zeros(0, 3)]
    return Pair(whole.T, {"kinds": kinds, "views": [whole[:, ::2], whole[1:].expand(2, -1, -1)]}), n


def tensors(item: tuple[Pair, int]) -> Iterator[Tensor]:
    yield item[0].first
    for each in item[0].rest.values():
        yield from each


def assert_same(ours: tuple[Pair, int], theirs: tuple[Pair, int]) -> None:
    assert ours[1] == theirs[1]
    for a, b in zip(tensors(ours), tensors(theirs), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def test_what_is_taken_out_is_what_was_put_in_and_stays_so() -> None:
    slots, taken = Slots(2, size=4096), []
    for n in range(6):
        here = slots.put(item_of(n), n)
        assert sum(isinstance(leaf, Tensor) for leaf in tensors(here)) == 1, (
            "only the empty one is sent as it is"
        )
        taken.append(slots.take(here, n))
    for n, item in enumerate(taken):
        assert_same(item, item_of(n))


def test_a_tensor_without_room_is_sent_as_it_is() -> None:
    slots = Slots(1, size=4096)
    item = [torch.ones(600), torch.ones(600), torch.ones(300)]
    there = slots.put(item, 0)
    assert [isinstance(leaf, Tensor) for leaf in there] == [False, True, False]
    for ours, theirs in zip(item, slots.take(there, 0), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_item_is_overwritten_before_it_is_taken(workers: int) -> None:
    """Slow, fast and uneven workers, many times around the slots; all items are kept until the end."""

    def make(n: int) -> tuple[Pair, int, int]:
        torch.rand(1000 * (n % 7) ** 2).sort()
        return (*item_of(n), os.getpid())

    count = 20 * (workers * AHEAD + 1)
    with steps_ahead(make, range(count), workers=workers) as stream:
        made = list(stream)
    assert len({pid for _, _, pid in made}) == workers
    for n, item in enumerate(made):
        assert_same(item[:2], item_of(n))
