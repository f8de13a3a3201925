"""Takes the pictures of the page in docs/images: first screen in light and dark, a number opened, a view, a phone.

Run: python scripts/screenshots.py. Needs Debian's chromium and `pip install 'pertoken[page]' playwright`. The browser asks this
machine alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent.parent / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SERVE = (sys.executable, "-c", "from pertoken.cli.main import run; run()", "serve", "--port", "0")
MOST_BYTES = 300_000


def plain(page: Page) -> None:
    """As it opens."""


def opened(page: Page) -> None:
    """With the input price's basis open."""
    page.locator(".big .input .number").click()


def to_view(page: Page) -> None:
    """Scrolled to the open view, its charts drawn."""
    page.evaluate("document.querySelector('#tabs').scrollIntoView()")
    page.wait_for_timeout(9000)


# name: address, width, height, dark, what is done before
SHOTS: dict[str, tuple[str, int, int, bool, Callable[[Page], None]]] = {
    "page-light": ("", 1280, 860, False, plain),
    "page-dark": ("", 1280, 860, True, plain),
    "page-number": ("", 1280, 860, False, opened),
    "page-load": ("?view=load", 1280, 760, False, to_view),
    "page-phone": ("", 390, 844, False, plain),
}


def take(browser: Browser, url: str, name: str) -> Path:
    """One picture."""
    search, width, height, dark, act = SHOTS[name]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    page.goto(f"{url}{search}")
    page.locator(".big .number").first.wait_for()
    page.wait_for_timeout(1500)
    act(page)
    page.wait_for_timeout(300)
    path = FOLDER / f"{name}.png"
    page.screenshot(path=str(path))
    context.close()
    return path


def main() -> None:
    """Take all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(SERVE, stderr=subprocess.PIPE, text=True)
    assert server.stderr
    url = re.search(r"http://\S+/", server.stderr.readline())
    assert url
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            for name in SHOTS:
                path = take(browser, url[0], name)
                size = path.stat().st_size
                print(f"{path.name}: {size:,} bytes" + (" (too large)" if size > MOST_BYTES else ""))
            browser.close()
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main()
