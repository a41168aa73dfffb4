"""Trainings of fluid models as files: the preset ``vortices``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import yaml
from pydantic import Field, ValidationError

from atmorep_lite.config import PRESETS, Strict, dump_config, first_problem
from atmorep_lite.config.files import apply_override
from atmorep_lite.errors import UserError
from atmorep_lite.flows import vortex_trajectories
from atmorep_lite.training.checkpoint import write_atomically
from atmorep_lite.zoo.train import FitProgress, fit
from atmorep_lite.zoo.vortexformer import VortexFormer, VortexFormerConfig

RECIPES = PRESETS / "zoo"


class FlowsConfig(Strict):
    """Simulated flows (:func:`atmorep_lite.flows.vortex_trajectories`)."""

    count: int = Field(default=384, gt=0)
    frames: int = Field(default=20, gt=3)
    seed: int = Field(default=1, ge=0)


class FluidStage(Strict):
    """A stretch of training, as :func:`atmorep_lite.zoo.fit` takes it."""

    steps: int = Field(gt=0)
    batch: int = Field(default=8, gt=0)
    learning_rate: float = Field(default=3e-3, gt=0)
    unroll: int = Field(default=1, gt=0)
    lead_in: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)


class Recipe(Strict):
    """Flows, network and stages of a fluid model."""

    flows: FlowsConfig = FlowsConfig()
    model: VortexFormerConfig = VortexFormerConfig()
    stages: tuple[FluidStage, ...] = Field(min_length=1)


def is_recipe(source: str) -> bool:
    """Whether this names a fluid model's training and not one of AtmoRep."""
    return (RECIPES / f"{source}.yaml").is_file()


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A preset by its name, with ``key.subkey=value`` overrides.

    Raises
    ------
    UserError
        Unknown key or wrong value: one sentence that names it.
    """
    tree = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    for override in overrides:
        apply_override(tree, override)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"the preset {name}: {first_problem(error)}") from error


def train_recipe(
    recipe: Recipe,
    run_dir: str | os.PathLike[str],
    *,
    resume: bool = False,
    report: Callable[[int, FitProgress], object] = lambda stage, progress: None,
) -> VortexFormer:
    """Train in stages; each keeps its state in ``run_dir``, once a minute, and goes on from it exactly.

    Raises
    ------
    UserError
        ``run_dir`` holds a run and ``resume`` was not asked for, none though it was, or another recipe's.
    """
    folder = Path(run_dir)
    mark, text = folder / "recipe.yaml", dump_config(recipe)
    if resume != mark.exists():
        raise UserError(
            f"there is nothing to resume in {folder}; start without --resume"
            if resume
            else f"{folder} holds a run already; continue it with --resume or choose another --run-dir"
        )
    if resume and mark.read_text() != text:
        raise UserError(f"the run in {folder} was started with other settings; give the same ones as then")
    write_atomically(mark, lambda path: path.write_text(text))
    torch.manual_seed(0)
    model = VortexFormer(recipe.model)
    flows = vortex_trajectories(
        recipe.flows.count, frames=recipe.flows.frames, seed=recipe.flows.seed, points=recipe.model.points
    )
    for number, stage in enumerate(recipe.stages):

        def tell(progress: FitProgress, number: int = number) -> None:
            report(number, progress)

        fit(model, flows, state=folder / f"state-{number}.pt", report=tell, **stage.model_dump())
    model.save_pretrained(folder)
    return model
