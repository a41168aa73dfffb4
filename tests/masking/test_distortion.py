"""What stands in place of hidden tokens, against loops and against what the published code does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional as F

from atmorep_lite.config import MaskingConfig
from atmorep_lite.masking import coarsen, corrupt_as_published, distort
from atmorep_lite.masking.distortion import averaging

SIZE = (2, 4, 6)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spoilt(values: torch.Tensor, mask: torch.Tensor, size=SIZE, seed: int = 0, **rates: float):
    rngs = [np.random.default_rng([seed, b]) for b in range(len(values))]
    return distort(values, mask, size, MaskingConfig(**rates), rngs)


def coarse_by_hand(row: list[float], cells: int) -> list[float]:
    """Cells of equal length along a row of points, each of length 1; means there, and back."""
    length = len(row) / cells

    def overlap(cell: int, point: int) -> float:
        return max(0.0, min((cell + 1) * length, point + 1) - max(cell * length, point))

    means = [sum(overlap(c, p) * row[p] for p in range(len(row))) / length for c in range(cells)]
    return [sum(overlap(c, p) * means[c] for c in range(cells)) for p in range(len(row))]


@settings(max_examples=50, deadline=None)
@given(points=st.integers(1, 20), factor=st.floats(1.0, 5.0), seed=st.integers(0, 1000))
def test_averaging_against_a_loop(points: int, factor: float, seed: int) -> None:
    row = np.random.default_rng(seed).normal(size=points)
    cells = max(1, int(points / factor))
    ours = averaging(points, cells) @ torch.from_numpy(row)
    np.testing.assert_allclose(ours.numpy(), coarse_by_hand(row.tolist(), cells), atol=1e-12)
    assert float(ours.mean()) == pytest.approx(row.mean(), abs=1e-12)


def test_coarse_tokens_against_a_loop_over_points() -> None:
    factors = torch.tensor([1.0, 1.3, 2.0, 2.0, 3.9])
    tokens = normal(5, 48)
    ours = coarsen(tokens, SIZE, factors).view(5, *SIZE)
    for n, factor in enumerate(factors.tolist()):
        for t in range(2):
            plane = tokens.view(5, *SIZE)[n, t].numpy()
            rows = np.stack([coarse_by_hand(r.tolist(), int(6 / factor)) for r in plane])
            both = np.stack([coarse_by_hand(c.tolist(), int(4 / factor)) for c in rows.T]).T
            np.testing.assert_allclose(ours[n, t].numpy(), both, atol=1e-6)
    torch.testing.assert_close(ours[0].flatten(), tokens[0])  # at its own resolution
    blocks = tokens.view(5, 2, 2, 2, 3, 2)[2].mean((2, 4))  # half the resolution: means of 2 x 2 points
    torch.testing.assert_close(ours[2], blocks.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_true_coarsening_takes_more_away_than_the_published_smoothing() -> None:
    """White noise on 9 x 9 points: on 4 x 4 cells a ninth of the variance is left.

    Interpolating up to 13 x 13 points and back, as the published code does, leaves about a half.
    """
    tokens = normal(2000, 81)
    left = coarsen(tokens, (1, 9, 9), torch.full((2000,), 2.0)).var().item()
    assert left == pytest.approx(float(averaging(9, 4).square().sum() / 9) ** 2, rel=0.02)
    up = F.interpolate(tokens.view(-1, 1, 1, 9, 9), size=(1, 13, 13), mode="trilinear")
    smooth = F.interpolate(up, size=(1, 9, 9), mode="trilinear").var().item()
    assert left == pytest.approx(0.113, abs=0.01) and smooth == pytest.approx(0.5, abs=0.1)


def test_distorted_tokens_mix_as_often_as_the_settings_say() -> None:
    values = 1.0 + normal(40, 2, 5, 4, 4, 48).abs()
    mask = normal(40, 2, 5, 4, 4, seed=1) > 0
    shown, original = spoilt(values, mask), values[mask]
    zero = int((shown == 0).all(-1).sum())
    same = int((shown == original).all(-1).sum())
    assert stats.binomtest(zero, len(shown), 0.9 * 0.8).pvalue > 1e-3
    assert stats.binomtest(same, len(shown), 0.1 * 0.8 * 0.95).pvalue > 1e-3


def test_each_kind_of_distortion() -> None:
    values, before = normal(3, 2, 3, 2, 4, 48), normal(3, 2, 3, 2, 4, 48)
    mask = normal(3, 2, 3, 2, 4, seed=1) > 0
    original = values[mask]
    assert torch.equal(spoilt(values, mask, zero=0.0, noise=0.0, coarse=0.0), original)
    assert (spoilt(values, mask, zero=1.0, noise=0.0, coarse=0.0) == 0).all()
    on_zeros = spoilt(values, mask, zero=1.0, noise=1.0, coarse=0.0)
    assert on_zeros.std().item() == pytest.approx(0.1, rel=0.05) and abs(on_zeros.mean().item()) < 0.01
    coarse = spoilt(values, mask, zero=0.0, noise=0.0, coarse=1.0, coarse_factor=1.0001)
    cells = coarsen(original, SIZE, torch.full((len(original),), 1.00005))
    torch.testing.assert_close(coarse, cells)  # 3 x 5 cells of 4 x 6 points in every sample
    assert torch.equal(values, before), "the input stays as it is"


def test_noise_is_mixed_in_by_a_uniform_share() -> None:
    values = torch.full((4, 1, 10, 10, 10, 48), 1000.0)
    mask = torch.ones(values.shape[:-1], dtype=torch.bool)
    mixed = spoilt(values, mask, zero=0.0, noise=1.0, coarse=0.0)
    assert stats.kstest(mixed.mean(-1).double() / 1000.0, "uniform").pvalue > 1e-3


def test_one_factor_per_sample_uniform_up_to_the_largest() -> None:
    """The impulse in a corner of a token tells into how many cells its side was cut."""
    values = torch.zeros(400, 1, 1, 1, 2, 64)
    values[..., 0] = 1.0
    mask = torch.ones(values.shape[:-1], dtype=torch.bool)
    shown = spoilt(values, mask, (1, 1, 64), zero=0.0, noise=0.0, coarse=1.0, coarse_factor=4.0)
    first = shown.view(400, 2, 64)[:, :, 0]
    assert torch.equal(first[:, 0], first[:, 1])
    cells = (first[:, 0].double() * 64).round()  # floor(64 / factor)
    assert cells.min() >= 16 and cells.max() <= 64
    for count in (20, 24, 32, 48):  # at least so many cells: a factor of 64 / count at most
        found = int((cells >= count).sum())
        assert stats.binomtest(found, 400, (64 / count - 1) / 3).pvalue > 1e-3


def published(values: torch.Tensor, seed: int = 0, **rates: float) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return corrupt_as_published(values, (2, 4, 4), MaskingConfig(**rates), np.random.default_rng(seed))


def test_published_corruption_touches_selected_tokens_only_and_not_its_input() -> None:
    values = torch.randn(3, 2, 3, 4, 32, generator=torch.Generator().manual_seed(0))
    before = values.clone()
    corrupted, mask = published(values, coarse=0.5)
    assert torch.equal(values, before)
    assert mask.any() and torch.equal(corrupted[~mask], values[~mask])
    zeroed, _ = published(values, zero=1.0, noise=0.0, coarse=0.0)
    assert (zeroed[mask] == 0).all()
    untouched, _ = published(values, zero=0.0, noise=0.0, coarse=0.0)
    assert torch.equal(untouched, values)


def test_published_corruption_mixes_as_often_as_it_says() -> None:
    values = torch.ones(40, 5, 5, 5, 4) + torch.rand(
        40, 5, 5, 5, 4, generator=torch.Generator().manual_seed(0)
    )
    corrupted, mask = corrupt_as_published(values, (1, 2, 2), MaskingConfig(), np.random.default_rng(0))
    picked, original = corrupted[mask], values[mask]
    zero = int((picked == 0).all(-1).sum())
    same = int((picked == original).all(-1).sum())
    # zeroed and not mixed with noise: 0.9 * 0.8; left as it is: 0.1 * 0.8 * 0.95
    assert stats.binomtest(zero, len(picked), 0.9 * 0.8).pvalue > 1e-3
    assert stats.binomtest(same, len(picked), 0.1 * 0.8 * 0.95).pvalue > 1e-3
    fractions = mask.flatten(1).double().mean(1)
    assert stats.kstest(fractions / 0.5, "uniform").pvalue > 1e-3
