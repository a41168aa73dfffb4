"""What the browser tests of the explorer share: open its page, point at places, read what it shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from tests.browser import (
    check_accessible,
    console_errors,
    external_requests,
    overflow,
    screenshots,
    set_view,
)
from tests.browser import settle as settle
from tests.widgets.synthetic import LATITUDE, LONGITUDE

SHAPE = (2, 3, 8, 16)
ROOT = "document.querySelector('.arl-root')"
# Distinct colours of each canvas, sampled on a grid of points.
COLOURS = """
return [...document.querySelectorAll('.arl-canvas')].map((canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let i = 0; i < data.length; i += 28) seen.add((data[i] << 16) + (data[i + 1] << 8) + data[i + 2]);
  return seen.size;
});
"""


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The condition's first true value; fails after a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("the page did not come to what was waited for")


def open_page(driver: WebDriver, url: str, root: str = ROOT) -> None:
    """Open an explorer's page and wait until it has drawn itself; ``root`` is JavaScript for its node."""
    driver.get(url)
    wait_for(lambda: driver.execute_script(f"return {root}?.dataset.arlDraws"))
    settle(driver)


def check_looks(driver: WebDriver, name: str, root: str) -> None:
    """Draws at once, fits on a telephone and is accessible in both schemes; its pictures are kept."""
    times = driver.execute_script(f"return Array.from({{ length: 9 }}, () => {root}.arl.redraw())")
    assert np.median(times) < 50
    try:
        for dark in (False, True):
            set_view(driver, 420, dark=dark)
            settle(driver)
            assert overflow(driver) == 0
            check_accessible(driver)
        screenshots(driver, name, widths=(420, 1280, 1920))
    finally:
        set_view(driver, 1200, 900)


@contextmanager
def quiet_page(driver: WebDriver, url: str, root: str) -> Iterator[WebDriver]:
    """A page, opened; afterwards it must have asked no server, and complained of nothing."""
    external_requests(driver)  # forget those before
    open_page(driver, url, root)
    yield driver
    assert console_errors(driver) == []
    assert external_requests(driver) == []


def hooks_of(root: str) -> tuple[Callable[..., Any], Callable[[WebDriver], dict[str, Any]]]:
    """Two functions of a driver: one calls a hook by name, one tells what is selected once it is drawn.

    ``ask(driver, "choose({ lead: arguments[0] })", 3)``; ``selected(driver)``.
    """

    def ask(driver: WebDriver, what: str, *given: Any) -> Any:
        return driver.execute_script(f"return {root}.arl.{what}", *given)

    def shown(driver: WebDriver) -> dict[str, Any]:
        settle(driver)
        return ask(driver, "selected()")

    return ask, shown


def like_a_kernel(page: Path, folder: Path) -> str:
    """Address of a copy of a page whose model tells of changes, as a kernel's does."""
    text = page.read_text(encoding="utf-8")
    for old, new in (
        ("  on() {},", "  on(name, callback) { window[name] = callback; },"),
        ("const model = {", "const model = window.model = {"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    copy = folder / "kernel.html"
    copy.write_text(text, encoding="utf-8")
    return copy.as_uri()


def selected(driver: WebDriver) -> dict[str, Any]:
    return driver.execute_script(f"return {ROOT}.arl.selected()")


def card(driver: WebDriver, field: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, f'.arl-card[data-arl-field="{field}"]')


def page_weights(driver: WebDriver, field: str) -> np.ndarray:
    return np.array(driver.execute_script(f"return [...{ROOT}.arl.weights('{field}')]")).reshape(SHAPE)


def point_at(driver: WebDriver, field: str, latitude: float, longitude: float) -> ActionChains:
    """Actions that end with the pointer on a place of a field's map, found from the frame's known edges."""
    found = card(driver, field).find_element(By.CSS_SELECTOR, ".arl-map")
    driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", found)
    width = driver.execute_script("return arguments[0].clientWidth", found)
    tall = driver.execute_script("return arguments[0].clientHeight", found)
    inner = width - 48  # margins 38 and 10 of the map; 7 above it
    west, north = LONGITUDE[0] - 5.625, LATITUDE[0] + 5.625
    x = 38 + (longitude - west) / 180 * inner
    y = 7 + (north - latitude) / 90 * inner / 2
    return ActionChains(driver).move_to_element_with_offset(found, round(x - width / 2), round(y - tall / 2))


def press(driver: WebDriver, group: str, button: str) -> None:
    """Click a button of the control labelled ``group``."""
    path = f"//fieldset[legend='{group}']//label[span='{button}']"
    driver.find_element(By.XPATH, path).click()
    settle(driver)
