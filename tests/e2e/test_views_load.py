"""The view Load in a browser: lines at once, simulated points as they come, and nothing runs for a view that is left."""

from __future__ import annotations

import time

from tests.e2e.conftest import until

RINGS = "[...document.querySelectorAll('#view figure')].map((f) => f.querySelectorAll('.mark-symbol.role-mark path').length)"
DONE = "document.querySelector('#view .progress')?.textContent.includes('simulated request by request')"


def test_points_come_beside_the_lines(opened):
    page = opened("?view=load")
    until(page, "document.querySelectorAll('#view figure .picture svg').length === 2")
    assert page.evaluate(RINGS) == [2, 2], "where you are, before anything is simulated"
    until(page, DONE, 60)
    rows = page.locator("#view .simulated tbody tr").count()
    assert 4 <= rows <= 7
    until(page, f"({RINGS}).join() === '{2 + 2 * rows},{2 + 2 * rows}'")
    assert "where you are" in page.locator("#view table").first.inner_text()


def test_saved_rows_hold_the_simulated_points(opened):
    page = opened("?view=load")
    until(page, DONE, 60)
    with page.expect_download() as waiting:
        page.locator("#view figure .saves button", has_text="CSV").first.click()
    text = waiting.value.path().read_text()
    assert text.count("\nsimulated,") >= 8 and text.count("\nhere,") == 2


def test_the_axis_is_in_the_address(opened):
    page = opened("?view=load")
    until(page, "document.querySelectorAll('#view figure .picture svg').length === 2")
    page.locator("#choice-against").select_option("rate")
    until(page, "document.querySelector('#view .sentences')?.textContent.includes('requests a second')")
    assert "load.against=rate" in page.url
    until(page, DONE, 60)


def test_stop_stops(opened):
    page = opened("?view=load&concurrency=2000")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/api/simulate") else None)
    page.route("**/api/simulate", lambda route: time.sleep(0.4) or route.continue_())
    page.get_by_role("button", name="Stop").click(timeout=20_000)
    until(page, "document.querySelector('#view .progress')?.textContent.startsWith('Stopped after')")
    page.wait_for_timeout(1500)
    assert len(asked) <= 2


def test_leaving_the_view_ends_its_simulations(opened):
    page = opened("?view=load")
    until(page, "document.querySelector('#view progress') !== null")
    page.locator("#tab-position").click()
    page.wait_for_timeout(800)
    asked = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/api/simulate") else None)
    page.wait_for_timeout(1500)
    assert asked == []


def test_what_is_not_simulated_says_why(opened):
    page = opened("?view=load&cached=0.5")
    until(page, "document.querySelector('#view .progress')?.textContent.includes('Not simulated')")
    assert "a share of cached input was given" in page.locator("#view .progress").inner_text()


def test_a_failed_simulation_is_a_sentence(opened):
    page = opened("?view=position", allowed=("503",))
    answer = {
        "status": 503,
        "content_type": "application/json",
        "body": '{"error": "busy; ask again soon", "exit_code": 2}',
    }
    page.route("**/api/simulate", lambda route: route.fulfill(**answer))
    page.locator("#tab-load").click()
    until(page, "document.querySelector('#view .progress .failed')?.textContent === 'busy; ask again soon'", 30)
    assert page.get_by_role("button", name="Simulate again").is_visible()
