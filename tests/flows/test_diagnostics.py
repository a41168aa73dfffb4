"""Wind, streamfunction and integrals of vorticity against finite differences and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atmorep_lite.errors import UserError
from atmorep_lite.flows import SIDE, circulation, energy, enstrophy, streamfunction, velocity
from atmorep_lite.flows.diagnostics import check_field
from tests.flows.exact import (
    angular_velocity,
    double_grid,
    mirror,
    quarter_turn,
    relative,
    shielded_vortex,
    smooth_noise,
)


def slope(field: np.ndarray, axis: int) -> np.ndarray:
    """Sixth-order central difference on the periodic grid."""
    step = SIDE / field.shape[axis]
    shifted = {offset: np.roll(field, -offset, axis) for offset in (-3, -2, -1, 1, 2, 3)}
    terms = {1: 45, 2: -9, 3: 1}
    return sum(w * (shifted[i] - shifted[-i]) for i, w in terms.items()) / (60 * step)


def test_one_wave_by_hand():
    """vorticity = cos x: psi = -cos x, u = 0, v = sin x, energy = enstrophy = 1/4."""
    _, x = double_grid(16)
    wave = torch.cos(x)
    u, v = velocity(wave)
    torch.testing.assert_close(streamfunction(wave), -torch.cos(x), atol=1e-14, rtol=0)
    torch.testing.assert_close(v, torch.sin(x), atol=1e-14, rtol=0)
    assert u.abs().max() < 1e-14
    assert energy(wave).item() == pytest.approx(0.25)
    assert enstrophy(wave).item() == pytest.approx(0.25)


def test_curl_and_divergence_by_finite_differences():
    vorticity = smooth_noise(64, count=2)
    u, v = (component.numpy() for component in velocity(vorticity))
    np.testing.assert_allclose(slope(v, -1) - slope(u, -2), vorticity, atol=2e-4)
    np.testing.assert_allclose(slope(u, -1) + slope(v, -2), 0, atol=2e-4)


def test_streamfunction_makes_the_wind():
    vorticity = smooth_noise(64)
    psi = streamfunction(vorticity).numpy()
    u, v = velocity(vorticity)
    np.testing.assert_allclose(-slope(psi, -2), u, atol=1e-4)
    np.testing.assert_allclose(slope(psi, -1), v, atol=1e-4)


def test_wind_of_a_shielded_vortex():
    """Solid-like rotation with the angular velocity of the closed form."""
    y, x = (axis - math.pi for axis in double_grid(64))
    u, v = velocity(shielded_vortex(64))
    turning = angular_velocity((y**2 + x**2).sqrt())
    torch.testing.assert_close(u, -turning * y, atol=1e-9, rtol=0)
    torch.testing.assert_close(v, turning * x, atol=1e-9, rtol=0)


def test_energy_is_half_of_minus_streamfunction_times_vorticity():
    vorticity = smooth_noise(32, count=3)
    by_parts = -(streamfunction(vorticity) * vorticity).mean((-2, -1)) / 2
    torch.testing.assert_close(energy(vorticity), by_parts)


def test_mean_vorticity_moves_nothing_but_counts_in_circulation():
    vorticity = smooth_noise(32)
    torch.testing.assert_close(velocity(vorticity + 2.0), velocity(vorticity), atol=1e-12, rtol=0)
    assert circulation(vorticity + 2.0).item() == pytest.approx(2.0 * SIDE**2)
    assert circulation(vorticity).item() == pytest.approx(0.0, abs=1e-12)


def test_wind_of_the_mirrored_and_of_the_turned_flow():
    vorticity = smooth_noise(32)
    u, v = velocity(vorticity)
    mirrored_u, mirrored_v = velocity(-mirror(vorticity))
    torch.testing.assert_close(mirrored_u, -mirror(u), atol=1e-12, rtol=0)
    torch.testing.assert_close(mirrored_v, mirror(v), atol=1e-12, rtol=0)
    turned_u, turned_v = velocity(quarter_turn(vorticity))
    torch.testing.assert_close(turned_u, -quarter_turn(v), atol=1e-12, rtol=0)
    torch.testing.assert_close(turned_v, quarter_turn(u), atol=1e-12, rtol=0)


def test_single_precision_stays_single():
    vorticity = smooth_noise(64).float()
    u, _ = velocity(vorticity)
    assert u.dtype == streamfunction(vorticity).dtype == energy(vorticity).dtype == torch.float32
    assert relative(u.double(), velocity(vorticity.double())[0]) < 1e-6


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (np.zeros((16, 16)), "ndarray"),
        (torch.zeros(16, 16, dtype=torch.int64), "torch.int64"),
        (torch.zeros(16, 16, dtype=torch.float16), "float32 or float64"),
        (torch.zeros(16, 18), r"\(16, 18\)"),
        (torch.zeros(15, 15), "even number"),
        (torch.zeros(6, 6), "at least 8"),
        (torch.zeros(16), r"\(16,\)"),
        (torch.full((16, 16), math.nan), "not finite"),
        (torch.zeros(16, 16, device="meta"), "CPU"),
    ],
)
def test_bad_field_is_refused(field, words):
    with pytest.raises(UserError, match=words):
        check_field(field)
    with pytest.raises(UserError):
        velocity(field)
