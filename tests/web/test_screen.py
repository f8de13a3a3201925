"""What the first screen is told beyond figures: where sliders stand, rows of charts, where a rent was read."""

from __future__ import annotations

import pytest

from pertoken.knobs import KNOBS
from pertoken.scenario import price
from pertoken.web.screen import effective, listed, rows_of, screen

GIVEN = {"model": "llama-3.1-8b", "on": "h100-sxm", "input": 1000, "output": 100}


@pytest.fixture(scope="module")
def cost():
    return price(**GIVEN)


def test_sliders_stand_at_values_that_their_knobs_take_and_give_the_same_answer(cost):
    found = {name: value for name, value in effective(cost).items() if value is not None}
    for name, value in found.items():
        assert KNOBS[name].read(value) is not None
    again = {
        "load",
        "cached",
        "input",
        "output",
        "dtype",
        "engine",
        "ttft",
        "tpot",
        "tp",
        "host",
        "pue",
        "network",
        "token_budget",
    }
    same = price("llama-3.1-8b", on=found["on"], **{name: found[name] for name in again})
    assert same.per_million.output.value == pytest.approx(cost.per_million.output.value, rel=1e-6)


def test_rows_follow_options_and_what_cannot_follow_is_left_out(cost):
    charts = ["roofline", "position-input"]
    found = rows_of(cost, charts, {"position-input": {"n": [11, 101]}})
    assert set(found) == set(charts)
    assert "position-input" not in rows_of(cost, charts, {"position-input": {"n": "many"}})
    with pytest.raises(ValueError, match="is no chart"):
        rows_of(cost, ["nothing"], {})


def test_a_listed_rent_has_its_table_and_a_given_one_none(cost):
    assert listed(cost).startswith("https://github.com/")
    assert listed(price(**GIVEN, rate="rent:2.5")) == ""
    links = [entry["url"] for entry in screen(cost, [], {})["figures"]["input"]["inputs"] if entry["basis"] == "listed"]
    assert links == [listed(cost)]


def test_another_currency_is_said_when_asked_for(cost):
    assert screen(cost, [], {})["currency"] == ""
    said = screen(price(**GIVEN, currency="EUR=0.5"), [], {})["currency"]
    assert "0.5 EUR a dollar" in said
    assert f"{cost.per_million.output.value / 2:.3g}"[:4] in said
