"""What a price implies: put back into the cost, it is the price."""

from __future__ import annotations

import numpy as np
import pytest

import pertoken as pt
from pertoken.errors import PertokenError
from pertoken.market.compare import compared, cost_per_request, distinct, mix_of, sorted_by_price, spread
from pertoken.market.implied import Region, tiers
from pertoken.market.offers import Offer
from pertoken.market.tariff import Prices, Tariff, Tier
from pertoken.units import HOUR

JOB = {"on": "1xh100-sxm", "input": 1000, "output": 200, "rate": "rent:2.50"}


def offer(provider: str = "v", input: float = 1e-6, output: float = 4e-6, tiers: tuple[Tier, ...] = ()) -> Offer:
    """An offer of two prices."""
    return Offer(provider, "m", Tariff(Prices(input, output), tiers))


@pytest.mark.parametrize("concurrency", [1, 8, 100])
def test_the_region_holds_every_operating_point(concurrency: int) -> None:
    cost = pt.price("llama-3.1-8b", **JOB, concurrency=concurrency)
    usd = cost_per_request(cost).value
    region = Region(cost, usd)
    at = np.interp(np.log(float(cost.operating.state.batch)), np.log(region.batch), region.utilisation())
    assert at == pytest.approx(cost.utilisation, rel=2e-3)
    assert region.concurrency(float(cost.operating.state.batch)) == pytest.approx(concurrency, rel=0.02)


def test_implied_rent_and_utilisation_give_the_price_again() -> None:
    cost = pt.price("llama-3.1-8b", **JOB, concurrency=16)
    price = 2.0 * cost_per_request(cost).value
    region, batch = Region(cost, price), float(cost.operating.state.batch)
    (row,) = region.at([batch])
    dearer = pt.price("llama-3.1-8b", **{**JOB, "rate": f"rent:{row['usd_per_hour']}"}, concurrency=16)
    assert cost_per_request(dearer).value == pytest.approx(price, rel=5e-3)
    idle = pt.price("llama-3.1-8b", **JOB, concurrency=16, utilisation=repr(row["utilisation"]))
    assert cost_per_request(idle).value == pytest.approx(price, rel=5e-3)
    assert region.rent(0.5) == pytest.approx(region.rent() / 2)
    assert region.usd(2.5 / HOUR) == pytest.approx(region.usd())


def test_the_least_batch_is_where_cost_is_the_price() -> None:
    cost = pt.price("llama-3.1-8b", **JOB, concurrency=16)
    region = Region(cost, cost_per_request(cost).value)
    assert region.least_batch() == pytest.approx(float(cost.operating.state.batch), rel=0.02)
    assert region.least_batch(0.5) > region.least_batch()  # type: ignore[operator]
    assert Region(cost, 1e-9).least_batch() is None
    assert Region(cost, 10.0).least_batch() == pytest.approx(region.batch[0])


def test_the_ratio_of_an_offer_is_found_by_batch() -> None:
    cost = pt.price("llama-3.1-8b", **JOB)
    region = Region(cost, 1.0)
    low, high = region.ratios
    for ratio in (low * 1.05, (low * high) ** 0.5):
        for batch in region.ratio_at(ratio):
            there = pt.price("llama-3.1-8b", **JOB, concurrency=region.concurrency(batch))
            assert there.ratio == pytest.approx(ratio, rel=0.05)
    assert region.ratio_at((low * high) ** 0.5)
    assert region.ratio_at(high * 1.1) == region.ratio_at(low / 1.1) == []


def test_tiers_are_held_against_the_cost_of_context() -> None:
    cost = pt.price("llama-3.1-8b", **JOB)
    made = offer(tiers=(Tier(32_000.0, Prices(2e-6, 8e-6)), Tier(500_000.0, Prices(4e-6, 8e-6))))
    first, second = tiers(cost, made)
    assert (first.price_step, second.price_step) == (2.0, 2.0)
    assert second.cost_step is None and first.cost_step and first.cost_step > 1.1
    mean = (
        np.asarray(cost.at(input=np.arange(1, 32_001)).value).mean()
        / np.asarray(cost.at(input=np.arange(1, 1001)).value).mean()
    )
    assert first.cost_step == pytest.approx(mean, rel=1e-3)
    assert first.doubles_at and first.position_doubles_at and first.doubles_at > first.position_doubles_at
    assert tiers(cost, offer()) == []


def test_offers_are_sorted_at_the_users_mix() -> None:
    chat, code = (pt.price("llama-3.1-8b", **{**JOB, "input": i, "output": o}) for i, o in ((1000, 1000), (10_000, 10)))
    dear_input, dear_output = offer("a", 3e-6, 3e-6), offer("b", 1e-6, 9e-6)
    for cost, first in ((chat, "a"), (code, "b")):
        rows = sorted_by_price([dear_input, dear_output], mix_of(cost), cost_per_request(cost))
        assert rows[0].offer.provider == first
        assert spread(rows) == pytest.approx(rows[1].usd_per_request / rows[0].usd_per_request)
        margin = rows[0].margin
        assert margin and margin.low < margin.value < margin.high < 1
        assert rows[0].usd_per_request * (1 - margin.value) == pytest.approx(cost_per_request(cost).value)


def test_writes_to_a_cache_are_counted_where_some_input_is_cached() -> None:
    cached, none = (pt.price("llama-3.1-8b", **JOB, cached=share) for share in (0.75, 0.0))
    assert float(np.mean(mix_of(cached).written)) == 250.0 and float(np.mean(mix_of(none).written)) == 0.0
    assert float(np.mean(mix_of(cached, 0.0).written)) == 0.0
    vendor = Offer("v", "m", Tariff(Prices(1e-6, 0.0, cached=1e-7, written=1.25e-6)))
    assert compared(vendor, mix_of(cached)).usd_per_request == pytest.approx(750e-7 + 250 * 1.25e-6)


@pytest.mark.parametrize("traffic", [{}, {"concurrency": 8}, {"rps": 3.0}, {"load": 0.3}, {"utilisation": "0.4"}])
def test_a_request_costs_what_the_allocation_basis_says(traffic: dict[str, object]) -> None:
    usage, spread_out = (pt.price("llama-3.1-8b", **JOB, **traffic, basis=basis) for basis in ("usage", "allocation"))
    found, wanted = cost_per_request(usage), spread_out.per_request
    assert found.value == pytest.approx(wanted.value, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-6)
    assert cost_per_request(spread_out).value == pytest.approx(found.value, rel=1e-9)


def test_what_a_router_passes_on_is_not_a_second_host() -> None:
    found = distinct(
        [
            offer("groq"),
            offer("huggingface_groq"),
            offer("huggingface_nebius"),
            offer("huggingface_fireworks-ai"),
            offer("fireworks"),
        ]
    )
    assert [o.provider for o in found] == ["groq", "huggingface_nebius", "fireworks"]


def test_a_free_offer_implies_nothing() -> None:
    cost = pt.price("llama-3.1-8b", **JOB)
    with pytest.raises(PertokenError, match="charges nothing"):
        Region(cost, 0.0)
    assert compared(offer(input=0.0, output=0.0), mix_of(cost), cost_per_request(cost)).margin is None
