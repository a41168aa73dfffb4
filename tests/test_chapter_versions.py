"""The student's version of a chapter, and the run of both versions."""

from __future__ import annotations

import copy
from pathlib import Path

import nbformat
import pytest
import yaml
from chapter import app, verified, without_solutions
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

BOOK = Path(__file__).resolve().parents[1] / "book"
TEMPLATE = BOOK / "_template" / "chapter.ipynb"
CONTENTS = yaml.safe_load((BOOK / "_toc.yml").read_text())
NAMES = [CONTENTS["root"], *(page["file"] for part in CONTENTS["parts"] for page in part["chapters"])]
CHAPTERS = [BOOK / f"{name}.ipynb" for name in NAMES if not (BOOK / f"{name}.md").exists()]


def test_student_gets_holes_and_checks_but_no_solutions(tmp_path: Path) -> None:
    out = tmp_path / "new" / "student.ipynb"
    assert CliRunner().invoke(app, ["student", str(TEMPLATE), str(out)]).exit_code == 0
    full, student = (nbformat.read(path, as_version=4).cells for path in (TEMPLATE, out))
    assert [cell["id"] for cell in full if cell not in student] == [
        "predict-solution", "predict-answer", "predict-end",
        "modify-solution", "modify-answer", "modify-end",
        "explain-solution",
    ]  # fmt: skip
    assert "np.roll" not in out.read_text()


def test_solutions_end_within_a_cell() -> None:
    cells = [
        new_markdown_cell("before"),
        new_markdown_cell(":::{solution-start} a\n:::\nno\n\n:::{solution-end}\n:::"),
        new_code_cell("kept = ':::{solution-start}'"),
        new_markdown_cell("after"),
    ]
    assert [cell.source for cell in without_solutions(cells)] == [
        "before",
        "kept = ':::{solution-start}'",
        "after",
    ]


def exercise(name: str, hole: str, solution: str, check: str) -> list[nbformat.NotebookNode]:
    return [
        new_code_cell(hole, metadata={"tags": ["exercise"]}),
        new_markdown_cell(":::{solution-start} " + name + "\n:::"),
        new_code_cell(solution, metadata={"tags": ["solution"]}),
        new_markdown_cell(":::{solution-end}\n:::"),
        new_code_cell(check, metadata={"tags": ["check"]}),
    ]


def run(cells: list[nbformat.NotebookNode], folder: Path) -> list[str]:
    page = new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    nbformat.write(page, folder / "page.ipynb")
    return list(verified(folder / "page.ipynb"))


def test_run_finds_what_is_wrong(tmp_path: Path) -> None:
    imports = new_code_cell("from atmorep_lite.exercises import check\nfrom matplotlib import pyplot as plt")
    cells = [
        imports,
        new_code_cell("plt.plot([1, 2]);"),
        *exercise("fine", "a = ...", "a = 1", "check(a, 1);"),
        *exercise("solved", "b = 1", "b = 1", "check(b, 1);"),
        *exercise("wrong", "c = ...", "c = 2", "check(c, 1);"),
        *exercise("silent", "d = ...", "d = 2", "d == 2;"),
        *exercise("needed", "e = ...", "e = 2", "e + 1"),
        *exercise("half", "f = ...", "f = 2", "check(f, 2), check(f, 3);"),
    ]
    assert run(cells, tmp_path) == [
        "cell 2: shows a picture without alternative text; add `mystnb.image.alt`.",
        'cell 12 (without solutions): should say "Not yet", says "Right.".',
        'cell 22 (without solutions): should say "Not yet", says "".',
        "cell 27 (without solutions): raised TypeError: unsupported operand type(s) for +: "
        "'ellipsis' and 'int'",
        'cell 27 (without solutions): should say "Not yet", says "".',
        'cell 17 (with solutions): should say "Right.", says "Not yet: this is not the expected answer.".',
        'cell 22 (with solutions): should say "Right.", says "".',
        'cell 27 (with solutions): should say "Right.", says "".',
        'cell 32 (with solutions): should say "Right.", says "Right. / Not yet: this is not the expected '
        'answer.".',
    ]


def test_run_ends_where_the_page_fails(tmp_path: Path) -> None:
    cells = [new_code_cell("a = 1"), new_code_cell("1 / 0"), new_code_cell("missing")]
    assert run(cells, tmp_path) == ["cell 2 (without solutions): raised ZeroDivisionError: division by zero"]


def test_later_cell_must_not_need_a_solution(tmp_path: Path) -> None:
    cells = [*exercise("a", "a = ...", "a = 1", "1;"), new_code_cell("a + 1")]
    assert any(
        sentence.startswith("cell 6 (without solutions): raised TypeError")
        for sentence in run(cells, tmp_path)
    )


def test_run_leaves_the_page_alone(tmp_path: Path) -> None:
    cells = [new_code_cell("print(1)")]
    before = copy.deepcopy(cells)
    assert run(cells, tmp_path) == []
    assert nbformat.read(tmp_path / "page.ipynb", as_version=4).cells == before


@pytest.mark.slow
@pytest.mark.parametrize("path", [TEMPLATE, *CHAPTERS], ids=lambda path: path.stem)
def test_chapter_runs_for_students_and_with_solutions(path: Path) -> None:
    assert list(verified(path)) == []
