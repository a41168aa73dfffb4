"""Translated fields against shifts by hand; models against what is known of them without training."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from atmorep_lite.errors import UserError
from atmorep_lite.flow_attention import agreement, attention_arrows, token_places
from atmorep_lite.zoo.translation import (
    DISTANCES,
    POINTS,
    SLOTS,
    TOKEN,
    FrameMLP,
    OneHead,
    StencilMLP,
    draw_moved,
    fit_linear,
    fit_mover,
    mover_error,
    smooth_fields,
    translate,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_whole_tokens_are_a_roll() -> None:
    field = torch.randn(3, POINTS, POINTS, generator=generator())
    displacement = torch.tensor([[1.0, 0.0], [0.0, -2.0], [3.0, 1.0]])
    moved = translate(field, displacement)
    for i, (dy, dx) in enumerate(displacement.int().tolist()):
        torch.testing.assert_close(
            moved[i], field[i].roll((TOKEN * dy, TOKEN * dx), (0, 1)), atol=1e-5, rtol=0
        )


def test_a_wave_moves_by_its_phase() -> None:
    x = torch.arange(POINTS) * (2 * math.pi / POINTS)
    field = torch.cos(3 * x).expand(1, POINTS, POINTS)
    distance = 1.37  # tokens
    expected = torch.cos(3 * (x - distance * 2 * math.pi / SLOTS)).expand(1, POINTS, POINTS)
    torch.testing.assert_close(translate(field, torch.tensor([[0.4, distance]])), expected, atol=1e-5, rtol=0)


def test_samples_have_the_stated_lengths_and_unit_variance() -> None:
    samples = draw_moved(500, generator=generator())
    length = samples.displacement.norm(dim=1)
    assert DISTANCES[0] <= length.min() < 1.05 and 2.95 < length.max() <= DISTANCES[1]
    assert samples.displacement.mean(0).abs().max() < 0.3  # every direction
    torch.testing.assert_close(samples.before.var((1, 2)), torch.ones(500), atol=1e-4, rtol=0)
    assert smooth_fields(4, generator=generator()).mean((1, 2)).abs().max() < 1e-5


def test_linear_map_knows_one_displacement_and_not_many() -> None:
    g = generator(1)
    one, many = (1.5, -0.7), None
    for common, right in ((one, True), (many, False)):
        forecast = fit_linear(draw_moved(1200, generator=g, common=common))
        error = mover_error(forecast, draw_moved(32, generator=g, common=common))
        assert (error < 1e-6) if right else (error > 0.7)


def test_linear_map_needs_samples() -> None:
    with pytest.raises(UserError, match="draw more samples"):
        fit_linear(draw_moved(10, generator=generator()))


@pytest.mark.parametrize("reach", [0, 2])
def test_a_stencil_sees_its_reach_and_no_further(reach: int) -> None:
    torch.manual_seed(0)
    model, field = StencilMLP(reach), torch.randn(1, POINTS, POINTS, generator=generator())
    changed = field.clone()
    changed[0, 0, 0] += 1.0  # in the token at (0, 0)
    told = torch.zeros(1, 2)
    with torch.no_grad():
        moved = (model(field, told) != model(changed, told))[0]
    by_token = moved.unflatten(0, (SLOTS, TOKEN)).unflatten(2, (SLOTS, TOKEN)).any(3).any(1)
    away = torch.arange(SLOTS)
    away = torch.minimum(away, SLOTS - away)
    assert torch.equal(by_token, (away[:, None] <= reach) & (away[None] <= reach))


def test_one_head_is_the_explicit_weighted_mean_and_moves_with_the_field() -> None:
    torch.manual_seed(0)
    model, (before, told, _) = OneHead(), draw_moved(2, generator=generator())
    weights = model.weights(told)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, SLOTS**2), atol=1e-5, rtol=0)
    out = torch.zeros(2, POINTS, POINTS)
    with torch.no_grad():
        for b in range(2):
            for i in range(0, SLOTS**2, 7):
                heard = torch.zeros(model.out.in_features)
                for j in range(SLOTS**2):
                    y, x = (TOKEN * n for n in divmod(j, SLOTS))
                    heard += weights[b, i, j] * model.value(before[b, y : y + 2, x : x + 2].flatten())
                y, x = (TOKEN * n for n in divmod(i, SLOTS))
                out[b, y : y + 2, x : x + 2] = model.out(heard).view(2, 2)
                torch.testing.assert_close(
                    out[b, y : y + 2, x : x + 2],
                    model(before, told)[b, y : y + 2, x : x + 2],
                    atol=1e-5,
                    rtol=0,
                )
        rolled = model(before.roll((4, -6), (1, 2)), told)  # whole tokens
        torch.testing.assert_close(rolled, model(before, told).roll((4, -6), (1, 2)), atol=1e-4, rtol=0)


def test_frame_perceptron_has_the_frame_as_input() -> None:
    torch.manual_seed(0)
    before, told, _ = draw_moved(2, generator=generator())
    model = FrameMLP(16)
    assert model(before, told).shape == before.shape
    assert model.net[0].in_features == POINTS**2 + 2


def test_training_lowers_the_loss_and_repeats() -> None:
    samples, errors = draw_moved(32, generator=generator(7)), []
    for _ in range(2):
        torch.manual_seed(0)
        model = StencilMLP(1, 32)
        before = F.mse_loss(model(samples.before, samples.displacement), samples.after)
        fit_mover(model, steps=60, batch=8, rate=4e-3)
        after = F.mse_loss(model(samples.before, samples.displacement), samples.after)
        assert after < 0.95 * before
        errors.append(mover_error(model, samples))
    assert errors[0] == errors[1]
    with pytest.raises(UserError, match="at least 1"):
        fit_mover(model, steps=0, batch=8, rate=1e-3)


@pytest.mark.slow
def test_one_head_learns_to_look_upstream() -> None:
    torch.manual_seed(0)
    model, samples = OneHead(), draw_moved(64, generator=generator(7))
    fit_mover(model, steps=800, batch=8, rate=3e-2)
    assert mover_error(model, samples) < 0.25
    places = token_places(SLOTS, side=SLOTS)  # in tokens
    arrows = attention_arrows(model.weights(samples.displacement), places, side=SLOTS)
    truth = -samples.displacement[:, None].expand_as(arrows)
    found = agreement(arrows, truth, least=0.5)
    assert found.correlation > 0.98 and found.angle < 6
