"""The shipped measurements are complete, and tables are those of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atmorep_lite import load_config
from atmorep_lite.controls import COLUMNS, Controls, load_controls
from atmorep_lite.errors import UserError

ROWS = pd.DataFrame(
    [
        ("forecast", "all", "u", "loss", 4, 0.2, 0.01),
        ("forecast", "all", "T", "loss", 4, 0.1, 0.02),
        ("forecast", "u <- T", "u", "loss", 4, 0.3, 0.03),
        ("forecast", "u <- T", "T", "loss", 4, 0.9, 0.03),
        ("arriving", "u <- u", "u", "size", 4, 0.5, 0.0),
        ("arriving", "u <- T", "u", "size", 4, 0.4, 0.0),
        ("arriving", "T <- T", "T", "size", 4, 0.6, 0.0),
    ],
    columns=list(COLUMNS),
)


def test_tables_hold_the_rows() -> None:
    controls = Controls(ROWS)
    assert controls.means("forecast", "loss").loc["all", "T"] == 0.1
    assert list(controls.means("forecast", "loss").columns) == ["u", "T"]
    assert controls.errors("forecast", "loss").loc["all", "u"] == 0.01
    sizes = controls.matrix("size")
    np.testing.assert_array_equal(sizes.loc[["u", "T"], ["u", "T"]], [[0.5, 0.4], [np.nan, 0.6]])
    assert controls.matrix("loss").loc["u"].max() == 0.3  # the listener's own loss


def test_shipped_measurements_are_those_of_the_shipped_model() -> None:
    controls, fields = load_controls(), load_config("shipped").model.fields
    sizes, losses = controls.matrix("size"), controls.matrix("loss")
    for field in fields:
        heard = set(losses.columns[losses.loc[field.name].notna()])
        assert heard == set(field.coupled_to)
        assert set(sizes.columns[sizes.loc[field.name].notna()]) == {field.name, *field.coupled_to}
    assert list(controls.rows.columns) == list(COLUMNS)
    assert controls.rows["mean"].notna().all()
    assert (controls.rows["standard_error"].dropna() >= 0).all()


def test_mistakes_are_explained(tmp_path) -> None:
    with pytest.raises(UserError, match="forecast/loss, arriving/size"):
        Controls(ROWS).means("hidden", "loss")
    with pytest.raises(UserError, match="choose size or loss"):
        Controls(ROWS).matrix("gain")
