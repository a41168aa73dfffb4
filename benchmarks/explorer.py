"""The attention explorer in a browser: from the mouse to the picture, and what a page weighs.

A capture of random numbers has three fields of 5 levels x 12 times x 6 x 12 tokens (4,320 each), 6 layers of
16 self-attention heads and one head for each coupling, with 32 channels.  Its page is opened in headless
Chromium; the mouse moves from token to token over the query's map, so that every move asks for new rows and
draws all maps.  Times are taken in the page: from the time stamp of the mouse's event until the picture is
drawn, and until the next frame begins, when it has been handed to the screen.

    python benchmarks/explorer.py                       # about 1 minute; needs chromium and chromedriver
    python benchmarks/explorer.py --channels 8 --moves 10
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from selenium.webdriver.remote.webdriver import WebDriver

sys.path.insert(0, str(Path(__file__).parents[1]))

from atmorep_lite.attention_maps import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.widgets import AttentionExplorer
from tests.browser import console_errors, start_browser

SHAPE = (5, 12, 6, 12)
FIELDS = {"u_component_of_wind": "m s-1", "v_component_of_wind": "m s-1", "temperature": "K"}
LAYERS, HEADS, GRID = 6, 16, 9  # GRID values along each side of a token

# Keeps for each mouse event [until drawn, until the next frame begins, the explorer's own work], in ms.
WATCH = """
const root = document.querySelector(".arl-root");
window.seen = [];
let moved = null;
root.addEventListener("pointermove", (event) => { moved = moved ?? event.timeStamp; }, true);
new MutationObserver(() => {
  if (moved === null) return;
  const [start, drawn] = [moved, performance.now()];
  moved = null;
  const work = root.arl.redrawMs;
  requestAnimationFrame(() => window.seen.push([drawn - start, performance.now() - start, work]));
}).observe(root, { attributes: true, attributeFilter: ["data-arl-draws"] });
"""


def capture(channels: int) -> AttentionCapture:
    """Smooth random fields, and queries and keys of random numbers."""
    rng = np.random.default_rng(0)
    levels, times, rows, columns = SHAPE
    tokens = int(np.prod(SHAPE))
    latitude, longitude = 65.0 - 9 * np.arange(rows), 9.0 * np.arange(columns)
    hours = np.datetime64("2020-01-01", "ns") + 3 * np.arange(times) * np.timedelta64(1, "h")
    position = rng.normal(size=(tokens, 5)).astype(np.float32)
    fields, pairs = {}, {}
    for number, (name, units) in enumerate(FIELDS.items()):
        grid = np.meshgrid(
            *(np.arange(n, dtype=float) for n in (levels, times, rows * GRID, columns * GRID)), indexing="ij"
        )
        values = 10 * np.sin(grid[3] / 9 + number + grid[1] / 5) * np.cos(grid[2] / 11 + grid[0])
        mask = np.zeros(SHAPE, bool)
        mask[:, -1] = True
        fields[name] = CapturedField(
            name, np.array([1000, 850, 700, 500, 300]), hours, latitude, longitude, (9.0, 9.0), position,
            values.astype(np.float32), mask, units,
        )  # fmt: skip
    for query in FIELDS:
        for key in FIELDS:
            heads = HEADS if query == key else 1
            q, k = rng.normal(size=(2, LAYERS, heads, tokens, channels)).astype(np.float32)
            slope = np.full((LAYERS, heads), 0.1 if query == key else 0.0, np.float32)
            pairs[query, key] = CapturedPair(query, key, q, k, slope, "encoder")
    return AttentionCapture(fields, pairs)


def hover(driver: WebDriver, moves: int) -> np.ndarray:
    """[move, (until drawn, until the next frame, own work)] in ms, of mouse moves over the query's map."""
    box = driver.execute_script(
        "const m = document.querySelector('.arl-card[data-arl-query=true] canvas');"
        "m.scrollIntoView({ block: 'center' }); window.seen = [];"
        "return m.getBoundingClientRect().toJSON()"
    )
    inner = box["width"] - 48
    for move in range(moves):
        column, row = move % 12, (move // 12) % 6
        x = box["left"] + 38 + (column + 0.5) * inner / 12
        y = box["top"] + 7 + (row + 0.5) * inner / 24
        driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})
        driver.execute_async_script(
            "requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(arguments[0])))"
        )
    return np.array(driver.execute_script("return window.seen"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--channels", type=int, default=32, help="channels of a head")
    parser.add_argument("--moves", type=int, default=40, help="mouse moves of each case")
    options = parser.parse_args()
    made = capture(options.channels)
    print("| page | shown | until drawn: median | 90 % | next frame: median | 90 % | own work: median |")
    print("|---|---|---|---|---|---|---|")
    notes = []
    for precision in ("int8", "float16"):
        start = time.perf_counter()
        explorer = AttentionExplorer(made, precision=precision)
        packed = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            page = explorer.to_html(Path(folder) / "page.html")
            driver = start_browser(1400, 900)
            try:
                start = time.perf_counter()
                driver.get(page.as_uri())
                root = "document.querySelector('.arl-root')"
                while not driver.execute_script(f"return {root}?.dataset.arlDraws"):
                    time.sleep(0.05)
                opened = time.perf_counter() - start
                driver.execute_script(WATCH)
                for words, wish in (
                    ("attention, mean of 16 heads", {"head": "mean"}),
                    ("attention, one head", {"head": 3}),
                    ("contours, wind, mean of 16 heads",
                     {"head": "mean", "view": "contours", "arrows": True}),
                    ("minus uniform, upstream, mean of 16 heads",
                     {"view": "attention", "compare": "uniform", "upstream": True}),
                ):  # fmt: skip
                    driver.execute_script(f"{root}.arl.choose(arguments[0], {{ lock: false }})", wish)
                    seen = hover(driver, options.moves)
                    figures = [
                        f"{np.percentile(seen[:, i], part):.0f} ms" for i in (0, 1) for part in (50, 90)
                    ]
                    print(
                        f"| {precision} | {words} | {' | '.join(figures)} | {np.median(seen[:, 2]):.0f} ms |"
                    )
                errors = console_errors(driver)
                notes.append(
                    f"{precision}: page {explorer.page_bytes / 1e6:.1f} MB, of which queries and keys "
                    f"{len(explorer.data) / 1e6:.1f} MB before base64; weights within "
                    f"{100 * explorer.error_bound:.2f} % of their row's peak; made in {packed:.1f} s, "
                    f"opened in {opened:.1f} s; console errors: {errors or 'none'}."
                )
            finally:
                driver.quit()
    print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
