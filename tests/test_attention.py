"""Attention written out with loops, against the fused kernel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atmorep_lite.attention import (
    attend,
    attention_weights,
    join_heads,
    locality_bias,
    locality_slopes,
    split_heads,
)


def example(seed: int = 0) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, 3, n, 4, generator=rng) for n in (5, 7, 7))
    here, there = (3 * torch.randn(2, n, 5, generator=rng) for n in (5, 7))
    return q, k, v, locality_bias(here, there, torch.tensor([0.0, 0.3, 2.0]))


@pytest.mark.parametrize("biased", [False, True])
def test_weights_are_a_softmax_over_keys(biased: bool) -> None:
    q, k, v, bias = example()
    weights = attention_weights(q, k, bias if biased else None)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5), atol=1e-6, rtol=0)
    out = attend(q, k, v, bias if biased else None)
    torch.testing.assert_close(out, weights @ v, atol=1e-6, rtol=0)
    for b, h, i in np.ndindex(2, 3, 5):
        scores = [
            sum(float(q[b, h, i, d]) * float(k[b, h, j, d]) for d in range(4)) / math.sqrt(4)
            + (float(bias[b, h, i, j]) if biased else 0.0)
            for j in range(7)
        ]
        exponentials = [math.exp(s) for s in scores]
        for j in range(7):
            assert float(weights[b, h, i, j]) == pytest.approx(exponentials[j] / sum(exponentials), abs=1e-6)


def test_locality_bias_is_minus_slope_times_distance() -> None:
    rng = np.random.default_rng(0)
    here, there, slopes = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 6, 5)), np.array([0.5, 2.0])
    bias = locality_bias(*(torch.from_numpy(a) for a in (here, there, slopes)))
    for b, h, i, j in np.ndindex(2, 2, 4, 6):
        expected = -slopes[h] * math.sqrt(sum((here[b, i] - there[b, j]) ** 2))
        assert float(bias[b, h, i, j]) == pytest.approx(expected, rel=1e-12)


def test_a_token_is_at_no_distance_from_itself_among_many() -> None:
    """The fast way to form all distances, by a matrix product, is 0.01 (10 km) off here."""
    position = torch.randn(1, 300, 5, generator=torch.Generator().manual_seed(0)) * 4 + 10
    bias = locality_bias(position, position, torch.ones(1))
    assert (bias.diagonal(dim1=-2, dim2=-1) == 0).all()
    exact = torch.cdist(position.double(), position.double())
    torch.testing.assert_close(-bias[:, 0].double(), exact, atol=1e-5, rtol=1e-6)


def test_locality_slopes_fall_geometrically() -> None:
    assert locality_slopes(2.0, 1).tolist() == [2.0]
    slopes = locality_slopes(1.0, 4)
    torch.testing.assert_close(slopes, torch.tensor([1.0, 0.5, 0.25, 0.125]))
    assert (locality_slopes(0.0, 4) == 0).all()


def test_stronger_locality_looks_nearer() -> None:
    q, k, _, _ = example()
    position = torch.arange(7.0)[None, :, None].expand(2, 7, 5)
    mean_distance = [
        (
            attention_weights(q[:, :1], k[:, :1], locality_bias(position[:, :5], position, torch.tensor([s])))
            * torch.cdist(position[:, :5], position)[:, None]
        )
        .sum(-1)
        .mean()
        for s in (0.0, 0.1, 0.5, 5.0)
    ]
    assert mean_distance == sorted(mean_distance, reverse=True) and mean_distance[-1] < 0.01


def test_heads_split_and_join() -> None:
    x = torch.arange(2 * 3 * 8.0).view(2, 3, 8)
    heads = split_heads(x, 4)
    assert heads.shape == (2, 4, 3, 2)
    for b, n, c in np.ndindex(2, 3, 8):
        assert heads[b, c // 2, n, c % 2] == x[b, n, c]
    assert torch.equal(join_heads(heads), x)
