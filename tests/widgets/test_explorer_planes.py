"""The explorer on a plane, and with one map per time: places, distances, words, and which token is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from atmorep_lite.errors import UserError
from atmorep_lite.widgets import AttentionExplorer
from tests.browser import console_errors, external_requests
from tests.widgets.explorer_page import ROOT, open_page, press, selected, settle
from tests.widgets.planes import BOX, STEP, TOKENS, UPSTREAM, peak_place, plane_capture

SHAPE = (1, 3, TOKENS, TOKENS)
ROW, COLUMN = 13, 2  # near two edges, so that maps continue at the opposite ones
# Colours [row of the page, column] in the middle of each token of each map.
MIDDLES = """
return [...document.querySelectorAll('.arl-map canvas')].map((canvas) => {
  const inner = canvas.width - 48;
  const { data } = canvas.getContext('2d').getImageData(38, 7, inner, inner);
  const at = (i) => Math.round(((i + 0.5) * inner) / 16);
  return Array.from({ length: 16 }, (_, r) => Array.from({ length: 16 }, (_, c) =>
    [...data.slice(4 * (at(r) * inner + at(c)), 4 * (at(r) * inner + at(c)) + 3)]));
});
"""


@pytest.fixture(scope="module")
def plane() -> AttentionExplorer:
    return AttentionExplorer(plane_capture(), panels="times", title="A periodic box")


@pytest.fixture(scope="module")
def plane_page(plane: AttentionExplorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plane.to_html(tmp_path_factory.mktemp("plane") / "plane.html")


@pytest.fixture
def driver(browser: WebDriver, plane_page: Path) -> WebDriver:
    open_page(browser, plane_page.as_uri())
    return browser


def choose(driver: WebDriver, **changes: object) -> None:
    driver.execute_script(f"{ROOT}.arl.choose(arguments[0])", changes)
    settle(driver)


def colours(driver: WebDriver) -> np.ndarray:
    """[map, row from the bottom, column, rgb] in the middle of each token."""
    return np.array(driver.execute_script(MIDDLES), dtype=float)[:, ::-1]


def time_card(driver: WebDriver, time: int) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, f'.arl-card[data-arl-time="{time}"]')


def point(driver: WebDriver, time: int, row: int, column: int) -> ActionChains:
    found = time_card(driver, time).find_element(By.CSS_SELECTOR, ".arl-map")
    driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", found)
    width, tall = driver.execute_script("return [arguments[0].clientWidth, arguments[0].clientHeight]", found)
    inner = width - 48
    x, y = 38 + (column + 0.5) / TOKENS * inner, 7 + (1 - (row + 0.5) / TOKENS) * inner
    return ActionChains(driver).move_to_element_with_offset(found, round(x - width / 2), round(y - tall / 2))


def test_peaks_are_where_they_were_put(plane: AttentionExplorer) -> None:
    for head in UPSTREAM:
        query = plane.token("vorticity", y=(ROW + 0.5) * STEP - BOX, x=(COLUMN + 0.5) * STEP)
        assert query == np.ravel_multi_index((0, 2, ROW, COLUMN), SHAPE)
        weights = plane.weights("vorticity", query, 1, head)["vorticity"]
        for slot, frame in enumerate((-2, -1, 0)):
            peak = np.unravel_index(weights[0, slot].argmax(), (TOKENS, TOKENS))
            assert peak == peak_place(head, frame, ROW, COLUMN)


def test_places_need_two_numbers(plane: AttentionExplorer) -> None:
    with pytest.raises(UserError, match="y and x"):
        plane.token("vorticity", y=1.0)


@pytest.mark.parametrize("head", [0, 1])
def test_maps_are_drawn_upright(driver: WebDriver, head: int) -> None:
    choose(driver, query=int(np.ravel_multi_index((0, 2, ROW, COLUMN), SHAPE)), layer=1, head=head)
    brightness = colours(driver).sum(-1)
    for time, frame in ((0, -2), (1, -1)):
        darkest = np.unravel_index(brightness[time].argmin(), (TOKENS, TOKENS))
        assert darkest == peak_place(head, frame, ROW, COLUMN)
    # one colour scale: the frame that holds most is darkest
    assert brightness[1].min() < brightness[0].min()


def test_values_are_drawn_upright(driver: WebDriver) -> None:
    choose(driver, view="field", query=0)
    seen = colours(driver)
    strength = (765 - seen.sum(-1)) * np.sign(seen[..., 0] - seen[..., 2])  # dark red to dark blue
    for time in range(3):
        red, blue = (np.unravel_index(f(strength[time]), (TOKENS, TOKENS)) for f in (np.argmax, np.argmin))
        positive = np.array([1.2, 1.4 + 0.3 * time]) / STEP - 0.5
        assert np.abs(np.subtract(red, positive)).max() <= 1
        assert np.abs(np.subtract(blue, np.array([5.0, 4.6]) / STEP - 0.5)).max() <= 1


def test_shares_distances_and_words(driver: WebDriver, plane: AttentionExplorer) -> None:
    query = int(np.ravel_multi_index((0, 2, ROW, COLUMN), SHAPE))
    choose(driver, query=query, layer=1, head=0)
    row = plane.weights("vorticity", query, 1, 0)["vorticity"][0]
    for time, frame in enumerate((-2, -1, 0)):
        up, right = UPSTREAM[0][frame]
        away = np.hypot(up, right) * STEP  # the shorter way, around two edges
        caption = (
            time_card(driver, time).find_element(By.CSS_SELECTOR, ".arl-caption").text.replace("\xa0", " ")
        )
        share, told = caption.split(" of this softmax. Strongest token: ")
        assert float(share.split()[0]) == pytest.approx(100 * row[time].sum(), rel=0.02)
        assert told.split(", ")[1] == (f"{away:.2f} away." if away else "at the query's place.")
    offset = (np.indices((TOKENS, TOKENS)) - np.array([ROW, COLUMN])[:, None, None] + 8) % TOKENS - 8
    mean = (row * STEP * np.hypot(*offset)).sum(axis=(1, 2)) / row.sum(axis=(1, 2))
    lines = driver.find_elements(By.CSS_SELECTOR, ".arl-table tbody tr")
    assert [line.find_element(By.TAG_NAME, "th").text for line in lines] == ["t−2", "t−1", "t", "all times"]
    found = [float(line.find_elements(By.TAG_NAME, "td")[-1].text) for line in lines[:3]]
    assert found == pytest.approx(mean, abs=0.006)
    words = driver.find_element(By.CSS_SELECTOR, ".arl-root").text
    assert not any(word in words for word in ("hPa", " km", " h ", "°", "level"))
    labels = [e.get_attribute("aria-label") for e in driver.find_elements(By.CSS_SELECTOR, ".arl-map canvas")]
    assert all("x\xa0" in label and "y\xa0" in label for label in labels)
    shown = {
        e.text for e in driver.find_elements(By.CSS_SELECTOR, ".arl-control .arl-label") if e.is_displayed()
    }
    assert shown >= {"Query time", "Layer", "Temperature"}
    assert not shown & {"Query level", "Keys at level", "Keys at time", "Query field", "Keys of field"}
    assert console_errors(driver) == []
    assert external_requests(driver) == []


def test_pointing_at_a_map_asks_at_its_time(driver: WebDriver, plane: AttentionExplorer) -> None:
    before = selected(driver)
    point(driver, 1, 3, 5).perform()
    settle(driver)
    assert "preview" in driver.find_element(By.CSS_SELECTOR, ".arl-subject").text
    assert "t−1" in driver.find_element(By.CSS_SELECTOR, ".arl-subject").text
    assert time_card(driver, 1).get_attribute("data-arl-query") == "true"
    assert selected(driver) == before
    point(driver, 0, 3, 5).click().perform()
    settle(driver)
    assert np.unravel_index(selected(driver)["query"], SHAPE) == (0, 0, 3, 5)
    point(driver, 2, 4, 5).perform()  # locked: the pointer reads numbers
    settle(driver)
    row = plane.weights("vorticity", selected(driver)["query"], selected(driver)["layer"])["vorticity"]
    tip = time_card(driver, 2).find_element(By.CSS_SELECTOR, ".arl-tip").text
    assert float(tip.split()[0]) == pytest.approx(100 * row[0, 2, 4, 5], rel=0.06)
    time_card(driver, 1).find_element(By.CSS_SELECTOR, ".arl-title").click()
    assert np.unravel_index(selected(driver)["query"], SHAPE) == (0, 1, 3, 5)


def test_keys_go_up_and_around(driver: WebDriver) -> None:
    choose(driver, query=int(np.ravel_multi_index((0, 2, TOKENS - 1, 0), SHAPE)))
    focus = time_card(driver, 2).find_element(By.CSS_SELECTOR, ".arl-map")
    for keys, place in (
        ([Keys.ARROW_UP], (0, 2, 0, 0)),
        ([Keys.ARROW_LEFT], (0, 2, 0, 15)),
        ([Keys.ARROW_UP], (0, 2, 1, 15)),
        ([Keys.SHIFT, Keys.ARROW_LEFT], (0, 1, 1, 15)),
        ([Keys.ARROW_RIGHT], (0, 1, 1, 0)),
    ):
        focus.send_keys(*keys)
        assert np.unravel_index(selected(driver)["query"], SHAPE) == place
    time_card(driver, 0).find_element(By.CSS_SELECTOR, ".arl-map").send_keys(Keys.ENTER)
    assert np.unravel_index(selected(driver)["query"], SHAPE) == (0, 0, 1, 0)


def test_a_field_on_a_plane(browser: WebDriver, tmp_path: Path) -> None:
    explorer = AttentionExplorer(plane_capture())
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    press(browser, "Keys at time", "t−2")
    choose(browser, query=int(np.ravel_multi_index((0, 2, ROW, COLUMN), SHAPE)), layer=1, head=0)
    darkest = np.unravel_index(colours(browser).sum(-1)[0].argmin(), (TOKENS, TOKENS))
    assert darkest == peak_place(0, -2, ROW, COLUMN)
    assert console_errors(browser) == []


def test_times_of_a_sphere(browser: WebDriver, capture, tmp_path: Path) -> None:
    explorer = AttentionExplorer(capture, panels="times")
    assert explorer.selected["key_field"] == explorer.selected["query_field"]
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    titles = [e.text for e in browser.find_elements(By.CSS_SELECTOR, ".arl-card .arl-title")]
    assert titles == ["−24 h", "−12 h", "0 h"]
    lefts = browser.execute_script(
        "return [...document.querySelectorAll('.arl-card')].map((c) => c.offsetLeft)"
    )
    assert lefts == sorted(set(lefts))
    choose(browser, query_field="temperature", query=5)  # the keys follow the query's field
    assert selected(browser)["key_field"] == "temperature"
    choose(browser, key_field="vorticity")
    shown = [e.get_attribute("data-arl-field") for e in browser.find_elements(By.CSS_SELECTOR, ".arl-card")]
    assert shown == ["vorticity"] * 3
    row = explorer.weights("temperature", 5, selected(browser)["layer"])["vorticity"]
    level = [500.0, 850.0].index(selected(browser)["key_level"])
    caption = browser.find_element(By.CSS_SELECTOR, '[data-arl-time="1"] .arl-caption').text
    assert float(caption.split()[0]) == pytest.approx(100 * row[level, 1].sum(), rel=0.05)
    choose(browser, key_field="specific_humidity")  # not coupled
    message = browser.find_element(By.CSS_SELECTOR, ".arl-message").text
    assert message == "no coupling from temperature to specific humidity in this model"
    assert console_errors(browser) == []


def test_key_field_belongs_to_times(capture) -> None:
    explorer = AttentionExplorer(capture, panels="times")
    explorer.selected = {"query_field": "temperature"}
    assert explorer.selected["key_field"] == "temperature"
    explorer.selected = {"key_field": "vorticity"}
    explorer.selected = {"query_field": "specific_humidity"}
    assert explorer.selected["key_field"] == "vorticity"
    with pytest.raises(UserError, match="rain"):
        explorer.selected = {"key_field": "rain"}
    with pytest.raises(UserError, match="key_field"):
        AttentionExplorer(capture).selected = {"key_field": "vorticity"}
    assert "panels 'time'" in (AttentionExplorer(capture, panels="time").fault or "")


def test_redraws_within_50_ms(driver: WebDriver, record_property) -> None:
    times = driver.execute_script(f"return Array.from({{ length: 25 }}, () => {ROOT}.arl.redraw())")
    record_property("redraw_ms_times", float(np.median(times)))
    assert np.percentile(times, 25) < 50  # the slower ones waited for a core that others used
