"""The book's page about explorers: its cells run, its example is as short as it says, and right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite import UserError, open_sample
from atmorep_lite.widgets.examples import zonal_mean
from atmorep_lite.widgets.examples.zonal_mean import ZonalMean
from tests.widgets.explorer_page import wait_for

CELL = re.compile(r"^```\{code-cell\} ipython3\n(?:---\n.*?\n---\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)
INCLUDED = re.compile(r"^```\{literalinclude\} (\S+)$", re.MULTILINE)
ROOT_OF_PAGE = "document.querySelector('.arl-zonal')"


@pytest.fixture(scope="module")
def page(root: Path) -> Path:
    return root / "book" / "explorers.md"


def test_the_example_is_as_short_as_the_page_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = [(page.parent / name).resolve() for name in INCLUDED.findall(text)]
    assert files == [Path(zonal_mean.__file__).with_suffix(kind) for kind in (".py", ".js")]
    lines = [len(file.read_text(encoding="utf-8").splitlines()) for file in files]
    assert sum(lines) <= 50
    assert f"{lines[0]} lines of Python and {lines[1]} of JavaScript" in text


@pytest.mark.slow
def test_its_cells_run_and_every_explorer_shows_its_picture(page: Path) -> None:
    space: dict[str, Any] = {}
    cells = CELL.findall(page.read_text(encoding="utf-8"))
    assert len(cells) > 10
    for cell in cells:
        exec(compile(cell, str(page), "exec"), space)
    assert {name: one.fault for name, one in space["shown"].items() if one.fault} == {}
    assert set(space["shown"]) | {"LiveVortices"} == set(space["widgets"].__all__)
    heavy = {name: one.page_bytes for name, one in space["shown"].items() if one.page_bytes > 800_000}
    assert heavy == {}


def test_the_zonal_mean_is_that_of_the_data(browser: WebDriver, tmp_path: Path) -> None:
    wind = open_sample().u_component_of_wind
    explorer = ZonalMean(wind)
    explorer.selected = {"level": 2, "time": 7}
    browser.get(explorer.to_html(tmp_path / "zonal.html").as_uri())
    wait_for(lambda: browser.execute_script(f"return {ROOT_OF_PAGE}?.dataset.arlDraws"))
    words = browser.execute_script(f"return {ROOT_OF_PAGE}.arl.words()")
    mean = wind.isel(level=2, time=7).mean("longitude").compute()
    found = re.fullmatch(r"Eastward wind \(m s⁻¹\) at 850 hPa: (\S+) to (\S+)", words)
    assert found
    assert [float(number) for number in found.groups()] == pytest.approx(
        [float(mean.min()), float(mean.max())], abs=6e-3
    )
    heights = browser.execute_script(
        "return [...document.querySelector('.arl-curve').getAttribute('d')"
        ".matchAll(/[ML][-0-9.]+ ([-0-9.]+)/g)].map((m) => Number(m[1]))"
    )
    slope, offset = np.polyfit(mean.values, heights, 1)
    assert slope < 0
    assert heights == pytest.approx(list(slope * mean.values + offset), abs=0.3)


def test_a_field_without_levels_is_told() -> None:
    explorer = ZonalMean(open_sample().land_sea_mask)
    assert explorer.fault == "The field has no levels, or gaps: give [time, level, latitude, longitude]."
    with pytest.raises(UserError, match="no levels"):
        explorer.to_html("never.html")


def test_the_zonal_mean_tells_what_it_cannot_draw() -> None:
    sample = open_sample()
    wind = sample.u_component_of_wind.isel(time=[0]).load()
    for wrong in (sample, wind.isel(level=0, drop=True), wind.where(wind.level > 500)):
        assert "no levels, or gaps" in str(ZonalMean(wrong).fault)  # type: ignore[arg-type]


def test_a_field_of_one_value_is_a_level_line(browser: WebDriver, tmp_path: Path) -> None:
    calm = 0 * open_sample().u_component_of_wind.isel(time=[0]).load() + 3.0
    browser.get(ZonalMean(calm.rename("u_component_of_wind")).to_html(tmp_path / "calm.html").as_uri())
    wait_for(lambda: browser.execute_script(f"return {ROOT_OF_PAGE}?.dataset.arlDraws"))
    drawn = browser.execute_script("return document.querySelector('.arl-curve').getAttribute('d')")
    heights = {point.split(" ")[1] for point in re.split("[ML]", drawn)[1:]}
    assert "NaN" not in drawn and len(heights) == 1
