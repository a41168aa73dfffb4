"""Scenes, the view in the address, what can be saved, and the errors of hidden tokens."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.widgets import AttentionExplorer
from tests.browser import console_errors
from tests.widgets.explorer_page import ROOT, card, open_page, point_at, press, selected, settle, wait_for
from tests.widgets.synthetic import LATITUDE, LONGITUDE

SCENES = [
    {"name": "Upstream", "text": "Where the wind came from.", "query_field": "vorticity", "upstream": True},
    {"name": "Against chance", "compare": "uniform", "by": "ratio", "layer": 1},
    {"name": "Two places", "pin_a": {"query_field": "temperature", "query": 5},
     "pin_b": {"query_field": "temperature", "query": 6}, "show": "A minus B"},
]  # fmt: skip


@pytest.fixture(scope="module")
def told(capture: AttentionCapture) -> AttentionExplorer:
    return AttentionExplorer(capture, layers=[1, 3], scenes=SCENES)


@pytest.fixture(scope="module")
def story(told: AttentionExplorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return told.to_html(tmp_path_factory.mktemp("story") / "story.html")


def test_scenes_are_stepped_through(browser: WebDriver, story: Path, told: AttentionExplorer) -> None:
    open_page(browser, story.as_uri())
    assert selected(browser) == told.selected == told.meta["scenes"][0]["selected"]
    assert "Where the wind came from." in browser.find_element(By.CSS_SELECTOR, ".arl-scenes").text
    focus = browser.find_element(By.CSS_SELECTOR, ".arl-map")
    for key, scene in ((Keys.PAGE_DOWN, 1), (Keys.PAGE_DOWN, 2), (Keys.PAGE_DOWN, 2), (Keys.PAGE_UP, 1)):
        focus.send_keys(key)
        settle(browser)
        assert selected(browser) == told.meta["scenes"][scene]["selected"]
    browser.find_element(By.CSS_SELECTOR, '[aria-label="Next scene"]').click()
    settle(browser)
    assert selected(browser)["show"] == "A minus B"
    press(browser, "Layer", "3" if selected(browser)["layer"] == 1 else "1")
    browser.find_element(By.XPATH, "//button[text()='back to the scene']").click()
    settle(browser)
    assert selected(browser) == told.meta["scenes"][2]["selected"]
    assert console_errors(browser) == []


@pytest.mark.parametrize(
    ("scene", "named"),
    [
        ({"text": "no name"}, "Scene 1"),
        ({"name": "far", "layer": 9}, "'far', cannot be shown: The layer 9"),
        ({"name": "odd", "colour": "red"}, "colour"),
        ({"name": "half", "show": "B"}, "pin_b"),
    ],
)
def test_a_scene_that_cannot_be_shown_is_told_when_made(
    capture: AttentionCapture, scene: dict, named: str
) -> None:
    assert named in (AttentionExplorer(capture, scenes=[scene]).fault or "")


def test_the_address_restores_the_view(browser: WebDriver, page: Path) -> None:
    address = page.as_uri()
    open_page(browser, address)
    first = selected(browser)
    browser.execute_script(
        f"{ROOT}.arl.choose({{ query_field: 'temperature', query: 123, layer: 1, view: 'contours' }})"
    )
    wait_for(lambda: "#arl=" in browser.current_url)
    wanted, link = selected(browser), browser.current_url
    assert browser.execute_script(f"return {ROOT}.arl.address()") == link
    browser.get("about:blank")
    open_page(browser, link)
    assert selected(browser) == wanted
    assert card(browser, "temperature").get_attribute("data-arl-query") == "true"
    browser.get("about:blank")
    for nonsense in ("#arl=x~%%%", "#arl=x~eyJsYXllciI6OTl9", link.split("#")[1].split("~")[0].join("#_")):
        open_page(browser, address + nonsense)
        assert selected(browser) == first
        browser.get("about:blank")
    name = link.split("arl=")[1].split("~")[0]
    open_page(browser, f"{address}#arl={name}~eyJsYXllciI6OTksInF1ZXJ5IjoxZTksInZpZXciOiJmaWVsZCJ9")
    assert selected(browser) == {**first, "view": "field"}  # of layer 99 and query 1e9 nothing is taken
    assert console_errors(browser) == []
    browser.get("about:blank")


def test_two_explorers_on_a_page_share_the_address(browser: WebDriver, page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    second = 'render({ model, el: document.getElementById("arl-host") });'
    assert text.count(second) == 1
    other = second.replace(
        "model,", "model: { ...model, get: (name) => structuredClone(start)[name] ?? state[name] },"
    )
    copy = tmp_path / "two.html"
    copy.write_text(
        text.replace(
            second, f"const start = {{ selected: structuredClone(state.selected) }};\n{second}\n{other}"
        ),
        encoding="utf-8",
    )
    both = "[...document.querySelectorAll('.arl-root')]"
    open_page(browser, copy.as_uri())
    browser.execute_script(f"{both}[0].arl.choose({{ layer: 1 }}); {both}[1].arl.choose({{ layer: 2 }})")
    wait_for(lambda: browser.current_url.count("~") == 2)
    link = browser.current_url
    browser.get("about:blank")
    open_page(browser, link)
    settle(browser)
    assert browser.execute_script(f"return {both}.map((r) => r.arl.selected().layer)") == [1, 2]
    assert console_errors(browser) == []
    browser.get("about:blank")


def test_saved_numbers_are_the_rows_with_their_labels(
    driver: WebDriver, explorer: AttentionExplorer, capture: AttentionCapture
) -> None:
    driver.execute_script(
        f"{ROOT}.arl.choose({{ query_field: 'temperature', query: 700, layer: 2, compare: 'uniform' }})"
    )
    settle(driver)
    rows = list(csv.DictReader(io.StringIO(driver.execute_script(f"return {ROOT}.arl.csv()"))))
    expected = explorer.weights("temperature", 700, 2)
    assert len(rows) == 768 * len(expected)  # humidity is not coupled
    level, time, row, column = 1, 0, 2, 5
    field = capture.fields["vorticity"]
    (one,) = (
        r for r in rows
        if r["key_field"] == "vorticity" and float(r["key_level_hPa"]) == field.level[level]
        and float(r["key_time_h"]) == -24 and float(r["key_latitude_degN"]) == field.latitude[row]
        and float(r["key_longitude_degE"]) == field.longitude[column]
    )  # fmt: skip
    assert float(one["weight"]) == pytest.approx(expected["vorticity"][level, time, row, column], rel=1e-5)
    assert one["key_time_utc"] == str(field.time[time].astype("datetime64[s]"))
    assert float(one["weight_uniform"]) == pytest.approx(1 / 768)
    mean = 1e5 * field.values[level, time, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean()
    assert float(one["value"]) == pytest.approx(mean, rel=1e-3)
    assert (one["value_units"], one["hidden"], one["query_field"]) == ("10⁻⁵ s⁻¹", "0", "temperature")
    total = sum(float(r["weight"]) for r in rows if r["key_field"] == "vorticity")
    assert total == pytest.approx(1, abs=1e-4)


def test_the_table_lists_the_strongest_tokens(driver: WebDriver, explorer: AttentionExplorer) -> None:
    driver.execute_script(f"{ROOT}.arl.choose({{ query_field: 'vorticity', query: 700, layer: 2 }})")
    driver.find_element(By.CSS_SELECTOR, ".arl-strongest summary").click()
    wait_for(lambda: driver.find_elements(By.CSS_SELECTOR, ".arl-strongest tbody tr"))
    settle(driver)
    lines = driver.find_elements(By.CSS_SELECTOR, ".arl-strongest tbody tr")
    assert len(lines) == 8 * 5
    found = [line.text.replace("\xa0", " ") for line in lines if line.text.startswith("temperature")]
    row = np.sort(explorer.weights("vorticity", 700, 2)["temperature"].ravel())[::-1]
    for text, weight in zip(found, row, strict=False):
        assert f"{100 * weight:.1f} %" in text or f"{100 * weight:.2f} %" in text
    assert "hPa, −12 h" in " ".join(found) and "km" in found[0] and "K" in found[0]


def test_errors_of_hidden_tokens_are_shown(
    browser: WebDriver, capture: AttentionCapture, tmp_path: Path
) -> None:
    field = capture.fields["temperature"]
    error = np.full(field.values.shape, np.nan)
    error[1, 2, :, :16], error[1, 2, :, 16:] = 2.0, -2.0  # the newest time is hidden
    known = replace(capture, fields={**capture.fields, "temperature": replace(field, error=error)})
    explorer = AttentionExplorer(known, layers=[3])
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    browser.execute_script(f"{ROOT}.arl.choose({{ key_level: 850, key_hours: 0, view: 'attention' }})")
    press(browser, "Maps show", "error")
    pixel = (
        "const c = document.querySelector('[data-arl-field=temperature] canvas');"
        "return [0.27, 0.77].map((part) => [...c.getContext('2d').getImageData("
        "Math.round(38 + part * (c.width - 48)), 60, 1, 1).data])"
    )
    (r, _, b, _), (r2, _, b2, _) = browser.execute_script(pixel)
    assert r > b and b2 > r2  # too warm is red, too cold is blue
    point_at(browser, "temperature", LATITUDE[3], LONGITUDE[3]).perform()
    settle(browser)
    browser.execute_script(f"{ROOT}.arl.choose({{ query_field: 'vorticity' }}, {{ lock: true }})")
    point_at(browser, "temperature", LATITUDE[4], LONGITUDE[3]).perform()
    settle(browser)
    tip = card(browser, "temperature").find_element(By.CSS_SELECTOR, ".arl-tip").text.replace("\xa0", " ")
    assert "hidden, error +2.0 K" in tip
    shape = replace(field, error=error[:, :1])
    wrong = replace(capture, fields={**capture.fields, "temperature": shape})
    assert "error of temperature" in (AttentionExplorer(wrong).fault or "")
    assert console_errors(browser) == []


def test_print_has_no_controls(driver: WebDriver) -> None:
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        for hidden in (".arl-controls", ".arl-tools", ".arl-help"):
            assert not driver.find_element(By.CSS_SELECTOR, hidden).is_displayed()
        sizes = driver.execute_script(
            "return [...document.querySelectorAll('.arl-map canvas')].map((c) => "
            "[c.width / c.height, c.clientWidth / c.clientHeight])"
        )
        assert all(abs(a / b - 1) < 0.02 for a, b in sizes)  # nothing is stretched
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
