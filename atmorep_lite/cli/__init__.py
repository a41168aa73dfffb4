"""The command line: ``atmorep-lite train | demo | evaluate | convert | data info, prepare, simulate``.

Every error that a user can cause is one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import sys

import typer

from atmorep_lite.cli import data, models, training
from atmorep_lite.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A small AtmoRep: data, training, demo.")
training.add_to(app)
models.add_to(app)
app.add_typer(data.app, name="data")


def main() -> None:
    """Entry point of ``atmorep-lite``."""
    try:
        app()
    except UserError as error:
        print(f"atmorep-lite: {error}", file=sys.stderr)
        sys.exit(2)
