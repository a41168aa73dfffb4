"""LiveVortices in headless Chromium: the network and the solver in the page compute what Python computes.

The numbers are compared with PyTorch's, with `flows.solve` and with the table of the book.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite import flows
from atmorep_lite.onnx_export import Written
from atmorep_lite.widgets.live_vortices import LiveVortices
from tests.widgets import live_page
from tests.widgets.explorer_page import press, wait_for
from tests.widgets.live_page import (
    ROOT,
    STEPS,
    choose,
    computed,
    map_of,
    point,
    selected,
    shown,
    torch_forecasts,
)

BOOK_PAGE = Path(__file__).parents[2] / "book" / "model_in_the_page.ipynb"
page, address, opened, driver = live_page.page, live_page.address, live_page.opened, live_page.driver
written = live_page.written


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


@pytest.fixture(scope="module")
def table() -> Any:
    """The table of the book's first experiment, computed by its own cells."""
    cells = ["".join(cell["source"]) for cell in json.loads(BOOK_PAGE.read_text())["cells"]]
    found: dict[str, Any] = {}
    for sign in ("import torch", "def around", "zoo.rollout(model, true[:, :3]"):
        (cell,) = (text for text in cells if sign in text and not text.startswith("#"))
        exec(cell, found)
    return found["table"]


@pytest.mark.parametrize("name", ["pair", "too strong"])
def test_errors_are_those_of_the_book(driver: WebDriver, table: Any, name: str) -> None:
    choose(driver, **LiveVortices(scene=name, step=10).selected)
    for step in (1, 5, 10):
        guess, truth = (shown(driver, what, step) for what in ("forecast", "truth"))
        error = np.linalg.norm(guess - truth) / np.linalg.norm(truth)
        assert error == pytest.approx(table.loc[name, f"{step} step{'s' * (step > 1)}"], rel=0.002)
    still = np.linalg.norm(shown(driver, "frames")[2] - truth) / np.linalg.norm(truth)
    assert still == pytest.approx(table.loc[name, "10 steps, nothing changes"], rel=0.002)


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
