"""Figures of chapter 5 show what they are given, and cutting into tokens loses nothing but the mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atmorep_lite.errors import UserError
from atmorep_lite.figures import figure_alt_text
from atmorep_lite.toy_figures import (
    cosines,
    curve_figure,
    cut,
    matrix_row,
    station_figure,
    sun_picture,
    token_figure,
)


def test_cut_keeps_everything_but_the_mean() -> None:
    strip = torch.arange(24.0).reshape(2, 12)
    tokens = cut(strip, 3)
    assert tokens.shape == (3, 8)
    assert torch.equal(tokens[1], strip[:, 4:8].flatten() - 11.5)
    with pytest.raises(UserError, match="12 points wide"):
        cut(strip, 5)


def test_cosines() -> None:
    tokens = torch.tensor([[2.0, 0.0], [1.0, 1.0], [-3.0, 0.0]])
    root = math.sqrt(0.5)
    expected = torch.tensor([[1, root, -1], [root, 1, -root], [-1, -root, 1]])
    assert torch.allclose(cosines(tokens), expected)


def test_station_figure_orders_places_and_states_the_error() -> None:
    angle, truth = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 2.0])
    figure = station_figure(angle, truth + 1, truth, {"half": truth / 2, "right": truth})
    assert [ax.get_title("left") for ax in figure.axes] == [
        "half, this draw: error 0.50",
        "right, this draw: error 0.00",
    ]
    answer = figure.axes[0].lines[2]
    assert np.allclose(answer.get_xdata(), np.rad2deg([1, 2, 3]))
    assert answer.get_ydata().tolist() == [1, 1, 0.5]


@pytest.mark.parametrize("signed", [False, True])
def test_matrices_share_one_scale(signed: bool) -> None:
    panels = {"a": torch.eye(3), "b": -4 * torch.eye(3)}
    figure = matrix_row(panels, label="weight", names=["x", "y", "z"], signed=signed)
    images = [ax.images[0] for ax in figure.axes[:2]]
    assert {image.get_clim() for image in images} == {(-4.0 if signed else 0.0, 4.0)}
    assert {text.get_text() for text in figure.axes[1].texts} == {"−4.0", "0.0"}
    assert "a, greatest entry 1.00" in figure_alt_text(figure)
    with pytest.raises(UserError, match="no matrices"):
        matrix_row({}, label="weight")


def test_token_figure_shows_the_cosines_of_all_three() -> None:
    words, features = ["a", "b"], torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    field = torch.tensor([[1.0, 2.0, -1.0, -2.0]])
    figure = token_figure(words, features, sun_picture(), field)
    shown = [ax.images[0].get_array() for ax in figure.axes[3:6]]
    for matrix, table in zip(shown, (features, cut(sun_picture(), 2), cut(field, 2)), strict=True):
        assert np.allclose(matrix, cosines(table))


def test_curves() -> None:
    figure = curve_figure([1, 10], {"one": [1, 2], "ruler": [1, 4]}, axes_labels=("N", "s"), dashed=["ruler"])
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["one"].get_ydata()) == [1, 2] and lines["ruler"].get_linestyle() == "--"
    assert figure.axes[0].get_xscale() == "log" and figure.axes[0].get_yscale() == "linear"
