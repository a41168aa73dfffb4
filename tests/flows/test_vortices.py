"""Random vortices against moments by quadrature, and what the trajectories promise."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite.errors import UserError
from atmorep_lite.flows import (
    SIDE,
    circulation,
    draw_vortices,
    elliptic_vortex,
    enstrophy,
    gallery,
    grid,
    solve,
    velocity,
    vortex_trajectories,
)
from tests.flows.exact import relative


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_vortex(points: int = 64, **parameters: float) -> torch.Tensor:
    defaults = {"y": math.pi, "x": math.pi, "radius": 0.4, "strength": 2.0, "eccentricity": 0.0, "angle": 0.0}
    values = {name: torch.tensor(value) for name, value in {**defaults, **parameters}.items()}
    return elliptic_vortex(points, **values)


@settings(max_examples=20, deadline=None)
@given(
    eccentricity=st.floats(0, 0.95),
    angle=st.floats(0, math.pi),
    radius=st.floats(0.3, 0.5),
    y=st.floats(2.8, 3.4),
)
def test_moments_of_a_vortex(eccentricity, angle, radius, y):
    """Circulation, centre and second moments by sums over the grid: a^2 / 2 along, b^2 / 2 across."""
    scene = one_vortex(eccentricity=eccentricity, angle=angle, radius=radius, y=y)
    grid_y, grid_x = grid(64)
    mass = scene.sum() * (SIDE / 64) ** 2
    assert mass.item() == pytest.approx(math.pi * radius**2 * 2.0, rel=1e-3)
    away_y, away_x = grid_y - y, grid_x - math.pi
    along = away_x * math.cos(angle) + away_y * math.sin(angle)
    across = away_y * math.cos(angle) - away_x * math.sin(angle)
    weight = scene / scene.sum()
    ratio = math.sqrt(1 - eccentricity**2)
    assert (weight * along).sum().item() == pytest.approx(0, abs=2e-3)
    assert (weight * along**2).sum().item() == pytest.approx(radius**2 / ratio / 2, rel=5e-3)
    assert (weight * across**2).sum().item() == pytest.approx(radius**2 * ratio / 2, rel=5e-3)
    assert (weight * along * across).sum().item() == pytest.approx(0, abs=2e-3)


def test_a_vortex_at_the_edge_continues_on_the_other_side():
    middle = one_vortex(eccentricity=0.8, angle=0.6)
    edge = one_vortex(eccentricity=0.8, angle=0.6, y=SIDE / 64, x=0.0)
    torch.testing.assert_close(edge, middle.roll((-31, -32), (0, 1)), atol=1e-5, rtol=0)


def test_scenes_have_no_circulation_and_vortices_of_both_signs():
    scenes = draw_vortices(50, generator=source())
    assert scenes.shape == (50, 64, 64)
    assert scenes.dtype == torch.float32
    assert circulation(scenes).abs().max() < 1e-4
    assert (scenes.amax((-2, -1)) > 0.5).all()
    assert (scenes.amin((-2, -1)) < -0.5).all()


def test_subtracting_the_mean_changes_next_to_nothing():
    """Signs are balanced before: far from all vortices there is no background vorticity."""
    scenes = draw_vortices(20, generator=source(), vortices=(2, 2), radius=(0.3, 0.3))
    assert scenes.abs().flatten(1).median(1).values.max() < 1e-3


def test_strength_radius_and_number_are_as_asked():
    """Two equal round vortices of opposite sign: pi r^2 s^2 / 2 of enstrophy where they do not overlap."""
    scenes = draw_vortices(
        40,
        generator=source(3),
        vortices=(2, 2),
        radius=(0.35, 0.35),
        strength=(3.0, 3.0),
        eccentricity=(0.0, 0.0),
    )
    expected = math.pi * 0.35**2 * 3.0**2 / 2 / SIDE**2
    assert enstrophy(scenes).median().item() == pytest.approx(expected, rel=1e-3)
    assert scenes.amax((-2, -1)).median().item() == pytest.approx(3.0, rel=0.02)


def test_higher_eccentricity_means_longer_vortices():
    """Longer ellipses of equal area have steeper slopes across, so more palinstrophy at equal enstrophy."""

    def steepness(eccentricity: tuple[float, float]) -> float:
        scenes = draw_vortices(30, generator=source(), eccentricity=eccentricity)
        return float((scenes - scenes.roll(1, -1)).square().mean() / scenes.square().mean())

    assert steepness((0.9, 0.97)) > 1.5 * steepness((0.0, 0.5))


def test_scenes_are_determined_by_the_seed_and_not_by_the_count():
    torch.testing.assert_close(draw_vortices(3, generator=source(5)), draw_vortices(3, generator=source(5)))
    torch.testing.assert_close(
        draw_vortices(7, generator=source(5))[:3], draw_vortices(3, generator=source(5))
    )
    assert relative(draw_vortices(3, generator=source(6)), draw_vortices(3, generator=source(5))) > 0.5


def test_trajectories_are_determined_by_the_seed():
    first = vortex_trajectories(3, frames=4, seed=1, points=32)
    assert first.shape == (3, 4, 32, 32)
    assert first.dtype == torch.float32
    assert torch.equal(first, vortex_trajectories(3, frames=4, seed=1, points=32))
    assert relative(vortex_trajectories(3, frames=4, seed=2, points=32), first) > 0.5
    assert relative(vortex_trajectories(2, frames=4, seed=1, points=32), first[:2]) < 1e-3


def test_a_trajectory_solves_the_equation_from_its_own_frames():
    """Spin-up, batches and frame numbers are in order: frame 5 follows from frame 3."""
    trajectories = vortex_trajectories(10, frames=6, seed=0, points=32)
    again = solve(trajectories[-2:, 3], frames=3)
    assert relative(again[:, 2], trajectories[-2:, 5]) < 1e-4


def test_spin_up_comes_before_the_first_frame():
    start = draw_vortices(2, generator=source(4), points=32)
    plain = vortex_trajectories(2, frames=3, seed=4, points=32, spin_up=0.0)
    torch.testing.assert_close(plain[:, 0], solve(start, frames=1)[:, 0], atol=1e-5, rtol=0)
    spun = vortex_trajectories(2, frames=1, seed=4, points=32, spin_up=1.0)
    assert relative(spun[:, 0], plain[:, 2]) < 1e-3


def test_the_task_is_as_hard_as_the_book_says():
    """Persistence, straight-line extrapolation, and how far the fluid moves in a frame."""
    trajectories = vortex_trajectories(32, frames=13, seed=0)

    def error(guess: torch.Tensor, truth: torch.Tensor) -> float:
        norms = (guess - truth).norm(dim=(-2, -1)) / truth.norm(dim=(-2, -1))
        return float(norms.mean())

    before, now, after = trajectories[:, 1:-2], trajectories[:, 2:-1], trajectories[:, 3:]
    assert error(now, after) == pytest.approx(0.25, abs=0.05)
    assert error(2 * now - before, after) == pytest.approx(0.23, abs=0.06)
    assert error(trajectories[:, 2], trajectories[:, 12]) == pytest.approx(1.07, abs=0.08)
    u, v = velocity(trajectories)
    cells = 0.5 * (u.square() + v.square()).sqrt() / (SIDE / 64)
    inside = trajectories.abs() > trajectories.square().mean((-2, -1), keepdim=True).sqrt()
    assert cells[inside].median().item() == pytest.approx(1.9, abs=0.2)


@pytest.mark.parametrize("points", [32, 64])
def test_gallery_scenes_can_be_solved(points):
    scenes = gallery(points)
    assert {"dipole", "merger", "shear layer"} <= scenes.keys()
    for name, scene in scenes.items():
        assert scene.shape == (points, points), name
        assert circulation(scene).abs().item() < 1e-4, name
        assert scene.abs().max() > 1, name


def test_gallery_flows_do_what_their_names_say():
    scenes = gallery()
    _, x = grid(64)

    def centre(field: torch.Tensor) -> float:
        weight = field.clamp(min=0.5) - 0.5
        return float((weight * x).sum() / weight.sum())

    dipole = solve(scenes["dipole"], frames=9)
    assert centre(dipole[8]) - centre(dipole[0]) > 1.0

    merger = solve(scenes["merger"], frames=25)
    middle = merger[:, 32, 32]
    assert middle[0] < 0.6 * merger[0].max()  # a gap between two
    assert middle[24] > 0.9 * merger[24].max()  # one

    layer = solve(scenes["shear layer"], frames=17)
    waves = torch.fft.rfft(layer, dim=-1).abs()[..., 2].mean(-1)
    assert waves[16] > 5 * waves[0]

    cells = solve(scenes["Taylor-Green"], frames=5, viscosity=0.01)
    assert relative(cells[4], scenes["Taylor-Green"] * math.exp(-0.01 * 8 * 2)) < 1e-5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "count"),
        ({"vortices": (1, 4)}, "vortices"),
        ({"vortices": (5, 4)}, "vortices"),
        ({"radius": (0.0, 1.0)}, "radius"),
        ({"strength": (-1.0, 1.0)}, "strength"),
        ({"eccentricity": (0.5, 1.0)}, "eccentricity"),
        ({"points": 7}, "points"),
    ],
)
def test_bad_ranges_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        draw_vortices(**{"count": 2, "generator": source(), **options})


def test_bad_trajectories_are_refused():
    with pytest.raises(UserError, match="spin_up"):
        vortex_trajectories(1, frames=2, seed=0, spin_up=-1.0)
    with pytest.raises(UserError, match="frames"):
        vortex_trajectories(1, frames=0, seed=0, spin_up=0.0)
    with pytest.raises(UserError, match="points"):
        gallery(9)


def test_importing_the_package_does_not_import_flows():
    code = "import sys, atmorep_lite; sys.exit(any('atmorep_lite.flows' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
