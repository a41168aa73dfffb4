"""VortexFormer: a space-time patch transformer that forecasts vorticity on a periodic square."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from atmorep_lite.attention import attend, join_heads, split_heads
from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.config import Strict, Triple
from atmorep_lite.errors import UserError
from atmorep_lite.model.layers import MLP, layer_norm
from atmorep_lite.tokens import detokenize, tokenize
from atmorep_lite.zoo.folder import load_folder, save_folder
from atmorep_lite.zoo.forecaster import FRAMES, check_frames
from atmorep_lite.zoo.periodic import PeriodicConv, resolved
from atmorep_lite.zoo.torus_rotary import beside, rotation, turn

Trace = list[tuple[Tensor, Tensor]]
"""Queries and keys of each layer as they enter the dot product, ``[b, h, token, channel]``."""


class VortexFormerConfig(Strict):
    """Size and parts of a :class:`VortexFormer`.

    ``token_size`` is (frames, y, x): (3, 4, 4) puts all three frames into one token, (1, 2, 2) keeps frames
    apart, so that attention to an earlier frame exists.  ``stem`` (channels of a periodic convolution before
    the tokens, 0: none), ``gate`` (the output is a sum of products with the stem's channels, as -u . grad w
    is) and the two limits below let information pass between places by other ways than attention; a model
    made for looking at attention has none of them.
    ``waves="space"`` encodes places only, with shorter waves then; frames in separate tokens are told apart
    by a learnt vector per frame alone.

    Two limits hold a forecast to what the flow can do, without any learning.  ``conserve``: its mean
    vorticity is the newest frame's.  ``dealias``: it has no waves beyond those of the flow (the two-thirds
    rule of the solver).  Each projects onto a set that holds the truth, so no error grows by it.

    Two more help learning to begin.  ``focus`` > 0 lets every head start with a blob of weights beside its
    query (see :func:`~atmorep_lite.zoo.torus_rotary.beside`), the narrowest with this concentration.
    ``raw_values`` leaves the first layer's values unnormalised, so that this layer can be linear in the
    vorticity, as the wind is.
    """

    points: int = Field(default=64, gt=0)
    token_size: tuple[int, int, int] = (3, 4, 4)
    width: int = Field(default=96, gt=0)
    layers: int = Field(default=4, gt=0)
    heads: int = Field(default=6, gt=0)
    stem: int = Field(default=0, ge=0)
    gate: bool = False
    conserve: bool = False
    dealias: bool = False
    waves: Literal["space-time", "space"] = "space-time"
    focus: float = Field(default=0.0, ge=0)
    raw_values: bool = False
    scale: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> VortexFormerConfig:
        if any(size < 1 for size in self.token_size):
            raise ValueError("token_size must hold positive numbers (frames, y, x)")
        if any(n % size for n, size in zip(self.grid, self.token_size, strict=True)):
            raise ValueError(
                f"tokens of {self.token_size} do not divide {self.grid} (frames, y, x); choose divisors"
            )
        if self.slots == (1, 1, 1):
            raise ValueError(
                "one token would hold everything and have nothing to attend to; choose smaller ones"
            )
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is no even multiple of {self.heads} heads")
        if self.focus and (1 in self.slots[1:] or self.width < 4 * self.heads):
            raise ValueError("focus needs several tokens along y and x, and 4 channels a head")
        if self.gate and not self.stem:
            raise ValueError("gate needs a stem: the output is a product with the stem's channels")
        return self

    @property
    def grid(self) -> Triple:
        """Size of the input (frames, y, x)."""
        return FRAMES, self.points, self.points

    @property
    def slots(self) -> Triple:
        """Number of tokens in each direction (time, y, x)."""
        t, y, x = (n // size for n, size in zip(self.grid, self.token_size, strict=True))
        return t, y, x


class TorusLayer(nn.Module):
    """Self-attention with positions on the torus, then a perceptron; both residual, on normalised inputs."""

    def __init__(self, config: VortexFormerConfig, index: int) -> None:
        super().__init__()
        e, self.heads = config.width, config.heads
        self.q = nn.Linear(e, e)
        self.k = nn.Linear(e, e)
        self.v = nn.Linear(e, e)
        self.out = nn.Linear(e, e)
        self.mlp = MLP(e, 2, 0.0, published=False)
        self.raw_values = config.raw_values and index == 0
        if config.focus:
            angles = 2 * math.pi * (torch.arange(self.heads) + index / config.layers) / self.heads
            with torch.no_grad():
                for bias, start in zip(
                    (self.q.bias, self.k.bias), beside(config.focus, angles, e // self.heads), strict=True
                ):
                    bias.copy_(start.flatten())

    def forward(
        self, x: Tensor, rotation: Tensor, silent: Collection[int] = (), trace: Trace | None = None
    ) -> Tensor:
        """``x`` ``[b, token, e]``; ``silent`` heads contribute nothing."""
        normed = layer_norm(x)
        q, k = (split_heads(f(normed), self.heads) for f in (self.q, self.k))
        v = split_heads(self.v(x if self.raw_values else normed), self.heads)
        q, k = turn(q, rotation), turn(k, rotation)
        if trace is not None:
            trace.append((q, k))
        heard = attend(q, k, v)
        if silent:
            heard = heard.clone()
            heard[:, sorted(silent)] = 0.0
        return self.mlp(x + self.out(join_heads(heard)))


class VortexFormer(nn.Module):
    """Forecasts frame t+1 ``[batch, y, x]`` from frames t-2, t-1, t ``[batch, 3, y, x]``.

    tokens = linear(patches of the frames, or of a periodic convolution of them); ``layers`` times attention
    and perceptron; increment = linear(tokens of the newest frame), or with ``gate`` the sum over channels of
    (stem's channel at each point) x (what the tokens say there); forecast = newest frame + increment.
    """

    def __init__(self, config: VortexFormerConfig) -> None:
        super().__init__()
        self.config = config
        tt, ty, tx = config.token_size
        self.stem: nn.Module | None = None
        channels = tt
        if config.stem:
            channels = config.stem
            self.stem = nn.Sequential(
                PeriodicConv(tt, channels, 5), nn.GELU(), PeriodicConv(channels, channels, 3)
            )
        self.embed = nn.Linear(channels * ty * tx, config.width)
        self.slot = nn.Parameter(torch.zeros(config.slots[0], 1, config.width))
        self.layers = nn.ModuleList(TorusLayer(config, index) for index in range(config.layers))
        self.head = nn.Linear(config.width, (channels if config.gate else 1) * ty * tx)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.mix = PeriodicConv(channels, 1, 1) if config.gate else None
        nt, ny, nx = config.slots
        places = rotation(
            config.slots if config.waves == "space-time" else (1, ny, nx), config.width // config.heads
        )
        self.register_buffer(
            "rotation", places.repeat(1, nt * ny * nx // places.shape[1], 1), persistent=False
        )

    def forward(
        self, frames: Tensor, *, silence: Collection[tuple[int, int]] = (), trace: Trace | None = None
    ) -> Tensor:
        """The next frame.

        Parameters
        ----------
        frames
            ``[batch, 3, y, x]`` vorticity at t-2, t-1, t.
        silence
            Heads to knock out, as (layer, head).
        trace
            If given, queries and keys of every layer are appended.
        """
        self._check(frames, silence)
        tt, ty, tx = self.config.token_size
        nt, ny, nx = self.config.slots
        x = frames / self.config.scale
        features = x.unflatten(1, (nt, tt)).flatten(0, 1)  # [b nt, tt, y, x]
        if self.stem is not None:
            features = self.stem(features)
        channels = features.shape[1]
        tokens = self.embed(tokenize(features, (channels, ty, tx))).reshape(len(x), nt, ny * nx, -1)
        tokens = (tokens + self.slot).flatten(1, 2)
        for index, layer in enumerate(self.layers):
            silent = [head for at, head in silence if at == index]
            tokens = layer(tokens, self.rotation, silent, trace)
        newest = tokens[:, -ny * nx :].reshape(len(x), 1, ny, nx, -1)
        said = detokenize(self.head(layer_norm(newest)), (self.head.out_features // (ty * tx), ty, tx))
        if self.mix is not None:
            said = self.mix(said * features.unflatten(0, (-1, nt))[:, -1])
        increment = said[:, 0]
        if self.config.conserve:
            increment = increment - increment.mean((-2, -1), keepdim=True)
        forecast = (x[:, -1] + increment) * self.config.scale
        return resolved(forecast) if self.config.dealias else forecast

    def _check(self, frames: Tensor, silence: Collection[tuple[int, int]]) -> None:
        check_frames(frames)
        n = self.config.points
        if frames.shape[-2:] != (n, n):
            found = " x ".join(map(str, frames.shape[-2:]))
            raise UserError(f"this model was made for {n} x {n} points; the frames have {found}")
        for layer, head in silence:
            if not (0 <= layer < self.config.layers and 0 <= head < self.config.heads):
                raise UserError(
                    f"there is no head {head} in layer {layer}; layers run to {self.config.layers - 1}, "
                    f"heads to {self.config.heads - 1}"
                )

    def capture(self, frames: Tensor) -> AttentionCapture:
        """What the model attends to on ``frames`` ``[3, y, x]``, for the explorer and ``attention_maps``."""
        from atmorep_lite.zoo.capture import capture_vortices

        if frames.dim() != 3:
            raise UserError(f"capture takes one sample, [3, y, x]; the shape given is {tuple(frames.shape)}")
        return capture_vortices(self, frames)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str] = "vortices") -> VortexFormer:
        """A shipped model by its name, or the folder of your own; in evaluation mode."""
        return load_folder(name_or_path, cls, VortexFormerConfig)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.yaml`` and ``model.safetensors``."""
        save_folder(folder, self, self.config)
