"""What "From the paper to the code" and docstrings refer to exists, down to the quoted lines."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import atmorep_lite

BOOK = Path(__file__).resolve().parents[1] / "book"
PACKAGE = Path(atmorep_lite.__file__).parent
NAME = re.compile(r"<(atmorep_lite(?:\.\w+)+)>`")
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):`~?(atmorep_lite(?:\.\w+)+)`")


def rows() -> list[tuple[list[str], str]]:
    """Names and quoted line of every row that names an object."""
    found = []
    for row in (BOOK / "paper_to_code.md").read_text().splitlines():
        code = row.strip("| ").split("|")[-1]
        if names := NAME.findall(code):
            quoted = re.search(r"<br>`([^`]+)`$", code)
            found.append((names, quoted[1] if quoted else ""))
    return found


def find(name: str) -> Any:
    """The object of a dotted name: the longest importable module, then attributes."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            thing = getattr(thing, part)
        return thing
    raise ModuleNotFoundError(name)


def squeezed(text: str) -> str:
    return re.sub(r"\s+|,(?=\s*[)\]])", "", text)


@pytest.mark.parametrize(("names", "line"), rows())
def test_each_row_names_objects_that_hold_the_quoted_line(names: list[str], line: str) -> None:
    things = [find(name) for name in names]
    assert not any(isinstance(thing, ModuleType) for thing in things)
    if line:
        assert len(things) == 1
        assert squeezed(line) in squeezed(inspect.getsource(things[0]))


def test_the_page_has_its_tables() -> None:
    assert len(rows()) > 40
    assert sum(bool(line) for _, line in rows()) > 25


def test_names_on_the_page_of_functions_exist() -> None:
    """Its short names are those of the package itself."""
    names = re.findall(r"\.\. auto\w+:: ([\w.]+)", (BOOK / "api.md").read_text())
    assert len(names) > 40
    for name in names:
        find(name if name.startswith("atmorep_lite.") else f"atmorep_lite.{name}")
    for name in set(atmorep_lite.__all__) - {"FIELDS"}:
        assert name in names, f"{name} is public, but book/api.md leaves it out"


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_docstrings_refer_to_what_exists(path: Path) -> None:
    missing = []
    for name in ROLE.findall(path.read_text()):
        try:
            find(name)
        except (AttributeError, ModuleNotFoundError):
            missing.append(name)
    assert missing == []
