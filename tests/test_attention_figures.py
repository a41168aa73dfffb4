"""What the figures draw, read back from their axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from atmorep_lite.attention_figures import (
    coupling_graph,
    field_matrices,
    fields_in_tokens,
    head_atlas,
    token_maps,
    weight_maps,
)
from atmorep_lite.attention_maps import AttentionCapture, attention_maps
from atmorep_lite.attention_maps.capture import capture_attention
from atmorep_lite.attention_maps.heads import head_table
from atmorep_lite.errors import UserError
from atmorep_lite.figures import figure_alt_text
from atmorep_lite.tokens import tokenize
from tests.tiny import HEAT, WIND, coupled_fields, ready_model, tiny_model, wave

CONFIG = tiny_model(*coupled_fields(), locality=0.4)


@pytest.fixture(scope="module")
def capture() -> AttentionCapture:
    record = wave(times=10, names=(WIND, HEAT))
    return capture_attention(
        ready_model(CONFIG, record), record, "2001-01-01T18", latitude=45.0, longitude=5.0
    )


@pytest.fixture(scope="module")
def weights(capture: AttentionCapture) -> xr.DataArray:
    node = attention_maps(capture, query_fields=[WIND], key_fields=[WIND], queries=[20])[f"{WIND}/{WIND}"]
    return node["attention"].isel(query=0)


def test_graph_has_an_arrow_for_each_coupling() -> None:
    figure = coupling_graph(CONFIG, {WIND: "u", HEAT: "T"})
    (ax,) = figure.axes
    arrows = [text for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    assert len(arrows) == 2
    assert {text.get_text() for text in ax.texts} == {"u", "T", ""}
    assert f"{WIND} listens to {HEAT}" in figure_alt_text(figure)


def test_maps_draw_weight_over_uniform(weights: xr.DataArray) -> None:
    one = weights.isel(layer=0, head=0)
    figure = weight_maps({"first": one, "second": weights.isel(layer=1, head=0)}, level=500)
    axes = figure.axes[:-1]  # the last is the colour scale
    assert len(axes) == 2 * 3
    drawn = np.concatenate([np.asarray(ax.collections[0].get_array()).ravel() for ax in axes[:3]])
    values = one.values.reshape(2, 3, -1)[0].ravel() * one.size
    np.testing.assert_allclose(np.sort(drawn), np.sort(values))
    assert [ax.get_title(loc="left") for ax in axes[:3]] == ["first, -12 h", "first, -6 h", "first, +0 h"]
    assert axes[2].patches[0].get_linestyle() in ("-", "solid")
    assert "500 hPa" in figure_alt_text(figure)
    named = weight_maps({"x": one}, level=850, columns=["a", "b", "c"])
    assert named.axes[1].get_title(loc="left") == "x, b"


def test_atlas_shows_every_head(capture: AttentionCapture) -> None:
    table = head_table(capture, queries=[0, 3])
    figure = head_atlas({"a": table, "b": table}, x="entropy", y="near", labels=("entropy", "share"))
    (ax,) = figure.axes
    assert sum(len(points.get_offsets()) for points in ax.collections) == 2 * len(table)
    filled = [len(points.get_facecolor()) > 0 for points in ax.collections]
    assert filled == [True, True, False, False]


def test_net_follows_the_tokens() -> None:
    region = wave(rows=8, columns=16).temperature.isel(
        time=0, level=0, latitude=slice(1, 5), longitude=slice(2, 8)
    )
    figure = fields_in_tokens([region], (2, 2, 3))
    ax = figure.axes[0]
    horizontal, vertical = (
        [segment[0] for segment in lines.get_segments()]
        for lines in ax.collections
        if hasattr(lines, "get_segments")
    )
    np.testing.assert_allclose([north for _, north in horizontal], [67.5, 22.5, -22.5])
    np.testing.assert_allclose([east for east, _ in vertical], [33.75, 101.25, 168.75])


def test_matrices_write_their_numbers() -> None:
    table = pd.DataFrame([[0.1, np.nan], [0.02, 0.5]], index=["u", "T"], columns=["u", "T"])
    figure = field_matrices({"size": table, "loss": table}, percent=[False, True])
    first, second = ([text.get_text() for text in ax.texts] for ax in figure.axes)
    assert first == ["0.10", "0.02", "0.50"] and second == ["10.0 %", "2.0 %", "50.0 %"]


def test_token_maps_show_the_step_and_say_the_error() -> None:
    grid = torch.randn(2, 1, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    values = {"truth": grid, "zero": 0 * grid, "half": grid / 2}
    tokens = {name: tokenize(value, (2, 2, 2)) for name, value in values.items()}
    figure = token_maps(tokens, (2, 2, 2), level=0, step=3, sample=1)
    titles = [ax.get_title(loc="left") for ax in figure.axes[:3]]
    assert titles == ["truth", "zero 1.00", "half 0.50"]
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), grid[1, 0, 3] / 2)


def test_mistakes_are_explained(weights: xr.DataArray) -> None:
    with pytest.raises(UserError, match="key alone"):
        weight_maps({"both heads": weights.isel(layer=0)}, level=500)
