"""Interpolation, back-trajectories and the semi-Lagrangian forecast against closed forms and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from atmorep_lite.errors import UserError
from atmorep_lite.flows import (
    SIDE,
    VISCOSITY,
    back_trajectory,
    diffuse,
    draw_vortices,
    interpolate,
    semi_lagrangian,
    solve,
    trace_back,
)
from tests.flows.exact import angular_velocity, double_grid, relative, shielded_vortex, smooth_noise


def anywhere(count: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates inside the square and far outside it."""
    generator = torch.Generator().manual_seed(seed)
    return tuple((torch.rand(2, count, dtype=torch.float64, generator=generator) * 5 - 2) * SIDE)


def test_interpolation_is_scipys_periodic_cubic_spline():
    field = torch.randn(24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y, x = anywhere(200)
    places = np.stack([y, x]) / (SIDE / 24)
    expected = map_coordinates(field.numpy(), places % 24, order=3, mode="grid-wrap")
    np.testing.assert_allclose(interpolate(field, y, x), expected, atol=1e-10)


def test_interpolation_returns_grid_values_and_broadcasts():
    fields = smooth_noise(16, count=3, largest=4)
    y, x = (axis.flatten() for axis in double_grid(16))
    values = interpolate(fields, y, x)
    torch.testing.assert_close(values, fields.flatten(-2), atol=1e-12, rtol=0)
    rows = interpolate(fields, y.expand(3, -1), x.expand(3, -1) + SIDE)
    torch.testing.assert_close(rows, values, atol=1e-12, rtol=0)


def test_interpolation_error_falls_with_the_fourth_power_of_the_spacing():
    y, x = anywhere(500)
    truth = torch.sin(2 * x + y)
    errors = []
    for points in (16, 32, 64):
        grid_y, grid_x = double_grid(points)
        errors.append((interpolate(torch.sin(2 * grid_x + grid_y), y, x) - truth).abs().max().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)
    assert math.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.3)


def test_trace_back_in_a_uniform_wind_that_changes():
    """u = cos t, v = 1 + t over 0..1: the fluid came from (sin 1, 1.5) away."""
    times = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None, None].expand(-1, 16, 16)
    moved = trace_back(times.cos(), 1 + times, duration=1.0)
    assert moved.shape == (16, 16, 2)
    torch.testing.assert_close(moved[..., 0], torch.full((16, 16), -1.5, dtype=torch.float64))
    torch.testing.assert_close(
        moved[..., 1], torch.full((16, 16), -math.sin(1), dtype=torch.float64), rtol=2e-6, atol=0
    )


def test_trace_back_in_shear():
    """u = sin y: fluid at y came along x from -sin(y) * duration; far enough to go round the square."""
    y, _ = double_grid(32)
    u = torch.sin(y).expand(3, -1, -1)
    moved = trace_back(u, torch.zeros_like(u), duration=10.0)
    torch.testing.assert_close(moved[..., 1], -10 * torch.sin(y), atol=1e-10, rtol=0)
    assert moved[..., 0].abs().max() < 1e-12


def test_trace_back_at_points_of_ones_own():
    y, _ = double_grid(32)
    u = torch.sin(y).expand(3, -1, -1)
    points = torch.tensor([[0.5, 1.0], [-3.0, 20.0]], dtype=torch.float64)
    moved = trace_back(u, torch.zeros_like(u), duration=1.0, points=points)
    torch.testing.assert_close(moved[:, 1], -torch.sin(points[:, 0]), atol=1e-5, rtol=0)


def test_back_trajectory_in_a_round_vortex_turns_with_the_fluid():
    vortex = shielded_vortex(64)
    generator = torch.Generator().manual_seed(0)
    radius = 0.1 + 1.2 * torch.rand(100, dtype=torch.float64, generator=generator)
    angle = SIDE * torch.rand(100, dtype=torch.float64, generator=generator)

    def place(angle: torch.Tensor) -> torch.Tensor:
        return math.pi + torch.stack([radius * angle.sin(), radius * angle.cos()], dim=-1)

    for frames in (1, 2):
        moved = back_trajectory(vortex, frames=frames, viscosity=0.0, points=place(angle))
        expected = place(angle - angular_velocity(radius) * 0.5 * frames) - place(angle)
        torch.testing.assert_close(moved, expected, atol=2e-4, rtol=0)


def test_fluid_keeps_its_vorticity_on_the_way():
    """Unsteady inviscid flow: vorticity on arrival is that on departure, two frames earlier."""
    start = smooth_noise(96, largest=3)
    states = solve(start, frames=3, interval=0.5, viscosity=0.0)
    moved = back_trajectory(start, frames=2, viscosity=0.0)
    assert moved.shape == (1, 96, 96, 2)
    departure = torch.stack(double_grid(96), dim=-1) + moved
    carried = interpolate(start, *departure.flatten(1, 2).unbind(-1)).unflatten(-1, (96, 96))
    assert relative(start, states[:, -1]) > 0.3
    assert relative(carried, states[:, -1]) < 1e-3


def test_back_trajectory_includes_the_mean_flow_and_is_of_the_flows_precision():
    calm = smooth_noise(16, largest=3).float() * 1e-6
    moved = back_trajectory(calm, mean_flow=(0.6, -0.2))
    assert moved.dtype == torch.float32
    torch.testing.assert_close(moved, torch.tensor([0.1, -0.3]).expand_as(moved), atol=1e-5, rtol=0)


@pytest.mark.parametrize("wind", ["frozen", "extrapolated", "true"])
def test_semi_lagrangian_is_exact_for_uniform_translation(wind):
    """Carried three cells along x and one back along y; the vorticity itself is too weak to move anything."""
    pattern = 1e-9 * torch.randn(1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cell = SIDE / 32
    frames = torch.stack([pattern.roll((-i, 3 * i), (-2, -1)) for i in range(3)], dim=1)
    expected = pattern.roll((-3, 9), (-2, -1))
    forecast = semi_lagrangian(
        frames,
        wind=wind,
        future=expected if wind == "true" else None,
        mean_flow=(3 * cell / 0.5, -cell / 0.5),
        viscosity=0.0,
    )
    assert relative(forecast, expected) < 1e-6


def test_semi_lagrangian_forecast_of_a_round_vortex_is_the_vortex():
    vortex = shielded_vortex(64)
    forecast = semi_lagrangian(vortex.expand(3, -1, -1), viscosity=0.0)
    assert relative(forecast, vortex) < 2e-3


def test_semi_lagrangian_is_better_the_more_it_knows_of_the_wind():
    trajectories = solve(draw_vortices(8, generator=torch.Generator().manual_seed(2)), frames=6)
    seen, truth = trajectories[:, 2:5], trajectories[:, 5]
    frozen = relative(semi_lagrangian(seen, wind="frozen"), truth)
    extrapolated = relative(semi_lagrangian(seen, wind="extrapolated"), truth)
    true = relative(semi_lagrangian(seen, wind="true", future=truth), truth)
    assert true < extrapolated < frozen < 0.1
    assert relative(seen[:, -1], truth) > 0.15
    assert relative(semi_lagrangian(seen, viscosity=0.0), truth) > extrapolated
    assert relative(semi_lagrangian(seen, substeps=8), semi_lagrangian(seen)) < 2e-3


def test_semi_lagrangian_uses_only_the_frames_that_it_says():
    frames = smooth_noise(32, count=3)[None]
    other = torch.cat([frames[:, :1] * 5, frames[:, 1:]], dim=1)
    assert torch.equal(semi_lagrangian(other), semi_lagrangian(frames))
    assert torch.equal(semi_lagrangian(frames[:, 2:], wind="frozen"), semi_lagrangian(frames, wind="frozen"))


def test_diffusion_of_one_wave():
    y, x = double_grid(16)
    wave = torch.sin(3 * x + 2 * y)
    torch.testing.assert_close(diffuse(wave, VISCOSITY * 40), math.exp(-13 * VISCOSITY * 40) * wave)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda w: semi_lagrangian(w, wind="guessed"), "wind"),
        (lambda w: semi_lagrangian(w[:1]), "2 or more frames"),
        (lambda w: semi_lagrangian(w[0], wind="frozen"), "1 or more frames"),
        (lambda w: semi_lagrangian(w, wind="true"), "future"),
        (lambda w: semi_lagrangian(w, future=w[0]), "future"),
        (lambda w: semi_lagrangian(w, wind="true", future=w[0, :8, :8]), "future"),
        (lambda w: semi_lagrangian(w, substeps=0), "substeps"),
        (lambda w: semi_lagrangian(w.numpy()), "frames must be a floating-point torch tensor"),
        (lambda w: back_trajectory(w[0], frames=0), "frames"),
        (lambda w: back_trajectory(w[0], substeps=0), "substeps"),
        (lambda w: back_trajectory(w[0], points=torch.zeros(3)), "points"),
        (lambda w: trace_back(w[:2], w[:2], duration=1.0), "odd number"),
        (lambda w: trace_back(w, w[:1], duration=1.0), "alike"),
        (lambda w: diffuse(w, -1.0), "amount"),
        (lambda w: interpolate(w[0], torch.zeros(3), torch.zeros(2)), "y and x"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(UserError, match=words):
        call(smooth_noise(16, count=3, largest=3))
