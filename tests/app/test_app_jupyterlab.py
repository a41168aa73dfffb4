"""The live app in a cell of JupyterLab: it displays, steps to another scene, and Python answers."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.app.live_page import FIND, until
from tests.browser import external_requests, start_browser
from tests.widgets import test_explorer_jupyterlab as notebook
from tests.widgets.test_explorer_jupyterlab import lab as lab

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("jupyterlab") is None, reason="JupyterLab is not installed"),
    pytest.mark.skipif(find_spec("ipykernel") is None, reason="ipykernel is not installed"),
]
MAKE = """
import os, sys
sys.path.insert(0, os.environ["ATMOREP_LITE_ROOT"])
from atmorep_lite.app import app
live = app()
live
"""
TELL = "print('scene', live.selected['scene'], 'of', live.answer['name'])"


@pytest.fixture(autouse=True)
def cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the notebook of ``lab`` holds."""
    monkeypatch.setattr(notebook, "MAKE", MAKE)
    monkeypatch.setattr(notebook, "TELL", TELL)


def test_lives_in_jupyterlab(cells: None, lab: str) -> None:
    driver = start_browser(1500, 1100)
    try:
        notebook.open_notebook(driver, lab, 3)
        notebook.run_cell(driver, 0)
        until(lambda: driver.execute_script(FIND + "return stage && stage.arl && stage.arl.number()"), 240)
        driver.execute_script(FIND + "stage.arl.scene(2)")
        until(lambda: driver.execute_script(FIND + "return stage.arl.number()") == 2, 120)
        assert "What it must beat" in driver.execute_script(FIND + "return stage.innerText")
        notebook.run_cell(driver, 1)
        until(lambda: "scene 2 of temperature" in notebook.said(driver), 120)
        assert external_requests(driver) == []
    finally:
        driver.quit()
