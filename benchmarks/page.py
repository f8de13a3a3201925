"""The page in a real browser: slider event to painted figures, bytes on the wire, and time to the first figures.

Run: python benchmarks/page.py [--moves 150]. Needs Debian's chromium and `pip install 'pertoken[page]' playwright`.
A move sets a slider and dispatches its input event, as a hand does; it ends when the price has changed and the frame that shows
it was painted. Compressed bytes are what the server sent, headers left out.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from typing import Any

from playwright.sync_api import Browser, sync_playwright

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SERVE = (sys.executable, "-c", "from pertoken.cli.main import run; run()", "serve", "--port", "0")
READY = "document.querySelector('.big .number') !== null"
# every move is another value, so that no answer is kept from before
MOVE = """async ([knob, at]) => {
  const slider = document.querySelector(`[data-knob="${knob}"] input[type=range]`);
  const figures = ["input", "output"].map((t) => document.querySelector(`.big .${t} .number`));
  const text = () => figures.map((f) => f.textContent).join();
  const before = text();
  const start = performance.now();
  slider.value = at;
  const moved = new Promise((done) => {
    const watch = new MutationObserver(() => { if (text() !== before) done(); });
    for (const f of figures) watch.observe(f, { subtree: true, characterData: true, childList: true });
    setTimeout(done, 3000);
  });
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  await moved;
  await new Promise((done) => requestAnimationFrame(() => {
    const after = new MessageChannel();
    after.port1.onmessage = done;
    after.port2.postMessage(0);
  }));
  return performance.now() - start;
}"""


def first_figures(browser: Browser, url: str) -> tuple[float, int, list[Any]]:
    """Milliseconds from navigation to the first figures, bytes on the wire, and the page."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(url, wait_until="commit")
    while not page.evaluate(READY):
        page.wait_for_timeout(5)
    first = float(page.evaluate("performance.now()"))
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)
    return first, int(sum(sizes)), [context, page]


def moves(page: Any, count: int) -> dict[str, list[float]]:
    """Milliseconds of moves by slider."""
    found: dict[str, list[float]] = {}
    for knob in ("input", "output", "concurrency", "rate"):
        found[knob] = []
        for i in range(count // 4):
            found[knob].append(float(page.evaluate(MOVE, [knob, 70 + (i * 7) % 83 + i % 2])))
            page.wait_for_timeout(20)
        page.locator(f'[data-knob="{knob}"] .auto').click()
        page.wait_for_timeout(600)
    return found


def p95(values: list[float]) -> float:
    """95% took at most this."""
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    server = subprocess.Popen(SERVE, stderr=subprocess.PIPE, text=True)
    assert server.stderr
    address = re.search(r"http://\S+/", server.stderr.readline())
    assert address
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=given.chromium, args=list(ARGUMENTS))
            cold, *_ = first_figures(browser, address[0])
            firsts, sizes = [], []
            for _ in range(5):
                first, size, (context, page) = first_figures(browser, address[0])
                firsts.append(first)
                sizes.append(size)
                context.close()
            _, _, (context, page) = first_figures(browser, address[0])
            found = moves(page, given.moves)
            browser.close()
    finally:
        server.terminate()
        server.wait(20)
    every = [ms for values in found.values() for ms in values]
    print(
        f"first figures after navigation: {statistics.median(firsts):.0f} ms warm (goal < 1,000), {cold:.0f} ms just started"
    )
    print(f"bytes on the wire, charts included: {max(sizes):,} (goal < 2,000,000)")
    for knob, values in found.items():
        print(
            f"{knob:<12} median {statistics.median(values):5.1f} ms   p95 {p95(values):5.1f} ms   {len(values)} moves"
        )
    print(
        f"{'all':<12} median {statistics.median(every):5.1f} ms   p95 {p95(every):5.1f} ms   {len(every)} moves (goals 50, 100)"
    )


if __name__ == "__main__":
    main()
