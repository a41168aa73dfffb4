"""How a page is cut into slides.

Headings, questions, exercises and widgets begin a slide; so does what no longer fits. Formulas, tables,
outputs, pictures and boxes are shown. Of a paragraph or list item the first sentence is shown, and all of it
goes into the speaker notes. Code is kept for those who ask. A cell's `slideshow.slide_type` overrides this:
`slide` and `subslide` begin a slide and show the cell in full, `fragment` shows it in full with the next key,
`notes` keeps it to the notes, `skip` leaves it out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from bs4 import NavigableString, Tag

ROOM = 1.0  # of a slide, in the unit of `height`
SHORT = 0.25
WORDS = 5  # a first sentence of fewer is shown with the next one
END = re.compile(r"[.!?][\"”’)]?(?=\s)|[.!?][\"”’)]?$")
NO_END = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|Fig|Eq|Dr|al|approx|no|p)|^\W*\d+|\b[A-Z])\.$")


@dataclass
class Block:
    """A part of the page and the metadata of its cell."""

    element: Tag
    metadata: Mapping[str, Any]


@dataclass
class Slide:
    """What is shown, what is said, and the code behind it; all as HTML."""

    heading: str
    kind: str = "plain"
    name: str = ""  # in the list of contents, if not the heading
    shown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    full: float = 0.0

    def html(self, number: int) -> str:
        """The slide as a section."""
        aside = "".join(
            f'<aside class="{name}" hidden>{"".join(content)}</aside>'
            for name, content in (("notes", self.notes), ("code", self.code))
            if content
        )
        label = escape(re.sub(r"<[^>]*>|\\[()]", "", self.name or self.heading).strip(), quote=True)
        return (
            f'<section class="slide {self.kind}" id="slide-{number}" aria-label="{label}">'
            f'<header>{self.heading}</header><div class="body">{"".join(self.shown)}</div>{aside}</section>'
        )


def cut(blocks: list[Block]) -> list[Slide]:
    """Deal the blocks of a page out to slides."""
    deck = Deck()
    for block in blocks:
        deck.add(block)
    return [slide for slide in deck.slides if slide.shown]


class Deck:
    """Slides so far; `add` puts a block on the last one or begins another."""

    def __init__(self) -> None:
        self.slides: list[Slide] = []
        self.heading = ""
        self.closed = False  # the last slide asks a question: the answer comes on the next
        self.cell: Any = None

    def begin(self, kind: str = "plain") -> Slide:
        """A new slide under the present heading."""
        self.slides.append(Slide(self.heading, kind))
        self.closed = False
        return self.slides[-1]

    def has_only_a_line(self) -> bool:
        """Whether the last slide holds so little that a question or a widget has room below it."""
        slide = self.slides[-1]
        return not self.closed and slide.kind == "plain" and 0 < slide.full < SHORT

    def show(self, html: str, height: float) -> None:
        """Show something on the last slide, or on a new one where that has no room."""
        slide = self.slides[-1]
        if self.closed or (slide.full and slide.full + height > ROOM):
            slide = self.begin()
        slide.shown.append(html)
        slide.full += height

    def say(self, element: Tag) -> None:
        """Put a copy into the notes of the last slide, without the ids that the slide has."""
        said = copy.copy(element)
        for part in [said, *said.find_all(id=True)]:
            part.attrs.pop("id", None)
        self.slides[-1].notes.append(str(said))

    def add(self, block: Block) -> None:
        """Deal out one block."""
        element = block.element
        kind = block.metadata.get("slideshow", {}).get("slide_type") or "-"
        classes = set(element.get("class", []))
        if kind == "skip":
            return
        if re.fullmatch("h[1-6]", element.name):
            self.heading = element.decode_contents().strip()
            self.begin("title" if element.name == "h1" else "plain")
        elif kind in {"slide", "subslide"} and block.metadata is not self.cell:
            self.begin()
        self.cell = block.metadata
        if "cell" in classes:
            self.add_code(element, set(block.metadata.get("tags", [])), kind)
        elif kind == "notes" or element.name == "aside":
            self.say(element)
        elif "admonition" in classes:
            self.add_box(element, classes, kind)
        elif element.name in {"p", "ul", "ol"}:
            self.add_prose(element, kind)
        elif not re.fullmatch("h[1-6]|script|style|span", element.name):
            self.show(fragment(element, kind), height(element))

    def add_prose(self, element: Tag, kind: str) -> None:
        """A paragraph or a list: first sentences on the slide, all of it in the notes."""
        number = element.find("strong") if element.name == "p" else None
        if number and re.fullmatch(r"\d+\.", number.text):  # a question of "Check yourself"
            self.begin("question").notes.append(str(element))
            number.extract()
            self.show(str(element), height(element))
            return
        short = copy.copy(element)
        if kind == "-":
            for part in short.find_all("li", recursive=False) or [short]:
                first_sentence(part)
        self.show(fragment(short, kind), height(short))
        if short.text != element.text or kind != "-":
            self.say(element)

    def add_box(self, element: Tag, classes: set[str], kind: str) -> None:
        """A box: at a glance, a question, an exercise, its solution, an answer, or a remark."""
        title = element.find(class_="admonition-title")
        if title and title.text == "At a glance":
            title.extract()
            self.show(f'<div class="glance">{element.decode_contents()}</div>', 0)
        elif "dropdown" in classes and "solution" not in classes:
            self.slides[-1].shown.append(f'<div class="fragment answer">{element.decode_contents()}</div>')
        elif classes & {"question", "exercise", "solution"}:
            name = next(iter(classes & {"question", "exercise", "solution"}))
            for cell in element.select("div.cell"):
                for part in cell.select("summary"):
                    part.extract()
                for part in cell.select("details"):
                    part.unwrap()
            if name != "question" or not self.has_only_a_line():
                self.begin(name)
            self.slides[-1].kind = name
            if title:
                if name != "question":
                    self.slides[-1].name = title.text
                self.slides[-1].shown.append(f'<p class="kicker">{title.extract().decode_contents()}</p>')
            self.slides[-1].shown.append(element.decode_contents())
            self.closed = True
        else:
            self.show(fragment(element, kind), 0.1 + height(element))

    def add_code(self, element: Tag, tags: set[str], kind: str) -> None:
        """A code cell: its outputs on the slide, its code behind the slide unless asked for."""
        source = element.select_one(".cell_input")
        if "exercise" in tags and source:
            self.slides[-1].shown.append(str(source))
            return
        if tags & {"check", "hide-cell"}:
            return
        results = element.select_one(".cell_output")
        shown = results.find_all(recursive=False) if results else []
        widget = bool(results and results.select_one('script[type*="widget-view"]'))
        if widget:
            if not self.has_only_a_line():
                before = self.slides[-1].shown
                line = [before.pop()] if len(before) > 1 and before[-1].startswith("<p>") else []
                self.begin().shown += line  # what was said last introduces the widget
            self.slides[-1].kind = "widget"
        elif shown and (self.closed or self.slides[-1].full + sum(map(height, shown)) > ROOM):
            self.begin()
        if source and kind in {"slide", "subslide"}:
            self.show(str(source), height(source))
        elif source:
            self.slides[-1].code.append(str(source))
        for part in shown:
            if kind == "notes":
                self.say(part)
            elif part.name == "script" and widget:
                self.slides[-1].shown.append(f'<div class="widget-area">{part}</div>')
                self.closed = True
            elif part.name != "script":
                self.show(fragment(part, kind), height(part))


def fragment(element: Tag, kind: str) -> str:
    """The element; shown with the next key where its cell says so."""
    return f'<div class="fragment">{element}</div>' if kind == "fragment" else str(element)


def height(element: Tag) -> float:
    """Roughly how much of a slide something takes; the browser shrinks what turns out higher."""
    if element.name == "figure" or element.find(["figure", "img"]):
        return 0.7
    if element.find("table") or element.name == "table":
        return 0.08 * (1 + len(element.find_all("tr")))
    if "math" in element.get("class", []):
        return 0.14 + 0.08 * element.text.count("\\\\")
    if element.find("pre"):
        return 0.06 * (1 + element.text.strip().count("\n"))
    items = element.find_all("li")
    return 0.03 + sum(0.065 * (1 + len(part.text) // 75) for part in items or [element])


def first_sentence(element: Tag) -> None:
    """Cut a paragraph or list item after its first sentence, or a later one where that is very short."""
    children = list(element.children)
    paragraphs = element.find_all("p", recursive=False)
    if paragraphs:  # a list item of paragraphs
        first_sentence(paragraphs[0])
        for child in children[children.index(paragraphs[0]) + 1 :]:
            child.extract()
        return
    words = 0  # so far
    for index, child in enumerate(children):
        end = None
        if isinstance(child, NavigableString):
            for match in END.finditer(child):
                in_between = match.end() == len(child) and index + 1 < len(children)
                long_enough = words + len(child[: match.end()].split()) >= WORDS
                if long_enough and not in_between and not NO_END.search(child[: match.end()]):
                    end = match.end()
                    break
        words += len(child.text.split())
        if (
            end is None
            and isinstance(child, Tag)
            and words >= WORDS
            and re.search(r"\w{2}\W*[.!?]$", child.text)
        ):
            end = 0  # a sentence in bold, say
        if end is not None:
            for later in children[index + 1 :]:
                later.extract()
            if end:
                child.replace_with(NavigableString(child[:end]))
            return
