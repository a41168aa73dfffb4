"""Tasks on a ring of tokens, and networks small enough to learn them within seconds (chapter 5).

A token of these tasks is three numbers: the cosine and the sine of its place on the ring, and a reading.
Legend of axes: ``b`` sample, ``n`` token, ``h`` head, ``c`` number of a token.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from atmorep_lite.attention import attend, attention_weights, join_heads, split_heads
from atmorep_lite.errors import UserError

Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""``draw(count, generator)`` gives tokens ``[b, n, c]`` and what is wanted of each, ``[b, n, output]``."""

TOKEN = 3  # cosine, sine, reading


def ring_tokens(angle: Tensor, reading: Tensor) -> Tensor:
    """Tokens ``[..., n, 3]`` from places (radians) and readings ``[..., n]``."""
    return torch.stack((angle.cos(), angle.sin(), reading), -1)


def regular_angles(points: int) -> Tensor:
    """Places ``[n]`` in radians, equally spaced and symmetric about 0, so that reversal is a reflection."""
    return (torch.arange(points) + 0.5) * 2 * math.pi / points


def stations(
    count: int,
    generator: torch.Generator,
    *,
    points: int = 32,
    waves: int = 2,
    regular: bool = False,
    return_angles: bool = False,
) -> tuple[Tensor, ...]:
    """Noisy readings of smooth random curves on a ring; wanted are the curves without the noise.

    A curve is a sum of sines and cosines with 1 to ``waves`` periods and independent normal coefficients.
    Its values have mean 0 and variance 1, and so has the noise.

    Parameters
    ----------
    count
        Number of samples; each has a curve, places and noise of its own.
    generator
        Source of all randomness.
    points
        Stations on the ring.
    waves
        Greatest wave number.
    regular
        Equally spaced stations, the same in each sample, instead of random places.
    return_angles
        Also return the places in radians, ``[b, n]``.

    Returns
    -------
    tokens, curve
        ``[b, n, 3]`` and ``[b, n, 1]``, then the places if wanted.
    """
    if points < 1 or waves < 1:
        raise UserError(f"There are {points} points and {waves} waves, where at least 1 of each is needed.")
    random = 2 * math.pi * torch.rand(count, points, generator=generator)
    angle = regular_angles(points).expand(count, -1) if regular else random
    phase = angle[..., None] * torch.arange(1, waves + 1)  # [b, n, wave]
    waviness = torch.cat((phase.cos(), phase.sin()), -1)
    coefficients = torch.randn(count, 2 * waves, generator=generator) / math.sqrt(waves)
    curve = torch.einsum("bnw,bw->bn", waviness, coefficients)
    noise = torch.randn(count, points, generator=generator)
    drawn = ring_tokens(angle, curve + noise), curve[..., None]
    return (*drawn, angle) if return_angles else drawn


def fetch(wanted: Callable[[Tensor], Tensor], *, points: int = 12) -> Draw:
    """A task with independent readings at equally spaced places: return ``wanted(readings)``.

    Parameters
    ----------
    wanted
        From readings ``[b, n, 1]`` to outputs ``[b, n, output]``; for instance ``lambda y: y.flip(1)``, the
        sequence backwards.
    points
        Tokens on the ring.
    """

    def draw(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        reading = torch.randn(count, points, generator=generator)
        return ring_tokens(regular_angles(points).expand(count, -1), reading), wanted(reading[..., None])

    return draw


def per_token_mlp(outputs: int = 1, *, inputs: int = TOKEN, width: int = 32) -> nn.Sequential:
    """A multilayer perceptron that maps each token by itself, ``[b, n, inputs]`` -> ``[b, n, outputs]``."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


class AttentionLayer(nn.Module):
    """One layer of self-attention and nothing else: no perceptron, no residual connection, no constant terms.

    Parameters
    ----------
    outputs
        Numbers that are wanted for each token.
    inputs
        Numbers of a token.
    width
        Channels of all heads together; a head has ``width / heads``.
    heads
        Number of heads.

    Raises
    ------
    UserError
        If the width cannot be divided among the heads.
    """

    def __init__(self, outputs: int = 1, *, inputs: int = TOKEN, width: int = 8, heads: int = 1) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"A width of {width} cannot be shared by {heads} heads: choose a multiple of it.")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(inputs, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, outputs, bias=False)
        nn.init.zeros_(self.out.weight)  # with a random sign of the output, many trainings get stuck

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = (split_heads(part(tokens), self.heads) for part in (self.query, self.key, self.value))
        return self.out(join_heads(attend(q, k, v)))

    @torch.no_grad()
    def weights(self, tokens: Tensor) -> Tensor:
        """Attention weights ``[b, h, n, n]``: query token, then key token."""
        q, k = (split_heads(part(tokens), self.heads) for part in (self.query, self.key))
        return attention_weights(q, k)

    @torch.no_grad()
    def forms(self) -> Tensor:
        """The bilinear forms ``G_h = W_q^T W_k / sqrt(d)``, ``[h, c, c]``: scores are ``t_i . G_h t_j``."""
        q, k = (part.weight.unflatten(0, (self.heads, -1)) for part in (self.query, self.key))  # [h, d, c]
        return q.mT @ k / math.sqrt(q.shape[1])


def fit(
    make: Callable[[], nn.Module],
    draw: Draw,
    *,
    steps: int = 300,
    batch: int = 64,
    rate: float = 0.1,
    tries: int = 1,
    seed: int = 0,
) -> nn.Module:
    """Train a network on fresh samples at every step; of several tries, return the best one.

    Adam on the mean squared error; the rate falls linearly to 0.  Layers as small as these get stuck with
    some random weights, hence ``tries``.  The global random state is left as it was.

    Parameters
    ----------
    make
        Makes the network; called once per try.
    draw
        The task.
    steps, batch, rate
        Number of steps, samples per step, learning rate at the start.
    tries
        Number of trainings from different random weights.
    seed
        Of the first try; the next ones count on.
    """
    if tries < 1 or steps < 1:
        raise UserError(f"There are {tries} tries of {steps} steps, where at least 1 of each is needed.")
    fitted = (_train(make, draw, steps, batch, rate, seed + k) for k in range(tries))
    return min(fitted, key=partial(relative_rmse, draw=draw, seed=seed))


def _train(
    make: Callable[[], nn.Module], draw: Draw, steps: int, batch: int, rate: float, seed: int
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=steps)
    for _ in range(steps):
        tokens, wanted = draw(batch, generator)
        loss = (network(tokens) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


@torch.no_grad()
def relative_rmse(
    network: Callable[[Tensor], Tensor], draw: Draw, *, count: int = 2048, seed: int = 99
) -> float:
    """Root mean square error on fresh samples over the root mean square of what is wanted.

    1 is the error of always answering 0.
    """
    tokens, wanted = draw(count, torch.Generator().manual_seed(seed))
    return float(((network(tokens) - wanted).square().mean() / wanted.square().mean()).sqrt())


def symmetric_share(form: Tensor) -> Tensor:
    """Share of the squared size of a matrix ``[..., c, c]`` that its symmetric part has: 1 if ``G = G^T``.

    It is 0 if ``G = -G^T``, and one half on average for independent entries as their number grows.
    """
    symmetric = (form + form.mT) / 2
    return symmetric.square().sum((-1, -2)) / form.square().sum((-1, -2))


def form_table(layers: Mapping[str, AttentionLayer], tasks: Mapping[str, Draw]) -> pd.DataFrame:
    """Error, symmetric share and eigenvalues of the first head's form, a row for each trained layer."""
    rows = {}
    for name, layer in layers.items():
        form = layer.forms()[0]
        rows[name] = {
            "error": relative_rmse(layer, tasks[name]),
            "symmetric share": float(symmetric_share(form)),
            "eigenvalues": ", ".join(map(_number_text, torch.linalg.eigvals(form).tolist())),
        }
    return pd.DataFrame(rows).T


def _number_text(number: complex) -> str:
    """Rounded to whole numbers; the lesser of real and imaginary part is left out."""
    imaginary = abs(number.imag) > abs(number.real)
    part = round(number.imag if imaginary else number.real)
    return f"{part}{'i' if imaginary and part else ''}".replace("-", "−")


def linear_error(draw: Draw, *, count: int = 4096) -> float:
    """Relative error of the best fixed linear map from all readings of a sample to all that is wanted.

    Fitted by least squares to one set of samples, measured on another.
    """
    tokens, wanted = draw(count, torch.Generator().manual_seed(0))
    best = torch.linalg.lstsq(tokens[..., -1], wanted.flatten(1)).solution  # [n, n * output]
    return relative_rmse(lambda t: (t[..., -1] @ best).unflatten(1, (t.shape[1], -1)), draw)


def entropy_share(weights: Tensor) -> Tensor:
    """Entropy of weights ``[..., n]`` over that of equal weights, ``ln n``: 0 for an argmax, 1 for a mean."""
    return -torch.xlogy(weights, weights).sum(-1) / math.log(weights.shape[-1])


def attention_seconds(tokens: int, *, heads: int = 4, channels: int = 32, repeats: int = 5) -> float:
    """The shortest time of several runs of :func:`~atmorep_lite.attention.attend` on random numbers."""
    x = torch.randn(1, heads, tokens, channels)
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        attend(x, x, x)
        taken.append(time.perf_counter() - began)
    return min(taken)
