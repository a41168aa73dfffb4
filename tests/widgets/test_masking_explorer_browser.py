"""MaskingExplorer in headless Chromium: masks and counts are Python's; mouse, finger and keys hide tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite import open_sample
from atmorep_lite.widgets import MaskingExplorer
from atmorep_lite.widgets.mask_draws import KINDS
from tests.browser import console_errors, settle, touch
from tests.widgets.explorer_page import hooks_of, like_a_kernel, open_page, press, quiet_page, wait_for

ROOT = "document.querySelector('.arl-masking')"
_, selected = hooks_of(ROOT)
SIZES = {"temperature": (4, 8, 8), "vorticity": (2, 8, 16)}


@pytest.fixture(scope="module")
def explorer() -> MaskingExplorer:
    data = open_sample().isel(time=slice(0, 16)).load()
    return MaskingExplorer(
        data, tuple(SIZES), levels=[500, 850], steps=16, token_size=SIZES, draws=3, title="Masking"
    )


@pytest.fixture(scope="module")
def page(explorer: MaskingExplorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explorer.to_html(tmp_path_factory.mktemp("masking") / "masking.html")


@pytest.fixture
def driver(browser: WebDriver, page: Path) -> Iterator[WebDriver]:
    with quiet_page(browser, page.as_uri(), ROOT):
        yield browser


def agrees(driver: WebDriver, explorer: MaskingExplorer) -> None:
    """Mask, counts and kinds of the page are Python's for what the page has selected."""
    explorer.selected = selected(driver)
    masks = explorer.masks()
    mask, counts, kinds = driver.execute_script(
        f"const a = {ROOT}.arl; return [a.mask().join(''), a.counts(), a.kinds()]"
    )
    assert mask == "".join(str(int(bit)) for one in masks.values() for bit in one.flatten())
    for one, count in zip(masks.values(), counts, strict=True):
        hidden = one.numpy()
        assert count["counts"] == hidden.sum((2, 3)).tolist()
        assert count["byLevel"] == hidden.sum((1, 2, 3)).tolist()
        assert count["bySlot"] == hidden.sum((0, 2, 3)).tolist()
        assert count["hidden"] == hidden.sum()
    if explorer.selected["strategy"] == "random":
        corruption = explorer.corruption()
        assert kinds == [int(k) for one in corruption.values() for k in one.flatten()]
        here = corruption[explorer.selected["field"]].numpy()
        there = driver.execute_script(f"return {ROOT}.arl.kindCounts()")
        assert there == [int((here == kind).sum()) for kind in range(len(KINDS))]
    else:
        assert kinds is None


def test_every_mask_is_pythons(driver: WebDriver, explorer: MaskingExplorer) -> None:
    for strategy, settings in explorer._known.settings.items():
        for setting in range(len(settings)):
            for draw in (0, 2):
                wish = {"strategy": strategy, "setting": setting, "draw": draw, "hand": []}
                driver.execute_script(f"{ROOT}.arl.choose(arguments[0])", wish)
                agrees(driver, explorer)


def test_counts_are_written(driver: WebDriver, explorer: MaskingExplorer) -> None:
    explorer.selected = selected(driver)
    hidden = explorer.masks()["temperature"].numpy()
    written = [e.text for e in driver.find_elements(By.CSS_SELECTOR, ".arl-mask-count")]
    assert written == [f"{n} of 32" for n in hidden.sum((2, 3)).ravel()]
    share = driver.find_element(By.CSS_SELECTOR, ".arl-mask-told b").text.split()[0]
    assert abs(float(share) - 100 * hidden.mean()) < 0.6
    row = driver.find_element(By.CSS_SELECTOR, ".arl-mask-shares tbody tr:last-child").text.split()
    every = [one.numpy() for one in explorer.masks().values()]
    assert row[:2] == ["all", "together"]
    assert row[2:4] == [str(sum(int(one.sum()) for one in every)), str(sum(one.size for one in every))]


def choose_strategy(driver: WebDriver, name: str) -> None:
    driver.find_element(By.XPATH, f"//label[input[@value='{name}']]").click()
    settle(driver)


def test_strategies_and_controls_choose(driver: WebDriver, explorer: MaskingExplorer) -> None:
    first = driver.execute_script(f"return {ROOT}.arl.mask().join('')")
    driver.find_element(By.XPATH, "//button[text()='Draw again']").click()
    assert selected(driver)["draw"] == 1
    assert driver.execute_script(f"return {ROOT}.arl.mask().join('')") != first
    press(driver, "Show", "what becomes of it")
    agrees(driver, explorer)
    choose_strategy(driver, "interpolation")
    press(driver, "How much", "2 slots")
    press(driver, "Field", "relative vorticity")
    now = selected(driver)
    assert (now["strategy"], now["setting"], now["field"]) == ("interpolation", 1, "vorticity")
    agrees(driver, explorer)
    choose_strategy(driver, "forecast")
    assert not driver.find_element(By.XPATH, "//button[text()='Draw again']").is_displayed()
    agrees(driver, explorer)


def on_map(driver: WebDriver, row: float, column: float) -> ActionChains:
    """The pointer goes to a token of 8 x 8 points on the large map."""
    found = driver.find_element(By.CSS_SELECTOR, ".arl-mask-map canvas")
    driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", found)
    width, height = (found.size[side] for side in ("width", "height"))
    inner = width - 48  # margins 38 and 10 of the map; 7 above it
    x, y = 38 + (column + 0.5) / 8 * inner, 7 + (row + 0.5) / 4 * round(inner / 2)
    offset = round(x - width / 2), round(y - height / 2)
    return ActionChains(driver).move_to_element_with_offset(found, *offset)


def test_the_mouse_hides_tokens(driver: WebDriver, explorer: MaskingExplorer) -> None:
    choose_strategy(driver, "none")
    cells = driver.find_elements(By.CSS_SELECTOR, ".arl-mask-cell")
    cells[4].click()  # 850 hPa, first slot
    view = driver.execute_script(f"return {ROOT}.arl.view()")
    assert (view["level"], view["slot"]) == (1, 0)
    on_map(driver, 1, 2).click().perform()
    assert selected(driver)["hand"] == [["temperature", 1, 0, 1, 2]]
    agrees(driver, explorer)
    width = driver.find_element(By.CSS_SELECTOR, ".arl-mask-map canvas").size["width"]
    step = round((width - 48) / 8)
    on_map(driver, 3, 1).click_and_hold().move_by_offset(step, 0).move_by_offset(step, 0).release().perform()
    hand = {tuple(token) for token in selected(driver)["hand"]}
    assert hand == {("temperature", 1, 0, *at) for at in ((1, 2), (3, 1), (3, 2), (3, 3))}
    agrees(driver, explorer)
    on_map(driver, 1, 2).click().perform()
    assert len(selected(driver)["hand"]) == 3
    driver.find_element(By.XPATH, "//button[text()='Hide this map']").click()
    assert len(selected(driver)["hand"]) == 32
    agrees(driver, explorer)
    driver.find_element(By.XPATH, "//button[text()='Undo all by hand']").click()
    assert selected(driver)["hand"] == []


def test_a_finger_hides_a_token(driver: WebDriver, explorer: MaskingExplorer) -> None:
    touch(driver, driver.find_element(By.CSS_SELECTOR, ".arl-mask-map canvas"), at=(0.5, 0.4))
    assert len(selected(driver)["hand"]) == 1
    agrees(driver, explorer)


def test_keys_hide_tokens(driver: WebDriver, explorer: MaskingExplorer) -> None:
    found = driver.find_element(By.CSS_SELECTOR, ".arl-mask-map")
    before = driver.execute_script(f"return {ROOT}.arl.view()")
    found.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, ",", "]", " ")
    (token,) = selected(driver)["hand"]
    place = (1, before["slot"] - 1, before["row"] + 1, before["column"] + 1)
    assert token == ["temperature", *place]
    agrees(driver, explorer)
    found.send_keys(Keys.ENTER)
    assert selected(driver)["hand"] == []


def test_the_mask_is_told(driver: WebDriver, explorer: MaskingExplorer) -> None:
    choose_strategy(driver, "forecast")
    told = wait_for(lambda: driver.find_element(By.CSS_SELECTOR, "[aria-live]").get_attribute("textContent"))
    assert "Strategy forecast, 1 slot: 64 of 256 tokens of temperature hidden, 25" in told
    label = driver.find_element(By.CSS_SELECTOR, ".arl-mask-cell").get_attribute("aria-label")
    assert label == "500 hPa, −45 … −36 h: 0 of 32 tokens hidden; show large"


def test_python_moves_the_view(
    browser: WebDriver, page: Path, explorer: MaskingExplorer, tmp_path: Path
) -> None:
    open_page(browser, like_a_kernel(page, tmp_path), ROOT)
    wish = selected(browser) | {"strategy": "box", "draw": 1, "hand": [["vorticity", 1, 2, 3, 3]]}
    browser.execute_script("model.set('selected', arguments[0]); window['change:selected']()", wish)
    agrees(browser, explorer)
    browser.find_element(By.CSS_SELECTOR, ".arl-mask-map").send_keys(" ")
    settle(browser)
    assert len(browser.execute_script("return model.get('selected')")["hand"]) == 2


@pytest.mark.parametrize("size", [(2, 32, 64), (1, 1, 2)])
def test_odd_tokens_are_drawn(browser: WebDriver, tmp_path: Path, size: tuple[int, int, int]) -> None:
    """One token a map, and a great many; one field, one level, no value."""
    data = open_sample()[["temperature"]].isel(time=slice(0, 4), level=[0]).load()
    data["temperature"][2:] = np.nan
    explorer = MaskingExplorer(data, "temperature", steps=4, token_size=size, draws=1)
    open_page(browser, explorer.to_html(tmp_path / "odd.html").as_uri(), ROOT)
    for strategy in explorer._known.settings:
        browser.execute_script(f"{ROOT}.arl.choose({{ strategy: '{strategy}', look: 'corrupted' }})")
        agrees(browser, explorer)
    assert browser.execute_script(f"return {ROOT}.dataset.arlFault") is None
    assert console_errors(browser) == []


@pytest.mark.parametrize("look", ["hidden", "corrupted"])
def test_redraws_within_50_ms(driver: WebDriver, look: str) -> None:
    """Each time another draw."""
    times = driver.execute_script(
        f"const a = {ROOT}.arl; return Array.from({{ length: 15 }}, (_, i) => {{"
        " a.choose({ draw: i % 3, look: arguments[0] }); return a.redraw(); })",
        look,
    )
    assert np.median(times) < 50
