"""The explorer on pages: widths, colour schemes, and a static site with no kernel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.widgets import AttentionExplorer
from tests.browser import console_errors, external_requests, serve, start_browser
from tests.widgets.explorer_page import (
    COLOURS,
    ROOT,
    open_page,
    page_weights,
    point_at,
    press,
    selected,
    settle,
)
from tests.widgets.synthetic import LATITUDE, LONGITUDE


@pytest.fixture
def pictures(root: Path) -> Path:
    """Where screenshots of the last run lie."""
    folder = root / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 800, 420])
def test_fits_the_width_in_both_schemes(page: Path, pictures: Path, width: int, dark: bool) -> None:
    driver = start_browser(width, 1000, dark)
    try:
        open_page(driver, page.as_uri())
        tall, wide = driver.execute_script(
            "const e = document.documentElement; return [e.scrollHeight, e.scrollWidth - e.clientWidth]"
        )
        assert wide <= 0
        columns = driver.execute_script(
            "return new Set([...document.querySelectorAll('.arl-card')].map((c) => c.offsetLeft)).size"
        )
        assert columns == {1400: 3, 800: 2, 420: 1}[width]
        cut = driver.execute_script(
            "return [...document.querySelectorAll('.arl-title, .arl-kind, .arl-slot, .arl-button span')]"
            ".filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map((e) => e.textContent)"
        )
        assert cut == []
        scheme = driver.execute_script(f"return {ROOT}.dataset.arlScheme")
        assert scheme == ("dark" if dark else "light")
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": tall, "deviceScaleFactor": 1, "mobile": False},
        )
        settle(driver)
        driver.save_screenshot(str(pictures / f"explorer-{width}-{'dark' if dark else 'light'}.png"))
    finally:
        driver.quit()


def test_the_pages_scheme_comes_before_the_readers(driver: WebDriver) -> None:
    def scheme() -> str:
        settle(driver)
        return driver.execute_script(f"return {ROOT}.dataset.arlScheme")

    def brightness() -> float:
        """Mean grey of the first map's corner, far from the query."""
        return driver.execute_script(
            "const c = document.querySelector('.arl-canvas'); const { data } = c.getContext('2d')"
            ".getImageData(45, 100, 40, 40); let sum = 0;"
            "for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];"
            "return sum / (0.75 * data.length)"
        )

    assert scheme() == "light"
    assert brightness() > 170
    driver.execute_script("document.documentElement.dataset.theme = 'dark'")
    assert scheme() == "dark"
    assert brightness() < 85
    driver.execute_script(
        "delete document.documentElement.dataset.theme; document.body.dataset.jpThemeLight = 'false'"
    )
    assert scheme() == "dark"
    driver.execute_script("document.body.dataset.jpThemeLight = 'true'")
    assert scheme() == "light"
    # JupyterLab hides the page for a moment while its theme changes.
    driver.execute_script(f"{ROOT}.style.display = 'none'; document.body.dataset.jpThemeLight = 'false'")
    assert scheme() == "dark"


@pytest.fixture
def static_site(root: Path, explorer: AttentionExplorer, tmp_path: Path) -> Iterator[str]:
    """A page with the explorer's saved widget state and the book's own widget manager, no kernel."""
    from ipywidgets.embed import embed_data

    vendor = root / "book" / "_assets" / "vendor"
    if not (vendor / "embed-amd.js").is_file():
        pytest.skip("the book's widget manager is not there")
    shutil.copytree(vendor, tmp_path / "vendor", ignore=shutil.ignore_patterns("mathjax"))
    anywidget = Path(find_spec("anywidget").origin).parent
    shutil.copyfile(anywidget / "nbextension" / "index.js", tmp_path / "vendor" / "anywidget.js")
    state = embed_data(views=[explorer], drop_defaults=False)  # as a notebook saves it
    scripts = "".join(
        f'<script src="vendor/{name}.js"></script>' for name in ("require", "widgets-config", "embed-amd")
    )
    kinds = {"widget-state": state["manager_state"], "widget-view": state["view_specs"][0]}
    parts = "".join(
        f'<script type="application/vnd.jupyter.{kind}+json">{json.dumps(content)}</script>'
        for kind, content in kinds.items()
    )
    page = f"<!doctype html><meta charset=utf-8><body>{scripts}{parts}"
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    with serve(tmp_path) as url:
        yield url


def test_works_from_saved_state_with_no_kernel(
    browser: WebDriver, static_site: str, explorer: AttentionExplorer
) -> None:
    browser.get_log("performance")
    open_page(browser, f"{static_site}/index.html")
    assert min(browser.execute_script(COLOURS)) > 30
    press(browser, "Layer", "1")
    point_at(browser, "temperature", LATITUDE[3], LONGITUDE[6]).click().perform()
    settle(browser)
    state = selected(browser)
    assert (state["query_field"], state["layer"]) == ("temperature", 1)
    row = explorer.weights("temperature", state["query"], 1)["vorticity"]
    assert np.abs(page_weights(browser, "vorticity") - row).max() < 1e-3 * row.max()
    assert external_requests(browser) == []
    assert console_errors(browser) == []
