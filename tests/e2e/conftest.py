"""A server and a browser for all tests of the page; each page fails its test on console errors and requests off the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

from tests.test_benchmarks import load
from tests.web.conftest import Server, started

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = load("page").ARGUMENTS
Opened = Callable[..., Page]


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    found = started()
    yield found
    found.process.terminate()
    found.process.wait(20)
    found.process.stderr.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        wanted = pytest.fail if os.environ.get("PERTOKEN_BROWSER") == "required" else pytest.skip
        wanted(f"{CHROMIUM} is not installed; the page is tested in a real browser: apt-get install chromium")
    with sync_playwright() as found:
        chromium = found.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield chromium
        chromium.close()


class Watch:
    """What a page did that it must not."""

    def __init__(self, url: str) -> None:
        self.url, self.wrong = url, []
        self.allowed: tuple[str, ...] = ()  # parts of console messages that a test provokes
        self.under_way, self.since = 0, time.monotonic()

    def asked(self, *_: Any) -> None:
        self.under_way += 1
        self.since = time.monotonic()

    def answered(self, *_: Any) -> None:
        self.under_way -= 1
        self.since = time.monotonic()

    def route(self, route: Route) -> None:
        if route.request.url.startswith(self.url):
            route.continue_()
        else:
            self.wrong.append(f"asked {route.request.url}")
            route.abort()

    def said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in self.allowed):
            self.wrong.append(f"console: {message.text}")

    def crashed(self, problem: Any) -> None:
        self.wrong.append(f"thrown: {problem}")


@pytest.fixture
def opened(server: Server, browser: Browser) -> Iterator[Opened]:
    """Opens the page: ``opened(search, width=1440, height=900, dark=False, allowed=())``; waits for the first figures."""
    contexts, watches = [], []

    def open_page(search: str = "", width: int = 1440, height: int = 900, dark: bool = False, **how: Any) -> Page:
        watch = Watch(server.url)
        watch.allowed = tuple(how.pop("allowed", ()))
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            accept_downloads=True,
            **how,
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
        context.route("**/*", watch.route)
        page = context.new_page()
        page.on("console", watch.said)
        page.on("pageerror", watch.crashed)
        page.on("request", watch.asked)
        page.on("requestfinished", watch.answered)
        page.on("requestfailed", watch.answered)
        page.watch = watch  # type: ignore[attr-defined]
        contexts.append(context)
        watches.append(watch)
        page.goto(f"{server.url}/{search}")
        until(page, "document.querySelector('.big .number, #problem:not([hidden])') !== null")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [wrong for watch in watches for wrong in watch.wrong] == []


def until(page: Page, expression: str, seconds: float = 20.0) -> Any:
    """The value of an expression once it is true; the page's policy forbids waiting for it in the page itself."""
    end = time.monotonic() + seconds
    while not (found := page.evaluate(expression)):
        assert time.monotonic() < end, f"never came: {expression}"
        page.wait_for_timeout(20)
    return found


def shown(page: Page, token: str = "input") -> str:
    """A price as it stands on the page."""
    return page.locator(f".big .{token} .number").inner_text()


QUIET_S = 0.25  # longer than the page waits after a key on a slider


def settled(page: Page) -> None:
    """Nothing was asked or answered for a while, and nothing is on its way."""
    watch: Watch = page.watch  # type: ignore[attr-defined]
    watch.since = time.monotonic()
    end = watch.since + 20.0
    while watch.under_way > 0 or time.monotonic() - watch.since < QUIET_S:
        assert time.monotonic() < end, f"{watch.under_way} requests never ended"
        page.wait_for_timeout(20)
