"""LiveVortices in headless Chromium: mouse, finger and keys move, paint and hide what they should."""

from __future__ import annotations

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite import flows
from atmorep_lite.onnx_export import Written
from atmorep_lite.widgets.live_vortices import LiveVortices
from tests.browser import touch
from tests.widgets import live_page
from tests.widgets.explorer_page import press, wait_for
from tests.widgets.live_page import at, choose, computed, map_of, point, selected, shown, torch_forecasts

page, address, opened, driver = live_page.page, live_page.address, live_page.opened, live_page.driver
written = live_page.written


def test_the_mouse_drags_a_vortex(driver: WebDriver, written: Written) -> None:
    now, before = map_of(driver, "now"), selected(driver)["vortices"]
    start, end = at(driver, now, 3.14, 2.14), at(driver, now, 4.2, 1.2)
    point(driver, now, 3.14, 2.14).click_and_hold().move_by_offset(
        round(end[0] - start[0]), round(end[1] - start[1])
    ).release().perform()
    computed(driver)
    after = selected(driver)["vortices"]
    assert after[0]["y"] == pytest.approx(4.2, abs=0.05) and after[0]["x"] == pytest.approx(1.2, abs=0.05)
    assert after[1:] == before[1:]
    forecasts, _ = torch_forecasts(written, shown(driver, "frames"), 1)
    assert np.abs(shown(driver, "forecast", 1) - forecasts[0].flatten()).max() < 1e-4
    driver.find_element(By.CSS_SELECTOR, 'input[aria-label="Vortex: strength"]').send_keys(
        Keys.ARROW_RIGHT * 2
    )
    assert selected(driver)["vortices"][0]["strength"] == 4.0


def test_the_pointer_paints(driver: WebDriver) -> None:
    press(driver, "On the left map", "paint")
    before = shown(driver, "field")
    point(driver, map_of(driver, "now"), 1.5, 4.5).click_and_hold().move_by_offset(20, 0).release().perform()
    computed(driver)
    change = (shown(driver, "field") - before).reshape(64, 64)
    y, x = (round(place / flows.SIDE * 64) for place in (1.5, 4.5))
    assert change[y, x] - change.min() == pytest.approx(3.0, abs=0.15)  # as strong as the brush says
    assert abs(change.mean()) < 1e-6
    assert selected(driver)["vortices"] == LiveVortices().selected["vortices"]


def test_keys_move_paint_and_hide(driver: WebDriver) -> None:
    now = map_of(driver, "now")
    now.send_keys(Keys.ARROW_UP, Keys.SHIFT, Keys.ARROW_RIGHT)
    moved = selected(driver)["vortices"][0]
    assert (moved["y"], moved["x"]) == pytest.approx((3.24, 2.64))
    now.send_keys(Keys.ENTER)
    now.send_keys(Keys.ARROW_DOWN)
    assert selected(driver)["vortices"][1]["y"] == pytest.approx(3.04)
    choose(driver, tool="hide")
    now.send_keys(Keys.ARROW_UP, Keys.ENTER)
    computed(driver)
    hidden = selected(driver)["hidden"]
    assert 136 in hidden or 135 in hidden
    now.send_keys(Keys.ENTER)
    assert selected(driver)["hidden"] == []
    map_of(driver, "attention").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert selected(driver)["query"] == LiveVortices().selected["query"] + 1 - 16
    thumbs = driver.find_element(By.CSS_SELECTOR, ".arl-thumbs")
    thumbs.send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert (selected(driver)["layer"], selected(driver)["head"]) == (1, 1)


def test_a_finger_moves_and_chooses(driver: WebDriver) -> None:
    now = map_of(driver, "now")
    width, height = driver.execute_script(
        "const e = arguments[0]; return [e.clientWidth, e.clientHeight]", now
    )
    right, down = at(driver, now, 3.14, 4.14)
    touch(driver, now, (0, -30), (25, -10), at=(0.5 + right / width, 0.5 + down / height))
    computed(driver)
    unit = flows.SIDE / (width - 29)
    moved = selected(driver)["vortices"][1]
    assert moved["y"] == pytest.approx(3.14 + 40 * unit, abs=0.06)
    assert moved["x"] == pytest.approx(4.14 + 25 * unit, abs=0.06)
    touch(driver, map_of(driver, "network"), at=(0.75, 0.25))
    wait_for(lambda: selected(driver)["query"] != LiveVortices().selected["query"])
