"""Lectures made of the template and, where the book is built, of its chapters, opened in a browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from chapter_slides import make_slides
from selenium.webdriver.remote.webdriver import WebDriver

BOOK = Path(__file__).resolve().parents[1] / "book"
TEMPLATE = BOOK / "_template" / "chapter.ipynb"
CONTENTS = yaml.safe_load((BOOK / "_toc.yml").read_text())
NAMES = [page["file"] for part in CONTENTS["parts"] for page in part["chapters"]]
BUILT = [BOOK / f"{name}.ipynb" for name in NAMES if (BOOK / "_build" / "html" / f"{name}.html").exists()]
PAGES = [TEMPLATE, *(path for path in BUILT if path.exists())]
SETTLED = """
return document.documentElement.dataset.settled
  && [...document.querySelectorAll('.widget-area')].every(
    area => area.dataset.fitted && area.querySelector('.lm-Widget, .jupyter-widgets'));
"""


def make_deck(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lecture, made once for all modules."""
    folder = tmp_path_factory.getbasetemp() / "lecture" / page.stem
    if not folder.exists():
        assert make_slides(page, folder, book=BOOK) > 10
    return folder


def open_deck(driver: WebDriver, deck: Path) -> None:
    driver.get("about:blank")  # else only the part after # may change
    driver.get((deck / "index.html").as_uri())
    end = time.monotonic() + 60
    while not driver.execute_script(SETTLED):
        assert time.monotonic() < end, "the slides have not settled"
        time.sleep(0.1)
    time.sleep(0.3)  # a late request or error


def press(driver: WebDriver, *keys: str) -> None:
    driver.switch_to.active_element.send_keys(*keys)


def set_size(driver: WebDriver, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def number(driver: WebDriver) -> int:
    (shown,) = driver.execute_script(
        "return [...document.querySelectorAll('.slide')]"
        ".flatMap((slide, i) => getComputedStyle(slide).visibility === 'visible' ? [i + 1] : [])"
    )
    return int(shown)
