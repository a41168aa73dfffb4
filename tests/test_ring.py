"""The toy learns what its rule says, fails where it must, and leaves no trace in global state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atmorep_lite.ring import CHANNELS, PLACES, WHERE, WIDTH, learn, ring_layer


def carried(mu: Tensor) -> Tensor:
    return mu.roll(3, 1)


def both(mu: Tensor) -> Tensor:
    return torch.cat((mu.roll(3, 1), mu.roll(-5, 1)), 2)


def test_places_have_different_codes() -> None:
    """The product of two codes is largest for a place with itself."""
    products = WHERE @ WHERE.T
    assert WHERE.shape == (PLACES, 24) and WIDTH == CHANNELS + 24
    assert (products.argmax(1) == torch.arange(PLACES)).all()


def test_a_stream_that_hears_nobody_answers_with_the_mean() -> None:
    (error,), maps = learn(carried, steps=60)
    assert error > 0.98 and set(maps) == {"self"}


def test_a_coupled_stream_finds_the_displacement() -> None:
    (error,), maps = learn(carried, ("mu",))
    assert error < 0.2
    i = torch.arange(PLACES)
    assert (maps["mu"][0].argmax(1) == (i - 3) % PLACES).all()
    torch.testing.assert_close(maps["mu"].sum(-1), torch.ones(1, PLACES))


def test_one_glued_head_serves_one_field_only() -> None:
    errors, maps = learn(both, glued=True)
    assert max(errors) > 0.95 and min(errors) < 0.3 and maps["self"].shape == (1, PLACES, PLACES)


def test_global_state_is_left_alone() -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first, again = (learn(carried, ("mu",), steps=5, seed=3)[0] for _ in range(2))
    assert first == again
    assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == threads


def test_layer_is_the_library_s() -> None:
    layer = ring_layer(32, 2, ("mu", "nu"), qk_norm=False)
    assert layer.coupled_to == ("mu", "nu") and not layer.qk_norm
    x = torch.randn(1, PLACES, 32)
    assert layer(x, {"mu": x, "nu": x}, {}).shape == x.shape
    with pytest.raises(KeyError):
        layer(x, {"mu": x}, {})
