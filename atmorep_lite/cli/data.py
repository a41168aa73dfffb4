"""Commands on data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from atmorep_lite.cli.fetch import fetch_command
from atmorep_lite.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Make or inspect data.")
app.command("fetch")(fetch_command)


@app.command("info")
def info_command(
    path: Annotated[str, typer.Argument(help="A store, file, URL, folder of files, or pattern in quotes.")],
    config: Annotated[str | None, typer.Option(help="Say also what this preset or YAML file lacks.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    picture: Annotated[Path | None, typer.Option("--map", help="Draw the first field to this PNG.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Read every time step, not only four.")] = False,
) -> None:
    """Say what data hold, what looks wrong in them, and what a configuration misses (exit code 1)."""
    import json

    from rich.console import Console

    from atmorep_lite.config import load_config
    from atmorep_lite.data.info import report, screen

    if picture is not None and picture.suffix != ".png":
        raise UserError(f"maps are drawn as PNG; name the file {picture.with_suffix('.png')}")
    model = None if config is None else load_config(config).model
    found = report(path, model, times=None if everything else 4, picture=picture)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        console = Console()
        if not console.is_terminal:
            console = Console(width=140)
        console.print(*screen(found), sep="\n\n")
    if "picture" in found:
        typer.echo(f"Drawn to {found['picture']}.", err=as_json)
    if found.get("missing"):
        raise typer.Exit(1)


@app.command("prepare")
def prepare_command(
    source: Annotated[str, typer.Argument(help="A store, file, URL, folder of files, or pattern in quotes.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; if it is there, the work goes on.")],
    config: Annotated[str | None, typer.Option(help="Keep what this preset or YAML file needs.")] = None,
    field: Annotated[list[str] | None, typer.Option(help="Keep this field (several times).")] = None,
    level: Annotated[list[int] | None, typer.Option(help="Keep this level (several times).")] = None,
    normalization: Annotated[
        str, typer.Option(help="anomaly, global or local, or each of them as monthly_...")
    ] = "anomaly",
    since: Annotated[str | None, typer.Option(help="First time to keep, YYYY-MM-DD.")] = None,
    until: Annotated[str | None, typer.Option(help="Last time to keep.")] = None,
    check: Annotated[bool, typer.Option(help="Look for mistakes and mend what has one meaning only.")] = True,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out missing and wrong times.")] = False,
    gaps: Annotated[int, typer.Option(min=0, help="Measure changes over up to so many time steps.")] = 36,
    statistics: Annotated[
        Path | None, typer.Option(help="Prepared store whose statistics to use, for validation data.")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Address of a dask scheduler, tcp://...")] = None,
) -> None:
    """Normalise and pack data once, laid out so that training reads them at full speed."""
    from contextlib import nullcontext

    from atmorep_lite.config import load_config
    from atmorep_lite.data.normalisation import KINDS
    from atmorep_lite.data.prepare import prepare, wanted_by
    from atmorep_lite.data.prepared import open_prepared
    from atmorep_lite.data.prepared import statistics as statistics_of
    from atmorep_lite.data.source import open_source

    if normalization not in KINDS:
        raise UserError(f"there is no normalization {normalization!r}; choose one of {', '.join(KINDS)}")
    period = (since, until) if since or until else None
    dataset = open_source(source, period, leave_out_conflicts=True)
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
            kind=normalization,
            gaps=gaps,
            check=check,
            skip_bad=skip_bad,
            normalizer=None if statistics is None else statistics_of(open_prepared(statistics)),
            report=typer.echo,
        )
    typer.echo(f"Prepared: {out}. Train on it with data.train={out}")


@contextmanager
def _dask_cluster(address: str) -> Iterator[None]:
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise UserError(
            "a cluster needs the package distributed; install it with `pip install distributed`"
        ) from error
    try:
        # Not the default, which it would stay even if nobody answers.
        client = Client(address, timeout=20, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"no dask scheduler answers at {address} ({error})") from error
    with client, client.as_current():
        yield


@app.command("simulate")
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
