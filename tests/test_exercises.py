"""The answer checker: right answers of every kind, wrong ones, missing ones, and nothing ever raises."""

from __future__ import annotations

import doctest
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from atmorep_lite import exercises
from atmorep_lite.exercises import check

GRID = np.arange(6.0).reshape(2, 3)
FIELD = xr.DataArray(GRID, dims=("latitude", "longitude"))


class Hostile:
    """Raises at whatever is done to it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


RIGHT = [
    (3, 3),
    (3.0, 3),
    (0.6667, 2 / 3),
    (Fraction(2, 3), 2 / 3),
    (np.float32(0.5), 0.5),
    (torch.tensor(0.5, requires_grad=True), 0.5),
    (torch.tensor([0.5, 1.0], dtype=torch.bfloat16), [0.5, 1.0]),
    ([torch.tensor(1.0), torch.tensor(2.0)], (1.0, 2.0)),
    (torch.from_numpy(GRID), GRID),
    (GRID, torch.from_numpy(GRID)),
    (GRID.tolist(), FIELD),
    (FIELD.transpose(), FIELD),
    (xr.Dataset({"a": FIELD}), xr.Dataset({"a": FIELD})),
    (pd.Series([1.0, 2.0]), [1.0, 2.0]),
    (np.nan, np.nan),
    (1 + 2j, 1 + 2j),
    (True, True),
    (np.True_, True),
    (torch.tensor(True), True),
    (np.datetime64("2020-01-02"), np.datetime64("2020-01-02")),
    (" Upstream ", "upstream"),
    (["u", "v"], ("u", "v")),
    ([("u", 2.0), ("v", 3)], [("u", 2.0), ("v", 3)]),
    ({"u", "v"}, {"v", "u"}),
    ({"u": 1.0, "v": [2, 3]}, {"u": 1.0, "v": np.array([2, 3])}),
    (lambda x: x**2, lambda f: f(3) == 9),
    (4, lambda n: n > 3),
    (GRID, lambda a: a >= 0),
]
WRONG = [
    (4, 3),
    (1081, 1080),  # whole numbers are exact
    (0.68, 2 / 3),
    (GRID[:1], GRID),
    (GRID.ravel(), GRID),
    (GRID + 0.1, GRID),
    (5, GRID),
    ("3", 3),
    (3, "three"),
    ("downstream", "upstream"),
    (1, True),
    (True, 1),
    (False, True),
    (["u"], ["u", "v"]),
    ("uv", ["u", "v"]),
    ({"u"}, {"u", "v"}),
    ({"u": 1.0}, {"v": 1.0}),
    ({"u": 1.0}, {"u": 2.0}),
    (1.0, {"u": 1.0}),
    (np.nan, 1.0),
    (len, 3.0),
    (object(), 3.0),
    ([1, [2, 3]], [1, 2]),
    (np.datetime64("2020-01-03"), np.datetime64("2020-01-02")),
    (lambda x: x, lambda f: f(3) == 9),
    (lambda x: ..., lambda f: f(3)),  # dots are truthy
    (lambda x: ..., lambda f: f(3) > 2),
    (lambda x: 1 / 0, lambda f: f(3) == 9),
    (GRID, lambda a: a > 0),
    (3, lambda n: "yes"),
]


@pytest.mark.parametrize(("answer", "expected"), RIGHT)
def test_right_answers(answer: Any, expected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(answer, expected, hint="Look again.") is True
    assert capsys.readouterr().out == "Right.\n"


@pytest.mark.parametrize(("answer", "expected"), WRONG)
def test_wrong_answers(answer: Any, expected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(answer, expected, hint="Look again.") is False
    said = capsys.readouterr().out
    assert said.startswith("Not yet: ") and said.endswith("Look again.\n") and said.count("\n") == 1


@pytest.mark.parametrize("expected", [3, "three", [1, 2], ["a"], {"a": 1}, {"x"}, lambda x: x.y])
def test_nothing_raises(expected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(Hostile(), expected, hint="Look again.") is False
    assert capsys.readouterr().out.startswith("Not yet: it stopped with RuntimeError: no. Hint: ")


@pytest.mark.parametrize("expected", [3, "x", GRID, [1, 2], {"a": 1}, {"x"}, lambda x: True])
@pytest.mark.parametrize("answer", [..., None, [1, ...], {"a": ...}, (..., ...)])
def test_missing_answers(answer: Any, expected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(answer, expected) is False
    assert capsys.readouterr().out == f"Not yet: {exercises.DOTS}\n"


@pytest.mark.parametrize(
    ("answer", "expected", "reason"),
    [
        (GRID.T, GRID, "the shape is (3, 2), expected is (2, 3)."),
        (3, "x", "a text in quotes is expected, this is a number."),
        ("3", 3.0, "a number is expected, this is a str."),
        (1.0, True, "True or False is expected, this is a number."),
        ([1], ["a", "b"], "the length is 1, expected is 2."),
        (lambda x: {}[x], lambda f: f(1) == 1, "it stopped with KeyError: 1."),
    ],
)
def test_says_what_is_wrong(
    answer: Any, expected: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check(answer, expected, hint="Look again.")
    assert capsys.readouterr().out == f"Not yet: {reason} Hint: Look again.\n"


def test_does_not_give_the_answer_away(capsys: pytest.CaptureFixture[str]) -> None:
    check(4, 3)
    assert capsys.readouterr().out == "Not yet: this is not the expected answer.\n"
    check(4, 3, hint="Count again.")
    assert capsys.readouterr().out == "Not yet: Count again.\n"


@given(value=st.floats(-1e6, 1e6), change=st.floats(-1, 1), rtol=st.floats(0, 0.1), atol=st.floats(1e-6, 0.1))
def test_tolerance_is_that_of_the_formula(value: float, change: float, rtol: float, atol: float) -> None:
    room = atol + rtol * abs(value)
    if abs(abs(change) - room) > 1e-6:
        assert check(value + change, value, rtol=rtol, atol=atol) == (abs(change) < room)


def test_examples_of_the_module() -> None:
    assert doctest.testmod(exercises).failed == 0
