"""How a page is cut into slides, without building one."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from chapter_cuts import Block, Slide, cut
from chapter_sentences import first_sentences


@pytest.mark.parametrize(
    ("paragraph", "first"),
    [
        ("The first one has six words. The second.", "The first one has six words."),
        ("One only, with no end", "One only, with no end"),
        ("Short. Then a longer one. Third.", "Short. Then a longer one."),
        ("It is about 5.5 km up, e.g. Here. Next.", "It is about 5.5 km up, e.g. Here."),
        ("As Li <em>et al.</em> [2017] have shown. Next.", "As Li <em>et al.</em> [2017] have shown."),
        ("By J. Smith and W. Jones in Fig. 3. Next.", "By J. Smith and W. Jones in Fig. 3."),
        ("<em>Five words or more here.</em> Rest.", "<em>Five words or more here.</em>"),
        ("<b>No noise.</b> Real ones have errors. Rest.", "<b>No noise.</b> Real ones have errors."),
        ("The value <span>a. B</span> stays in it. Rest.", "The value <span>a. B</span> stays in it."),
        ("Would you say that it is? Rest.", "Would you say that it is?"),
        ("It ends with what he called “so.” Rest.", "It ends with what he called “so.”"),
    ],
)  # fmt: skip
def test_first_sentence(paragraph: str, first: str) -> None:
    element = BeautifulSoup(f"<p>{paragraph}</p>", "html.parser").p
    assert element is not None
    first_sentences(element)
    assert element.decode_contents().strip() == first


def deal(*parts: str | tuple[str, str]) -> list[Slide]:
    """Slides of the parts of a page, each HTML or HTML with a slide type; cells of their own."""
    blocks = []
    for part in parts:
        html, kind = (part, "-") if isinstance(part, str) else part
        element = BeautifulSoup(html, "html.parser").find()
        blocks.append(Block(element, {"slideshow": {"slide_type": kind}}))
    return cut(blocks)


H1, H2 = "<h1>Title</h1>", "<h2>Section</h2>"
PROSE = "<p>This is the first sentence. This is the second.</p>"
MANY = "<ul>" + 6 * "<li>Something that comes before it.</li>" + "</ul>"
PREDICT = '<div class="question admonition"><p class="admonition-title">Predict</p><p>How much?</p></div>'
ANSWER = '<div class="dropdown admonition"><p class="admonition-title">Answer</p><p>Much.</p></div>'
FIGURE = "<figure><img src='a.png' alt='a'/></figure>"


def cell(output: str) -> str:
    return (
        '<div class="cell"><div class="cell_input"><pre>x = 1</pre></div>'
        f'<div class="cell_output">{output}</div></div>'
    )


def test_prose_is_shown_in_part_and_said_in_full() -> None:
    (slide,) = deal(H2, MANY, PROSE)
    assert slide.shown == [MANY, "<p>This is the first sentence.</p>"]
    assert slide.notes == [PROSE]


def test_empty_slides_get_more_sentences() -> None:
    (slide,) = deal(H2, "<p>The first of them is this. A second one. A third one. A fourth one.</p>")
    assert slide.shown == ["<p>The first of them is this. A second one. A third one.</p>"]
    assert "A fourth one." in slide.notes[0]
    assert "second" not in deal(H2, cell(FIGURE), PROSE)[0].shown[-1]


def test_slides_without_notes_repeat_those_before() -> None:
    slides = deal(H2, MANY, PROSE, cell(FIGURE), cell(FIGURE), "<h2>Other</h2>", FIGURE)
    assert slides[1].notes == slides[2].notes == [f'<div class="again">{PROSE}</div>']
    assert slides[3].notes == []


def test_answers_are_in_the_notes() -> None:
    exercise = PREDICT.replace("question", "exercise")
    solution = PREDICT.replace("question", "solution dropdown").replace("How much", "So much")
    assert "So much" in "".join(deal(H2, exercise, solution)[0].notes)
    assert "Much." in "".join(
        deal("<h2>Check yourself</h2>", "<p><strong>1.</strong> How?</p>", ANSWER)[0].notes
    )
    assert "42" in "".join(deal(H2, PREDICT, cell("<pre>42</pre>"))[0].notes)


def test_slides_of_a_heading_have_names_of_their_own() -> None:
    caption = "<figcaption>Fig. 6 What the trained layers of this chapter do.</figcaption></figure>"
    slides = deal(H2, MANY, cell(FIGURE.replace("</figure>", caption)), PREDICT, cell("<table></table>"))
    assert [slide.part for slide in slides] == ["", "Fig. 6 What the trained layers …", "Predict", "table"]
    assert 'aria-label="Section: Predict"' in slides[2].html(3)


def test_remark_on_a_picture_moves_on_with_its_output() -> None:
    first, second = deal(H2, cell(FIGURE), PROSE, cell("<div><pre>42\n43\n44</pre></div>"))
    assert len(first.shown) == 1 and "first sentence" in second.shown[0] and "42" in second.shown[1]


@pytest.mark.parametrize(
    ("kind", "slides", "shown", "said"),
    [("slide", 2, True, True), ("subslide", 2, True, True), ("fragment", 1, True, True),
     ("notes", 1, False, True), ("skip", 1, False, False), ("-", 1, False, True)],
)  # fmt: skip
def test_slide_types_of_prose(kind: str, slides: int, shown: bool, said: bool) -> None:
    found = deal(H2, MANY, (PROSE, kind))
    assert len(found) == slides
    assert ("second" in "".join(found[-1].shown)) == shown
    assert ("second" in "".join(found[-1].notes)) == said


def test_fragment_waits_for_the_next_key() -> None:
    (slide,) = deal(H2, "<p>Something that comes before it.</p>", (PROSE, "fragment"))
    assert 'class="fragment"' in slide.shown[1] and "fragment" not in slide.shown[0]


def test_question_comes_before_the_answer() -> None:
    slides = deal(H2, PROSE, PREDICT, cell("<pre>42</pre>"), cell(FIGURE))
    question, answer = slides
    assert question.kind == "question" and "How much?" in question.html(1)
    assert "42" not in "".join(question.shown)
    assert "42" in answer.html(2) and "figure" in answer.html(2)


def test_answers_of_the_quiz_are_hidden_first() -> None:
    slides = deal("<h2>Check yourself</h2>", "<p><strong>1.</strong> How?</p>", ANSWER,
                  "<p><strong>2.</strong> Why?</p>", ANSWER)  # fmt: skip
    assert [len(slide.shown) for slide in slides] == [2, 2]
    assert all('class="fragment answer"' in slide.shown[1] for slide in slides)


def test_code_is_behind_the_slide_unless_asked_for() -> None:
    (slide,) = deal(H2, PROSE, cell("<pre>42</pre>"))
    assert "x = 1" in "".join(slide.code) and "x = 1" not in "".join(slide.shown)
    slide = deal(H2, (cell("<pre>42</pre>"), "slide"))[-1]
    assert "x = 1" in "".join(slide.shown)


def test_pictures_do_not_crowd() -> None:
    slides = deal(H2, cell(FIGURE), cell(FIGURE), cell(FIGURE))
    assert [slide.html(1).count("<figure>") for slide in slides] == [1, 1, 1]
    assert {slide.heading for slide in slides} == {"Section"}


def test_widget_has_its_line_and_no_more() -> None:
    widget = cell('<script type="application/vnd.jupyter.widget-view+json">{}</script>')
    slides = deal(H2, cell(FIGURE), "<p>This sentence is about the widget.</p>", widget, PROSE)
    assert [slide.kind for slide in slides] == ["plain", "widget", "plain"]
    assert "about the widget" in slides[1].shown[0] and "widget" not in "".join(slides[0].shown)


def test_headings_without_content_make_no_slide() -> None:
    assert [slide.heading for slide in deal(H1, H2, "<h3>Part</h3>", PROSE)] == ["Part"]


def test_solution_follows_on_a_slide_of_its_own() -> None:
    exercise = PREDICT.replace("question", "exercise")
    slides = deal(H2, exercise, PREDICT.replace("question", "solution dropdown"), PROSE)
    assert [slide.kind for slide in slides] == ["exercise", "solution", "plain"]
