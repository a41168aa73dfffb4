"""The grid-scale skip: a small convolutional first guess beside the transformer.

A token is coarse; what moves by one grid point in three hours is better seen by a stencil.  All fields and
levels enter as channels: the filled neighbourhood at every time step, which steps are hidden, and static
maps. Its blocks multiply two convolutions, the form of an advection term ``-u . grad(q)``.

Forecasts have a linear part besides, :class:`LatitudeRegression`, which is fitted in closed form: the same
physics needs another stencil at another latitude, and gradient descent is slow to find small differences of
large numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atmorep_lite.config import GridSkipConfig

#: The change of the change from step to step is about a third of the change, in 3-hourly data.
SECOND_CHANGE = 3.0
#: States that the regression sees.
SEEN = 4
#: Points across its stencil.
ACROSS = 5


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


def chebyshev(sine: Tensor, count: int) -> Tensor:
    """The polynomials ``cos(k arccos(sine))`` for k = 0 ... count - 1, along a new last axis."""
    k = torch.arange(count, device=sine.device, dtype=sine.dtype)
    return torch.cos(k * torch.arccos(sine.clamp(-1, 1))[..., None])


class LatitudeRegression(nn.Module):
    """A linear forecast whose coefficients are smooth functions of latitude, fitted in closed form.

    It sees 5x5 points of the last four states, every field and level, and what the blocks have found at the
    point itself.  Its coefficients are sums of Chebyshev polynomials of the sine of latitude: any row has its
    own, whether or not the fit saw that row.  Like all convolutions here it belongs to one grid spacing.
    """

    def __init__(self, variables: int, found: int, leads: int, polynomials: int) -> None:
        super().__init__()
        self.leads, self.polynomials = leads, polynomials
        self.local = variables * SEEN * ACROSS**2
        inputs = self.local + found + 1
        self.coefficients: Tensor
        self.register_buffer("coefficients", torch.zeros(polynomials, inputs, variables * leads))

    def inputs(self, states: Tensor, found: Tensor, step_change: Tensor) -> Tensor:
        """What it sees at every point, ``[batch, input, latitude, longitude]``.

        ``states`` ``[batch, variable, time, latitude, longitude]``, the last four; ``found`` ``[batch,
        channel, latitude, longitude]``.  States enter as the last one and its differences in time; the
        neighbourhood's outer rows and columns are repeated beyond it.
        """
        change = states / step_change.view(-1, 1, 1, 1)
        seen = [states[:, :, -1]]
        for order in range(1, SEEN):
            change = change.diff(dim=2) * (1.0 if order == 1 else SECOND_CHANGE)
            seen.append(change[:, :, -1])
        half = ACROSS // 2
        around = F.unfold(F.pad(torch.cat(seen, 1), (half,) * 4, mode="replicate"), ACROSS)
        around = around.view(len(states), self.local, *states.shape[-2:])
        return torch.cat((around, found, torch.ones_like(found[:, :1])), 1)

    def forward(self, inputs: Tensor, sine: Tensor) -> Tensor:
        """Departures ``[batch, variable, lead, latitude, longitude]``; ``sine`` ``[batch, latitude]``."""
        kernel = torch.einsum("byk,kio->byio", chebyshev(sine, self.polynomials), self.coefficients)
        out = inputs.permute(0, 2, 3, 1) @ kernel
        return out.permute(0, 3, 1, 2).unflatten(1, (-1, self.leads))


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
        self.regression: LatitudeRegression | None = None
        if settings.forecast_steps:
            self.regression = LatitudeRegression(
                variables, width, settings.forecast_steps, settings.polynomials
            )

    def forward(self, filled: Tensor, hidden: Tensor, static: Tensor, step_change: Tensor) -> Tensor:
        found, out = self.convolve(filled, hidden, static, step_change)
        if self.regression is None:
            return out
        known = filled.shape[2] - self.regression.leads
        forecasts = self.is_forecast(hidden, known * hidden.shape[2] // filled.shape[2])
        if not forecasts.any():
            return out
        states = filled[forecasts, :, known - SEEN : known]
        inputs = self.regression.inputs(states, found[forecasts], step_change)
        departure = torch.zeros_like(out)
        departure[forecasts, :, known:] = self.regression(inputs, static[forecasts, 0, :, 0])
        return out + departure

    def convolve(
        self, filled: Tensor, hidden: Tensor, static: Tensor, step_change: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the blocks find, ``[batch, width, latitude, longitude]``, and the convolutions' departures."""
        # how the field changes is small beside the field; scaled up, a stencil learns from it at once
        unit = step_change.view(-1, 1, 1, 1)
        change = filled.diff(dim=2) / unit
        series = (filled, change, SECOND_CHANGE * change.diff(dim=2), hidden.to(filled.dtype))
        x = torch.cat((*(part.flatten(1, 2) for part in series), static), 1)
        found = self.blocks(self.inputs(x))
        return found, (self.linear(x) + self.outputs(found)).view_as(filled)

    @staticmethod
    def is_forecast(hidden: Tensor, known: int) -> Tensor:
        """Which samples show all of the first ``known`` slots and nothing of the others, ``[batch]``."""
        shown = ~hidden.transpose(1, 2)
        return shown[:, :known].flatten(1).all(1) & ~shown[:, known:].flatten(1).any(1)
