"""Operations on fields of the torus: a convolution with periodic edges, and a filter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atmorep_lite.flows.diagnostics import two_thirds


class PeriodicConv(nn.Module):
    """Convolution of ``[b, c, y, x]`` with periodic edges and an odd, square kernel of ``size`` points.

    The kernel is kept as a matrix ``[c_out, c_in * size * size]``: Muon trains matrices.
    """

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.size = size
        fan = inputs * size * size
        self.weight = nn.Parameter(torch.empty(outputs, fan).uniform_(-1, 1) * fan**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Same grid, other channels."""
        kernel = self.weight.unflatten(1, (-1, self.size, self.size))
        if self.size == 1:
            return F.conv2d(x, kernel, self.bias)
        edge = self.size // 2
        return F.conv2d(F.pad(x, (edge,) * 4, mode="circular"), kernel, self.bias)


def resolved(field: Tensor) -> Tensor:
    """The field ``[..., y, x]`` without wave numbers of ``n / 3`` and above, as the solver's flows are."""
    keep = two_thirds(field.shape[-1], dtype=field.dtype).to(field.device)
    return torch.fft.irfft2(torch.fft.rfft2(field) * keep, s=field.shape[-2:])
