"""The built book in a browser: nothing from other servers, no script errors, formulae, alt texts, search.

Needs the book (`make book`); skips where it is not built.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import console_errors, external_requests, serve, start_browser

HTML = Path(__file__).resolve().parents[1] / "book" / "_build" / "html"
if not (HTML / "index.html").exists():
    pytest.skip("the book is not built here; run: make book", allow_module_level=True)
PAGES = sorted(
    str(path.relative_to(HTML))
    for path in HTML.rglob("*.html")
    if not path.relative_to(HTML).parts[0].startswith("_") and path.name != "index.html"
)
# Formulae are set, pictures loaded, and each widget that the page announces has drawn something.
SETTLED = """
const set = [...document.querySelectorAll('.math')].every(math => math.querySelector('mjx-container'));
const pictures = [...document.images].every(image => image.complete);
const widgets = [...document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')]
  .every(script => script.parentElement.querySelector('.lm-Widget, .jupyter-widgets'));
return document.readyState === 'complete' && set && pictures && widgets;
"""
# MathJax marks errors as such, and unknown commands in red.
UNSET = """
return [...document.querySelectorAll('.math')]
  .filter(math => !math.querySelector('mjx-container')
    || math.querySelector('mjx-merror, mjx-mtext[style*="color: red"]'))
  .map(math => math.textContent);
"""
PICTURES = """
return [...document.images].map(image => [image.getAttribute('src'), image.alt.trim(), image.naturalWidth]);
"""


@dataclass(frozen=True)
class Visit:
    """What was seen on a page: requests to other machines, console errors, formulae that failed, pictures."""

    settled: bool
    requests: list[str]
    errors: list[str]
    unset_formulae: list[str]
    pictures: list[tuple[str, str, int]]  # address, alt text, width


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serve(HTML) as address:
        yield address


def settle(driver: WebDriver, seconds: float = 30) -> bool:
    """Scroll through the page, wait until it has drawn itself; False if it has not within the time."""
    driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if driver.execute_script(SETTLED):
            time.sleep(0.3)  # a late request or error of a widget's script
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module", params=PAGES)
def visit(request: pytest.FixtureRequest, browser: WebDriver, site: str) -> Visit:
    browser.get(f"{site}/{request.param}")
    settled = settle(browser)
    pictures = [(src, alt, width) for src, alt, width in browser.execute_script(PICTURES)]
    unset = browser.execute_script(UNSET)
    return Visit(settled, external_requests(browser), console_errors(browser), unset, pictures)


def test_page_draws_itself(visit: Visit) -> None:
    assert visit.settled


def test_page_asks_no_other_server(visit: Visit) -> None:
    assert visit.requests == []


def test_page_has_no_script_errors(visit: Visit) -> None:
    assert visit.errors == []


def test_formulae_are_set(visit: Visit) -> None:
    assert visit.unset_formulae == []


def test_pictures_load_and_have_alt_text(visit: Visit) -> None:
    assert visit.pictures, "not even the logo"
    assert [src for src, alt, width in visit.pictures if not alt or width == 0] == []


def test_search_finds(browser: WebDriver, site: str) -> None:
    browser.get(f"{site}/search.html?q=attention")
    found = WebDriverWait(browser, 20).until(
        lambda driver: driver.find_elements("css selector", "#search-results li a")
    )
    assert any("glossary" in link.get_attribute("href") for link in found)


def test_first_page_is_reached_from_the_index(browser: WebDriver, site: str) -> None:
    browser.get(f"{site}/index.html")
    WebDriverWait(browser, 20).until(lambda driver: driver.find_elements("css selector", "article h1"))


@pytest.mark.parametrize("dark", [False, True])
def test_colours_follow_the_reader(site: str, dark: bool) -> None:
    driver = start_browser(dark=dark)
    try:
        driver.get(f"{site}/glossary.html")
        background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    finally:
        driver.quit()
    level = sum(int(part) for part in background.strip("rgba()").split(",")[:3]) / 3
    assert level < 64 if dark else level > 192


class Addresses(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in {"href", "src"} and value]


@pytest.mark.parametrize("page", PAGES)
def test_local_links_lead_somewhere(page: str) -> None:
    parser = Addresses()
    parser.feed((HTML / page).read_text(encoding="utf-8"))
    broken = []
    for address in parser.found:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc or not parts.path:
            continue
        if not (HTML / page).parent.joinpath(unquote(parts.path)).exists():
            broken.append(address)
    assert broken == []
