"""Coarse tokens of a larger region: what they hold, and that they never show what is hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from atmorep_lite.config import ContextConfig, ModelConfig, SubpatchConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.errors import UserError
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.context import hidden_context, show_context
from tests.mocks import as_dataset
from tests.tiny import HEAT, WIND, tiny_field, tiny_model

TIMES, ROWS, COLUMNS = 14, 12, 24
# 6 steps x 4 rows x 8 columns inside 6 x 8 x 16
CONTEXT = ContextConfig(num_tokens=(3, 2, 4), token_size=(2, 2, 2), coarsen=2)
FINE_CONTEXT = ContextConfig(num_tokens=(3, 2, 4), token_size=(2, 4, 4))


def model_config(context: ContextConfig = CONTEXT, **changes: Any) -> ModelConfig:
    fields = (
        tiny_field(HEAT, context=context, coupled_to=(WIND,)),
        tiny_field(WIND, coupled_to=(HEAT,)),
    )
    settings = {
        "positions": "sphere",
        "locality": 0.5,
        "subpatches": SubpatchConfig(size=(1, 2, 2), width=16),
    }
    return tiny_model(*fields, **settings | changes)


@pytest.fixture(scope="module")
def record() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return as_dataset(
        {n: rng.normal(size=(TIMES, 2, ROWS, COLUMNS)) for n in (HEAT, WIND)}, levels=(500, 850)
    )


def neighbourhoods(record: xr.Dataset, config: ModelConfig) -> Neighbourhoods:
    level = {"level": record.level}
    zero, one = (
        xr.Dataset({n: ("level", np.full(2, v, np.float32)) for n in (HEAT, WIND)}, coords=level)
        for v in (0, 1)
    )
    return Neighbourhoods(record, config, Normalizer(zero, one))


#: In the middle, across 0/360, at both poles, where the region can be centred in longitude only.
PLACES = [Place(2, 4, 10), Place(0, 5, 21), Place(8, 0, 0), Place(3, 8, 2)]
CORNERS = [(2, 6), (3, 17), (0, -4), (4, -2)]  # of the region, by hand


@pytest.mark.parametrize("context", [CONTEXT, FINE_CONTEXT])
def test_context_tokens_hold_the_region_around_the_neighbourhood(record, context) -> None:
    tokens = neighbourhoods(record, model_config(context)).batch(PLACES).tokens[HEAT]
    assert tokens.context is not None and tokens.context.offset is not None
    heat = record[HEAT].values.transpose(1, 0, 2, 3)
    for sample, (place, (top, left)) in enumerate(zip(PLACES, CORNERS, strict=True)):
        assert tokens.context.offset[sample].tolist() == [place.row - top, place.column - left]
        for t, y, x in np.ndindex(3, 2, 4):
            rows, columns = top + 4 * y + np.arange(4), (left + 4 * x + np.arange(4)) % COLUMNS
            box = heat[:, place.step + 2 * t : place.step + 2 * t + 2][:, :, rows][..., columns]
            if context is CONTEXT:
                box = box.reshape(2, 2, 2, 2, 2, 2).mean((3, 5))
            np.testing.assert_allclose(
                tokens.context.values[sample, :, t, y, x], box.reshape(2, -1), atol=1e-6
            )
            _, _, _, level, colatitude, longitude, _, resolution = tokens.context.info[
                sample, 1, t, y, x
            ].tolist()
            assert level == 850 and resolution == 15.0 * context.coarsen
            assert colatitude == pytest.approx(90 - record.latitude.values[top + 4 * y + 2])
            assert longitude == pytest.approx(record.longitude.values[(left + 4 * x + 2) % COLUMNS])


def test_a_limited_area_keeps_the_region_inside(record) -> None:
    europe = record.isel(longitude=slice(0, 18))
    data = neighbourhoods(europe, model_config())
    offsets = data.batch([Place(0, 4, 0), Place(0, 4, 10), Place(0, 4, 4)]).tokens[HEAT].context.offset
    assert offsets.tolist() == [[2, 0], [2, 8], [2, 4]]


def test_too_large_a_context_is_refused(record) -> None:
    with pytest.raises(UserError, match="context of temperature covers 8 x 16 points"):
        neighbourhoods(record.isel(longitude=slice(0, 12)), model_config())


@pytest.mark.parametrize("context", [CONTEXT, FINE_CONTEXT])
def test_a_context_token_is_hidden_if_any_of_its_points_is(context) -> None:
    """Against a loop over points."""
    field = tiny_field(HEAT, context=context)
    rng = np.random.default_rng(1)
    mask = torch.from_numpy(rng.random((4, 2, 3, 2, 4)) < 0.3)
    mask[0, 0, 2] = True  # a slot hidden throughout
    mask[1, 1] = True  # and a level
    offset = torch.tensor([[2, 4], [0, 0], [4, 8], [3, 5]])
    hidden = hidden_context(mask, offset, field, context)
    expected = torch.zeros(4, 2, 3, 2, 4, dtype=torch.bool)
    for b, level, t, y, x in np.ndindex(4, 2, 6, 8, 16):
        row, column = y - offset[b, 0].item(), x - offset[b, 1].item()
        inside = 0 <= row < 4 and 0 <= column < 8
        own = mask[b, level, t // 2]
        expected[b, level, t // 2, y // 4, x // 4] |= own[row // 2, column // 2] if inside else own.all()
    assert torch.equal(hidden, expected)


def masks_of(task: str, config: ModelConfig) -> dict[str, torch.Tensor]:
    """One sample's: the future, a whole field, or tokens at random and one slot of one level throughout."""
    if task == "forecast":
        return forecast_masks(config.fields, 1, 1)
    rng = np.random.default_rng(3)
    shape = (1, 2, *config.field(HEAT).num_tokens)
    masks = {name: torch.from_numpy(rng.random(shape) < 0.3) for name in config.names}
    masks[HEAT][0, 1, 1] = True
    return masks if task == "gaps" else masks | {HEAT: torch.ones(shape, dtype=torch.bool)}


def spoil(values: np.ndarray, mask: torch.Tensor, place: Place) -> None:
    """Wild numbers in a record ``[level, time, row, column]`` where its neighbourhood at ``place`` is hidden.

    Where a whole slot is hidden, on the whole globe.
    """
    for level, slot in np.ndindex(*mask.shape[1:3]):
        steps = place.step + 2 * slot + np.arange(2)
        own = mask[0, level, slot]
        if own.all():
            values[level, steps] = 1e6
        for row, column in np.argwhere(own.numpy()):
            rows = place.row + 2 * row + np.arange(2)
            columns = (place.column + 2 * column + np.arange(2)) % COLUMNS
            values[np.ix_([level], steps, rows, columns)] = -1e6


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("task", ["gaps", "forecast", "whole field"])
def test_what_is_hidden_has_no_influence(record, task, place) -> None:
    """Bit-equal predictions and embeddings, whatever stands where the record is hidden."""
    config = model_config(FINE_CONTEXT if task == "gaps" else CONTEXT)
    torch.manual_seed(0)
    model = AtmoRep(config).eval()
    masks, predictions = masks_of(task, config), []
    data = neighbourhoods(record, config)
    for spoilt in (False, True):
        for name in config.names if spoilt else ():
            spoil(data.fields[name].values, masks[name], place)
        tokens = {n: replace(t, mask=masks[n]) for n, t in data.batch([place]).tokens.items()}
        with torch.inference_mode():
            predictions.append({n: e.members for n, e in model(tokens).items()})
    for name in config.names:
        assert torch.equal(predictions[0][name], predictions[1][name])
    visible = ~masks[HEAT][0, 0, 0]
    if visible.any():  # while what is visible has influence, inside and out
        data.fields[HEAT].values[:] += 1.0
        tokens = {n: replace(t, mask=masks[n]) for n, t in data.batch([place]).tokens.items()}
        with torch.inference_mode():
            assert not torch.equal(model(tokens)[WIND].members, predictions[0][WIND])


def test_the_context_is_heard(record) -> None:
    """A change outside the neighbourhood changes the prediction inside."""
    config = model_config()
    torch.manual_seed(0)
    model, data, place = AtmoRep(config).eval(), neighbourhoods(record, config), PLACES[0]
    masks = forecast_masks(config.fields, 1, 1)
    predictions = []
    for change in (0.0, 1.0):
        data.fields[HEAT].values[:, place.step, 2:4, 6:8] += change  # in the region's corner
        tokens = {n: replace(t, mask=masks[n]) for n, t in data.batch([place]).tokens.items()}
        with torch.inference_mode():
            predictions.append(model(tokens)[HEAT].members)
    assert not torch.allclose(*predictions, atol=1e-6)


def test_a_published_like_model_fills_its_context_too(record) -> None:
    """Where the model predicts fields, hidden values are zero, but the context is filled all the same."""
    config = model_config(predict="field")
    field, place = config.field(HEAT), PLACES[1]
    tokens = neighbourhoods(record, config).batch([place]).tokens[HEAT]
    shown = show_context(replace(tokens, mask=forecast_masks([field], 1, 1)[HEAT]), field).context
    assert shown is not None and shown.mask[:, :, 2].all() and not shown.mask[:, :, :2].any()
    persisted = tokens.context.values.unflatten(-1, (2, 4))[:, :, 1, ..., 1, :]
    for step in (0, 1):
        assert torch.equal(shown.values.unflatten(-1, (2, 4))[:, :, 2, ..., step, :], persisted)


def test_tokens_without_the_context_are_refused(record) -> None:
    config = model_config()
    tokens = neighbourhoods(record, config).batch([PLACES[0]]).tokens
    bare = tokens | {HEAT: replace(tokens[HEAT], context=None)}
    with pytest.raises(UserError, match="reads a context of temperature"):
        AtmoRep(config)(bare)


def test_gradients_reach_the_embedding_through_the_context_and_a_linear_one_works_too(record) -> None:
    config = model_config(subpatches=None)
    torch.manual_seed(0)
    model = AtmoRep(config)
    tokens = neighbourhoods(record, config).batch([PLACES[0]]).tokens
    hidden = {
        n: replace(t, mask=m)
        for (n, t), m in zip(tokens.items(), forecast_masks(config.fields, 1, 1).values(), strict=True)
    }
    sum(e.members.square().sum() for e in model(hidden).values()).backward()
    gradient = model.embeddings[HEAT].context_value.weight.grad
    assert gradient is not None and gradient.abs().max() > 0


def test_a_forecast_reads_no_future_outside_either(record) -> None:
    future = record.copy(deep=True)
    for name in (HEAT, WIND):
        future[name][4:] = 1e9
    tokens = neighbourhoods(future, model_config()).batch([PLACES[1]], known_steps=4).tokens[HEAT]
    assert (tokens.context.values[:, :, 2] == 0).all() and (tokens.context.values[:, :, :2] != 0).any()
    assert tokens.context.info[0, 0, :, 0, 0, 2].tolist() == [3.0, 9.0, 15.0]
