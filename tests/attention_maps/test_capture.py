"""Neighbourhoods and captures: the very tokens, masks by hand, and errors where the truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from atmorep_lite.attention_maps import (
    AttentionCapture,
    CapturedField,
    as_capture,
    capture_attention,
    neighbourhood,
    wind_of,
)
from atmorep_lite.config import FieldConfig
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.widgets import AttentionExplorer
from tests.tiny import HEAT, WIND, coupled_fields, ready_model, tiny_model, wave

PLACE = {"latitude": 45.0, "longitude": 5.0}


@pytest.fixture(scope="module")
def data():
    record = wave(times=10, names=(WIND, HEAT))
    rng = np.random.default_rng(0)
    return record.copy(data={n: v + rng.normal(size=v.shape) for n, v in record.data_vars.items()})


@pytest.fixture(scope="module")
def model(data) -> AtmoRep:
    return ready_model(tiny_model(*coupled_fields(), locality=0.4), data)


def test_the_future_of_a_neighbourhood_is_not_read(model: AtmoRep, data) -> None:
    cube = neighbourhood(model, data, data.time.values[5], **PLACE)
    assert (
        cube.known == 4
        and cube.tokens[WIND].mask[0, :, -1].all()
        and not cube.tokens[WIND].mask[0, :, :-1].any()
    )
    assert (cube.tokens[WIND].values[:, :, -1] == 0).all() and (
        cube.tokens[HEAT].values[:, :, -2:] == 0
    ).all()
    whole = neighbourhood(model, data, data.time.values[7], **PLACE, forecast=False)
    assert not any(t.mask.any() for t in whole.tokens.values())
    torch.testing.assert_close(whole.tokens[WIND].values[:, :, :-1], cube.tokens[WIND].values[:, :, :-1])


def test_error_is_the_prediction_minus_the_data(model: AtmoRep, data) -> None:
    capture = capture_attention(model, data, data.time.values[5], **PLACE)
    cube = neighbourhood(model, data, data.time.values[5], **PLACE)
    for name, tt in ((WIND, 2), (HEAT, 1)):
        field = capture.fields[name]
        assert field.error is not None and field.error.shape == field.values.shape
        ends = data[name].sel(level=list(field.level), time=cube.time[tt - 1 :: tt])
        truth = ends.transpose("level", "time", "latitude", "longitude").values
        rows = slice(cube.place.row, cube.place.row + field.values.shape[2])
        columns = (cube.place.column + np.arange(field.values.shape[3])) % data.sizes["longitude"]
        expected = field.values - truth[:, :, rows][..., columns]
        hidden = np.repeat(np.repeat(field.mask, field.values.shape[2] // field.mask.shape[2], 2),
                           field.values.shape[3] // field.mask.shape[3], 3)  # fmt: skip
        np.testing.assert_allclose(field.error[hidden], expected[hidden], atol=1e-3)
        assert np.isnan(field.error[~hidden]).all() and np.abs(expected[~hidden]).max() < 1e-3
        assert hidden.any() and np.abs(expected[hidden]).max() > 0.1


def test_no_error_beyond_the_record_and_none_without_hidden_tokens(model: AtmoRep, data) -> None:
    last = capture_attention(model, data, data.time.values[-1], **PLACE)
    seen = capture_attention(model, data, data.time.values[-1], **PLACE, forecast=False)
    assert all(f.error is None for c in (last, seen) for f in c.fields.values())


def test_a_capture_of_a_pass_with_masks_by_hand(model: AtmoRep, data) -> None:
    cube = neighbourhood(model, data, data.time.values[7], **PLACE, forecast=False)
    mask = torch.zeros_like(cube.tokens[HEAT].mask)
    mask[0, 0, 2, 1, 0] = True
    cube = replace(cube, tokens=cube.tokens | {HEAT: replace(cube.tokens[HEAT], mask=mask)})
    trace: dict = {}
    with torch.no_grad():
        predictions = model(cube.tokens, cube.static, trace=trace)
    capture = as_capture(model, cube, predictions, trace)
    field = capture.fields[HEAT]
    assert (
        field.mask.sum() == 1 and np.isfinite(field.error).sum() == 4 and capture.fields[WIND].error is None
    )
    normal = predictions[HEAT].mean - cube.tokens[HEAT].values
    scale = float(model.normalizer.std[HEAT].sel(level=850))
    np.testing.assert_allclose(
        field.error[np.isfinite(field.error)], scale * normal[mask].flatten(), atol=1e-3
    )


def test_where_part_of_the_truth_is_known_its_error_is(data) -> None:
    """Two slots of the wind are hidden, and the record ends after the first."""
    model = ready_model(tiny_model(*coupled_fields()), data, slots=2)
    capture, short = (
        capture_attention(model, part, data.time.values[5], **PLACE)
        for part in (data, data.isel(time=slice(0, 8)))
    )
    for name, known in ((WIND, 2), (HEAT, 4)):
        whole, field = capture.fields[name], short.fields[name]
        assert whole.error is not None and field.error is not None
        np.testing.assert_allclose(field.error[:, :known], whole.error[:, :known], atol=1e-3)
        assert np.isfinite(field.error[:, :known]).any() and np.isfinite(whole.error[:, known:]).all()
        assert np.isnan(field.error[:, known:]).all()


def test_hidden_tokens_that_are_not_predicted_hold_nothing(data) -> None:
    fields = tuple(replace_config(f) for f in coupled_fields())
    model = ready_model(tiny_model(*fields), data)
    capture = capture_attention(model, data, data.time.values[5], **PLACE)
    heat, wind = capture.fields[HEAT], capture.fields[WIND]
    hidden = hidden_of(heat)
    assert hidden.any() and np.array_equal(np.isnan(heat.values), hidden) and heat.error is None
    assert np.isfinite(wind.values).all() and wind.error is not None
    steps = data.time.values[5] + (np.arange(6) - 3) * np.timedelta64(3, "h")
    assert np.array_equal(wind.value_time, steps[1::2]) and np.array_equal(heat.value_time, steps)
    other = replace(wind, name="v_component_of_wind", values=np.where(hidden_of(wind), np.nan, wind.values))
    found = wind_of(AttentionCapture({WIND: wind, other.name: other}, {}))
    assert found is not None and np.array_equal(found.time, wind.value_time)
    for part in (found.u, found.v):
        assert np.array_equal(np.isnan(part), wind.mask)
    assert AttentionExplorer(capture).fault is None


def replace_config(field: FieldConfig) -> FieldConfig:
    """Only the wind is predicted."""
    return field.model_copy(update={"loss_weight": float(field.name == WIND)})


def hidden_of(field: CapturedField) -> np.ndarray:
    """The mask on the grid of the values."""
    tall, wide = (n // m for n, m in zip(field.values.shape[2:], field.mask.shape[2:], strict=True))
    return np.repeat(np.repeat(field.mask, tall, 2), wide, 3)


def test_mistakes_are_explained(model: AtmoRep, data) -> None:
    for wrong in ({"latitude": 91.0}, {"latitude": np.nan}, {"longitude": np.nan}):
        with pytest.raises(UserError, match="there is no place"):
            neighbourhood(model, data, data.time.values[5], **PLACE | wrong)
    with pytest.raises(UserError, match="no normalisation"):
        neighbourhood(AtmoRep(model.config), data, data.time.values[5], **PLACE)
    with pytest.raises(UserError, match="needs the 4 states"):
        neighbourhood(model, data, data.time.values[1], **PLACE)


def test_a_fault_elsewhere_in_the_record_does_no_harm(model: AtmoRep, data) -> None:
    """Times of the neighbourhood are read and no others, on disk or in memory."""
    broken = data.copy(deep=True)
    broken[WIND][{"time": 0}] = np.nan
    broken[HEAT][{"time": 9}] = np.nan
    time = data.time.values[4]
    ours, theirs = (neighbourhood(model, one, time, **PLACE) for one in (broken, data))
    for name, tokens in ours.tokens.items():
        assert torch.equal(tokens.values, theirs.tokens[name].values)
        assert torch.equal(tokens.info, theirs.tokens[name].info)
    assert len(ours.data.time) == model.config.extent[0]
    assert np.array_equal(ours.time, theirs.time)
    with pytest.raises(UserError, match=WIND):
        neighbourhood(model, broken, data.time.values[3], **PLACE)
