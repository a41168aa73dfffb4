"""LiveVortices in headless Chromium: the network and the solver in the page compute what Python computes.

The numbers are compared with PyTorch's and with `flows.solve`; pointer, finger and keys move what they
should.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from atmorep_lite import flows, zoo
from atmorep_lite.onnx_export import Written
from atmorep_lite.widgets.live_vortices import LiveVortices
from tests.browser import (
    check_accessible,
    console_errors,
    external_requests,
    overflow,
    screenshots,
    serve,
    settle,
    touch,
)
from tests.widgets.explorer_page import like_a_kernel, press, wait_for

ROOT = "document.querySelector('.arl-live')"
STEPS = 10


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    live = LiveVortices(title="A trained network, in your hands", caption="Made for a test.")
    return live.to_html(tmp_path_factory.mktemp("live") / "live.html")


@pytest.fixture(scope="module")
def address(page: Path) -> Iterator[str]:
    with serve(page.parent) as address:
        yield f"{address}/{page.name}"


@pytest.fixture(scope="module")
def written() -> Written:
    """The model in PyTorch, with attention and hidden tokens."""
    return Written(zoo.VortexFormer.from_pretrained("vortices"))


def computed(driver: WebDriver, steps: int = STEPS) -> None:
    """Wait until what the page shows is the answer to what it was last asked."""
    settle(driver)
    wait_for(lambda: driver.execute_script(f"return {ROOT}?.arl?.computed?.() >= {steps}"), 40)
    settle(driver)


def choose(driver: WebDriver, *, steps: int = STEPS, **changes: Any) -> None:
    driver.execute_script(f"{ROOT}.arl.choose(arguments[0])", changes)
    computed(driver, steps)


@pytest.fixture(scope="module")
def opened(browser: WebDriver, address: str) -> Iterator[WebDriver]:
    browser.get(address)
    computed(browser)
    yield browser


@pytest.fixture
def driver(opened: WebDriver) -> Iterator[WebDriver]:
    """The page in its first state."""
    opened.find_element(By.CSS_SELECTOR, 'button[aria-label="Start this scene again"]').click()
    first = LiveVortices().selected
    choose(opened, **first)
    yield opened
    assert console_errors(opened) == []


def shown(driver: WebDriver, what: str, *given: object) -> np.ndarray:
    listed = ", ".join(map(str, given))
    return np.array(driver.execute_script(f"return {ROOT}.arl.{what}({listed})"))


def selected(driver: WebDriver) -> dict[str, Any]:
    settle(driver)
    return driver.execute_script(f"return {ROOT}.arl.selected()")


def map_of(driver: WebDriver, name: str) -> WebElement:
    found = driver.find_element(By.CSS_SELECTOR, f'[data-arl-map="{name}"] .arl-square-map')
    driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", found)
    return found


def at(driver: WebDriver, element: WebElement, y: float, x: float) -> tuple[float, float]:
    """Where a place of the square is, in pixels from the middle of its map."""
    width, height = driver.execute_script(
        "const e = arguments[0]; return [e.clientWidth, e.clientHeight]", element
    )
    inner = width - 29
    return 19 + x / flows.SIDE * inner - width / 2, 7 + (1 - y / flows.SIDE) * inner - height / 2


def point(driver: WebDriver, element: WebElement, y: float, x: float) -> ActionChains:
    right, down = at(driver, element, y, x)
    return ActionChains(driver, duration=60).move_to_element_with_offset(element, round(right), round(down))


def torch_forecasts(
    written: Written, frames: np.ndarray, steps: int, hidden: Any = (), silent: Any = ()
) -> Any:
    """Rollout and attention of the last step by PyTorch, from three frames ``[3, point]``."""
    seen = torch.tensor(frames, dtype=torch.float32).reshape(3, 64, 64)
    mask, heads = torch.zeros(256), torch.ones(4, 4)
    mask[list(hidden)] = 1
    for layer, head in silent:
        heads[layer, head] = 0
    forecasts = []
    for _ in range(steps):
        with torch.no_grad():
            forecast, attention = written(seen, mask, heads)
        forecasts.append(forecast.numpy())
        seen = torch.cat((seen[1:], forecast[None]))
    return forecasts, attention.numpy()


def test_the_scene_is_that_of_flows(driver: WebDriver) -> None:
    vortices = selected(driver)["vortices"]
    parameters = {name: torch.tensor([v[name] for v in vortices]).double() for name in vortices[0]}
    expected = flows.elliptic_vortex(64, **parameters).sum(0)
    assert np.allclose(shown(driver, "field"), (expected - expected.mean()).flatten(), atol=1e-5)


def test_the_solver_is_that_of_flows(driver: WebDriver) -> None:
    frames = shown(driver, "frames").reshape(3, 64, 64)
    assert (
        np.abs(frames[2].flatten() - shown(driver, "field")).max() < 1e-3
    )  # but for waves beyond the solver's
    forwards = flows.solve(torch.tensor(frames[0]), frames=3)  # forwards again from where it went backwards
    assert np.abs(forwards.numpy() - frames).max() < 1e-4
    truth = flows.solve(torch.tensor(frames[2]), frames=STEPS + 1)
    for step in (1, 5, STEPS):
        assert np.abs(shown(driver, "truth", step) - truth[step].flatten().numpy()).max() < 1e-4


def test_the_network_is_that_of_torch(driver: WebDriver, written: Written) -> None:
    frames = shown(driver, "frames")
    forecasts, attention = torch_forecasts(written, frames, 5)
    for step in (1, 3, 5):
        assert np.abs(shown(driver, "forecast", step) - forecasts[step - 1].flatten()).max() < 1e-4
    choose(driver, step=5, query=40)
    rows = wait_for(lambda: driver.execute_script(f"return {ROOT}.arl.rows()"))
    assert np.abs(np.array(rows).reshape(4, 4, 256) - attention[:, :, 40]).max() < 1e-4


def test_hiding_and_silencing_reach_the_network(driver: WebDriver, written: Written) -> None:
    frames = shown(driver, "frames")
    plain = shown(driver, "forecast", 1)
    press(driver, "On the left map", "hide")
    point(driver, map_of(driver, "now"), 3.14, 4.14).click().perform()
    computed(driver)
    hidden = selected(driver)["hidden"]
    assert 4 < len(hidden) < 12
    choose(driver, silent=[[1, 2]])
    forecasts, _ = torch_forecasts(written, frames, 2, hidden, [[1, 2]])
    for step in (1, 2):
        assert np.abs(shown(driver, "forecast", step) - forecasts[step - 1].flatten()).max() < 1e-4
    assert np.abs(shown(driver, "forecast", 1) - plain).max() > 0.05
    legend = driver.find_element(By.CSS_SELECTOR, ".arl-live-legend").text
    assert "nothing hidden" in legend and "hidden from all others" in driver.page_source
    driver.find_element(By.CSS_SELECTOR, 'button[aria-label^="Hide no token"]').click()
    computed(driver)
    assert selected(driver)["hidden"] == [] == selected(driver)["silent"]
    assert np.array_equal(shown(driver, "forecast", 1), plain)


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


def test_a_step_takes_less_than_200_ms(driver: WebDriver, capsys: pytest.CaptureFixture[str]) -> None:
    taken, redrawn = [], []
    for i in range(6):
        vortices = [{**v, "x": v["x"] + 0.01 * (i + 1)} for v in LiveVortices().selected["vortices"]]
        choose(driver, vortices=vortices, steps=1)
        times = driver.execute_script(f"return {ROOT}.arl.milliseconds()")
        taken.append([times["network"], times["answer"]])
        redrawn.append(driver.execute_script(f"return {ROOT}.arl.redraw()"))
    network, answer = np.min(
        taken, axis=0
    )  # the quickest: what else the machine does is not the page's fault
    with capsys.disabled():
        redraw = np.min(redrawn)
        print(
            f"\nnetwork {network:.0f} ms, from a move to its answer {answer:.0f} ms, redraw {redraw:.0f} ms"
        )
    assert answer < 200 and redraw < 50


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
    driver.find_element(By.CSS_SELECTOR, 'button[aria-label="Start this scene again"]').click()
    computed(driver)
    assert not driver.find_element(By.CSS_SELECTOR, message).is_displayed()


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
