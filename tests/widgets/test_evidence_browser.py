"""The panels below the maps in headless Chromium: they draw, open heads, and say Python's numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.attention_maps import AttentionCapture, head_table
from atmorep_lite.widgets import AttentionExplorer
from atmorep_lite.widgets.evidence import Evidence
from tests.browser import check_accessible, console_errors, external_requests, overflow, set_view, settle
from tests.widgets.explorer_page import ROOT, open_page, selected, wait_for
from tests.widgets.planes import plane_capture
from tests.widgets.synthetic import NAMES
from tests.widgets.synthetic_evidence import make_evidence, middle

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement

FIELDS = list(NAMES)
HOOK = f"{ROOT}.arl.evidence"
BOARD = ".arl-ev-board tbody tr:nth-child({}) td:nth-of-type({}) button"


@pytest.fixture(scope="module")
def evidence(capture: AttentionCapture) -> Evidence:
    return make_evidence(capture)


@pytest.fixture(scope="module")
def evident_page(
    capture: AttentionCapture, evidence: Evidence, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    explorer = AttentionExplorer(capture, evidence=evidence, title="Evidence", caption="Made by formula.")
    assert explorer.fault is None
    return explorer.to_html(tmp_path_factory.mktemp("evidence") / "evidence.html")


@pytest.fixture
def driver(browser: WebDriver, evident_page: Path) -> WebDriver:
    set_view(browser, 1200, 900)
    open_page(browser, evident_page.as_uri())
    return browser


def ask(driver: WebDriver, what: str) -> Any:
    return driver.execute_script(f"return {HOOK}.{what}")


def find(driver: WebDriver, selector: str) -> WebElement:
    found = driver.find_element(By.CSS_SELECTOR, f".arl-evidence {selector}")
    driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", found)
    return found


def choose(driver: WebDriver, **wish: Any) -> None:
    driver.execute_script(f"{ROOT}.arl.choose(arguments[0])", wish)
    settle(driver)


def measured(driver: WebDriver) -> list[dict[str, Any]]:
    """Rows of the atlas, once the page has measured all heads."""
    if not ask(driver, "heads.node.open"):
        find(driver, ".arl-ev-heads > summary").click()
    wait_for(lambda: not ask(driver, "heads.busy()"))
    settle(driver)
    return ask(driver, "heads.rows()")


def sizes(driver: WebDriver) -> np.ndarray:
    """[query field, key field] numbers of the switchboard; NaN where nothing is coupled."""
    cells = driver.find_elements(By.CSS_SELECTOR, ".arl-ev-board tbody td")
    return np.array([float(cell.text) if cell.text != "–" else np.nan for cell in cells]).reshape(5, 5)


def test_switchboard_shows_what_arrives(driver: WebDriver, evidence: Evidence) -> None:
    assert evidence.flow is not None
    flow = evidence.flow.values
    for layer in (3, 1):
        choose(driver, layer=layer)
        np.testing.assert_allclose(sizes(driver), flow[layer], atol=0.0051)
    driver.find_element(By.XPATH, "//label[span='all 4 layers']").click()
    settle(driver)
    np.testing.assert_allclose(sizes(driver), flow.sum(axis=0), atol=0.0051)
    words = find(driver, ".arl-ev-flow .arl-ev-told").text
    assert words.startswith("Over all layers most arrives at eastward wind from itself")
    assert f"({flow[:, 0, 0].sum():.2f})" in words
    assert "cannot be compared" in find(driver, ".arl-ev-flow .arl-note").text


def test_a_cell_of_the_switchboard_shows_its_pair(driver: WebDriver) -> None:
    before = selected(driver)
    cell = find(driver, BOARD.format(3, 4))
    cell.click()
    settle(driver)
    after = selected(driver)
    assert (before["query_field"], after["query_field"]) == ("u_component_of_wind", "vorticity")
    assert after["query"] == before["query"]  # the same place
    marked = driver.find_elements(By.CSS_SELECTOR, ".arl-card[data-arl-marked='true']")
    assert [card.get_attribute("data-arl-field") for card in marked] == ["temperature"]
    assert find(driver, BOARD.format(3, 4)).get_attribute("aria-pressed") == "true"
    find(driver, BOARD.format(2, 1)).send_keys(Keys.ENTER)
    assert selected(driver)["query_field"] == "v_component_of_wind"


def test_heads_measured_on_the_page_equal_pythons(driver: WebDriver, capture: AttentionCapture) -> None:
    rows = pd.DataFrame(measured(driver)).set_index(["query", "key", "layer", "head"])
    queries = driver.execute_script(f"return {HOOK}.heads.sample")
    assert len(set(queries)) == 48 and len({q % 16 for q in queries}) > 12  # of all parts of the map
    known = head_table(capture, queries=queries)
    index = ["query_field", "key_field", "layer", "head"]
    known = known.set_index(index).rename_axis(["query", "key", "layer", "head"]).loc[rows.index]
    assert len(rows) == 4 * sum(pair.q.shape[1] for pair in capture.pairs.values())
    assert np.abs(rows.entropy - known.entropy).max() < 1e-3
    assert np.abs(rows.distance - known.distance_km).max() < 2
    assert np.abs(rows.time + known.lag_h).max() < 0.02
    assert np.abs(rows.level - known.level_offset).max() < 0.5


def test_a_point_of_the_atlas_opens_its_head(driver: WebDriver) -> None:
    rows = measured(driver)
    find(driver, ".arl-ev-atlas")
    points = driver.find_elements(By.CSS_SELECTOR, ".arl-ev-atlas > i")
    assert len(points) == len(rows)
    boxes = [point.rect for point in points]
    places = np.array([(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes])
    across = np.array([row["distance"] for row in rows])
    assert np.corrcoef(places[:, 0], across)[0, 1] > 0.999
    assert np.corrcoef(places[:, 1], [row["time"] for row in rows])[0, 1] < -0.999  # up is later
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 1e3 * np.eye(len(places))
    alone = int(apart.min(axis=1).argmax())
    ActionChains(driver).move_to_element(points[alone]).perform()
    told = driver.find_element(By.CSS_SELECTOR, ".arl-ev-tip").text  # without scrolling
    assert "layer" in told and "km" in told and "entropy" in told
    over = int(
        driver.find_element(By.CSS_SELECTOR, "[data-arl-at='true']").get_attribute("data-arl-row") or -1
    )
    row = rows[over]  # points may overlap
    assert over == alone or apart[alone, over] < 25
    ActionChains(driver).click().perform()
    settle(driver)
    now = selected(driver)
    assert (now["query_field"], now["layer"]) == (row["query"], row["layer"])
    assert now["head" if row["query"] == row["key"] else "coupling_head"] == row["head"]
    point = driver.find_elements(By.CSS_SELECTOR, ".arl-ev-atlas > i")[over]
    assert point.get_attribute("data-arl-open") == "true"
    assert f"--arl-rim: var(--arl-{FIELDS.index(row['key'])})" in str(point.get_attribute("style"))


def test_the_atlas_needs_no_mouse(driver: WebDriver) -> None:
    rows = measured(driver)
    plot = find(driver, ".arl-ev-atlas")
    plot.send_keys(Keys.ARROW_RIGHT)
    first = find(driver, ".arl-ev-tip").text
    plot.send_keys(Keys.ARROW_RIGHT)
    plot.send_keys(Keys.ARROW_UP)
    assert find(driver, ".arl-ev-tip").text != first
    for _ in range(len(rows)):
        plot.send_keys(Keys.ARROW_RIGHT)
    farthest = max(rows, key=lambda row: row["distance"])
    plot.send_keys(Keys.ENTER)
    settle(driver)
    now = selected(driver)
    assert (now["query_field"], now["layer"]) == (farthest["query"], farthest["layer"])
    plot.send_keys(Keys.ESCAPE)
    assert not driver.find_element(By.CSS_SELECTOR, ".arl-ev-tip").is_displayed()


def test_the_table_of_heads_opens_them(driver: WebDriver) -> None:
    rows = measured(driver)
    find(driver, "details details summary").click()
    listed = driver.find_elements(By.CSS_SELECTOR, ".arl-evidence details details tbody tr")
    assert len(listed) == len(rows)
    lowest = min(rows, key=lambda row: row["time"])
    listed[0].find_element(By.TAG_NAME, "button").click()
    settle(driver)
    assert (selected(driver)["query_field"], selected(driver)["layer"]) == (lowest["query"], lowest["layer"])


def test_shares_and_ranks_equal_pythons(
    driver: WebDriver, capture: AttentionCapture, evidence: Evidence
) -> None:
    choose(driver, query_field="temperature", query=middle(capture))
    row = list(capture.fields).index("temperature")
    assert evidence.rollout is not None and evidence.influence is not None
    exact = {name: getattr(evidence, name).values[row].reshape(5, -1) for name in ("rollout", "influence")}
    figures = driver.find_elements(By.CSS_SELECTOR, ".arl-ev-rests figcaption")
    told = np.array([figure.text.replace("\xa0", " ") for figure in figures]).reshape(3, 5)
    for line, (name, weights) in zip(told[1:], exact.items(), strict=True):
        sizes = weights**2 if name == "influence" else weights  # the squares of norms add
        for text, share in zip(line, np.nansum(sizes, axis=1) / np.nansum(sizes), strict=True):
            shown = float(text.split("%")[0].split()[-1])
            assert abs(shown - 100 * share) < (0.5 if share > 0.0995 else 0.06), name
    for field, text in enumerate(told[1]):
        both = pd.DataFrame({name: weights[field] for name, weights in exact.items()}).dropna()
        expected = both.rank().corr().loc["rollout", "influence"]  # ties share their mean: Spearman's
        assert float(text.split("ρ")[1]) == pytest.approx(expected, abs=0.0051)


def test_what_the_model_did_not_see_has_no_share(
    browser: WebDriver, capture: AttentionCapture, evidence: Evidence, tmp_path: Path
) -> None:
    """All of humidity and the newest slot of every field are hidden."""
    assert evidence.influence is not None
    known = evidence.influence.values.reshape(5, 5, *capture.fields["temperature"].mask.shape).copy()
    gone = FIELDS.index("specific_humidity")
    known[:, gone] = np.nan
    known[:, :, :, -1] = np.nan
    rows = evidence.influence.copy(data=known.reshape(5, -1))
    given = Evidence(queries=evidence.queries, influence=rows)
    page = AttentionExplorer(capture, evidence=given).to_html(tmp_path / "hidden.html")
    open_page(browser, page.as_uri())
    choose(browser, query_field="temperature", query=middle(capture))
    cells = [one.text for one in browser.find_elements(By.CSS_SELECTOR, ".arl-ev-rests figcaption")][5:]
    assert [("hidden" in text, "%" in text) for text in cells] == [(i == gone, i != gone) for i in range(5)]
    (bars,) = (
        one.text.replace("\xa0", " ")
        for one in browser.find_elements(By.CSS_SELECTOR, ".arl-ev-bars > div")
        if "by time" in one.text
    )
    squares = np.nansum(known[FIELDS.index("temperature")] ** 2, axis=(0, 1, 3, 4))
    shown = [float(line.rstrip(" %").split()[-1]) for line in bars.splitlines() if "%" in line]
    assert shown == pytest.approx((100 * squares / squares.sum())[:-1].tolist(), abs=0.51)
    assert bars.rstrip().endswith("hidden")


def test_another_query_is_told_and_offered(driver: WebDriver, capture: AttentionCapture) -> None:
    choose(driver, query_field="vorticity", query=5)
    told = find(driver, ".arl-ev-rests .arl-ev-told")
    assert "Not known for this query" in told.text
    told.find_element(By.TAG_NAME, "button").click()
    settle(driver)
    assert selected(driver)["query"] == middle(capture)
    assert find(driver, ".arl-ev-rests .arl-ev-told").text.startswith("Query: relative vorticity")
    assert "not yet an explanation" in find(driver, ".arl-ev-claim").text


def test_cuts_are_in_order_and_open_their_head(driver: WebDriver, evidence: Evidence) -> None:
    assert evidence.ablation is not None
    table = evidence.ablation
    for scored, label in (("u_component_of_wind", ""), ("v_component_of_wind", "northward wind")):
        if label:
            find(driver, ".arl-ev-cuts select").send_keys(label)
            settle(driver)
        expected = table[table.field == scored].sort_values("loss", ascending=False).iloc[:12]
        listed = driver.find_elements(By.CSS_SELECTOR, ".arl-ev-cuts tbody tr td:last-child")
        shown = [float(cell.text.rstrip("% \xa0").replace("−", "-")) for cell in listed]
        assert shown == pytest.approx((100 * expected.loss).tolist(), abs=0.51)
    row, known = next(
        (i, known) for i, (_, known) in enumerate(expected.iterrows()) if known["kind"] == "self"
    )
    find(driver, f".arl-ev-cuts tbody tr:nth-child({row + 1}) button").click()
    settle(driver)
    now = selected(driver)
    assert (now["query_field"], now["layer"], now["head"]) == (
        known.query_field,
        known["layer"],
        known["head"],
    )


@pytest.mark.parametrize(("width", "dark"), [(420, True), (1200, False)])
def test_both_schemes_and_a_small_screen(driver: WebDriver, width: int, dark: bool) -> None:
    set_view(driver, width, 900, dark=dark)
    measured(driver)
    assert overflow(driver) <= 0
    check_accessible(driver, ".arl-evidence")
    ink = "return getComputedStyle(document.querySelector('.arl-ev-title')).color"
    assert (driver.execute_script(ink) == "rgb(233, 237, 242)") is dark
    assert console_errors(driver) == []
    assert external_requests(driver) == []


def test_python_rows_are_shown_where_they_are_known(
    browser: WebDriver, capture: AttentionCapture, tmp_path: Path
) -> None:
    table = head_table(capture, queries=[3, 700])
    page = AttentionExplorer(capture, evidence=Evidence(heads=table), layers=[1, 2]).to_html(
        tmp_path / "heads.html"
    )
    open_page(browser, page.as_uri())
    assert ask(browser, "heads.busy()") is False
    assert "Means over 2 query tokens of each field." in find(browser, ".arl-ev-heads").text
    assert len(ask(browser, "heads.rows()")) == len(table) / 2  # of the layers that came along
    assert not browser.find_elements(By.CSS_SELECTOR, ".arl-ev-flow, .arl-ev-rests, .arl-ev-cuts")


def test_heads_on_a_plane(browser: WebDriver, tmp_path: Path) -> None:
    capture = plane_capture()
    page = AttentionExplorer(capture, panels="times").to_html(tmp_path / "plane.html")
    open_page(browser, page.as_uri())
    rows = pd.DataFrame(measured(browser))
    known = head_table(capture, queries=browser.execute_script(f"return {HOOK}.heads.sample"))
    assert np.abs(rows.distance.values - known.distance.values).max() < 5e-3
    assert np.abs(rows.time.values + known.lag.values).max() < 5e-3
    labels = str(browser.find_element(By.CSS_SELECTOR, ".arl-ev-atlas").get_attribute("textContent"))
    assert "box units" in labels and "hPa" not in labels
    assert console_errors(browser) == []


def test_one_head_has_no_atlas(browser: WebDriver, tmp_path: Path) -> None:
    capture = plane_capture()
    ((key, pair),) = capture.pairs.items()
    one = replace(pair, q=pair.q[:1, :1], k=pair.k[:1, :1], slope=pair.slope[:1, :1])
    page = AttentionExplorer(replace(capture, pairs={key: one})).to_html(tmp_path / "one.html")
    open_page(browser, page.as_uri())
    assert not browser.find_element(By.CSS_SELECTOR, ".arl-evidence").is_displayed()
