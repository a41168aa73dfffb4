"""Scores against what they must be: persistence gives 1, a perfect model 0, a reliable ensemble 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from atmorep_lite.config import Config
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Batch, Neighbourhoods, Place
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.tails import Ensemble
from atmorep_lite.tokens import FieldTokens, detokenize, tokenize
from atmorep_lite.training.watch.validation import (
    Forecasts,
    Sums,
    climate_of,
    named_scores,
    short_wave_power,
    shown_leads,
    validate,
)
from tests.tiny import HEAT, WIND, coupled_fields, tiny_model, tiny_run, wave

KNOWN = 4  # of 6 steps; forecasts of 3 and 6 hours


class Remembering(Neighbourhoods):
    """Keeps the batches that it has made."""

    made: list[Batch]

    def batch(self, places: list[Place], known_steps: int | None = None) -> Batch:
        self.made.append(super().batch(places, known_steps))
        return self.made[-1]


class Made(nn.Module):
    """A model by formula: visible and true ``[batch, level, time, y, x]`` -> members, first axis new."""

    def __init__(
        self, run: Config, data: Remembering, formula: Callable[[str, Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.config, self.data, self.formula = run.model, data, formula
        self.predicted = run.model.names
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(
        self, tokens: Mapping[str, FieldTokens], static: Tensor, trace: object = None
    ) -> dict[str, Ensemble]:
        out = {}
        for f in self.config.fields:
            seen = detokenize(tokens[f.name].values, f.token_size)
            assert not seen[:, :, KNOWN:].any(), "the future is hidden"
            truth = detokenize(self.data.made[-1].tokens[f.name].values, f.token_size)
            members = self.formula(f.name, seen, truth)
            out[f.name] = Ensemble(tokenize(members, f.token_size).transpose(0, 1))
        return out


def record(kind: str = "anomaly", seed: int = 0) -> tuple[Config, Remembering]:
    """Two coupled fields, waves and noise, so that nothing can be forecast exactly."""
    run = tiny_run(tiny_model(*coupled_fields()))
    run = run.model_copy(update={"data": run.data.model_copy(update={"normalization": kind})})
    weather = wave(names=(WIND, HEAT), times=30)
    rng = np.random.default_rng(seed)
    weather = weather.map(lambda x: x + rng.normal(scale=3.0, size=x.shape) if "time" in x.dims else x)
    fitted = Normalizer.fit(weather[[WIND, HEAT]], kind)  # type: ignore[arg-type]
    data = Remembering(weather, run.model, fitted)
    data.made = []
    return run, data


def scored(formula: Callable[[str, Tensor, Tensor], Tensor], **options: int) -> dict[str, float]:
    run, data = record()
    return validate(Made(run, data, formula), data, run, run.training.stages[1], **options)  # type: ignore[arg-type]


def test_persistence_as_a_model_gives_exactly_1() -> None:
    scores = scored(lambda name, seen, truth: seen[None, :, :, KNOWN - 1 : KNOWN].expand(1, *truth.shape))
    ratios = [value for name, value in scores.items() if name.startswith("rmse_over_persistence")]
    assert len(ratios) == 2 * (2 + 1) and ratios == [1.0] * 6
    assert not any(name.startswith("spread") for name in scores), "one member has no spread"


def test_a_perfect_model_gives_0_and_all_the_power() -> None:
    scores = scored(lambda name, seen, truth: truth[None])
    for name, value in scores.items():
        assert value == (1.0 if name.startswith("small_scale_power") else 0.0), name


def test_climatology_as_a_model_gives_1_and_no_power() -> None:
    scores = scored(lambda name, seen, truth: torch.zeros_like(truth)[None])
    for name, value in scores.items():
        if name.startswith("rmse_over_climatology"):
            assert value == 1.0
        if name.startswith("small_scale_power"):
            assert value == 0.0


def test_a_reliable_ensemble_has_a_ratio_of_1() -> None:
    """Truth and members are drawn from one distribution; too narrow by half gives a half."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(8, 2, 2, 16, 16, generator=generator)
    for narrow, least, most in ((1.0, 0.97, 1.03), (0.5, 0.51, 0.58)):
        sums = Sums()
        for _ in range(4):
            members = centre + narrow * torch.randn(4, *centre.shape, generator=generator)
            truth = centre + torch.randn(centre.shape, generator=generator)
            sums.add(Forecasts(members, truth, truth[:, :, :1], None))
        ratio = sums.scores()["spread_over_error"]
        # narrow by n: sqrt(n^2 (5/4) / (1 + n^2 / 4))
        expected = math.sqrt(narrow**2 * 1.25 / (1 + narrow**2 / 4))
        assert np.allclose(ratio, expected, rtol=0.03) and least < float(ratio.mean()) < most
        assert "rmse_over_climatology" not in sums.scores()


def test_numbers_of_a_network_against_loops(tmp_path: Path) -> None:
    run, data = record()
    torch.manual_seed(0)
    model = AtmoRep(run.model)
    for table in model.departure_scale.values():
        table.data.fill_(0.7)
    scores = validate(model, data, run, run.training.stages[1], samples=3, at_once=2)
    assert model.training and len(data.made) == 2
    again = validate(model, data, run, run.training.stages[1], samples=3, at_once=2)
    assert again == scores, "the same places every time"
    model.eval()
    for f in run.model.fields:
        errors: dict[str, list] = {"model": [], "persistence": [], "climatology": [], "variance": []}
        for batch in data.made[:2]:
            cube = detokenize(batch.tokens[f.name].values, f.token_size).numpy()
            hidden = {}
            for g in run.model.fields:
                tokens = batch.tokens[g.name]
                steps = torch.arange(g.num_tokens[0]) * g.token_size[0] >= KNOWN
                mask = steps.view(-1, 1, 1).expand(tokens.mask.shape)
                values = torch.where(mask[..., None], 0.0, tokens.values)
                hidden[g.name] = FieldTokens(values, tokens.info, mask)
            with torch.no_grad():
                members = detokenize(model(hidden, batch.static)[f.name].members, f.token_size).numpy()
            last = members[:, :, :, -1], cube[:, :, -1]
            errors["model"].append((last[0].mean(1) - last[1]) ** 2)
            errors["persistence"].append((cube[:, :, KNOWN - 1] - last[1]) ** 2)
            errors["climatology"].append(last[1] ** 2)
            errors["variance"].append(last[0].var(1, ddof=1))
        root = {k: np.sqrt(np.concatenate(v).mean((0, 2, 3), dtype=float)) for k, v in errors.items()}
        for reference in ("persistence", "climatology"):
            expected = (root["model"] / root[reference]).mean()
            assert scores[f"rmse_over_{reference}/{f.name}/6h"] == pytest.approx(expected, rel=1e-5)
        expected = (root["variance"] / root["model"]).mean() * math.sqrt(4 / 3)
        assert scores[f"spread_over_error/{f.name}/6h"] == pytest.approx(expected, rel=1e-5)
    mean = np.mean([scores[f"rmse_over_persistence/{name}/3h"] for name in (WIND, HEAT)])
    assert scores["rmse_over_persistence/mean/3h"] == pytest.approx(mean)


def test_the_first_guess_is_scored_while_it_learns() -> None:
    """Without its grid-scale skip the first guess of the future is the last state: persistence."""
    run, data = record()
    stage = run.training.stages[0]
    assert stage.part == "grid_skip"
    scores = validate(AtmoRep(run.model), data, run, stage, samples=4)
    ratios = [value for name, value in scores.items() if name.startswith("rmse_over_persistence")]
    assert np.allclose(ratios, 1.0, atol=1e-5)


def test_short_waves_are_told_from_long_ones() -> None:
    x = torch.arange(32, dtype=torch.float64)
    for wavelength, share in ((16, 0.0), (2.5, 1.0)):
        maps = torch.cos(2 * math.pi * x / wavelength).expand(16, 32)
        rows = torch.sin(math.pi * (torch.arange(16).double() + 0.5) / 16) ** 2
        window = rows[:, None] * torch.sin(math.pi * (x + 0.5) / 32) ** 2
        window = window / window.square().mean().sqrt()
        total = float((maps * window).square().sum())  # Parseval
        assert float(short_wave_power(maps).sum()) == pytest.approx(share * total, abs=0.01 * total)


def test_climatology_needs_the_training_record_when_the_mean_is_global() -> None:
    run, data = record("global")
    model, stage = AtmoRep(run.model), run.training.stages[1]
    assert not any("climatology" in name for name in validate(model, data, run, stage, samples=2))
    climate = climate_of(data, most=1000)
    for f in run.model.fields:
        values = data.fields[f.name].values.mean(1)  # type: ignore[union-attr]
        assert np.allclose(climate[f.name], values, atol=1e-5)
    formula_data = record("global")[1]

    def climatology(name: str, seen: Tensor, truth: Tensor) -> Tensor:
        cut = [
            climate[name][:, p.row : p.row + 4][..., np.arange(p.column, p.column + 8) % 16]
            for p in drawn[-1]
        ]
        return torch.from_numpy(np.stack(cut))[:, :, None].expand(truth.shape)[None]

    drawn: list[list[Place]] = []
    original = formula_data.batch

    def batch(places: list[Place], known_steps: int | None = None) -> Batch:
        drawn.append(places)
        return original(places)

    formula_data.batch = batch  # type: ignore[method-assign]
    made = Made(run, formula_data, climatology)
    scores = validate(made, formula_data, run, stage, climate=climate)  # type: ignore[arg-type]
    ratios = [value for name, value in scores.items() if name.startswith("rmse_over_climatology")]
    assert len(ratios) == 6 and np.allclose(ratios, 1.0)


def test_leads_and_names() -> None:
    assert shown_leads(8) == [0, 1, 3, 7] and shown_leads(6) == [0, 1, 3, 5] and shown_leads(1) == [0]
    sums = Sums()
    truth = torch.ones(2, 1, 2, 4, 4)
    sums.add(Forecasts(truth[None] + 1, truth, truth[:, :, :1], None))
    named = named_scores({"heat": sums}, {0: "3h", 1: "6h"})
    assert set(named) == {f"small_scale_power/heat/{lead}" for lead in ("3h", "6h")}, "1 / 0 is left out"


def test_nothing_to_forecast_from_gives_no_scores() -> None:
    run, data = record()
    masking = run.masking.model_copy(update={"forecast": 0.0, "forecast_slots": 3})
    run = run.model_copy(update={"masking": masking})
    assert validate(AtmoRep(run.model), data, run, run.training.stages[1]) == {}


def test_the_attention_snapshot_is_a_table_and_a_picture(tmp_path: Path) -> None:
    run, data = record()
    torch.manual_seed(0)
    model, stage = AtmoRep(run.model), run.training.stages[1]
    validate(model, data, run, stage, folder=tmp_path / "attention", name="1-000004", samples=2)
    table = pd.read_csv(tmp_path / "attention" / "1-000004.csv")
    pairs = {(WIND, WIND), (WIND, HEAT), (HEAT, HEAT), (HEAT, WIND)}
    assert set(zip(table["query_field"], table["key_field"], strict=True)) == pairs
    assert len(table) == 2 * (2 * 4 + 2 * 1), "layers x heads of both self-attentions and both couplings"
    assert table["entropy"].between(0, 1).all() and (table["distance_km"] > 0).all()
    picture = (tmp_path / "attention" / "1-000004.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 150_000
    validate(model, data, run, run.training.stages[0], folder=tmp_path / "none", samples=2)
    assert not (tmp_path / "none").exists(), "the convolution attends to nothing"
