"""What is printed and written says what the numbers say."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

from atmorep_lite.errors import UserError
from atmorep_lite.report import print_skill, skill_sentence, write_skill
from atmorep_lite.verification import COLUMNS


def table_of(ratios: dict[str, dict[int, float]], *, spread_skill: float = float("nan")) -> pd.DataFrame:
    """A skill table in which every field of a model has these ratios to persistence, by lead."""
    rows = []
    for field, unit in (("temperature", 2.0), ("u_component_of_wind", 5.0)):
        for lead in (3, 24):
            for model, by_lead in ({"persistence": {3: 1.0, 24: 1.0}} | ratios).items():
                rmse = unit * by_lead[lead]
                spread = spread_skill if model == "atmorep_lite" else float("nan")
                rows.append((field, 500, lead, model, rmse, rmse / 2, spread))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def printed(table: pd.DataFrame, **arguments: str) -> str:
    stream = io.StringIO()
    print_skill(table, Console(file=stream, width=110), **arguments)
    return stream.getvalue()


RATIOS = {
    "climatology": {3: 9.0, 24: 1.5},
    "ridge": {3: 0.1, 24: 0.63},
    "convolution": {3: 0.2, 24: 0.55},
    "atmorep_lite": {3: 0.18, 24: 0.528},
}


def cells(text: str, first: str) -> list[list[str]]:
    return [
        line.split()[len(first.split()) :] for line in text.splitlines() if line.strip().startswith(first)
    ]


def test_the_screen_shows_every_model_and_the_fields_of_one():
    text = printed(table_of(RATIOS, spread_skill=0.91))
    assert cells(text, "ridge") == [["0.100", "0.630"]]
    assert cells(text, "climatology") == [["9.000", "1.500"]]
    assert cells(text, "persistence") == [["1.000", "1.000"]]
    assert cells(text, "Temperature") == [["0.180", "0.528"]]
    assert cells(text, "Eastward wind") == [["0.180", "0.528"]]
    assert cells(text, "Spread / skill (1 is reliable)") == [["0.91", "0.91"]]
    models = [line.split()[0] for line in text.splitlines() if line.split() and line.split()[0] in RATIOS]
    assert models[:4] == list(RATIOS)


def test_a_model_without_ensemble_has_no_line_of_spread():
    assert "Spread" not in printed(table_of(RATIOS))
    assert cells(printed(table_of(RATIOS), model="ridge"), "Temperature") == [["0.100", "0.630"]]


def test_the_screen_says_simulated_and_how_many_times():
    table = table_of(RATIOS)
    assert "simulated" not in printed(table)
    table.attrs |= {"simulated": True, "initial_times": 173}
    assert "173 initial times; simulated weather" in " ".join(printed(table).split())


def test_the_sentence_says_what_brings_the_skill():
    assert skill_sentence(table_of(RATIOS)) == (
        "At 24 h the convolution alone reaches 0.55 of the error of persistence, the whole model 0.53: the "
        "transformer lowers the error by another 4 %. Linear (ridge) regression, fitted in seconds, reaches "
        "0.63: the model beats it at 24 h, but not at 3 h."
    )


@pytest.mark.parametrize(
    ("whole", "transformer", "ridge"),
    [
        ({3: 0.05, 24: 0.55}, "the transformer adds nothing to it", "the model beats it at every lead"),
        (
            {3: 0.3, 24: 0.66},
            "the transformer makes it worse by 20 %",
            "the model does not beat it at any lead",
        ),
    ],
)
def test_the_sentence_does_not_flatter(whole, transformer, ridge):
    sentence = skill_sentence(table_of(RATIOS | {"atmorep_lite": whole}))
    assert f": {transformer}. " in sentence
    assert sentence.endswith(f"reaches 0.63: {ridge}.")


def test_the_sentence_without_rivals():
    table = table_of({"atmorep_lite": {3: 0.2, 24: 0.5}})
    assert skill_sentence(table) == "At 24 h atmorep_lite reaches 0.50 of the error of persistence."


def test_csv_has_the_columns_in_six_digits(tmp_path):
    table = table_of({"m": {3: 1 / 3, 24: 1e-7 / 3}}).assign(extra=1)
    path = write_skill(table, tmp_path / "skill.csv")
    lines = path.read_text().splitlines()
    assert lines[0] == "field,level,lead_hours,model,rmse,crps,spread_skill"
    assert lines[2] == "temperature,500,3,m,0.666667,0.333333,"
    assert lines[4] == "temperature,500,24,m,6.66667e-08,3.33333e-08,"
    back = pd.read_csv(path)
    pd.testing.assert_frame_equal(back, table[list(COLUMNS)], rtol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["skill.csv"]


def test_bad_input_is_named(tmp_path):
    table = table_of(RATIOS)
    with pytest.raises(UserError, match="no model 'oracle'; it has persistence, climatology"):
        print_skill(table, model="oracle")
    with pytest.raises(UserError, match='no model "persistence"'):
        skill_sentence(table[table.model != "persistence"])
    with pytest.raises(UserError, match="no column 'crps'"):
        write_skill(table.drop(columns="crps"), tmp_path / "skill.csv")
    with pytest.raises(UserError, match="is not a folder"):
        write_skill(table, tmp_path / "nowhere" / "skill.csv")
