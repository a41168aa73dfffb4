"""Starting from a model of another shape: more levels and fields, another region, grid or time step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from atmorep_lite.config import Config, FieldConfig, ModelConfig, StartConfig
from atmorep_lite.convert import config_from_published, config_to_published
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.timing import with_time_step
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens, detokenize
from atmorep_lite.transfer import couple, start_model
from atmorep_lite.transfer_statistics import (
    check_prepared,
    complete_statistics,
    fill_departures,
    known_levels,
)
from tests.tiny import HEAT, WIND, random_tokens, ready_model, tiny_field, tiny_model, tiny_run, wave

OTHER = "v_component_of_wind"
SKIP = {"grid_skip": {"width": 8, "blocks": 1, "forecast_steps": 2, "polynomials": 2}}


def shaken(config: ModelConfig, seed: int = 0) -> AtmoRep:
    """A model all of whose numbers are random, as after training."""
    torch.manual_seed(seed)
    model = AtmoRep(config).eval()
    for tensor in model.state_dict().values():
        tensor.add_(0.1 * torch.rand_like(tensor))
    return model


def tokens_of(config: ModelConfig, *, forecast: bool) -> dict[str, FieldTokens]:
    """Random tokens; of a forecast the last slot is hidden and all else is seen."""
    out = {}
    for name, t in random_tokens(config).items():
        mask = t.mask
        if forecast:
            mask = torch.zeros_like(mask)
            mask[:, :, -1] = True
        out[name] = replace(t, values=t.values.double(), info=t.info.double(), mask=mask)
    return out


def only_levels(tokens: dict[str, FieldTokens], config: ModelConfig, of: ModelConfig) -> dict:
    """What a model of other levels sees of the same weather."""
    out = {}
    for f in config.fields:
        rows = [of.field(f.name).levels.index(level) for level in f.levels]
        t = tokens[f.name]
        out[f.name] = replace(t, values=t.values[:, rows], info=t.info[:, rows], mask=t.mask[:, rows])
    return out


@torch.no_grad()
@pytest.mark.parametrize("forecast", [False, True])
def test_a_new_field_changes_nothing_of_the_old_ones_at_first(forecast: bool) -> None:
    """The grid-scale skip and its regression included, and whatever the order of fields."""
    wind, heat = tiny_field(WIND, coupled_to=(HEAT,)), tiny_field(levels=(850,), coupled_to=(WIND,))
    source = shaken(tiny_model(wind, heat, **SKIP))
    listening = heat.model_copy(update={"coupled_to": (OTHER, WIND)})
    config = tiny_model(listening, tiny_field(OTHER, levels=(850, 500, 700)), wind, **SKIP)
    model = couple([source], config, new_fields=[OTHER]).double().eval()
    tokens = tokens_of(config, forecast=forecast)
    before = source.double()({name: tokens[name] for name in (WIND, HEAT)})
    after = model(tokens)
    for name in (WIND, HEAT):
        torch.testing.assert_close(after[name].members, before[name].members, rtol=0, atol=1e-12)
        torch.testing.assert_close(after[name].scale, before[name].scale, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("forecast", [False, True])
def test_new_levels_change_nothing_of_the_first_guess(forecast: bool) -> None:
    wind, heat = tiny_field(WIND), tiny_field(levels=(850,))
    source = shaken(tiny_model(wind, heat, **SKIP))
    config = tiny_model(tiny_field(WIND, levels=(500, 700, 850)), tiny_field(levels=(850, 500)), **SKIP)
    model = couple([source], config).double().eval()
    tokens = tokens_of(config, forecast=forecast)
    seen = only_levels(tokens, source.config, config)
    guess, before = model.first_guess_on_grid(tokens), source.double().first_guess_on_grid(seen)
    kept = [0, 2, 3]  # wind at 500 and 850, heat at 850
    torch.testing.assert_close(guess.values[:, kept], before.values, rtol=0, atol=1e-12)
    assert (
        guess.values[:, kept] != torch.cat([detokenize(seen[n].values, (2, 2, 2)) for n in seen], 1)
    ).any()
    assert torch.equal(guess.scale[:, kept], before.scale)
    for name, weight in source.state_dict().items():
        if not name.startswith(("grid_skip", "departure_scale")):
            assert torch.equal(model.state_dict()[name], weight.double()), name
    new_rows = model.departure_scale[WIND][1], model.departure_scale[HEAT][1]
    assert all((row == 1).all() for row in new_rows)


def test_everything_of_a_skip_learns_about_new_variables() -> None:
    source = AtmoRep(tiny_model(tiny_field(levels=(850,)), **SKIP))
    config = tiny_model(tiny_field(levels=(850, 500)), **SKIP)
    model = couple([source], config)
    tokens = random_tokens(config)
    for _ in range(2):  # as in a new skip, the inner layers learn once the last ones have moved
        model.zero_grad()
        model.first_guess_on_grid(tokens).values.square().mean().backward()
        with torch.no_grad():
            for p in model.grid_skip.parameters():
                p -= 0.1 * p.grad
    of_new = model.grid_skip.inputs.weight.grad.unflatten(1, (-1, 9))[:, 6:12]  # the filled values at 500 hPa
    assert (of_new.abs().amax((0, 2)) > 0).all()


@torch.no_grad()
def test_codes_of_places_are_those_of_the_new_shape() -> None:
    """Numbers of levels and tokens are free: weights stay, and levels in front keep their codes."""
    source = shaken(tiny_model(tiny_field()))
    field = tiny_field(levels=(500, 850, 700), num_tokens=(3, 1, 3))
    model = couple([source], tiny_model(field))
    old, new = (m.embeddings[HEAT].position for m in (source, model))
    assert new.shape[:4] == (3, 3, 1, 3)
    torch.testing.assert_close(new[:2], old[:, :, :1, :3])
    out = model.eval()(random_tokens(tiny_model(field)))
    assert out[HEAT].members.isfinite().all()


def test_what_cannot_be_carried_is_refused() -> None:
    wide = {"grid_skip": SKIP["grid_skip"] | {"width": 9}}
    longer = tiny_field(num_tokens=(4, 2, 4))
    year = {"published": "2024", "predict": "field", "dropout": 0.05}
    published = config_to_published(tiny_model(tiny_field(), **year))
    refusals = [
        (
            [AtmoRep(tiny_model(**SKIP))],
            tiny_model(**wide),
            "has the grid_skip .*width=8.*width=9.*; make them",
        ),
        ([AtmoRep(tiny_model(**SKIP))], tiny_model(longer, **SKIP), "has 6 time steps, the configuration 8"),
        (
            [AtmoRep(tiny_model(tiny_field(name), **SKIP)) for name in (HEAT, WIND)],
            tiny_model(tiny_field(), tiny_field(WIND), **SKIP),
            "two of the models to start from have a grid_skip, and it is one network",
        ),
        (
            [config_from_published(published, year="2024")],
            tiny_model(tiny_field(num_tokens=(3, 2, 2)), **year),
            "has other num_tokens than the configuration, but the published code",
        ),
        (
            [AtmoRep(tiny_model())],
            tiny_model(tiny_field(token_size=(2, 4, 4))),
            r"has token_size \(2, 2, 2\)",
        ),
    ]
    for sources, wanted, said in refusals:
        models = [s if isinstance(s, AtmoRep) else AtmoRep(s) for s in sources]
        with pytest.raises(UserError, match=said):
            couple(models, wanted)


def run_of(*fields: FieldConfig, kind: str = "anomaly") -> Config:
    run = tiny_run(tiny_model(*fields))
    return run.model_copy(update={"data": run.data.model_copy(update={"normalization": kind})})


@pytest.fixture(scope="module")
def warm() -> xr.Dataset:
    """Other weather than that of the known statistics, on three levels."""
    return 2.0 * wave(times=20, names=(HEAT, WIND), levels=(500, 700, 850)) - 100.0


@pytest.fixture(scope="module")
def known() -> Normalizer:
    record = wave(times=20)
    return with_time_step(Normalizer.fit(record, "anomaly"), record["time"].values)


def test_known_levels_are_carried_and_new_ones_measured(known: Normalizer, warm: xr.Dataset) -> None:
    config = run_of(tiny_field(levels=(850, 700)), tiny_field(WIND))
    joined = complete_statistics(known, warm, config)
    assert set(known_levels(joined, HEAT)) == {700, 850} and set(known_levels(joined, WIND)) == {500, 850}
    fresh = Normalizer.fit(warm, "anomaly")
    for kind in ("mean", "std"):
        ours, before, after = (getattr(n, kind) for n in (joined, known, fresh))
        assert np.array_equal(ours[HEAT].sel(level=850), before[HEAT].sel(level=850))
        np.testing.assert_allclose(ours[HEAT].sel(level=700), after[HEAT].sel(level=700), rtol=1e-6)
        np.testing.assert_allclose(ours[WIND].sel(level=500), after[WIND].sel(level=500), rtol=1e-6)
    assert joined.mean.attrs["time_step_hours"] == known.mean.attrs["time_step_hours"]
    chosen = warm[[HEAT]].sel(level=[850, 700])
    assert joined.normalize(chosen)[HEAT].isel(level=1).mean() == pytest.approx(0.0, abs=1e-3)
    alone = complete_statistics(None, warm, config)
    xr.testing.assert_allclose(alone.mean[HEAT].sel(level=850), fresh.mean[HEAT].sel(level=850))


def test_a_region_takes_its_part_and_other_grids_are_refused(known: Normalizer, warm: xr.Dataset) -> None:
    config = run_of(tiny_field())
    part = warm.isel(latitude=slice(1, 6), longitude=slice(3, 12))
    xr.testing.assert_equal(
        complete_statistics(known, part, config).mean[HEAT],
        known.mean[HEAT].isel(latitude=slice(1, 6), longitude=slice(3, 12)),
    )
    between = warm.assign_coords(longitude=warm.longitude + 1.0)
    with pytest.raises(UserError, match=r"lie on other points; .* or set training.start.statistics: refit"):
        complete_statistics(known, between, config)
    fresh = complete_statistics(None, between, config)
    assert np.array_equal(fresh.mean.longitude, between.longitude)
    with pytest.raises(UserError, match="has statistics of temperature with the axes level, latitude, long"):
        complete_statistics(known, warm, run_of(tiny_field(levels=(500, 700)), kind="global"))


def test_another_time_step_must_be_asked_for(known: Normalizer, warm: xr.Dataset) -> None:
    with pytest.raises(
        UserError, match=r"time step of \d+ h, and these data have one of \d+ h, .* refit to le"
    ):
        complete_statistics(known, warm.isel(time=slice(None, None, 2)), run_of(tiny_field()))


def test_a_prepared_store_must_have_the_carried_statistics(known: Normalizer, warm: xr.Dataset) -> None:
    model = tiny_model(tiny_field(levels=(500, 700)))
    check_prepared(known, complete_statistics(known, warm, run_of(*model.fields)), model)
    with pytest.raises(UserError, match="has other statistics of temperature than the model to start from"):
        check_prepared(known, Normalizer.fit(warm, "anomaly"), model)


@pytest.mark.parametrize("statistics", ["carry", "refit"])
def test_a_start_carries_or_measures(tmp_path, statistics: str) -> None:
    source = ready_model(tiny_model(), wave())
    with torch.no_grad():
        source.departure_scale[HEAT].copy_(torch.rand(2, 7))
    source.save_pretrained(tmp_path)
    start = StartConfig(models=(str(tmp_path),), statistics=statistics)
    model = start_model(start, tiny_model(tiny_field(levels=(500, 850, 700))))
    measured = torch.rand(3, 7) + 2
    fill_departures(model, {HEAT: measured})
    table = model.departure_scale[HEAT]
    assert (model.normalizer is None) == (statistics == "refit")
    expected = measured[:2] if statistics == "refit" else source.departure_scale[HEAT]
    assert torch.equal(table[:2], expected) and torch.equal(table[2], measured[2])
    value = "embeddings.temperature.value.weight"
    assert torch.equal(model.state_dict()[value], source.state_dict()[value])
