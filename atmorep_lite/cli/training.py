"""Commands that train."""

from __future__ import annotations

import os
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from atmorep_lite.config import Config

RunDir = Annotated[Path, typer.Option(help="Folder for weights, log and checkpoints.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in this folder.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (train, demo):
        app.command()(command)


def train(
    config: Annotated[
        str, typer.Argument(help="A preset (demo, era5, ...), a YAML file, or a run's folder.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes, as key=value: training.seed=1")
    ] = None,
    run_dir: RunDir = Path("runs/run"),
    resume: Resume = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check data, memory and shapes; say what would happen.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
    count: Annotated[
        int | None, typer.Option("--processes", min=1, help="With --dry-run: plan for so many processes.")
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="With --dry-run: plan for such GPUs (H100, ...).")] = None,
) -> None:
    """Train a model; Ctrl-C saves and says how to go on.

    On several processes: torchrun --nproc-per-node 8 -m atmorep_lite.training CONFIG ...
    """
    from atmorep_lite.config import load_config
    from atmorep_lite.training.loop import train as run
    from atmorep_lite.training.processes import processes
    from atmorep_lite.training.watch.progress import ProgressBar
    from atmorep_lite.zoo.recipe import is_recipe

    if is_recipe(config):
        from atmorep_lite.cli.fluids import train_fluid

        return train_fluid(config, overrides or [], run_dir, resume=resume, dry_run=dry_run)
    with processes() as group:
        settings = load_config(config, overrides or [])
        if dry_run:
            if group.is_first:
                show_plan(settings, run_dir, count=count or group.count, gpu=gpu, as_json=as_json)
            return
        with ProgressBar() if group.is_first else nullcontext(_nothing) as bar:
            model = run(settings, run_dir, resume=resume, report=bar)
    if model is None:
        if group.is_first:
            again = shlex.join([*_command(), str(run_dir), "--run-dir", str(run_dir), "--resume"])
            typer.echo(f"Stopped and saved. Go on with: {again}")
        raise typer.Exit(130)
    if group.is_first:
        typer.echo(
            f"The trained model is in {run_dir}; load it with AtmoRep.from_pretrained({str(run_dir)!r})."
        )


def show_plan(config: Config, run_dir: Path, *, count: int, gpu: str | None, as_json: bool) -> None:
    """Print what a training would be; exit code 2 if something prevents it."""
    import json

    from rich.console import Console

    from atmorep_lite.training.planning.plan import plan
    from atmorep_lite.training.planning.screen import screen

    found = plan(config, processes=count, gpu=gpu, run_dir=run_dir)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        console = Console()
        if not console.is_terminal:
            console = Console(width=110)
        for part in screen(found):
            console.print(part)
    if found.problems:
        raise typer.Exit(2)


def _command() -> list[str]:
    """How this was started."""
    if "WORLD_SIZE" not in os.environ:
        return ["atmorep-lite", "train"]
    here = os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])
    return ["torchrun", "--nproc-per-node", here, "-m", "atmorep_lite.training"]


def _nothing(progress: object) -> None:
    """What processes other than the first report."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder for tables, figures and the attention explorer.")] = Path(
        "demo"
    ),
    resume: Resume = False,
) -> None:
    """Train a small AtmoRep on the shipped atmosphere (4 to 6 minutes on 2 cores) and show what it can do."""
    from atmorep_lite.demo import run_demo

    if not run_demo(out, resume=resume):
        typer.echo(f"Stopped and saved. Go on with: atmorep-lite demo --out {out} --resume")
        raise typer.Exit(130)
