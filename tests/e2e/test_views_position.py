"""The view Position in a browser: the 11th and the 10,001st token, any other, and who pays."""

from __future__ import annotations

import pytest

from pertoken.scenario import price
from pertoken.units import format_money
from tests.e2e.conftest import settled, until

READY = "document.querySelectorAll('#view .card .number').length > 0"


def cards(page) -> dict[str, str]:
    return {
        card.locator("h3").inner_text(): card.locator(".number").inner_text().split()[0]
        for card in page.locator("#view .card").all()
    }


@pytest.mark.parametrize(("view", "who"), [("fair", "reader"), ("marginal", "reader"), ("fair", "occupant")])
def test_the_11th_and_the_10001st_are_the_library_s(opened, view, who):
    page = opened(f"?view=position&position.view={view}&position.who={who}")
    until(page, READY)
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8")
    before = round(cost.operating.moments.input)
    expected = {}
    for n, name in ((11, "11th"), (10_001, "10,001st")):
        expected[f"{name} input token"] = format_money(cost.at(input=n, view=view, who=who).per_million.value)
        at = cost.at(input=before, output=n, view=view, who=who)
        expected[f"{name} output token"] = format_money(at.per_million.value)
    assert cards(page) == expected


def test_any_position_by_box_and_slider_and_the_address_keeps_it(opened):
    page = opened("?view=position")
    until(page, READY)
    page.fill("#position-second", "50000")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#view .cards')?.textContent.includes('50,000th')")
    assert "position.n=11%2C50000" in page.url
    page.locator(".slide input").focus()
    page.keyboard.press("End")
    until(page, "document.querySelector('#view .cards')?.textContent.includes('131,072nd')")
    assert page.input_value("#position-second") == "131072"
    again = opened("?" + page.url.partition("?")[2])
    until(again, READY)
    assert "131,072nd input token" in cards(again)


def test_the_mark_moves_on_the_chart(opened):
    page = opened("?view=position")
    until(page, "document.querySelectorAll('#view figure .picture svg').length === 2")
    assert "10,001" in page.locator("#view .picture").first.inner_text()
    page.fill("#position-second", "2000")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#view .picture')?.textContent.includes('2,000')")
    assert "10,001" not in page.locator("#view .picture").first.inner_text()


def test_a_question_without_an_answer_says_why_and_can_be_left(opened):
    page = opened("?view=position&load=0.3")
    until(page, READY)
    page.locator("#choice-question").select_option("long-run")
    until(
        page, "document.querySelector('#view .sentences')?.textContent.includes('The long-run view prices what binds')"
    )
    assert page.locator("#view .card").count() == 0 and page.locator("#view figure").count() == 0
    page.locator("#choice-question").select_option("alone")
    until(page, READY)
    assert "position.view=alone" in page.url


def test_the_flat_price_is_held_against_the_truth(opened):
    page = opened("?view=position")
    until(page, READY)
    assert "Against one flat output price of" in page.locator("#view .sentences").inner_text()
    assert page.locator("#view table").count() == 2


def test_one_output_token_has_no_course(opened):
    page = opened("?view=position&output=1")
    until(page, READY)
    settled(page)
    assert page.locator("#view figure").count() == 1


HOSTILE = "<img src=x onerror=window.hacked=1>"


@pytest.mark.parametrize(
    "search",
    [
        f"view=position&position.view={HOSTILE}&position.who={HOSTILE}&position.n={HOSTILE}",
        f"view=load&load.against={HOSTILE}",
        f"view=compare&b.model={HOSTILE}&b.nonsense={HOSTILE}",
    ],
)
def test_a_hostile_address_shows_as_text_and_can_be_left(opened, search):
    page = opened(f"?{search}", allowed=("status of 400",))
    until(page, "document.querySelector('#view .sentences, #view .failed') !== null")
    settled(page)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img").count() == 0
    if "compare" in search:
        assert HOSTILE[:4] in page.locator("#view .failed").inner_text()
        page.get_by_role("button", name="Make B the same as A").click()
        until(page, "document.querySelector('#view .failed') === null")
    else:
        assert page.locator("#view .controls select").first.is_visible()
        assert "img" not in page.url
