"""Commands that train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunDir = Annotated[Path, typer.Option(help="Folder for weights, log and the state to resume from.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in this folder.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (train, demo):
        app.command()(command)


def train(
    config: Annotated[str, typer.Argument(help="A preset (demo, shipped, paper, ...) or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes, as key=value: training.seed=1")
    ] = None,
    run_dir: RunDir = Path("runs/run"),
    resume: Resume = False,
) -> None:
    """Train a model; Ctrl-C saves and says how to go on."""
    from atmorep_lite.config import load_config
    from atmorep_lite.training.loop import train as run
    from atmorep_lite.training.progress import ProgressBar

    source = (
        str(run_dir / "config.yaml")
        if resume and (run_dir / "config.yaml").exists() and config == "."
        else config
    )
    settings = load_config(source, overrides or [])
    with ProgressBar() as bar:
        model = run(settings, run_dir, resume=resume, report=bar)
    if model is None:
        again = " ".join(["atmorep-lite train", config, *(overrides or []), f"--run-dir {run_dir} --resume"])
        typer.echo(f"Stopped and saved. Go on with: {again}")
        raise typer.Exit(130)
    typer.echo(f"The trained model is in {run_dir}; load it with AtmoRep.from_pretrained({str(run_dir)!r}).")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for tables, figures and the attention explorer.")] = Path(
        "demo"
    ),
    resume: Resume = False,
) -> None:
    """Train a small AtmoRep on the shipped atmosphere (3 minutes on 2 cores) and show what it can do."""
    from atmorep_lite.demo import run_demo

    if not run_demo(out, resume=resume):
        typer.echo(f"Stopped and saved. Go on with: atmorep-lite demo --out {out} --resume")
        raise typer.Exit(130)
