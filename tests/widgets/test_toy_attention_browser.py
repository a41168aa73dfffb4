"""ToyAttention in headless Chromium: it draws, is moved by mouse, finger and keys, and agrees with Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from atmorep_lite.widgets import ToyAttention
from tests.browser import console_errors, external_requests, overflow, set_view, touch
from tests.widgets.explorer_page import like_a_kernel, open_page, press, settle, wait_for

TOY = "document.querySelector('.arl-toy')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    toy = ToyAttention(title="Attention in the plane", caption="Made for a test.")
    return toy.to_html(tmp_path_factory.mktemp("toy") / "toy.html")


@pytest.fixture
def driver(browser: WebDriver, page: Path) -> Iterator[WebDriver]:
    open_page(browser, page.as_uri(), TOY)
    yield browser
    assert console_errors(browser) == []


def selected(driver: WebDriver) -> dict[str, Any]:
    settle(driver)
    return driver.execute_script(f"return {TOY}.arl.selected()")


def handle(driver: WebDriver, name: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, f'[data-arl-handle="{name}"]')


def shown_weights(driver: WebDriver) -> list[float]:
    cells = driver.find_elements(By.CSS_SELECTOR, ".arl-toy-weight .arl-toy-value")
    return [float(cell.text) for cell in cells]


def agrees(driver: WebDriver) -> None:
    """Page and Python have the same numbers for what the page has selected."""
    toy = ToyAttention(**selected(driver))
    page = driver.execute_script(f"return {TOY}.arl.numbers()")
    assert np.allclose(page["weights"], toy.weights(), atol=1e-12)
    assert np.allclose(page["output"], toy.output(), atol=1e-12)
    assert np.allclose(page["g"], toy.matrix(), atol=1e-12)
    assert np.allclose(shown_weights(driver), toy.weights(), atol=6e-4)


def test_draws_and_asks_no_server(driver: WebDriver) -> None:
    assert len(driver.find_elements(By.CSS_SELECTOR, ".arl-toy-handle")) == 5
    bars = driver.find_elements(By.CSS_SELECTOR, ".arl-toy-weight .arl-toy-bar")
    heights = np.array([bar.size["height"] for bar in bars])
    assert np.allclose(heights / heights.sum(), ToyAttention().weights(), atol=0.05)
    agrees(driver)
    assert external_requests(driver) == []


@pytest.mark.parametrize("name", ["query0", "keys2"])
def test_the_mouse_drags(driver: WebDriver, name: str) -> None:
    before = selected(driver)
    box = driver.execute_script(
        "return document.querySelector('.arl-toy-plane').getBoundingClientRect().width"
    )
    ActionChains(driver).drag_and_drop_by_offset(handle(driver, name), -60, 45).perform()
    after = selected(driver)
    old, new = (s["query"] if name == "query0" else s["keys"][2] for s in (before, after))
    assert np.allclose(np.array(new) - old, np.array([-60, -45]) * 6 / box, atol=0.03)
    agrees(driver)
    ActionChains(driver).drag_and_drop_by_offset(handle(driver, name), 0, 400).perform()
    moved = selected(driver)
    assert (moved["query"] if name == "query0" else moved["keys"][2])[1] == -3  # the edge holds


def test_a_finger_drags(driver: WebDriver) -> None:
    found = handle(driver, "keys0")
    touch(driver, found, (-40, -70))
    assert selected(driver)["keys"][0][1] > 0
    agrees(driver)


def test_keys_move_the_points(driver: WebDriver) -> None:
    x, y = selected(driver)["query"]
    query = handle(driver, "query0")
    for keys, change in (
        ([Keys.ARROW_RIGHT], (0.1, 0)),
        ([Keys.ARROW_UP], (0, 0.1)),
        ([Keys.SHIFT, Keys.ARROW_LEFT], (-0.5, 0)),
        ([Keys.SHIFT, Keys.ARROW_DOWN], (0, -0.5)),
    ):
        query.send_keys(*keys)
        x, y = x + change[0], y + change[1]
        assert np.allclose(selected(driver)["query"], [x, y])
    driver.switch_to.active_element.send_keys(Keys.TAB)
    assert driver.switch_to.active_element.get_attribute("aria-label") == "key a"
    driver.switch_to.active_element.send_keys(Keys.ARROW_UP)
    assert selected(driver)["keys"][0] == pytest.approx([1.8, -0.5])
    assert handle(driver, "keys0").get_attribute("aria-valuetext").startswith("(1.80, −0.50), weight 0.")
    agrees(driver)


def test_controls_choose(driver: WebDriver) -> None:
    press(driver, "Matrix G", "turn")
    assert selected(driver)["form"] == "turn"
    agrees(driver)
    driver.find_element(By.CSS_SELECTOR, 'input[aria-label="Angle of G"]').send_keys(Keys.ARROW_LEFT * 4)
    assert selected(driver)["angle"] == 70
    press(driver, "Matrix G", "stretch")
    agrees(driver)
    driver.find_element(By.CSS_SELECTOR, 'input[aria-label="Temperature"]').send_keys(Keys.ARROW_LEFT * 16)
    assert selected(driver)["temperature"] == pytest.approx(0.25)
    press(driver, "Values", "their own")
    assert len(driver.find_elements(By.CSS_SELECTOR, ".arl-toy-handle")) == 9
    ActionChains(driver).drag_and_drop_by_offset(handle(driver, "values1"), 50, -30).perform()
    agrees(driver)
    press(driver, "Values", "the keys")
    assert selected(driver)["values"] is None
    agrees(driver)


def row(driver: WebDriver, name: str) -> np.ndarray:
    """Numbers of one step, [key] or [key, component]."""
    cells = driver.find_elements(By.CSS_SELECTOR, f".arl-toy-{name} .arl-toy-value")
    return np.array([[float(x.replace("−", "-")) for x in cell.text.split()] for cell in cells]).squeeze()


def test_the_steps_are_worked_out(driver: WebDriver) -> None:
    """Dot product, scale, softmax and average, as one would compute them with NumPy."""
    chosen = {
        "form": "stretch",
        "angle": 35,
        "temperature": 2.0,
        "values": [[2, 0], [0, 2], [-1, 1], [1, -3]],
    }
    driver.execute_script(f"{TOY}.arl.choose(arguments[0])", chosen)
    toy = ToyAttention(**selected(driver))
    keys, values = (np.array(toy.selected[name]) for name in ("keys", "values"))
    products = keys @ (toy.matrix().T @ toy.selected["query"])
    scores = products / np.sqrt(2) / 2.0
    powers = np.exp(scores - scores.max())
    pieces = (powers / powers.sum())[:, None] * values
    for name, expected in (
        ("products", products),
        ("scores", scores),
        ("powers", powers),
        ("weights", powers / powers.sum()),
        ("pieces", pieces),
    ):
        assert np.allclose(row(driver, name), expected, atol=5.1e-3), name
    bars = driver.execute_script(
        "return [...document.querySelectorAll('.arl-toy-scores .arl-toy-bar')].map((e) =>"
        " (e.parentNode.getBoundingClientRect().top + e.parentNode.getBoundingClientRect().bottom) / 2"
        " - (e.getBoundingClientRect().top + e.getBoundingClientRect().bottom) / 2)"
    )
    assert (np.sign(np.round(bars)) == np.sign(np.round(2 * scores))).all(), "negative scores hang down"
    lengths = driver.execute_script(
        "return [...document.querySelectorAll('.arl-toy-sum line')].map((e) =>"
        " ['x1', 'y1', 'x2', 'y2'].map((name) => Number(e.getAttribute(name))))"
    )
    ends = np.cumsum(pieces, axis=0)
    begins = np.vstack([[0, 0], ends[:-1]])
    assert np.allclose(lengths, 210 + 70 * np.hstack([begins * [1, -1], ends * [1, -1]])), "end to end"
    driver.find_element(By.CSS_SELECTOR, '[aria-label="work out key c"]').click()
    settle(driver)
    lines = [line.text for line in driver.find_elements(By.CSS_SELECTOR, ".arl-toy-line")]
    assert all(line.startswith("c:") for line in lines) and len(lines) == 5
    numbers = [float(x.replace("−", "-")) for x in re.findall(r"−?[\d.]+", lines[0])]
    assert numbers[0] * numbers[1] + numbers[2] * numbers[3] == pytest.approx(numbers[4], abs=0.03)
    assert numbers[4] == pytest.approx(products[2], abs=5.1e-3)


def test_the_weights_are_told(driver: WebDriver) -> None:
    handle(driver, "query0").send_keys(Keys.ARROW_UP)
    told = wait_for(lambda: driver.find_element(By.CSS_SELECTOR, "[aria-live]").get_attribute("textContent"))
    weights = ToyAttention(**selected(driver)).weights()
    assert f"a {weights[0]:.2f}, b {weights[1]:.2f}" in told
    nameless = driver.execute_script(
        "return [...document.querySelectorAll('.arl-toy :is(input, svg, [tabindex])')]"
        ".filter((e) => !e.getAttribute('aria-label')).length"
    )
    assert nameless == 0
    prefixed = driver.execute_script(
        "return [...document.querySelectorAll('.arl-toy, .arl-toy *')]"
        ".every((e) => [...e.classList].every((name) => name.startsWith('arl-')))"
    )
    assert prefixed


def test_python_moves_the_view(browser: WebDriver, page: Path, tmp_path: Path) -> None:
    open_page(browser, like_a_kernel(page, tmp_path), TOY)
    wish = ToyAttention(form="turn", angle=-45, query=[0, 2], keys=[[1, 1], [2, 0]]).selected
    browser.execute_script("model.set('selected', arguments[0]); window['change:selected']()", wish)
    assert selected(browser) == wish
    agrees(browser)
    assert len(browser.find_elements(By.CSS_SELECTOR, ".arl-toy-handle")) == 3
    handle(browser, "query0").send_keys(Keys.ARROW_UP)
    settle(browser)
    assert browser.execute_script("return model.get('selected')")["query"] == [0, 2.1]


def test_redraws_within_50_ms(driver: WebDriver) -> None:
    times = driver.execute_script(f"return Array.from({{ length: 25 }}, () => {TOY}.arl.redraw())")
    assert np.median(times) < 50


@pytest.mark.parametrize(("width", "columns"), [(1200, 2), (420, 1)])
def test_columns_fit_the_width(driver: WebDriver, width: int, columns: int) -> None:
    set_view(driver, width)
    settle(driver)
    try:
        found = driver.execute_script(
            "return new Set([...document.querySelector('.arl-toy-parts').children]"
            ".map((e) => Math.round(e.getBoundingClientRect().left))).size"
        )
        assert found == columns and overflow(driver) == 0
    finally:
        set_view(driver, 1200, 900)
