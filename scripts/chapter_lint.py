"""The rules of a chapter: each is a small function that reads a notebook and says what to mend.

A rule yields pairs: the number of the cell (counted from 1; None for the whole page), and one sentence.
Nothing is executed; `chapter.py verify` looks at what only a run can show.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

from chapter_exercises import exercises
from chapter_page import Chapter, Notes, directives, tags, tree, words
from nbformat import NotebookNode

CELL_LINES, PAGE_LINES, WORDS = 25, 200, 2500
CLOSING = ("Check yourself", "Exercises", "Limits", "Next steps", "Sources")
SLIDE_TYPES = {"slide", "subslide", "fragment", "skip", "notes", "-"}


def opening(chapter: Chapter) -> Notes:
    """The first cell: title, and for a chapter what one learns, needs, and how long it takes."""
    first = chapter.notebook.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        yield 1, "the page begins with something else; begin with a markdown cell `# Title`."
    if not re.search(r"\d+ minutes to read", first.source):
        yield 1, 'no time to read is stated; write "N minutes to read".'
    if not re.search(r"(seconds?|minutes?) to run on two cores", first.source):
        yield 1, 'no time to run is stated; write "about N seconds to run on two cores".'
    if chapter.kind != "chapter":
        return
    glance = [body for title, body in directives(first.source, "admonition") if title == "At a glance"]
    if not glance:
        yield 1, "there is no `:::{admonition} At a glance` below the title; add it."
    elif ":class: tip" not in glance[0]:
        yield 1, "the block At a glance has not `:class: tip`; add it."
    for lead in ("**You will learn**", "**You need**", "**Time**"):
        if glance and lead not in glance[0]:
            yield 1, f"At a glance has no {lead}; add it."


def closing(chapter: Chapter) -> Notes:
    """The last sections, in order."""
    second = [(n, title) for n, level, title in chapter.headings if level == 2]
    titles = [title for _, title in second]
    present = [title for title in CLOSING if title in titles]
    for title in CLOSING:
        if title not in present:
            yield None, f"the section `## {title}` is missing; add it."
    if present and titles[-len(present) :] != present:
        order = ", ".join(CLOSING)
        yield second[-1][0], f"the last sections are out of order; put {order}."


def quiz(chapter: Chapter) -> Notes:
    """Check yourself: three questions or more, each with a hidden answer."""
    if (found := chapter.section("Check yourself")) is None:
        return
    where, text = found
    numbers = [int(n) for n in re.findall(r"^\*\*(\d+)\.\*\*", text, re.MULTILINE)]
    if len(numbers) < 3 or numbers != list(range(1, len(numbers) + 1)):
        yield where, f"Check yourself has questions {numbers}; number three or more as `**1.**`."
    answers = [body for title, body in directives(text, "admonition") if title == "Answer"]
    hidden = [body for body in answers if ":class: dropdown" in body]
    if len(hidden) != len(numbers):
        yield where, f"Check yourself has {len(hidden)} hidden answers; give each question one."


def endings(chapter: Chapter) -> Notes:
    """Next steps are a list of three edits; Sources cite."""
    item = re.compile(r"^(?:[-*]|\d+\.) ", re.MULTILINE)
    if (found := chapter.section("Next steps")) and len(item.findall(found[1])) < 3:
        yield found[0], "Next steps has fewer than three items; list three concrete edits."
    if (found := chapter.section("Sources")) and "{cite" not in found[1]:
        yield found[0], "Sources cites nothing; cite with {cite:t}`key`."
    if (found := chapter.section("Limits")) and len(found[1].split()) < 15:
        yield found[0], "Limits says next to nothing; say where this chapter's claims end."


def predict(chapter: Chapter) -> Notes:
    """At least one question that the next output answers."""
    questions = 0
    for n, cell in chapter.cells:
        for title, body in directives(cell.source, "admonition") if cell.cell_type == "markdown" else ():
            if title != "Predict":
                continue
            questions += 1
            following = chapter.notebook.cells[n : n + 2]
            if ":class: question" not in body:
                yield n, "the block Predict has not `:class: question`; add it."
            if "?" not in body:
                yield n, "the block Predict asks nothing; end it with a question."
            if not any(cell.cell_type == "code" for cell in following):
                yield n, "no code follows the block Predict; put it just before the cell that answers it."
    if not questions:
        yield None, "no output is asked for in advance; put a `:::{admonition} Predict` before one."


def asserts(chapter: Chapter) -> Notes:
    """What the prose claims is asserted, outside of solutions too."""
    if not any("assert" in cell.source for _, cell in chapter.code if "solution" not in tags(cell)):
        yield None, "no cell asserts anything; assert what the text claims, with a tolerance."


def draws(cell: NotebookNode) -> bool:
    """Whether a code cell shows a picture: its metadata says so, its output, or the form of its last line."""
    shown = cell.metadata.get("mystnb", {})
    if "image" in shown or "figure" in shown:
        return True
    if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
        return True
    parsed = tree(cell)
    if parsed is None or not parsed.body or not isinstance(parsed.body[-1], ast.Expr):
        return False
    if cell.source.rstrip().endswith(";"):
        return False
    last = parsed.body[-1].value
    name = {ast.Name: "id", ast.Attribute: "attr"}.get(type(last))
    if name:
        return getattr(last, name) in {"figure", "fig"}
    if isinstance(last, ast.Call):
        called = last.func.attr if isinstance(last.func, ast.Attribute) else getattr(last.func, "id", "")
        return bool(re.search(r"(^|_)(plot|draw|maps?|figure|imshow|picture)($|_)", called))
    return False


def pictures(chapter: Chapter) -> Notes:
    """Alternative text for each picture; caption and name for each drawn one."""
    for n, cell in chapter.code:
        if not draws(cell):
            continue
        shown = cell.metadata.get("mystnb", {})
        alt, figure = shown.get("image", {}).get("alt", ""), shown.get("figure", {})
        if len(alt.split()) < 6:
            yield n, "the picture has no alternative text; describe it in metadata `mystnb.image.alt`."
        if len(figure.get("caption", "").split()) < 4:
            yield n, "the picture has no caption; add it as metadata `mystnb.figure.caption`."
        if not figure.get("name", "").startswith(f"{chapter.path.stem}-"):
            yield n, f"the figure has no name; set metadata `mystnb.figure.name: {chapter.path.stem}-...`."
    for n, text in chapter.prose:
        images = [m[0] for m in re.finditer(r"!\[\s*\]\(.*?\)", text)]
        images += [m[0] for m in re.finditer(r"<img\b[^>]*>", text) if not re.search(r'alt="[^"]+"', m[0])]
        images += [
            f"{{{kind}}} {file}"
            for kind in ("image", "figure")
            for file, body in directives(text, kind)
            if not re.search(r"^:alt:\s*\S", body, re.MULTILINE)
        ]
        for image in images:
            yield n, f"the image {image} has no alternative text; add it."


def sizes(chapter: Chapter) -> Notes:
    """Lines of a cell, lines of code and words of the page."""
    for n, cell in chapter.code:
        if (lines := len(cell.source.splitlines())) > CELL_LINES:
            yield n, f"the cell has {lines} lines, {CELL_LINES} are allowed; split it or shorten it."
    total = sum(bool(line.strip()) for _, cell in chapter.code for line in cell.source.splitlines())
    if total > PAGE_LINES:
        yield None, f"the page has {total} lines of code, {PAGE_LINES} are allowed; move code to the library."
    if (count := sum(words(text) for _, text in chapter.prose)) > WORDS:
        yield None, f"the page has {count} words, {WORDS} are allowed; shorten it."


def stored(chapter: Chapter) -> Notes:
    """No outputs in the file, none that may fail, a plain kernel, cells with names."""
    if chapter.notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield None, "the kernel is not python3; set metadata `kernelspec.name`."
    for n, cell in chapter.cells:
        if "id" not in cell:
            yield n, "the cell has no id; save the notebook in format 4.5."
        if cell.cell_type == "code" and (cell.get("outputs") or cell.get("execution_count")):
            failed = any(output.output_type == "error" for output in cell.outputs)
            kind = "an error among its" if failed else "stored"
            yield n, f"the cell has {kind} outputs; clear all outputs."
        if tags(cell) & {"raises-exception", "skip-execution"}:
            yield n, "the cell is allowed to fail or is not run; mend it and drop that tag."
        slide = cell.metadata.get("slideshow", {}).get("slide_type") or "-"
        if slide not in SLIDE_TYPES:
            yield n, f"the slide type {slide} is unknown; use one of {', '.join(sorted(SLIDE_TYPES))}."


def imports(chapter: Chapter) -> Notes:
    """A folded cell of imports comes before all other code (an installation cell may precede it)."""
    for _, cell in chapter.code:
        title = cell.metadata.get("mystnb", {}).get("code_prompt_show", "")
        if "hide-cell" in tags(cell) and title.startswith("Imports"):
            return
        if "hide-cell" not in tags(cell):
            break
    yield None, "the code does not begin with imports; tag a cell of them `hide-cell`, titled Imports."


def headings(chapter: Chapter) -> Notes:
    """One title; no level skipped; no heading twice."""
    before, seen = 0, set()
    for n, level, title in chapter.headings:
        if level == 1 and before:
            yield n, f"the title {title} is a second one; make it `## {title}`."
        elif level > before + 1:
            yield n, f"the heading {title} skips a level; use {before + 1} signs #."
        if title in seen:
            yield n, f"the heading {title} is there twice; rename one."
        seen.add(title)
        before = level


def labels(chapter: Chapter) -> Notes:
    """Figures, exercises, solutions and other targets share one set of names."""
    found = [(n, cell.metadata.get("mystnb", {}).get("figure", {}).get("name")) for n, cell in chapter.code]
    given = re.compile(r"^(?::(?:label|name):[ \t]*(\S+)|\(([\w-]+)\)=)", re.MULTILINE)
    found += [(n, match[1] or match[2]) for n, text in chapter.prose for match in given.finditer(text)]
    first: dict[str, int] = {}
    for n, name in sorted((n, name) for n, name in found if name):
        if name in first:
            yield n, f"the label {name} is taken by cell {first[name]}; choose another."
        first.setdefault(name, n)


def references(chapter: Chapter) -> Notes:
    """Each term is in the glossary, each citation in the bibliography."""
    glossary = (chapter.book / "glossary.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\{glossary\}\n(.*?)^```", glossary, re.MULTILINE | re.DOTALL)
    terms = {line.strip().casefold() for block in blocks for line in block.splitlines() if line[:1].strip()}
    bibliography = (chapter.book / "references.bib").read_text(encoding="utf-8")
    keys = set(re.findall(r"^@\w+\{\s*([^,\s]+)", bibliography, re.MULTILINE))
    for n, text in chapter.prose:
        for role in re.findall(r"\{term\}`([^`]*)`", text):
            term = " ".join((re.search(r"<([^>]*)>\s*$", role) or [0, role])[1].split())
            if term.casefold() not in terms:
                yield n, f"the term {term} is not in the glossary; add it to glossary.md."
        for cited in re.findall(r"\{cite(?::\w+)?\}`([^`]*)`", text):
            for key in map(str.strip, cited.split(",")):
                if key not in keys:
                    yield n, f"the source {key} is not in the bibliography; add it to references.bib."


def leftovers(chapter: Chapter) -> Notes:
    """Words that stand for text yet to come, and paths of one machine."""
    marks = re.compile(r"\b(TODO|XXX+|FIXME|TBD|TKTK?|[Ll]orem ipsum)\b")
    path = re.compile(r"(?<![\w/.:~)\]}>$`-])/[A-Za-z][\w.-]*/[\w.-]|\b[A-Z]:\\\w")
    for n, cell in chapter.cells:
        for word in dict.fromkeys(marks.findall(cell.source)):
            yield n, f"the word {word} is left over; write what belongs there."
        text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", " ", cell.source, flags=re.DOTALL)
        if path.search(text if cell.cell_type == "markdown" else cell.source):
            yield n, "a path of one machine is in the cell; use a relative one or the library's functions."
        if not cell.source.strip():
            yield n, "the cell is empty; delete it."
    for n, text in chapter.prose:
        bare = re.sub(r"`[^`]*`|\$[^$]*\$", " ", text)
        loud = re.findall(r"\b[A-Z]{7,}\b", bare)
        loud += re.findall(r"^[ \t]*([A-Z][A-Z_ ]+[A-Z])[ \t]*$", bare, flags=re.MULTILINE)
        for word in dict.fromkeys(loud):
            yield n, f"{word} looks like a place left for text; write the text."


def fences(chapter: Chapter) -> Notes:
    """Each directive is closed in the cell that opens it."""
    for n, text in chapter.prose:
        open_fences: list[tuple[str, str]] = []
        for line in text.splitlines():
            if match := re.match(r"(:{3,})(\{[\w-]+\})?", line):
                if match[2]:
                    open_fences.append((match[1], match[2]))
                elif open_fences and open_fences[-1][0] == match[1]:
                    open_fences.pop()
                else:
                    yield n, f"the line {match[1]} closes nothing; delete it, or open its directive."
        for _, name in open_fences:
            yield n, f"the directive {name} is not closed in its cell; add its closing colons."


#: Every page obeys the first group; a chapter the second too.
EVERY_PAGE: tuple[Callable[[Chapter], Notes], ...] = (
    opening, imports, headings, pictures, sizes, stored, labels, references, leftovers, fences, exercises,
)  # fmt: skip
CHAPTER: tuple[Callable[[Chapter], Notes], ...] = (closing, quiz, endings, predict, asserts)
RULES = {"chapter": (*EVERY_PAGE, *CHAPTER), "preface": EVERY_PAGE, "page": EVERY_PAGE}


def findings(path: Path, *, book: Path) -> list[str]:
    """All that is to be mended on a page, sorted by cell; one sentence each, with file and cell."""
    chapter = Chapter(path, book)
    if chapter.kind not in RULES:
        return [f"{path.name}: the kind {chapter.kind} is unknown; use one of {', '.join(RULES)}."]
    found = [note for rule in RULES[chapter.kind] for note in rule(chapter)]
    found.sort(key=lambda note: note[0] or 0)
    return [f"{path.name}{f', cell {n}' if n else ''}: {sentence}" for n, sentence in found]
