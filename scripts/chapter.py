"""A chapter of the book: check its form, run it with its exercises, make versions for students and lectures.

python scripts/chapter.py check book/*.ipynb
python scripts/chapter.py verify book/attention.ipynb
python scripts/chapter.py student book/attention.ipynb attention_student.ipynb
python scripts/chapter.py lecture book/attention.ipynb lecture/attention
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import nbformat
import typer
from chapter_lint import findings, tags
from nbclient import NotebookClient
from nbformat import NotebookNode

from atmorep_lite.errors import UserError

BOOK = Path(__file__).resolve().parents[1] / "book"
CELL_SECONDS = 900
Notebook = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]
Notebooks = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Check the form of a chapter, run it with its exercises, make versions for students and lectures."""


@app.command()
def check(notebooks: Notebooks) -> None:
    """Say what to mend in the form of notebooks, a sentence each; exit code 1 if there is anything."""
    report([sentence for path in notebooks for sentence in findings(path, book=BOOK)])


@app.command()
def student(notebook: Notebook, out: Path) -> None:
    """Write the notebook without the solutions of its exercises; holes and checks stay."""
    page = nbformat.read(notebook, as_version=4)
    page.cells = without_solutions(page.cells)
    for cell in page.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    out.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(page, out)


@app.command()
def verify(notebooks: Notebooks) -> None:
    """Run notebooks as a student does, then their exercises with the solutions.

    No cell may raise; each check must say "Not yet" first and "Right." then; pictures need alternative text.
    """
    found = []
    for path in notebooks:
        began = time.monotonic()
        sentences = list(verified(path))
        print(f"{path.name} ran in {time.monotonic() - began:.0f} s.")
        found += [f"{path.name}, {sentence}" for sentence in sentences]
    report(found)


@app.command()
def lecture(notebook: Notebook, out: Path) -> None:
    """Write a folder whose index.html shows the chapter as slides, without kernel or network."""
    from chapter_slides import make_slides

    try:
        number = make_slides(notebook, out, book=BOOK)
    except UserError as error:
        print(error)
        raise typer.Exit(2) from None
    print(f"{number} slides, open {out / 'index.html'}")


def report(sentences: list[str]) -> None:
    """Print what was found and leave, with exit code 1 if there is anything."""
    for sentence in sentences:
        print(sentence)
    raise typer.Exit(bool(sentences))


def without_solutions(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells that a student gets: none between the start and the end of a solution."""
    kept, inside = [], False
    for cell in cells:
        markdown = cell.cell_type == "markdown"
        inside = inside or (markdown and "{solution-start}" in cell.source)
        if not inside:
            kept.append(cell)
        if markdown and "{solution-end}" in cell.source:
            inside = False
    return kept


def verified(path: Path) -> Iterator[str]:
    """Run a page and yield what is wrong, one sentence each.

    One kernel runs the student's version from top to bottom, then once more the cells of the exercises, now
    with the solutions between them: so each chapter runs once, not twice.
    """
    page = nbformat.read(path, as_version=4)
    numbered = {cell["id"]: number for number, cell in enumerate(page.cells, 1)}
    with_holes = without_solutions(page.cells)
    solved = [cell for cell in page.cells if tags(cell) & {"exercise", "solution", "check"}]
    first_pass = len(with_holes)
    numbers = [numbered[cell["id"]] for cell in with_holes + solved]
    page.cells = with_holes + copy.deepcopy(solved)
    for again, cell in enumerate(page.cells[first_pass:]):
        cell["id"] = f"again-{again}"  # a notebook holds no id twice
    NotebookClient(
        page, timeout=CELL_SECONDS, allow_errors=True, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    for index, (number, cell) in enumerate(zip(numbers, page.cells, strict=True)):
        version, wanted = (
            ("without solutions", "Not yet") if index < first_pass else ("with solutions", "Right.")
        )
        outputs = cell.get("outputs", [])
        for output in outputs:
            if output.output_type == "error":
                yield f"cell {number} ({version}): raised {output.ename}: {output.evalue}"
                if index < first_pass and not tags(cell):
                    return  # what follows needs this cell
            elif "image/png" in output.get("data", {}) and not cell.metadata.get("mystnb", {}).get("image"):
                yield f"cell {number}: shows a picture without alternative text; add `mystnb.image.alt`."
        if "check" in tags(cell):
            said = "".join(output.text for output in outputs if output.output_type == "stream").splitlines()
            if not said or not all(line.startswith(wanted) for line in said):
                yield f'cell {number} ({version}): should say "{wanted}", says "{" / ".join(said)}".'


if __name__ == "__main__":
    app()
