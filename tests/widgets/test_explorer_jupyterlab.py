"""The explorer live in JupyterLab: a cell makes it, a key on a map moves the query, Python hears of it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from tests.browser import external_requests, start_browser
from tests.widgets.explorer_page import ROOT, selected, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("jupyterlab") is None, reason="JupyterLab is not installed"),
    pytest.mark.skipif(find_spec("ipykernel") is None, reason="ipykernel is not installed"),
]
MAKE = """
import os, sys
sys.path.insert(0, os.environ["ATMOREP_LITE_ROOT"])
from atmorep_lite.widgets import AttentionExplorer
from tests.widgets.planes import plane_capture
explorer = AttentionExplorer(plane_capture(), panels="times")
explorer
"""
TELL = "print('query', explorer.selected['query'], 'layer', explorer.selected['layer'])"
MOVE = "explorer.selected = {'query': 300, 'layer': 0}"


def code(name: str, source: str) -> dict:
    return {
        "cell_type": "code", "id": name, "metadata": {}, "execution_count": None, "outputs": [],
        "source": source.strip(),
    }  # fmt: skip


@pytest.fixture
def lab(root: Path, tmp_path: Path) -> Iterator[str]:
    """Address of a JupyterLab of its own, with all its settings and files in a temporary folder."""
    notebook = {
        "cells": [code("make", MAKE), code("tell", TELL), code("move", MOVE)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    work = tmp_path / "work"
    work.mkdir()
    (work / "explorer.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {"config": "JUPYTER_CONFIG_DIR", "runtime": "JUPYTER_RUNTIME_DIR", "ipython": "IPYTHONDIR"}
    environment = {**os.environ, "ATMOREP_LITE_ROOT": str(root), "JUPYTER_PLATFORM_DIRS": "1"}
    environment |= {variable: str(tmp_path / name) for name, variable in folders.items()}
    options = {
        "ServerApp.ip": "127.0.0.1", "ServerApp.port": port, "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False, "ServerApp.root_dir": work, "IdentityProvider.token": "",
        "ServerApp.allow_root": True, "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.news_url": "None", "LabApp.user_settings_dir": tmp_path / "settings",
        "LabApp.workspaces_dir": tmp_path / "workspaces",
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]
    with (tmp_path / "lab.log").open("w") as log:
        process = subprocess.Popen(command, cwd=work, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:

        def answers() -> bool:
            if process.poll() is not None:
                pytest.fail("JupyterLab did not start: " + (tmp_path / "lab.log").read_text()[-500:])
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        wait_for(answers, 120)
        yield f"http://127.0.0.1:{port}/lab/tree/explorer.ipynb?reset"
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


def open_notebook(driver: WebDriver, url: str, cells: int) -> None:
    """Wait until the notebook's cells are there and its kernel is idle."""
    driver.get(url)
    wait_for(lambda: len(driver.find_elements(By.CSS_SELECTOR, ".jp-Notebook .cm-content")) >= cells, 180)
    status = "return document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status"
    wait_for(lambda: driver.execute_script(status) == "idle", 180)


def run_cell(driver: WebDriver, index: int) -> None:
    """Click into a cell and run it; once more where the page moved away under the pointer."""
    cell = driver.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-Cell")[index]
    for _ in range(3):
        driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", cell)
        with contextlib.suppress(AssertionError, WebDriverException):
            cell.find_element(By.CSS_SELECTOR, ".cm-content").click()
            ActionChains(driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
            wait_for(lambda: cell.find_element(By.CSS_SELECTOR, ".jp-InputPrompt").text.strip() != "[ ]:", 60)
            return
    raise AssertionError(f"cell {index} did not run")


def said(driver: WebDriver) -> str:
    return " ".join(e.text for e in driver.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output pre"))


def test_lives_in_jupyterlab(lab: str) -> None:
    driver = start_browser(1400, 1000)
    try:
        open_notebook(driver, lab, 3)
        run_cell(driver, 0)
        wait_for(lambda: driver.execute_script(f"return {ROOT}?.dataset.arlDraws"), 180)
        before = selected(driver)
        focus = driver.find_element(By.CSS_SELECTOR, ".arl-map")
        focus.send_keys(Keys.ARROW_UP)
        focus.send_keys("[")
        query = before["query"] + 16  # a row of 16 tokens further up
        assert (selected(driver)["query"], selected(driver)["layer"]) == (query, before["layer"] - 1)
        run_cell(driver, 1)
        wait_for(lambda: f"query {query} layer {before['layer'] - 1}" in said(driver), 120)
        run_cell(driver, 2)
        wait_for(lambda: selected(driver)["query"] == 300, 120)
        assert external_requests(driver) == []
    finally:
        driver.quit()
