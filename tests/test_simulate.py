"""From model layers to pressure levels; the simulation itself needs JAX and is not run here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite.data.simulate import SimulationSettings, simulate, to_pressure_levels
from atmorep_lite.errors import UserError

SIGMA = np.array([0.1, 0.3, 0.5, 0.7, 0.85, 0.95])


def columns(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values and log pressure ``[time, layer, y, x]`` over a surface between 550 and 1030 hPa."""
    rng = np.random.default_rng(seed)
    surface = rng.uniform(55_000, 103_000, (2, 1, 3, 4))
    return rng.normal(size=(2, len(SIGMA), 3, 4)), np.log(SIGMA[:, None, None] * surface)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), levels=st.lists(st.integers(20, 1100), min_size=1, max_size=4))
def test_inside_the_layers_it_is_numpys_interpolation(seed: int, levels: list[int]) -> None:
    values, log_pressure = columns(seed)
    held = to_pressure_levels(values, log_pressure, tuple(levels), extrapolate=False)
    continued = to_pressure_levels(values, log_pressure, tuple(levels), extrapolate=True)
    assert held.shape == (2, len(levels), 3, 4) and held.dtype == np.float32
    for t, k, y, x in np.ndindex(held.shape):
        layers, target = log_pressure[t, :, y, x], np.log(levels[k] * 100.0)
        expected = np.interp(target, layers, values[t, :, y, x])  # held beyond the ends
        assert held[t, k, y, x] == pytest.approx(expected, abs=1e-5)
        if layers[0] <= target <= layers[-1]:
            assert continued[t, k, y, x] == pytest.approx(expected, abs=1e-5)
            continue
        i, j = (0, 1) if target < layers[0] else (-2, -1)
        v, p = values[t, :, y, x], layers
        beyond = v[i] + (target - p[i]) * (v[j] - v[i]) / (p[j] - p[i])
        assert continued[t, k, y, x] == pytest.approx(beyond, rel=1e-4, abs=1e-4)


def test_what_is_linear_in_log_pressure_is_exact_everywhere() -> None:
    _, log_pressure = columns()
    out = to_pressure_levels(3.0 - 2.0 * log_pressure, log_pressure, (50, 500, 1100), extrapolate=True)
    for k, level in enumerate((50, 500, 1100)):
        np.testing.assert_allclose(out[:, k], 3.0 - 2.0 * np.log(level * 100.0), rtol=1e-6)


def test_a_level_at_a_layer_takes_its_value() -> None:
    values = np.arange(6.0).reshape(1, 6, 1, 1)
    log_pressure = np.log(SIGMA * 100_000).reshape(1, 6, 1, 1)
    out = to_pressure_levels(values, log_pressure, (100, 500, 950), extrapolate=True)
    np.testing.assert_allclose(out.ravel(), [0, 2, 5], atol=1e-6)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already; choose another name"):
        simulate(tmp_path, SimulationSettings(days=1))
    if importlib.util.find_spec("jcm") is None:
        with pytest.raises(
            UserError, match=r"needs the package jcm .*; install it in an environment of its own"
        ):
            simulate(tmp_path / "new.zarr", SimulationSettings(days=1))
        assert not list(tmp_path.iterdir())
