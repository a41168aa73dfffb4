"""Pictures of flows: what is drawn is what was given, where it was given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from atmorep_lite import flows
from atmorep_lite.errors import UserError
from atmorep_lite.flow_figures import (
    SIDE,
    arrows_figure,
    draw_arrows,
    draw_field,
    enstrophy_spectrum,
    frames_figure,
    translation_figure,
)


def test_field_lies_where_its_points_are_and_y_runs_upwards() -> None:
    field = torch.zeros(8, 8)
    field[6, 1] = 1.0
    figure, ax = plt.subplots()
    image = draw_field(ax, field, limit=2.0)
    plt.close(figure)
    left, right, bottom, top = image.get_extent()
    assert image.origin == "lower" and image.get_clim() == (-2.0, 2.0)
    size = SIDE / 8
    centres = left + size * (np.arange(8) + 0.5), bottom + size * (np.arange(8) + 0.5)
    assert centres[0] == pytest.approx(np.arange(8) * size) and centres[1] == pytest.approx(
        np.arange(8) * size
    )
    assert right - left == pytest.approx(SIDE) and top - bottom == pytest.approx(SIDE)


def test_arrows_end_where_they_point_to() -> None:
    figure, ax = plt.subplots()
    draw_arrows(ax, torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -0.25]]))
    plt.close(figure)
    quiver = ax.collections[0]
    assert quiver.get_offsets().tolist() == [[2.0, 1.0]]  # x, y
    assert (quiver.U.item(), quiver.V.item()) == (-0.25, 0.5)
    assert quiver.scale == 1 and quiver.angles == "xy" and quiver.scale_units == "xy"


def test_frames_share_one_scale() -> None:
    rows = {"a": [torch.full((8, 8), 3.0), torch.zeros(8, 8)], "b": [torch.ones(8, 8), -torch.ones(8, 8)]}
    figure = frames_figure(rows, ["first", "second"])
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert {image.get_clim() for image in images} == {(-3.0, 3.0)}
    assert [ax.get_title() for ax in figure.axes[:2]] == ["first", "second"]
    assert figure.axes[2].get_ylabel() == "b"
    with pytest.raises(UserError, match="3 titles"):
        frames_figure(rows, ["1", "2", "3"])


def test_arrows_are_drawn_where_the_fluid_moves() -> None:
    places = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    truth, arrows = torch.zeros(16, 2), torch.ones(16, 2)
    truth[3] = torch.tensor([0.0, 1.0])
    figure = arrows_figure({"a": (torch.zeros(8, 8), truth, arrows)}, places, least=0.5)
    black, orange = figure.axes[0].collections
    assert black.get_offsets().tolist() == orange.get_offsets().tolist() == [[3.0, 0.0]]
    assert (black.U.item(), orange.V.item()) == (1.0, 1.0)


def test_translation_figure_shows_every_error() -> None:
    errors = {"a": 0.5, "b": 0.25}
    weights = torch.eye(4)
    figure = translation_figure(
        errors, torch.zeros(8, 8), torch.zeros(8, 8), weights, torch.ones(2), torch.ones(2), torch.ones(2)
    )
    assert [patch.get_width() for patch in figure.axes[0].patches] == [0.5, 0.25]
    assert np.array_equal(figure.axes[3].images[0].get_array(), weights.numpy())


def test_spectrum_of_one_wave_and_its_sum() -> None:
    x = torch.arange(32) * (SIDE / 32)
    wave = (3 * torch.cos(5 * x)).expand(2, 32, 32)
    spectrum = enstrophy_spectrum(wave)
    assert len(spectrum) == 10
    assert spectrum[4] == pytest.approx(9 / 4, rel=1e-5)  # <9 cos^2> / 2, wave number 5
    smooth = flows.vortex_trajectories(1, frames=1, seed=0, points=64)[0]
    assert float(enstrophy_spectrum(smooth).sum()) == pytest.approx(
        float(flows.enstrophy(smooth)[0]), rel=0.02
    )
