"""Statistics of tokens against fields made so that they are known."""

from __future__ import annotations

import numpy as np
import pytest

from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.token_statistics import token_statistics
from tests.mocks import as_dataset


def test_known_fields() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(16, 2, 8, 16))
    smooth = np.repeat(np.repeat(np.repeat(noise[::2, :, ::2, ::2], 2, 0), 2, 2), 2, 3)  # constant in tokens
    data = as_dataset({"temperature": 3.0 * smooth, "vorticity": 4.0 * noise}, levels=(500, 850))
    found = token_statistics(data, Normalizer.fit(data, "global"), token_size=(2, 2, 2), level=850)
    square = [(data[name].sel(level=850) ** 2).mean().item() for name in ("temperature", "vorticity")]
    assert found.loc["temperature", "share"] == pytest.approx(square[0] / sum(square))
    assert found.loc["temperature", "inside"] == pytest.approx(0.0, abs=1e-6)
    # of white noise, an eighth of the variance is left in means over eight values
    assert found.loc["vorticity", "inside"] == pytest.approx(7 / 8, abs=0.02)
    assert abs(found.loc["vorticity", "neighbours"]) < 0.15


def test_neighbours_on_the_ring() -> None:
    """A wave of m crests: tokens two columns wide, of 16, are correlated by the cosine of their distance."""
    east = 2 * np.pi * np.arange(16) / 16
    wave = np.cos(2 * east + np.linspace(0, 2 * np.pi, 8, endpoint=False)[:, None])
    values = np.broadcast_to(wave[:, None, None], (8, 1, 4, 16)).copy()
    data = as_dataset({"temperature": values})
    found = token_statistics(data, Normalizer.fit(data, "global"), token_size=(1, 2, 2), level=500)
    assert found.loc["temperature", "neighbours"] == pytest.approx(np.cos(2 * 2 * 2 * np.pi / 16), abs=1e-3)
