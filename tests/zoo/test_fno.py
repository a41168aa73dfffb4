"""The Fourier neural operator against a discrete Fourier transform written as a loop."""

import cmath

import torch

from atmorep_lite.zoo.fno import FNO, FNOConfig, SpectralConv


def test_spectral_convolution_is_a_loop_over_waves() -> None:
    torch.manual_seed(0)
    n, modes, width = 6, 2, 2
    layer = SpectralConv(width, modes).double()
    x = torch.randn(1, width, n, n).double()
    weight = torch.view_as_complex(layer.weight.detach())
    out = torch.zeros(width, n, n).double()
    for row, ky in enumerate(range(1 - modes, modes)):
        for kx in range(modes):
            waves = torch.tensor(
                [[cmath.exp(2j * cmath.pi * (ky * y + kx * z) / n) for z in range(n)] for y in range(n)],
                dtype=torch.complex128,
            )
            spectrum = (x[0] * waves.conj()).sum((1, 2))  # [c]
            if kx == 0:  # the other half of a real field holds (-ky, 0) too; both are kept here, one by one
                out += (weight[row, 0].T @ spectrum)[:, None, None].mul(waves).real / n**2
            else:
                out += 2 * (weight[row, kx].T @ spectrum)[:, None, None].mul(waves).real / n**2
    torch.testing.assert_close(layer(x)[0], out)


def test_size_translation_and_start() -> None:
    torch.manual_seed(0)
    model = FNO(FNOConfig()).eval()
    assert 220_000 < sum(p.numel() for p in model.parameters()) < 260_000
    frames = torch.randn(1, 3, 32, 32)
    moved = model(frames.roll((3, -5), (-2, -1)))
    torch.testing.assert_close(moved.roll((-3, 5), (-2, -1)), model(frames), rtol=1e-4, atol=1e-5)


def test_saved_model_is_the_same(tmp_path) -> None:
    model = FNO(FNOConfig(modes=3, width=4, layers=2, scale=0.7)).eval()
    model.save_pretrained(tmp_path)
    frames = torch.randn(1, 3, 16, 16)
    assert torch.equal(FNO.from_pretrained(tmp_path)(frames), model(frames))
