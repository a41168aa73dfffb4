"""Does attention look upstream? The page says what `upstream_arrows` says, and finds what is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.attention_maps import AttentionCapture, uniform, upstream_arrows
from atmorep_lite.widgets import AttentionExplorer
from tests.browser import console_errors
from tests.widgets.explorer_page import ROOT, card, open_page, press, selected, settle
from tests.widgets.planes import BOX, TOKENS, UPSTREAM, plane_capture

STEPS = (
    "return {root}.arl.upstream('{field}').map((s) => [s.hours, ...s.centre, ...s.origin, s.angle, s.apart])"
)


def steps(driver: WebDriver, field: str) -> np.ndarray:
    """[time, (hours, centre north, east, origin north, east, angle, apart)]"""
    settle(driver)
    return np.array(driver.execute_script(STEPS.format(root=ROOT, field=field)), dtype=float)


@pytest.mark.parametrize("compare", ["nothing", "uniform"])
@pytest.mark.parametrize("key", ["vorticity", "temperature"])
def test_numbers_equal_pythons(driver: WebDriver, capture: AttentionCapture, key: str, compare: str) -> None:
    query = int(np.ravel_multi_index((1, 2, 3, 7), (2, 3, 8, 16)))
    wish = {
        "query_field": "vorticity",
        "query": query,
        "layer": 2,
        "head": 1,
        "key_level": 850,
        "compare": compare,
    }
    driver.execute_script(f"{ROOT}.arl.choose(arguments[0])", wish)
    press(driver, "Upstream", "on")
    found = steps(driver, key)
    expected = upstream_arrows(
        capture, "vorticity", key, queries=[query], layers=[2], heads=[1 if key == "vorticity" else 0],
        against=uniform(capture) if compare == "uniform" else None,
    ).isel(layer=0, head=0, query=0, key_time=slice(0, 2))  # fmt: skip
    names = ("attention_north", "attention_east", "truth_north", "truth_east")
    assert found[:, 0].tolist() == [-24, -12]
    for column, name in enumerate(names, 1):
        assert np.allclose(found[:, column], expected[name], rtol=2e-3, atol=2.0)  # km; float16 on the page
    assert np.allclose(found[:, 5], expected["angle"], atol=0.3)
    assert np.allclose(found[:, 6], expected["distance"], rtol=2e-3, atol=3.0)
    if compare == "nothing" and selected(driver)["key_hours"] == -12:
        caption = card(driver, key).find_element("css selector", ".arl-caption").text
        assert f"{found[1, 5]:.0f}° and" in caption and "off where the wind came from" in caption
    assert console_errors(driver) == []


def test_known_displacements_on_a_plane_are_found(browser: WebDriver, tmp_path: Path) -> None:
    """Head 0 looks 3 tokens left and 1 up: with a wind from there the angle is small, against it large."""
    plane = plane_capture()
    field = plane.fields["vorticity"]
    place = (np.arange(64) + 0.5) * BOX / 64
    y, x = np.meshgrid(place, place, indexing="ij")
    values = np.broadcast_to(-np.cos(x) - np.cos(y), (1, 3, 64, 64))  # psi = cos(x) + cos(y)
    explorer = AttentionExplorer(
        replace(plane, fields={"vorticity": replace(field, values=values)}), precision="float32"
    )
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    row, column = 11, 10
    wish = {
        "query": int(np.ravel_multi_index((0, 2, row, column), (1, 3, TOKENS, TOKENS))),
        "layer": 1,
        "head": 0,
    }
    browser.execute_script(
        f"{ROOT}.arl.choose(arguments[0])", wish | {"upstream": True, "compare": "uniform"}
    )
    found = steps(browser, "vorticity")
    u, v = (
        float(explorer_wind.reshape(TOKENS, 4, TOKENS, 4).mean(axis=(1, 3))[row, column])
        for explorer_wind in (np.sin(y), -np.sin(x))
    )
    for hours, north, east, _, _, angle, apart in found:
        up, right = UPSTREAM[0][int(hours)]
        assert (
            np.degrees(
                np.arccos(np.dot([north, east], [up, right]) / np.hypot(north, east) / np.hypot(up, right))
            )
            < 15
        )
        truth = np.array([-v, -u])
        cosine = truth @ [north, east] / np.hypot(*truth) / np.hypot(north, east)
        assert angle == pytest.approx(np.degrees(np.arccos(cosine)), abs=0.01)
        assert np.isnan(apart)  # frames have no known length: a direction, no distance
    assert console_errors(browser) == []


def test_a_query_that_speaks_for_the_next_frame(browser: WebDriver, tmp_path: Path) -> None:
    plane = plane_capture()
    explorer = AttentionExplorer(plane, precision="float32", ahead=1.0, interval=0.2)
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    query = int(np.ravel_multi_index((0, 2, 3, 5), (1, 3, TOKENS, TOKENS)))
    wish = {"query": query, "layer": 1, "head": 0, "upstream": True}
    browser.execute_script(f"{ROOT}.arl.choose(arguments[0])", wish)
    found = steps(browser, "vorticity")
    expected = upstream_arrows(
        plane, "vorticity", "vorticity", queries=[query], layers=[1], heads=[0], ahead=1.0, interval=0.2
    ).isel(layer=0, head=0, query=0)
    assert found[:, 0].tolist() == [-3, -2, -1]  # its own frame is one before what it speaks for
    names = ("attention_dy", "attention_dx", "truth_dy", "truth_dx", "angle", "distance")
    earlier = slice(0, 2)  # in its own frame the centre is at the query: no angle
    for column, name in enumerate(names, 1):
        assert np.allclose(found[earlier, column], expected[name][earlier], atol=1e-4)
    assert np.abs(found[2, 1:3]).max() < 1e-6
    for wrong in ({"ahead": -1.0}, {"interval": 0.0}):
        assert next(iter(wrong)) in (AttentionExplorer(plane, **wrong).fault or "")


def test_marks_are_drawn_and_only_if_asked_for(driver: WebDriver) -> None:
    picture = "return document.querySelector('.arl-map canvas').toDataURL()"
    before = driver.execute_script(picture)
    press(driver, "Upstream", "on")
    marked = driver.execute_script(picture)
    press(driver, "Upstream", "off")
    assert before == driver.execute_script(picture) != marked
