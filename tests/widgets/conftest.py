"""One synthetic capture and one page made of it, for all tests of the explorer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.widgets.explorer_page import open_page
from tests.widgets.synthetic import make_capture

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

    from atmorep_lite.attention_maps import AttentionCapture
    from atmorep_lite.widgets import AttentionExplorer

UNCOUPLED = (("temperature", "specific_humidity"),)


@pytest.fixture(scope="session")
def capture() -> AttentionCapture:
    """Five fields; temperature does not look at humidity."""
    return make_capture(uncoupled=UNCOUPLED)


@pytest.fixture(scope="session")
def explorer(capture: AttentionCapture) -> AttentionExplorer:
    """An explorer of the whole capture."""
    from atmorep_lite.widgets import AttentionExplorer

    return AttentionExplorer(
        capture,
        title="What does one token look at?",
        caption="Synthetic fields and attention, made by formula.",
    )


@pytest.fixture(scope="session")
def page(explorer: AttentionExplorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The explorer's stand-alone page."""
    return explorer.to_html(tmp_path_factory.mktemp("explorer") / "explorer.html")


@pytest.fixture
def driver(browser: WebDriver, page: Path) -> WebDriver:
    """The page, freshly loaded from the disk."""
    open_page(browser, page.as_uri())
    return browser
