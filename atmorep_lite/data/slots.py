"""Shared memory through which worker processes hand over tensors.

Torch gives every tensor that a worker sends a new piece of shared memory, which the system has to fill with
zeros page by page.  That can take longer than making the tensor.  Here the pieces are used again and again.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

#: Bytes of address space of a slot; memory is used for as much as its items fill.
SIZE = 1 << 30
_ALIGNMENT = 64


@dataclass(frozen=True)
class _Stored:
    """Where a tensor lies in its slot."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype


class Slots:
    """Slots shared with processes that are forked later; item ``n`` uses slot ``n % count``.

    An item must have been taken out before another one is put into its slot.
    """

    def __init__(self, count: int, size: int = SIZE) -> None:
        self._pieces = [mmap.mmap(-1, size) for _ in range(count)]

    def put(self, item: Any, number: int) -> Any:
        """The item with references in place of its tensors; those that find no room stay as they are."""
        piece, used = self._pieces[number % len(self._pieces)], 0

        def store(tensor: Tensor) -> Tensor | _Stored:
            nonlocal used
            start, end = used, used + tensor.numel() * tensor.element_size()
            if not tensor.numel() or end > len(piece):
                return tensor
            room = torch.frombuffer(piece, dtype=tensor.dtype, count=tensor.numel(), offset=start)
            room.view(tensor.shape).copy_(tensor)
            used = math.ceil(end / _ALIGNMENT) * _ALIGNMENT
            return _Stored(start, tuple(tensor.shape), tensor.dtype)

        return on_leaves(item, Tensor, store)

    def take(self, item: Any, number: int) -> Any:
        """Inverse of :meth:`put`; tensors are copies, in pinned memory where there is a GPU."""
        piece, pinned = self._pieces[number % len(self._pieces)], torch.cuda.is_available()

        def fetch(stored: _Stored) -> Tensor:
            count = math.prod(stored.shape)
            lying = torch.frombuffer(piece, dtype=stored.dtype, count=count, offset=stored.offset)
            return torch.empty(stored.shape, dtype=stored.dtype, pin_memory=pinned).copy_(
                lying.view(stored.shape)
            )

        return on_leaves(item, _Stored, fetch)


def on_tensors(item: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The item with every tensor in it changed: in dataclasses, dicts, lists and tuples, however nested."""
    return on_leaves(item, Tensor, change)


def on_leaves(item: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The same for everything of a ``kind``."""
    if isinstance(item, kind):
        return change(item)
    if is_dataclass(item) and not isinstance(item, type):
        changes = {f.name: on_leaves(getattr(item, f.name), kind, change) for f in fields(item) if f.init}
        return replace(item, **changes)
    if isinstance(item, dict):
        return {key: on_leaves(value, kind, change) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(on_leaves(value, kind, change) for value in item))
    if isinstance(item, list | tuple):
        return type(item)(on_leaves(value, kind, change) for value in item)
    return item
