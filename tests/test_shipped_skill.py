"""What is said of the shipped model, against the files that lie beside it."""

from __future__ import annotations

import re

import pandas as pd

import atmorep_lite as ar
from atmorep_lite.config import load_config
from atmorep_lite.evaluation import LEADS
from atmorep_lite.training.checkpoint import find_pretrained
from atmorep_lite.verification import relative_to_persistence

FOLDER = find_pretrained("demo")


def ratios() -> pd.DataFrame:
    """Error relative to persistence, a row for each model and a column for each lead."""
    table = relative_to_persistence(pd.read_csv(FOLDER / "skill.csv"))
    return table[table["field"] == "mean"].pivot(index="model", columns="lead_hours", values="ratio")


def test_the_shipped_model_is_13_percent_better_than_ridge_at_every_lead() -> None:
    table = ratios()
    for lead in LEADS:
        assert table.loc["atmorep_lite", lead] < 0.87 * table.loc["ridge", lead], lead
        assert table.loc["atmorep_lite", lead] < 1.01 * table.loc["convolution", lead], lead


def test_the_readme_shows_the_table() -> None:
    text = (FOLDER / "README.md").read_text()
    rows = {
        cells[0]: [float(cell.strip("* ")) for cell in cells[1:5]]
        for line in text.splitlines()
        if line.startswith("| ") and (cells := [cell.strip() for cell in line.strip("|").split("|")])
        if len(cells) >= 5 and all(re.fullmatch(r"\**\d*\.?\d+\**", cell) for cell in cells[1:5])
    }
    for name, start in (("ridge", "ridge regression"), ("atmorep_lite", "**the whole model**")):
        (shown,) = (values for title, values in rows.items() if title.startswith(start))
        for lead, value in zip(LEADS, shown, strict=True):
            assert abs(value - ratios().loc[name, lead]) < 6e-4, (name, lead)


def test_the_shipped_configuration_is_that_of_the_shipped_model() -> None:
    assert ar.AtmoRep.from_pretrained("demo").run_config == load_config("shipped")
