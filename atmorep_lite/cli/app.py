"""The command that opens the live app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("app")(app_command)


def app_command(
    scenes: Annotated[Path | None, typer.Option(help="YAML file of scenes, instead of ours.")] = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5006,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser on it.")] = True,
    check: Annotated[
        Path | None, typer.Option("--check", help="Only try every scene of this file, and say what is wrong.")
    ] = None,
) -> None:
    """Open the live app for a class, on this machine: hide, predict, see error, spread and attention."""
    from atmorep_lite.app.scenes import SHIPPED, load_scenes, long_words

    if check is not None:
        tried = load_scenes(check)
        for words in long_words(tried):
            typer.echo(f"Note: {words}", err=True)
        typer.echo(f"All {len(tried)} scenes of {check} work.")
        return
    from atmorep_lite.app.view import serve

    serve(scenes or SHIPPED, port=port, open_browser=open_browser, report=typer.echo)
