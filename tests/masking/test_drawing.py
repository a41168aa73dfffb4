"""Masks of a batch: tasks as often as asked, each sample's a function of its key alone."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from atmorep_lite.config import PRESETS, TASKS, MaskingConfig, StageConfig, load_config, parse_config
from atmorep_lite.errors import UserError
from atmorep_lite.masking import STRATEGIES, Key, batch_keys, check_masking, draw_masks
from atmorep_lite.tokens import FieldTokens
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, tiny_field, tiny_model, tiny_run

EVERYTHING = MaskingConfig(tasks={name: 1.0 for name in TASKS}, max_rate=0.9)


def keys(count: int, seed: int = 0) -> list[Key]:
    return batch_keys(seed, epoch=1, step=0, batch_size=count)


def test_every_task_of_the_configuration_exists() -> None:
    assert tuple(STRATEGIES) == TASKS and all(callable(task) for task in STRATEGIES.values())


def test_tasks_are_drawn_as_often_as_asked() -> None:
    masking = MaskingConfig(tasks={"random": 3, "forecast": 1, "hindcast": 1, "field": 0})
    assert masking.forecast == 0.2 and masking.shares() == pytest.approx(
        {"random": 0.6, "hindcast": 0.2, "forecast": 0.2}
    )
    _, drawn = draw_masks(coupled_fields(), keys(1000), masking)
    for task, share in masking.shares().items():
        assert stats.binomtest(drawn.count(task), 1000, share).pvalue > 1e-3
    assert "field" not in drawn


def test_a_stage_can_change_the_share_of_forecasts() -> None:
    masking = MaskingConfig(tasks={"random": 1, "crop": 3})
    assert masking.forecast == 0 and masking.shares(0.6) == pytest.approx(
        {"random": 0.1, "crop": 0.3, "forecast": 0.6}
    )
    assert MaskingConfig(forecast=0.3).shares() == pytest.approx({"random": 0.7, "forecast": 0.3})
    assert MaskingConfig(forecast=0.3).shares(1.0) == {"forecast": 1.0}
    _, drawn = draw_masks(coupled_fields(), keys(50), masking, forecast=1.0)
    assert set(drawn) == {"forecast"}


def test_masks_are_those_of_the_drawn_task() -> None:
    fields = (tiny_field(WIND), tiny_field(HEAT))
    masks, drawn = draw_masks(fields, keys(60), MaskingConfig(tasks={"forecast": 1, "field": 1}))
    for b, task in enumerate(drawn):
        whole = [bool(masks[name][b].all()) for name in (WIND, HEAT)]
        if task == "field":
            assert sum(whole) == 1
        else:
            assert all(masks[n][b, :, -1].all() and not masks[n][b, :, :-1].any() for n in (WIND, HEAT))


def test_a_samples_masks_do_not_depend_on_the_other_samples() -> None:
    """Batches of 12, of 5 and one by one, forwards and backwards, give the same."""
    config = tiny_model(*coupled_fields())
    tokens = random_tokens(config, batch=12)
    for field in tokens.values():  # each sample at its own latitude, as far as satellites matter
        field.info[..., 4] += 4.0 * torch.arange(12.0).view(12, 1, 1, 1, 1)
    whole, drawn = draw_masks(config.fields, keys(12), EVERYTHING, tokens=tokens)
    assert len(set(drawn)) > 4
    for chosen in ([3, 4, 5, 6, 7], [11, 0, 6], *([n] for n in range(12))):
        some = {n: FieldTokens(t.values[chosen], t.info[chosen], t.mask[chosen]) for n, t in tokens.items()}
        torch.manual_seed(sum(chosen))
        part, names = draw_masks(config.fields, [keys(12)[n] for n in chosen], EVERYTHING, tokens=some)
        assert names == [drawn[n] for n in chosen]
        for name, mask in part.items():
            assert torch.equal(mask, whole[name][chosen])


def test_no_mask_is_drawn_twice() -> None:
    """10,000 samples of several runs, epochs and processes, on a grid with 2**96 masks."""
    field = tiny_field(num_tokens=(6, 4, 4), levels=(500,))
    every = [Key(s, e, n) for s in range(2) for e in range(5) for n in range(1000)]
    masking = MaskingConfig(forecast=0.0, max_rate=1.0)
    masks, _ = draw_masks([field], every, masking)
    flat = masks[HEAT].flatten(1)
    hidden = flat.sum(1)
    long_enough = flat[(hidden >= 10) & (hidden <= 86)]  # of 1 token in 96, some must repeat
    assert len(long_enough) > 7000
    assert len(torch.unique(long_enough, dim=0)) == len(long_enough)


@pytest.mark.parametrize(
    ("masking", "reason"),
    [
        ({"tasks": {"forcast": 1}}, "there is no task 'forcast'; there are random, forecast, "),
        ({"tasks": {"crop": -1}}, "the weight of crop is -1"),
        ({"tasks": {"crop": 0}}, "no task has a weight above 0"),
        ({"tasks": {}}, "no task has a weight above 0"),
        ({"tasks": {"crop": "often"}}, "masking.tasks.crop is 'often'"),
        ({"box_sides": [0.8, 0.4]}, "the sides 0.8 to 0.4 do not rise"),
        ({"swath_width": 0}, "masking.swath_width is 0"),
    ],
)
def test_configurations_that_are_refused(masking: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        parse_config(tiny_run().model_dump() | {"masking": masking})


def test_tasks_say_how_many_forecasts_there_are() -> None:
    masking = {"tasks": {"crop": 1, "forecast": 3}, "forecast": 0.5}
    config = parse_config(tiny_run().model_dump() | {"masking": masking})
    assert config.masking.forecast == 0.75 and config.masking.shares() == {"crop": 0.25, "forecast": 0.75}


def test_a_stage_needs_something_to_draw() -> None:
    run = tiny_run(stages=[StageConfig(steps=1, forecast=0.8)]).model_dump()
    with pytest.raises(UserError, match=r"share of forecasts of 0\.8 leaves 0\.2 to other tasks"):
        parse_config(run | {"masking": {"tasks": {"forecast": 1}}})


def test_a_configuration_with_tasks_survives_being_written() -> None:
    tree = tiny_run().model_dump() | {"masking": {"tasks": {"random": 1, "forecast": 2, "swath": 4}}}
    config = parse_config(tree)
    assert parse_config(config.model_dump(mode="json", exclude_none=True)) == config


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_presets_can_draw_all_their_tasks(preset: str) -> None:
    config = load_config(preset)
    for stage in config.training.stages:
        check_masking(config.model.fields, config.masking, forecast=stage.forecast)


def test_grids_that_are_too_small_are_refused_before_the_run() -> None:
    check_masking(coupled_fields(), EVERYTHING)
    with pytest.raises(UserError, match="needs a second one"):
        check_masking([tiny_field()], MaskingConfig(tasks={"random": 1, "field": 0.01}))
    check_masking([tiny_field()], MaskingConfig(tasks={"random": 1, "field": 0}))
