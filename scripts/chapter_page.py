"""What the rules of a chapter read: a notebook with its cells, prose, headings and directives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from nbformat import NotebookNode

#: What a rule yields: the number of a cell (from 1; None for the whole page), and a sentence.
Notes = Iterator[tuple[int | None, str]]


@dataclass(frozen=True)
class Chapter:
    """A notebook with the book that it belongs to."""

    path: Path
    book: Path

    @cached_property
    def notebook(self) -> NotebookNode:
        """The notebook, format 4."""
        return nbformat.read(self.path, as_version=4)

    @property
    def kind(self) -> str:
        """Which rules hold: "chapter", or what the notebook's metadata names at `atmorep_lite.kind`."""
        return str(self.notebook.metadata.get("atmorep_lite", {}).get("kind", "chapter"))

    @property
    def cells(self) -> list[tuple[int, NotebookNode]]:
        """All cells with their numbers, from 1."""
        return list(enumerate(self.notebook.cells, 1))

    @property
    def prose(self) -> list[tuple[int, str]]:
        """Number and source of the markdown cells, without the code inside them."""
        fenced = re.compile(r"^(`{3,})(?!\{).*?^\1`*$", re.MULTILINE | re.DOTALL)
        return [(n, fenced.sub("", cell.source)) for n, cell in self.cells if cell.cell_type == "markdown"]

    @property
    def code(self) -> list[tuple[int, NotebookNode]]:
        """Number and cell of the code cells."""
        return [(n, cell) for n, cell in self.cells if cell.cell_type == "code"]

    @property
    def headings(self) -> list[tuple[int, int, str]]:
        """Cell, level and text of each heading."""
        found = re.compile(r"^(#{1,6})\s+(.+?)\s*$", re.MULTILINE)
        return [(n, len(m[1]), m[2]) for n, text in self.prose for m in found.finditer(text)]

    def section(self, title: str) -> tuple[int, str] | None:
        """Cell and text of a second-level section up to the next one, or None where there is none."""
        lines: list[str] = []
        where = None
        for n, text in self.prose:
            for line in text.splitlines():
                if line.startswith("## "):
                    if where:
                        return where, "\n".join(lines)
                    where = n if line[3:].strip() == title else None
                elif where:
                    lines.append(line)
        return (where, "\n".join(lines)) if where else None


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def directives(text: str, name: str) -> list[tuple[str, str]]:
    """Argument and body, options included, of each directive `:::{name} argument`."""
    found = re.finditer(
        rf"^(:{{3,}})\{{{name}\}}[ \t]*(.*?)[ \t]*\n(.*?)^\1[ \t]*$", text, re.MULTILINE | re.DOTALL
    )
    return [(match[2], match[3]) for match in found]


def tree(cell: NotebookNode) -> ast.Module | None:
    """The syntax tree of a code cell; None for one that is no plain Python."""
    plain = re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)
    try:
        return ast.parse(plain)
    except SyntaxError:
        return None


def words(text: str) -> int:
    """Words of prose: no formulas, code, tables, options of directives or names of roles."""
    text = re.sub(r"^\s*(\|.*|:{3,}.*|:[\w-]+:.*|```.*)$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|\{[\w:-]+\}(?=`)|<[^>]*>", " ", text, flags=re.DOTALL)
    return sum(any(letter.isalpha() for letter in word) for word in text.split())
