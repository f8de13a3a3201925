"""The views Market, Tariff and Answers in a browser: figures, controls, files, addresses, keys and hostile names."""

from __future__ import annotations

import shlex

import pytest
from axe_playwright_python.sync_playwright import Axe

from pertoken.scenario import price
from pertoken.units import format_money
from tests.e2e.conftest import settled, until

VIEWS = ("market", "tariff", "answers")
HOSTILE = "<img src=x onerror=window.hacked=1>"
TABLED = "document.querySelectorAll('#view table').length > 0"


def said(part: str, selector: str = "#view") -> str:
    return f"document.querySelector('{selector}')?.textContent.includes({part!r})"


def rows(page, at: int = 0) -> dict[str, list[str]]:
    return {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts()
        for row in page.locator("#view table").nth(at).locator("tbody tr").all()
    }


def test_offers_stand_around_the_cost_here(opened):
    page = opened("?view=market")
    until(page, "document.querySelector('#view figure .picture svg') && " + TABLED)
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8")
    found = rows(page)
    assert found["(cost here)"][:3] == [
        format_money(getattr(cost.per_million, k).value) for k in ("input", "cached", "output")
    ]
    assert len(found) > 3 and "genai-prices" in page.locator("#view .note").first.inner_text()
    assert "Offers of llama-3.1-70b" in page.locator("#view figcaption").first.text_content()


def test_an_offer_closely_with_spend_and_spare_and_the_address_keeps_it(opened):
    page = opened("?view=market")
    until(page, said("Buying it, or serving it yourself"))
    page.locator("#choice-offer").select_option("together/meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo")
    until(page, said("together/meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo: input"))
    page.fill("#market-volume", "90000")
    page.keyboard.press("Enter")
    until(page, said("A spend of $90,000"))
    page.fill("#market-spare", "3")
    page.keyboard.press("Enter")
    until(page, said("(3 spare)"))
    until(
        page, "[...document.querySelectorAll('#view figcaption')].some((e) => e.textContent.includes('break-even at'))"
    )
    assert "market.spend=90000" in page.url and "market.spare=3" in page.url and "market.offer=together" in page.url
    again = opened("?" + page.url.partition("?")[2])
    until(again, said("(3 spare)"))
    assert again.input_value("#market-volume") == "90000"
    again.locator(".slide input[aria-label='What you send, slider']").focus()
    again.keyboard.press("End")
    until(again, said("A spend of $10,000,000"))


def test_requests_a_day_in_place_of_a_spend(opened):
    page = opened("?view=market")
    until(page, said("A spend of"))
    page.locator("#choice-you-tell").select_option("requests")
    until(page, said("As given: 100,000 requests a day"))
    assert "market.requests=100000" in page.url and "market.spend" not in page.url


def test_any_vendor_s_offer_can_be_named_and_a_wrong_one_is_a_sentence(opened):
    page = opened("?view=market", allowed=("400",))
    until(page, said("A spend of"))
    page.locator("#choice-offer").select_option("other")
    page.fill("#market-other", "anthropic/claude-sonnet-4-5")
    page.keyboard.press("Enter")
    until(page, said("anthropic/claude-sonnet-4-5: input"))
    page.fill("#market-other", HOSTILE)
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#view .failed') !== null")
    assert page.evaluate("window.hacked") is None


def test_the_whole_list_is_asked_for_when_opened(opened):
    page = opened("?view=market")
    until(page, said("A spend of"))
    assert not page.evaluate(said("Output price over input price"))
    page.locator("#view .fold summary").press("Enter")
    until(page, said("Output price over input price"))


def test_a_model_that_nobody_sells_and_back(opened):
    page = opened("?model=qwen3-0.6b&on=h100-sxm&dtype=&view=market")
    until(page, said("No offer of the weights of qwen3-0.6b is known"))
    assert page.locator("#market-one").is_hidden() and page.locator("#view figure").count() == 0


def test_who_pays_for_whom_under_each_tariff(opened):
    page = opened("?view=tariff")
    until(page, "document.querySelectorAll('#view .card .number').length === 4")
    first = page.locator("#view .card .number").first.inner_text()
    page.locator("#choice-tariff").select_option("form one")
    until(page, f"document.querySelector('#view .card .number').textContent.trim() !== {first!r}")
    assert "tariff.form=one" in page.url and "--tariff one" in page.locator("#view .command code").inner_text()
    until(page, "document.querySelectorAll('#view figure .picture svg').length === 3")
    page.locator("#choice-requests-of").select_option("azure-2023-code")
    until(page, said("Trace azure-2023-code"))
    assert "tariff.trace=azure-2023-code" in page.url


def csv(name: str, content: str | bytes) -> dict:
    return {"name": name, "mimeType": "text/csv", "buffer": content.encode() if isinstance(content, str) else content}


def test_a_file_of_one_s_own_stays_on_this_machine(opened):
    page = opened("?view=tariff")
    until(page, TABLED)
    assert "nothing is sent off it" in page.locator("#view .drop").inner_text()
    assert "5,000,000 requests" in page.locator("#view .drop").inner_text()
    lines = "".join(f"{100 + 37 * i % 9000},{20 + 11 * i % 700}\n" for i in range(300))
    page.set_input_files("#tariff-file", csv("my requests.csv", f"input,output\n{lines}"))
    until(page, said("300 requests", "#view .inside, #view .sentences"))
    assert "300 requests" in page.locator("#view .sent").inner_text()
    assert "--trace 'my requests.csv'" in page.locator("#view .command code").inner_text()
    with page.expect_download() as file:
        page.get_by_role("button", name="Save tariff as CSV").click()
    assert file.value.path().read_text().startswith("asked,on,")


@pytest.mark.parametrize(
    ("content", "word"),
    [("input,output\n100,10\n=1+1,10\n", "line 3"), ("a,b\n1,2\n", "input"), (f"input,output\n{HOSTILE},1\n", "line 2"),
     (b"input,output\n10,1\n\xff\xfe\x00,2\n", "line 3"), ("input,output\n" + "9" * 150_000 + ",1\n", "100,000 characters"),
     ("date,input,output\n2026-11-01,100000000,0\n2026-11-02,200000000,40000000\n", "tokens by day")],
    ids=("formula", "columns", "markup", "bytes", "giant", "days"),
)  # fmt: skip
def test_a_hostile_file_is_a_sentence_and_what_was_shown_stays(opened, content, word):
    page = opened("?view=tariff", allowed=("400",))
    until(page, TABLED)
    page.set_input_files("#tariff-file", csv("bad.csv", content))
    until(page, "document.querySelector('#view .sent .failed') !== null")
    assert word in page.locator("#view .sent").inner_text()
    assert page.evaluate("window.hacked") is None and page.locator("#view table").count() == 3


def test_ten_million_rows_are_refused_before_they_are_sent(opened, tmp_path):
    file = tmp_path / "long.csv"
    file.write_bytes(b"input,output\n" + b"10,10\n" * 10_000_000)
    page = opened("?view=tariff")
    until(page, TABLED)
    page.set_input_files("#tariff-file", str(file))
    until(page, "document.querySelector('#view .sent .failed') !== null")
    assert "at most 20,971,520 are read" in page.locator("#view .sent").inner_text()


def test_a_link_to_an_upload_that_is_gone_shows_the_usual_trace(opened):
    page = opened("?view=tariff&tariff.trace=upload:" + "ab" * 16, allowed=("400",))
    until(page, TABLED)
    assert "upload the file again" in page.locator("#view .file").inner_text() and "tariff.trace" not in page.url


def test_nine_answers_with_figures_charts_and_commands(opened):
    page = opened("?view=answers")
    until(page, "document.querySelectorAll('#view article').length === 9")
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8")
    first = page.locator("#view article").first
    numbers = {float(value) for value in first.locator("data").evaluate_all("all => all.map((e) => e.value)")}
    assert any(n == pytest.approx(cost.per_million.input.value, rel=1e-9) for n in numbers)
    assert first.locator("data").first.get_attribute("title").endswith("$ per million tokens")
    first.scroll_into_view_if_needed()
    until(page, "document.querySelectorAll('#view article figure .picture svg').length >= 1")
    page.locator("#question-9").scroll_into_view_if_needed()
    until(page, "document.querySelector('#view article:last-of-type figure .picture svg') !== null")
    first.locator("summary").press("Enter")
    assert "$ per million tokens" in first.locator("details table").inner_text()


def test_a_question_is_linked(opened):
    page = opened("?view=answers&question=4")
    until(page, "document.activeElement?.id === 'question-4'")
    page.locator("#view .contents a").nth(6).click()
    until(page, "document.activeElement?.id === 'question-7'")
    assert "question=7" in page.url
    href = page.locator("#question-2 a").get_attribute("href")
    assert "view=answers" in href and "question=2" in href


def test_a_command_of_an_answer_is_copied(opened):
    page = opened("?view=answers")
    until(page, "document.querySelectorAll('#view article').length === 9")
    page.locator("#view article").nth(3).locator(".command button").first.click()
    until(page, "document.querySelector('#said').textContent === 'Copied'")
    line = page.evaluate("navigator.clipboard.readText()").removeprefix("$ ")
    assert shlex.split(line)[:3] == ["pertoken", "answers", "llama-3.1-70b"] and "--question 4" in line


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_follows_the_knobs(opened, view):
    page = opened(f"?view={view}")
    until(page, said("llama-3.1-70b", "#view"))
    page.goto(page.url + "&model=llama-3.1-8b&on=h100-sxm&dtype=")
    until(page, said("llama-3.1-8b", "#view"))
    settled(page)
    assert not page.evaluate(said("70b", "#view .command"))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_no_serious_finding_of_axe_and_no_sideways_page(opened, view, width, dark):
    page = opened(f"?view={view}", width=width, dark=dark)
    until(page, "document.querySelector('#view .command') !== null")
    page.locator("#view .charts").first.evaluate("each => (each.closest('article') ?? each).scrollIntoView()")
    until(page, "document.querySelector('#view figure .picture svg') !== null")
    settled(page)
    found = Axe().run(page, context="#view").response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    "search",
    [
        f"view=market&market.offer={HOSTILE}&market.spend={HOSTILE}&market.spare={HOSTILE}&market.requests=-5",
        f"view=tariff&tariff.trace={HOSTILE}&tariff.form={HOSTILE}&tariff.offer={HOSTILE}",
        f"view=answers&question={HOSTILE}",
    ],
)
def test_hostile_addresses_do_nothing(opened, search):
    page = opened(f"?{search}", allowed=("400",))
    until(page, TABLED)
    settled(page)
    assert page.evaluate("window.hacked") is None
