"""TrainingMonitor in headless Chromium: it shows what Python knows, is read off, and hears of news."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.training.watch.session import Progress
from atmorep_lite.widgets import TrainingMonitor
from tests.browser import console_errors, external_requests, overflow, set_view
from tests.tiny import HEAT, WIND, coupled_fields, tiny_model, tiny_run
from tests.widgets.explorer_page import like_a_kernel, open_page, press, settle, wait_for

MONITOR = "document.querySelector('.arl-tm')"
PARTS, STEPS = ("grid_skip", "transformer"), (100, 300)
DONE = 200  # of the second stage


KINDS = {"rmse_over_persistence": 1.0, "rmse_over_climatology": 1.5, "spread_over_error": 0.9}


def loss_of(stage: int, step: float) -> float:
    return (1.0, 0.6)[stage] * math.exp(-step / 150) + 0.1


def scores(step: int) -> dict[str, float]:
    return {
        f"{kind}/{field}/{lead}h": factor * (0.5 + 0.2 * i) * math.exp(-step / 1000)
        for kind, factor in KINDS.items()
        for i, lead in enumerate((3, 6))
        for field in (WIND, HEAT, *(["mean"] if kind.startswith("rmse") else []))
    }  # fmt: skip


def watched(done: int = DONE, *, title: str = "Training in runs/mine") -> TrainingMonitor:
    """A run that stands in its second stage, after ``done`` steps of it."""
    stages = [{"part": p, "steps": n} for p, n in zip(PARTS, STEPS, strict=True)]
    run = tiny_run(tiny_model(*coupled_fields()), stages=stages)
    monitor = TrainingMonitor(run, title=title, caption="Made for a test.", every=1e9)
    noise = np.random.default_rng(0)
    for stage, steps in enumerate((STEPS[0], done)):
        for step in range(1, steps + 1):
            loss, due = loss_of(stage, step), step % 50 == 0
            held_out = 1.05 * loss if due else None
            per_field = {WIND: 0.8 * loss * math.exp(noise.normal(0, 0.1)), HEAT: 1.2 * loss}
            monitor(Progress(
                stage, PARTS[stage], step, STEPS[stage], loss, held_out, 1.0, 95.0, per_field,
                scores(step) if due else None, samples_per_second=62.5, waiting=0.034,
                learning_rate=1e-3, gradient_norm=0.42, skipped=3, flops=3e10, peak=1e11,
            ))  # fmt: skip
    monitor.send_shown()
    return monitor


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return watched().to_html(tmp_path_factory.mktemp("monitor") / "monitor.html")


@pytest.fixture
def driver(browser: WebDriver, page: Path) -> Iterator[WebDriver]:
    open_page(browser, page.as_uri(), MONITOR)
    yield browser
    assert console_errors(browser) == []


def texts(driver: WebDriver, selector: str) -> list[str]:
    return [e.text for e in driver.find_elements(By.CSS_SELECTOR, selector)]


def test_shows_what_python_knows_and_asks_no_server(driver: WebDriver) -> None:
    status = driver.find_element(By.CSS_SELECTOR, ".arl-tm-status").text
    assert status == "transformer, stage 2 of 2: step 200 of 300, 1 min 35 s left in this stage"
    tiles = dict(zip(texts(driver, ".arl-tm-tiles span"), texts(driver, ".arl-tm-tiles b"), strict=True))
    assert tiles == {
        "samples a second": "62.5", "waiting for data": "3.4 %", "of the peak FLOP/s": "30 %",
        "learning rate": "0.001", "gradient norm": "0.42", "steps skipped": "3",
    }  # fmt: skip
    parts = driver.execute_script(
        "return [...document.querySelectorAll('.arl-tm-stages div')]"
        ".map((e) => [e.clientWidth, e.firstChild.getBoundingClientRect().width])"
    )
    (first, first_done), (second, second_done) = parts
    assert second / first == pytest.approx(3, rel=0.02)
    assert first_done == pytest.approx(first, abs=1) and second_done == pytest.approx(second * 2 / 3, abs=1)
    assert external_requests(driver) == []


def test_the_curves_are_the_losses_on_a_logarithmic_axis(driver: WebDriver) -> None:
    """Heights are linear in the logarithm of the loss, with the factor of the grid lines."""
    ticks = driver.execute_script(
        "return [...document.querySelector('.arl-tm-chart').querySelectorAll('.arl-tm-grid')]"
        ".map((e) => [Number(e.getAttribute('y1')), Number(e.nextSibling.textContent)])"
    )
    slope, offset = np.polyfit(np.log([v for _, v in ticks]), [y for y, _ in ticks], 1)
    assert len(ticks) >= 3 and slope < 0
    assert np.allclose([y for y, _ in ticks], slope * np.log([v for _, v in ticks]) + offset, atol=0.01)
    paths = driver.execute_script(
        "return [...document.querySelectorAll('.arl-tm-raw')].map((e) => e.getAttribute('d'))"
    )
    assert len(paths) == 3, "the mean and two fields"
    strokes = paths[0].split("M")[1:]
    assert len(strokes) == 2, "one stroke for each stage"
    points = [[float(n) for n in p.split()] for s in strokes for p in s.split("L")]
    losses = [loss_of(stage, k) for stage, n in enumerate((STEPS[0], DONE)) for k in range(1, n + 1)]
    assert np.allclose([y for _, y in points], slope * np.log(losses) + offset, atol=0.5)
    x = [x for x, _ in points]
    assert np.allclose(np.diff(x), (x[-1] - x[0]) / 299, atol=0.11), "evenly, stage after stage"
    assert len(driver.find_elements(By.CSS_SELECTOR, ".arl-tm-dot")) == 2 + 4
    assert texts(driver, ".arl-tm-stage-name") == ["grid-scale skip", "transformer"]


def test_skill_bars_follow_the_choice(driver: WebDriver) -> None:
    def rows() -> list[list[str]]:
        return [row.split() for row in texts(driver, ".arl-tm-table tbody tr")]

    expected = scores(DONE)
    assert rows()[0] == ["mean", f"{expected['rmse_over_persistence/mean/6h']:.2f}"]
    assert (
        rows()[1][:2] == ["u", "wind"] and rows()[2][2] == f"{expected[f'spread_over_error/{HEAT}/6h']:.2f}"
    )
    press(driver, "Lead time", "3 h")
    press(driver, "Compared with", "climatology")
    shown = expected["rmse_over_climatology/mean/3h"]
    assert rows()[0] == ["mean", f"{shown:.2f}"]
    width, one = driver.execute_script(
        "const [bar, one] = ['bar', 'one'].map((name) =>"
        " document.querySelector(`.arl-tm-${name}`).getBoundingClientRect());"
        "return [bar.width, one.left - bar.left]"
    )
    assert width / one == pytest.approx(shown, abs=0.02), "the dashed line is where both errors are equal"
    assert "RMSE / that of climatology" in texts(driver, ".arl-tm-table th")


def test_the_curves_are_read_off(driver: WebDriver) -> None:
    chart = driver.find_element(By.CSS_SELECTOR, ".arl-tm-chart")
    assert str(chart.get_attribute("aria-valuetext")).startswith("step 300: all fields 0.2")
    chart.send_keys(Keys.ARROW_LEFT)
    settle(driver)
    assert texts(driver, ".arl-tm-when") == ["step 299"]
    chart.send_keys(Keys.SHIFT, Keys.ARROW_LEFT)
    settle(driver)
    assert texts(driver, ".arl-tm-when") == ["step 289"]
    chart.send_keys(Keys.HOME)
    settle(driver)
    assert texts(driver, ".arl-tm-when") == ["step 1"]
    value = float(texts(driver, '[data-arl-name="temperature"] b')[0])
    assert value == pytest.approx(1.2 * loss_of(0, 3.5), rel=0.02), "smoothed over a few steps"
    chart.send_keys(Keys.END)
    settle(driver)
    assert texts(driver, ".arl-tm-when") == ["newest, step 300"]
    ActionChains(driver).move_to_element(chart).perform()
    settle(driver)
    assert 180 < int(texts(driver, ".arl-tm-when")[0].split()[1]) < 230, "the pointer reads off too"
    step = int(texts(driver, ".arl-tm-when")[0].split()[1])
    before = max(s for s in (150, 200) if s <= step) - STEPS[0]
    held = float(texts(driver, '[data-arl-name="held out"] b')[0])
    assert held == pytest.approx(1.05 * loss_of(1, before), rel=0.01), "the last one before"


def test_a_name_hides_its_curve(driver: WebDriver) -> None:
    button = driver.find_element(By.CSS_SELECTOR, '[data-arl-name="temperature"]')
    button.send_keys(Keys.SPACE)
    settle(driver)
    button = driver.find_element(By.CSS_SELECTOR, '[data-arl-name="temperature"]')
    assert button.get_attribute("aria-pressed") == "false" and driver.switch_to.active_element == button
    assert len(driver.find_elements(By.CSS_SELECTOR, ".arl-tm-raw")) == 2
    button.click()
    settle(driver)
    assert len(driver.find_elements(By.CSS_SELECTOR, ".arl-tm-raw")) == 3


def test_everything_has_a_name(driver: WebDriver) -> None:
    nameless = driver.execute_script(
        "return [...document.querySelectorAll('.arl-tm :is(input, svg, [tabindex])')]"
        ".filter((e) => !e.getAttribute('aria-label')).length"
    )
    assert nameless == 0
    assert driver.execute_script(
        "return [...document.querySelectorAll('.arl-tm, .arl-tm *')]"
        ".every((e) => [...e.classList].every((name) => name.startsWith('arl-')))"
    )


def test_news_from_python_are_drawn_and_told(browser: WebDriver, page: Path, tmp_path: Path) -> None:
    open_page(browser, like_a_kernel(page, tmp_path), MONITOR)
    browser.execute_script(
        "model.set('shown', arguments[0]); window['change:shown']()", watched(STEPS[1]).shown
    )
    wait_for(lambda: "Finished: 400 steps" in browser.find_element(By.CSS_SELECTOR, ".arl-tm-status").text)
    told = wait_for(lambda: browser.find_element(By.CSS_SELECTOR, "[aria-live]").get_attribute("textContent"))
    assert told.startswith("Finished: 400 steps. loss 0.18") and "of that of persistence at 6h" in told
    assert console_errors(browser) == []


def test_before_the_first_step(browser: WebDriver, tmp_path: Path) -> None:
    open_page(browser, TrainingMonitor(title="Empty").to_html(tmp_path / "empty.html").as_uri(), MONITOR)
    assert browser.find_element(By.CSS_SELECTOR, ".arl-tm-status").text == "Waiting for the first step"
    assert "No scores yet" in browser.find_element(By.CSS_SELECTOR, ".arl-tm-none").text
    assert console_errors(browser) == []


def test_redraws_within_50_ms(driver: WebDriver) -> None:
    times = driver.execute_script(f"return Array.from({{ length: 15 }}, () => {MONITOR}.arl.redraw())")
    assert np.median(times) < 50


@pytest.mark.parametrize(("width", "columns"), [(1200, 2), (400, 1)])
def test_columns_fit_the_width(driver: WebDriver, width: int, columns: int) -> None:
    set_view(driver, width)
    settle(driver)
    try:
        found = driver.execute_script(
            "return new Set([...document.querySelector('.arl-tm-parts').children]"
            ".map((e) => Math.round(e.getBoundingClientRect().left))).size"
        )
        assert found == columns and overflow(driver) == 0
    finally:
        set_view(driver, 1200, 900)
