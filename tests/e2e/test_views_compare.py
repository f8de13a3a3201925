"""The view Compare in a browser: B in the address, edited, swapped, and why it differs."""

from __future__ import annotations

import re

from axe_playwright_python.sync_playwright import Axe

from pertoken.scenario import price
from pertoken.units import format_money
from tests.e2e.conftest import settled, shown, until

READY = "document.querySelectorAll('#view table').length > 0"


def differing(page) -> list[list[str]]:
    return [row.split("\t") for row in page.locator("#view .differing tbody tr").all_inner_texts()]


def figure(page, name: str) -> list[str]:
    rows = page.locator("#view table:not(.differing) tbody tr").all_inner_texts()
    return next(row.split("\t") for row in rows if row.startswith(name))


def query(page) -> dict[str, str]:
    return dict(re.findall(r"[?&]([^=]+)=([^&]*)", page.url))


def test_b_is_a_until_something_is_set(opened):
    page = opened("?view=compare")
    until(page, READY)
    assert "B is the same as A" in page.locator("#view .sentences").inner_text()
    assert page.locator("#view [role=tree]").count() == 0
    page.fill("#b-knob-output", "1000")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#view [role=tree]') !== null")
    assert query(page) == {"view": "compare", "b.output": "1000"}
    assert [row[1:] for row in differing(page)] == [["auto", "1000"]]
    assert page.locator("#view mark").all_inner_texts() == ["1000"]
    known = {"on": "8xh100-sxm", "dtype": "fp8"}
    a, b = (price("llama-3.1-70b", **known, **more).per_million.output.value for more in ({}, {"output": 1000}))
    assert figure(page, "output tokens")[1:3] == [format_money(a), format_money(b)]
    assert shown(page, "output") == format_money(a), "the first screen stays with A"


def test_the_address_brings_both_back_and_swap_turns_them(opened):
    page = opened("?view=compare&output=500&b.on=8xh200-sxm&b.output=auto")
    until(page, "document.querySelector('#view [role=tree]') !== null")
    assert [row[1:] for row in differing(page)] == [["8xh100-sxm", "8xh200-sxm"], ["500", "auto"]]
    before = figure(page, "output tokens")
    page.get_by_role("button", name="Swap A and B").click()
    until(page, f"document.querySelector('.big .output .number span').textContent === '{before[2]}'")
    settled(page)
    assert figure(page, "output tokens")[1:3] == [before[2], before[1]]
    assert query(page) == {"view": "compare", "on": "8xh200-sxm", "b.on": "8xh100-sxm", "b.output": "500"}
    page.get_by_role("button", name="Make B the same as A").click()
    until(page, "document.querySelector('#view [role=tree]') === null")
    assert query(page) == {"view": "compare", "on": "8xh200-sxm"}


def test_a_knob_of_a_moves_both(opened):
    page = opened("?view=compare&b.on=8xh200-sxm")
    until(page, "document.querySelector('#view [role=tree]') !== null")
    before = figure(page, "output tokens")
    page.fill("#knob-output", "900")
    page.keyboard.press("Enter")
    until(page, f"!document.querySelector('#view').textContent.includes('{before[2]}')")
    assert len(differing(page)) == 1


def test_the_difference_opens_branch_by_branch(opened):
    page = opened("?view=compare&b.on=8xh200-sxm")
    until(page, "document.querySelector('#view [role=tree]') !== null")
    tree = page.locator("#view [role=tree]")
    tree.locator("[role=treeitem]").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    marks = set(tree.locator(".mark-of").all_inner_texts())
    assert "~" in marks and marks <= {"~", "+", "-", "=", ""}
    assert "accelerator-hour costs" in page.locator("#view .sentences").inner_text()
    assert page.locator("#view figure .picture svg .mark-rect.role-mark path").count() >= 4


def test_b_that_does_not_fit_says_so_and_can_be_mended(opened):
    page = opened("?view=compare&b.on=1xl4", allowed=("422",))
    until(page, "document.querySelector('#view .failed') !== null")
    assert "does not fit" in page.locator("#view .failed").inner_text()
    page.locator(".knobs-b").evaluate("(form) => { form.closest('details').open = true; }")
    page.locator('.knobs-b [data-knob="on"] .auto').click()
    until(page, "document.querySelector('#view [role=tree]') !== null")


def test_no_serious_finding(opened):
    page = opened("?view=compare&b.on=8xh200-sxm")
    until(page, "document.querySelector('#view [role=tree]') !== null")
    page.locator(".knobs-b").evaluate("(form) => { form.closest('details').open = true; }")
    settled(page)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found if v["impact"] in ("serious", "critical")] == []
