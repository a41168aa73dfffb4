"""How a page is cut into slides.

Headings, questions, exercises and widgets begin a slide; so does what no longer fits. Formulas, tables,
outputs, pictures and boxes are shown. Of a paragraph or list item the first sentence is shown, up to three
where the slide is nearly empty, and all of it goes into the speaker notes, with the answers to questions; a
slide without notes repeats those before it. Code is kept for those who ask.

A cell's `slideshow.slide_type` overrides this: `slide` and `subslide` begin a slide and show the whole cell,
`fragment` shows all of it with the next key, `notes` keeps it to the notes, `skip` leaves it out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Any

from bs4 import BeautifulSoup, Tag
from chapter_sentences import shortened

ROOM = 1.0  # of a slide, in the unit of `height`
SHORT = 0.25
EMPTY = 0.5  # below this a slide gets more sentences,
SENTENCES = 3  # so many of a paragraph at most


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
    part: str = ""  # what tells it from others of that name
    shown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    prose: dict[int, Tag] = field(
        default_factory=dict
    )  # whole paragraphs and lists, by their place in `shown`
    full: float = 0.0

    def html(self, number: int) -> str:
        """The slide as a section."""
        aside = "".join(
            f'<aside class="{name}" hidden>{"".join(content)}</aside>'
            for name, content in (("notes", self.notes), ("code", self.code))
            if content
        )
        name = re.sub(r"<[^>]*>|\\[()]", "", self.name or self.heading).strip()
        part = escape(self.part, quote=True)
        label = escape(name, quote=True) + (f": {part}" if part else "")
        return (
            f'<section class="slide {self.kind}" id="slide-{number}" aria-label="{label}" data-part="{part}">'
            f'<header>{self.heading}</header><div class="body">{"".join(self.shown)}</div>{aside}</section>'
        )


def cut(blocks: list[Block]) -> list[Slide]:
    """Deal the blocks of a page out to slides."""
    deck = Deck()
    for block in blocks:
        deck.add(block)
    slides = [slide for slide in deck.slides if slide.shown]
    for slide in slides:
        fill(slide)
    for before, slide in pairwise(slides):
        if slide.heading == before.heading and not slide.name:
            slide.part = described(slide)
    share_notes(slides)
    return slides


def fill(slide: Slide) -> None:
    """Give a slide that is nearly empty the next sentences of its paragraphs."""
    for count in range(2, SENTENCES + 1):
        for place, element in slide.prose.items():
            longer = shortened(element, count)
            more = height(longer) - height(shortened(element, count - 1))
            if slide.kind == "plain" and slide.full < EMPTY and slide.full + more < ROOM:
                slide.shown[place] = str(longer)
                slide.full += more


def described(slide: Slide) -> str:
    """What is on a slide, in a few words."""
    shown = BeautifulSoup("".join(slide.shown), "html.parser")
    for formula in shown.select(".math, script"):
        formula.extract()
    caption = shown.select_one(".kicker, figcaption")
    if caption is None and slide.kind == "widget":
        return "widget"
    if caption is None and shown.find() and (shown.find().name == "table" or shown.find().find("table")):
        return "table"
    words = (caption or shown).text.split()
    return " ".join(words[:6]) + (" …" if len(words) > 6 else "")


def share_notes(slides: list[Slide]) -> None:
    """Let each slide without notes have those before it; a question to think about has what follows, too."""
    for before, slide in pairwise(slides):
        if not slide.notes and slide.heading == before.heading and slide.kind != "solution":
            said = "".join(before.notes)
            slide.notes = (
                [said if "again" in said[:20] else f'<div class="again">{said}</div>'] if said else []
            )
    for slide, after in pairwise(slides):
        if slide.kind == "question" and slide.heading == after.heading and after.kind == "plain":
            answer = re.sub(r'<img[^>]*>| id="[^"]*"', "", "".join(after.shown))
            slide.notes.append(f'<p class="kicker">On the next slide</p>{answer}')


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

    def begin_with_line(self) -> Slide:
        """A new slide, to which the paragraph shown last moves unless it is alone."""
        before, slide = self.slides[-1], self.begin()
        place = len(before.shown) - 1
        if place > 0 and place in before.prose and before.prose[place].name == "p":
            slide.shown, slide.prose = [before.shown.pop()], {0: before.prose.pop(place)}
            slide.full = height(shortened(slide.prose[0], 1))
            before.full -= slide.full
        return slide

    def make_room(self, height: float) -> None:
        """Begin a slide where the last one is closed or has no room for so much more."""
        slide = self.slides[-1]
        if self.closed:
            self.begin()
        elif slide.full and slide.full + height > ROOM:
            self.begin_with_line() if height < SHORT else self.begin()

    def has_only_a_line(self) -> bool:
        """Whether the last slide holds so little that a question or a widget has room below it."""
        slide = self.slides[-1]
        return not self.closed and slide.kind == "plain" and 0 < slide.full < SHORT

    def show(self, html: str, height: float) -> None:
        """Show something on the last slide, or on a new one where that has no room."""
        self.make_room(height)
        self.slides[-1].shown.append(html)
        self.slides[-1].full += height

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
            self.begin("question").name = f"{self.heading} {number.text.rstrip('.')}"
            self.say(element)
            number.extract()
            self.show(str(element), height(element))
            return
        short = shortened(element, 1) if kind == "-" else element
        self.show(fragment(short, kind), height(short))
        if kind == "-":
            self.slides[-1].prose[len(self.slides[-1].shown) - 1] = element
        if short.text != element.text or kind != "-":
            self.say(element)

    def add_box(self, element: Tag, classes: set[str], kind: str) -> None:
        """A box: at a glance, a question, an exercise, its solution, an answer, or a remark."""
        title = element.find(class_="admonition-title")
        if title and title.text == "At a glance":
            title.extract()
            self.show(f'<div class="glance">{element.decode_contents()}</div>', 0)
        elif "dropdown" in classes and "solution" not in classes:
            self.say(element)
            self.slides[-1].shown.append(f'<div class="fragment answer">{element.decode_contents()}</div>')
        elif classes & {"question", "exercise", "solution"}:
            name = next(iter(classes & {"question", "exercise", "solution"}))
            for cell in element.select("div.cell"):
                for part in cell.select("summary"):
                    part.extract()
                for part in cell.select("details"):
                    part.unwrap()
            if name == "solution" and self.slides[-1].kind == "exercise":
                self.say(element)
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
            if self.closed:
                self.begin()
            elif not self.has_only_a_line():
                self.begin_with_line()  # what was said last introduces the widget
            self.slides[-1].kind = "widget"
        elif shown:
            self.make_room(sum(map(height, shown)))
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
        return 0.75
    if element.find("table") or element.name == "table":
        return 0.08 * (1 + len(element.find_all("tr")))
    if "math" in element.get("class", []):
        return 0.14 + 0.08 * element.text.count("\\\\")
    if element.find("pre"):
        return 0.06 * (1 + element.text.strip().count("\n"))
    items = element.find_all("li")
    return 0.03 + sum(0.065 * (1 + len(part.text) // 75) for part in items or [element])
