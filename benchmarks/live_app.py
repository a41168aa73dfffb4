"""The live app on this machine: from asking for a page to the first picture, from a wish to its picture.

    python benchmarks/live_app.py

Starts the app, opens it in headless Chromium at 1280 x 720, and prints the least time, the median and the
slowest of seven.  Other programs on the machine show in the last two.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.app.live_page import Page, command, free_port, served
from tests.browser import start_browser

TIMES = 7
WISHES = {
    "a scene that was checked at the start": "stage.arl.scene({n} % 6 + 1)",
    "tokens hidden by hand": "stage.arl.ask({{ hide: [{{ cells: [[{n} * 5 + 20, 320]] }}] }})",
    "another place": "stage.arl.ask({{ longitude: {n} * 20 + 7 }})",
    "another time": "stage.arl.ask({{ time: '2010-01-22T' + String(3 * {n}).padStart(2, '0') + ':00' }})",
    "another field of the same answer": "stage.arl.ask({{ field: ['temperature', 'vorticity'][{n} % 2] }})",
    "another hour, drawn in the page alone": "stage.arl.ask({{ hours: 3 * ({n} + 1) }})",
}


def main() -> None:
    """Start the app and measure."""
    port = free_port()
    arguments = command("--port", str(port), "--no-open")
    with tempfile.TemporaryDirectory() as folder, served(arguments, "are ready", Path(folder)) as said:
        found = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert found
        measure(found[0])


def measure(address: str) -> None:
    """Print a line for the first picture and one for each kind of wish."""
    driver = start_browser(1280, 720)
    try:
        first = []
        for _ in range(TIMES):
            started = time.perf_counter()
            page = Page(driver, address)
            first.append(1000 * (time.perf_counter() - started))
        tell("the page asked for -> first picture", first)
        for what, wish in WISHES.items():
            took = []
            for n in range(TIMES):
                page.ask(wish.format(n=n))
                took.append(page.run("return stage.arl.answerMs"))
            tell(f"{what} -> picture", took)
        assert not page.run("return stage.arl.fault()")
    finally:
        driver.quit()


def tell(what: str, took: list[float]) -> None:
    """One line: least time, median, slowest."""
    print(f"{what:52s} {min(took):6.0f} {statistics.median(took):6.0f} {max(took):6.0f} ms", flush=True)


if __name__ == "__main__":
    main()
