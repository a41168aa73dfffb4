"""Headless Chromium for the tests of pages and widgets: start it, serve a folder, see what a page asks for.

Nothing here downloads a browser or a driver. Without Chromium and its driver, `start_browser` skips the
calling test and says what to install.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
DRIVERS = ("chromedriver", "/usr/lib/chromium/chromedriver", "/usr/lib/chromium-browser/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    # No name resolves but the local one: a page that leans on another server fails here as it would offline.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


def find_browser() -> tuple[str, str] | None:
    """Paths of Chromium and of its driver, or None where one of them is missing."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = next(filter(None, map(shutil.which, DRIVERS)), None)
    return (browser, driver) if browser and driver else None


def start_browser(width: int = 1200, height: int = 900, dark: bool = False) -> WebDriver:
    """Start a headless Chromium with an empty profile and a viewport of exactly width x height pixels.

    Parameters
    ----------
    width, height
        Size of the viewport in CSS pixels.
    dark
        What the page sees as the user's preferred colour scheme.

    Returns
    -------
    WebDriver
        `quit()` closes the browser and removes its profile. Skips the calling test where there is none.
    """
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium with chromedriver here; on Debian: apt-get install chromium chromium-driver")
    browser, driver_path = found
    profile = tempfile.mkdtemp(prefix="atmorep-lite-browser-")
    options = Options()
    options.binary_location = browser
    for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=Service(driver_path))
    except BaseException:
        shutil.rmtree(profile, ignore_errors=True)
        raise
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(60)
    set_view(driver, width, height, dark=dark)
    close = driver.quit

    def quit_and_clean() -> None:
        close()
        shutil.rmtree(profile, ignore_errors=True)

    driver.quit = quit_and_clean
    return driver


def set_view(driver: WebDriver, width: int, height: int = 900, *, dark: bool = False) -> None:
    """Give the page a viewport of width x height CSS pixels and a preferred colour scheme."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def settle(driver: WebDriver) -> None:
    """Wait for the next two frames: what was asked for is drawn."""
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def overflow(driver: WebDriver) -> int:
    """By how many pixels the page is wider than its window; 0 where nothing scrolls sideways."""
    return driver.execute_script(
        "const e = document.documentElement; return Math.max(0, e.scrollWidth - e.clientWidth)"
    )


def touch(
    driver: WebDriver, target: WebElement, *moves: tuple[float, float], at: tuple[float, float] = (0.5, 0.5)
) -> None:
    """Lay a finger on an element, move it by ``moves`` (CSS pixels right, down), and lift it.

    Parameters
    ----------
    driver, target
        The element is scrolled into view.
    moves
        One after the other, each from the place before; none: a tap.
    at
        Where the finger begins, as parts of the element's width and height.
    """
    driver.execute_script("arguments[0].scrollIntoView({ block: 'center', inline: 'center' })", target)
    left, top, width, height = driver.execute_script(
        "const b = arguments[0].getBoundingClientRect(); return [b.left, b.top, b.width, b.height]", target
    )
    x, y = left + at[0] * width, top + at[1] * height

    def send(kind: str, *points: dict[str, float]) -> None:
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        send("touchStart", {"x": x, "y": y})
        for right, down in moves:
            x, y = x + right, y + down
            send("touchMove", {"x": x, "y": y})
        send("touchEnd")
    finally:
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    settle(driver)


def check_accessible(driver: WebDriver, selector: str = ".arl-widget") -> None:
    """Fail with what axe-core finds against WCAG 2 (levels A and AA) in the elements of ``selector``.

    Source: Web Content Accessibility Guidelines 2.1; the rules are those of axe-core.
    """
    if not driver.execute_script("return Boolean(window.axe)"):
        driver.execute_script(axe_source())
    found = driver.execute_async_script(
        """
        const [selector, done] = arguments;
        const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"];
        axe.run(selector, { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] }).then(
          ({ violations }) => done(violations.map(({ id, nodes }) =>
            [id, nodes.map(({ html, failureSummary }) => [html, failureSummary])])),
          (error) => done([["axe", [[String(error), ""]]]]));
        """,
        selector,
    )  # fmt: skip
    told = [f"{rule}: {html[:300]}\n  {why}" for rule, nodes in found for html, why in nodes]
    assert not told, f"{len(told)} places are not accessible\n" + "\n".join(told[:12])


@functools.cache
def axe_source() -> str:
    """The axe-core script, as the package axe-core-python carries it; skips the calling test without it."""
    pytest.importorskip("axe_core_python", reason="axe-core-python is not installed: pip install .[test]")
    return (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


def screenshot(driver: WebDriver, name: str, *, whole: bool = True) -> Path:
    """Save a picture of the page as ``name``.png into `screenshot_folder`; returns its path.

    Parameters
    ----------
    driver, name
        What to show, and the file's name without its ending.
    whole
        The whole page, or only what the window shows.
    """
    options: dict[str, Any] = {"format": "png"}
    if whole:
        size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        options |= {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
    path = screenshot_folder() / f"{name}.png"
    path.write_bytes(base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))
    return path


def screenshots(driver: WebDriver, name: str, *, widths: tuple[int, ...] = (420, 1280)) -> list[Path]:
    """Save the page in both colour schemes and several widths, as ``name``-1280-dark.png and so on."""
    saved = []
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    for dark in (False, True):
        for width in widths:
            set_view(driver, width, 900, dark=dark)
            settle(driver)
            settle(driver)  # sizes, then what is drawn by them
            saved.append(screenshot(driver, f"{name}-{width}-{'dark' if dark else 'light'}"))
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": False})
    set_view(driver, 1200, 900)
    return saved


@functools.cache
def screenshot_folder() -> Path:
    """Where screenshots go: the folder that ATMOREP_LITE_SCREENSHOTS names, or a new temporary one."""
    named = os.environ.get("ATMOREP_LITE_SCREENSHOTS")
    folder = Path(named or tempfile.mkdtemp(prefix="atmorep-lite-screenshots-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def external_requests(driver: WebDriver) -> list[str]:
    """Addresses on other machines that were asked for since the last call, in order.

    Reading empties the browser's log: call it once after the page has settled.
    """
    asked = []
    for entry in driver.get_log("performance"):
        message: dict[str, Any] = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
        elif message["method"] == "Network.webSocketCreated":
            url = message["params"]["url"]
        else:
            continue
        parts = urlsplit(url)
        if parts.scheme in {"http", "https", "ws", "wss", "ftp"} and parts.hostname not in LOCAL_HOSTS:
            asked.append(url)
    return asked


def console_errors(driver: WebDriver) -> list[str]:
    """Errors of the page's console since the last call: script errors, `console.error`, failed requests.

    Reading empties the browser's log.
    """
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


class _QuietHandler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/favicon.ico":  # asked for by the browser, not by the page
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: pytest's output is for the tests."""


@contextlib.contextmanager
def serve(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Serve a folder on a free port of this machine; yields the base address, without a slash at its end."""
    handler = functools.partial(_QuietHandler, directory=str(Path(folder)))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
