"""What the browser tests of the live app share: start it, open its page, ask it something."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.remote.webdriver import WebDriver

from tests.browser import console_errors

READY = 240.0  # seconds, on a machine that is busy
FIND = """
const deep = (root) => {
  const found = root.querySelector('.arl-stage');
  if (found) return found;
  for (const one of root.querySelectorAll('*')) {
    const inner = one.shadowRoot && deep(one.shadowRoot);
    if (inner) return inner;
  }
  return null;
};
const stage = deep(document);
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from atmorep_lite.cli import main; main()", "app", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONUNBUFFERED": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(arguments: list[str], ready: str, folder: Path) -> Iterator[str]:
    """What a server said up to ``ready``; it is ended at the end, and by a timer if the test hangs."""
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), cwd=folder
    ) as process:
        timer = threading.Timer(READY, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if ready in line:
                    break
            assert ready in said, said
            yield said
        finally:
            timer.cancel()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("the page did not come to what was waited for")


class Page:
    """The app in a browser."""

    def __init__(self, driver: WebDriver, address: str) -> None:
        self.driver = driver
        driver.get("about:blank")  # a page before this one may have lost its server, and complained
        console_errors(driver)
        driver.get(address)
        until(lambda: self.run("return stage && stage.arl && stage.arl.number() && stage.dataset.arlDraws"))

    def run(self, script: str) -> Any:
        return self.driver.execute_script(FIND + script)

    def settle(self) -> None:
        until(lambda: self.run("return !stage.dataset.arlAsked"))
        self.run("stage.arl.redraw()")

    def ask(self, script: str) -> None:
        self.run(script)
        self.settle()

    def press(self, key: str) -> None:
        ActionChains(self.driver).send_keys(key).perform()
        self.settle()

    @property
    def selected(self) -> dict[str, Any]:
        found = self.run("return stage.arl.selected()")
        del found["asked"]  # counts up with every choice
        return found

    @property
    def text(self) -> str:
        return self.run("return stage.innerText")
