"""Break-even of serving oneself: what the closed form says is what trying all volumes finds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pertoken as pt
from pertoken.errors import PertokenError
from pertoken.market.breakeven import SelfHosting, self_hosting
from pertoken.market.compare import cost_per_request

JOB = {"on": "1xh100-sxm", "input": 1000, "output": 200}


@given(
    st.floats(50, 2000), st.floats(0, 1e-4), st.floats(1e4, 1e6), st.floats(0.1, 1), st.integers(0, 3), st.floats(1e-4, 1e-2)
)  # fmt: skip
def test_below_the_break_even_the_offer_wins_and_there_it_does_not(
    day: float, more: float, most: float, used: float, spare: int, price: float
) -> None:
    hosting = SelfHosting(day, more, most, used, spare)
    even = hosting.break_even(price)
    if even is None:  # the offer wins at every volume: not even full machines by the hundred are cheaper
        for machines in (1, 2, 10, 300):
            requests = machines * hosting.per_machine
            assert hosting.usd(requests) >= requests * price * (1 - 1e-9)
        return
    at = even.requests_per_day
    assert hosting.usd(at) == pytest.approx(at * price, rel=1e-6)
    assert hosting.machines(at) == even.machines
    assert even.utilisation == pytest.approx(at / (even.machines * most), rel=1e-12)
    for share in (0.1, 0.5, 0.9, 0.999):
        assert hosting.usd(at * share) > at * share * price


def test_what_makes_serving_dearer_moves_the_break_even_up() -> None:
    base = SelfHosting(100.0, 0.0, 1e6, 0.5, 0)
    price = 3e-4
    start = base.break_even(price)
    assert start and start.requests_per_day == pytest.approx(100.0 / price) and start.machines == 1
    for dearer in (
        SelfHosting(110.0, 0.0, 1e6, 0.5, 0),
        SelfHosting(100.0, 5e-5, 1e6, 0.5, 0),
        SelfHosting(100.0, 0.0, 1e6, 0.5, 1),
    ):
        found = dearer.break_even(price)
        assert found and found.requests_per_day > start.requests_per_day
    idle = SelfHosting(100.0, 0.0, 1e6, 0.2, 1).break_even(
        price
    )  # nights idle: the spare machine takes more to pay for
    busy = SelfHosting(100.0, 0.0, 1e6, 1.0, 1).break_even(price)
    assert idle is None or (busy and idle.requests_per_day >= busy.requests_per_day)
    assert SelfHosting(100.0, 0.0, 1e6, 0.3, 0).break_even(price) is None
    assert base.break_even(price / 2) is None and base.break_even(1e-12) is None


@pytest.mark.parametrize("rate", ["rent:2.50", "own", "power:0.2"])
@pytest.mark.parametrize("used", [1.0, 0.4])
def test_a_machine_that_is_used_as_told_costs_the_bill(rate: str, used: float) -> None:
    cost = pt.price("llama-3.1-8b", **JOB, concurrency=32, rate=rate, utilisation=str(used))
    hosting = self_hosting(cost)
    requests = hosting.per_machine
    assert requests == pytest.approx(cost.requests_per_s * 86_400, rel=1e-9)
    assert hosting.usd(requests) == pytest.approx(cost.bill.usd * 24, rel=1e-9)
    assert hosting.usd(requests) / requests == pytest.approx(cost_per_request(cost).value, rel=1e-9)


@pytest.mark.parametrize("mode", [{"rps": 2.0}, {"load": 0.2}, {}])
def test_a_machine_serves_what_its_goals_allow_whatever_the_traffic(mode: dict[str, float]) -> None:
    full = self_hosting(pt.price("llama-3.1-8b", **JOB, rate="rent:2.50"))
    assert self_hosting(pt.price("llama-3.1-8b", **JOB, rate="rent:2.50", **mode)).most_per_day == pytest.approx(
        full.most_per_day, rel=1e-6
    )


def test_idle_nights_are_paid_for() -> None:
    nights = ",".join(["0.8"] * 16 + ["0"] * 8)
    day = self_hosting(pt.price("llama-3.1-8b", **JOB, rate="rent:2.50", utilisation=nights))
    assert day.used == pytest.approx(0.8 * 16 / 24)
    assert day.usd_per_day == pytest.approx(60.0)


def test_the_least_utilisation_is_where_cost_is_the_price() -> None:
    cost = pt.price("llama-3.1-8b", **JOB, rate="own")
    price = 1.7 * cost_per_request(cost).value
    need = self_hosting(cost).least_utilisation(price)
    at = pt.price("llama-3.1-8b", **JOB, rate="own", utilisation=repr(need))
    assert cost_per_request(at).value == pytest.approx(price, rel=1e-6)
    assert self_hosting(cost).least_utilisation(1e-15) == math.inf


def test_without_dollars_there_is_no_break_even() -> None:
    with pytest.raises(PertokenError, match="no rent of"):
        self_hosting(pt.price("llama-3.1-8b", on="1xgh200-96gb"))
    with pytest.raises(PertokenError, match="--redundancy is -1"):
        SelfHosting(1.0, 0.0, 1.0, 1.0, -1)
