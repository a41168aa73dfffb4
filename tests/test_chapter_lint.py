"""The rules of a chapter: the template and the book obey them, and each rule finds what it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import yaml
from chapter_lint import RULES, findings, words
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

BOOK = Path(__file__).resolve().parents[1] / "book"
TEMPLATE = BOOK / "_template" / "chapter.ipynb"
CONTENTS = yaml.safe_load((BOOK / "_toc.yml").read_text())
NAMES = [CONTENTS["root"], *(page["file"] for part in CONTENTS["parts"] for page in part["chapters"])]
PAGES = [TEMPLATE, *(BOOK / f"{name}.ipynb" for name in NAMES if not (BOOK / f"{name}.md").exists())]
Change = Callable[[NotebookNode], None]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_obeys(path: Path) -> None:
    assert findings(path, book=BOOK) == []


def cell(page: NotebookNode, name: str) -> NotebookNode:
    return next(cell for cell in page.cells if cell["id"] == name)


def replace(name: str, old: str, new: str) -> Change:
    def change(page: NotebookNode) -> None:
        assert old in cell(page, name).source
        cell(page, name).source = cell(page, name).source.replace(old, new)

    return change


def prose(text: str) -> Change:
    return lambda page: page.cells.insert(3, new_markdown_cell(text))


def code(text: str, **more: object) -> Change:
    return lambda page: page.cells.insert(3, new_code_cell(text, **more))


def drop(*names: str) -> Change:
    def change(page: NotebookNode) -> None:
        page.cells = [cell for cell in page.cells if cell["id"] not in names]

    return change


def set_metadata(name: str, key: str, value: object) -> Change:
    return lambda page: cell(page, name).metadata.update({key: value})


def no_assertion(page: NotebookNode) -> None:
    for each in page.cells:
        if "solution" not in each.metadata.get("tags", []):
            each.source = each.source.replace("assert ", "bool ")


def swap_last_sections(page: NotebookNode) -> None:
    page.cells[-1], page.cells[-2] = page.cells[-2], page.cells[-1]


def same_picture_twice(page: NotebookNode) -> None:
    page.cells.insert(3, new_code_cell("figure", metadata=cell(page, "figure").metadata))


PICTURE = new_output("display_data", data={"image/png": "iVBORw0KGgo="})
FAILURE = new_output("error", ename="ValueError", evalue="no", traceback=[])
# Rule, what was done to the template, and a part of the sentence that must be said.
BROKEN: list[tuple[str, Change, str]] = [
    ("opening", replace("opening", "# The", "The"), "begin with a markdown cell"),
    ("opening", replace("opening", "5 minutes to read", "not long"), "no time to read"),
    ("opening", replace("opening", "to run on two cores", ""), "no time to run"),
    ("opening", replace("opening", "At a glance", "Aims"), "no `:::{admonition} At a glance`"),
    ("opening", replace("opening", ":class: tip", ""), ":class: tip"),
    ("opening", replace("opening", "**You need**", "Needed:"), "no **You need**"),
    ("closing", replace("limits", "## Limits", "## Bounds"), "`## Limits` is missing"),
    ("closing", swap_last_sections, "out of order"),
    ("quiz", replace("check-yourself", "**3.** ", ""), "questions [1, 2]"),
    ("quiz", replace("check-yourself", "**3.** ", "**4.** "), "questions [1, 2, 4]"),
    ("quiz", replace("check-yourself", ":class: dropdown", ""), "0 hidden answers"),
    ("endings", replace("next", "2. ", "Then "), "three concrete edits"),
    ("endings", replace("sources", "{cite:t}", ""), "Sources cites nothing"),
    ("endings", lambda page: cell(page, "limits").update(source="## Limits\n\nNone."), "next to nothing"),
    ("predict", replace("failure", "} Predict", "} Guess"), "no output is asked for in advance"),
    ("predict", replace("failure", ":class: question", ""), "has not `:class: question`"),
    ("predict", replace("failure", "100 %?", "100 %."), "asks nothing"),
    ("predict", drop("persistence", "figure", "assertion"), "no code follows"),
    ("asserts", no_assertion, "no cell asserts"),
    ("pictures", set_metadata("figure", "mystnb", {}), "no alternative text"),
    ("pictures", set_metadata("figure", "mystnb", {"image": {"alt": "Two waves"}}), "no alternative text"),
    ("pictures", set_metadata("figure", "mystnb", {"figure": {"name": "chapter-x"}}), "no caption"),
    ("pictures", set_metadata("figure", "mystnb", {"figure": {"name": "wave"}}), "set metadata"),
    ("labels", same_picture_twice, "chapter-wave is taken"),
    ("pictures", code("x", outputs=[PICTURE]), "no alternative text"),
    ("pictures", code("ar.plotting.forecast_maps(x)"), "no alternative text"),
    ("pictures", prose("![](images/logo.svg)"), "![](images/logo.svg) has no alternative"),
    ("pictures", prose('<img src="a.png">'), "has no alternative text"),
    ("pictures", prose(":::{figure} a.png\nCaption.\n:::"), "has no alternative text"),
    ("sizes", code("x = 1\n" * 26), "the cell has 26 lines"),
    ("sizes", lambda page: [code("x = 1\n" * 20)(page) for _ in range(10)], "lines of code, 200"),
    ("sizes", prose("word " * 2500), "words, 2500"),
    ("stored", code("x", outputs=[new_output("stream", text="x")]), "has stored outputs"),
    ("stored", code("x", outputs=[FAILURE]), "an error among its outputs"),
    ("stored", code("x", execution_count=3), "has stored outputs"),
    ("stored", set_metadata("persistence", "tags", ["raises-exception"]), "allowed to fail"),
    ("stored", set_metadata("limits", "slideshow", {"slide_type": "page"}), "slide type page"),
    ("stored", lambda page: page.metadata.kernelspec.update(name="conda-env"), "not python3"),
    ("imports", set_metadata("imports", "tags", []), "does not begin with imports"),
    ("imports", lambda page: page.cells.insert(1, new_code_cell("x = 1")), "does not begin with"),
    ("headings", prose("# Another"), "a second one"),
    ("headings", prose("#### Deep"), "skips a level"),
    ("headings", prose("## Limits"), "there twice"),
    ("labels", replace("modify-text", "chapter-modify", "chapter-wave"), "chapter-wave is taken by cell 5"),
    ("labels", prose("(chapter-wave)=\n\nText."), "chapter-wave is taken"),
    ("references", prose("{term}`phlogiston`"), "the term phlogiston"),
    ("references", prose("{term}`airs <phlogiston>`"), "the term phlogiston"),
    ("references", prose("{cite:p}`lessig2023,nobody1900`"), "the source nobody1900"),
    ("leftovers", prose("NULLREAD"), "NULLREAD looks like"),
    ("leftovers", prose("TEXT HERE\n\nMore."), "TEXT HERE looks like"),
    ("leftovers", prose(":class: dropdown\n:::\nEXTWO"), "EXTWO looks like"),
    ("leftovers", prose("Here TODO."), "TODO is left over"),
    ("leftovers", code("x = 1  # FIXME"), "FIXME is left over"),
    ("leftovers", code('open("/home/me/x.nc")'), "path of one machine"),
    ("leftovers", prose("Look into C:\\data."), "path of one machine"),
    ("leftovers", code(" "), "is empty"),
    ("fences", replace("failure", "?\n:::", "?"), "is not closed"),
    ("fences", prose("x\n\n:::"), "closes nothing"),
    ("exercises", replace("predict-text", ":label: chapter-predict", ""), "has no label"),
    ("labels", replace("modify-text", "chapter-modify", "chapter-predict"), "chapter-predict is taken"),
    ("exercises", replace("modify-text", "exercise} Modify", "exercise}"), "no name"),
    ("exercises", drop("predict-hole"), "no code cell tagged `exercise`"),
    ("exercises", drop("predict-check"), "no code cell tagged `check`"),
    ("exercises", drop("predict-solution"), "no `:::{solution-start} chapter-predict`"),
    ("exercises", drop("predict-end"), "the solution does not end"),
    ("exercises", replace("predict-solution", ":class: dropdown", ""), "needs `:label:"),
    ("exercises", replace("predict-solution", "chapter-predict\n", "chapter-modify\n"), "does not begin"),
    ("exercises", replace("predict-hole", "...", "1"), "leaves nothing open"),
    ("exercises", replace("predict-answer", "predicted_error", "other"), "does not set predicted_error"),
    ("exercises", replace("modify-answer", "def carried", "def other"), "does not set carried"),
    ("exercises", replace("predict-check", "check(", "print("), "checks nothing"),
    ("exercises", replace("predict-check", ");", ")"), "semicolon"),
    ("exercises", replace("predict-end", ":::{s", "Text.\n\n:::{s"), "holds more than the end"),
    ("exercises", replace("explain-text", "{exercise}", "{note}"), "there are 2 exercises"),
    ("exercises", code("x", metadata={"tags": ["solution"]}), "belongs to no exercise"),
]  # fmt: skip


def broken(change: Change, folder: Path) -> list[str]:
    """What is found in the template after a change."""
    page = nbformat.read(TEMPLATE, as_version=4)
    change(page)
    path = folder / "chapter.ipynb"
    path.write_text(nbformat.writes(page))
    return findings(path, book=BOOK)


@pytest.mark.parametrize(("rule", "change", "said"), BROKEN, ids=[f"{r}: {s}" for r, _, s in BROKEN])
def test_rule_finds(rule: str, change: Change, said: str, tmp_path: Path) -> None:
    found = broken(change, tmp_path)
    assert any(said in sentence for sentence in found), found
    assert all(sentence.startswith("chapter.ipynb") and sentence.endswith(".") for sentence in found)


def test_each_rule_has_an_example() -> None:
    assert {rule for rule, _, _ in BROKEN} == {rule.__name__ for rules in RULES.values() for rule in rules}


@pytest.mark.parametrize(
    "change",
    [
        prose("RMSE of ERA5 by ECMWF, and/or CRPS, SPEEDY, `NULLREAD`, $ABCDEFGH$, https://a.org/b/c."),
        prose("````\n# no heading\n#### none\n````"),
        code("x = a[0]/b/c\ny = 'data/x.nc'"),
        code("figure = 3"),
        code("figure.colorbar(picture);"),
        code("table.style.format('{:.2f}')"),
        code("!ls\n%time x = 1"),
    ],
)
def test_no_false_alarm(change: Change, tmp_path: Path) -> None:
    assert broken(change, tmp_path) == []


def test_cells_are_counted_from_one(tmp_path: Path) -> None:
    assert broken(prose("NULLREAD"), tmp_path)[0].startswith("chapter.ipynb, cell 4: ")


def test_preface_has_fewer_rules(tmp_path: Path) -> None:
    def change(page: NotebookNode) -> None:
        drop("limits")(page)
        page.metadata["atmorep_lite"] = {"kind": "preface"}

    assert broken(change, tmp_path) == []
    unknown = broken(lambda page: page.metadata.update(atmorep_lite={"kind": "poem"}), tmp_path)
    assert "poem is unknown" in unknown[0]


def test_words_are_those_of_the_prose() -> None:
    text = "Two {term}`words <word>` $x + y$ and `code`.\n\n| no | table |\n\n"
    box = ":::{admonition} Title\n:class: tip\nMore.\n:::"
    assert words(text + box) == 5  # Two, words, and, code, More
