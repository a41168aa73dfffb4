"""What every explorer must do in a browser: be quick, reachable by keys, finger and screen reader, and fit.

Each explorer that `atmorep_lite.widgets` exports is tested with its line of `instances.INSTANCES`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite import widgets
from atmorep_lite.errors import UserError
from atmorep_lite.widgets.explorer import Content, Explorer
from atmorep_lite.widgets.page import write_page
from tests.browser import (
    check_accessible,
    console_errors,
    external_requests,
    overflow,
    screenshots,
    set_view,
    settle,
    touch,
)
from tests.widgets.explorer_page import open_page, wait_for
from tests.widgets.instances import INSTANCES

ROOT = "document.querySelector('.arl-widget')"
# What the Tab key must reach: of a group of radio buttons one, nothing that is off, out of sight or skipped.
REACHABLE = """
const groups = new Set();
const controls = '.arl-widget :is(a[href], button, input, select, summary, [tabindex])';
return [...document.querySelectorAll(controls)].filter((e) => {
  if (e.disabled || e.closest('fieldset:disabled') || e.tabIndex < 0) return false;
  if (!e.checkVisibility({ visibilityProperty: true })) return false;
  if (e.type !== 'radio') return true;
  const first = !groups.has(e.name);
  groups.add(e.name);
  return first;
}).map((e) => (e.type === 'radio' ? e.name : (window.reachable ??= []).push(e) - 1));
"""
# What has the focus, and how that looks: its own outline and those of what it marks.
FOCUSED = """
const look = (e) => [e, e.nextElementSibling, ...e.querySelectorAll('*')].filter(Boolean).map((part) => {
  const { outline, boxShadow, stroke, strokeWidth, borderColor, opacity } = getComputedStyle(part);
  return [outline, boxShadow, stroke, strokeWidth, borderColor, opacity].join();
}).join(';');
const e = document.activeElement;
const left = window.left && window.left !== e ? look(window.left) : null;
window.left = e;
if (e.closest('.arl-widget') === null) return [null, '', left, ''];
return [e.type === 'radio' ? e.name : window.reachable.indexOf(e), look(e), left, e.outerHTML.slice(0, 120)];
"""

# Pictures and controls without a name: label, title, text of their own, or the picture that they are part of.
NAMELESS = """
const wanted = 'canvas, svg, img, [role=img], input, select, button, [tabindex]';
return [...document.querySelectorAll(`.arl-widget :is(${wanted}), .arl-widget`)].filter((e) => {
  if (e.closest('[aria-hidden=true]') || !e.checkVisibility()) return false;
  const named = e.ariaLabel || e.title || e.alt || e.labels?.length || e.querySelector(':scope > title');
  const inside = e.parentElement.closest('svg, [role=img]')?.ariaLabel;
  return !named && !inside && !(e.textContent.trim() && !/^(canvas|svg|img)$/i.test(e.tagName));
}).map((e) => e.outerHTML.slice(0, 160));
"""

# Where every element of the widget lies, and in which colours.
LOOKS = """
const round = (x) => Math.round(x * 10) / 10;
return [...document.querySelectorAll('.arl-widget, .arl-widget *')].map((e) => {
  const { left, top, width, height } = e.getBoundingClientRect();
  const { color, backgroundColor, fill, stroke, borderTopColor, fontWeight, opacity } = getComputedStyle(e);
  return [e.tagName, e.getAttribute('class'), ...[left, top, width, height].map(round),
    color, backgroundColor, fill, stroke, borderTopColor, fontWeight, opacity].join(' ');
});
"""


@pytest.fixture(scope="module", params=sorted(INSTANCES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def explorer(name: str) -> Explorer:
    return INSTANCES[name].make()


@pytest.fixture(scope="module")
def page(name: str, explorer: Explorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explorer.to_html(tmp_path_factory.mktemp(name.replace(", ", "-")) / "page.html")


@pytest.fixture
def driver(browser: WebDriver, page: Path) -> Iterator[WebDriver]:
    open_page(browser, page.as_uri(), ROOT)
    yield browser
    assert console_errors(browser) == []


def seen(driver: WebDriver) -> Any:
    """All that the page tells: what is selected, the words for screen readers, the visible text."""
    return driver.execute_script(
        f"return [{ROOT}.arl.selected(), {ROOT}.arl.words(), {ROOT}.innerText,"
        f" [...{ROOT}.querySelectorAll('[aria-pressed]')].map((e) => e.ariaPressed)]"
    )


def test_every_explorer_has_its_line() -> None:
    exported = {n for n in widgets.__all__ if isinstance(getattr(widgets, n), type)}
    named = {name.partition(",")[0] for name in INSTANCES}
    assert exported | {"ZonalMean"} == named, "and the example that the book shows"
    assert all(issubclass(getattr(widgets, name), Explorer) for name in exported)


def test_draws_soon_and_asks_no_server(browser: WebDriver, page: Path) -> None:
    """Within 2 s of being asked for; the better of two times, as other programs may run."""
    external_requests(browser), console_errors(browser)
    took = []
    for _ in range(2):
        started = time.monotonic()
        open_page(browser, page.as_uri(), ROOT)
        took.append(time.monotonic() - started)
    assert min(took) < 2
    assert external_requests(browser) == []
    assert console_errors(browser) == []


def test_redraws_within_50_ms(driver: WebDriver) -> None:
    times = driver.execute_script(f"return Array.from({{ length: 9 }}, () => {ROOT}.arl.redraw())")
    assert np.median(times) < 50


def test_keys_reach_every_control_and_the_focus_is_seen(driver: WebDriver) -> None:
    wanted = set(driver.execute_script(REACHABLE))
    reached: dict[Any, tuple[str, str]] = {}
    unseen = []
    before: Any = None
    for _ in range(len(wanted) + 5):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        name, look, left, html = driver.execute_script(FOCUSED)
        if before in reached and reached[before][0] == left:
            unseen.append(reached[before][1])
        if name in reached:
            break
        if name is not None:
            reached[name] = (look, html)
        before = name
    missed = driver.execute_script(
        "return arguments[0].map((i) => window.reachable[i]?.outerHTML.slice(0, 120) ?? i)",
        sorted(wanted - set(reached), key=str),
    )
    assert missed == [], "not reached by the Tab key"
    assert unseen == [], "focus does not show"
    assert wanted, "nothing to operate"


def test_a_finger_changes_something(driver: WebDriver, name: str) -> None:
    instance = INSTANCES[name]
    before = seen(driver)
    found = driver.find_element("css selector", f".arl-widget {instance.touch}")
    touch(driver, found, *([] if instance.drag is None else [instance.drag]), at=instance.at)
    wait_for(lambda: seen(driver) != before, 5)


def test_what_is_seen_is_told_in_words(driver: WebDriver) -> None:
    """Screen readers hear numbers; every picture and control has a name."""
    words = driver.execute_script(f"return {ROOT}.arl.words()")
    assert re.search(r"\d", words) and len(words.split()) >= 5
    nameless = driver.execute_script(NAMELESS)
    assert nameless == []
    pictures = driver.execute_script(
        "return [...document.querySelectorAll('.arl-widget :is(canvas, svg, [role=img])')]"
        ".map((e) => e.closest('[aria-label]')?.ariaLabel).filter(Boolean)"
    )
    assert any(re.search(r"\d", text) for text in pictures), "no picture tells its numbers"
    foreign = driver.execute_script(
        "return [...document.querySelectorAll('.arl-widget, .arl-widget *')]"
        ".flatMap((e) => [...e.classList]).filter((name) => !name.startsWith('arl-'))"
    )
    assert foreign == [], "class names that a page around may style"


def test_accessible_in_both_schemes_and_fits_every_width(browser: WebDriver, name: str, page: Path) -> None:
    try:
        for dark in (False, True):
            set_view(browser, 420, dark=dark)
            open_page(browser, page.as_uri(), ROOT)
            scheme = browser.execute_script(f"return {ROOT}.dataset.arlScheme")
            assert scheme == ("dark" if dark else "light")
            assert overflow(browser) == 0, "scrolls sideways at 420 px"
            check_accessible(browser)
        set_view(browser, 1920, 1080, dark=True)
        settle(browser)
        settle(browser)
        assert overflow(browser) == 0, "scrolls sideways at 1920 px"
        screenshots(browser, name.replace(", ", "-"), widths=(420, 1280))
    finally:
        set_view(browser, 1200, 900)
    assert console_errors(browser) == []


def test_sheets_of_the_others_change_nothing(driver: WebDriver, explorer: Explorer) -> None:
    """On one page of a book every kind of explorer brings its own style sheet."""
    # A network is waited for, ten steps: until they are there, its maps are pale and its chart grows.
    wait_for(lambda: driver.execute_script(f"return ({ROOT}.arl.computed?.() ?? 10) >= 10"), 40)
    settle(driver)
    before = driver.execute_script(LOOKS)
    others = {getattr(widgets, name) for name in widgets.__all__} - {type(explorer)}
    driver.execute_script(
        "for (const text of arguments[0]) document.head.append(Object.assign(document.createElement('style'),"
        " { textContent: text }))",
        [str(other._css) for other in others],
    )
    settle(driver)
    after = driver.execute_script(LOOKS)
    changed = [f"{old}\n -> {new}" for old, new in zip(before, after, strict=True) if old != new]
    assert not changed, f"{len(changed)} elements look different\n" + "\n".join(changed[:6])


def test_the_page_weighs_what_is_said(name: str, explorer: Explorer, page: Path) -> None:
    assert page.stat().st_size == explorer.page_bytes
    assert explorer.page_bytes <= 1000 * INSTANCES[name].kilobytes


def test_a_mistake_is_told_in_the_widget(browser: WebDriver, explorer: Explorer, tmp_path: Path) -> None:
    def make() -> Content:
        raise UserError("The capture holds no attention: give one with at least one layer.")

    kind = type(explorer)
    wrong = kind.__new__(kind)
    Explorer.__init__(wrong, make, title="A mistake")
    with pytest.raises(UserError, match="holds no attention"):
        Explorer.to_html(wrong, tmp_path / "never.html")
    assert not (tmp_path / "never.html").exists()
    page = write_page(tmp_path / "fault.html", wrong._page_text(b""))
    browser.get(page.as_uri())
    told = wait_for(
        lambda: browser.find_elements("css selector", ".arl-widget[data-arl-fault] [role=alert]"), 5
    )
    assert told[0].text == wrong.fault and told[0].is_displayed()
    assert console_errors(browser) == []
