"""Skill on the screen and on disk: tables, and the sentence that says what the skill comes from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atmorep_lite.errors import UserError
from atmorep_lite.labels import long_name
from atmorep_lite.verification import COLUMNS, MEAN, PERSISTENCE, relative_to_persistence

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

MODEL, CONVOLUTION, RIDGE = "atmorep_lite", "convolution", "ridge"


def print_skill(table: pd.DataFrame, console: Console | None = None, *, model: str = MODEL) -> None:
    """Print RMSE over that of persistence: all models, then the fields of one, then what it means.

    Parameters
    ----------
    table
        As made by :func:`atmorep_lite.verification.skill_table`, with the model ``"persistence"``.
    console
        Where to print; by default the terminal.
    model
        Whose fields to show, and of whom the sentence speaks.

    Raises
    ------
    UserError
        If the table lacks persistence or ``model``.
    """
    from rich.console import Console

    console = console or Console()
    _check(table, model)
    console.print(_models_table(table))
    console.print(_fields_table(table, model))
    console.print(skill_sentence(table, model=model))


def skill_sentence(table: pd.DataFrame, *, model: str = MODEL) -> str:
    """What brings the skill, in a sentence or two computed from the table.

    Compares ``model`` at the longest lead with its convolution alone (``"convolution"``), if the table has
    it, and at every lead with the linear regression (``"ridge"``), if the table has it.

    Raises
    ------
    UserError
        If the table lacks persistence or ``model``.
    """
    _check(table, model)
    ratios = _mean_ratios(table)
    last = ratios.columns[-1]
    whole = ratios.loc[model, last]
    if CONVOLUTION in ratios.index and model != CONVOLUTION:
        alone = ratios.loc[CONVOLUTION, last]
        text = (
            f"At {last} h the convolution alone reaches {alone:.2f} of the error of persistence, the whole "
            f"model {whole:.2f}: {_contribution(float(alone), float(whole))}."
        )
    else:
        text = f"At {last} h {model} reaches {whole:.2f} of the error of persistence."
    if RIDGE in ratios.index and model != RIDGE:
        linear = ratios.loc[RIDGE, last]
        better = [lead for lead in ratios.columns if ratios.loc[model, lead] < ratios.loc[RIDGE, lead]]
        worse = [lead for lead in ratios.columns if lead not in better]
        verdict = (
            "the model beats it at every lead"
            if not worse
            else "the model does not beat it at any lead"
            if not better
            else f"the model beats it at {_hours_list(better)}, but not at {_hours_list(worse)}"
        )
        text += f" Linear (ridge) regression, fitted in seconds, reaches {linear:.2f}: {verdict}."
    return text


def write_skill(table: pd.DataFrame, path: str | Path) -> Path:
    """Write the skill table as CSV, six significant digits, under another name first, then renamed.

    Raises
    ------
    UserError
        If the folder does not exist, or the table lacks a column.
    """
    path = Path(path)
    if lacking := [column for column in COLUMNS if column not in table]:
        raise UserError(
            f"the skill table has no column {lacking[0]!r}; make it with verification.skill_table"
        )
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder; make it first")
    unfinished = path.with_name(path.name + ".unfinished")
    table.to_csv(unfinished, columns=list(COLUMNS), index=False, float_format="%.6g")
    os.replace(unfinished, path)
    return path


def _contribution(alone: float, whole: float) -> str:
    percent = 100 * (alone - whole) / alone
    if round(abs(percent)) == 0:
        return "the transformer adds nothing to it"
    if percent < 0:
        return f"the transformer makes it worse by {-percent:.0f} %"
    return f"the transformer lowers the error by another {percent:.0f} %"


def _hours_list(leads: Sequence[int]) -> str:
    *first, last = (str(lead) for lead in leads)
    return (", ".join(first) + " and " if first else "") + last + " h"


def _check(table: pd.DataFrame, model: str) -> None:
    models = list(table["model"].unique())
    if model not in models:
        raise UserError(
            f"the skill table has no model {model!r}; it has {', '.join(models)}: name one of these"
        )


def _mean_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Mean RMSE over persistence, one row per model as they come, one column per lead."""
    ratios = relative_to_persistence(table)
    mean = ratios[ratios["field"] == MEAN]
    wide = mean.pivot(index="model", columns="lead_hours", values="ratio")
    return wide.loc[list(mean["model"].unique())]


def _models_table(table: pd.DataFrame) -> Table:
    ratios = _mean_ratios(table)
    count = table.attrs.get("initial_times")
    caption = "mean over fields and levels; below 1 is skill, the best is bold"
    if count:
        caption += f"; {count} initial times"
    if table.attrs.get("simulated"):
        caption += "; simulated weather"
    screen = _lead_table("RMSE / RMSE of persistence", "model", ratios.columns, caption)
    best = ratios.min()
    for name, row in ratios.iterrows():
        cells = [
            f"[bold]{x:.3f}[/bold]" if x == best[lead] and x < 1 else f"{x:.3f}" for lead, x in row.items()
        ]
        screen.add_row(str(name), *cells, style="dim" if name == PERSISTENCE else None)
    return screen


def _fields_table(table: pd.DataFrame, model: str) -> Table:
    ratios = relative_to_persistence(table)
    own = ratios[(ratios["model"] == model) & (ratios["field"] != MEAN)]
    wide = own.pivot(index="field", columns="lead_hours", values="ratio")
    screen = _lead_table(f"{model}, field by field", "field", wide.columns, None)
    for field in own["field"].unique():
        screen.add_row(long_name(field), *(f"{x:.3f}" for x in wide.loc[field]))
    spread = table[table["model"] == model].groupby("lead_hours")["spread_skill"].mean()
    if spread.notna().any():
        screen.add_section()
        screen.add_row("Spread / skill (1 is reliable)", *(f"{x:.2f}" for x in spread))
    return screen


def _lead_table(title: str, first: str, leads: Sequence[int], caption: str | None) -> Table:
    from rich import box
    from rich.table import Table

    screen = Table(
        title=title, caption=caption, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left"
    )
    screen.add_column(first, no_wrap=True)
    for lead in leads:
        screen.add_column(f"{lead} h", justify="right")
    return screen
