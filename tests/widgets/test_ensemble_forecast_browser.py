"""EnsembleExplorer of a real forecast in headless Chromium: maps and scores are Python's, lead by lead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.widgets.ensemble_explorer import EnsembleExplorer
from tests.browser import (
    console_errors,
    external_requests,
    touch,
)
from tests.widgets.explorer_page import check_looks, hooks_of, open_page, press, wait_for
from tests.widgets.test_ensemble_explorer import ensemble_forecast

ROOT = "document.querySelector('.arl-ensemble')"
ask, selected = hooks_of(ROOT)


@pytest.fixture(scope="module")
def forecast_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    explorer = EnsembleExplorer.of_forecast(
        *ensemble_forecast(), field="specific_humidity", level=500, title="Spread and error"
    )
    return explorer.to_html(tmp_path_factory.mktemp("forecast") / "forecast.html")


def test_a_forecast_is_shown_lead_by_lead(browser: WebDriver, forecast_page: Path) -> None:
    external_requests(browser)
    open_page(browser, forecast_page.as_uri(), ROOT)
    explorer = EnsembleExplorer.of_forecast(*ensemble_forecast(), field="specific_humidity", level=500)
    assert ask(browser, "numbers()") == explorer.meta["steps"][1]
    packed = explorer.meta["maps"]
    codes = np.frombuffer(explorer.data, "<u2", 72, packed["at"] + 144 * 2)
    low, high = packed["ranges"][2]
    assert ask(browser, "map(0)") == pytest.approx((low + codes / 65534 * (high - low)).tolist(), abs=1e-12)
    press(browser, "Lead", "6 h")
    assert selected(browser) == {"lead": 6} and ask(browser, "numbers()") == explorer.meta["steps"][0]
    chart = browser.find_element(By.CSS_SELECTOR, 'svg[aria-label="Spread and error against lead"]')
    chart.send_keys(Keys.ARROW_RIGHT)
    assert selected(browser) == {"lead": 12}
    touch(browser, chart, at=(0.5, 0.5))
    wait_for(lambda: selected(browser) == {"lead": 6})
    colours = browser.execute_script(
        "return [...document.querySelectorAll('canvas')].map((c) => new Set(new Uint32Array("
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size)"
    )
    assert min(colours) > 50, "both maps are drawn"
    step = explorer.meta["steps"][0]
    assert f"ratio {step['ratio']:.2f}" in ask(browser, "words()")
    check_looks(browser, "EnsembleExplorer-forecast", ROOT)
    assert external_requests(browser) == [] and console_errors(browser) == []
