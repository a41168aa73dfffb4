"""The grid-scale skip: a small convolutional first guess beside the transformer.

A token is coarse; what moves by one grid point in three hours is better seen by a stencil.  All fields and
levels enter as channels: the filled neighbourhood at every time step, which steps are hidden, and static
maps. Its blocks multiply two convolutions, the form of an advection term ``-u . grad(q)``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atmorep_lite.config import GridSkipConfig

#: The change of the change from step to step is about a third of the change, in 3-hourly data.
SECOND_CHANGE = 3.0


class Convolution(nn.Module):
    """A square convolution whose kernel is kept as a matrix ``[out, in * size * size]``, as Muon wants it."""

    def __init__(self, inputs: int, outputs: int, size: int, *, zero: bool = False) -> None:
        super().__init__()
        self.size = size
        bound = (inputs * size * size) ** -0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs * size * size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if zero:
            nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.view(self.weight.shape[0], -1, self.size, self.size)
        return F.conv2d(x, kernel, self.bias, padding=self.size // 2)


class GatedBlock(nn.Module):
    """``x + out(a * b)`` where ``a`` and ``b`` are 3x3 convolutions of the normalised input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.pair = Convolution(width, 2 * width, 3)
        self.out = Convolution(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.pair(self.norm(x)).chunk(2, 1)
        return x + self.out(a * b)


class GridSkip(nn.Module):
    """First guess of the departure from the fill, for every field, level and time step at once.

    ``filled`` ``[batch, variable, time, latitude, longitude]`` (variable = field and level), ``hidden`` the
    same with one entry per token slot in time, ``static`` ``[batch, channel, latitude, longitude]``,
    ``step_change`` ``[variable]`` the typical change in one time step -> departures of the shape of
    ``filled``, in units of their typical size.
    """

    def __init__(self, variables: int, steps: int, slots: int, settings: GridSkipConfig) -> None:
        super().__init__()
        width = settings.width
        series = steps + (steps - 1) + (steps - 2)
        channels = variables * (series + slots) + settings.static_channels
        self.linear = Convolution(channels, variables * steps, 3, zero=True)
        self.inputs = Convolution(channels, width, 3)
        self.blocks = nn.Sequential(*(GatedBlock(width) for _ in range(settings.blocks)))
        self.outputs = Convolution(width, variables * steps, 1, zero=True)

    def forward(self, filled: Tensor, hidden: Tensor, static: Tensor, step_change: Tensor) -> Tensor:
        # how the field changes is small beside the field; scaled up, a stencil learns from it at once
        unit = step_change.view(-1, 1, 1, 1)
        change = filled.diff(dim=2) / unit
        series = (filled, change, SECOND_CHANGE * change.diff(dim=2), hidden.to(filled.dtype))
        x = torch.cat((*(part.flatten(1, 2) for part in series), static), 1)
        return (self.linear(x) + self.outputs(self.blocks(self.inputs(x)))).view_as(filled)
