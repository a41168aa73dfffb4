"""Linear forecasters, fitted in closed form: the same rule everywhere, so blind to who is carried by whom.

The domain is periodic and no place is special, so the best linear forecaster is a convolution.  Either it is
told to be local (ridge regression on a stencil) or not (one 1 x 3 matrix per wave vector).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from atmorep_lite.errors import UserError
from atmorep_lite.zoo.forecaster import FRAMES, check_frames, stretches


class RidgeStencil:
    """Next frame = weighted sum of the ``width`` x ``width`` points around, in all three frames.

    Parameters
    ----------
    kernel
        ``[3, width, width]`` (frame, y, x); see :meth:`fit`.
    """

    def __init__(self, kernel: Tensor) -> None:
        self.kernel = kernel

    @classmethod
    def fit(cls, trajectories: Tensor, *, width: int = 5, penalty: float = 1e-6) -> RidgeStencil:
        """Least squares over all points of all windows of ``[trajectory, frame, y, x]``.

        ``penalty`` is added to the Gram matrix, relative to its mean diagonal.  On the torus a product of two
        inputs, summed over all points, depends on their displacement alone, so a Fourier transform gives all
        sums at once.

        Raises
        ------
        UserError
            If ``width`` is even or wider than the grid.
        """
        if width % 2 == 0 or not 0 < width <= trajectories.shape[-1]:
            raise UserError(
                f"a stencil of width {width} has no centre point on this grid; choose an odd width"
            )
        lagged = torch.fft.irfft2(_products(trajectories), s=trajectories.shape[-2:])  # [f, g, lag y, lag x]
        axis = torch.arange(width) - width // 2
        f, y, x = torch.cartesian_prod(torch.arange(FRAMES), axis, axis).T
        gram = lagged[f[:, None], f[None, :], y[None, :] - y[:, None], x[None, :] - x[:, None]]
        gram += penalty * gram.diagonal().mean() * torch.eye(len(gram))
        cross = lagged[f, FRAMES, -y, -x]
        return cls(torch.linalg.solve(gram, cross).reshape(FRAMES, width, width))

    def __call__(self, frames: Tensor) -> Tensor:
        """``[batch, 3, y, x]`` -> ``[batch, y, x]``."""
        kernel = self.kernel.to(frames)[None]
        return F.conv2d(_wrapped(check_frames(frames), kernel.shape[-1]), kernel)[:, 0]


class FourierDiagonal:
    """Next frame's coefficient = weighted sum of the three frames' coefficients of the same wave vector.

    The most general linear forecaster that treats all places alike.

    Parameters
    ----------
    weights
        ``[3, ky, kx]`` complex, for the coefficients of ``torch.fft.rfft2``; see :meth:`fit`.
    """

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    @classmethod
    def fit(cls, trajectories: Tensor, *, penalty: float = 1e-9) -> FourierDiagonal:
        """Least squares per wave vector over all windows of ``[trajectory, frame, y, x]``, in float64.

        ``penalty`` is added to each Gram matrix, relative to its own mean diagonal.
        """
        products = _products(trajectories).movedim((0, 1), (-2, -1))  # [ky, kx, f, g]
        gram, cross = products[..., :FRAMES, :FRAMES], products[..., :FRAMES, FRAMES]
        diagonal = gram.diagonal(dim1=-2, dim2=-1).real.mean(-1) + 1e-30
        gram = gram + (penalty * diagonal)[..., None, None] * torch.eye(FRAMES)
        return cls(torch.linalg.solve(gram, cross).movedim(-1, 0))

    def __call__(self, frames: Tensor) -> Tensor:
        """``[batch, 3, y, x]`` -> ``[batch, y, x]``."""
        check_frames(frames)
        spectrum = (torch.fft.rfft2(frames.double()) * self.weights).sum(1)
        return torch.fft.irfft2(spectrum, s=frames.shape[-2:]).to(frames.dtype)


def _products(trajectories: Tensor, batch: int = 64) -> Tensor:
    """Sums over all windows of conj(frame f) times frame g in Fourier space, ``[f, g, ky, kx]``.

    Frames 0 to 2 are those seen, frame 3 is the next.  In double precision.
    """
    total = torch.zeros(())
    for part in stretches(trajectories).split(batch):
        spectrum = torch.fft.rfft2(part.double())
        total = total + torch.einsum("sfyx,sgyx->fgyx", spectrum.conj(), spectrum)
    return total


def _wrapped(x: Tensor, width: int) -> Tensor:
    """``[b, c, y, x]`` with periodic edges for a stencil of ``width``."""
    return F.pad(x, (width // 2,) * 4, mode="circular")
