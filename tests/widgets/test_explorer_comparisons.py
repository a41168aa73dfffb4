"""What is laid over the maps to judge them: a reference to subtract, and the wind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import Select

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.attention_maps.winds import wind_of
from atmorep_lite.errors import UserError
from atmorep_lite.widgets import AttentionExplorer
from tests.browser import console_errors
from tests.widgets.explorer_page import ROOT, card, open_page, press, selected, settle, wait_for
from tests.widgets.planes import BOX, plane_capture
from tests.widgets.synthetic import make_capture

QUERY = 700


@pytest.fixture(scope="module")
def other() -> AttentionCapture:
    """The same places with other queries and keys."""
    made = make_capture(seed=1, uncoupled=(("temperature", "specific_humidity"),))
    pairs = {key: replace(pair, q=0.3 * pair.q) for key, pair in made.pairs.items()}
    return replace(made, pairs=pairs)


def test_the_difference_is_the_difference(
    browser: WebDriver, capture: AttentionCapture, other: AttentionCapture, tmp_path: Path
) -> None:
    explorer = AttentionExplorer(capture, layers=[3], references={"random weights": other})
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    choice = {"query_field": "vorticity", "query": QUERY, "layer": 3, "key_level": 850, "key_hours": 0}
    browser.execute_script(f"{ROOT}.arl.choose(arguments[0])", choice)
    Select(browser.find_element(By.CSS_SELECTOR, '[aria-label="Compare with"]')).select_by_visible_text(
        "random weights"
    )
    settle(browser)
    assert selected(browser)["compare"] == "random weights"
    ours = AttentionExplorer(capture).weights("vorticity", QUERY, 3)["temperature"]
    theirs = AttentionExplorer(other).weights("vorticity", QUERY, 3)["temperature"]
    caption = card(browser, "temperature").find_element(By.CSS_SELECTOR, ".arl-caption").text
    told = caption.replace("\xa0", " ").split("this map holds ")[1]
    first, second = told.split(" of this softmax (random weights: ")
    assert float(first.split()[0]) == pytest.approx(100 * ours[1, 2].sum(), rel=0.03)
    assert float(second.split()[0]) == pytest.approx(100 * theirs[1, 2].sum(), rel=0.03)
    # red where the model looks more than the reference, blue where less
    difference = (ours - theirs)[1, 2]
    colours = np.array(
        browser.execute_script(
            "const c = document.querySelector('[data-arl-field=temperature] canvas');"
            "const [w, h] = [c.width - 48, Math.round((c.width - 48) / 2)];"
            "const { data } = c.getContext('2d').getImageData(38, 7, w, h);"
            "return Array.from({ length: 8 }, (_, r) => Array.from({ length: 16 }, (_, i) => {"
            "  const at = 4 * (Math.round(((r + 0.5) * h) / 8) * w + Math.round(((i + 0.5) * w) / 16));"
            "  return data[at] - data[at + 2]; }));"
        )
    )
    clear = np.abs(difference) > 0.4 * np.abs(ours - theirs).max()
    assert clear.sum() >= 2
    assert (np.sign(colours[clear]) == np.sign(difference[clear])).all()
    assert console_errors(browser) == []


def test_ratios_to_uniform_and_to_the_mean_of_several(
    browser: WebDriver, capture: AttentionCapture, other: AttentionCapture, tmp_path: Path
) -> None:
    explorer = AttentionExplorer(capture, layers=[3], references={"two dates": [capture, other]})
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    ours, theirs = (
        AttentionExplorer(c).weights("vorticity", QUERY, 3)["temperature"] for c in (capture, other)
    )
    wish = {"query_field": "vorticity", "query": QUERY, "by": "ratio"}
    for compare, null in (
        ("uniform", np.full(ours.size, 1 / ours.size)),
        ("two dates", (ours + theirs).ravel() / 2),
    ):
        browser.execute_script(f"{ROOT}.arl.choose(arguments[0])", wish | {"compare": compare})
        settle(browser)
        found = browser.execute_script(
            f"const r = {ROOT}.arl.results('temperature');"
            "return { mode: r.mode, shown: [...r.shown], against: [...r.against] }"
        )
        assert found["mode"] == "ratio"
        assert np.allclose(found["against"], null, rtol=5e-3, atol=1e-9)
        assert np.allclose(found["shown"], np.log2(ours.ravel() / null), atol=0.02)
    assert console_errors(browser) == []


def test_a_reference_must_fit(capture: AttentionCapture) -> None:
    fewer = replace(capture, pairs=dict(list(capture.pairs.items())[:3]))
    for references, named in (
        ({"fewer": fewer}, "same configuration"),
        ({"uniform": capture}, "uniform"),
        ({"dates": []}, "holds no capture"),
    ):
        assert named in (AttentionExplorer(capture, references=references).fault or "")


def test_wind_of_the_sphere_is_the_mean_of_each_token(capture: AttentionCapture) -> None:
    found = wind_of(capture)
    assert found is not None
    u, v = (capture.fields[f"{name}_component_of_wind"].values for name in "uv")
    assert found.u[1, 2, 3, 4] == pytest.approx(u[1, 2, 6:8, 8:10].mean(), rel=1e-6)
    assert found.v[0, 1, 7, 15] == pytest.approx(v[0, 1, 14:16, 30:32].mean(), rel=1e-6)
    assert wind_of(replace(capture, fields={"vorticity": capture.fields["vorticity"]})) is None


def test_wind_of_a_plane_follows_from_its_vorticity() -> None:
    """psi = cos(x) + sin(2 y) / 2: vorticity -cos(x) - 2 sin(2 y), u = -cos(2 y), v = -sin(x)."""
    capture = plane_capture()
    field = capture.fields["vorticity"]
    place = (np.arange(64) + 0.5) * BOX / 64
    y, x = np.meshgrid(place, place, indexing="ij")
    values = np.broadcast_to(-np.cos(x) - 2 * np.sin(2 * y), (1, 3, 64, 64))
    found = wind_of(replace(capture, fields={"vorticity": replace(field, values=values)}))
    assert found is not None
    for wind, exact in ((found.u, -np.cos(2 * y)), (found.v, -np.sin(x))):
        means = exact.reshape(16, 4, 16, 4).mean(axis=(1, 3))
        np.testing.assert_allclose(wind, np.broadcast_to(means, wind.shape), atol=1e-12)
    assert wind_of(replace(capture, period=None)) is None


def test_arrows_are_switched_on(browser: WebDriver, tmp_path: Path) -> None:
    explorer = AttentionExplorer(plane_capture(), panels="times")
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    picture = "return document.querySelector('.arl-map canvas').toDataURL()"
    before = browser.execute_script(picture)
    press(browser, "Velocity arrows", "on")
    settle(browser)
    assert selected(browser)["arrows"] is True
    assert browser.execute_script(picture) != before
    assert console_errors(browser) == []
    calm = replace(plane_capture(), period=None)
    with pytest.raises(UserError, match="arrows"):
        AttentionExplorer(calm).selected = {"arrows": True}


def test_maps_are_saved_as_one_picture(browser: WebDriver, tmp_path: Path) -> None:
    explorer = AttentionExplorer(
        plane_capture(), panels="times", title="A periodic box", caption="By formula."
    )
    open_page(browser, explorer.to_html(tmp_path / "page.html").as_uri())
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "saved")}
    )
    browser.find_element(By.XPATH, "//button[text()='Save PNG']").click()
    saved = wait_for(lambda: list((tmp_path / "saved").glob("*.png")))
    assert saved[0].read_bytes()[:4] == b"\x89PNG"
    alike = browser.execute_script(  # the first map lies in the picture as it stands on the page
        f"const p = {ROOT}.arl.picture(); const c = document.querySelector('.arl-map canvas');"
        "const [a, b] = [c, document.querySelector('.arl-grid')].map((e) => e.getBoundingClientRect());"
        "const [x, y] = [2 * (a.left - b.left + 16), 2 * (a.top - b.top + 54)];"
        "const q = (k, x, y) => k.getContext('2d').getImageData(x, y, 1, 1).data.slice(0, 3).join();"
        "let same = 0; for (let i = 0; i < 16; i += 1) for (let j = 0; j < 16; j += 1) {"
        "  const [u, v] = [45 + 13 * i, 14 + 13 * j];"
        "  same += q(c, u, v) === q(p, x + 2 * u + 1, y + 2 * v + 1); }"
        "return same / 256"
    )
    assert alike > 0.85
    assert console_errors(browser) == []
