"""The smallest problem on which linear maps and stencils fail and attention does not: a moving field.

A smooth random field on a periodic grid is displaced by a vector d that differs from sample to sample.  Given
the field and d, forecast the displaced field:

    after(x) = before(x - d) .

For one fixed d this map is linear.  For varying d it is linear in the field but not in (field, d): where to
read depends on d.  A weighted mean whose weights may depend on d, which is attention, has the right form.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atmorep_lite.attention import attend, attention_weights
from atmorep_lite.errors import UserError
from atmorep_lite.tokens import detokenize, tokenize
from atmorep_lite.zoo.forecaster import relative_error
from atmorep_lite.zoo.torus_rotary import rotation, turn

POINTS, TOKEN = 24, 2
"""Grid points along a side of the field and of a token."""
SLOTS = POINTS // TOKEN
"""Tokens along a side."""
DISTANCES = (1.0, 3.0)
"""Shortest and longest displacement, in tokens."""

Mover = Callable[[Tensor, Tensor], Tensor]
"""Forecasts the field after ``[batch, y, x]`` from the field before and the displacement ``[batch, 2]``."""


class Moved(NamedTuple):
    """``before`` and ``after`` ``[batch, y, x]``, ``displacement`` ``[batch, 2]`` (y, x) in tokens."""

    before: Tensor
    displacement: Tensor
    after: Tensor


def smooth_fields(count: int, *, generator: torch.Generator, width: float = 2.25) -> Tensor:
    """Random periodic ``[batch, y, x]``, zero mean, unit variance; amplitudes ~ exp(-k^2 / 2 width^2)."""
    ky, kx = _wave_numbers()
    noise = torch.randn(count, POINTS, POINTS, generator=generator)
    amplitude = torch.exp(-(ky**2 + kx**2) / (2 * width**2)) * ((ky != 0) | (kx != 0))
    field = torch.fft.irfft2(torch.fft.rfft2(noise) * amplitude, s=(POINTS, POINTS))
    return field / field.std((-2, -1), keepdim=True)


def translate(field: Tensor, displacement: Tensor) -> Tensor:
    """``field`` ``[batch, y, x]`` moved by ``displacement`` ``[batch, 2]`` tokens, by its Fourier series."""
    ky, kx = _wave_numbers()
    dy, dx = (displacement * (2 * math.pi / SLOTS))[..., None, None].unbind(-3)
    return torch.fft.irfft2(torch.fft.rfft2(field) * torch.exp(-1j * (ky * dy + kx * dx)), s=(POINTS, POINTS))


def draw_moved(count: int, *, generator: torch.Generator, common: tuple[float, float] | None = None) -> Moved:
    """Draw samples, each with a displacement of its own, or all with the ``common`` one."""
    before = smooth_fields(count, generator=generator)
    low, high = DISTANCES
    chance = torch.rand(count, 2, generator=generator)
    length, angle = low + (high - low) * chance[:, 0], 2 * math.pi * chance[:, 1]
    displacement = torch.stack((length * angle.sin(), length * angle.cos()), -1)
    if common is not None:
        displacement = torch.tensor(common).expand(count, 2)
    return Moved(before, displacement, translate(before, displacement))


def fit_linear(samples: Moved) -> Mover:
    """Least squares: every value after as a linear function of all values before and of the displacement."""
    inputs = torch.cat((samples.before.flatten(1), samples.displacement), 1).double()
    if len(inputs) <= inputs.shape[1]:
        raise UserError(
            f"{len(inputs)} samples cannot determine {inputs.shape[1]} coefficients; "
            "draw more samples than that"
        )
    # Directions that hold nothing but rounding errors (relative size below rcond) get no coefficient.
    targets = samples.after.flatten(1).double()
    matrix = torch.linalg.lstsq(inputs, targets, rcond=2e-7, driver="gelsd").solution

    def forecast(before: Tensor, displacement: Tensor) -> Tensor:
        x = torch.cat((before.flatten(1), displacement), 1).double()
        return (x @ matrix).float().unflatten(1, before.shape[1:])

    return forecast


class StencilMLP(nn.Module):
    """Each token after = perceptron(the tokens before at most ``reach`` away, displacement)."""

    def __init__(self, reach: int, width: int = 128) -> None:
        super().__init__()
        self.reach = reach
        inputs = (2 * reach + 1) ** 2 * TOKEN**2 + 2
        self.net = _perceptron(inputs, width, TOKEN**2)

    def forward(self, before: Tensor, displacement: Tensor) -> Tensor:
        """``[batch, y, x]``, ``[batch, 2]`` -> ``[batch, y, x]``."""
        tokens, around = _cut(before), range(-self.reach, self.reach + 1)
        seen = torch.cat([tokens.roll((y, x), (1, 2)) for y in around for x in around], -1)
        told = displacement[:, None, None].expand(*seen.shape[:3], 2)
        return _join(self.net(torch.cat((seen, told), -1)))


class FrameMLP(nn.Module):
    """The whole frame after = perceptron(the whole frame before, displacement)."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.net = _perceptron(POINTS**2 + 2, width, POINTS**2)

    def forward(self, before: Tensor, displacement: Tensor) -> Tensor:
        """``[batch, y, x]``, ``[batch, 2]`` -> ``[batch, y, x]``."""
        return self.net(torch.cat((before.flatten(1), displacement), 1)).unflatten(1, (POINTS, POINTS))


class OneHead(nn.Module):
    """One attention head and nothing else: the displacement says where to look, the token there what to say.

    The query is a perceptron of the displacement, the key one learnt vector, both turned by the token's place
    on the torus (:mod:`atmorep_lite.zoo.torus_rotary`).  The value is a linear map of the token's numbers.
    """

    def __init__(self, channels: int = 64, width: int = 64) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(2, width), nn.GELU(), nn.Linear(width, channels))
        self.key = nn.Parameter(torch.randn(channels) / 2)
        self.value = nn.Linear(TOKEN**2, channels)
        self.out = nn.Linear(channels, TOKEN**2)
        self.rotation: Tensor
        self.register_buffer("rotation", rotation((1, SLOTS, SLOTS), channels), persistent=False)

    def forward(self, before: Tensor, displacement: Tensor) -> Tensor:
        """``[batch, y, x]``, ``[batch, 2]`` -> ``[batch, y, x]``."""
        value = self.value(_cut(before)).flatten(1, 2)[:, None]
        heard = attend(*self.query_key(displacement), value)[:, 0]
        return _join(self.out(heard).unflatten(1, (SLOTS, SLOTS)))

    def query_key(self, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys as they enter the dot product, ``[batch, 1, token, channel]``."""
        every = (len(displacement), 1, SLOTS**2, len(self.key))
        query = self.query(displacement)[:, None, None].expand(every)
        return turn(query, self.rotation), turn(self.key.expand(every), self.rotation)

    @torch.no_grad()
    def weights(self, displacement: Tensor) -> Tensor:
        """Attention weights ``[batch, query, key]``."""
        return attention_weights(*self.query_key(displacement))[:, 0]


def fit_mover(model: nn.Module, *, steps: int, batch: int, rate: float, seed: int = 1) -> float:
    """Train on new samples in every step (AdamW, cosine schedule); returns the seconds of processor time."""
    if steps < 1:
        raise UserError(f"steps counts the updates of the weights and must be at least 1; got {steps}")
    generator, begun = torch.Generator().manual_seed(seed), time.process_time()
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    for step in range(steps):
        warm = min(1.0, (step + 1) / 20)
        optimizer.param_groups[0]["lr"] = rate * warm * (1 + math.cos(math.pi * step / steps)) / 2
        before, displacement, after = draw_moved(batch, generator=generator)
        loss = F.mse_loss(model(before, displacement), after)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - begun


@torch.no_grad()
def mover_error(mover: Mover, samples: Moved) -> float:
    """Relative L2 error ``|forecast - after| / |after|``, mean over the samples."""
    return float(relative_error(mover(samples.before, samples.displacement), samples.after))


def _cut(field: Tensor) -> Tensor:
    """``[batch, y, x]`` -> tokens ``[batch, token_y, token_x, channel]``."""
    return tokenize(field[:, None], (1, TOKEN, TOKEN))[:, 0]


def _join(tokens: Tensor) -> Tensor:
    """Inverse of :func:`_cut`."""
    return detokenize(tokens[:, None], (1, TOKEN, TOKEN))[:, 0]


def _perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, outputs)
    )


def _wave_numbers() -> tuple[Tensor, Tensor]:
    ky = torch.fft.fftfreq(POINTS, 1 / POINTS)[:, None]
    return ky, torch.arange(POINTS // 2 + 1, dtype=torch.float32)
