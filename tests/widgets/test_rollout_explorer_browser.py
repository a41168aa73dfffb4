"""RolloutExplorer in headless Chromium: its numbers are Python's, time goes by mouse, finger, keys."""

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

from atmorep_lite.widgets.rollout_explorer import RolloutExplorer
from atmorep_lite.widgets.spectra import ring_spectrum
from tests.browser import (
    console_errors,
    external_requests,
    overflow,
    set_view,
    settle,
    touch,
)
from tests.widgets.explorer_page import (
    check_looks,
    hooks_of,
    like_a_kernel,
    open_page,
    press,
    quiet_page,
    wait_for,
)
from tests.widgets.test_rollout_explorer import LEADS, POINTS, drifting, read, waves, weather

ROOT = "document.querySelector('.arl-rollout')"
ask, selected = hooks_of(ROOT)
PLAY = (By.CSS_SELECTOR, ".arl-roll-play")


@pytest.fixture(scope="module")
def explorer() -> RolloutExplorer:
    return waves(title="Waves that drift", caption="Made by formula.")


@pytest.fixture(scope="module")
def page(explorer: RolloutExplorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explorer.to_html(tmp_path_factory.mktemp("rollout") / "rollout.html")


@pytest.fixture
def driver(browser: WebDriver, page: Path) -> Iterator[WebDriver]:
    with quiet_page(browser, page.as_uri(), ROOT):
        yield browser


def errors_chart(driver: WebDriver) -> Any:
    return driver.find_element(By.CSS_SELECTOR, ".arl-roll-errors")


def test_maps_errors_and_spectra_are_pythons(driver: WebDriver, explorer: RolloutExplorer) -> None:
    guesses = {"truth": drifting(0.3), "good": drifting(0.29), "slow": drifting(0.2)}
    for lead in (8, 2):
        ask(driver, "choose({ lead: arguments[0] })", lead)
        numbers = ask(driver, "numbers()")
        for name, states in guesses.items():
            index = ["truth", "good", "slow"].index(name) * (LEADS + 1) + lead
            shown = np.array(ask(driver, "map(arguments[0])", name)).reshape(POINTS, POINTS)
            assert np.array_equal(shown, read(explorer, index))
            assert np.abs(shown - states[lead - 1]).max() <= explorer.meta["maps"]["errors"][index]
            assert numbers["spectra"][name] == pytest.approx(
                ring_spectrum(states[lead - 1]).tolist(), rel=1e-8, abs=1e-14
            )
        for name in ("good", "slow"):
            miss = np.linalg.norm(guesses[name][lead - 1] - guesses["truth"][lead - 1])
            assert numbers["errors"][name] == pytest.approx(miss / np.linalg.norm(guesses["truth"][lead - 1]))


def test_colours_stand_where_the_values_do(driver: WebDriver) -> None:
    """The highest value of the truth is red, its lowest blue, y upwards, x to the right."""
    ask(driver, "choose({ lead: 0 })")
    settle(driver)
    state = drifting(0.3)[0]
    for place, red in ((state.argmax(), True), (state.argmin(), False)):
        row, column = np.unravel_index(place, state.shape)
        pixel = driver.execute_script(
            "const c = document.querySelector('.arl-canvas'); const r = c.width / c.clientWidth;"
            "const inner = c.clientWidth - 48;"
            "const x = 38 + (arguments[0] + 0.5) / 24 * inner;"
            "const y = 7 + (1 - (arguments[1] + 0.5) / 24) * inner;"
            "const [left, top] = [Math.round(x * r) + 2, Math.round(y * r) + 2];"
            "return [...c.getContext('2d').getImageData(left, top, 1, 1).data]",
            int(column),
            int(row),
        )
        assert (pixel[0] > pixel[2] + 40) if red else (pixel[2] > pixel[0] + 40), (pixel, red)


def test_pointing_reads_off_all_maps(driver: WebDriver) -> None:
    canvas = driver.find_elements(By.CSS_SELECTOR, ".arl-canvas")[1]
    ActionChains(driver).move_to_element_with_offset(canvas, 40, -30).perform()
    settle(driver)
    cursor = ask(driver, "cursor()")
    value = np.array(ask(driver, "map('truth')")).reshape(POINTS, POINTS)[cursor["row"], cursor["column"]]
    told = driver.find_element(By.CSS_SELECTOR, ".arl-roll-readout").text
    step = 2 * np.pi / POINTS
    assert f"x = {step * cursor['column']:.2f}, y = {step * cursor['row']:.2f}" in told
    said = float(told.split("truth ")[1].split(";")[0].replace("−", "-"))
    assert said == pytest.approx(value, rel=6e-3)
    ActionChains(driver).move_to_element(errors_chart(driver)).perform()
    settle(driver)
    assert ask(driver, "cursor()") is None


def test_keys_move_a_cross_and_time(driver: WebDriver) -> None:
    maps = driver.find_element(By.CSS_SELECTOR, ".arl-roll-maps")
    maps.send_keys(Keys.ARROW_UP)
    maps.send_keys(Keys.ARROW_RIGHT)
    maps.send_keys(Keys.SHIFT, Keys.ARROW_RIGHT)
    settle(driver)
    assert ask(driver, "cursor()") == {"row": POINTS // 2 + 1, "column": POINTS // 2 + 6}
    assert "At x =" in ask(driver, "words()")
    maps.send_keys(Keys.ESCAPE)
    settle(driver)
    assert ask(driver, "cursor()") is None
    chart = errors_chart(driver)
    for key, lead in ((Keys.HOME, 0), (Keys.ARROW_RIGHT, 1), (Keys.ARROW_LEFT, 0), (Keys.END, LEADS)):
        chart.send_keys(key)
        assert selected(driver)["lead"] == lead
    driver.find_element(By.CSS_SELECTOR, 'input[aria-label="Lead"]').send_keys(Keys.ARROW_LEFT)
    assert selected(driver)["lead"] == LEADS - 1
    assert chart.get_attribute("aria-valuetext").startswith("lead 7 frames: good ")


def test_mouse_and_finger_go_through_time(driver: WebDriver) -> None:
    chart = errors_chart(driver)
    drag = ActionChains(driver).move_to_element_with_offset(chart, 0, 0).click_and_hold()
    drag.move_by_offset(60, 0).release().perform()
    box = driver.execute_script("return arguments[0].getBoundingClientRect().width", chart)
    expected = round((box / 2 + 60 - 46) / (box - 58) * LEADS)
    assert selected(driver)["lead"] == expected
    touch(driver, chart, at=(0.2, 0.5))
    wait_for(lambda: selected(driver)["lead"] < 2)
    touch(driver, driver.find_elements(By.CSS_SELECTOR, ".arl-canvas")[0])
    wait_for(lambda: ask(driver, "cursor()"))


def test_views_and_models(driver: WebDriver) -> None:
    def titles() -> list[str]:
        return [e.text for e in driver.find_elements(By.CSS_SELECTOR, ".arl-roll-title")]

    assert titles() == ["Truth", "good", "Forecast − truth"]
    press(driver, "Forecast", "smooth")
    assert titles() == ["Truth", "smooth", "Forecast − truth"]
    press(driver, "Show", "all")
    assert titles() == ["Truth", "good", "slow", "smooth"]
    press(driver, "Show", "differences")
    assert titles() == ["good − truth", "slow − truth", "smooth − truth"]
    assert selected(driver) == {"lead": LEADS, "model": "smooth", "view": "differences"}
    note = driver.find_element(By.XPATH, "//*[contains(text(), 'finest third')]").text
    tail = [ring_spectrum(s)[-1][4:].sum() for s in (drifting(0.3, decay=0.6), drifting(0.3))]
    assert len(ring_spectrum(drifting(0.3))[-1]) == 7
    said = float(note.split("smooth ")[1].split()[0])
    assert said == pytest.approx(100 * tail[0] / tail[1], rel=0.06)


def test_play_starts_paused_and_stops_at_the_end(driver: WebDriver) -> None:
    settle(driver)
    assert selected(driver)["lead"] == LEADS and not ask(driver, "playing()")
    button = driver.find_element(*PLAY)
    assert button.text == "Play"
    button.click()
    wait_for(lambda: 1 <= selected(driver)["lead"] <= 4)
    assert button.text == "Pause"
    button.click()
    paused = selected(driver)["lead"]
    assert not ask(driver, "playing()") and paused < LEADS
    ask(driver, "choose({ lead: arguments[0] })", LEADS - 1)
    button.click()
    wait_for(lambda: selected(driver)["lead"] == LEADS and not ask(driver, "playing()"))


def test_with_reduced_motion_a_press_is_one_lead(driver: WebDriver) -> None:
    calm = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", calm)
    try:
        ask(driver, "choose({ lead: 2 })")
        settle(driver)
        button = driver.find_element(*PLAY)
        assert button.text == "Next lead"
        button.click()
        assert selected(driver)["lead"] == 3 and not ask(driver, "playing()")
    finally:
        set_view(driver, 1200, 900)


def test_python_moves_the_view(browser: WebDriver, page: Path, tmp_path: Path) -> None:
    open_page(browser, like_a_kernel(page, tmp_path), ROOT)
    wish = {"lead": 4, "model": "slow", "view": "all"}
    browser.execute_script("model.set('selected', arguments[0]); window['change:selected']()", wish)
    assert selected(browser) == wish
    errors_chart(browser).send_keys(Keys.ARROW_RIGHT)
    settle(browser)
    assert browser.execute_script("return model.get('selected')")["lead"] == 5
    assert console_errors(browser) == []


@pytest.mark.parametrize("case", ["one lead", "not finite"])
def test_extremes_are_drawn(browser: WebDriver, tmp_path: Path, case: str) -> None:
    truth = drifting(0.3)
    wild = truth.copy()
    if case == "one lead":
        explorer = RolloutExplorer(truth[:1], {"only": wild[:1] + 0.1})
    else:
        wild[3:] *= 1e200
        wild[5:] = np.nan
        explorer = RolloutExplorer(truth, {"wild": wild}, start=truth[0])
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri(), ROOT)
    assert browser.execute_script(f"return {ROOT}.dataset.arlFault ?? null") is None
    words = ask(browser, "words()")
    assert ("not finite" in words) == (case == "not finite"), words
    if case == "not finite":
        ask(browser, "choose({ lead: 4 })")
        settle(browser)
        assert "NaN" not in browser.execute_script(f"return {ROOT}.innerHTML")
    assert overflow(browser) == 0
    assert console_errors(browser) == []


def test_weather_has_coasts_and_fits(browser: WebDriver, tmp_path: Path) -> None:
    external_requests(browser)
    forecast, truth = weather(members=3)
    explorer = RolloutExplorer.of_weather(
        {"mean": forecast, "first": forecast.isel(number=0)},
        truth,
        field="temperature",
        level=500,
        title="Weather",
    )
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri(), ROOT)
    assert "temperature at 500 hPa, lead 18 h. Error: mean " in ask(browser, "words()")
    assert f"mean {explorer.meta['errors']['mean'][3]:.3g}" in ask(browser, "words()").replace("\u00a0", " ")
    canvas = browser.find_elements(By.CSS_SELECTOR, ".arl-canvas")[0]
    ActionChains(browser).move_to_element_with_offset(canvas, 14, -7).perform()
    settle(browser)
    place = ask(browser, "cursor()")
    told = browser.find_element(By.CSS_SELECTOR, ".arl-roll-readout").text
    longitude = explorer.meta["grid"]["longitude"][place["column"]]
    assert f"{abs(longitude):.1f}°{'W' if longitude < 0 else 'E'}" in told
    check_looks(browser, "RolloutExplorer-weather", ROOT)
    assert external_requests(browser) == [] and console_errors(browser) == []
