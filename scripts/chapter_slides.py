"""A chapter as slides: the book's own rendered page, cut into slides and speaker notes.

The page is built alone, with the book's configuration (and from its execution cache, where `make book` has
left one), so that formulas, terms, citations, captions and widgets are those of the book. `chapter_cuts.py`
says what goes where; the look and the keys are in `chapter_deck.html`, `.css` and `.js`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from string import Template

import nbformat
import yaml
from bs4 import BeautifulSoup, Tag
from chapter_cuts import Block, Slide, cut

from atmorep_lite.errors import UserError

HERE = Path(__file__).resolve().parent
MARK = "cell-end"
KEYS = "arrows; n notes, s notes in a window, c code, o contents, d dark, f full screen, Esc leaves a widget"


def make_slides(notebook: Path, out: Path, *, book: Path) -> int:
    """Write the slides of a notebook to a folder and return their number.

    Raises
    ------
    UserError
        If the folder holds something else, or the page cannot be built.
    """
    if out.exists() and any(out.iterdir()) and not (out / "_static" / "chapter_deck.js").exists():
        raise UserError(f"{out} holds files that are no lecture; name a new folder")
    print(
        "Running the chapter and building its page takes about 90 s; `make book` is not needed.", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="lecture-") as temporary:
        site = build_page(notebook, Path(temporary), book=book)
        page = read(site / f"{notebook.stem}.html")
        tidy(page, read(site / "glossary.html"))
        slides = cut(blocks(page, nbformat.read(notebook, as_version=4)))
        shutil.rmtree(out, ignore_errors=True)
        (out / "_static").mkdir(parents=True)
        (out / "index.html").write_text(document(page, slides), encoding="utf-8")
        for picture in page.select("article img"):
            target = out / picture["src"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(site / picture["src"], target)
        shutil.copytree(site / "_static" / "vendor", out / "_static" / "vendor",
                        ignore=shutil.ignore_patterns("fontawesome"))  # fmt: skip
        shutil.copyfile(site / "_static" / "pygments.css", out / "_static" / "pygments.css")
        for part in ("chapter_deck.css", "chapter_deck.js"):
            shutil.copyfile(HERE / part, out / "_static" / part)
    print(f"Keys: {KEYS}.")
    return len(slides)


def build_page(notebook: Path, work: Path, *, book: Path) -> Path:
    """Build one page, glossary and bibliography as the book does, cells marked; returns the HTML folder."""
    source = work / "book"
    shutil.copytree(book, source, ignore=shutil.ignore_patterns("_build", "*.ipynb", ".ipynb_checkpoints"))
    page = nbformat.read(notebook, as_version=4)
    for number, cell in enumerate(page.cells, 1):
        if cell.cell_type == "markdown":  # the page does not tell where a markdown cell ends
            cell.source += f'\n\n<div class="{MARK}" data-cell="{number}" hidden></div>'
    nbformat.write(page, source / f"{notebook.stem}.ipynb")
    contents = {
        "format": "jb-book",
        "root": notebook.stem,
        "chapters": [{"file": "glossary"}, {"file": "bibliography"}],
    }
    (source / "_toc.yml").write_text(yaml.safe_dump(contents), encoding="utf-8")
    settings = yaml.safe_load((book.parent / "jupyter_book.yml").read_text(encoding="utf-8"))
    if (book / "_build" / ".began").exists():  # `make book` was here, and keeps its cache up to date
        settings["execute"]["cache"] = str((book / "_build" / ".jupyter_cache").resolve())
    (work / "jupyter_book.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", "book", "--config", "jupyter_book.yml"]
    run = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    site = source / "_build" / "html"
    report = site / "reports" / f"{notebook.stem}.err.log"  # of a cell that failed
    if run.returncode or report.exists() or not (site / f"{notebook.stem}.html").exists():
        said = run.stdout + run.stderr + (report.read_text(encoding="utf-8") if report.exists() else "")
        said = re.sub(r"\x1b\[[\d;]*m", "", said)  # colours
        causes = re.findall(r"^(?:\w+Error: .*|.*CRITICAL: .*)$", said, re.MULTILINE)
        cause = causes[-1 if report.exists() else 0] if causes else "no cause was given"
        cause = failing_line(said, page) + cause.removesuffix(": ")
        log = out_of_the_way(said)
        raise UserError(f"{notebook} cannot be built ({cause}); mend it, the whole log is in {log}")
    return site


def failing_line(log: str, page: nbformat.NotebookNode) -> str:
    """Where a notebook failed, as "cell 5, line 2, `x = 1 / 0`: "; nothing if no cell did."""
    source = re.search(r"executing the following cell:\n-+\n(.*?)\n-{18}\n", log, re.DOTALL)
    cells = [
        number
        for number, cell in enumerate(page.cells, 1)
        if source and cell.source.strip() == source[1].strip()
    ]
    line = re.search(r"Cell In\[\d+\],? line (\d+)", log)
    if not (source and cells and line):
        return ""
    text = source[1].splitlines()[int(line[1]) - 1].strip()
    return f"cell {cells[0]}, line {line[1]}, `{text}`: "


def out_of_the_way(text: str) -> Path:
    """Write a log where temporary files are kept."""
    with tempfile.NamedTemporaryFile("w", prefix="lecture-", suffix=".log", delete=False) as log:
        log.write(text)
    return Path(log.name)


def read(path: Path) -> BeautifulSoup:
    """A page of the built book."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def tidy(page: BeautifulSoup, glossary: BeautifulSoup) -> None:
    """Links within the book become text (terms keep their explanation), those to other sites open beside."""
    meaning = {term["id"]: " ".join(term.find_next("dd").text.split()) for term in glossary.select("dt[id]")}
    for link in page.select("article a"):
        target = link.get("href", "")
        if "headerlink" in link.get("class", []):
            link.decompose()
        elif target.startswith(("http:", "https:")):
            link["target"] = "_blank"
        elif (term := target.rpartition("#")[2]) in meaning:
            link.name, link.attrs = "abbr", {"title": meaning[term]}
        else:
            link.unwrap()


def blocks(page: BeautifulSoup, notebook: nbformat.NotebookNode) -> list[Block]:
    """The parts of the page in order, each with the cell from which it comes."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    code = [cell for cell in code if "remove-cell" not in cell.metadata.get("tags", [])]
    shown = page.select("article div.cell")
    if len(code) != len(shown):
        raise UserError(
            f"the page shows {len(shown)} of {len(code)} code cells; drop the tags that remove some"
        )
    metadata = {id(element): cell.metadata for element, cell in zip(shown, code, strict=True)}
    found: list[Block] = []
    waiting: list[Block] = []
    for element in parts(page.select_one("article section")):
        inner = [element] if MARK in element.get("class", []) else element.select(f".{MARK}")
        if inner is not None and inner != [element]:
            found.append(Block(element, metadata.get(id(element), {})))
            waiting += [found[-1]] if id(element) not in metadata else []
        for mark in inner[:1]:
            for block in waiting:
                block.metadata = notebook.cells[int(mark["data-cell"]) - 1].metadata
            waiting.clear()
        for mark in inner:
            mark.extract()
    return found


def parts(section: Tag) -> list[Tag]:
    """The elements of a section and of the sections inside it, without the sections themselves."""
    found: list[Tag] = []
    for element in section.find_all(recursive=False):
        found += parts(element) if element.name == "section" else [element]
    return found


def document(page: BeautifulSoup, slides: list[Slide]) -> str:
    """The complete page of the lecture."""
    states = page.select('script[type="application/vnd.jupyter.widget-state+json"]')
    return Template((HERE / "chapter_deck.html").read_text(encoding="utf-8")).substitute(
        title=escape(page.select_one("article h1").text.strip()),
        slides="\n".join(slide.html(number) for number, slide in enumerate(slides, 1)),
        states="\n".join(map(str, states)),
    )
