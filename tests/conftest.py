"""Fixtures that tests of several parts share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real-data samples and golden values, named by ATMOREP_LITE_SHARED; skips without it."""
    named = os.environ.get("ATMOREP_LITE_SHARED")
    if not named:
        pytest.skip("ATMOREP_LITE_SHARED, the folder of golden values and real-data samples, is not set")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"ATMOREP_LITE_SHARED names {folder}, which is not a folder")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    """A headless Chromium (1200 x 900, light), one per test module; skips where there is none."""
    from tests.browser import start_browser

    driver = start_browser()
    try:
        yield driver
    finally:
        driver.quit()
