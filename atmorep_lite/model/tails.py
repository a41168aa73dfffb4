"""The ensemble: several independent last layers on one representation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atmorep_lite.model.layers import layer_norm


@dataclass(frozen=True)
class Ensemble:
    """Prediction of one field.

    Attributes
    ----------
    members
        ``[batch, member, level, token_time, token_lat, token_lon, channel]``, normalised units.
    scale
        The typical size of the departure from the fill, shape of one member, for models that predict
        departures; the training loss measures errors in this unit.  None for models that predict the field.
    """

    members: Tensor
    scale: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Mean over members."""
        return self.members.mean(1)

    @property
    def spread(self) -> Tensor:
        """Standard deviation over members (n - 1 in the denominator; 0 for a single member)."""
        if self.members.shape[1] == 1:
            return torch.zeros_like(self.members[:, 0])
        return self.members.std(1)


#: A departure's tails begin this much smaller: a first guess is within a few tenths of a typical departure.
SMALL_START = 0.2


class EnsembleTails(nn.Module):
    """``members`` independent heads ``norm -> (linear -> GELU) x hidden -> linear``, computed together.

    ``[..., embed_dim]`` -> ``[..., member, values]``.  The heads see the same input and differ only by how
    they began; ``start`` scales the last layer's first weights.
    """

    def __init__(self, embed_dim: int, values: int, members: int, hidden: int, *, start: float = 1.0) -> None:
        super().__init__()
        self.norm_weight = nn.Parameter(torch.ones(members, embed_dim))
        self.norm_bias = nn.Parameter(torch.zeros(members, embed_dim))
        widths = [embed_dim] * (hidden + 1) + [values]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for wide, out in pairwise(widths):
            bound = 1.0 / math.sqrt(wide)
            self.weights.append(nn.Parameter(torch.empty(members, out, wide).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(members, out).uniform_(-bound, bound)))
        with torch.no_grad():
            self.weights[-1].mul_(start)
            self.biases[-1].mul_(start)

    def forward(self, x: Tensor) -> Tensor:
        # The norms' scales and offsets go into the first matrices: W (s x + t) + c = (W s) x + (W t + c), so
        # that all members are one matrix product.
        weight = self.weights[0] * self.norm_weight[:, None]
        bias = self.biases[0] + torch.einsum("moe,me->mo", self.weights[0], self.norm_bias)
        y = F.linear(layer_norm(x), weight.flatten(0, 1), bias.flatten()).unflatten(-1, bias.shape)
        for weight, bias in list(zip(self.weights, self.biases, strict=True))[1:]:
            y = torch.einsum("...mi,moi->...mo", F.gelu(y), weight) + bias
        return y
