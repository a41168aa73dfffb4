"""Commands on trained models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (evaluate, convert):
        app.command()(command)


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model (demo) or a model folder.")] = "demo",
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("skill.csv"),
) -> None:
    """Score a model on the shipped test record, beside what it must beat."""
    from atmorep_lite.data.samples import open_sample
    from atmorep_lite.evaluation import LEADS, compare, initial_times
    from atmorep_lite.model import AtmoRep
    from atmorep_lite.report import print_skill, write_skill
    from atmorep_lite.verification import skill_table

    trained, truth = AtmoRep.from_pretrained(model), open_sample("test")
    typer.echo("Fitting the ridge regression and making forecasts: about two minutes.")
    forecasts = compare(trained, open_sample("train"), truth, initial_times(truth))
    table = skill_table(forecasts, truth, LEADS)
    write_skill(table, out)
    print_skill(table)
    typer.echo(f"Written to {out}.")


def convert(
    source: Annotated[str, typer.Argument(help="A published checkpoint folder; with --to-published, ours.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    to_published: Annotated[bool, typer.Option("--to-published", help="The way back.")] = False,
) -> None:
    """Turn a checkpoint of the published AtmoRep code into a model folder, or back."""
    from atmorep_lite import published

    if to_published:
        weights = published.to_published(source, out)
        typer.echo(f"The published code loads {weights.name} and its JSON from {out}.")
        return
    model = published.from_published(source, out)
    count = sum(weight.numel() for weight in model.parameters())
    typer.echo(f"{count:,} weights for {', '.join(model.config.names)}.")
    typer.echo(f"Load them with AtmoRep.from_pretrained({str(out)!r}).")
    typer.echo("A published folder has no normalisation: set model.normalizer before forecasting.")
