"""Fourier neural operator: the usual rival on periodic flows (Li et al. 2021, arXiv:2010.08895)."""

from __future__ import annotations

import os

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from atmorep_lite.config import Strict
from atmorep_lite.zoo.folder import load_folder, save_folder
from atmorep_lite.zoo.forecaster import FRAMES, check_frames
from atmorep_lite.zoo.periodic import PeriodicConv


class FNOConfig(Strict):
    """Size of an :class:`FNO`: ``modes`` is the number of waves kept on each side of zero."""

    modes: int = Field(default=8, gt=0)
    width: int = Field(default=16, gt=0)
    layers: int = Field(default=4, gt=0)
    scale: float = Field(default=1.0, gt=0)


class SpectralConv(nn.Module):
    """A convolution over the whole domain: one complex matrix ``[c_in, c_out]`` per long wave.

    Kept are ``|ky| < modes`` and ``0 <= kx < modes``; shorter waves are left out.
    """

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.randn(2 * modes - 1, modes, width, width, 2) / width)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, y, x]`` -> the same shape."""
        m, spectrum = self.modes, torch.fft.rfft2(x)
        rows = torch.arange(1 - m, m) % x.shape[-2]
        weight = torch.view_as_complex(self.weight)
        out = torch.zeros_like(spectrum)
        out[:, :, rows, :m] = torch.einsum("bcyx,yxcd->bdyx", spectrum[:, :, rows, :m], weight)
        return torch.fft.irfft2(out, s=x.shape[-2:])


class FNO(nn.Module):
    """Forecasts the next frame ``[batch, y, x]`` from three ``[batch, 3, y, x]``.

    Lift each point's three values to ``width`` channels; ``layers`` times gelu(spectral convolution + 1 x 1
    convolution); two pointwise layers give the increment.  As in the paper but for the increment, and without
    coordinates as inputs, so that the operator commutes with translations.
    """

    def __init__(self, config: FNOConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.lift = PeriodicConv(FRAMES, width, 1)
        self.spectral = nn.ModuleList(SpectralConv(width, config.modes) for _ in range(config.layers))
        self.local = nn.ModuleList(PeriodicConv(width, width, 1) for _ in range(config.layers))
        self.project = nn.Sequential(
            PeriodicConv(width, 4 * width, 1), nn.GELU(), PeriodicConv(4 * width, 1, 1)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """The next frame."""
        x = check_frames(frames) / self.config.scale
        y = self.lift(x)
        for spectral, local in zip(self.spectral, self.local, strict=True):
            y = F.gelu(spectral(y) + local(y))
        return (x[:, -1] + self.project(y)[:, 0]) * self.config.scale

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str]) -> FNO:
        """The folder of a trained model; in evaluation mode."""
        return load_folder(name_or_path, cls, FNOConfig)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.yaml`` and ``model.safetensors``."""
        save_folder(folder, self, self.config)
