"""Ownership: the annuity's limits, terms as users write them, and what the shipped defaults come to."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertoken.catalog.machines import load_accelerator
from pertoken.catalog.power import load_draw
from pertoken.catalog.rates import parse_rate
from pertoken.catalog.site import load_ownership, load_site
from pertoken.errors import PertokenError
from pertoken.money.owned import TERMS, annuity, read_terms
from pertoken.scenario import price
from pertoken.sources import Sourced

HOUR = 3600.0
PUBLISHED = (
    1.69  # $/h, neocloud ownership of an H100: SemiAnalysis AI Cloud TCO model, as InferenceX states it, 2026-04-03
)


@given(st.floats(0.0, 1.0), st.floats(0.5, 50.0))
def test_payments_repay_the_capital_with_interest(discount: float, years: float) -> None:
    payment, left = annuity(discount, years), 1.0
    whole = int(years)
    for _ in range(whole):
        left = left * (1.0 + discount) - payment
    if years == whole:
        assert left == pytest.approx(0.0, abs=1e-6 * (1 + discount) ** whole)
    assert payment >= max(1.0 / years, discount) * (1 - 1e-9)


def test_limits_of_the_annuity() -> None:
    assert annuity(0.0, 4.0) == 0.25
    assert annuity(1e-12, 4.0) == pytest.approx(0.25)
    assert annuity(0.1, math.inf) == 0.1
    assert annuity(0.1, 1e6) == pytest.approx(0.1)
    assert annuity(0.0, math.inf) == 0.0
    assert annuity(0.1, 4.0) == pytest.approx(0.1 / (1 - 1.1**-4))


def test_an_owned_h100_is_within_15_per_cent_of_a_published_figure() -> None:
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", rate="own")
    assert cost.rate
    assert cost.rate.usd_per_second * HOUR == pytest.approx(PUBLISHED, rel=0.15)
    electricity = cost.rate.usd_per_joule * cost.rate.watts / cost.rate.usd_per_second
    assert 0.05 <= electricity <= 0.10
    assert cost.bill.residual == pytest.approx(0.0, abs=1e-9 * cost.bill.usd)


@pytest.mark.parametrize("name", ["a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm", "gb200", "rtx-4090"])
def test_defaults_are_sourced_and_overridable(name: str) -> None:
    found, title = load_ownership(name, {})
    for term in TERMS:
        number = getattr(found, term)
        assert isinstance(number, Sourced)
        assert number.source.title
        assert number.source.title.startswith("assumed") or (
            number.source.url.startswith("https://") and number.source.read
        )
    assert title.startswith(("an eighth", "a 72nd", "one"))
    cheaper, _ = load_ownership(name, {"capex": 10.0})
    assert cheaper.capex.value == 10.0
    assert cheaper.capex.source.title == "given by the user"


@pytest.mark.parametrize(
    ("term", "low", "high"),
    [("capex", 1e4, 2e4), ("discount", 0.0, 0.1), ("colo", 0.0, 100.0), ("power", 0.0, 0.3), ("operations", 0.0, 0.05),
     ("kw", 0.5, 1.0)],
)  # fmt: skip
def test_more_of_a_term_costs_more_and_a_longer_life_less(term: str, low: float, high: float) -> None:
    base, _ = load_ownership("h100-sxm", {})

    def total(**changes: float) -> float:
        made = replace(base, **{k: replace(getattr(base, k), value=v) for k, v in changes.items()})
        return sum(made.parts(1000.0).values())

    assert total(**{term: low}) < total(**{term: high})
    assert total(life=4.0) > total(life=6.0) > total(life=math.inf)


def test_terms_as_users_write_them() -> None:
    assert read_terms("1600,life=4y,power=0.30") == {"capex": 1600.0, "life": 4.0, "power": 0.3}
    assert read_terms("discount=8%,life=inf") == {"discount": 0.08, "life": math.inf}
    rate = parse_rate("own:1600,life=4y,power=0.30,colo=0,discount=0,operations=0", load_accelerator("mi300x"), 0.0)
    assert rate.usd_per_second == pytest.approx(1600 / (4 * 365.25 * 86400))


@pytest.mark.parametrize(
    "text",
    ["own:", "own:x", "own:-5", "own:1600,life=0", "own:1600,life=nan", "own:1600,1700", "own:1600,life=4y,life=5y", "own:1e99",
     "own:1600,wheels=4", "own:1600,power=-1", "own:1600,life=-4y", "own:,", "own:1600,discount=200%", "own:\x00",
     "own:1600,life=4yy"],
)  # fmt: skip
def test_nonsense_gets_a_sentence(text: str) -> None:
    if text == "own:":
        assert parse_rate(text, load_accelerator("h100-sxm")).kind == "own"
        return
    with pytest.raises(PertokenError, match="--rate own"):
        parse_rate(text, load_accelerator("h100-sxm"))


def test_what_the_catalog_does_not_know_is_asked_for() -> None:
    with pytest.raises(PertokenError, match="no capex of an owned mi300x"):
        parse_rate("own", load_accelerator("mi300x"))
    with pytest.raises(PertokenError, match="give --watts"):
        parse_rate("own:1000", load_accelerator("tpu-v6e"))


def test_every_accelerator_has_a_draw_or_no_power_is_published() -> None:
    for name in ("h200-sxm", "b300-sxm", "mi300x", "rtx-4090", "l4", "a100-sxm-80gb"):
        accelerator = load_accelerator(name)
        found = load_draw(accelerator, "vllm")
        assert found and accelerator.board_power
        assert found.idle.value < found.active.value < found.cap.value == accelerator.board_power.value
        assert found.assumed, "nobody measured it"
    for name in ("h100-sxm", "b200-sxm"):
        found = load_draw(load_accelerator(name), "vllm")
        assert found and not found.assumed
    assert load_draw(load_accelerator("tpu-v6e"), "vllm") is None


def test_site_defaults_and_knobs() -> None:
    found, assumed = load_site("h100-sxm", {})
    assert (found.pue.value, found.host.value) == (1.4, 1.43)
    assert found.grid and found.grid.note.startswith("United States, ")
    assert any("PUE" in s for s in assumed)
    home, _ = load_site("rtx-4090", {"country": "germany", "pue": 1.2})
    assert home.pue.value == 1.2
    assert home.water is None, "the cited factor is of facilities in the United States"
    assert home.grid and home.grid.note.startswith("Germany")
    with_watts, _ = load_site("h100-sxm", {"watts": 1000.0})
    assert with_watts.host.value == 1.0, "watts include the host"
    for bad in ({"country": "Atlantis"}, {"embodied": "many"}, {"embodied": "-1"}, {"embodied": "nan"}):
        with pytest.raises(PertokenError, match=next(iter(bad))):
            load_site("h100-sxm", bad)
