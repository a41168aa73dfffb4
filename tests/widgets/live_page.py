"""What the browser tests of LiveVortices share: its page, pointing at places, reading numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from atmorep_lite import flows, zoo
from atmorep_lite.onnx_export import Written
from atmorep_lite.widgets.live_vortices import LiveVortices
from tests.browser import console_errors, serve, settle
from tests.widgets.explorer_page import wait_for

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
