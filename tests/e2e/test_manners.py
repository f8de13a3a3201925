"""Address, copying, saving, keyboard, colours, phone, print, stale answers, accessibility."""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib

import pytest
from axe_playwright_python.sync_playwright import Axe

import pertoken as pt
from tests.e2e.conftest import settled, shown, until

VIEWS = ("why", "position", "load", "market", "tariff", "compare", "answers")


def test_the_address_holds_only_what_differs_and_opens_the_same_page(opened):
    page = opened()
    settled(page)
    assert page.url.endswith("/")
    page.fill("#knob-output", "700")
    page.keyboard.press("Enter")
    page.locator('[data-knob="on"] .auto').click()
    settled(page)
    page.locator("#tab-position").click()
    settled(page)
    query = dict(re.findall(r"[?&]([^=]+)=([^&]*)", page.url))
    assert query == {"output": "700", "on": "", "view": "position"}
    again = opened("?" + page.url.partition("?")[2])
    assert shown(again) == shown(page)
    assert again.locator("#tab-position").get_attribute("aria-selected") == "true"
    page.go_back()
    until(page, "document.querySelector('#tab-why').getAttribute('aria-selected') === 'true'")
    assert "output=700" in page.url
    page.go_forward()
    until(page, "document.querySelector('#tab-position').getAttribute('aria-selected') === 'true'")


def copied(page, what: str) -> str:
    page.locator(".menu > button", has_text="Copy").click()
    page.locator(f"#copy-{what}").click()
    until(page, "document.querySelector('.toast') !== null")
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_copies_say_the_same_as_the_page(opened):
    page = opened("?input=4096&rate=rent:2.5&utilisation=0.5")
    assert copied(page, "link") == page.url
    command = copied(page, "command")
    assert command == (
        "pertoken price llama-3.1-70b --dtype fp8 --on 8xh100-sxm --input 4096 --rate rent:2.5 --utilisation 0.5"
    )
    python = copied(page, "python")
    scope: dict = {}
    exec(python, scope)
    assert shown(page) == f"${scope['cost'].per_million.input.value:.3f}"
    assert isinstance(scope["cost"], type(pt.price("llama-3.1-8b", on="h100-sxm")))


def saved(page, form: str) -> bytes:
    page.locator(".menu > button", has_text="Save").click()
    with page.expect_download() as waiting:
        page.locator(f"#save-{form}").click()
    found = waiting.value
    assert found.suggested_filename.startswith("pertoken-") and found.suggested_filename.endswith(f".{form}")
    return found.path().read_bytes()


def test_saves_hold_what_the_page_shows(opened):
    page = opened("?output=300")
    cost = pt.price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", output=300)
    found = json.loads(saved(page, "json"))
    assert found["per_million"]["input"]["value"] == pytest.approx(cost.per_million.input.value)
    row = next(csv.DictReader(io.StringIO(saved(page, "csv").decode())))
    assert float(row["output_usd_per_million"]) == pytest.approx(cost.per_million.output.value)
    assert b"<title>" in (svg := saved(page, "svg")) and b"<desc>" in svg
    assert saved(page, "png").startswith(b"\x89PNG")
    assert b"llama-3.1-70b" in saved(page, "md")
    assert b"@" in saved(page, "bib")
    scenario = tomllib.loads(saved(page, "toml").decode())
    assert scenario["model"] == "llama-3.1-70b" and int(scenario["output"]) == 300


def test_a_chart_is_saved_and_says_itself_in_words(opened):
    page = opened()
    until(page, "document.querySelectorAll('#view figure .picture svg').length >= 1")
    for figure in page.locator("#view figure").all():
        assert len(figure.locator("figcaption").inner_text()) > 40
        assert figure.locator(".picture svg").first.get_attribute("role") == "img"
    for form, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG"), ("CSV", b"dataset"), ("JSON", b"{")):
        with page.expect_download() as waiting:
            page.locator("#view figure .saves button", has_text=form).first.click()
        assert waiting.value.path().read_bytes().startswith(start)


def test_keys_alone_reach_everything(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen = []
    for _ in range(140):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if "tab-why" in seen[-1:]:
            break
    assert {"knob-model", "knob-input", "number", "tab-why", "theme"} <= set(seen)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-position"
    until(page, "location.search.includes('view=position')")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.id") == "tab-answers"
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.id") == "tab-why"


def test_colours_follow_the_system_and_the_choice_is_remembered(opened):
    page = opened(dark=True)
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.locator("#theme").click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    until(page, "document.querySelector('.big .number') !== null")
    assert page.evaluate(ground) == light
    assert opened(dark=False).evaluate(ground) == light


def test_a_phone_needs_no_sideways_scrolling(opened):
    page = opened(width=390, height=844)
    settled(page)
    assert page.evaluate("scrollY") == 0
    for view in VIEWS:
        page.locator(f"#tab-{view}").click()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view


def test_prices_stay_in_sight_on_a_phone_while_knobs_are_moved(opened):
    page = opened(width=390, height=844)
    page.locator("#knob-rate").scroll_into_view_if_needed()
    assert page.locator(".big").bounding_box()["y"] >= 0


def test_print_is_light_and_holds_the_price(opened):
    page = opened(dark=True)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ground').trim()") == "#fff"
    assert page.locator(".big .input .number").is_visible()
    assert page.locator("#theme").is_hidden()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_stale_answers_are_dropped(opened):
    page = opened()
    first = shown(page)
    held = []

    def hold(route):
        if '"input":"50"' in (route.request.post_data or ""):
            held.append(route)  # answered later than the newer question
        else:
            route.continue_()

    page.route("**/api/page", hold)
    set_input = (
        "(v) => { const b = document.querySelector('#knob-input'); b.value = v; b.dispatchEvent(new Event('change')); }"
    )
    page.evaluate(set_input, "50")
    until(page, "true")
    page.wait_for_timeout(500)  # longer than the page's patience
    page.evaluate(set_input, "5000")
    until(page, f"document.querySelector('.big .input .number span').textContent !== '{first}'")
    newest = shown(page)
    assert len(held) == 1
    page.wait_for_timeout(300)
    cost = pt.price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", input=5000)
    assert shown(page) == newest == f"${cost.per_million.input.value:.3f}"
    held[0].abort()


def test_a_server_that_is_gone_is_said_and_the_page_goes_on_when_it_is_back(opened):
    page = opened(allowed=("ERR_FAILED",))
    settled(page)
    page.route("**/api/page", lambda route: route.abort())
    page.fill("#knob-input", "3000")
    page.keyboard.press("Enter")
    until(page, "!document.querySelector('#problem').hidden")
    assert "Is pertoken serve still running?" in page.locator("#problem").inner_text()
    page.unroute("**/api/page")
    page.fill("#knob-input", "4000")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#problem').hidden")
    settled(page)
    assert page.url.endswith("?input=4000")


MARKS = "[...document.querySelectorAll('#view figure .picture svg')].map((svg) => svg.querySelector('.mark-group').innerHTML)"


@pytest.mark.parametrize("view", ["why", "position"])
def test_charts_follow_a_slider_while_their_axes_stand_still(opened, view):
    page = opened(f"?view={view}")
    until(page, "document.querySelectorAll('#view figure .picture svg').length >= 1")
    settled(page)
    labels = "[...document.querySelectorAll('#view .role-axis-label text')].map((t) => t.textContent).join('|')"
    before, marks, price = page.evaluate(labels), page.evaluate(MARKS), shown(page)
    page.evaluate(
        """() => { const s = document.querySelector('[data-knob="output"] input[type=range]');
             s.value = Number(s.value) + 20; s.dispatchEvent(new Event('input')); }"""
    )
    until(page, f"document.querySelector('.big .input .number span').textContent !== '{price}'")
    until(
        page, f"JSON.stringify({MARKS}) !== {json.dumps(json.dumps(marks, ensure_ascii=False))}", 0.5
    )  # before the slider rests
    assert page.evaluate(labels) == before


def test_who_listens_hears_the_prices(opened):
    page = opened()
    page.fill("#knob-input", "3000")
    page.keyboard.press("Enter")
    settled(page)
    said = page.locator("#said")
    assert said.get_attribute("aria-live") == "polite"
    until(page, "document.querySelector('#said').textContent.startsWith('Input $')")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_accessibility(opened, dark):
    page = opened(dark=dark)
    page.evaluate("document.querySelectorAll('.first details').forEach((d) => { d.open = true; })")
    page.locator(".big .input .number").click()
    found = []
    for view in VIEWS:
        page.locator(f"#tab-{view}").click()
        settled(page)
        until(page, "!document.querySelector('#view').textContent.startsWith('Loading')")
        result = Axe().run(page, context=None if view == "why" else "#view")  # the first screen is the same in all
        found += [
            (view, v["id"], v["nodes"][0]["html"][:160], len(v["nodes"]))
            for v in result.response["violations"]
            if v["impact"] in ("serious", "critical")
        ]
    assert found == []
