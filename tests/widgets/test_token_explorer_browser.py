"""TokenExplorer in headless Chromium: its numbers are Python's, and mouse, finger and keys choose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite import open_sample
from atmorep_lite.widgets import TokenExplorer
from tests.browser import console_errors, settle, touch
from tests.widgets.explorer_page import hooks_of, like_a_kernel, open_page, press, quiet_page, wait_for

ROOT = "document.querySelector('.arl-token')"
_, selected = hooks_of(ROOT)


@pytest.fixture(scope="module")
def explorer() -> TokenExplorer:
    """Two fields, one of them with gaps."""
    data = open_sample()[["temperature", "vorticity"]].isel(time=slice(0, 12)).load()
    data["vorticity"][2:5, 1, 3:9, 10:30] = np.nan
    return TokenExplorer(data, ("temperature", "vorticity"), steps=6, token_size=(3, 4, 8), title="Tokens")


@pytest.fixture(scope="module")
def page(explorer: TokenExplorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explorer.to_html(tmp_path_factory.mktemp("tokens") / "tokens.html")


@pytest.fixture
def driver(browser: WebDriver, page: Path) -> Iterator[WebDriver]:
    with quiet_page(browser, page.as_uri(), ROOT):
        yield browser


def agrees(driver: WebDriver, explorer: TokenExplorer) -> None:
    """Page and Python have the same numbers, token and information for what the page has selected."""
    explorer.selected = selected(driver)
    numbers, token = explorer.numbers(), explorer.token()
    page = driver.execute_script(f"return {ROOT}.arl.numbers()")
    assert tuple(page["grid"]) == numbers.grid
    assert [page[name] for name in ("tokens", "values", "pairs", "bytes")] == list(numbers[1:5])
    assert page["survives"] == pytest.approx(numbers.survives, abs=1e-5)
    two, both = driver.execute_script(f"return {ROOT}.arl.twoSizes()"), explorer.two_sizes()
    assert tuple(two["coarse"]) == both.coarse and two["tokens"] == both.tokens
    assert two["survives"] == pytest.approx(both.survives, abs=1e-5)
    there = driver.execute_script(f"return {ROOT}.arl.token()")
    assert there["index"] == token.index and tuple(there["place"]) == token.place
    values = np.array([np.nan if v is None else v for v in there["values"]]).reshape(token.values.shape)
    span = np.nanmax(np.abs(explorer._values()))
    assert np.allclose(values, token.values, atol=1e-4 * span, equal_nan=True)
    for name, value in there["told"].items():
        assert value == pytest.approx(token.info[name], abs=1e-4), name


def shown_numbers(driver: WebDriver) -> list[str]:
    return [e.text for e in driver.find_elements(By.CSS_SELECTOR, ".arl-token-value")]


def test_numbers_are_those_of_python(driver: WebDriver, explorer: TokenExplorer) -> None:
    agrees(driver, explorer)
    for wish in (
        {"token_time": 1, "token_latitude": 2, "token_longitude": 2},
        {"kind": "departures", "level": 850, "token_time": 6},
        {"field": "vorticity", "level": 700, "row": 5, "column": 15, "step": 3},
        {"token_latitude": 16, "token_longitude": 64, "view": "lost"},
        {"kind": "values", "token_time": 2, "token_latitude": 1, "view": "means"},
        {"level": 500, "row": 31, "column": 63, "view": "order"},
    ):
        driver.execute_script(f"{ROOT}.arl.choose(arguments[0])", wish)
        agrees(driver, explorer)


def test_the_numbers_are_written(driver: WebDriver, explorer: TokenExplorer) -> None:
    explorer.selected = selected(driver)
    numbers = explorer.numbers()
    tokens, values, pairs, memory, survives = shown_numbers(driver)
    assert tokens == f"{numbers.tokens:,}" == "384"
    assert values == str(numbers.values) == "96"
    assert pairs == f"{numbers.pairs:,}" == "147,456"
    assert memory.replace("\xa0", " ") == "590 kB" and numbers.matrix_bytes == 589_824
    assert survives.replace("\xa0", " ") == f"{100 * numbers.survives:.0f} %"


def test_every_size_is_weighed(driver: WebDriver, explorer: TokenExplorer) -> None:
    """The plot has all sizes that divide the piece, with Python's numbers; a press chooses one."""
    every = wait_for(
        lambda: len(sizes := driver.execute_script(f"return {ROOT}.arl.allSizes()")) == 4 * 6 * 7 and sizes
    )
    names = ("token_time", "token_latitude", "token_longitude")
    start = selected(driver)
    for one in every[:: len(every) // 7]:
        explorer.selected = start | dict(zip(names, one["size"], strict=True))
        assert explorer.numbers().tokens == one["tokens"]
        assert explorer.numbers().survives == pytest.approx(one["survives"], abs=1e-5)
    best = driver.execute_script(f"return {ROOT}.arl.best()")
    explorer.selected = start | dict(zip(names, best, strict=True))
    as_few = max(one["survives"] for one in every if one["tokens"] <= 384)
    assert explorer.numbers().survives == pytest.approx(as_few, abs=1e-5)
    dot = driver.find_elements(By.CSS_SELECTOR, ".arl-token-dot")[-1]  # one token that holds all
    ActionChains(driver).move_to_element(dot).click().perform()
    assert [selected(driver)[name] for name in names] == [6, 32, 64]
    agrees(driver, explorer)


def place_on_map(driver: WebDriver, row: float, column: float) -> ActionChains:
    """The pointer goes to a grid point, counted from the north-western corner."""
    found = driver.find_element(By.CSS_SELECTOR, ".arl-token-map canvas")
    driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", found)
    width, height = (found.size[side] for side in ("width", "height"))
    inner = width - 48  # margins 38 and 10 of the map; 7 above it
    x = 38 + (column + 0.5) / 64 * inner
    y = 7 + (row + 0.5) / 32 * round(inner / 2)
    offset = round(x - width / 2), round(y - height / 2)
    return ActionChains(driver).move_to_element_with_offset(found, *offset)


def test_the_mouse_chooses_a_token(driver: WebDriver, explorer: TokenExplorer) -> None:
    place_on_map(driver, 13, 42).click().perform()
    assert (selected(driver)["row"] // 4, selected(driver)["column"] // 8) == (3, 5)
    agrees(driver, explorer)
    tip = driver.find_element(By.CSS_SELECTOR, ".arl-token-tip").text
    index = driver.execute_script(f"return {ROOT}.arl.token().index")
    value = float(open_sample().temperature.values[5, 0, 13, 42])
    assert f"token {index}" in tip and tip.startswith(f"{value:.1f}")
    strip = driver.find_element(By.CSS_SELECTOR, ".arl-token-sequence")
    ActionChains(driver).move_to_element_with_offset(strip, 5, 30).click().perform()
    after = selected(driver)
    assert (after["level"], after["row"], after["column"]) != (500, 12, 40)
    agrees(driver, explorer)


def test_a_finger_chooses_a_token(driver: WebDriver, explorer: TokenExplorer) -> None:
    before = selected(driver)
    touch(driver, driver.find_element(By.CSS_SELECTOR, ".arl-token-map canvas"), at=(0.2, 0.6))
    assert selected(driver)["column"] != before["column"]
    agrees(driver, explorer)


def test_keys_move_the_choice(driver: WebDriver, explorer: TokenExplorer) -> None:
    found = driver.find_element(By.CSS_SELECTOR, ".arl-token-map")
    start = driver.execute_script(f"return {ROOT}.arl.token().place")
    for key, change in (
        (Keys.ARROW_RIGHT, (0, 0, 0, 1)),
        (Keys.ARROW_DOWN, (0, 0, 1, 0)),
        (Keys.ARROW_LEFT, (0, 0, 0, -1)),
        (Keys.ARROW_UP, (0, 0, -1, 0)),
        (",", (0, -1, 0, 0)),
        (".", (0, 1, 0, 0)),
        ("]", (1, 0, 0, 0)),
    ):
        found.send_keys(key)
        start = [n + d for n, d in zip(start, change, strict=True)]
        settle(driver)
        assert driver.execute_script(f"return {ROOT}.arl.token().place") == start
    found.send_keys(Keys.ARROW_UP * 20)
    settle(driver)
    assert driver.execute_script(f"return {ROOT}.arl.token().place")[2] == 0
    agrees(driver, explorer)


def test_controls_choose(driver: WebDriver, explorer: TokenExplorer) -> None:
    press(driver, "Times", "1")
    assert selected(driver)["token_time"] == 1
    assert shown_numbers(driver)[0] == "1,152"
    press(driver, "Show", "order")
    press(driver, "Values", "departures")
    press(driver, "Field", "relative vorticity")
    agrees(driver, explorer)
    driver.find_elements(By.CSS_SELECTOR, ".arl-token-step")[2].click()
    assert selected(driver)["step"] == 2
    driver.find_elements(By.CSS_SELECTOR, ".arl-token-card")[0].click()
    assert [selected(driver)[f"token_{axis}"] for axis in ("time", "latitude", "longitude")] == [2, 2, 2]
    agrees(driver, explorer)
    patches = driver.find_elements(By.CSS_SELECTOR, ".arl-token-patch")
    assert len(patches) == 2  # one for each time of the token


def test_python_moves_the_view(
    browser: WebDriver, page: Path, explorer: TokenExplorer, tmp_path: Path
) -> None:
    open_page(browser, like_a_kernel(page, tmp_path), ROOT)
    wish = selected(browser) | {"field": "vorticity", "token_latitude": 8, "view": "lost"}
    browser.execute_script("model.set('selected', arguments[0]); window['change:selected']()", wish)
    agrees(browser, explorer)
    browser.find_element(By.CSS_SELECTOR, ".arl-token-map").send_keys(Keys.ARROW_LEFT)
    settle(browser)
    assert browser.execute_script("return model.get('selected')") == selected(browser) != wish


def test_a_fault_is_shown(browser: WebDriver, page: Path, tmp_path: Path) -> None:
    """As a notebook would show it: the message in the widget, no picture, no error."""
    fault = TokenExplorer(steps=99).fault
    text = page.read_text(encoding="utf-8")
    text = text.replace('"title":"Tokens"', f'"title":"Tokens","fault":"{fault}"', 1)
    (tmp_path / "fault.html").write_text(text, encoding="utf-8")
    browser.get((tmp_path / "fault.html").as_uri())
    shown = wait_for(lambda: browser.find_element(By.CSS_SELECTOR, ".arl-fault").text)
    assert shown == fault
    assert console_errors(browser) == []


@pytest.mark.parametrize("kind", ["one row", "one time", "no value", "constant", "one token"])
def test_odd_pieces_are_drawn(browser: WebDriver, tmp_path: Path, kind: str) -> None:
    data = open_sample()[["temperature"]].isel(time=slice(0, 2), level=[0]).load()
    options: dict[str, Any] = {"steps": 2, "token_size": (2, 1, 4)}
    if kind == "one row":
        options["latitude"] = (40, 45)
    if kind == "one time":
        options |= {"steps": 1, "token_size": (1, 8, 8)}
    if kind == "one token":
        options["token_size"] = (2, 32, 64)
    if kind in ("no value", "constant"):
        data["temperature"][:] = np.nan if kind == "no value" else 250.0
    explorer = TokenExplorer(data, "temperature", **options)
    open_page(browser, explorer.to_html(tmp_path / "odd.html").as_uri(), ROOT)
    for view in ("values", "means", "lost", "order"):
        browser.execute_script(f"{ROOT}.arl.choose({{ view: '{view}', kind: 'departures' }})")
        settle(browser)
    assert browser.execute_script(f"return {ROOT}.dataset.arlFault") is None
    explorer.selected = selected(browser)
    survives = browser.execute_script(f"return {ROOT}.arl.numbers().survives")
    there = np.nan if survives is None else survives
    assert np.isclose(there, explorer.numbers().survives, atol=1e-4, equal_nan=True)
    assert console_errors(browser) == []


@pytest.mark.parametrize("view", ["values", "means", "lost", "order"])
def test_redraws_within_50_ms(driver: WebDriver, view: str) -> None:
    """Also where every grid point is a token."""
    wish = {"view": view, "token_time": 1, "token_latitude": 1, "token_longitude": 1}
    driver.execute_script(f"{ROOT}.arl.choose(arguments[0])", wish)
    times = driver.execute_script(f"return Array.from({{ length: 15 }}, () => {ROOT}.arl.redraw())")
    assert np.median(times) < 50
