"""What ``atmorep-lite train`` does with a preset of a fluid model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from atmorep_lite.zoo.train import FitProgress


def train_fluid(
    name: str, overrides: Sequence[str], run_dir: Path, *, resume: bool, dry_run: bool = False
) -> None:
    """Train the preset ``name`` on simulated flows, or say what would happen."""
    import torch

    from atmorep_lite.zoo.recipe import load_recipe, train_recipe
    from atmorep_lite.zoo.vortexformer import VortexFormer

    recipe = load_recipe(name, overrides)
    if dry_run:
        with torch.device("meta"):
            weights = sum(p.numel() for p in VortexFormer(recipe.model).parameters())
        typer.echo(
            f"{recipe.flows.count} flows of {recipe.flows.frames} frames would be simulated, and {weights:,} "
            f"parameters trained in {len(recipe.stages)} stages of "
            f"{', '.join(f'{stage.steps:,}' for stage in recipe.stages)} steps."
        )
        return

    def report(stage: int, p: FitProgress) -> None:
        if p.step % 50 == 0:
            typer.echo(
                f"stage {stage}, step {p.step:,}: loss {p.loss:.4f}, {p.seconds:.0f} s", file=sys.stderr
            )

    try:
        train_recipe(recipe, run_dir, resume=resume, report=report)
    except KeyboardInterrupt:
        again = " ".join(["atmorep-lite train", name, *overrides, f"--run-dir {run_dir} --resume"])
        typer.echo(f"Stopped; at most a minute is lost. Go on with: {again}")
        raise typer.Exit(130) from None
    typer.echo(
        f"The trained model is in {run_dir}; load it with VortexFormer.from_pretrained({str(run_dir)!r})."
    )
