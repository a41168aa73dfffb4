"""The guard: what it calls wrong, what it does, whom it blames; and that a restart changes none of it."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
import torch
import xarray as xr

from atmorep_lite.config import GuardConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import InMemory, Neighbourhoods, Place
from atmorep_lite.errors import UserError
from atmorep_lite.masking import Key, Purpose, batch_keys, draw_masks, generator
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import spread_over_token
from atmorep_lite.training.blame import Culprit, blame
from atmorep_lite.training.guard import ENOUGH, IN_A_ROW, PART, WINDOW, Guard, Trouble
from atmorep_lite.training.processes import processes
from atmorep_lite.training.step import hide, masked_loss
from tests.tiny import HEAT, WIND, coupled_fields, tiny_model, tiny_run, wave
from tests.training.together import together

SKIP = GuardConfig(spike=5.0, action="skip")
NAN, INF = float("nan"), float("inf")


def warm(settings: GuardConfig = SKIP, steps: int = 20) -> Guard:
    """A guard that has seen losses from 1 to 2 and norms from 10 to 20."""
    guard = Guard(settings)
    guard.begin(0)
    for step in range(steps):
        assert guard.check(1 + step / steps, 10 + 10 * step / steps) is None
    return guard


def test_what_is_wrong() -> None:
    guard = warm()
    usual = median(1 + step / 20 for step in range(20))
    assert guard.check(4.99 * usual, 15.0) is None, "just below five times the median"
    losses = [1 + step / 20 for step in range(20)] + [4.99 * usual]
    trouble = guard.check(5.01 * median(losses), 15.0)
    assert trouble == Trouble("loss", 5.01 * median(losses), median(losses))
    assert str(trouble) == f"the loss {5.01 * median(losses):.3g} is 5.01 times its running median 1.5"
    assert guard.check(1.0, 100.0).what == "gradient norm"
    assert str(guard.check(NAN, 10.0)) == "the loss became nan"
    assert str(guard.check(1.0, INF)) == "the gradient norm became inf"


def test_only_the_last_good_steps_count_and_a_few_are_needed() -> None:
    guard = Guard(SKIP)
    guard.begin(0)
    for loss in (1.0, 1000.0, 1.0, 1000.0, 1.0, 1.0, 1.0, 1.0):  # the first ENOUGH may be anything
        assert guard.check(loss, 1.0) is None
    assert guard.check(1000.0, 1.0) is not None
    for _ in range(WINDOW):
        guard.check(4.0, 1.0)
    assert guard.check(19.0, 1.0) is None and guard.check(21.0, 1.0) is not None
    guard.begin(0)
    assert guard.check(21.0, 1.0) is not None, "the same stage goes on"
    guard.begin(1)
    assert all(guard.check(1000.0, 1.0) is None for _ in range(ENOUGH)), "another stage has its own scale"
    assert warm(GuardConfig()).check(1e9, 1e9) is None, "without spike only what is no number counts"


def test_skipped_steps_are_counted_and_ten_in_a_row_end_the_run() -> None:
    guard = warm()
    for step in range(IN_A_ROW - 1):
        said = guard.act(guard.check(NAN, 1.0), step=step, blamed="sample 3")
        assert said == f"the loss became nan in stage 0 at step {step}: sample 3; the step is left out"
    assert guard.check(1.0, 10.0) is None
    for step in range(IN_A_ROW - 1):
        guard.act(guard.check(NAN, 1.0), step=step, blamed="")
    assert guard.skipped == 2 * (IN_A_ROW - 1)
    with pytest.raises(UserError, match="the 10th step in a row that went wrong, so the run has diverged"):
        guard.act(guard.check(NAN, 1.0), step=9, blamed="")
    stopping = warm(GuardConfig())
    with pytest.raises(UserError, match="the loss became nan in stage 0 at step 7: sample 3; leave"):
        stopping.act(stopping.check(NAN, 1.0), step=7, blamed="sample 3")


def verdicts(guard: Guard, steps: range) -> list[str | None]:
    """About a random series with spikes and numbers that are none; wrong steps are left out."""
    said = []
    for step in steps:
        rng = np.random.default_rng(step)
        loss = NAN if step % 37 == 5 else float(rng.lognormal(sigma=1.0))
        trouble = guard.check(loss, float(rng.lognormal()))
        said.append(None if trouble is None else guard.act(trouble, step=step, blamed="-"))
    return said


def test_a_resumed_run_judges_alike() -> None:
    whole = Guard(SKIP)
    whole.begin(2)
    expected = verdicts(whole, range(150))
    assert sum(said is not None for said in expected) > 10
    first = Guard(SKIP)
    first.begin(2)
    begun = verdicts(first, range(83))
    text = json.dumps(first.state(), allow_nan=False)
    assert len(text) < 4096
    second = Guard(SKIP, json.loads(text))
    second.begin(2)
    assert begun + verdicts(second, range(83, 150)) == expected
    assert second.state() == whole.state()


def test_a_diverged_stage_is_no_success() -> None:
    model = torch.nn.Linear(2, 2)
    guard = warm(steps=2 * PART)
    guard.finish(model)
    for _ in range(PART):
        guard.check(4.9, 15.0)
    with pytest.raises(UserError, match=r"the loss of stage 0 rose from 1.23 to 4.9 \(medians of 16 steps\)"):
        guard.finish(model)
    few = warm(steps=8)
    for step in range(9):
        few.act(few.check(NAN, 1.0), step=step, blamed="")
    with pytest.raises(UserError, match="9 of 17 steps of stage 0 went wrong and were left out"):
        few.finish(model)
    with torch.no_grad():
        model.bias[0] = NAN
    with pytest.raises(UserError, match=r"stage 0 ends with weights that are no numbers \(bias\)"):
        warm().finish(model)


CONFIG = tiny_run(tiny_model(*coupled_fields(), locality=0.5))
KEYS = batch_keys(5, epoch=1, step=3, batch_size=8)


def place_of(data: Neighbourhoods, key: Key) -> Place:
    return data.draw(1, generator(key, Purpose.PLACE))[0]


def loss_of(model: AtmoRep, data: Neighbourhoods, keys: list[Key]) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of a batch, as the training loop computes it."""
    batch = data.batch([place_of(data, key) for key in keys])
    masks, _ = draw_masks(data.model.fields, keys, CONFIG.masking, tokens=batch.tokens)
    return masked_loss(model, hide(batch.tokens, masks), batch, {"crps": 1.0})


@pytest.fixture(scope="module")
def weather() -> xr.Dataset:
    return wave(names=(WIND, HEAT), times=200)


@pytest.fixture
def record(weather: xr.Dataset) -> Neighbourhoods:
    return Neighbourhoods(weather, CONFIG.model, Normalizer.fit(weather, "global"))


@pytest.fixture
def model() -> AtmoRep:
    torch.manual_seed(0)
    return AtmoRep(CONFIG.model)


def insert(data: Neighbourhoods, value: float, *, name: str = WIND, victim: int = 5) -> tuple[int, int, int]:
    """Write a value that one sample alone has, hidden; returns its step, row and column in the record."""
    places = [place_of(data, key) for key in KEYS]
    steps, place = data.model.extent[0], places[victim]
    masks, _ = draw_masks(data.model.fields, KEYS, CONFIG.masking, tokens=data.batch(places).tokens)
    hidden = spread_over_token(masks[name][victim], data.model.field(name).token_size)[-1]
    step, row, column = next(
        (t, y, x)
        for t, y, x in hidden.nonzero().tolist()
        if not any(i != victim and 0 <= place.step + t - p.step < steps for i, p in enumerate(places))
    )
    where = place.step + step, place.row + row, (place.column + column) % len(data.longitude)
    field = data.fields[name]
    assert isinstance(field, InMemory)
    field.values[-1, where[0], where[1], where[2]] = value
    return where


@pytest.mark.parametrize("value", [3e4, INF, NAN, -INF])
@pytest.mark.parametrize("what", ["loss", "gradient norm"])
def test_the_sample_with_an_extreme_value_is_blamed(
    record: Neighbourhoods, model: AtmoRep, value: float, what: str
) -> None:
    step, row, column = insert(record, value)
    total, _ = loss_of(model, record, KEYS)
    assert not total.isfinite() or total > 10, "without it 0.8"
    found = blame(
        Trouble(what, float(total.detach()), None),
        KEYS,
        lambda key: loss_of(model, record, [key]),
        lambda key: place_of(record, key),
        record,
        parameters=[p for p in model.parameters() if p.requires_grad],
    )
    assert (found.sample, found.measured, found.field, found.level) == (3 * 8 + 5, what, WIND, 850)
    assert found.time == str(record.time[step])[:16]
    assert (found.latitude, found.longitude) == (record.latitude[row], record.longitude[column])
    assert found.north[0] <= found.latitude <= found.north[1]
    np.testing.assert_equal(found.value, np.float32(value))
    said = str(found)
    assert f"sample {found.sample} ({found.first} to {found.last}" in said
    assert f"{found.value:.4g} standard deviations of {WIND} at {found.time}" in said
    assert all(p.grad is None for p in model.parameters()), "gradients are left alone"


def test_weights_that_are_no_numbers_are_blamed_on_no_sample(record, model) -> None:
    with torch.no_grad():
        model.embeddings[WIND].hidden[0] = NAN
        model.embeddings[HEAT].hidden[0] = NAN
    measure = lambda key: loss_of(model, record, [key])  # noqa: E731
    found = blame(Trouble("loss", NAN, None), KEYS, measure, lambda key: place_of(record, key), record)
    assert str(found) == "the loss of every sample alone is nan, so the weights are at fault"


def test_ordinary_samples_are_called_ordinary(record, model) -> None:
    before = torch.random.get_rng_state()
    measure = lambda key: loss_of(model, record, [key])  # noqa: E731
    found = blame(Trouble("loss", 9.0, 1.0), KEYS, measure, lambda key: place_of(record, key), record)
    alone = [float(loss_of(model, record, [key])[0].detach()) for key in KEYS]
    assert found.sample == KEYS[int(np.argmax(alone))].sample and found.loss == pytest.approx(max(alone))
    assert found.others == pytest.approx(median(sorted(alone)[:-1]))
    assert str(replace(found, others=found.loss / 1.9)).startswith("no sample stands out; the largest loss")
    assert str(replace(found, others=found.loss / 2.1)).startswith("alone, the loss is")
    assert isinstance(found, Culprit) and torch.equal(torch.random.get_rng_state(), before)


def judged_together(values: list[list[float]]) -> tuple[list[str | None], str]:
    """What a process of several says of its losses, and whom it blames for an extreme value."""
    torch.manual_seed(0)
    network, weather = AtmoRep(CONFIG.model), wave(names=(WIND, HEAT), times=200)
    data = Neighbourhoods(weather, CONFIG.model, Normalizer.fit(weather, "global"))
    insert(data, INF)
    said = []
    with processes() as group:
        guard = Guard(SKIP, None, group)
        guard.begin(0)
        for step, loss in enumerate(values[group.rank]):
            trouble = guard.check(loss, 1.0)
            said.append(None if trouble is None else guard.act(trouble, step=step, blamed="-"))
        found = blame(
            Trouble("loss", NAN, None),
            KEYS,
            lambda key: loss_of(network, data, [key]),
            lambda key: place_of(data, key),
            data,
            processes=group,
        )
    return said, str(found)


def test_processes_agree() -> None:
    """One has a number that is none in step 9; the sample to blame is in the other's share."""
    losses = [[1.0] * 12, [1.0] * 9 + [NAN] + [1.0] * 2]
    first, second = together(2, judged_together, losses)
    assert [step for step, said in enumerate(first[0]) if said] == [9]
    assert [step for step, said in enumerate(second[0]) if said] == [9]
    assert first[1] == second[1] and f"sample {3 * 8 + 5} " in first[1] and "inf standard dev" in first[1]
