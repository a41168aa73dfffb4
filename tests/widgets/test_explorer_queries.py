"""Two pinned queries and their difference, and the cursor that marks one place on all maps."""

from __future__ import annotations

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.widgets import AttentionExplorer
from tests.browser import console_errors
from tests.widgets.explorer_page import ROOT, card, point_at, press, selected, settle
from tests.widgets.synthetic import LATITUDE, LONGITUDE, NAMES

A, B = ("vorticity", 700), ("temperature", 123)


def results(driver: WebDriver, field: str) -> dict:
    found = driver.execute_script(
        f"const r = {ROOT}.arl.results('{field}'); const a = (x) => x && [...x];"
        "return { mode: r.mode, row: a(r.row), against: a(r.against), shown: a(r.shown) }"
    )
    return {name: np.array(value) if isinstance(value, list) else value for name, value in found.items()}


def test_two_pins_and_their_difference(driver: WebDriver, explorer: AttentionExplorer) -> None:
    for letter, (field, query) in (("A", A), ("B", B)):
        driver.execute_script(f"{ROOT}.arl.choose(arguments[0])", {"query_field": field, "query": query})
        driver.find_element(By.CSS_SELECTOR, f'[aria-label="Pin the query as {letter}"]').click()
        settle(driver)
    state = selected(driver)
    assert state["pin_a"] == dict(zip(("query_field", "query"), A, strict=True))
    assert state["show"] == "A minus B"  # the second pin shows what differs
    layer = state["layer"]
    ours, theirs = explorer.weights(*A, layer), explorer.weights(*B, layer)
    for field in ("vorticity", "temperature"):
        found = results(driver, field)
        assert found["mode"] == "minus"
        difference = (ours[field] - theirs[field]).ravel()
        assert np.allclose(found["shown"], difference, atol=1e-3 * ours[field].max())
    # temperature does not look at humidity: no difference there, and the map says so
    message = card(driver, "specific_humidity").find_element(By.CSS_SELECTOR, ".arl-message").text
    assert message == "no coupling from temperature to specific humidity in this model"
    caption = card(driver, "temperature").find_element(By.CSS_SELECTOR, ".arl-caption").text
    assert caption.startswith("A: relative vorticity attends to temperature") and "(B: " in caption
    press(driver, "Show", "B")
    assert np.allclose(results(driver, "vorticity")["row"], theirs["vorticity"].ravel(), atol=1e-4)
    press(driver, "Show", "query")
    assert selected(driver)["query_field"] == "temperature"
    assert console_errors(driver) == []


def test_keys_pin_and_escape_returns(driver: WebDriver) -> None:
    focus = card(driver, selected(driver)["query_field"]).find_element(By.CSS_SELECTOR, ".arl-map")
    query = selected(driver)["query"]
    focus.send_keys("a")
    focus.send_keys("\ue012")  # left
    focus.send_keys("b")
    settle(driver)
    state = selected(driver)
    assert (state["pin_a"]["query"], state["pin_b"]["query"]) == (query, query - 1)
    assert state["show"] == "A minus B"
    focus.send_keys("\ue00c")  # Escape
    assert selected(driver)["show"] == "query"


@pytest.mark.parametrize("locked", [True, False])
def test_one_place_is_marked_on_all_maps_with_its_number(
    driver: WebDriver, explorer: AttentionExplorer, locked: bool
) -> None:
    driver.execute_script(
        f"{ROOT}.arl.choose({{ query_field: 'vorticity', query: 700 }}, {{ lock: {str(locked).lower()} }})"
    )
    settle(driver)
    before = driver.execute_script(
        "return [...document.querySelectorAll('canvas')].map((c) => c.toDataURL())"
    )
    point_at(driver, "temperature", LATITUDE[3], LONGITUDE[9]).perform()
    settle(driver)
    after = driver.execute_script("return [...document.querySelectorAll('canvas')].map((c) => c.toDataURL())")
    maps = driver.execute_script("return [...document.querySelectorAll('.arl-map canvas')].length")
    assert all(a != b for a, b in zip(before[:maps], after[:maps], strict=True))
    state = selected(driver)
    rows = explorer.weights("vorticity", 700, state["layer"])
    slot = [500.0, 850.0].index(state["key_level"]), [-24.0, -12.0, 0.0].index(state["key_hours"])
    for field in NAMES:
        tip = card(driver, field).find_element(By.CSS_SELECTOR, ".arl-tip")
        assert tip.is_displayed()
        assert float(tip.text.split()[0]) == pytest.approx(
            100 * rows[field][(*slot, 3, 9)], rel=0.06, abs=2e-3
        )
        assert (tip.get_attribute("data-arl-brief") == "true") == (field != "temperature")
    assert console_errors(driver) == []


def test_pins_are_checked_in_python(capture: AttentionCapture) -> None:
    explorer = AttentionExplorer(capture)
    pins = {
        "pin_a": {"query_field": "temperature", "query": np.int64(5)},
        "pin_b": {"query_field": "vorticity", "query": 6},
    }
    explorer.selected = {**pins, "show": "A minus B"}
    assert explorer.selected["show"] == "A minus B"
    explorer.selected = {"query": 9}
    assert explorer.selected["show"] == "query"
