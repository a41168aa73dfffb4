"""The live app, served by its command, in headless Chromium: pictures, painting, keys, scenes, mistakes."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from atmorep_lite.app.compute import Question, answer, scores
from atmorep_lite.app.hiding import Stroke
from atmorep_lite.app.scenes import load_scenes
from atmorep_lite.app.stage import open_stage
from tests.app.live_page import READY, Page, command, environment, free_port, served, until
from tests.browser import check_accessible, console_errors, external_requests, screenshot, set_view

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    folder = tmp_path_factory.mktemp("app")
    with served(command("--port", str(port), "--no-open"), "are ready", folder) as said:
        found = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert found
        yield found[0]


@pytest.fixture(scope="module")
def page(browser: WebDriver, address: str) -> Page:
    return Page(browser, address)


def test_the_first_picture_comes_at_once(browser: WebDriver, address: str) -> None:
    started = time.monotonic()
    page = Page(browser, address)
    took = time.monotonic() - started
    assert took < 3.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), took
    assert "Hide it, and ask" in page.text and "Simulated atmosphere" in page.text
    assert external_requests(browser) == [] and console_errors(browser) == []


def test_numbers_on_the_page_are_those_of_python(page: Page) -> None:
    page.ask("stage.arl.scene(2)")
    scene = load_scenes()[2]
    stage = open_stage("sample", "demo")
    given = answer(stage, scene.question())
    shown = given.shown("temperature")
    assert shown.members is not None
    step, level = list(stage.hours).index(scene.hours), 1
    mean = shown.members[:, level, step].mean(0)
    for card, values in {
        "prediction": mean, "truth": shown.truth[level, step], "held": shown.held[level, step],
        "error": mean - shown.truth[level, step], "spread": shown.members[:, level, step].std(0, ddof=1),
    }.items():  # fmt: skip
        found = page.run(f"return stage.arl.values('{card}')")
        assert np.allclose(np.reshape(found, values.shape), values, atol=1e-3), card
    said = scores(shown, given.latitude)["model"][level, step]
    assert f"RMSE {said:.2f}" in page.text


def test_painting_hides_and_shows(page: Page) -> None:
    page.ask("stage.arl.scene(1)")
    page.ask("stage.arl.choose({ hours: 0 })")
    before = page.run("return stage.arl.values('prediction')")
    at = [page.run(f"return stage.arl.centre(0, 3, {column})") for column in (4, 5, 6)]
    drag = ActionChains(page.driver, duration=20)
    drag.w3c_actions.pointer_action.move_to_location(*map(round, at[0]))
    drag.w3c_actions.pointer_action.pointer_down()
    for place in at[1:]:
        drag.w3c_actions.pointer_action.move_to_location(*map(round, place))
    drag.w3c_actions.pointer_action.pointer_up()
    drag.perform()
    page.settle()
    (stroke,) = page.selected["hide"]
    assert len(stroke["cells"]) == 3 and stroke["hours"] == [0] and "show" not in stroke
    after = page.run("return stage.arl.values('prediction')")
    changed = np.argwhere(np.reshape(np.not_equal(before, after), (16, 32)))
    assert changed.min(0).tolist() == [6, 8] and changed.max(0).tolist() == [7, 13]
    assert len(changed) == 12
    state = page.selected
    stage = open_stage("sample", "demo")
    strokes = (Stroke.model_validate(stroke),)
    python = answer(stage, Question(state["time"], 45.0, 320.0, "forecast", strokes)).shown("vorticity")
    assert python.hidden[0, 0].sum() == 3
    page.press("z")
    assert page.selected["hide"] == []
    assert page.run("return stage.arl.values('prediction')") == before


def test_keys_step_through_all_scenes(page: Page) -> None:
    page.ask("stage.arl.scene(0)")
    titles = []
    for _ in load_scenes():
        titles.append(page.run("return stage.querySelector('.arl-stage-title').textContent"))
        page.press(Keys.PAGE_DOWN)
    assert titles == [scene.name for scene in load_scenes()]
    until(lambda: page.run("return stage.arl.guest()"))
    weights = "return stage.querySelector('.arl-guest').shadowRoot.querySelectorAll('canvas').length"
    assert until(lambda: page.run(weights)) >= 5
    page.press(Keys.ARROW_LEFT)
    assert page.selected["scene"] == len(titles) - 2
    page.press("e")
    assert page.selected["member"] == 1
    page.press(".")
    assert page.selected["hours"] == 15
    assert console_errors(page.driver) == []


def test_both_schemes(page: Page) -> None:
    def shade() -> int:
        found = page.run("return getComputedStyle(stage).backgroundColor")
        return sum(map(int, re.findall(r"\d+", found)[:3]))

    light = shade()
    page.press("d")
    until(lambda: page.run("return stage.dataset.arlScheme") == "dark")
    assert light > 700 and shade() < 150
    page.press("d")


@pytest.mark.parametrize("dark", [False, True])
def test_people_with_other_eyes_and_hands_can_use_it(page: Page, dark: bool) -> None:
    page.driver.execute_script(f"document.documentElement.dataset.theme = '{'dark' if dark else 'light'}'")
    page.ask("stage.arl.scene(3)")
    page.press("s")
    check_accessible(page.driver, ".bk-panel-models-esm-AnyWidgetComponent")
    page.press(Keys.ESCAPE)
    page.driver.execute_script("delete document.documentElement.dataset.theme")


def test_mistakes_are_sentences_and_the_picture_stays(page: Page) -> None:
    page.ask("stage.arl.scene(1)")
    before = page.run("return stage.arl.values('prediction')")
    for wish, words in {
        "{ data: '/nowhere' }": "check the path",
        "{ model: 'nobody' }": "there is no model 'nobody'",
        "{ time: '1999-01-01' }": "no window",
        "{ hide: [{}] }": "everything is hidden",
        "{ field: 'ozone' }": "has no field 'ozone'",
        "{ latitude: 'north' }": "latitude is 'north'",
        "{ hide: 7 }": "hide",
    }.items():
        state = page.selected
        page.ask(f"stage.arl.ask({wish})")
        assert words in page.run("return stage.arl.fault()"), wish
        assert "Traceback" not in page.text
        assert page.run("return stage.arl.values('prediction')") == before
        assert page.selected == state, wish
    page.ask("stage.arl.ask({ field: 'temperature' })")
    assert page.run("return stage.arl.fault()") == ""


def test_quick_steps_are_not_lost(page: Page) -> None:
    page.ask("stage.arl.scene(0)")
    page.driver.execute_async_script(
        "const done = arguments[0]; let n = 0; const timer = setInterval(() => {"
        "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'PageDown' }));"
        "if (++n === 4) { clearInterval(timer); done(); } }, 30)"
    )
    page.settle()
    time.sleep(0.3)  # for echoes that come late
    assert page.selected["scene"] == 4
    assert load_scenes()[4].name in page.text


def test_arrows_step_after_a_click(page: Page) -> None:
    page.ask("stage.arl.scene(1)")
    for selector, steps in (("[aria-label='The next scene']", 2), (".arl-button span", 1)):
        before = page.selected["scene"]
        clicked = page.run(f'return stage.querySelector("{selector}")')
        ActionChains(page.driver).click(clicked).perform()
        page.settle()
        page.press(Keys.ARROW_RIGHT)
        assert page.selected["scene"] == before + steps


def test_a_quick_stroke_has_no_holes(page: Page) -> None:
    page.ask("stage.arl.scene(1)")
    page.ask("stage.arl.choose({ hours: 0 })")
    first, last = (page.run(f"return stage.arl.centre(0, 3, {column})") for column in (2, 9))
    drag = ActionChains(page.driver, duration=0)
    drag.w3c_actions.pointer_action.move_to_location(*map(round, first))
    drag.w3c_actions.pointer_action.pointer_down()
    drag.w3c_actions.pointer_action.move_to_location(*map(round, last))
    drag.w3c_actions.pointer_action.pointer_up()
    drag.perform()
    page.settle()
    (stroke,) = page.selected["hide"]
    assert len(stroke["cells"]) == 8


def test_a_map_with_nothing_hidden_is_a_beginning(page: Page) -> None:
    page.ask("stage.arl.scene(4)")
    page.press("c")
    assert page.selected["hide"] == [] and page.run("return stage.arl.fault()") == ""
    ActionChains(page.driver).move_to_element(
        page.run("return stage.querySelector('.arl-stage-title')")
    ).perform()
    page.run("stage.arl.redraw()")
    title = "return stage.querySelector('.arl-stage-chart .arl-label').textContent"
    assert "0 % hidden" in page.text and page.run(title) == "Nothing is hidden: paint on a map"
    page.ask("stage.arl.ask({ hide: [{ part: 0.5 }] })")
    assert page.run(title).startswith("RMSE of what is hidden")


def test_set_up_keeps_what_is_hidden_and_closes(page: Page) -> None:
    shut = "return stage.querySelector('.arl-stage-setup').hidden"
    page.ask("stage.arl.scene(4)")
    hidden = page.selected["hide"]
    page.press("s")
    page.ask(
        "const list = stage.querySelector('.arl-stage-setup select');"
        "list.value = 'test'; list.dispatchEvent(new Event('change'))"
    )
    assert page.run("return stage.arl.fault()") == "" and page.selected["data"] == "test"
    assert page.selected["hide"] == hidden
    options = "return [...stage.querySelectorAll('.arl-stage-setup option')].map((one) => one.value)"
    known = page.run(options)
    page.ask("stage.arl.ask({ data: '/nowhere' })")
    assert page.run(options) == known and "check the path" in page.run("return stage.arl.fault()")
    page.run("document.activeElement.blur()")
    page.press(Keys.ESCAPE)
    assert page.run(shut) and page.run("return stage.arl.fault()") == ""
    page.press("s")
    assert not page.run(shut)
    page.press("s")
    assert page.run(shut)
    page.press("s")
    page.press(Keys.PAGE_DOWN)
    assert page.run(shut) and page.selected["scene"] == 5


def test_nothing_is_asked_of_other_hosts(page: Page) -> None:
    assert external_requests(page.driver) == []


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080), (420, 900)])
def test_fits_on_the_screen(page: Page, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    until(lambda: page.run("return stage.clientWidth") > width - 20)
    page.ask("stage.arl.scene(3)")
    page.run("stage.arl.redraw(); stage.arl.redraw()")
    assert page.run("return document.documentElement.scrollWidth") <= width
    if width > 1000:
        assert page.run("return document.documentElement.scrollHeight") <= height
        sizes = page.run(
            "return ['.arl-stage-title', '.arl-stage-text', '.arl-stage-name', '.arl-button span'].map("
            "(one) => parseFloat(getComputedStyle(stage.querySelector(one)).fontSize))"
        )
        least = [26, 17, 17, 13.5]
        assert all(size >= 0.99 * low * height / 720 for size, low in zip(sizes, least, strict=True)), sizes


@pytest.mark.parametrize("dark", [False, True])
def test_every_scene_is_whole_on_a_small_projector(page: Page, dark: bool) -> None:
    """And has its picture taken."""
    set_view(page.driver, 1280, 720)
    page.driver.execute_script(f"document.documentElement.dataset.theme = '{'dark' if dark else 'light'}'")
    scheme = "dark" if dark else "light"
    for number, _ in enumerate(load_scenes()):
        page.ask(f"stage.arl.scene({number})")
        page.run("stage.arl.redraw(); stage.arl.redraw()")
        assert page.run("return stage.arl.fault()") in ("", None)
        assert page.run("return document.documentElement.scrollHeight") <= 720
        screenshot(page.driver, f"app-{number}-{scheme}", whole=False)
    page.driver.execute_script("delete document.documentElement.dataset.theme")


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment(), timeout=READY
    )


def test_a_taken_port_and_broken_scenes_are_sentences(address: str, tmp_path: Path) -> None:
    port = address.split(":")[2].strip("/")
    scenes = tmp_path / "broken.yaml"
    scenes.write_text("scenes: [{name: A, feild: t}, {name: B, hours: 5}]", encoding="utf-8")
    for arguments, words in {
        ("--port", port): [f"the port {port} is taken"],
        ("--check", str(scenes)): [
            "scene 1 (A): unknown key feild",
            "scene 2 (B): there is no state at 5 hours",
        ],
        ("--scenes", str(tmp_path / "none.yaml")): ["there is no file of scenes"],
    }.items():
        done = run_command(*arguments, "--no-open") if "--check" not in arguments else run_command(*arguments)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert all(word in done.stderr for word in words), done.stderr


def test_a_lost_connection_is_told(browser: WebDriver, tmp_path: Path) -> None:
    port = free_port()
    with served(command("--port", str(port), "--no-open"), "are ready", tmp_path):
        page = Page(browser, f"http://127.0.0.1:{port}/")
    page.run("stage.arl.scene(3)")
    until(lambda: "connection is lost: reload" in page.run("return stage.arl.fault()"), 15)
    assert load_scenes()[0].name in page.text and load_scenes()[3].name not in page.text


def test_panel_serve_as_on_binder(browser: WebDriver, root: Path) -> None:
    """The command that the notebook server of Binder runs, without that server in front."""
    found = SimpleNamespace(ServerProxy=SimpleNamespace(servers={}))
    source = (root / "binder" / "jupyter_server_config.py").read_text(encoding="utf-8")
    exec(compile(source, "jupyter_server_config.py", "exec"), {"get_config": lambda: found})
    live = found.ServerProxy.servers["live"]
    port = free_port()
    program, *arguments = (part.format(port=port) for part in live["command"])
    assert program == "panel"
    with served([sys.executable, "-m", "panel", *arguments], "Starting Bokeh server", root):
        until(lambda: answers(port), READY)
        page = Page(browser, f"http://127.0.0.1:{port}/{live['launcher_entry']['path_info'].split('/')[1]}")
        page.ask("stage.arl.scene(2)")
        assert "What it must beat" in page.text
        assert external_requests(browser) == [] and console_errors(browser) == []


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
