"""The widgets on the slides of a lecture: they fill their slide, and the pointer and keys reach them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import start_browser
from tests.lecture_deck import PAGES, SETTLED, make_deck, number, open_deck, press, set_size

pytestmark = pytest.mark.slow
# What a drawing takes of the slide below its heading, caption included.
SHARES = """
return [...document.querySelectorAll('.slide.plain .body > figure')].map(
  figure => figure.offsetHeight / figure.closest('.body').clientHeight);
"""
INTO_VIEW = """
document.querySelector('.slide.current .arl-map').scrollIntoView({block: 'center', inline: 'center'});
"""
SELECTED = "return document.querySelector('.slide.current .arl-root').arl.selected()"
# Of a token on the first map: its centre in pixels of the canvas, its query number; and the canvas's width.
CENTRE = """
const root = document.querySelector('.slide.current .arl-root');
return [...root.arl.centre(...arguments), root.querySelector('.arl-map canvas').offsetWidth];
"""
# Of a widget: how it is zoomed, and how far it reaches out of its slide.
ZOOMS = """
return [...document.querySelectorAll('.widget-area')].map(area => {
  const [inner, outer] = [area.getClientRects()[0], area.parentElement.getClientRects()[0]];
  return [Number(area.style.zoom), inner.bottom - outer.bottom, outer.left - inner.left,
    inner.right - outer.right, inner.height / outer.height, inner.width / outer.width];
});
"""


@pytest.fixture(scope="module", params=PAGES, ids=lambda path: path.stem)
def deck(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_deck(request.param, tmp_path_factory)


@pytest.fixture
def lecture(deck: Path) -> Iterator[WebDriver]:
    driver = start_browser(1280, 720)
    try:
        open_deck(driver, deck)
        yield driver
    finally:
        driver.quit()


def drag(driver: WebDriver, *places: tuple[float, float]) -> None:
    """Press the pointer at the first place of the window, move on, release it at the last one."""
    actions = ActionBuilder(driver)
    for index, (x, y) in enumerate(places):
        actions.pointer_action.move_to_location(round(x), round(y))
        if index == 0:
            actions.pointer_action.pointer_down()
    actions.pointer_action.pointer_up()
    actions.perform()
    time.sleep(0.2)


def box(driver: WebDriver, selector: str) -> list[float]:
    """Left, top, width and height in the window."""
    script = """
    const box = document.querySelector(arguments[0]).getClientRects()[0];
    return [box.x, box.y, box.width, box.height];
    """
    return driver.execute_script(script, f".slide.current .widget-area {selector}")


def show_widget(driver: WebDriver, selector: str) -> None:
    script = "return document.querySelector(arguments[0])?.closest('.slide').id.replace('slide-', '')"
    slide = driver.execute_script(script, selector)
    if slide is None:
        pytest.skip(f"no {selector} in this chapter")
    driver.execute_script("location.hash = arguments[0]", slide)
    time.sleep(0.2)


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)], ids=str)
def test_pictures_and_widgets_fill_their_slides(lecture: WebDriver, size: tuple[int, int]) -> None:
    set_size(lecture, *size)
    try:
        time.sleep(0.3)
        WebDriverWait(lecture, 20).until(lambda driver: driver.execute_script(SETTLED))
        zooms, shares = lecture.execute_script(ZOOMS), lecture.execute_script(SHARES)
    finally:
        set_size(lecture, 1280, 720)
    assert min(shares, default=1) > 0.55
    for zoom, below, left, right, high, wide in zooms:
        assert 0.6 <= zoom <= 2 and left < 2 and right < 2
        assert zoom == 0.6 or below < 2
        assert max(high, wide) > 0.8


def test_widgets_are_alive_on_their_slides(lecture: WebDriver) -> None:
    slides = lecture.find_elements("css selector", ".slide.widget")
    assert slides
    for slide in slides:
        lecture.execute_script("location.hash = arguments[0].id.replace('slide-', '')", slide)
        time.sleep(0.3)
        area = slide.find_element("css selector", ".widget-area")
        assert area.is_displayed() and area.size["height"] > 150
        if not slide.find_elements("css selector", ".arl-root"):
            continue
        before = number(lecture)
        query = slide.find_element("css selector", ".arl-subject").text
        focus = slide.find_element("css selector", ".arl-map")
        focus.send_keys(Keys.ARROW_LEFT)
        subject = slide.find_element("css selector", ".arl-subject")
        WebDriverWait(lecture, 10).until(lambda _, box=subject, old=query: box.text != old)
        assert number(lecture) == before, "a key meant for the widget has turned the slide"
        focus.send_keys(Keys.PAGE_DOWN)
        assert number(lecture) == before + 1 or before == len(lecture.find_elements("css selector", ".slide"))


@pytest.mark.parametrize("zoom", [None, 0.7, 1.6])
def test_dragged_point_stays_under_the_pointer(lecture: WebDriver, zoom: float | None) -> None:
    show_widget(lecture, ".arl-toy")
    if zoom:
        lecture.execute_script(
            "document.querySelector('.slide.current .widget-area').style.zoom = arguments[0]", zoom
        )
    x, y, width, height = box(lecture, "[data-arl-handle=query0] .arl-toy-mark")
    start = (x + width / 2, y + height / 2)
    drag(lecture, start, (start[0] - 20, start[1] - 10), (start[0] - 60, start[1] - 30))
    x, y, width, height = box(lecture, "[data-arl-handle=query0] .arl-toy-mark")
    assert (x + width / 2, y + height / 2) == pytest.approx((start[0] - 60, start[1] - 30), abs=4)


def test_map_is_hit_where_the_pointer_is(lecture: WebDriver) -> None:
    show_widget(lecture, ".arl-root")
    for zoom in (None, 0.6, 1, 1.5):
        if zoom:
            lecture.execute_script(
                "document.querySelector('.slide.current .widget-area').style.zoom = arguments[0]", zoom
            )
        for row, column in ((1, 2), (3, 6), (6, 3)):
            lecture.execute_script(INTO_VIEW)
            right, down, query, wide = lecture.execute_script(CENTRE, row, column)
            x, y, width, _ = box(lecture, ".arl-map canvas")
            drag(lecture, (x + right * width / wide, y + down * width / wide))
            assert lecture.execute_script(SELECTED)["query"] == query, f"zoom {zoom}"


def test_escape_gives_the_keys_back(lecture: WebDriver) -> None:
    show_widget(lecture, "[tabindex='0']:is(.arl-map, .arl-toy-handle)")
    focus = lecture.find_element(
        "css selector", ".slide.current :is(.arl-map, .arl-toy-handle)[tabindex='0']"
    )
    before, panel = number(lecture), lecture.find_element("id", "panel")
    lecture.execute_script("arguments[0].focus()", focus)
    press(lecture, "o")
    assert panel.is_displayed() and lecture.switch_to.active_element == focus
    press(lecture, "o")
    press(lecture, Keys.ARROW_RIGHT)
    assert number(lecture) == before
    press(lecture, Keys.ESCAPE)
    press(lecture, Keys.ARROW_RIGHT)
    assert number(lecture) == before + 1
