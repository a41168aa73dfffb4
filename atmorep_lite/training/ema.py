"""A running mean of the weights, which is often better than the last ones (Polyak & Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightMean:
    """Exponential mean of the parameters that learn in a stage; of none if ``decay`` is None.

    After every step ``mean = decay * mean + (1 - decay) * weight``, from the stage's first weights on.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float | None) -> None:
        self._weights = {} if decay is None else {n: p.detach() for n, p in parameters.items()}
        self.mean: dict[str, Tensor] = {name: weight.clone() for name, weight in self._weights.items()}
        self._update = get_ema_multi_avg_fn(0.0 if decay is None else decay)

    def update(self) -> None:
        """Take in the weights as they are now."""
        if self.mean:
            self._update(list(self.mean.values()), list(self._weights.values()), 0)

    def settle(self) -> None:
        """Put the mean in the weights' place."""
        for name, mean in self.mean.items():
            self._weights[name].copy_(mean)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The mean in the weights' place for a while, for validation."""
        kept = {name: weight.clone() for name, weight in self._weights.items()}
        self.settle()
        try:
            yield
        finally:
            for name, weight in kept.items():
                self._weights[name].copy_(weight)
