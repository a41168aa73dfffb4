"""The rule of exercises: text, hole, explanation with code, check, in this order."""

from __future__ import annotations

import ast
import re

from chapter_page import Chapter, Notes, directives, tags, tree
from nbformat import NotebookNode

EXERCISE_TAGS = {"exercise", "solution", "check"}


def exercises(chapter: Chapter) -> Notes:
    """Five cells each: text, hole, explanation with code, check; or text and explanation alone."""
    cells, taken, count = chapter.notebook.cells, set(), 0
    for n, cell in chapter.cells:
        if cell.cell_type != "markdown" or not (found := directives(cell.source, "exercise")):
            continue
        if len(found) > 1 or "{solution" in cell.source:
            yield n, "the cell holds more than one exercise's text; give each exercise and solution its own."
            continue
        label = re.search(r"^:label:\s*(\S+)", found[0][1], re.MULTILINE)
        if not label or not label[1].startswith(f"{chapter.path.stem}-"):
            yield n, f"the exercise has no label; add `:label: {chapter.path.stem}-something`."
            continue
        count += 1
        if not found[0][0]:
            yield n, "the exercise has no name; write it after `:::{exercise}`."
        yield from exercise_parts(cells, n, label[1], taken)
    if chapter.kind == "chapter" and count < 3:
        yield None, f"there are {count} exercises; write three: predict, modify, explain."
    for n, cell in chapter.cells:
        if n not in taken and (tags(cell) & EXERCISE_TAGS or "{solution" in cell.source):
            yield n, "the cell belongs to no exercise; keep the order text, hole, solution, check."


def exercise_parts(cells: list[NotebookNode], n: int, label: str, taken: set[int]) -> Notes:
    """What follows the text of one exercise, in cell n; adds the numbers of its cells to `taken`."""
    at = n  # number of the last cell read, index of the next

    def matches(tag: str) -> bool:
        return at < len(cells) and cells[at].cell_type == "code" and tag in tags(cells[at])

    def has(directive: str) -> bool:
        return (
            at < len(cells)
            and cells[at].cell_type == "markdown"
            and f":::{{{directive}}}" in cells[at].source
        )

    hole = check = None
    if matches("exercise"):
        hole, at = at, at + 1
        taken.add(at)
    if not has("solution-start"):
        yield n, f"exercise {label}: no `:::{{solution-start}} {label}` follows its text and hole; add it."
        return
    start = cells[at].source
    at += 1
    taken.add(at)
    if not re.match(rf":::\{{solution-start\}} {re.escape(label)}\s*\n", start):
        yield at, f"the cell does not begin with `:::{{solution-start}} {label}`; make it."
    if f":label: {label}-solution" not in start or ":class: dropdown" not in start:
        yield at, f"the solution needs `:label: {label}-solution` and `:class: dropdown`; add them."
    closed, first = "{solution-end}" in start, at
    while not closed and matches("solution"):
        at += 1
        taken.add(at)
    solved = cells[first:at]
    if not closed and has("solution-end"):
        closed, at = True, at + 1
        taken.add(at)
        if cells[at - 1].source.strip() != ":::{solution-end}\n:::":
            yield at, "the cell holds more than the end of the solution; move the rest to a cell of its own."
    if not closed:
        yield at, f"exercise {label}: the solution does not end; add `:::{{solution-end}}` after its code."
    if matches("check"):
        check, at = at, at + 1
        taken.add(at)
    if (hole is None) != (check is None):
        missing = "check" if check is None else "exercise"
        yield n, f"exercise {label}: no code cell tagged `{missing}` at its place; add it, or drop the other."
    elif hole is not None and check is not None:
        yield from blanks(cells[hole], hole + 1, cells[check], check + 1, solved)


def blanks(hole: NotebookNode, n: int, check: NotebookNode, m: int, solved: list[NotebookNode]) -> Notes:
    """The hole leaves dots, the solution sets what it left open, the check checks it."""
    parsed = tree(hole)
    opened: set[str] = set()
    for part in parsed.body if parsed else ():
        if any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(part)):
            if isinstance(part, ast.FunctionDef):
                opened.add(part.name)
            else:
                opened |= {node.id for node in ast.walk(part) if isinstance(node, ast.Name) and stores(node)}
    if not opened:
        yield n, "the cell leaves nothing open; set a name to `...` in it."
    given: set[str] = set()
    for cell in solved:
        for node in ast.walk(tree(cell) or ast.Module([], [])):
            if isinstance(node, ast.FunctionDef):
                given.add(node.name)
            elif isinstance(node, ast.Name) and stores(node):
                given.add(node.id)
    for name in sorted(opened - given):
        yield n, f"the solution does not set {name}, which this cell leaves open; set it."
    if "check(" not in check.source:
        yield m, "the cell checks nothing; call `check(...)` of atmorep_lite.exercises."
    elif not check.source.rstrip().endswith(";"):
        yield m, "the cell also shows True or False; end it with a semicolon."


def stores(name: ast.Name) -> bool:
    """Whether a name is set, not read."""
    return isinstance(name.ctx, ast.Store)
