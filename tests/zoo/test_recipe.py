"""The fluid model's training as a preset: what made the shipped one, and exact resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atmorep_lite.errors import UserError
from atmorep_lite.zoo import VortexFormer
from atmorep_lite.zoo.recipe import RECIPES, is_recipe, load_recipe, train_recipe
from atmorep_lite.zoo.train import FitProgress

TINY = [
    "flows={count: 2, frames: 8, seed: 3}",
    "model={points: 16, token_size: [3, 4, 4], width: 16, layers: 1, heads: 2}",
    "stages=[{steps: 4, batch: 2}, {steps: 4, batch: 2, unroll: 2, lead_in: 1, seed: 1}]",
]


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_presets_are_valid(name: str) -> None:
    assert is_recipe(name)
    assert not is_recipe("demo")
    with torch.device("meta"):
        VortexFormer(load_recipe(name).model)


def test_the_shipped_model_has_the_presets_network() -> None:
    assert load_recipe("vortices").model == VortexFormer.from_pretrained("vortices").config


def test_a_stopped_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = load_recipe("vortices", TINY)
    train_recipe(recipe, tmp_path / "whole")

    def stop(stage: int, progress: FitProgress) -> None:
        if (stage, progress.step) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_recipe(recipe, tmp_path / "parts", report=stop)
    train_recipe(recipe, tmp_path / "parts", resume=True)
    whole, parts = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_folder_is_not_overwritten_and_belongs_to_one_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("vortices", TINY)
    with pytest.raises(UserError, match="nothing to resume"):
        train_recipe(recipe, tmp_path / "run", resume=True)
    train_recipe(recipe, tmp_path / "run")
    with pytest.raises(UserError, match="holds a run already"):
        train_recipe(recipe, tmp_path / "run")
    other = load_recipe("vortices", [*TINY, "flows.seed=4"])
    with pytest.raises(UserError, match="other settings"):
        train_recipe(other, tmp_path / "run", resume=True)
    with pytest.raises(UserError, match="unknown key"):
        load_recipe("vortices", ["flows.sed=4"])
