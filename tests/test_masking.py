"""What is hidden: which tokens, how many, and that it depends on the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from atmorep_lite.config import MaskingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.masking import (
    corrupt_as_published,
    draw_masks,
    forecast_masks,
    hide_at_random,
    hide_future,
    hide_slots,
)
from atmorep_lite.tokens import spread_over_token
from tests.tiny import HEAT, WIND, tiny_field

SHAPE = (2, 3, 4, 2, 5)


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
    batch=st.integers(1, 4),
    levels=st.integers(1, 3),
    tokens=st.tuples(*[st.integers(1, 4)] * 3),
    max_rate=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**32),
)
def test_random_masks_hide_one_token_at_least_and_the_bound_at_most(batch, levels, tokens, max_rate, seed):
    shape = (batch, levels, *tokens)
    mask = hide_at_random(shape, max_rate, np.random.default_rng(seed))
    hidden = mask.flatten(2).sum(-1)
    assert mask.shape == shape and mask.dtype == torch.bool
    assert hidden.min() >= 1
    assert hidden.max() <= np.ceil(max_rate * np.prod(tokens))
    assert torch.equal(mask, hide_at_random(shape, max_rate, np.random.default_rng(seed)))


def test_a_fraction_of_zero_still_hides_one_token() -> None:
    class Zeros:
        def random(self, size: tuple[int, ...]) -> np.ndarray:
            return np.zeros(size)

    mask = hide_at_random((2, 2, 3, 2, 2), 0.5, Zeros())  # type: ignore[arg-type]
    assert (mask.flatten(2).sum(-1) == 1).all()


def test_the_hidden_fraction_is_uniform_and_every_token_as_likely() -> None:
    rng = np.random.default_rng(1)
    mask = hide_at_random((400, 2, 10, 10, 10), 0.6, rng).flatten(2)
    fraction = mask.double().mean(-1)
    assert stats.kstest(fraction.flatten() / 0.6, "uniform").pvalue > 1e-3
    assert stats.chisquare(mask.sum((0, 1)).double()).pvalue > 1e-3
    assert abs(np.corrcoef(fraction[:, 0], fraction[:, 1])[0, 1]) < 0.15, "levels are drawn independently"


def test_draw_masks_forecasts_as_often_as_asked() -> None:
    rng, masking = np.random.default_rng(0), MaskingConfig(max_rate=0.2, forecast_slots=2)
    future = hide_future((2, 2, 3, 2, 4), 2)
    drawn = (draw_masks([tiny_field()], 2, masking, rng, forecast=0.3)[HEAT] for _ in range(1000))
    count = sum(torch.equal(mask, future) for mask in drawn)
    assert stats.binomtest(count, 1000, 0.3).pvalue > 1e-3


def test_draw_masks_hides_one_whole_field_in_turn() -> None:
    fields = (tiny_field(WIND), tiny_field(HEAT))
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        masks = draw_masks(fields, 2, MaskingConfig(whole_field=1.0, max_rate=0.5), rng, forecast=0.0)
        whole = [name for name, mask in masks.items() if mask.all()]
        assert len(whole) == 1 and all(mask.any() for mask in masks.values())
        seen.update(whole)
    assert seen == {WIND, HEAT}


def test_draw_masks_is_a_function_of_the_generator() -> None:
    fields = (tiny_field(WIND), tiny_field(HEAT))

    def draw(seed: int) -> dict[str, torch.Tensor]:
        return draw_masks(
            fields, 2, MaskingConfig(whole_field=0.2), np.random.default_rng(seed), forecast=0.2
        )

    for seed in range(10):
        torch.manual_seed(seed)
        first, again = draw(seed), draw(seed)
        assert all(torch.equal(first[name], again[name]) for name in first)
    free = draw_masks(fields, 2, MaskingConfig(), np.random.default_rng(3), forecast=0.0)
    assert not torch.equal(free[WIND], free[HEAT]), "fields are masked independently"


def published(values: torch.Tensor, seed: int = 0, **rates: float) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return corrupt_as_published(values, (2, 4, 4), MaskingConfig(**rates), np.random.default_rng(seed))


def test_published_corruption_touches_selected_tokens_only_and_not_its_input() -> None:
    values = torch.randn(3, 2, 3, 4, 32, generator=torch.Generator().manual_seed(0))
    before = values.clone()
    corrupted, mask = published(values, coarse=0.5)
    assert torch.equal(values, before)
    assert mask.any() and torch.equal(corrupted[~mask], values[~mask])
    zeroed, _ = published(values, zero=1.0, noise=0.0, coarse=0.0)
    assert (zeroed[mask] == 0).all()
    untouched, _ = published(values, zero=0.0, noise=0.0, coarse=0.0)
    assert torch.equal(untouched, values)


def test_published_corruption_mixes_as_often_as_it_says() -> None:
    values = torch.ones(40, 5, 5, 5, 4) + torch.rand(
        40, 5, 5, 5, 4, generator=torch.Generator().manual_seed(0)
    )
    corrupted, mask = corrupt_as_published(values, (1, 2, 2), MaskingConfig(), np.random.default_rng(0))
    picked, original = corrupted[mask], values[mask]
    zero = int((picked == 0).all(-1).sum())
    same = int((picked == original).all(-1).sum())
    # zeroed and not mixed with noise: 0.9 * 0.8; left as it is: 0.1 * 0.8 * 0.95
    assert stats.binomtest(zero, len(picked), 0.9 * 0.8).pvalue > 1e-3
    assert stats.binomtest(same, len(picked), 0.1 * 0.8 * 0.95).pvalue > 1e-3
    fractions = mask.flatten(1).double().mean(1)
    assert stats.kstest(fractions / 0.5, "uniform").pvalue > 1e-3
