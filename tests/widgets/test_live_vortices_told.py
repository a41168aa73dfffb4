"""LiveVortices in headless Chromium: what it says while it starts, computes, fails or lacks something."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.widgets.live_vortices import LiveVortices
from tests.browser import (
    check_accessible,
    console_errors,
    external_requests,
    overflow,
    screenshots,
    set_view,
    settle,
)
from tests.widgets import live_page
from tests.widgets.explorer_page import like_a_kernel, wait_for
from tests.widgets.live_page import ROOT, choose, computed, selected, shown

page, address, opened, driver = live_page.page, live_page.address, live_page.opened, live_page.driver
# The worker gets the network 1.5 s after all else that it is told.
SLOW_START = """
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  setTimeout(() => post.call(this, message, ...rest), message.kind === 'start' ? 1500 : 0);
};
"""
# Changes what is selected and reads the page before the worker can answer.
AT_ONCE = """
const root = ROOT;
root.arl.choose(arguments[0]);
root.arl.redraw();
const late = [...root.querySelectorAll('[data-arl-late]')];
return {
  words: root.arl.words(), late: late.length, legend: root.querySelector('.arl-live-legend').textContent,
  network: root.querySelector('[data-arl-map="network"]').textContent, forecast: root.arl.forecast(1) ?? null,
  numbers: root.querySelector('.arl-live-numbers').textContent, rows: root.arl.rows() ?? null,
};
""".replace("ROOT", ROOT)
# What is written on the colour bars.
BARS = """
const own = CanvasRenderingContext2D.prototype;
const [write, said] = [own.fillText, new Map()];
own.fillText = function (text, ...rest) {
  if (text) said.set(this.canvas, [...(said.get(this.canvas) ?? []), text]);
  return write.call(this, text, ...rest);
};
ROOT.arl.redraw();
own.fillText = write;
return [...document.querySelectorAll('.arl-square-map + canvas')].map((bar) => said.get(bar));
""".replace("ROOT", ROOT)


def test_scenes_play_and_are_told(driver: WebDriver) -> None:
    scene = driver.find_element(By.CSS_SELECTOR, 'select[aria-label="Scene"]')
    scene.send_keys("dip")
    computed(driver)
    assert selected(driver)["scene"] == "dipole"
    play = driver.find_element(By.CSS_SELECTOR, 'button[aria-label^="Play"]')
    play.click()
    wait_for(lambda: selected(driver)["step"] == 3)
    play.click()
    told = driver.execute_script(f"return {ROOT}.arl.words()")
    assert "Scene dipole" in told and "The network errs by" in told and "attention" not in told.lower()[:5]
    guess, truth = (shown(driver, what, selected(driver)["step"]) for what in ("forecast", "truth"))
    error = np.linalg.norm(guess - truth) / np.linalg.norm(truth)
    assert f"errs by {100 * error:.1f}\u00a0%" in told


def test_too_fast_a_flow_is_explained_and_left_again(driver: WebDriver) -> None:
    wild = [{**LiveVortices().selected["vortices"][0], "strength": 1e4}]  # more than Python allows
    driver.execute_script(f"{ROOT}.arl.choose({{ vortices: arguments[0] }})", wild)
    message = '[data-arl-map="network"] .arl-square-message'
    said = wait_for(lambda: driver.find_element(By.CSS_SELECTOR, message).text)
    assert "too fast for the solver" in said and "start again" in said
    driver.execute_script(f"{ROOT}.arl.choose({{ hidden: [7], step: 2 }})")
    time.sleep(1)  # in which an answer would come, were there one
    assert driver.find_element(By.CSS_SELECTOR, message).text == said
    assert driver.execute_script(f"return {ROOT}.arl.forecast(1)") is None
    assert "too fast" in driver.execute_script(f"return {ROOT}.arl.words()")
    driver.find_element(By.CSS_SELECTOR, 'button[aria-label="Start this scene again"]').click()
    computed(driver)
    assert not driver.find_element(By.CSS_SELECTOR, message).is_displayed()


def test_old_forecasts_are_not_taken_for_those_of_what_is_drawn(driver: WebDriver) -> None:
    dipole = LiveVortices(scene="dipole").selected["vortices"]
    told = driver.execute_script(AT_ONCE, {"scene": "dipole", "vortices": dipole})
    assert told["forecast"] is None and told["rows"] is None  # another scene: blank
    assert "computing" in told["words"] and "errs" not in told["words"]
    computed(driver)
    moved = [{**vortex, "y": vortex["y"] + 0.2} for vortex in dipole]
    told = driver.execute_script(AT_ONCE, {"vortices": moved})
    assert told["forecast"] is not None and told["late"] == 5  # a vortex being dragged: grey
    assert "computing" in told["network"] and "computing" in told["numbers"] and "%" not in told["legend"]
    assert "computing" in told["words"] and "%" not in told["words"]
    computed(driver)
    assert not driver.find_elements(By.CSS_SELECTOR, "[data-arl-late]")
    assert "errs by" in driver.execute_script(f"return {ROOT}.arl.words()")


def test_a_token_chosen_while_the_network_starts(browser: WebDriver, address: str) -> None:
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SLOW_START})
    try:
        browser.get(address)
        wait_for(lambda: browser.execute_script(f"return {ROOT}?.dataset.arlDraws"))
        browser.execute_script(f"{ROOT}.arl.choose({{ query: 40 }})")
        attention = browser.find_element(By.CSS_SELECTOR, '[data-arl-map="attention"]')
        assert "starting the network" in attention.text
        computed(browser)
        assert shown(browser, "rows").shape == (4 * 4 * 256,)
        assert "computing" not in attention.text and "most, " in attention.text
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_narrow_colour_bars_have_both_ends(browser: WebDriver, address: str) -> None:
    browser.get(address)
    computed(browser)
    set_view(browser, 400, 900)
    settle(browser)
    _, network, other, _ = browser.execute_script(BARS)
    set_view(browser, 1200, 900)
    assert network == other == ["−3", "3", "0"]


def test_python_moves_the_view(browser: WebDriver, page: Path, tmp_path: Path) -> None:
    """Opened from a file, where neither modules nor fetch are allowed."""
    browser.get(like_a_kernel(page, tmp_path))
    computed(browser)
    wish = LiveVortices(scene="merging", step=4, hidden=[1, 2], layer=2, head=1).selected
    browser.execute_script("model.set('selected', arguments[0]); window['change:selected']()", wish)
    computed(browser)
    assert selected(browser) == wish
    field = shown(browser, "field").reshape(64, 64)
    assert field[32, 26] > 3 and field[32, 38] > 3
    assert console_errors(browser) == [] and external_requests(browser) == []


@pytest.mark.parametrize("gone", ["WebAssembly", "DecompressionStream"])
def test_says_what_is_missing(browser: WebDriver, address: str, gone: str) -> None:
    script = browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": f"delete window.{gone}"}
    )
    try:
        browser.get(address)
        said = wait_for(lambda: browser.find_element(By.CSS_SELECTOR, ".arl-fault:not([hidden])").text)
        assert gone in said and "can be read without it" in said
        assert browser.execute_script(f"return {ROOT}.dataset.arlFault") == "true"
        assert not browser.find_element(By.CSS_SELECTOR, '[data-arl-map="now"]').is_displayed()
        assert console_errors(browser) == []
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_fits_asks_nobody_and_is_accessible(browser: WebDriver, address: str) -> None:
    browser.get(address)
    computed(browser)
    assert external_requests(browser) == []
    choose(browser, step=4, hidden=[107, 108, 123, 124], silent=[[0, 2]], compare="hiding")
    check_accessible(browser)
    for picture in screenshots(browser, "live-vortices", widths=(420, 800, 1280, 1920)):
        assert picture.stat().st_size > 30_000
    for width in (420, 800, 1280, 1920):
        browser.set_window_size(width, 900)
        assert overflow(browser) <= 0
    assert console_errors(browser) == []
