"""The convolutional first guess, against loops, and what each of its inputs is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atmorep_lite.config import GridSkipConfig
from atmorep_lite.model.grid_skip import SECOND_CHANGE, Convolution, GatedBlock, GridSkip


def inputs(variables: int = 2, steps: int = 4, slots: int = 2) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    filled = torch.randn(2, variables, steps, 3, 5, generator=rng)
    hidden = torch.rand(2, variables, slots, 3, 5, generator=rng) < 0.5
    return filled, hidden, torch.randn(2, 8, 3, 5, generator=rng)


def test_convolution_against_a_loop() -> None:
    torch.manual_seed(0)
    layer = Convolution(2, 3, 3)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(1, 2, 4, 5)
    y = layer(x)
    kernel = layer.weight.view(3, 2, 3, 3)
    for o, i, j in np.ndindex(3, 4, 5):
        total = layer.bias[o].item()
        for c, a, b in np.ndindex(2, 3, 3):
            if 0 <= i + a - 1 < 4 and 0 <= j + b - 1 < 5:
                total += (kernel[o, c, a, b] * x[0, c, i + a - 1, j + b - 1]).item()
        assert y[0, o, i, j].item() == pytest.approx(total, abs=1e-5)


def test_block_adds_a_product_of_two_linear_maps() -> None:
    torch.manual_seed(0)
    block = GatedBlock(4)
    x = torch.randn(2, 4, 3, 3)
    normed = torch.nn.functional.layer_norm(x, x.shape[1:])
    a, b = (
        torch.nn.functional.conv2d(normed, w.reshape(4, 4, 3, 3), padding=1)
        for w in block.pair.weight.split(4)
    )
    expected = x + torch.einsum("oi,bihw->bohw", block.out.weight, a * b)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)


def test_an_untrained_skip_guesses_no_departure() -> None:
    filled, hidden, static = inputs()
    skip = GridSkip(2, 4, 2, GridSkipConfig(width=6, blocks=2))
    out = skip(filled, hidden, static, torch.ones(2))
    assert out.shape == filled.shape and (out == 0).all()


def test_every_input_reaches_its_place() -> None:
    """With one-hot weights the skip copies one input channel into one output channel, by either way."""
    filled, hidden, static = inputs()
    unit = torch.tensor([0.5, 0.25])
    change = (filled[:, 1, 2] - filled[:, 1, 1]) / 0.25
    bend = SECOND_CHANGE * (filled[:, 1, 2] - 2 * filled[:, 1, 1] + filled[:, 1, 0]) / 0.25
    values, changes, bends, flags = 2 * 4, 2 * 3, 2 * 2, 2 * 2
    channels = {
        1 * 4 + 2: filled[:, 1, 2],
        values + 1 * 3 + 1: change,
        values + changes + 1 * 2 + 0: bend,
        values + changes + bends + 1 * 2 + 0: hidden[:, 1, 0].float(),
        values + changes + bends + flags + 5: static[:, 5],
    }
    for channel, expected in channels.items():
        for way in ("linear", "blocks"):
            skip = GridSkip(2, 4, 2, GridSkipConfig(width=1, blocks=1))
            skip.blocks = torch.nn.Sequential()
            with torch.no_grad():
                if way == "linear":
                    skip.linear.weight.view(8, -1, 3, 3)[0 * 4 + 3, channel, 1, 1] = 1.0
                else:
                    skip.inputs.weight.zero_()
                    skip.inputs.weight.view(1, -1, 3, 3)[0, channel, 1, 1] = 1.0
                    skip.outputs.weight[0 * 4 + 3, 0] = 1.0
                out = skip(filled, hidden, static, unit)
            torch.testing.assert_close(out[:, 0, 3], expected)
            assert out.count_nonzero() == expected.count_nonzero()
