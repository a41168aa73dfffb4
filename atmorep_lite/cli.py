"""The command line: ``atmorep-lite train | demo | evaluate | convert | data info, prepare, simulate``.

Every error that a user can cause is one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from atmorep_lite.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A small AtmoRep: data, training, demo.")
data_app = typer.Typer(no_args_is_help=True, help="Make or inspect data.")
app.add_typer(data_app, name="data")

RunDir = Annotated[Path, typer.Option(help="Folder for weights, log and the state to resume from.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in this folder.")]


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@data_app.command("info")
def info_command(
    path: Annotated[str, typer.Argument(help="A Zarr store, NetCDF or GRIB file, or URL.")],
    config: Annotated[str | None, typer.Option(help="Say also what this preset or YAML file lacks.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    picture: Annotated[Path | None, typer.Option("--map", help="Draw the first field to this PNG.")] = None,
) -> None:
    """Say what data hold, what looks wrong in them, and what a configuration would miss."""
    import json

    from rich.console import Console

    from atmorep_lite.config import load_config
    from atmorep_lite.data.info import report, screen

    if picture is not None and picture.suffix != ".png":
        raise UserError(f"maps are drawn as PNG; name the file {picture.with_suffix('.png')}")
    found = report(path, None if config is None else load_config(config).model)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        console = Console()
        if not console.is_terminal:
            console = Console(width=140)
        console.print(*screen(found), sep="\n\n")
    if picture is not None:
        from atmorep_lite.data.info import first_map
        from atmorep_lite.data.opening import open_dataset
        from atmorep_lite.figures import save_figure

        typer.echo(f"Drawn to {save_figure(first_map(open_dataset(path)), picture)}.", err=as_json)


@data_app.command("prepare")
def prepare_command(
    source: Annotated[str, typer.Argument(help="A Zarr store, NetCDF or GRIB file, or URL.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; if it is there, the work goes on.")],
    config: Annotated[str | None, typer.Option(help="Keep what this preset or YAML file needs.")] = None,
    field: Annotated[list[str] | None, typer.Option(help="Keep this field (several times).")] = None,
    level: Annotated[list[int] | None, typer.Option(help="Keep this level (several times).")] = None,
    normalization: Annotated[str, typer.Option(help="anomaly, global or local.")] = "anomaly",
    since: Annotated[str | None, typer.Option(help="First time to keep, YYYY-MM-DD.")] = None,
    until: Annotated[str | None, typer.Option(help="Last time to keep.")] = None,
    check: Annotated[bool, typer.Option(help="Look for mistakes and mend what has one meaning only.")] = True,
    gaps: Annotated[int, typer.Option(min=0, help="Measure changes over up to so many time steps.")] = 36,
    statistics: Annotated[
        Path | None, typer.Option(help="Prepared store whose statistics to use, for validation data.")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Address of a dask scheduler, tcp://...")] = None,
) -> None:
    """Normalise and pack data once, laid out so that training reads them at full speed."""
    from contextlib import nullcontext

    from atmorep_lite.config import load_config
    from atmorep_lite.data.prepare import prepare, wanted_by
    from atmorep_lite.data.prepared import open_prepared
    from atmorep_lite.data.prepared import statistics as statistics_of
    from atmorep_lite.training.loop import open_source

    if normalization not in ("anomaly", "global", "local"):
        raise UserError(f"there is no normalization {normalization!r}; choose anomaly, global or local")
    dataset = open_source(source, (since, until) if since or until else None)
    fields, levels = list(field or []), list(level or [])
    if config is not None:
        needed = wanted_by(load_config(config).model)
        fields, levels = fields or needed[0], levels or needed[1]
    if not fields:
        raise UserError("nothing to keep was named; give --config or --field")
    with _dask_cluster(cluster) if cluster else nullcontext():
        prepare(
            dataset,
            out,
            fields,
            levels=levels or None,
            kind=normalization,  # type: ignore[arg-type]
            gaps=gaps,
            check=check,
            normalizer=None if statistics is None else statistics_of(open_prepared(statistics)),
            report=typer.echo,
        )
    typer.echo(f"Prepared: {out}. Train on it with data.train={out}")


def _dask_cluster(address: str) -> AbstractContextManager[object]:
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise UserError(
            "a cluster needs the package distributed; install it with `pip install distributed`"
        ) from error
    try:
        return Client(address, timeout=20)
    except (OSError, ValueError) as error:
        raise UserError(f"no dask scheduler answers at {address} ({error})") from error


@data_app.command("simulate")
def simulate_command(
    out: Annotated[Path, typer.Argument(help="Zarr folder to write.")],
    start: Annotated[str, typer.Option(help="First day of the record, YYYY-MM-DD.")] = "2001-01-01",
    days: Annotated[float, typer.Option(min=0.125, help="Length of the record in days.")] = 10.0,
    every_hours: Annotated[float, typer.Option(min=0.5, help="Output interval in hours.")] = 3.0,
    spinup_days: Annotated[float, typer.Option(min=0.5, help="Days simulated before the record.")] = 90.0,
    truncation: Annotated[int, typer.Option(help="Spectral truncation of the simulation.")] = 31,
) -> None:
    """Simulate an atmosphere in ERA5's layout (needs the extra `simulate`, in an environment of its own)."""
    from atmorep_lite.data.simulate import SimulationSettings, simulate

    settings = SimulationSettings(
        start=start, days=days, every_hours=every_hours, spinup_days=spinup_days, truncation=truncation
    )
    simulate(out, settings, report=typer.echo)


def main() -> None:
    """Entry point of ``atmorep-lite``."""
    try:
        app()
    except UserError as error:
        print(f"atmorep-lite: {error}", file=sys.stderr)
        sys.exit(2)
