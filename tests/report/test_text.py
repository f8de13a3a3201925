"""The screen of text: figures are those of the answer, columns line up, nothing steers the terminal."""

from __future__ import annotations

import re

import pytest

import pertoken
from pertoken.report import text
from pertoken.units import format_money


@pytest.fixture(scope="module")
def cost() -> pertoken.Cost:
    return pertoken.price(
        "llama-3.1-70b", on="8xh100-sxm", dtype="fp8", input=2000, output=200, utilisation=0.5, cached=0.2
    )


def test_prices_are_those_of_the_answer(cost: pertoken.Cost) -> None:
    shown = text.answer(cost)
    for kind in ("input", "output", "cached"):
        line = re.search(rf"^  {kind} +(\$\S+)", shown, re.MULTILINE)
        assert line and line[1] == format_money(getattr(cost.per_million, kind).value)


def test_the_printed_receipt_adds_up(cost: pertoken.Cost) -> None:
    rows = [re.split(r"  +", line.strip()) for line in text.receipt(cost)][1:]
    figures = {row[0]: [float(cell.strip("$%").replace(",", "")) for cell in row[1:]] for row in rows}
    paid, idle = figures.pop("paid"), figures.pop("idle")
    assert paid == [pytest.approx(cost.bill.usd, abs=0.005), 100.0]
    assert idle[0] == pytest.approx(cost.bill.idle_usd, abs=0.005)
    assert idle[0] == pytest.approx(paid[0] / 2, abs=0.01)
    assert sum(row[2] for row in figures.values()) + idle[0] == pytest.approx(paid[0], abs=0.06)
    assert sum(row[3] for row in figures.values()) + idle[1] == pytest.approx(100.0, abs=0.5)
    for first, second, both, _ in figures.values():
        assert first + second == pytest.approx(both, abs=0.011)


def test_where_no_request_has_a_second_output_token_there_is_no_tpot() -> None:
    lone = pertoken.price("llama-3.1-8b", on="1xh100-sxm", engine="sglang", input=1000, output=1)
    shown = " ".join(text.answer(lone).split())
    assert "no output token after the first; " in shown
    assert "nan" not in shown
    assert any(" -  " in line for line in text.comparison([lone, lone]).splitlines())


def test_all_that_was_assumed_is_said(cost: pertoken.Cost) -> None:
    shown = " ".join(text.answer(cost).split())
    assert all(" ".join(sentence.split()) in shown for sentence in cost.assumed)


def test_a_comparison_says_what_differs() -> None:
    costs = [pertoken.price("llama-3.1-70b", on=on) for on in ("8xh100-sxm", "8xmi300x")]
    shown = " ".join(text.comparison(costs).split())
    for cost in costs:
        assert cost.rate is not None and cost.rate.origin in shown
        assert all(sentence in shown for sentence in cost.assumed)
    times = costs[1].per_million.input.value / costs[0].per_million.input.value
    assert f"an input token costs {times:.2f} times" in shown


def test_tables_line_up() -> None:
    lines = text.table([["a", "b", "c"], ["long", "1", "x"], ["", "12345", "yy"]], left=(0, 2))
    assert lines == ["a         b  c", "long      1  x", "      12345  yy"]


def test_listings_put_figures_right_and_words_left() -> None:
    shown = text.listing([["name", "size", "note"], ["a", "80.0 GB", "x"], ["bcd", "1,005 GB", ""]])
    assert shown == "name      size  note\na      80.0 GB  x\nbcd   1,005 GB\n"


def test_controls_are_shown_as_escapes() -> None:
    assert text.plain("a\x1b[31m\tb\u202e\udcff\n") == "a\\x1b[31m\\tb\\u202e\\udcff\n"


def test_where_no_rate_meets_the_goals_there_is_no_load() -> None:
    slow = pertoken.price("llama-3.1-8b", on="1xxeon-8480", concurrency=1)
    shown = text.answer(slow)
    assert "no rate meets the goals (load)" in " ".join(shown.split())
    assert "nan" not in shown and "e+0" not in shown


def test_a_row_that_nothing_was_spent_on_is_left_out() -> None:
    alone = "\n".join(text.receipt(pertoken.price("llama-3.1-8b", on="1xh100-sxm")))
    assert "links between" not in alone and "reading weights" in alone
