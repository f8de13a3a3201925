"""What the answers say: every number is a figure, no sentence is empty, and claims turn with the figures."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import pertoken as pt
from pertoken.answers import batch, position, transfers, why
from pertoken.answers.ask import answer, read_questions
from pertoken.answers.base import Answer, Asked, Tiers, Words, factor, percent
from pertoken.answers.counts import LookingBack
from pertoken.answers.page import as_text, document, to_json
from pertoken.cli.answers import asked_of
from pertoken.errors import PertokenError
from pertoken.report.curve import Curve
from tests.answers.cases import CASES, answers, asked, cost, own_accelerator
from tests.cli.tool import refuse

WRONG = (
    "nan", "NaN", "None", "inf ", "  ", " .", " ,", "..", ",.", ": .", "{", "}", "()", "$-", "1 tokens", " 1 requests",
)  # fmt: skip
SCALES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "m": 1e-3, "u": 1e-6}


def stripped(found: Answer) -> str:
    """The text without names from elsewhere and without its figures."""
    text = found.text
    for quote in found.quotes:
        text = text.replace(quote, "")
    for shown in sorted({f.shown for f in found.figures.values()}, key=len, reverse=True):
        text = text.replace(shown, "")
    return text


def read(shown: str) -> tuple[float, float]:
    """A number as a text shows it, and half a unit of its last digit."""
    found = re.match(r"(-?)\$?([0-9][0-9,]*(?:\.([0-9]+))?)(%|(?: ([kMGTPmu])?(B|s|FLOP|W|J|million)\b.*)?)", shown)
    assert found, shown
    value, last = float(found[2].replace(",", "")), 10.0 ** -len(found[3] or "")
    scale = 0.01 if found[4] == "%" else SCALES.get(found[5] or "", 1.0)
    return (-value if found[1] else value) * scale, 0.5 * last * scale


@pytest.mark.parametrize("name", CASES)
def test_every_number_in_a_text_is_one_of_its_figures(name: str) -> None:
    for found in answers(name):
        left = stripped(found)
        assert not re.search(r"\d", left), (found.number, left)


@pytest.mark.parametrize("name", CASES)
def test_a_figure_is_shown_as_it_is(name: str) -> None:
    for found in answers(name):
        for key, figure in found.figures.items():
            value, half = read(figure.shown)
            assert value == pytest.approx(figure.value, rel=0, abs=half * 1.001), key


def test_a_number_that_is_no_figure_is_noticed() -> None:
    found = Answer(1, "Why?", "It costs $3 and 5.", Words(True), (), "", "")
    found.words.keep("three", 3.0, "$", "$3")
    assert re.search(r"\d", stripped(found)), "negative control"


@pytest.mark.parametrize("name", CASES)
def test_texts_read_well(name: str) -> None:
    for found in answers(name):
        text = found.text
        assert len(text) > 60 and text.endswith((".", ")")), text
        for wrong in WRONG:
            assert wrong not in re.sub(r"[0-9]1 ", "", text), (wrong, text)
        assert all(part and part == part.strip() for part in re.split(r"(?<=\.) ", text.replace("\n\n", " "))), text
        for clause in re.split(r"[.] ", text):
            assert clause[0].isupper() or clause[0].isdigit() or clause.startswith(("average", "-")), clause


@pytest.mark.parametrize("name", CASES)
def test_tables_are_whole(name: str) -> None:
    for found in answers(name):
        assert len({len(row) for row in found.table}) <= 1
        assert all("nan" not in cell and "inf" not in cell for row in found.table for cell in row)


@pytest.mark.parametrize("name", CASES)
def test_json_holds_what_the_text_says(name: str) -> None:
    found = json.loads(to_json(cost(name), answers(name)), parse_constant=refuse)
    assert [a["number"] for a in found["answers"]] == list(range(1, 10))
    for data, made in zip(found["answers"], answers(name), strict=True):
        assert data["text"] == made.text
        assert {k: f["value"] for k, f in data["figures"].items()} == {k: f.value for k, f in made.figures.items()}
        assert all(f["unit"] and f["shown"] for f in data["figures"].values())


def test_an_accelerator_of_ones_own_is_answered(tmp_path) -> None:
    mine = pt.price("qwen2.5-7b", on=f"1x{own_accelerator(tmp_path)}", concurrency=4)
    found = answer(asked_of(mine))
    assert "No rent is known" in found[5].text and "Its power is not known" in found[6].text
    assert document(mine, found)["usd_missing"]
    assert all(not re.search(r"\d", stripped(a)) for a in found)


def test_the_sentence_about_the_ratio_turns_with_it() -> None:
    said = {ratio: why.compared(Words(True), ratio) for ratio in (0.5, 1.01, 4.0)}
    assert "input token that is dearer, 2.0 times" in said[0.5]
    assert "about the same" in said[1.01]
    assert "4.0 times as much as an input" in said[4.0]


def test_where_input_is_dearer_the_answer_says_so() -> None:
    found = answers("input dearer")[0]
    assert cost("input dearer").ratio < 0.95
    assert "input token that is dearer" in found.text and "What makes input dearer" in found.text


def test_the_verdict_on_memory_follows_the_shares() -> None:
    def said(**shares: float) -> str:
        return why._verdict(Words(True), {"memory": 0.0, "compute": 0.0, "links": 0.0, "overhead": 0.0} | shares)

    assert said(memory=0.8, compute=0.2).startswith("Yes")
    assert said(memory=0.4, compute=0.3, links=0.3).startswith("About bandwidth more")
    assert said(memory=0.3, compute=0.2, overhead=0.5).startswith("More about bandwidth than about FLOPs")
    assert said(memory=0.2, compute=0.8).startswith("Not here")


def test_a_model_without_a_quadratic_part_is_called_so() -> None:
    c = cost("70b")
    of_input = why.counts(c)["input"]
    flat = why._quadratic(Words(True), LookingBack(0.0, None, False), of_input, c)
    assert "not quadratic" in flat and "position" not in flat
    assert "rules" in why._quadratic(Words(True), LookingBack(0.7, 5000, True), of_input, c)
    assert "all but linear" in why._quadratic(Words(True), LookingBack(0.02, None, True), of_input, c)


def test_who_subsidises_whom_follows_the_signs() -> None:
    said = transfers._verdict
    assert said([0.2, -0.2]).startswith("Light users subsidise")
    assert said([-0.2, 0.2]).startswith("Heavy users subsidise light")
    assert said([0.001, -0.001]).startswith("Hardly")
    assert said([0.0, -0.2]).startswith("Heavy users are")
    assert said([0.0, 0.2]).startswith("Heavy users subsidise others")
    assert "pay about what they cost; the shortest pay more" in said([0.2, 0.0])


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (1_000, 2_000, "only after all of those"),
        (10_000, 40_000, "where those begin"),
        (100_000, 500_000, "before the first"),
    ],
)
def test_tiers_are_placed_against_this_cost(low: int, high: int, wanted: str) -> None:
    curve = Curve(cost("70b"))
    assert 10_000 < curve.off("input")["above_from"] < 40_000, "else the cases above need other bounds"
    said = position._tiers(Words(True), curve, Tiers({low: 2, high: 3}, 50, 4, "somewhere"))
    assert wanted in said and "5 raise" in said and "(somewhere)" in said


def test_what_the_batch_shares_is_told_from_what_it_does_not() -> None:
    one, many = np.array([1.0, 100.0]), np.array([100.0, 1.0])
    said = batch._shared(Words(True), batch.ByBatch(one, one, one, many, np.array([5.0, 5.0])))
    assert "of weights: the batch shares it;" in said and said.endswith("of cache: nobody shares it.")
    said = batch._shared(Words(True), batch.ByBatch(one, one, one, np.array([100.0, 20.0]), many))
    assert "of weights: the batch shares it in part;" in said and said.endswith("of cache: the batch shares it.")
    assert "hardly a batch" in batch._shared(Words(True), batch.ByBatch(one / one, one, one, one, one))


def test_equal_cost_is_found_or_denied() -> None:
    sizes, flat = np.geomspace(1.0, 64.0, 7), np.ones(7)
    words = Words(True)
    said = batch._equal(words, batch.ByBatch(sizes, flat, 8.0 / sizes, flat, flat))
    assert words.figures["equal_at"].value == pytest.approx(8.0) and "cost the same at a batch of 8" in said
    assert batch._equal(Words(True), batch.ByBatch(sizes, flat, 2 * flat, flat, flat)).startswith("No batch that fits")
    assert batch._equal(Words(True), batch.ByBatch(sizes, flat, flat / 2, flat, flat)).startswith(
        "Output is the cheaper"
    )


def test_a_figure_that_is_no_number_is_refused() -> None:
    with pytest.raises(PertokenError, match="not a finite number"):
        Words(True).money("x", float("nan"))


@pytest.mark.parametrize("text", ["0", "10", "x", "", "1.5", "4,", "-1", "\u0661"])
def test_questions_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(PertokenError, match="--question"):
        read_questions([text])


def test_questions_are_read_in_order() -> None:
    assert read_questions([]) == list(range(1, 10))
    assert read_questions(["4,2", "2"]) == [2, 4]


def test_numbers_are_written_with_the_digits_that_count() -> None:
    assert [percent(x) for x in (0.5, 0.0123, 0.00012, 0.0)] == ["50%", "1.2%", "0.01%", "0%"]
    assert [factor(x) for x in (289.4, 1.76, 0.377)] == ["289", "1.8", "0.38"]


def test_commands_ask_the_same_case() -> None:
    a: Asked = asked("home")
    assert a.command("answers", "--question", "1") == (
        "pertoken answers llama-3.1-8b --dtype q4_k_m --on 1xrtx-4090 --engine llamacpp --concurrency 1"
        " --rate own:1600,life=4y,power=0.30 --utilisation 0.3 --question 1"
    )


@pytest.mark.parametrize("name", CASES)
def test_pages_fit_a_terminal(name: str) -> None:
    lines = [line for line in as_text(cost(name), answers(name)).splitlines() if not line.startswith("  $ ")]
    assert max(map(len, lines)) <= 110, max(lines, key=len)
