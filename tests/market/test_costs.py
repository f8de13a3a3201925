"""Costs of requests by their own lengths: sums over positions, and together the bill."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pertoken as pt
from pertoken.errors import PertokenError
from pertoken.market.costs import RequestCosts
from pertoken.market.tariff import Requests, from_lengths

JOB = {"on": "1xh100-sxm", "rate": "rent:2.50"}
MODELS = ("llama-3.1-8b", "gpt-oss-20b", "gemma-3-4b", "deepseek-v2-lite")


def bill_of(cost: pt.Cost) -> float:
    """Dollars of a mean request, idle time included."""
    return cost.bill.usd / (cost.requests_per_s * cost.bill.period_s)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 6000), st.floats(0, 1), st.integers(1, 900)), min_size=1, max_size=25),
    st.sampled_from(MODELS), st.sampled_from((1.0, 0.3)), st.sampled_from(("usage", "allocation")), st.booleans(),
    st.sampled_from(("rent:2.50", "own", "power:0.2")),
)  # fmt: skip
def test_requests_cost_the_bill(
    rows: list[tuple[int, float, int]], model: str, used: float, basis: str, cached: bool, rate: str
) -> None:
    inputs, outputs = (np.array([row[i] for row in rows], dtype=float) for i in (0, 2))
    found = np.floor([row[0] * row[1] for row in rows]) if cached else None
    lengths = pt.Lengths(inputs, outputs, "drawn", found)
    workload = pt.Workload(lengths=lengths, concurrency=16)
    cost = pt.price(model, workload=workload, on="1xh100-sxm", rate=rate, utilisation=str(used), basis=basis)
    costs = RequestCosts(cost)
    each = costs.of(costs.own)
    assert each.sum() == pytest.approx(bill_of(cost) * each.size, rel=1e-9)
    assert (each > 0).all()
    kinds = costs.by_kind(costs.own)
    assert sum(kinds.values()) == pytest.approx(each, rel=1e-12)
    busy = 1.0 - (cost.bill.idle_usd / cost.bill.usd)
    owed = cost.tokens_per_request["output"] * cost.usd.output.value / busy
    assert kinds["output"].mean() == pytest.approx(owed, rel=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_a_request_is_the_sum_of_its_positions(model: str) -> None:
    cost = pt.price(model, **JOB, input=2000, output=300, concurrency=16)
    costs, i, cached, o = RequestCosts(cost), 3001, 500, 40
    each = costs.by_kind(Requests(np.array([float(i)]), np.array([float(o)]), np.array([float(cached)])))
    inputs = np.asarray(cost.at(input=np.arange(cached + 1, i + 1)).value).sum() * costs.factors["input"]
    outputs = np.asarray(cost.at(output=np.arange(1, o + 1), input=i).value).sum() * costs.factors["output"]
    assert each["input"][0] == pytest.approx(inputs * costs.idle_factor, rel=2e-4)
    assert each["output"][0] == pytest.approx(outputs * costs.idle_factor, rel=2e-4)


@pytest.mark.parametrize("model", MODELS[:2])
def test_positions_sum_to_the_fair_share_but_for_curvature(model: str) -> None:
    cost = pt.price(model, **JOB, input="p50=1020,p90=2734", output="p50=129,p90=424", concurrency=32)
    assert all(abs(f - 1) < 0.02 for f in RequestCosts(cost).factors.values())


def test_long_requests_cost_more_a_token() -> None:
    costs = RequestCosts(pt.price("llama-3.1-8b", **JOB, concurrency=64))
    inputs = np.array([100.0, 1000.0, 10_000.0, 100_000.0])
    each = costs.by_kind(Requests(inputs, np.full(4, 100.0)))
    assert np.all(np.diff(each["input"] / inputs) > 0)
    assert np.all(np.diff(each["output"]) > 0)


def test_cached_tokens_are_paid_for_once() -> None:
    costs = RequestCosts(pt.price("llama-3.1-8b", **JOB, cached=0.5, concurrency=64))
    whole, none = np.array([8000.0]), np.array([0.0])
    full = costs.by_kind(Requests(whole, np.array([100.0]), none))
    half = costs.by_kind(Requests(whole, np.array([100.0]), np.array([4000.0])))
    first = costs.by_kind(Requests(np.array([4000.0]), np.array([100.0]), none))
    assert half["input"][0] + first["input"][0] == pytest.approx(full["input"][0], rel=1e-6)
    assert half["output"][0] == pytest.approx(full["output"][0], rel=1e-12)


@pytest.mark.parametrize("trace", ["azure-2023-conversation", "azure-2023-code", "mooncake-conversation"])
def test_shipped_traces_cost_their_bill(trace: str) -> None:
    cost = pt.price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", trace=trace, rate="rent:2.50")
    costs = RequestCosts(cost)
    assert costs.of(costs.own).sum() == pytest.approx(bill_of(cost) * costs.own.input.size, rel=1e-9)


def test_mooncakes_cached_share_is_that_of_its_block_hashes() -> None:
    whole = pt.price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", trace="mooncake-conversation", rate="rent:2.50")
    small = pt.price(
        "llama-3.1-70b",
        on="8xh100-sxm",
        dtype="fp8",
        trace="mooncake-conversation",
        rate="rent:2.50",
        prefix_cache="1M",
    )
    none = pt.price(
        "llama-3.1-70b", on="8xh100-sxm", dtype="fp8", trace="mooncake-conversation", rate="rent:2.50", cached=0
    )
    shares = [c.tokens_per_request["cached"] / 12_035.06 for c in (whole, small, none)]
    assert shares == pytest.approx([0.3736, 0.0543, 0.0], abs=1e-3)
    assert bill_of(whole) < bill_of(small) < bill_of(none)


def test_what_cannot_be_costed_is_refused() -> None:
    cost = pt.price("llama-3.1-8b", **JOB, concurrency=4)
    with pytest.raises(PertokenError, match="longer than the 131,072"):
        RequestCosts(cost).of(from_lengths(pt.Lengths.fixed(200_000, 5)))
    with pytest.raises(PertokenError, match="no rent of"):
        RequestCosts(pt.price("llama-3.1-8b", on="1xgh200-96gb"))
