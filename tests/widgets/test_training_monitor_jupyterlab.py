"""TrainingMonitor live in JupyterLab: it keeps up while the cell that trains keeps the kernel busy."""

from __future__ import annotations

import json
import re
from pathlib import Path

from selenium.webdriver.common.by import By

from tests.browser import console_errors, external_requests, start_browser
from tests.widgets.explorer_page import wait_for
from tests.widgets.test_explorer_jupyterlab import code, lab, open_notebook, pytestmark, run_cell, said  # noqa: F401

MAKE = """
import os, sys, time
sys.path.insert(0, os.environ["ATMOREP_LITE_ROOT"])
from atmorep_lite.training import loop
from atmorep_lite.widgets import TrainingMonitor
from tests.tiny import tiny_run, wave
loop.open_source = lambda name, period=None: wave(times=14)
stages = [{"part": "transformer", "steps": 150, "batch_size": 2}]
config = tiny_run(stages=stages, checkpoint_every=50)
def slow(progress):
    monitor(progress)
    time.sleep(0.1)
print("ready")
"""
TRAIN = """
monitor = TrainingMonitor(config)
display(monitor)
model = loop.train(config, "run", report=slow)
print("trained")
"""


def test_keeps_up_while_the_kernel_is_busy(lab: str, tmp_path: Path) -> None:  # noqa: F811
    notebook = {
        "cells": [code("make", MAKE), code("train", TRAIN)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (tmp_path / "work" / "training.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    driver = start_browser(1400, 1000)

    def step() -> int:
        found = driver.find_elements(By.CSS_SELECTOR, ".arl-tm-status")
        number = re.search(r"step (\d+) of 150", found[0].text) if found else None
        return int(number[1]) if number else 0

    def busy() -> bool:
        prompt = driver.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-InputPrompt")[1].text
        return prompt.strip() == "[*]:"

    try:
        open_notebook(driver, lab.replace("explorer.ipynb", "training.ipynb"), 2)
        run_cell(driver, 0)
        wait_for(lambda: "ready" in said(driver), 120)
        run_cell(driver, 1)
        first = wait_for(lambda: busy() and step(), 120)
        later = wait_for(lambda: busy() and step() > first + 20 and step(), 60)
        points = driver.execute_script(
            "return document.querySelector('.arl-tm').arl.shown().curve.step.length"
        )
        assert busy() and points >= later, "all that while the cell was running"
        driver.save_screenshot(str(tmp_path / "busy.png"))
        wait_for(lambda: "trained" in said(driver), 120)
        wait_for(lambda: "Finished: 150 steps" in driver.find_element(By.CSS_SELECTOR, ".arl-tm-status").text)
        assert external_requests(driver) == []
        assert not [e for e in console_errors(driver) if "arl" in e or "anywidget" in e]
    finally:
        driver.quit()
