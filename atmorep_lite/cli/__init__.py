"""The command line: ``atmorep-lite train | demo | evaluate | convert | app | data ...``.

Every error that a user can cause is one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import NoReturn

import typer

from atmorep_lite.cli import app as live
from atmorep_lite.cli import data, models, training
from atmorep_lite.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A small AtmoRep: data, training, demo.")
training.add_to(app)
models.add_to(app)
live.add_to(app)
app.add_typer(data.app, name="data")


def main() -> None:
    """Entry point of ``atmorep-lite``."""
    warnings.showwarning = _warn  # type: ignore[assignment]
    warnings.filterwarnings("ignore", "Numcodecs codecs are not in the Zarr version 3 specification")
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # requests given up after one has failed
    try:
        app()
    except UserError as error:
        _give_up(str(error))
    except PermissionError as error:
        _give_up(f"no permission for {error.filename}; choose another place")


def _give_up(sentence: str) -> NoReturn:
    """Say why, also to torchrun, whose own report ends the output and would else name no reason."""
    print(f"atmorep-lite: {sentence}", file=sys.stderr)
    if report := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        with contextlib.suppress(OSError):
            Path(report).write_text(json.dumps({"message": sentence, "timestamp": int(time.time())}))
    sys.exit(2)


def _warn(message: Warning | str, *place: object) -> None:
    """A warning as a sentence, without the line of code that it comes from."""
    print(f"Warning: {message}", file=sys.stderr)
