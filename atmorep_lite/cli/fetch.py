"""``atmorep-lite data fetch``: a part of an archive as a local copy."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atmorep_lite.errors import UserError

if TYPE_CHECKING:
    from atmorep_lite.data.archive.estimate import Estimate
    from atmorep_lite.data.archive.fetch import Progress as Now
    from atmorep_lite.data.archive.plan import Plan


def fetch_command(
    source: Annotated[
        str,
        typer.Argument(
            help="arco, arco-model-levels, wb2-64x32, wb2-240x121, wb2-1440x721; or an address "
            "(https://, gs://, s3://) or a path of a Zarr store."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write; the same command again goes on, or checks.")],
    config: Annotated[str | None, typer.Option(help="Fetch what this preset or YAML file needs.")] = None,
    field: Annotated[list[str] | None, typer.Option(help="Fetch this field (several times).")] = None,
    level: Annotated[list[float] | None, typer.Option(help="Fetch this level (several times).")] = None,
    since: Annotated[str | None, typer.Option(help="First date, 2019-01-31 or 2019-01-31T12:00.")] = None,
    until: Annotated[str | None, typer.Option(help="Last date, inclusive.")] = None,
    every_hours: Annotated[int | None, typer.Option(min=1, max=24, help="Only 0, N, 2N ... o'clock.")] = None,
    region: Annotated[
        tuple[float, float, float, float] | None, typer.Option(help="NORTH WEST SOUTH EAST in degrees.")
    ] = None,
    resolution: Annotated[float | None, typer.Option(help="Average over cells of so many degrees.")] = None,
    streams: Annotated[int, typer.Option(min=1, max=64, help="Chunks fetched at once.")] = 4,
    missing: Annotated[
        str, typer.Option(help="Chunks that the source lacks: refuse, or fill (NaN, mostly).")
    ] = "refuse",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 60.0,
    attempts: Annotated[int, typer.Option(min=1, help="Requests for one chunk before giving up.")] = 6,
    dry_run: Annotated[bool, typer.Option(help="Only say how much it is and how long it takes.")] = False,
) -> None:
    """Copy fields, levels, a period and a region out of an archive; resumable, checked."""
    from atmorep_lite.config import load_config
    from atmorep_lite.data.archive.estimate import estimate
    from atmorep_lite.data.archive.fetch import fetch, refuse_others
    from atmorep_lite.data.archive.plan import make_plan
    from atmorep_lite.data.archive.remote import Patience
    from atmorep_lite.data.archive.request import Request, fields_for
    from atmorep_lite.data.archive.sources import open_archive

    if missing not in ("refuse", "fill"):
        raise UserError(f"--missing is refuse or fill, not {missing!r}")
    fields, levels = tuple(field or ()), tuple(level or ())
    if config is not None:
        needed = fields_for(load_config(config).model)
        fields, levels = fields or needed[0], levels or needed[1]
    if not fields:
        raise UserError("nothing to fetch was named; give --config or --field")
    patience = Patience(attempts=attempts, connect=min(timeout, 10.0), read=timeout)
    archive = open_archive(source, patience=patience, together=max(16, streams), missing=missing)
    request = Request(fields, levels or None, since, until, every_hours, region, resolution)
    plan = make_plan(archive, request)
    folder, _ = refuse_others(plan, out)
    cost = estimate(plan, streams=streams)
    for line in _told(plan, cost, streams):
        typer.echo(line)
    free = shutil.disk_usage(_existing(out)).free
    room = cost.disk - sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if room > free and folder != out:
        raise UserError(f"the disk of {out} has {_size(free)} free, {_size(room)} are needed")
    if dry_run:
        return
    try:
        with _bar() as advance:
            fetch(plan, out, streams=streams, report=typer.echo, progress=advance)
    except KeyboardInterrupt:
        typer.echo("Stopped; the same command goes on from here.", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"Fetched: {out}. Look at it with `atmorep-lite data info {out}`.")


def _existing(place: Path) -> Path:
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place


def _told(plan: Plan, cost: Estimate, streams: int) -> list[str]:
    times = plan.times.values
    lines = [
        f"source     {plan.source.address}",
        f"fields     {', '.join(variable.name for variable in plan.variables)}",
        f"times      {len(times):,}, {str(times[0])[:16]} to {str(times[-1])[:16]}",
    ]
    if plan.levels is not None:
        lines.append(f"levels     {', '.join(f'{level:g}' for level in plan.levels.values)}")
    latitude, longitude = plan.grid.latitude, plan.grid.longitude
    lines += [
        f"grid       {len(latitude)} x {len(longitude)}, {latitude[0]:g} to {latitude[-1]:g} N, "
        f"{longitude[0]:g} to {longitude[-1]:g} E"
        + ("" if plan.grid.weights is None else ", area means of the source's grid"),
        f"download   about {_size(cost.download)} in {cost.chunks:,} chunks",
        f"on disk    about {_size(cost.disk)}",
        f"memory     up to {_size(cost.memory)} with {streams} streams",
        f"time       about {_duration(cost.seconds)} if each of {streams} streams is as fast as one on trial "
        f"({_size(cost.speed)}/s), {_duration(cost.seconds * streams)} if they share its speed",
    ]
    return lines


def _size(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


@contextmanager
def _bar() -> Iterator[Callable[[Now], None]]:
    """A progress bar on a terminal, else a line for each tenth."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    begun, tenth = time.perf_counter(), 0
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("chunks, {task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, speed="")

        def advance(now: Now) -> None:
            nonlocal tenth
            speed = now.received / max(time.perf_counter() - begun, 1e-9)
            words = f"{_size(now.received)} at {_size(speed)}/s"
            bar.update(task, completed=now.done, total=now.of, speed=words)
            if not console.is_terminal and now.done * 10 // now.of > tenth:
                tenth = now.done * 10 // now.of
                typer.echo(f"{now.done} of {now.of} chunks, {words}")

        yield advance
