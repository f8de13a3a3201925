"""Energy: it adds up, it has limits, and more of anything draws more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.cost import Cost, price_deployment
from pertoken.engine.parallel import Split
from pertoken.errors import PertokenError
from pertoken.money.energy import UNITS, Draw, board, draw_of, flat, joules_by_token, ledger_joules, working_watts
from pertoken.money.rate import Rate, power
from pertoken.money.site import Site
from pertoken.serving.workload import Workload
from tests import maker


def draw(**changes: float) -> Draw:
    """Round figures of a large accelerator."""
    figures = {"active": 300.0, "byte": 40e-12, "flop": 0.3e-12, "wait": 50e-6, "idle": 100.0, "cap": 700.0} | changes
    return draw_of({k: maker.number(v, UNITS[k]) for k, v in figures.items()}, (0.8, 1.3))


def site(host: float = 1.43, pue: float = 1.4, **more: float) -> Site:
    made: dict[str, Any] = {"grid": maker.number(400.0, "g/kWh"), "water": maker.number(0.4, "L/kWh")}
    made |= {k: maker.number(v, "1") for k, v in more.items()}
    return Site(maker.number(host, "1"), maker.number(pue, "1"), **made)


def owned(each: float = 3e-8, watts: float = 1000.0) -> Rate:
    """Half a millidollar a second and electricity at about 0.11 $/kWh."""
    return Rate(5e-4 + each * watts, "owned by a test", "own", each, watts)


def priced(
    rate: Rate | None = None, share: float = 1.0, basis: str = "usage", d: Draw | None = None, **more: Any
) -> Cost:
    traffic = more.pop("traffic", {"concurrency": 16})
    where = more.pop("site", site())
    deployment = more.pop("deployment", None) or maker.deploy()
    lengths = more.pop("lengths", (1000, 100))
    load = Workload(*lengths, **traffic)
    return price_deployment(deployment, load, rate or owned(), share, basis, draw=d or draw(), site=where)


def charged(cost: Cost, each: Any) -> float:
    """What tokens of an hour are charged with."""
    return sum(n * getattr(each, name).value for name, n in cost.bill.tokens.items() if n > 0)


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(maker.KINDS)),
    st.sampled_from([{"concurrency": 1}, {"concurrency": 40}, {"load": 0.3}, {}]),
    st.floats(0.0, 1.0),
    st.floats(0.05, 1.0),
    st.sampled_from(["usage", "allocation"]),
    st.floats(0.0, 600.0),
    st.floats(200.0, 900.0),
    st.floats(1.0, 2.0),
    st.booleans(),
)
def test_money_and_joules_add_up(
    kind: str, traffic: dict[str, float], cached: float, share: float, basis: str, active: float, cap: float, pue: float,
    alone: bool,
) -> None:  # fmt: skip
    deployment = maker.deploy(maker.KINDS[kind](), Split(tp=2, dp=2))
    cost = price_deployment(
        deployment, Workload(1500, 120, cached=cached, **traffic), power(0.12, deployment.accelerator) if alone else owned(),
        1.0 if "load" in traffic else share, basis, draw=draw(active=active, cap=cap), site=site(pue=pue),
    )  # fmt: skip
    assert cost.meter
    assert charged(cost, cost.usd) + cost.bill.idle_usd == pytest.approx(cost.bill.usd, rel=1e-9)
    assert abs(cost.bill.residual) < 1e-9 * cost.bill.usd
    busy = (cost.bill.accelerator_s - cost.idle_s) * cost.meter.busy_watts * cost.site.factor
    idle = cost.idle_joules if basis == "usage" else 0.0
    assert charged(cost, cost.facility_joules) + idle == pytest.approx(busy + cost.idle_joules, rel=1e-9)
    assert sum(leaf.usd_share for leaf in cost.receipt) == pytest.approx(1.0, rel=1e-9)
    for token in ("input", "output"):
        parts = sum(usd for (name, _), usd in cost.parts().items() if name == token)
        assert parts == pytest.approx(getattr(cost.per_million, token).value, rel=1e-9)
    assert 0.0 <= cost.idle_share < 1.0


def test_power_alone_charges_the_joules() -> None:
    d = maker.deploy()
    cost = priced(power(0.12, d.accelerator), 0.3)
    assert cost.facility_joules
    for name in ("input", "output"):
        joules = getattr(cost.facility_joules, name).value
        assert getattr(cost.per_million, name).value == pytest.approx(joules / 3.6e6 * 0.12 * 1e6, rel=1e-9)
    assert cost.idle_share < priced(owned(1e-12), 0.3).idle_share, "idle accelerators draw less, so they cost less"


def test_a_flat_draw_is_watts_times_seconds_whatever_is_done() -> None:
    cost = priced(d=flat(maker.number(500.0, "W")), site=Site())
    assert cost.joules
    for name in ("input", "output"):
        assert getattr(cost.joules, name).value == pytest.approx(500.0 * getattr(cost.accelerator_s, name).value)


def test_without_a_floor_energy_counts_bytes_and_flop() -> None:
    state, d = priced().operating.state, maker.deploy()
    only = draw(active=0.0, wait=0.0, cap=1e9)
    total = sum(joules_by_token(ledger_joules(d, state, only)).values())
    moved = sum(k.share * op.count * op.work.memory_bytes for k in state.kinds for op in k.ops)
    flop = sum(k.share * op.count * op.work.flop for k in state.kinds for op in k.ops)
    assert total == pytest.approx(float(moved) * 40e-12 + float(flop) * 0.3e-12, rel=1e-9)


def test_arithmetic_in_half_the_bits_costs_half_as_much() -> None:
    only = draw(active=0.0, byte=0.0, wait=0.0, cap=1e9)
    costs = [priced(d=only, deployment=maker.deploy(weights=w)) for w in ("bf16", "fp8")]
    full, half = (c.joules.input.value for c in costs if c.joules)
    assert half < full < 2.01 * half, "attention stays in half precision"


def test_the_cap_binds_and_shrinks_all_shares_alike() -> None:
    free, capped = (priced(d=draw(active=400.0, wait=0.0, cap=c)) for c in (1e6, 420.0))
    assert capped.meter and free.meter
    assert capped.meter.busy_watts <= 420.0 * (1 + 1e-12) < free.meter.busy_watts
    assert free.joules and capped.joules
    ratios = [getattr(capped.joules, n).value / getattr(free.joules, n).value for n in ("input", "output")]
    assert all(r < 1.0 for r in ratios)
    one, two = (
        joules_by_token(
            ledger_joules(c.deployment, replace(c.operating.state, kinds=c.operating.state.kinds[1:]), c.draw)
        )
        for c in (free, capped)
        if c.draw
    )
    assert two["input"] / one["input"] == pytest.approx(two["output"] / one["output"], rel=1e-9)


def test_without_the_common_factor_it_would_not_add_up() -> None:
    cost = priced(d=draw(active=400.0, wait=0.0, cap=420.0))
    entries = ledger_joules(cost.deployment, cost.operating.state, draw(active=400.0, wait=0.0, cap=1e6))
    total = sum(joules_by_token(entries).values())
    assert cost.meter
    assert total / float(cost.operating.state.step_s) > 1.01 * cost.meter.busy_watts, "negative control"


@pytest.mark.parametrize("name", ["active", "byte", "flop", "wait", "idle", "cap"])
def test_more_of_any_parameter_never_draws_less(name: str) -> None:
    base = draw().values()
    costs = [priced(share=0.5, basis="allocation", d=draw(**{name: base[name] * f})) for f in (1.0, 1.5)]
    small, large = (c.facility_joules for c in costs)
    assert small and large
    for kind in ("input", "output"):
        assert getattr(large, kind).value >= getattr(small, kind).value * (1 - 1e-12)


def test_pue_and_price_raise_energy_and_cost_and_idle_adds_idle_power() -> None:
    low, high = (priced(site=site(pue=p)) for p in (1.1, 1.5))
    assert low.facility_joules and high.facility_joules and low.grams and high.grams
    assert high.facility_joules.output.value == pytest.approx(low.facility_joules.output.value * 1.5 / 1.1)
    assert high.grams.output.value > low.grams.output.value
    assert high.per_million.output.value > low.per_million.output.value
    cheap, dear = (priced(owned(each)) for each in (3e-8, 6e-8))
    assert dear.per_million.output.value > cheap.per_million.output.value
    assert priced().idle_joules == 0.0
    half = priced(share=0.5)
    assert half.idle_joules == pytest.approx(0.5 * 3600 * half.deployment.accelerators * 100.0 * 1.43 * 1.4)


def test_embodied_carbon_follows_paid_seconds() -> None:
    bare, made = (
        priced(share=0.5, basis="allocation"),
        priced(share=0.5, basis="allocation", site=site(embodied=318.0, life=4.0)),
    )
    assert bare.grams and made.grams
    more = made.grams.output.value - bare.grams.output.value
    assert more == pytest.approx(made.accelerator_s.output.value * 318e3 / (4 * 365.25 * 86400), rel=1e-9)


def test_interval_of_joules_is_that_of_the_draw() -> None:
    found = priced().joules
    assert found
    assert (found.output.low, found.output.high) == pytest.approx((0.8 * found.output.value, 1.3 * found.output.value))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(PertokenError, match="active"):
        draw(active=-1.0)
    with pytest.raises(PertokenError, match="interval"):
        replace(draw(), interval=(0.0, 1.0))
    with pytest.raises(PertokenError, match="--pue"):
        site(pue=0.9)
    with pytest.raises(PertokenError, match="life"):
        Site(embodied=maker.number(1.0, "kg"))
    assert board(maker.accelerator(watts=None)) is None


def test_working_watts_lie_between_floor_and_cap() -> None:
    cost = priced(d=draw(wait=0.0))
    assert 300.0 <= float(working_watts(cost.deployment, cost.operating.state, draw(wait=0.0))) <= 700.0
