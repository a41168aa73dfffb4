"""The embedding network: sub-patches against loops, and one set of weights for tokens of every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite.config import SubpatchConfig
from atmorep_lite.model.subpatches import SubpatchEmbedding, subpatch_places, subpatches

PATCH = (2, 1, 2)


def network(*, layers: int = 1, seed: int = 0) -> SubpatchEmbedding:
    torch.manual_seed(seed)
    return SubpatchEmbedding(24, SubpatchConfig(size=PATCH, width=32, layers=layers))


counts = st.tuples(*[st.integers(1, 3)] * 3)


@settings(max_examples=20, deadline=None)
@given(counts=counts)
def test_sub_patches_against_loops(counts) -> None:
    size = tuple(n * p for n, p in zip(counts, PATCH, strict=True))
    tokens = torch.arange(2.0 * np.prod(size)).view(2, -1)
    patches = subpatches(tokens, size, PATCH)
    assert patches.shape == (2, np.prod(counts), 4)
    boxes = tokens.view(2, *size)
    for m, (t, y, x) in enumerate(np.ndindex(counts)):
        box = boxes[:, 2 * t : 2 * t + 2, y : y + 1, 2 * x : 2 * x + 2]
        assert torch.equal(patches[:, m], box.flatten(1))


@settings(max_examples=20, deadline=None)
@given(counts=counts)
def test_sub_patches_lie_around_the_middle_of_their_token(counts) -> None:
    size = tuple(n * p for n, p in zip(counts, PATCH, strict=True))
    spans = torch.tensor([[2.0, 1.5, 3.0]])
    offsets, covers = (part[0] for part in subpatch_places(size, PATCH, spans))
    assert offsets.shape == covers.shape == (np.prod(counts), 3)
    np.testing.assert_allclose(covers, np.tile(spans[0] / torch.tensor(counts), (len(covers), 1)), rtol=1e-6)
    torch.testing.assert_close(offsets.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    for m, place in enumerate(np.ndindex(counts)):
        expected = [
            (k + 0.5) / n * s - s / 2 for k, n, s in zip(place, counts, spans[0].tolist(), strict=True)
        ]
        np.testing.assert_allclose(offsets[m], expected, atol=1e-6)


def test_a_sub_patch_means_the_same_in_tokens_of_every_size() -> None:
    """The middle one of three sub-patches lies in the middle, as the only one of a small token does."""
    net = network(layers=0)
    small, large = torch.randn(1, 1, 4), torch.zeros(1, 1, 12)
    large.view(2, 1, 6)[:, :, 2:4] = small.view(2, 1, 2)
    span = torch.tensor([[[1.0, 0.5, 0.6]]])
    wide = span * torch.tensor([1.0, 1.0, 3.0])
    empty = torch.zeros(1, 1, 4)
    nothing = net(torch.zeros_like(large), (2, 1, 6), wide)
    change = 3.0 * (net(large, (2, 1, 6), wide) - nothing)  # the mean over three
    torch.testing.assert_close(
        change, net(small, (2, 1, 2), span) - net(empty, (2, 1, 2), span), atol=1e-5, rtol=0
    )


def test_what_a_sub_patch_says_depends_on_where_it_lies() -> None:
    """Else the mean would hide which end of the token is warm."""
    net = network(layers=0)
    spans = torch.tensor([[[1.0, 0.5, 1.2]]])
    west = torch.zeros(1, 1, 8)
    west.view(2, 1, 4)[..., :2] = 1.0
    east = west.view(2, 1, 4).flip(-1).reshape(1, 1, 8)
    assert (net(west, (2, 1, 4), spans) - net(east, (2, 1, 4), spans)).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(2, 1, 2), (4, 2, 4), (2, 3, 6)])
def test_one_network_embeds_tokens_of_every_size_and_learns(size) -> None:
    net = network()
    values = torch.randn(2, 5, int(np.prod(size)))
    out = net(values, size, torch.ones(2, 5, 3))
    assert out.shape == (2, 5, 24)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


def test_tokens_do_not_mix() -> None:
    net, spans = network(), torch.ones(1, 3, 3)
    values = torch.randn(1, 3, 16)
    other = values.clone()
    other[:, 1] += 1.0
    change = (net(values, (4, 1, 4), spans) - net(other, (4, 1, 4), spans)).abs().amax(-1)[0]
    assert change[1] > 1e-3 and change[[0, 2]].max() == 0.0
