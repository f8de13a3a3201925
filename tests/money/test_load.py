"""Utilisation as one number or a day of 24, and currencies that users bring."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.money.currency import parse_currency
from pertoken.money.load import parse_utilisation
from pertoken.scenario import price


@given(st.lists(st.floats(0.01, 1.0), min_size=24, max_size=24))
def test_a_day_counts_as_its_mean(hours: list[float]) -> None:
    found = parse_utilisation(",".join(map(repr, hours)))
    assert found.mean == pytest.approx(sum(hours) / 24)
    assert "24 hourly values" in found.sentence()


def test_one_number_is_itself() -> None:
    assert parse_utilisation("0.3").mean == 0.3
    assert parse_utilisation("0.3").sentence() == ""


def test_a_day_costs_as_its_mean_and_says_so() -> None:
    day = ",".join(["0.1"] * 12 + ["0.9"] * 12)
    spread, flat = (price("llama-3.1-8b", on="1xh100-sxm", concurrency=8, utilisation=u) for u in (day, 0.5))
    assert spread.bill.idle_usd == pytest.approx(flat.bill.idle_usd)
    assert any("24 hourly values from 0.1 to 0.9" in s for s in spread.assumed)


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "1.1", "-0.5", "nan", "inf", "0.5,0.5", ",".join(["0.5"] * 25), ",".join(["0"] * 24),
     ",".join(["0.5"] * 23 + ["2"]), "0.5;0.5", "9" * 400],
)  # fmt: skip
def test_nonsense_gets_a_sentence(text: str) -> None:
    with pytest.raises(PertokenError, match="--utilisation"):
        parse_utilisation(text)


def test_a_currency_is_shown_at_the_given_rate() -> None:
    found = parse_currency("eur=0.92")
    assert (found.code, found.per_usd) == ("EUR", 0.92)
    assert found.show(2.0) == "1.84 EUR"
    assert found.show(0.00123) == "0.00113 EUR"


@pytest.mark.parametrize(
    "text", ["EUR", "EUR=", "EUR=0", "EUR=-1", "EUR=nan", "EURO=1", "EUR=1e99", "=1", "EUR=1=2", "€=1"]
)
def test_a_currency_without_a_rate_is_refused(text: str) -> None:
    with pytest.raises(PertokenError, match="--currency"):
        parse_currency(text)
