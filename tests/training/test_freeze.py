"""Freezing: what is named, together with the parts of stages; a pattern that matches nothing is told."""

from __future__ import annotations

import pytest
import torch

from atmorep_lite.config import Config
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.tuning.freeze import held
from tests.tiny import HEAT, WIND, coupled_fields, tiny_model, tiny_run


def run(*patterns: str) -> Config:
    model = tiny_model(*coupled_fields(), grid_skip={"width": 8, "blocks": 1})
    return tiny_run(model, freeze=patterns)


def test_patterns_name_what_is_held() -> None:
    config = run(f"encoders.{WIND}.*", "*.out.weight", "tails.temperature.biases.0")
    frozen = held(AtmoRep(config.model), config.training)
    for name, _ in AtmoRep(config.model).named_parameters():
        expected = name.startswith(f"encoders.{WIND}.") or name.endswith(".out.weight")
        assert (name in frozen) == (expected or name == f"tails.{HEAT}.biases.0"), name
    assert held(AtmoRep(config.model), run().training) == set()


def test_a_pattern_without_a_match_is_an_error_with_near_names() -> None:
    config = run("encoder.temperature.*")
    with pytest.raises(UserError, match=r"training.freeze: 'encoder.temperature.\*' matches no parameter.*"):
        held(AtmoRep(config.model), config.training)
    with pytest.raises(UserError, match=r"as .*encoders\.temperature\.\*"):
        held(AtmoRep(config.model), config.training)


def test_something_must_be_left_to_learn() -> None:
    model = AtmoRep(run().model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # as a stage before may have left them
    assert held(model, run("grid_skip.*").training)
    with pytest.raises(UserError, match="holds every parameter, so nothing would be learnt"):
        held(model, run("*").training)
    assert torch.is_grad_enabled()
