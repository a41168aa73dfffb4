"""Losses against double loops, closed forms and the `scores` library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scores.probability
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, stats

from atmorep_lite.errors import UserError
from atmorep_lite.losses import (
    LOSSES,
    PATCH_LOSSES,
    check_losses,
    crps,
    fair_crps,
    fourier_coefficients,
    gaussian_crps,
    gaussian_likelihood,
    mse,
    mse_ensemble,
    published_kernel_crps,
    spectral,
    taper,
)

numbers = st.floats(-50, 50, width=32)
ensembles = hnp.arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(1, 4)), elements=numbers)
NEED_SPREAD = ("stats", "stats_area", "gaussian_crps", "gaussian_likelihood", "published_crps")


def double_loop(members: np.ndarray, target: np.ndarray, *, fair: bool) -> float:
    count, size = members.shape
    total = 0.0
    for n in range(size):
        accuracy = sum(abs(members[m, n] - target[n]) for m in range(count)) / count
        pairs = sum(abs(members[i, n] - members[j, n]) for i in range(count) for j in range(count))
        total += accuracy - 0.5 * pairs / (count * (count - 1) if fair else count**2)
    return total / size


def closed_form(mean: float, sigma: float, y: float) -> float:
    z = (y - mean) / sigma
    return sigma * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi))


@settings(max_examples=40, deadline=None)
@given(members=ensembles, data=st.data())
def test_crps_is_the_double_loop(members: np.ndarray, data) -> None:
    target = data.draw(hnp.arrays(np.float64, members.shape[1], elements=numbers))
    for loss, fair in ((crps, False), (fair_crps, True)):
        ours = float(loss(torch.from_numpy(members), torch.from_numpy(target)))
        assert ours == pytest.approx(double_loop(members, target, fair=fair), abs=1e-9)


@pytest.mark.parametrize(("loss", "method"), [(crps, "ecdf"), (fair_crps, "fair")])
def test_crps_is_that_of_the_scores_library(loss, method: str) -> None:
    rng = np.random.default_rng(0)
    members, target = rng.normal(size=(7, 50)), rng.normal(size=50)
    theirs = scores.probability.crps_for_ensemble(
        xr.DataArray(members, dims=("number", "x")), xr.DataArray(target, dims="x"), "number", method=method
    )
    ours = loss(torch.from_numpy(members), torch.from_numpy(target))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-10)


@pytest.mark.parametrize(("mean", "sigma", "y"), [(0, 1, 0), (0, 1, 2.5), (3, 0.5, 1), (-1, 4, 0)])
def test_crps_of_many_members_is_the_gaussian_one(mean: float, sigma: float, y: float) -> None:
    quantiles = stats.norm.ppf((np.arange(4000) + 0.5) / 4000, mean, sigma)
    members, target = torch.from_numpy(quantiles)[:, None], torch.tensor([float(y)])
    expected, _ = integrate.quad(
        lambda x: (stats.norm.cdf(x, mean, sigma) - (x >= y)) ** 2,
        mean - 12 * sigma,
        mean + 12 * sigma,
        points=[y],
        limit=200,
    )
    assert closed_form(mean, sigma, y) == pytest.approx(expected, abs=1e-6)
    for loss in (crps, fair_crps, gaussian_crps):
        assert float(loss(members, target)) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_fair_crps_is_unbiased_and_crps_has_the_known_bias(count: int) -> None:
    rng = np.random.default_rng(count)
    members = torch.from_numpy(rng.normal(size=(count, 200_000)))
    target = torch.full((200_000,), 0.7, dtype=torch.float64)
    exact = closed_form(0.0, 1.0, 0.7)
    assert float(fair_crps(members, target)) == pytest.approx(exact, abs=4e-3)
    # pairs of equal members lower E|X - X'| / 2 = 1 / sqrt(pi) by one part in `count`
    assert float(crps(members, target)) == pytest.approx(exact + 1 / (count * math.sqrt(math.pi)), abs=4e-3)


def test_gaussian_crps_uses_the_sample_mean_and_spread() -> None:
    rng = np.random.default_rng(0)
    members, target = rng.normal(2.0, 3.0, (5, 20)), rng.normal(size=20)
    expected = np.mean(
        [closed_form(m.mean(), m.std(ddof=1), y) for m, y in zip(members.T, target, strict=True)]
    )
    ours = gaussian_crps(torch.from_numpy(members), torch.from_numpy(target))
    assert float(ours) == pytest.approx(expected, rel=1e-6)


def test_gaussian_likelihood_is_scipys() -> None:
    rng = np.random.default_rng(1)
    members, target = rng.normal(2.0, 3.0, (5, 20)), rng.normal(size=20)
    expected = -stats.norm.logpdf(target, members.mean(0), members.std(0, ddof=1)).mean()
    ours = gaussian_likelihood(torch.from_numpy(members), torch.from_numpy(target))
    assert float(ours) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(members=ensembles, seed=st.integers(0, 1000))
def test_squared_errors(members: np.ndarray, seed: int) -> None:
    target = np.random.default_rng(seed).normal(size=members.shape[1])
    ours = [float(loss(torch.from_numpy(members), torch.from_numpy(target))) for loss in (mse, mse_ensemble)]
    assert ours[0] == pytest.approx(((members.mean(0) - target) ** 2).mean())
    assert ours[1] == pytest.approx(ours[0] + members.var(0).mean())


@pytest.mark.parametrize("name", LOSSES)
def test_weights_make_a_weighted_mean_and_members_are_interchangeable(name: str) -> None:
    rng = np.random.default_rng(3)
    members, target = torch.from_numpy(rng.normal(size=(4, 6, 5))), torch.from_numpy(rng.normal(size=(6, 5)))
    weight = torch.from_numpy(rng.random((6, 1)))
    loss = LOSSES[name]
    each = torch.stack([loss(members[:, i : i + 1], target[i : i + 1]) for i in range(6)])
    expected = (each * weight[:, 0]).sum() / weight.sum()
    torch.testing.assert_close(loss(members, target, weight), expected)
    torch.testing.assert_close(loss(members, target, 7 * weight), expected)
    torch.testing.assert_close(loss(members, target), each.mean())
    torch.testing.assert_close(loss(members[[2, 0, 3, 1]], target, weight), expected)
    times = torch.tensor([1, 0, 3, 2, 1, 5])
    repeated = loss(members.repeat_interleave(times, 1), target.repeat_interleave(times, 0))
    torch.testing.assert_close(loss(members, target, times[:, None].double()), repeated)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"published_kernel_crps"}))
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    rng = np.random.default_rng(5)
    members = torch.from_numpy(rng.normal(size=(4, 3))).requires_grad_()
    target, weight = torch.from_numpy(rng.normal(size=3)), torch.from_numpy(rng.random(3) + 0.1)
    assert torch.autograd.gradcheck(lambda m: LOSSES[name](m, target, weight), members)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"published_crps"}))
def test_gradients_stay_finite_however_small_the_spread(name: str) -> None:
    for spread in (0.0, 1e-30, 1e-15, 1e-10, 1e-6, 1e-3, 1.0):
        for error in (0.0, 1e-4, 1.0, 30.0):
            members = (spread * torch.tensor([[-1.0], [0.0], [1.0]])).requires_grad_()
            value = LOSSES[name](members, torch.tensor([error]))
            (gradient,) = torch.autograd.grad(value, members)
            assert torch.isfinite(value) and torch.isfinite(gradient).all(), (spread, error, value, gradient)


def test_stats_has_its_limits_where_the_spread_vanishes() -> None:
    same = torch.ones(3, 2)
    assert float(LOSSES["stats"](same, torch.tensor([1.0, 1.0]))) == pytest.approx(0.0, abs=1e-6)
    assert float(LOSSES["stats"](same, torch.tensor([2.0, 0.0]))) == pytest.approx(1.0, abs=1e-6)


def test_published_kernel_crps_trains_plain_absolute_error() -> None:
    rng = np.random.default_rng(0)
    members = torch.from_numpy(rng.normal(size=(4, 6))).requires_grad_()
    target = torch.from_numpy(rng.normal(size=6))
    value = published_kernel_crps(members, target)
    assert value.item() == pytest.approx(double_loop(members.detach().numpy(), target.numpy(), fair=True))
    (ours,) = torch.autograd.grad(value, members)
    (plain,) = torch.autograd.grad((members - target).abs().mean(), members)
    torch.testing.assert_close(ours, plain)


def trained_heads(loss, spread: float, *, count: int = 8, steps: int = 400) -> torch.Tensor:
    """Heads ``[head]`` that a loss settles on when the truth is noise of known spread, seen as quantiles."""
    quantiles = torch.from_numpy(stats.norm.ppf((np.arange(2000) + 0.5) / 2000, scale=spread))
    heads = (spread * torch.linspace(-0.5, 0.5, count, dtype=torch.float64)).requires_grad_()
    optimizer = torch.optim.Adam([heads], lr=0.03 * spread)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(heads[:, None].expand(-1, len(quantiles)), quantiles).backward()
        optimizer.step()
    return heads.detach()


@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_proper_scores_find_the_spread_of_noise_and_the_published_ones_do_not(spread: float) -> None:
    def found(loss) -> float:
        return float(trained_heads(loss, spread).std()) / spread

    heads = trained_heads(crps, spread).sort().values / spread
    np.testing.assert_allclose(heads, stats.norm.ppf((np.arange(8) + 0.5) / 8), atol=0.02)
    assert found(gaussian_crps) == pytest.approx(1.0, abs=0.02)
    assert found(gaussian_likelihood) == pytest.approx(1.0, abs=0.02)
    assert found(fair_crps) > 1.3  # heads are no random draws: the outer ones are pushed out
    assert found(mse_ensemble) < 0.05
    settled, truth = trained_heads(LOSSES["stats"], spread)[:, None], torch.linspace(-2, 2, 401) * spread
    if spread == 0.1:
        assert float(settled.std()) / spread == pytest.approx(1.44, abs=0.05)  # closed form: 1.4
    else:  # no spread at all scores better than what training settles on, and than the truth
        none, right = 1e-9 * settled, settled / settled.std()
        assert LOSSES["stats"](none, truth) < min(LOSSES["stats"](x, truth) for x in (settled, right))


def patches(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 7), columns=st.integers(1, 8))
def test_fourier_coefficients_keep_the_sum_of_squares(rows: int, columns: int) -> None:
    field = patches(3, rows, columns)
    coefficients = fourier_coefficients(field)
    torch.testing.assert_close(coefficients.square().sum((-3, -2, -1)), field.square().sum((-2, -1)))
    for ky, kx in np.ndindex(rows, columns // 2 + 1):
        wave = np.exp(
            -2j * np.pi * (ky * np.arange(rows)[:, None] / rows + kx * np.arange(columns) / columns)
        )
        one = (field[0].numpy() * wave).sum() / math.sqrt(rows * columns)
        one *= math.sqrt(2.0) if 0 < 2 * kx < columns else 1.0
        np.testing.assert_allclose(coefficients[0, ky, kx].numpy(), [one.real, one.imag], atol=1e-12)


def test_spectral_is_the_crps_of_each_tapered_coefficient() -> None:
    members, target, weight = patches(4, 2, 5, 6), patches(2, 5, 6, seed=1), torch.tensor([1.0, 3.0])
    top = bottom = 0.0
    for n in range(2):
        hann = np.outer(*(np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 for size in (5, 6)))
        hann /= math.sqrt((hann**2).mean())
        ours = [np.fft.fft2(hann * x[n].numpy()) / math.sqrt(30) for x in (*members, target)]
        for ky, kx in np.ndindex(5, 4):
            waves = 1 + 6 * math.hypot(min(ky, 5 - ky) / 5, kx / 6)
            pair = math.sqrt(2.0) if 0 < kx < 3 else 1.0
            for part in (np.real, np.imag):
                *x, y = (pair * part(c[ky, kx]) for c in ours)
                score = double_loop(np.array(x)[:, None], np.array([y]), fair=False)
                top += float(weight[n]) * waves * score
                bottom += float(weight[n]) * waves
    found = spectral(members, target, weight[:, None, None].double())
    assert float(found) == pytest.approx(top / bottom, rel=1e-9)
    repeated = spectral(members[:, [0, 1, 1, 1]], target[[0, 1, 1, 1]])
    torch.testing.assert_close(found, repeated)
    assert float(taper(5, 6).square().mean()) == pytest.approx(1.0)
    with pytest.raises(UserError, match="whole patches"):
        spectral(members, target, torch.ones(2, 5, 6))


def test_spectral_gradient_is_that_of_finite_differences() -> None:
    members, target = patches(3, 2, 3, 4).requires_grad_(), patches(2, 3, 4, seed=1)
    weight = torch.tensor([0.5, 2.0], dtype=torch.float64)[:, None, None]
    assert torch.autograd.gradcheck(lambda m: spectral(m, target, weight), members)


def smooth(noise: torch.Tensor) -> torch.Tensor:
    """Noise whose neighbours belong together: the mean over 3 x 3 points, of variance 1."""
    return 3.0 * torch.nn.functional.avg_pool2d(noise, 3, 1)


def test_spectral_finds_spread_and_sees_what_scores_of_points_do_not() -> None:
    """Truth and members are smooth noise; rivals have another spread, or the same one at each point alone."""
    truth, members = (
        smooth(patches(300, 12, 16)),
        smooth(patches(40 * 300, 12, 16, seed=1)).view(40, 300, 10, 14),
    )
    score = {s: float(spectral(s * members, truth)) for s in (0.7, 0.85, 1.0, 1.18, 1.4)}
    assert min(score, key=lambda s: score[s]) == 1.0
    rough = patches(40, 300, 10, 14, seed=2)
    assert float(crps(rough, truth)) == pytest.approx(float(crps(members, truth)), rel=0.01)
    assert float(spectral(rough, truth)) > 1.1 * score[1.0]


def test_one_member() -> None:
    members, target = torch.tensor([[1.0, 3.0]]), torch.tensor([0.0, 5.0])
    assert float(crps(members, target)) == pytest.approx(1.5)
    with pytest.raises(UserError, match="fair_crps needs at least 2 members"):
        fair_crps(members, target)
    for name in NEED_SPREAD:
        with pytest.raises(UserError, match="at least 2 members"):
            LOSSES[name](members, target)


def test_check_losses() -> None:
    check_losses([*LOSSES, *PATCH_LOSSES])
    with pytest.raises(UserError, match="no loss 'crsp'; choose among mse, "):
        check_losses({"crsp": 1.0})
