"""What each task hides: the right tokens, the right number, for any token grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from atmorep_lite.config import TASKS, FieldConfig, MaskingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.masking import (
    STRATEGIES,
    Scene,
    forecast_masks,
    hide_at_random,
    hide_future,
    hide_slots,
)
from atmorep_lite.masking.tasks import Masks
from atmorep_lite.tokens import spread_over_token
from tests.tiny import HEAT, WIND, tiny_field

SHAPE = (2, 3, 4, 2, 5)
MOIST = "specific_humidity"


def hide(task: str, *fields: FieldConfig, seed: int = 0, **masking) -> Masks:
    return STRATEGIES[task](scene(fields), np.random.default_rng(seed), MaskingConfig(**masking))


def scene(fields: tuple[FieldConfig, ...]) -> Scene:
    """Somewhere on the northern Atlantic, a degree from point to point."""
    centres = {
        f.name: (
            50.0 - (np.arange(f.num_tokens[1]) + 0.5) * f.token_size[1],
            (350.0 + (np.arange(f.num_tokens[2]) + 0.5) * f.token_size[2]) % 360.0,
        )
        for f in fields
    }
    return Scene(fields, centres)


def three_fields() -> tuple[FieldConfig, ...]:
    """Twelve hours, twelve rows and twelve columns, cut into tokens in three ways."""
    return (
        tiny_field(WIND, levels=(500, 850), num_tokens=(6, 3, 2), token_size=(2, 4, 6)),
        tiny_field(HEAT, levels=(250, 500, 850), num_tokens=(3, 4, 4), token_size=(4, 3, 3)),
        tiny_field(MOIST, levels=(850,), num_tokens=(12, 2, 3), token_size=(1, 6, 4)),
    )


@given(slots=st.lists(st.integers(-4, 3), max_size=4))
def test_hide_slots_hides_these_slots_and_no_other(slots: list[int]) -> None:
    mask = hide_slots(SHAPE, slots)
    expected = [slot in slots or slot - 4 in slots for slot in range(4)]
    assert torch.equal(mask, torch.tensor(expected).view(1, 1, 4, 1, 1).expand(SHAPE))


@pytest.mark.parametrize("slot", [4, -5])
def test_hide_slots_refuses_a_slot_that_is_not_there(slot: int) -> None:
    with pytest.raises(UserError, match=f"time slot {slot} does not exist; there are 4"):
        hide_slots(SHAPE, [0, slot])


def test_hide_future_hides_the_last_slots() -> None:
    assert hide_future(SHAPE, 3)[0, 0, :, 0, 0].tolist() == [False, True, True, True]


@pytest.mark.parametrize("slots", [0, 4, 5])
def test_a_forecast_needs_something_to_see_and_something_to_hide(slots: int) -> None:
    with pytest.raises(UserError, match=f"a forecast of {slots} token slots"):
        hide_future(SHAPE, slots)


def test_forecast_masks_hide_the_same_steps_of_tokens_of_different_length() -> None:
    long, short = tiny_field(WIND, levels=(500,)), tiny_field(num_tokens=(6, 2, 4), token_size=(1, 2, 2))
    masks = forecast_masks((long, short), 5, 2)
    assert masks[WIND].shape == (5, 1, 3, 2, 4) and masks[HEAT].shape == (5, 2, 6, 2, 4)
    for f in (long, short):
        hidden = spread_over_token(masks[f.name], f.token_size)
        assert torch.equal(hidden, (torch.arange(6) >= 2).view(1, 1, 6, 1, 1).expand_as(hidden))
    with pytest.raises(
        UserError, match="1 time steps is not a whole number of tokens of u_component_of_wind"
    ):
        forecast_masks((short, long), 5, 1)


@settings(max_examples=40, deadline=None)
@given(
    lead=st.lists(st.integers(1, 4), max_size=2),
    tokens=st.tuples(*[st.integers(1, 4)] * 3),
    max_rate=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**32),
)
def test_random_masks_hide_one_token_at_least_and_the_bound_at_most(lead, tokens, max_rate, seed):
    shape, count = (*lead, *tokens), math.prod(tokens)
    mask = hide_at_random(shape, max_rate, np.random.default_rng(seed))
    hidden = mask.flatten(-3).sum(-1)
    assert mask.shape == shape and mask.dtype == torch.bool
    assert hidden.min() >= 1
    assert hidden.max() <= max(1, min(count - 1, np.ceil(max_rate * count)))
    assert torch.equal(mask, hide_at_random(shape, max_rate, np.random.default_rng(seed)))


def test_the_hidden_fraction_is_uniform_and_every_token_as_likely() -> None:
    mask = hide_at_random((400, 2, 10, 10, 10), 0.6, np.random.default_rng(1)).flatten(2)
    fraction = mask.double().mean(-1)
    assert stats.kstest(fraction.flatten() / 0.6, "uniform").pvalue > 1e-3
    assert stats.chisquare(mask.sum((0, 1)).double()).pvalue > 1e-3
    assert abs(np.corrcoef(fraction[:, 0], fraction[:, 1])[0, 1]) < 0.15, "levels are drawn independently"


def test_random_is_independent_by_field_and_level_and_may_hide_one_field_altogether() -> None:
    fields = three_fields()
    masks = hide("random", *fields, max_rate=0.9, seed=2)
    assert not torch.equal(masks[HEAT][0], masks[HEAT][1])
    assert not any(mask.all() for mask in masks.values())
    rng = np.random.default_rng(0)
    masking = MaskingConfig(max_rate=0.5, whole_field=0.3)
    whole = []
    for _ in range(600):
        masks = STRATEGIES["random"](scene(fields), rng, masking)
        assert all(mask.any() for mask in masks.values())
        whole.append([name for name, mask in masks.items() if mask.all()])
    assert max(len(names) for names in whole) == 1
    counts = [sum(name in names for names in whole) for name in (WIND, HEAT, MOIST)]
    assert stats.binomtest(sum(counts), 600, 0.3).pvalue > 1e-3
    assert stats.chisquare(counts).pvalue > 1e-3


def hidden_hours(masks: Masks, fields: tuple[FieldConfig, ...]) -> set[tuple[bool, ...]]:
    """Which hours are hidden, for each field, level, row and column."""
    columns = set()
    for f in fields:
        hidden = spread_over_token(masks[f.name], f.token_size).movedim(1, -1)
        columns |= {tuple(row) for row in hidden.flatten(0, -2).tolist()}
    return columns


def test_tasks_in_time_hide_the_same_hours_of_all_fields() -> None:
    fields = three_fields()
    hours = np.arange(12)
    assert hidden_hours(hide("forecast", *fields, forecast_slots=2), fields) == {tuple(hours >= 8)}
    assert hidden_hours(hide("hindcast", *fields, hindcast_slots=4), fields) == {tuple(hours < 8)}
    assert hidden_hours(hide("interpolation", *fields, interpolation_slots=2), fields) == {
        tuple((hours >= 4) & (hours < 8))
    }


def test_interpolation_begins_at_any_inner_slot_as_likely() -> None:
    field = tiny_field(num_tokens=(7, 1, 1))
    rng, masking = np.random.default_rng(0), MaskingConfig(interpolation_slots=2)
    first = [
        int(STRATEGIES["interpolation"](scene((field,)), rng, masking)[HEAT][0, :, 0, 0].int().argmax())
        for _ in range(800)
    ]
    counts = np.bincount(first)
    assert counts.tolist()[0] == 0 and len(counts) == 5 and stats.chisquare(counts[1:]).pvalue > 1e-3


def test_a_hidden_level_is_hidden_in_all_fields_that_have_it() -> None:
    fields = three_fields()
    seen = set()
    for seed in range(60):
        masks = hide("level", *fields, hidden_levels=2, seed=seed)
        hidden = {
            level for f in fields for level, mask in zip(f.levels, masks[f.name], strict=True) if mask.all()
        }
        visible = {
            level
            for f in fields
            for level, mask in zip(f.levels, masks[f.name], strict=True)
            if not mask.any()
        }
        assert len(hidden) == 2 and hidden | visible == {250, 500, 850} and not hidden & visible
        seen.add(frozenset(hidden))
    assert len(seen) == 3


def test_a_hidden_field_is_a_predicted_one() -> None:
    wind, heat, moist = three_fields()
    fields = (wind, heat, moist.model_copy(update={"loss_weight": 0.0}))
    names = []
    for seed in range(60):
        masks = hide("field", *fields, seed=seed)
        names += [name for name, mask in masks.items() if mask.all()]
        assert sum(bool(mask.any()) for mask in masks.values()) == 1
    assert set(names) == {WIND, HEAT} and len(names) == 60


def intervals(inside: torch.Tensor) -> bool:
    """Whether a mask is the product of one interval in each direction."""
    t, y, x = (inside.any(dim=axes[0]).any(dim=axes[1]) for axes in ((2, 1), (2, 0), (1, 0)))
    connected = all((side.int().diff(prepend=torch.tensor([0])) == 1).sum() == 1 for side in (t, y, x))
    return connected and torch.equal(inside, t[:, None, None] & y[:, None] & x)


def test_a_box_is_one_region_of_all_fields_and_a_crop_is_the_rest() -> None:
    fields = three_fields()
    for seed in range(40):
        inside, outside = hide("box", *fields, seed=seed), hide("crop", *fields, seed=seed)
        for name, mask in inside.items():
            assert torch.equal(outside[name], ~mask)
            assert all(torch.equal(mask[0], other) for other in mask) and intervals(mask[0])
        # centres of tokens of the three fields inside the box leave room for one interval
        for axis in range(3):
            centres = [
                ((i + 0.5) * f.token_size[axis], bool(hit))
                for f in fields
                for i, hit in enumerate(inside[f.name][0].movedim(axis, 0).flatten(1).any(1))
            ]
            hits = [hit for _, hit in sorted(centres, key=lambda c: c[0])]
            found = [c for c, hit in centres if hit]
            between = [hit for c, hit in centres if min(found) < c < max(found)]
            assert any(hits) and all(between)


def test_sides_of_boxes_are_fractions_of_the_neighbourhood() -> None:
    """With one-point tokens, a side is a whole number of tokens between the two fractions."""
    field = tiny_field(num_tokens=(40, 40, 40), token_size=(1, 1, 1), levels=(500,))
    sides, first, last = [], 0, 0
    for seed in range(300):
        inside = hide("box", field, box_sides=(0.2, 0.6), seed=seed)[HEAT][0]
        for axes in ((2, 1), (2, 0), (1, 0)):
            along = inside.any(dim=axes[0]).any(dim=axes[1])
            sides.append(int(along.sum()))
            first, last = first + int(along[0]), last + int(along[-1])
    assert min(sides) >= 8 and max(sides) <= 24
    assert stats.kstest((np.array(sides) + 0.5 - 8) / 17, "uniform").pvalue > 1e-3
    at_an_edge = sum(1 / (40 - side + 1) for side in sides)  # expected: places are uniform
    assert first == pytest.approx(at_an_edge, abs=4 * at_an_edge**0.5)
    assert last == pytest.approx(at_an_edge, abs=4 * at_an_edge**0.5)


@st.composite
def any_fields(draw: st.DrawFn) -> tuple[FieldConfig, ...]:
    """Up to three fields that cut one neighbourhood into tokens in any way; some may be input only."""
    extent = draw(st.tuples(*[st.sampled_from([1, 2, 4, 6, 12])] * 3))
    fields = []
    for name in (WIND, HEAT, MOIST)[: draw(st.integers(1, 3))]:
        counts = tuple(draw(st.sampled_from([n for n in range(1, e + 1) if e % n == 0])) for e in extent)
        fields.append(
            tiny_field(
                name,
                levels=draw(st.sampled_from([(0,), (500,), (500, 850), (850, 250, 700)])),
                num_tokens=counts,
                token_size=tuple(e // n for e, n in zip(extent, counts, strict=True)),
                loss_weight=draw(st.sampled_from([0.0, 1.0])) if fields else 1.0,
            )
        )
    return tuple(fields)


@st.composite
def any_masking(draw: st.DrawFn) -> MaskingConfig:
    slots = st.integers(1, 4)
    sides = sorted((draw(st.floats(0.05, 0.95)), draw(st.floats(0.05, 0.95))))
    return MaskingConfig(
        forecast_slots=draw(slots),
        hindcast_slots=draw(slots),
        interpolation_slots=draw(slots),
        max_rate=draw(st.floats(0.01, 1.0)),
        whole_field=draw(st.sampled_from([0.0, 0.5, 1.0])),
        hidden_levels=draw(st.integers(1, 3)),
        box_sides=(sides[0], sides[1]),
        swath_width=draw(st.floats(0.1, 60.0)),
        swath_spacing=draw(st.floats(1.0, 360.0)),
        swath_inclination=draw(st.floats(10.0, 170.0)),
    )


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=60, deadline=None)
@given(fields=any_fields(), masking=any_masking(), data=st.data())
def test_every_task_hides_something_and_leaves_something_or_refuses(task, fields, masking, data) -> None:
    """Whether it refuses depends on the token grids and settings, not on the generator."""
    seeds = data.draw(st.lists(st.integers(0, 2**32), min_size=3, max_size=3))
    outcomes = set()
    for seed in seeds:
        try:
            masks = STRATEGIES[task](scene(fields), np.random.default_rng(seed), masking)
        except UserError as error:
            outcomes.add(str(error))
            continue
        outcomes.add("")
        for f in fields:
            assert masks[f.name].shape == (len(f.levels), *f.num_tokens)
            assert masks[f.name].dtype == torch.bool
        assert any(masks[f.name].any() for f in fields if f.loss_weight > 0)
        assert not all(masks[f.name].all() for f in fields)
    assert len(outcomes) == 1


@settings(max_examples=60, deadline=None)
@given(fields=any_fields(), masking=any_masking(), seed=st.integers(0, 2**32))
def test_boxes_cut_every_field(fields, masking, seed) -> None:
    try:
        masks = STRATEGIES["box"](scene(fields), np.random.default_rng(seed), masking)
    except UserError:
        return
    assert all(mask.any() and not mask.all() for mask in masks.values())


@pytest.mark.parametrize(
    ("task", "settings", "reason"),
    [
        ("random", {"whole_field": 0.5}, "whole_field needs two fields"),
        ("hindcast", {"hindcast_slots": 3}, "hindcast of 6 time steps leaves nothing of 6"),
        ("interpolation", {"interpolation_slots": 2}, "over 4 of 6 time steps needs 2 visible ones"),
        ("level", {"hidden_levels": 2}, "hiding 2 level"),
        ("field", {}, "needs a second one"),
    ],
)
def test_refusals(task: str, settings: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        hide(task, tiny_field(), **settings)


@pytest.mark.parametrize("task", ["random", "box", "crop", "swath", "lost_swath"])
def test_a_single_token_cannot_be_cut(task: str) -> None:
    with pytest.raises(UserError, match="two tokens or more"):
        hide(task, tiny_field(num_tokens=(1, 1, 1)))


def test_tokens_of_odd_length_are_refused_by_name() -> None:
    short, long = tiny_field(WIND, num_tokens=(6, 2, 4), token_size=(1, 2, 2)), tiny_field()
    for task in ("hindcast", "interpolation"):
        with pytest.raises(UserError, match=f"{task} of 1 time steps .* choose another masking.{task}_slots"):
            hide(task, short, long)
