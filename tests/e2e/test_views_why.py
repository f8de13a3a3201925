"""The view Why in a browser: roofline, receipt by operation, a tree that keys open, what-ifs."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe

from pertoken.scenario import price
from tests.e2e.conftest import settled, until

FOCUSED = "document.activeElement.querySelector('.name').textContent"


def opened_tree(page):
    page.locator(".fold.tree > summary").click()
    until(page, "document.querySelector('[role=tree]') !== null")
    return page.locator("[role=tree]")


def test_the_roofline_has_a_dot_for_every_operation(opened):
    page = opened()
    until(page, "document.querySelector('#view figure .picture svg') !== null")
    from pertoken.report.pictures import points

    dots = points(price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8"))
    assert page.locator("#view .picture svg .mark-symbol.role-mark path").count() == len(dots)
    assert "most time goes to" in page.locator("#view figure figcaption").inner_text()


def test_the_receipt_by_operation_sums(opened):
    page = opened("?utilisation=0.5")
    until(page, "document.querySelector('#view table') !== null")
    rows = [row.split("\t") for row in page.locator("#view table").first.locator("tr").all_inner_texts()][1:]
    shares = [float(row[3].rstrip("%")) for row in rows]
    assert rows[-1][0].strip() == "paid" and shares[-1] == 100.0
    assert abs(sum(shares[:-1]) - 100.0) < 0.6
    assert rows[-2][0].strip() == "idle" and shares[-2] == 50.0


def test_the_tree_is_fetched_when_opened_and_keys_walk_it(opened):
    page = opened()
    settled(page)
    assert page.locator("[role=tree]").count() == 0, "not before it is opened"
    tree = opened_tree(page)
    tree.locator("[role=treeitem]").first.focus()
    assert page.evaluate(FOCUSED) == "request"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(FOCUSED) == "input"
    page.keyboard.press("ArrowRight")  # opens
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.keyboard.press("ArrowRight")  # goes in
    assert page.evaluate(FOCUSED) == "steps with a prompt"
    for _ in range(3):
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-level')") == "5"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-level')") == "4"
    page.keyboard.press("ArrowLeft")  # closes
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.keyboard.press("Home")
    assert page.evaluate(FOCUSED) == "request"
    page.keyboard.press("End")
    assert page.evaluate(FOCUSED) == "quantities behind it"
    assert page.locator('[role=treeitem][tabindex="0"]').count() == 1


def test_leaves_show_formula_and_source_with_a_safe_link(opened):
    page = opened()
    tree = opened_tree(page)
    for _ in range(4):
        for row in tree.locator('.branch[aria-expanded="false"] > .row').all()[:2]:
            row.click()
    links = tree.locator("a").all()
    assert links and all(link.get_attribute("rel") == "noopener noreferrer" for link in links)
    assert all(link.get_attribute("href").startswith("https://") for link in links)
    assert "(P e_c)" in tree.inner_text()


def test_the_tree_follows_the_knobs(opened):
    page = opened()
    tree = opened_tree(page)
    before = tree.locator(".amount").first.inner_text()
    tree.locator(".row", has_text="input").first.click()
    page.fill("#knob-output", "900")
    page.keyboard.press("Enter")
    until(page, f"document.querySelector('[role=tree] .amount')?.textContent !== '{before}'")
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", output=900)
    dollars = cost.explain().root.seconds * cost.rate.usd_per_second * 1e6
    assert page.locator("[role=tree] .amount").first.inner_text() == f"${dollars:,.2f}"
    assert page.locator("[role=tree] .name", has_text="steps with a prompt").is_visible(), "what was opened stays open"


def test_what_ifs_come_when_opened(opened):
    page = opened()
    page.locator(".fold.what-if > summary").click()
    until(page, "document.querySelectorAll('.what-if table tbody tr').length > 10")
    text = page.locator(".what-if").inner_text()
    assert "(no-kv-cache)" in text and "(split-pools)" in text and "What each takes for given" in text


def test_a_model_that_does_not_fit_says_so_and_the_view_recovers(opened):
    page = opened("?on=1xl4", allowed=("422",))
    until(page, "document.querySelector('#problem:not([hidden])') !== null")
    page.locator('[data-knob="on"] .auto').click()
    until(page, "document.querySelector('#view table') !== null")


def test_no_serious_finding_with_all_opened(opened):
    for dark in (False, True):
        page = opened(dark=dark)
        opened_tree(page)
        page.locator(".fold.what-if > summary").click()
        until(page, "document.querySelectorAll('.what-if table tbody tr').length > 10")
        for row in page.locator('[role=tree] .branch[aria-expanded="false"] > .row').all()[:3]:
            row.click()
        found = Axe().run(page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found if v["impact"] in ("serious", "critical")] == []
