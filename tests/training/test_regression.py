"""The closed-form fit, against least squares on inputs that are written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from atmorep_lite.config import GridSkipConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Batch, Neighbourhoods
from atmorep_lite.errors import UserError
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import detokenize
from atmorep_lite.training import loop
from atmorep_lite.training.regression import LatitudeEquations, fit_regression
from atmorep_lite.training.step import first_guess_loss, hide, masked_loss
from tests.tiny import HEAT, WIND, tiny_field, tiny_model, tiny_run, wave


def test_equations_against_weighted_least_squares() -> None:
    rng = torch.Generator().manual_seed(0)
    polynomials, inputs, targets = 3, 4, 2
    seen = torch.randn(5, inputs, 6, 7, generator=rng)
    wanted = torch.randn(5, targets, 6, 7, generator=rng)
    sine = torch.rand(5, 6, generator=rng) * 2 - 1
    sine[1] = sine[0]
    weight = torch.rand(6, 7, generator=rng) + 0.1
    equations = LatitudeEquations(polynomials, inputs, targets)
    equations.add(seen[:2], wanted[:2], sine[:2], weight)
    equations.add(seen[2:], wanted[2:], sine[2:], weight)
    basis = np.polynomial.chebyshev.chebvander(sine.double().numpy(), polynomials - 1)
    design = np.einsum("byk,biyx->byxki", basis, seen.double().numpy()).reshape(5 * 42, -1)
    root = np.broadcast_to(weight.double().numpy() ** 0.5, (5, 6, 7)).reshape(-1, 1)
    answers = wanted.double().permute(0, 2, 3, 1).reshape(-1, targets).numpy()
    expected = np.linalg.lstsq(root * design, root * answers, rcond=None)[0]
    found = equations.solve(0.0).reshape(-1, targets).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(equations.solve(1.0).numpy()).sum() < np.abs(found).sum()


def case() -> tuple[AtmoRep, list[Batch]]:
    fields = [tiny_field(name, num_tokens=(3, 4, 4)) for name in (WIND, HEAT)]
    torch.manual_seed(0)
    settings = GridSkipConfig(width=4, blocks=1, forecast_steps=2, polynomials=2)
    model = AtmoRep(tiny_model(*fields, grid_skip=settings)).eval()
    assert model.grid_skip is not None
    torch.nn.init.normal_(model.grid_skip.outputs.weight, std=0.1)
    record = wave(names=(WIND, HEAT), times=60, rows=16)
    data = Neighbourhoods(record, model.config, Normalizer.fit(record, "global"))
    rng = np.random.default_rng(0)
    return model, [data.batch(data.draw(16, rng)) for _ in range(3)]


def error(model: AtmoRep, batches: list[Batch]) -> float:
    """Mean square error of the first guess of a forecast, in units of typical departures."""
    squares = []
    with torch.no_grad():
        for batch in batches:
            masks = forecast_masks(model.config.fields, len(batch.static), 1)
            guess = model.first_guess_on_grid(hide(batch.tokens, masks), batch.static)
            truth = torch.cat(
                [detokenize(batch.tokens[f.name].values, f.token_size) for f in model.config.fields], 1
            )
            squares.append((((guess.values - truth) / guess.scale) ** 2)[guess.hidden].mean())
    return float(torch.stack(squares).mean())


def test_a_fit_lowers_the_error_and_a_second_one_changes_nothing() -> None:
    model, batches = case()
    before = error(model, batches)
    fit_regression(model, batches)
    assert model.grid_skip is not None and model.grid_skip.regression is not None
    first = model.grid_skip.regression.coefficients.clone()
    assert error(model, batches) < 0.5 * before
    fit_regression(model, batches)
    torch.testing.assert_close(model.grid_skip.regression.coefficients, first)


def test_a_model_without_the_part_says_so() -> None:
    with pytest.raises(UserError, match="forecast_steps"):
        fit_regression(AtmoRep(tiny_model(grid_skip=GridSkipConfig(width=4))), [])


def test_too_many_forecast_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="forecast_steps 4 leaves 2"):
        tiny_model(grid_skip=GridSkipConfig(width=4, forecast_steps=4))


def test_a_run_fits_the_part_and_trains_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = wave(names=(WIND, HEAT), times=60, rows=16)
    monkeypatch.setattr(loop, "open_source", lambda name, period=None: record)
    model, _ = case()
    skip = {"part": "grid_skip", "steps": 3, "batch_size": 2, "root_errors": True}
    regression = {"part": "regression", "steps": 4, "batch_size": 4, "forecast": 1.0}
    reports: list[loop.Progress] = []
    trained = loop.train(
        tiny_run(model.config, stages=[skip, regression, skip]), tmp_path, report=reports.append
    )
    assert trained is not None and trained.grid_skip is not None and trained.grid_skip.regression is not None
    assert trained.grid_skip.regression.coefficients.count_nonzero() > 0
    fitted = [r for r in reports if r.part == "regression"]
    assert len(fitted) == 1 and fitted[0].step == fitted[0].steps == 4
    again = AtmoRep.from_pretrained(tmp_path)
    assert again.grid_skip is not None and again.grid_skip.regression is not None
    assert torch.equal(again.grid_skip.regression.coefficients, trained.grid_skip.regression.coefficients)
    assert (
        loop.train(tiny_run(model.config, stages=[skip, regression, skip]), tmp_path, resume=True) is not None
    )


@torch.no_grad()
def test_root_errors_are_a_weighted_mean_over_variables_and_steps() -> None:
    model, (batch, *_) = case()
    tokens = hide(batch.tokens, forecast_masks(model.config.fields, len(batch.static), 1))
    guess = model.first_guess_on_grid(tokens, batch.static)
    truth = torch.cat([detokenize(batch.tokens[f.name].values, f.token_size) for f in model.config.fields], 1)
    squares = ((guess.values - truth) / guess.scale).double() ** 2
    area = batch.static[:, 1].double()
    top = bottom = 0.0
    for variable, lead in np.ndindex(4, 2):
        mean = (squares[:, variable, 4 + lead] * area).sum() / area.sum()
        top += (lead + 1) ** -1.5 * mean.sqrt().item()
        bottom += (lead + 1) ** -1.5
    loss, _ = first_guess_loss(model, tokens, batch, root_errors=True)
    assert loss.item() == pytest.approx(top / bottom, rel=1e-3)


@torch.no_grad()
def test_short_leads_of_the_transformer_weigh_by_the_inverse_of_the_typical_departure() -> None:
    model, (batch, *_) = case()
    for table in model.departure_scale.values():
        table.data = 0.3 + 0.1 * torch.arange(table.numel(), dtype=torch.float32).view_as(table)
    tokens = hide(batch.tokens, forecast_masks(model.config.fields, len(batch.static), 1))
    total = 0.0
    for name, ensemble in model.predict_hidden(tokens, batch.static).items():
        mask, scale = tokens[name].mask, ensemble.scale
        assert scale is not None
        error = ((ensemble.members.mean(1) - batch.tokens[name].values[mask]) / scale).double() ** 2
        area = torch.sin(torch.deg2rad(tokens[name].info[..., 4][mask])).double()[:, None]
        total += ((error * area / scale).sum() / (area / scale).sum()).item() / 2
    loss, _ = masked_loss(model, tokens, batch, {"mse": 1.0}, short_leads=True)
    assert loss.item() == pytest.approx(total, rel=1e-4)
