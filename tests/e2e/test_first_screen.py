"""The first screen: figures, where they come from, knobs, refusals, hostile names."""

from __future__ import annotations

import json
import re

import pytest

from pertoken.scenario import price
from tests.e2e.conftest import settled, shown, until

SLIDER = '[data-knob="input"] input[type=range]'
BOX = "#knob-input"


def test_first_figures_are_the_library_s(opened):
    page = opened()
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8")
    assert shown(page) == f"${cost.per_million.input.value:.3f}"
    assert shown(page, "output") == f"${cost.per_million.output.value:.3f}"
    low, high = cost.per_million.output.low, cost.per_million.output.high
    assert page.locator(".big .output .range").inner_text() == f"${low:.3f} to ${high:.2f}"
    assert f"{cost.ratio:.1f}" in page.locator(".big .ratio .number").inner_text()
    why = page.locator("#why").inner_text()
    assert re.fullmatch(
        r"An output token is mostly .+ [0-9]+%, .+ [0-9]+%; an input token mostly .+ [0-9]+%, .+ [0-9]+%\.", why
    )
    shares = [float(t.rstrip("%")) for t in page.locator(".receipt .percent").all_inner_texts()]
    assert sum(shares) == pytest.approx(100.0, abs=0.4)


def test_at_most_eight_main_knobs_in_four_groups(opened):
    page = opened()
    main = page.locator("#knobs > .group .knob")
    assert 1 <= main.count() <= 8
    assert page.locator("#knobs > .group").count() == 4
    assert page.locator("#more .more .knob").first.is_hidden()


def test_every_number_says_where_it_comes_from(opened):
    page = opened("?utilisation=0.5")
    page.locator("#running summary").click()
    numbers = page.locator(".first .number")
    count = numbers.count()
    assert count > 40
    found = page.evaluate(
        """() => [...document.querySelectorAll('.first .number')].map((b) => {
          const nodes = b.made(); const box = document.createElement('div'); box.append(...nodes);
          return [b.getAttribute('aria-label'), b.figure.formula, b.figure.inputs.length, box.textContent];
        })"""
    )
    for label, formula, inputs, text in found:
        assert formula and inputs, label
        assert formula in text and "This number is derived" in text, label
    assert len({label for label, *_ in found}) > 30


def test_hover_focus_and_tap_show_the_basis(opened):
    page = opened()
    number = page.locator(".big .input .number")
    number.hover()
    until(page, "document.querySelector('.basis') !== null")
    box = page.locator(".basis")
    assert "price of an accelerator-hour" in box.inner_text()
    links = box.locator("a")
    assert links.count() >= 3
    for link in links.all():
        assert link.get_attribute("rel") == "noopener noreferrer"
        assert re.match(r"https?://", link.get_attribute("href"))
    page.mouse.move(5, 5)
    until(page, "document.querySelector('.basis') === null")
    page.locator(".menu > button").last.focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.locator(".big .input .number").evaluate("(b) => b === document.activeElement"):
            break
    assert page.locator(".basis").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".basis").count() == 0
    number.click()
    assert number.get_attribute("aria-expanded") == "true"


def test_a_slider_moves_price_address_and_other_figures(opened):
    page = opened()
    before, month = shown(page), page.locator("#beside dd").last.inner_text()
    page.locator(SLIDER).focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    until(page, f"document.querySelector('.big .input .number span').textContent !== '{before}'")
    settled(page)
    given = page.input_value(BOX).replace(",", "")
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", input=given)
    assert shown(page) == f"${cost.per_million.input.value:.3f}"
    until(page, f"new URLSearchParams(location.search).get('input') === '{given}'")
    assert page.locator("#beside dd").last.inner_text() == month  # the machine costs what it costs
    assert page.locator('[data-knob="input"] .auto').get_attribute("aria-pressed") == "false"
    page.locator('[data-knob="input"] .auto').click()
    settled(page)
    assert shown(page) == before
    assert "input" not in page.url


def test_an_answer_does_not_overwrite_what_is_being_typed(opened):
    page = opened()
    before = shown(page)
    page.locator("#knob-output").focus()
    page.evaluate("document.querySelector('#knob-output').value = ''")
    page.keyboard.type("7")
    page.evaluate(
        "for (const [k, v] of [['input', '4096']]) { const box = document.querySelector(`#knob-${k}`);"
        " box.value = v; box.dispatchEvent(new Event('change')); }"
    )
    settled(page)
    assert shown(page) != before, "an answer has come"
    page.keyboard.type("77")
    assert page.input_value("#knob-output") == "777"
    page.keyboard.press("Enter")
    settled(page)
    assert page.evaluate("new URLSearchParams(location.search).get('output')") == "777"


def test_typing_rent_and_a_distribution(opened):
    page = opened()
    day = ",".join(["0.2"] * 8 + ["1"] * 16)
    for knob, typed, taken in (("output", "1,200", "1200"), ("utilisation", day, day), ("ttft", "3s", "3s")):
        page.evaluate("document.querySelector('#more details').open = true")
        page.fill(f"#knob-{knob}", typed)
        page.keyboard.press("Enter")
        settled(page)
        assert page.evaluate(f"new URLSearchParams(location.search).get('{knob}')") == taken
        assert page.input_value(f"#knob-{knob}") == typed
        assert page.locator("#problem").is_hidden()
        page.locator(f'[data-knob="{knob}"] .auto').click()
    page.fill("#knob-rate", "2.5")
    page.keyboard.press("Enter")
    settled(page)
    assert "rate=rent%3A2.5" in page.url
    page.fill(BOX, "uniform:800-1024")
    page.keyboard.press("Enter")
    settled(page)
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", rate="rent:2.5", input="uniform:800-1024")
    assert shown(page) == f"${cost.per_million.input.value:.3f}"


REFUSED = {
    "memory": ("?on=1xrtx-4090", "does not fit", "on=4xrtx-4090"),
    "goals": ("?tpot=1ms", "no load meets the goals", "tpot=9"),
    "rate": ("?rps=1000", "can serve", "rps=18"),
    "rivals": ("?utilisation=0.5&rps=1", "cannot both be given", "rps=1"),
    "length": ("?input=200000&output=100&ttft=60s&tpot=1s", "takes at most 131,072", "input=130972"),
    "format": ("?model=llama-3.1-8b&on=1xt4", "no fp8 arithmetic", "dtype=int4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_says_why_and_its_button_mends_it(opened, case):
    search, said, mended = REFUSED[case]
    page = opened(search, allowed=("status of 4",))
    assert said in page.locator("#problem").inner_text()
    page.locator("#problem button").click()
    until(page, "document.querySelector('#problem').hidden")
    assert re.fullmatch(r"\$?[0-9.,]+", shown(page))
    until(page, f"location.search.includes('{mended}')")


def test_a_bad_value_is_refused_where_the_numbers_are_and_can_be_mended(opened):
    page = opened(allowed=("status of 400",))
    page.fill("#knob-cached", "7")
    page.keyboard.press("Enter")
    until(page, "!document.querySelector('#problem').hidden")
    assert "--cached is 7" in page.locator("#problem").inner_text()
    page.locator('[data-knob="cached"] .auto').click()
    until(page, "document.querySelector('#problem').hidden")


def test_the_machine_is_an_accelerator_and_a_count(opened):
    page = opened("?on=&dtype=")
    settled(page)
    chosen = price("llama-3.1-70b").deployment
    assert page.input_value('[data-knob="on"] .box:not(.wide)') == str(chosen.accelerators)
    assert chosen.accelerator.name in page.locator("#knob-on option:checked").inner_text()
    page.locator('[data-knob="on"] input[type=range]').focus()
    page.keyboard.press("End")
    until(page, f"location.search.includes('on=64x{chosen.accelerator.name}')")
    page.select_option("#knob-on", "mi300x")
    until(page, "location.search.includes('on=64xmi300x')")
    assert "64 x mi300x" in page.locator("#headline").inner_text()


def test_rivals_give_way(opened):
    page = opened("?concurrency=64")
    page.locator("#more .more summary").click()
    page.fill("#knob-rps", "3")
    page.keyboard.press("Enter")
    settled(page)
    assert "rps=3" in page.url and "concurrency" not in page.url
    assert page.locator("#problem").is_hidden()


HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 8192,
    "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 16, "vocab_size": 128256,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "tie_word_embeddings": True,
}  # fmt: skip


def test_hostile_names_show_as_text(opened):
    page = opened(allowed=("status of 400",))
    config = {**CONFIG, "_name_or_path": HOSTILE + "\u0007\u202e", "name": HOSTILE}
    page.set_input_files(
        "#file-model",
        {
            "name": f"{HOSTILE}.json".replace("/", "_"),
            "mimeType": "application/json",
            "buffer": json.dumps(config).encode(),
        },
    )
    settled(page)
    until(page, "location.search.includes('upload') || document.querySelector('.toast') !== null")
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script, .toast img").count() == 0
    page = opened(f"?model={HOSTILE}&view={HOSTILE}&zzz={HOSTILE}", allowed=("status of 400",))
    until(page, "!document.querySelector('#problem').hidden")
    assert "<img" in page.locator("#problem").inner_text()
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script").count() == 0


def test_what_these_tests_look_for_is_seen(opened):
    """A request off the machine, an error on the console and a thrown one fail a test."""
    page = opened()
    page.evaluate("fetch('https://example.com/').catch(() => 0)")  # refused by the page's own policy
    page.evaluate("console.error('a word')")
    page.evaluate("setTimeout(() => { throw new Error('a fault'); })")
    until(page, "true")
    page.wait_for_timeout(200)
    seen = " ".join(page.watch.wrong)
    assert "example.com" in seen and "a word" in seen and "a fault" in seen
    page.watch.wrong.clear()
