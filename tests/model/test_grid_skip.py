"""The convolutional first guess, against loops, and what each of its inputs is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atmorep_lite.config import GridSkipConfig
from atmorep_lite.model.grid_skip import (
    SECOND_CHANGE,
    Convolution,
    GatedBlock,
    GridSkip,
    LatitudeRegression,
    chebyshev,
)


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


def test_chebyshev_against_numpy() -> None:
    sine = torch.linspace(-1, 1, 11, dtype=torch.float64)
    expected = np.polynomial.chebyshev.chebvander(sine.numpy(), 5)
    np.testing.assert_allclose(chebyshev(sine, 6).numpy(), expected, atol=1e-12)


def test_regression_sees_the_last_states_and_their_differences_around_the_point() -> None:
    rng = torch.Generator().manual_seed(1)
    states = torch.randn(1, 2, 4, 6, 7, generator=rng)
    found = torch.randn(1, 3, 6, 7, generator=rng)
    unit = torch.tensor([0.5, 0.25])
    seen = LatitudeRegression(2, 3, 4, 2).inputs(states, found, unit)
    assert seen.shape == (1, 2 * 4 * 25 + 3 + 1, 6, 7)
    last, before, earlier, first = states[0].flip(1).unbind(1)
    scaled = 1 / unit[:, None, None]
    orders = (
        last,
        (last - before) * scaled,
        SECOND_CHANGE * (last - 2 * before + earlier) * scaled,
        SECOND_CHANGE**2 * (last - 3 * before + 3 * earlier - first) * scaled,
    )
    for y, x in ((3, 3), (0, 6)):
        around = [
            field[v, min(max(y + j, 0), 5), min(max(x + i, 0), 6)].item()
            for field in orders
            for v in range(2)
            for j in range(-2, 3)
            for i in range(-2, 3)
        ]
        expected = torch.tensor([*around, *found[0, :, y, x].tolist(), 1.0])
        torch.testing.assert_close(seen[0, :, y, x], expected, atol=1e-4, rtol=1e-4)


def test_regression_has_another_kernel_at_another_latitude() -> None:
    rng = torch.Generator().manual_seed(2)
    layer = LatitudeRegression(1, 0, 2, 3)
    layer.coefficients.copy_(torch.randn(layer.coefficients.shape, generator=rng))
    seen = torch.randn(2, 101, 2, 3, generator=rng)
    sine = torch.tensor([[0.9, 0.3], [-0.2, 0.0]])
    out = layer(seen, sine)
    for b, y, x, lead in np.ndindex(2, 2, 3, 2):
        s = sine[b, y].item()
        kernel = sum(t * c for t, c in zip((1.0, s, 2 * s * s - 1), layer.coefficients, strict=True))
        expected = (seen[b, :, y, x] * kernel[:, lead]).sum().item()
        assert out[b, 0, lead, y, x].item() == pytest.approx(expected, abs=1e-4)


def test_regression_corrects_forecasts_and_nothing_else() -> None:
    torch.manual_seed(0)
    skip = GridSkip(2, 6, 3, GridSkipConfig(width=4, blocks=1, forecast_steps=2))
    assert skip.regression is not None
    torch.nn.init.normal_(skip.outputs.weight)
    filled = torch.randn(3, 2, 6, 5, 5)
    static = torch.rand(3, 8, 5, 5) * 2 - 1
    hidden = torch.zeros(3, 2, 3, 5, 5, dtype=torch.bool)
    hidden[:, :, 2] = True
    hidden[1, 1, 0, 2, 2] = True  # a gap in what is known
    hidden[2, 0, 2, 0, 0] = False  # a point of the future is shown
    unit = torch.ones(2)
    before = skip(filled, hidden, static, unit)
    skip.regression.coefficients.normal_()
    after = skip(filled, hidden, static, unit)
    torch.testing.assert_close(after[1:], before[1:])
    torch.testing.assert_close(after[0, :, :4], before[0, :, :4])
    assert ((after - before)[0, :, 4:] != 0).all()
