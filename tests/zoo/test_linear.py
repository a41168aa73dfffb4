"""Linear fits recover a known linear operator; the Fourier one, also one that no stencil holds."""

import pytest
import torch

from atmorep_lite.errors import UserError
from atmorep_lite.zoo import linear_extrapolation, persistence
from atmorep_lite.zoo.linear import FourierDiagonal, RidgeStencil


def trajectories_of(step, count: int = 6, frames: int = 8, points: int = 12) -> torch.Tensor:
    """Random first three frames, then ``step`` (float64 ``[batch, 3, y, x]`` -> next frame)."""
    out = list(torch.randn(3, count, points, points, generator=torch.Generator().manual_seed(0)).double())
    for _ in range(frames - 3):
        out.append(step(torch.stack(out[-3:], 1)))
    return torch.stack(out, 1)


def stencil_step(kernel: torch.Tensor):
    """The naive loop: out[y, x] = sum kernel[f, j, i] frame[f, y + j - 2, x + i - 2]."""

    def step(frames: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(frames[:, 0])
        for f in range(3):
            for j in range(5):
                for i in range(5):
                    out += kernel[f, j, i] * frames[:, f].roll((2 - j, 2 - i), (-2, -1))
        return out

    return step


def test_ridge_recovers_a_stencil() -> None:
    kernel = 0.1 * torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(1)).double()
    step = stencil_step(kernel)
    model = RidgeStencil.fit(trajectories_of(step), penalty=1e-13)
    torch.testing.assert_close(model.kernel, kernel, rtol=1e-8, atol=1e-9)
    seen = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(model(seen), step(seen), rtol=1e-8, atol=1e-8)


def test_fourier_diagonal_recovers_a_translation_by_a_fraction_of_a_cell() -> None:
    """Shift by 3.5 cells in x: outside of any 5 x 5 stencil, and one phase per wave vector."""
    phase = torch.exp(
        -2j * torch.pi * torch.fft.rfftfreq(15, dtype=torch.float64) * 3.5
    )  # odd: no wave without a partner

    def step(frames: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(frames[:, -1]) * phase, s=(15, 15))

    record = trajectories_of(step, frames=4, points=15)  # the first three frames are independent
    model = FourierDiagonal.fit(record, penalty=1e-13)
    seen = torch.randn(2, 3, 15, 15, generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(model(seen), step(seen), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model.weights[2], phase.expand(15, 8), rtol=1e-6, atol=1e-6)
    assert (RidgeStencil.fit(record)(seen) - step(seen)).norm() > 0.5 * step(seen).norm()


@pytest.mark.parametrize("truth", [persistence, linear_extrapolation])
def test_both_find_what_is_simplest(truth) -> None:
    record = trajectories_of(truth, frames=4)
    seen = record[:, :3]
    for model in (RidgeStencil.fit(record, penalty=1e-12), FourierDiagonal.fit(record, penalty=1e-12)):
        torch.testing.assert_close(model(seen), truth(seen), rtol=1e-6, atol=1e-6)


def test_single_precision_frames_stay_single() -> None:
    record = trajectories_of(persistence, frames=4).float()
    for model in (RidgeStencil.fit(record), FourierDiagonal.fit(record)):
        assert model(record[:, :3]).dtype == torch.float32


def test_even_stencil_is_refused() -> None:
    with pytest.raises(UserError, match="odd width"):
        RidgeStencil.fit(torch.randn(1, 4, 8, 8), width=4)
