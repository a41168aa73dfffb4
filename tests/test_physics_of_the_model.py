"""What a physicist would doubt: leaks, seams, precision, and who may influence whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite.applications import forecast as forecasting
from atmorep_lite.applications.forecast import forecast, tile_starts
from atmorep_lite.config import FieldConfig, ModelConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Batch, Neighbourhoods, Place
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens
from atmorep_lite.training.step import hide
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, ready_model, tiny_field, tiny_model, wave

CHAIN = (HEAT, WIND, "v_component_of_wind", "specific_humidity", "vorticity")
SKIP = {"width": 8, "blocks": 1}


def build(config: ModelConfig, seed: int = 0) -> AtmoRep:
    """A model none of whose parts is silent."""
    torch.manual_seed(seed)
    model = AtmoRep(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.rand_like(parameter))
    return model


# Who may influence whom


def chain(layers: int, order: tuple[int, ...] = (0, 1, 2, 3, 4)) -> ModelConfig:
    """Temperature listens to u, u to v, v to humidity; vorticity is alone."""
    fields = [
        tiny_field(name, levels=(500,), coupled_to=(CHAIN[i + 1],) if i < 3 else ())
        for i, name in enumerate(CHAIN)
    ]
    return tiny_model(*(fields[i] for i in order), encoder_layers=layers, locality=0.5)


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_information_travels_one_coupling_per_layer_and_no_other_way(layers: int) -> None:
    """After L layers a field knows what it reaches by up to L couplings; all else is equal bit for bit."""
    model = build(chain(layers))
    tokens = random_tokens(model.config)
    before = model(tokens)
    for source, told in enumerate(CHAIN):
        loud = tokens | {told: tokens[told].with_values(tokens[told].values + 1.0)}
        after = model(loud)
        for listener, name in enumerate(CHAIN):
            steps = source - listener
            linked = told == name or (0 < steps <= layers and source < 4)
            assert torch.equal(before[name].members, after[name].members) != linked, (told, name)


@torch.no_grad()
@pytest.mark.parametrize("order", [(4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_the_order_of_fields_does_not_matter(order: tuple[int, ...]) -> None:
    model = build(chain(2))
    permuted = AtmoRep(chain(2, order)).eval()
    permuted.load_state_dict(model.state_dict())
    tokens = random_tokens(model.config)
    expected = model(tokens)
    found = permuted(dict(reversed(tokens.items())))
    for name in CHAIN:
        assert torch.equal(found[name].members, expected[name].members)


@torch.no_grad()
def test_the_order_of_levels_and_tokens_is_told_by_their_positions_alone() -> None:
    """Without positions and locality the tokens are a set: a permuted neighbourhood gives the same values."""
    model = build(tiny_model(tiny_field()))
    model.embeddings[HEAT].position.zero_()
    model.embeddings[HEAT].info.weight.zero_()
    (tokens,) = random_tokens(model.config).values()
    mask = torch.zeros_like(tokens.mask)
    mask[:, :, -1] = True  # a forecast, so that the fill is the same along latitude and longitude
    tokens = replace(tokens, mask=mask)
    turned = replace(tokens, values=tokens.values.flip(3, 4), info=tokens.info.flip(3, 4))
    plain, found = (model({HEAT: t})[HEAT].members for t in (tokens, turned))
    torch.testing.assert_close(found.flip(4, 5), plain, atol=1e-5, rtol=1e-5)


# Nothing leaks from what is hidden


def with_context() -> FieldConfig:
    around = {"num_tokens": (3, 2, 4), "token_size": (2, 1, 1), "coarsen": 4}
    return FieldConfig.model_validate(tiny_field().model_dump() | {"context": around})


CONFIGURATIONS = {
    "coupled": lambda: tiny_model(*coupled_fields(), locality=0.5, grid_skip=SKIP),
    "published form": lambda: tiny_model(*coupled_fields(), predict="field"),
    "published": lambda: tiny_model(*coupled_fields(), predict="field", published="2024"),
    "context": lambda: tiny_model(with_context(), positions="sphere"),
}


def batches(config: ModelConfig, masks: dict[str, torch.Tensor], seed: int) -> tuple[Batch, Batch]:
    """The same neighbourhoods twice, cut out of records that differ in what is hidden from both, by far.

    The records differ in the last time slot, at all places; the masks hide it, and other tokens that differ.
    """
    names = tuple(f.name for f in config.fields)
    record = wave(names=names, rows=16, columns=32, times=12)
    rng = np.random.default_rng(seed)
    other = record.copy(deep=True)
    for name in names:
        for first in (0, 6):
            other[name][first + 4 : first + 6] += rng.normal(0, 1e3, other[name][:2].shape)
    places = [Place(0, 5, 30), Place(6, 9, 3)]
    normalizer = Normalizer.fit(record, "global")
    one, two = (Neighbourhoods(r, config, normalizer).batch(places) for r in (record, other))
    for name, mask in masks.items():
        spoilt = torch.from_numpy(rng.normal(0, 1e3, two.tokens[name].values.shape)).float()
        values = torch.where(mask[..., None], spoilt, two.tokens[name].values)
        two.tokens[name] = two.tokens[name].with_values(values)
    return one, two


@torch.no_grad()
@pytest.mark.parametrize("kind", CONFIGURATIONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_truth_behind_the_mask_changes_nothing(kind: str, seed: int) -> None:
    config = CONFIGURATIONS[kind]()
    model = build(config)
    masks = {}
    for f in config.fields:
        mask = torch.rand(2, len(f.levels), *f.num_tokens) < 0.3
        mask[:, :, -(2 // f.token_size[0]) :] = True
        masks[f.name] = mask
    first, second = batches(config, masks, seed)
    outputs = [model(hide(b.tokens, masks), first.static) for b in (first, second)]
    for name in model.predicted:
        assert torch.equal(outputs[0][name].members, outputs[1][name].members)
        hidden = masks[name][..., None]
        truths = [torch.where(hidden, b.tokens[name].values, 0.0) for b in (first, second)]
        assert float((truths[0] - truths[1]).abs().max()) > 10.0, "the truths do differ"


# Precision and derivatives


@torch.no_grad()
@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_single_precision_is_enough(kind: str) -> None:
    config = CONFIGURATIONS[kind]()
    model = build(config)
    masks = {n: t.mask for n, t in random_tokens(config).items()}
    batch, _ = batches(config, {}, 0)
    tokens = hide(batch.tokens, masks)
    single = model(tokens, batch.static)
    double = model.double()({n: doubled(t) for n, t in tokens.items()}, batch.static.double())
    for name in model.predicted:
        exact = double[name].members
        assert exact.dtype == torch.float64
        error = float((single[name].members - exact).norm() / exact.norm())
        assert error < 1e-5, (name, error)


def doubled(tokens: FieldTokens) -> FieldTokens:
    context = None if tokens.context is None else doubled(tokens.context)
    return replace(tokens, values=tokens.values.double(), info=tokens.info.double(), context=context)


@pytest.mark.parametrize("predict", ["departure", "field"])
def test_derivatives_are_those_of_finite_differences(predict: str) -> None:
    """With respect to every visible value and every weight (the latter along random directions)."""
    shape = {"levels": (500,), "num_tokens": (3, 1, 2), "token_size": (1, 2, 1)}
    wind, heat = tiny_field(WIND, coupled_to=(HEAT,), **shape), tiny_field(HEAT, **shape)
    skip = SKIP | {"width": 2} if predict == "departure" else None
    config = tiny_model(
        wind, heat, predict=predict, heads=2, members=2, encoder_layers=1, locality=0.3, grid_skip=skip
    )
    model = build(config).double()
    tokens = {n: doubled(t) for n, t in random_tokens(config, batch=1, hidden=0.5).items()}
    static = torch.randn(1, 8, 2, 2, dtype=torch.float64)

    def outcome(u: torch.Tensor, t: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = {WIND: tokens[WIND].with_values(u), HEAT: tokens[HEAT].with_values(t)}
        state = dict(zip(names, weights, strict=False))
        out = torch.func.functional_call(model, state, (given, static))
        return tuple(out[name].members for name in model.predicted)

    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    names = list(trained)
    values = [tokens[n].values.clone().requires_grad_() for n in (WIND, HEAT)]
    assert torch.autograd.gradcheck(outcome, values)
    weights = [p.detach().clone().requires_grad_() for p in trained.values()]
    assert torch.autograd.gradcheck(outcome, (*values, *weights), fast_mode=True)


# The globe has no seam


def untold(**changes) -> AtmoRep:
    """A random model that is not told the longitude, so that no meridian is special to it."""
    data = wave(names=(WIND, HEAT), times=12, rows=12, columns=24)
    model = ready_model(tiny_model(*coupled_fields(), locality=0.5, **changes), data)
    for embedding in model.embeddings.values():
        torch.nn.init.zeros_(embedding.info.weight)
    return model


@pytest.mark.parametrize("columns", [4, 8, 20])
def test_turning_the_globe_turns_the_forecast(columns: int) -> None:
    """By a multiple of the tiles' spacing, 4 columns: the tiles then are the same, in another order."""
    model = untold()
    data = wave(names=(WIND, HEAT), times=12, rows=12, columns=24)
    rng = np.random.default_rng(0)
    data = data.map(lambda x: x + rng.normal(0, 3, x.shape), keep_attrs=True)
    turned = data.roll(longitude=columns, roll_coords=False)
    time = data.time.values[7:8]
    xr.testing.assert_allclose(
        forecast(model, turned, time), forecast(model, data, time).roll(longitude=columns), atol=2e-3
    )


def test_forecasts_do_not_depend_on_the_date_for_a_model_that_is_not_told() -> None:
    model = untold()
    data = wave(names=(WIND, HEAT), times=12, rows=12, columns=24)
    later = data.assign_coords(time=data.time + np.timedelta64(3 * 365 + 100, "D") + np.timedelta64(9, "h"))
    ours, theirs = (forecast(model, d, d.time.values[7:8]) for d in (data, later))
    for name in (WIND, HEAT):
        np.testing.assert_array_equal(ours[name].values, theirs[name].values)


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(4, 13), columns=st.integers(8, 30), seed=st.integers(0, 99))
def test_tiles_of_any_known_field_blend_to_that_field(rows: int, columns: int, seed: int) -> None:
    """Each tile holds its part of a rough field on the sphere; blended they are the field, at every point."""
    rng = np.random.default_rng(seed)
    globe = rng.normal(size=(2, 1, 3, rows, columns)).astype(np.float32)
    config = tiny_model(tiny_field())
    dataset = wave(rows=rows, columns=columns, times=6)
    data = Neighbourhoods(dataset, config, Normalizer.fit(dataset, "global"))
    starts = tile_starts(data, 4, 8)
    places = [Place(0, row, column) for row in starts[0] for column in starts[1]]
    across = [np.arange(p.column, p.column + 8) % columns for p in places]
    tiles = np.stack([globe[..., p.row : p.row + 4, :][..., c] for p, c in zip(places, across, strict=True)])
    weight = np.outer(forecasting._bell(4), forecasting._bell(8)).astype(np.float32)
    np.testing.assert_allclose(forecasting._blend(tiles, places, weight, rows, columns), globe, atol=1e-5)


def test_tiles_that_disagree_leave_no_seam_at_their_edges_or_at_the_date_line() -> None:
    """Each tile says another constant; the steepest places of the blend are never the edges of tiles."""
    rows, columns, height, width = 32, 64, 16, 32
    config = tiny_model(tiny_field(num_tokens=(3, 8, 16)))
    dataset = wave(rows=rows, columns=columns, times=6)
    data = Neighbourhoods(dataset, config, Normalizer.fit(dataset, "global"))
    first_rows, first_columns = tile_starts(data, height, width)
    assert (first_rows, first_columns) == ([0, 8, 16], [0, 16, 32, 48])
    places = [Place(0, row, column) for row in first_rows for column in first_columns]
    says = np.random.default_rng(0).normal(size=len(places)).astype(np.float32)
    tiles = np.broadcast_to(says[:, None, None, None, None, None], (len(places), 1, 1, 1, height, width))
    weight = np.outer(forecasting._bell(height), forecasting._bell(width)).astype(np.float32)
    globe = forecasting._blend(tiles, places, weight, rows, columns)[0, 0, 0]
    east = np.abs(globe - np.roll(globe, 1, axis=1)).max(0)
    south = np.abs(np.diff(globe, axis=0)).max(1)
    disagreement = float(np.ptp(says))
    assert east[first_columns].max() < 0.01 * disagreement, "0/360 is one of these edges"
    assert south[[r - 1 for r in (*first_rows[1:], height, height + 8)]].max() < 0.02 * disagreement
    assert 0.05 < east.max() / disagreement < 0.2, "in between the blend passes from one to the next"
