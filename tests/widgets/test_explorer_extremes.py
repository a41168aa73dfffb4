"""The smallest captures draw, the largest and broken ones are refused: never an empty page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.attention_maps import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.widgets import AttentionExplorer
from atmorep_lite.widgets.page import page_text
from tests.browser import console_errors
from tests.widgets.explorer_page import ROOT, open_page, settle, wait_for
from tests.widgets.planes import plane_capture

ROOT_CLASS = ".arl-root"
DAY = np.array(["2001-01-01"], "datetime64[ns]")


def small(rows: int = 1, columns: int = 1, times: int = 1, *, plane: bool = False) -> AttentionCapture:
    """One field, one level, one layer, one head, one channel."""
    tokens = times * rows * columns
    shape = (1, times, rows, columns)
    frames = np.arange(1.0 - times, 1.0)
    field = CapturedField(
        name="temperature",
        level=np.array([0 if plane else 850]),
        time=frames if plane else DAY + frames.astype("timedelta64[h]"),
        latitude=np.arange(rows) + 0.5 if plane else 45.0 - np.arange(rows),
        longitude=np.arange(columns) + 0.5,
        token_size=(1.0, 1.0),
        position=np.zeros((tokens, 1), np.float32),
        values=np.full(shape, 280.0, np.float32),
        mask=np.zeros(shape, bool),
        units="K",
    )
    q = np.linspace(-1, 1, tokens, dtype=np.float32).reshape(1, 1, tokens, 1)
    pair = CapturedPair("temperature", "temperature", q, q, np.zeros((1, 1), np.float32), "encoder")
    geometry = "plane" if plane else "sphere"
    return AttentionCapture({"temperature": field}, {("temperature", "temperature"): pair}, geometry)


def only_coupled() -> AttentionCapture:
    """Two fields; the first looks at the second, and nothing else is captured."""
    one = small(2, 2)
    field, pair = one.fields["temperature"], one.pairs["temperature", "temperature"]
    fields = {"temperature": field, "vorticity": replace(field, name="vorticity", units="s-1")}
    key = ("temperature", "vorticity")
    return AttentionCapture(fields, {key: replace(pair, key_field="vorticity")})


def without_values() -> AttentionCapture:
    one = small(3, 3)
    field = one.fields["temperature"]
    return replace(one, fields={"temperature": replace(field, values=np.full_like(field.values, np.nan))})


def extreme_scores() -> AttentionCapture:
    one = small(4, 4)
    key = ("temperature", "temperature")
    pair = one.pairs[key]
    return replace(one, pairs={key: replace(pair, q=6e4 * pair.q, k=6e4 * pair.k)})


@pytest.mark.parametrize("panels", ["fields", "times"])
@pytest.mark.parametrize(
    "make",
    [
        small,
        lambda: small(plane=True),
        lambda: small(1, 40),
        lambda: small(40, 1, plane=True),
        lambda: small(2, 3, 30),
        only_coupled,
        without_values,
        extreme_scores,
    ],
    ids=["token", "token of a plane", "row", "column", "many times", "coupled only", "no value", "scores"],
)
def test_small_captures_draw(
    browser: WebDriver, tmp_path: Path, make: Callable[[], AttentionCapture], panels: str
) -> None:
    explorer = AttentionExplorer(make(), panels=panels)
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    for wish in (
        "view: 'attention'",
        "view: 'contours'",
        "compare: 'uniform'",
        "by: 'ratio'",
        "compare: 'nothing', view: 'field'",
    ):
        browser.execute_script(f"{ROOT}.arl.choose({{ {wish} }})")
        settle(browser)
        text = browser.find_element(By.CSS_SELECTOR, ".arl-root").text
        assert "NaN" not in text and "undefined" not in text and "Infinity" not in text
    captions = [e.text for e in browser.find_elements(By.CSS_SELECTOR, ".arl-caption") if e.text]
    assert captions and "of this softmax" in captions[0]
    assert min(c["width"] * c["height"] for c in canvas_sizes(browser)) > 1000
    assert console_errors(browser) == []


def canvas_sizes(driver: WebDriver) -> list[dict[str, float]]:
    return driver.execute_script(
        "return [...document.querySelectorAll('.arl-map')].map((e) => e.getBoundingClientRect().toJSON())"
    )


def changed(**changes: object) -> AttentionCapture:
    capture = plane_capture()
    return replace(capture, fields={"vorticity": replace(capture.fields["vorticity"], **changes)})


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (
            lambda: changed(latitude=plane_capture().fields["vorticity"].latitude[::-1]),
            "latitude of vorticity",
        ),
        (lambda: changed(longitude=np.full(16, np.nan)), "longitude of vorticity"),
        (lambda: changed(time=np.array([0.0, 0.0, 1.0])), "time of vorticity"),
        (lambda: changed(time=DAY + np.arange(3)), "frames"),
        (lambda: replace(plane_capture(), geometry="sphere", period=None), "datetime64"),
        (lambda: changed(token_size=(0.4, 0.0)), "token size"),
        (lambda: changed(level=np.array([])), "no token"),
    ],
)
def test_broken_axes_are_refused(make: Callable[[], AttentionCapture], named: str) -> None:
    assert named in (AttentionExplorer(make()).fault or "")


def test_more_than_a_page_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atmorep_lite.widgets.checks.MOST_BYTES", 100_000)
    small = AttentionExplorer(plane_capture(), layers=[0], heads=[0])  # 2 x 768 x 24 numbers of 2 bytes
    assert small.fault is None
    assert "choose fewer layers or heads" in (AttentionExplorer(plane_capture()).fault or "")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: replace(small(), pairs={}), "no attention pair"),
        (lambda: changed(longitude=np.full(16, np.nan)), "longitude of vorticity"),
        (lambda: with_queries(np.nan), "NaN"),
        (lambda: with_queries(1e30), "float16"),
    ],
    ids=["no pairs", "NaN in an axis", "NaN in queries", "huge"],
)
def test_a_bad_capture_is_told_inside_the_widget(
    browser: WebDriver, tmp_path: Path, make: Callable[[], AttentionCapture], named: str
) -> None:
    explorer = AttentionExplorer(make(), title="A broken capture")
    page = tmp_path / "page.html"
    text = page_text(
        title="page",
        module=str(explorer._esm),
        style=str(explorer._css),
        state={"meta": explorer.meta, "selected": explorer.selected},
        data=explorer.data,
    )
    page.write_text(text, encoding="utf-8")
    browser.get(page.as_uri())
    message = wait_for(lambda: browser.find_element(By.CSS_SELECTOR, ".arl-fault").text)
    assert named in message and message == explorer.fault
    assert "A broken capture" in browser.find_element(By.CSS_SELECTOR, ROOT_CLASS).text
    assert console_errors(browser) == []


def with_queries(value: float) -> AttentionCapture:
    one = small(2, 2)
    key = ("temperature", "temperature")
    return replace(one, pairs={key: replace(one.pairs[key], q=np.full_like(one.pairs[key].q, value))})
