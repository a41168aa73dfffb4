"""The solver against exact solutions, conservation laws, its order, and the symmetries of the equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import j0, j1, jn_zeros

from atmorep_lite.errors import UserError
from atmorep_lite.flows import SIDE, circulation, draw_vortices, energy, enstrophy, solve
from tests.flows.exact import (
    double_grid,
    mirror,
    quarter_turn,
    relative,
    shielded_vortex,
    smooth_noise,
    taylor_green,
)


def test_taylor_green_decays_exactly_while_carried():
    wind = (0.7, -0.4)
    states = solve(
        taylor_green(16, time=0, viscosity=0),
        frames=4,
        interval=0.5,
        viscosity=0.05,
        mean_flow=wind,
        steps=40,
    )
    for frame, state in enumerate(states):
        exact = taylor_green(16, time=0.5 * frame, viscosity=0.05, mean_flow=wind)
        torch.testing.assert_close(state, exact, atol=1e-7, rtol=0)


def test_round_vortex_stays_round_and_spreads_like_heat():
    still = solve(shielded_vortex(64), frames=3, interval=1.0, viscosity=0.0)[-1]
    torch.testing.assert_close(still, shielded_vortex(64), atol=2e-6, rtol=0)
    spread = solve(shielded_vortex(64), frames=3, interval=1.0, viscosity=0.02)[-1]
    torch.testing.assert_close(spread, shielded_vortex(64, time=2.0, viscosity=0.02), atol=2e-6, rtol=0)


def test_lamb_chaplygin_dipole_moves_at_its_speed():
    """Vorticity -2 k U J1(k r) / J0(k a) sin(angle) within radius a, k a the first zero of J1: moves with U.

    That is on the open plane.  From afar it is a doublet of impulse 2 pi a^2 U; a square lattice of images
    without mean flow slows each by impulse / (2 area), like Lorentz's local field: pi a^2 / (2 pi)^2, 5 %.
    """
    speed, radius, points = 1.0, 0.8, 128
    y, x = (axis.numpy() - math.pi for axis in double_grid(points))
    r = np.hypot(x, y)
    k = jn_zeros(1, 1)[0] / radius
    inside = -2 * k * speed * j1(k * r) / j0(k * radius) * np.divide(y, r, out=np.zeros_like(r), where=r > 0)
    dipole = torch.from_numpy(np.where(r < radius, inside, 0.0))
    states = solve(dipole, frames=3, interval=0.5, viscosity=0.0)
    weight = (states - 1.0).clamp(min=0)  # the core of the positive half, above the ripples of its sharp edge
    place = ((weight * torch.from_numpy(x)).sum((-2, -1)) / weight.sum((-2, -1))).diff() / 0.5
    assert place.numpy() == pytest.approx(speed * (1 - math.pi * radius**2 / SIDE**2), rel=0.002)


def test_energy_enstrophy_and_circulation_are_conserved_without_viscosity():
    start = smooth_noise(48, count=2) + torch.tensor([0.0, 0.3], dtype=torch.float64)[:, None, None]
    states = solve(start, frames=3, interval=1.0, viscosity=0.0, steps=200)
    for quantity in (energy, enstrophy):
        values = quantity(states)
        torch.testing.assert_close(values, values[:, :1].expand_as(values), rtol=1e-7, atol=0)
    torch.testing.assert_close(circulation(states)[1], torch.full((3,), 0.3 * SIDE**2, dtype=torch.float64))


def test_the_conserving_flow_reaches_the_shortest_waves_kept():
    """Else the test above would say little about aliasing."""
    last = solve(smooth_noise(48), frames=3, interval=1.0, viscosity=0.0)[0, -1]
    spectrum = torch.fft.rfft2(last).abs()
    assert spectrum[:, 15].max() > 1e-3 * spectrum.max()
    assert spectrum[:, 16:].max() < 1e-9 * spectrum.max()


def test_energy_and_enstrophy_budgets_with_viscosity():
    """dE/dt = -2 nu Z, and d(Z)/dt = -nu <|grad vorticity|^2>, integrated by Simpson's rule."""
    viscosity, interval = 0.01, 0.05
    states = solve(smooth_noise(64), frames=21, interval=interval, viscosity=viscosity)[0]
    simpson = torch.tensor([1.0] + [4.0, 2.0] * 9 + [4.0, 1.0], dtype=torch.float64) * interval / 3
    lost = energy(states)[0] - energy(states)[-1]
    torch.testing.assert_close(lost, 2 * viscosity * (simpson * enstrophy(states)).sum(), rtol=1e-6, atol=0)
    step = SIDE / 64
    k = 2 * math.pi * torch.fft.fftfreq(64, step, dtype=torch.float64)
    power = torch.fft.fft2(states).abs().square() / 64**4
    gradient = (power * (k[:, None] ** 2 + k**2)).sum((-2, -1))
    lost = enstrophy(states)[0] - enstrophy(states)[-1]
    torch.testing.assert_close(lost, viscosity * (simpson * gradient).sum(), rtol=1e-5, atol=0)


def test_circulation_is_conserved_with_viscosity():
    states = solve(smooth_noise(32) + 0.1, frames=4, viscosity=0.05)
    torch.testing.assert_close(circulation(states), torch.full((1, 4), 0.1 * SIDE**2, dtype=torch.float64))


@pytest.mark.parametrize("viscosity", [0.0, 0.01])
def test_halving_the_step_divides_the_error_by_sixteen(viscosity):
    start = smooth_noise(32)
    fine, *coarse = (
        solve(start, frames=2, interval=1.0, viscosity=viscosity, steps=n)[0, 1] for n in (320, 20, 40, 80)
    )
    errors = [relative(state, fine) for state in coarse]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)
    assert math.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.3)


def test_inviscid_flow_runs_backwards():
    """The equation is unchanged when time and vorticity change sign."""
    start = smooth_noise(32, largest=3)
    there = solve(start, frames=2, interval=0.5, viscosity=0.0)[:, -1]
    back = -solve(-there, frames=2, interval=0.5, viscosity=0.0)[:, -1]
    assert relative(there, start) > 0.1
    assert relative(back, start) < 2e-5


@pytest.mark.parametrize(
    "move",
    [lambda w: -mirror(w), quarter_turn, lambda w: w.roll((5, 11), (-2, -1))],
    ids=["mirror", "quarter turn", "shift"],
)
def test_symmetries(move):
    start = smooth_noise(32, count=2)
    torch.testing.assert_close(solve(move(start), frames=3), move(solve(start, frames=3)), atol=1e-9, rtol=0)


def test_a_mirror_without_change_of_sign_is_no_symmetry():
    start = smooth_noise(32)
    assert relative(solve(mirror(start), frames=3)[:, -1], mirror(solve(start, frames=3)[:, -1])) > 0.1


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), u=st.floats(-2, 2), v=st.floats(-2, 2))
def test_a_mean_flow_only_carries(seed, u, v):
    """Galilean invariance: shifts in Fourier space by mean flow times time."""
    start = smooth_noise(16, seed=seed, largest=3)
    carried = solve(start, frames=2, mean_flow=(u, v), steps=60)[0, 1]
    k = torch.fft.fftfreq(16, 1 / 16, dtype=torch.float64)
    shift = torch.exp(-0.5j * (k[:, None] * v + k * u))
    moved = torch.fft.ifft2(torch.fft.fft2(solve(start, frames=2, steps=60)[0, 1]) * shift).real
    torch.testing.assert_close(carried, moved, atol=1e-5, rtol=0)


def test_flows_of_a_batch_do_not_mix():
    start = smooth_noise(32, count=3)
    together = solve(start.reshape(3, 1, 32, 32), frames=3, steps=20)
    assert together.shape == (3, 1, 3, 32, 32)
    for one, alone in zip(together[:, 0], start, strict=True):
        torch.testing.assert_close(one, solve(alone, frames=3, steps=20), atol=1e-12, rtol=0)


def test_single_precision_is_good_enough_and_the_automatic_step_too():
    """Over the length of a training trajectory, both errors are below a thousandth."""
    start = draw_vortices(2, generator=torch.Generator().manual_seed(1))
    single = solve(start, frames=24)
    double = solve(start.double(), frames=24)
    finer = solve(start.double(), frames=24, courant=0.5)
    assert single.dtype == torch.float32
    assert relative(single[:, -1].double(), double[:, -1]) < 5e-4
    assert relative(double[:, -1], finer[:, -1]) < 1e-3


def test_the_first_frame_is_the_start_without_its_shortest_waves():
    start = smooth_noise(48)
    torch.testing.assert_close(solve(start, frames=1)[:, 0], start, atol=1e-12, rtol=0)
    y, _ = double_grid(48)
    kept, dropped = torch.cos(15 * y), torch.cos(16 * y)
    torch.testing.assert_close(solve(kept + dropped, frames=1)[0], kept, atol=1e-12, rtol=0)


def test_a_step_that_is_too_long_is_told():
    with pytest.raises(UserError, match="grew without bound in frame"):
        solve(smooth_noise(32) * 100, frames=20, viscosity=0.0, steps=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 0}, "frames"),
        ({"interval": 0.0}, "interval"),
        ({"interval": math.inf}, "interval"),
        ({"viscosity": -1e-3}, "viscosity"),
        ({"courant": 0.0}, "courant"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        solve(smooth_noise(16, largest=3), **{"frames": 2, **options})
