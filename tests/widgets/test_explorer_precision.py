"""What a page weighs, and how far its weights are from exact ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.attention_maps import AttentionCapture, attention_maps
from atmorep_lite.widgets import AttentionExplorer
from tests.browser import console_errors
from tests.widgets.explorer_page import ROOT, open_page, page_weights

LIMITS = {"int8": (1e-3, 0.05), "float16": (1e-5, 4e-3), "float32": (0.0, 1e-6)}


@pytest.mark.parametrize("precision", LIMITS)
def test_the_error_bound_is_what_an_exact_softmax_says(capture: AttentionCapture, precision: str) -> None:
    explorer = AttentionExplorer(capture, layers=[3], precision=precision)
    low, high = LIMITS[precision]
    assert low <= explorer.error_bound < high
    # an independent exact softmax, on queries of which the bound saw only some
    rows = attention_maps(capture, query_fields=["vorticity"], layers=[3], queries=list(range(0, 768, 13)))
    worst = 0.0
    for key in ("vorticity", "temperature"):
        exact = rows[f"vorticity/{key}/attention"]
        for head in exact["head"].values:
            for i, query in enumerate(range(0, 768, 13)):
                found = explorer.weights(
                    "vorticity",
                    query,
                    3,
                    int(head),
                    coupling_head=int(head) if key != "vorticity" else "mean",
                )[key]
                one = exact.sel(layer=3, head=head).values[i]
                worst = max(worst, np.abs(found.ravel() - one).max() / one.max())
    assert worst <= 1.5 * explorer.error_bound + 1e-6
    assert worst >= 0.1 * explorer.error_bound


def test_fewer_bytes_a_number_make_a_smaller_page(capture: AttentionCapture, tmp_path: Path) -> None:
    sizes = {}
    for precision in LIMITS:
        explorer = AttentionExplorer(capture, precision=precision)
        page = explorer.to_html(tmp_path / f"{precision}.html")
        assert explorer.page_bytes == page.stat().st_size
        sizes[precision] = len(explorer.data)
    numbers = sum(pair.q.size + pair.k.size for pair in capture.pairs.values())
    assert sizes["float32"] - sizes["float16"] == 2 * numbers
    assert sizes["float16"] - sizes["int8"] == pytest.approx(numbers - 4 * numbers / 16, rel=1e-3)


def test_int8_on_the_page_is_int8_in_python(
    browser: WebDriver, capture: AttentionCapture, tmp_path: Path
) -> None:
    explorer = AttentionExplorer(capture, precision="int8", layers=[1, 3])
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    for query, layer, head in ((700, 3, 2), (35, 1, "mean")):
        wish = {"query_field": "temperature", "query": query, "layer": layer, "head": head}
        browser.execute_script(f"{ROOT}.arl.choose(arguments[0])", wish)
        for key, row in explorer.weights("temperature", query, layer, head).items():
            assert np.abs(page_weights(browser, key) - row).max() < 1e-6 * row.max()
    words = browser.find_element(By.CSS_SELECTOR, ".arl-aside").text.replace("\xa0", " ")
    assert "kept as int8" in words and f"{100 * explorer.error_bound:.2g} % of their row's peak" in words
    assert console_errors(browser) == []
