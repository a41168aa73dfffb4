"""The lecture made of a chapter, as a lecturer opens it: in a browser, from a folder, no network, no kernel.

The template's lecture is always tested; those of the chapters where the book is built, so nothing runs twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from chapter_slides import make_slides
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from atmorep_lite.errors import UserError
from tests.browser import console_errors, external_requests, start_browser
from tests.lecture_deck import BOOK, PAGES, SETTLED, TEMPLATE, make_deck, number, open_deck, press, set_size

pytestmark = pytest.mark.slow
# By how much each slide is too large. Text below 0.6 of the normal size cannot be read from afar.
MEASURES = """
return [...document.querySelectorAll('.slide')].map(slide => {
  const body = slide.querySelector('.body');
  return {
    name: slide.ariaLabel, widget: slide.matches('.widget'),
    below: Math.max(0, slide.scrollHeight - innerHeight, slide.getBoundingClientRect().bottom - innerHeight),
    beside: Math.max(0, slide.scrollWidth - innerWidth, body.scrollWidth - body.clientWidth),
    inside: Math.max(0, body.scrollHeight - body.clientHeight - 1),
    scale: Number(body.style.getPropertyValue('--fit') || 1),
  };
});
"""
# With a space between a heading's last word and the first of the paragraph below it.
TEXT = """
return [...document.querySelectorAll('main :is(header, p, li, td, th, figcaption, summary, .body, section)')]
  .map(part => part.textContent).join(' ') + document.querySelector('main').textContent;
"""
UNSET = """
return [...document.querySelectorAll('main .math')]
  .filter(math => !math.querySelector('mjx-container') || math.querySelector('mjx-merror'))
  .map(math => math.textContent);
"""


@pytest.fixture(scope="module", params=PAGES, ids=lambda path: path.stem)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def deck(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_deck(page, tmp_path_factory)


@pytest.fixture(scope="module")
def small() -> Iterator[WebDriver]:
    driver = start_browser(1280, 720)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def lecture(small: WebDriver, deck: Path) -> WebDriver:
    open_deck(small, deck)
    return small


def test_asks_nobody_and_has_no_errors(lecture: WebDriver) -> None:
    assert external_requests(lecture) == []
    assert console_errors(lecture) == []


@pytest.mark.parametrize("size", [(1280, 720), (1024, 768), (1920, 1080)], ids=str)
def test_no_slide_overflows(lecture: WebDriver, size: tuple[int, int]) -> None:
    set_size(lecture, *size)
    try:
        time.sleep(0.5)  # widgets draw themselves anew
        WebDriverWait(lecture, 20).until(lambda driver: driver.execute_script(SETTLED))
        slides: list[dict[str, Any]] = lecture.execute_script(MEASURES)
    finally:
        set_size(lecture, 1280, 720)
    assert [slide for slide in slides if slide["below"] or slide["beside"]] == []
    assert [slide for slide in slides if slide["inside"] and not slide["widget"]] == []
    assert [slide for slide in slides if slide["scale"] < 0.6] == []


def test_text_shrinks_until_it_fits_then_scrolls(lecture: WebDriver) -> None:
    add = """
    const body = document.querySelector('.slide.plain .body');
    for (let i = 0; i < arguments[0]; i += 1) body.insertAdjacentHTML('beforeend', '<p>Another line.</p>');
    dispatchEvent(new Event('resize'));
    """
    kinds = lecture.execute_script("return [...document.querySelectorAll('.slide')].map(s => s.className)")
    index = next(i for i, kind in enumerate(kinds) if "plain" in kind)
    for lines, scrolls in ((10, False), (40, True)):
        lecture.execute_script(add, lines)
        slide = lecture.execute_script(MEASURES)[index]
        assert slide["below"] == slide["beside"] == 0
        assert 0.5 < slide["scale"] < 0.95
        assert bool(slide["inside"]) == scrolls


def test_keys_step_to_the_end_and_back(lecture: WebDriver) -> None:
    total = len(lecture.find_elements("css selector", ".slide"))
    steps = total + len(lecture.find_elements("css selector", ".fragment")) - 1
    seen = [number(lecture)]
    for _ in range(steps):
        press(lecture, Keys.PAGE_DOWN)
        seen.append(number(lecture))
    assert seen == sorted(seen) and set(seen) == set(range(1, total + 1))
    press(lecture, Keys.PAGE_DOWN)
    assert number(lecture) == total
    for _ in range(steps):
        press(lecture, Keys.PAGE_UP)
    assert number(lecture) == 1
    press(lecture, Keys.ARROW_RIGHT)
    press(lecture, Keys.SPACE)
    assert number(lecture) > 1 and lecture.current_url.endswith(f"#{number(lecture)}")


def test_answers_wait(lecture: WebDriver, page: Path) -> None:
    answers = lecture.find_elements("css selector", ".question .answer")
    assert bool(answers) == ("{admonition} Answer" in page.read_text(encoding="utf-8"))
    if not answers:  # a page whose questions are answered by what comes next
        return
    answer = answers[0]
    slide = answer.find_element("xpath", "./ancestor::section")
    lecture.execute_script("location.hash = arguments[0].id.replace('slide-', '')", slide)
    time.sleep(0.2)
    assert slide.is_displayed() and not answer.is_displayed()
    press(lecture, Keys.PAGE_DOWN)
    assert slide.is_displayed() and answer.is_displayed()


def test_pictures_and_formulas_are_there(lecture: WebDriver) -> None:
    pictures = lecture.execute_script(
        "return [...document.images].map(image => [image.alt.trim().length, image.naturalWidth])"
    )
    assert pictures and all(alt > 10 and width > 0 for alt, width in pictures)
    unset = lecture.execute_script(UNSET)
    assert unset == []
    assert (
        "{term}" not in lecture.page_source
        and ":::" not in lecture.page_source.split("<main>")[1].split("</main>")[0]
    )


def test_notes_and_code_are_shown_on_request(lecture: WebDriver) -> None:
    panel = lecture.find_element("id", "panel")
    for name in ("notes", "code"):
        slide = lecture.find_element("css selector", f".slide:has(aside.{name})")
        lecture.execute_script("location.hash = arguments[0].id.replace('slide-', '')", slide)
        time.sleep(0.2)
        press(lecture, name[0])
        wanted = lecture.execute_script(
            f"return arguments[0].querySelector('aside.{name}').textContent.trim()", slide
        )
        assert panel.is_displayed() and wanted[:20] in panel.get_attribute("textContent")
        press(lecture, name[0])
        assert not panel.is_displayed()


def test_speaker_window_follows(lecture: WebDriver) -> None:
    main = lecture.current_window_handle
    press(lecture, "s")
    (other,) = set(lecture.window_handles) - {main}
    lecture.switch_to.window(other)
    try:
        press(lecture, Keys.PAGE_DOWN)  # a remote control may talk to this window
        heading = lecture.find_element("tag name", "h1").text
        assert "min since the start" in lecture.find_element("id", "clock").text
    finally:
        lecture.close()
        lecture.switch_to.window(main)
    assert number(lecture) == 2
    assert heading == lecture.find_element("css selector", ".slide.current header").text


def test_panels_cover_nothing(lecture: WebDriver) -> None:
    for name in ("code", "notes"):
        slide = lecture.find_element("css selector", f".slide.plain:has(aside.{name}):has(figure, .math)")
        lecture.execute_script("location.hash = arguments[0].id.replace('slide-', '')", slide)
        time.sleep(0.2)
        press(lecture, name[0])
        apart = """
        const panel = document.getElementById('panel').getBoundingClientRect();
        const slide = arguments[0].getBoundingClientRect();
        return panel.left >= slide.right || panel.top >= slide.bottom;
        """
        assert lecture.execute_script(apart, slide)
        (measured,) = (
            one for one in lecture.execute_script(MEASURES) if one["name"] == slide.get_attribute("ariaLabel")
        )
        assert not measured["below"] and not measured["beside"] and not measured["inside"]
        press(lecture, Keys.PAGE_DOWN)
        assert lecture.find_element("id", "panel").is_displayed() == (name == "notes")
        press(lecture, Keys.ESCAPE)


def test_nothing_of_the_prose_is_lost(lecture: WebDriver, page: Path) -> None:
    source = "\n".join(
        cell.source
        for cell in nbformat.read(page, as_version=4).cells
        if cell.cell_type == "markdown" and cell.metadata.get("slideshow", {}).get("slide_type") != "skip"
    )
    source = re.sub(
        r"\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)|<[^>]*>|\{[\w:-]+\}|^:.*$|\{cite.*?`.*?`",
        " ",
        source,
        flags=re.S | re.M,
    )
    told = lecture.execute_script(TEXT)
    missing = set(re.findall(r"\b[A-Za-z]{4,}\b", re.sub(r"`[^`]*`", " ", source))) - set(
        re.findall(r"\w+", told)
    )
    assert missing <= {"Check", "Exercises", "yourself"}


def test_colours_follow_the_system_and_the_key(lecture: WebDriver) -> None:
    def is_dark() -> bool:
        colour = lecture.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) < 200

    def prefer(scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        lecture.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    assert not is_dark()
    press(lecture, "d")
    assert is_dark()
    press(lecture, "d")
    assert not is_dark()
    try:
        prefer("dark")
        WebDriverWait(lecture, 5).until(lambda _: is_dark())
    finally:
        prefer("light")


def test_lecture_does_not_overwrite_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="no lecture"):
        make_slides(TEMPLATE, tmp_path, book=BOOK)
    assert (tmp_path / "thesis.txt").exists()


def test_says_why_a_page_cannot_be_shown(tmp_path: Path) -> None:
    page = nbformat.read(TEMPLATE, as_version=4)
    page.cells = [page.cells[0], nbformat.v4.new_code_cell("x = 1\n1 / 0")]
    nbformat.write(page, tmp_path / "chapter.ipynb")
    with pytest.raises(UserError, match="cell 2, line 2, `1 / 0`: ZeroDivisionError: division by zero"):
        make_slides(tmp_path / "chapter.ipynb", tmp_path / "out", book=BOOK)
    assert not (tmp_path / "out").exists()
