"""The bill adds up: over random scenarios, every accelerator-second is paid for once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pertoken.cost import Cost, price_deployment
from pertoken.engine.parallel import Split
from pertoken.errors import DoesNotFit, PertokenError
from pertoken.money.rate import power, rent
from pertoken.serving.lengths import Lengths
from pertoken.serving.workload import Goals, Workload
from tests import maker

TOKENS = ("input", "cached", "output")
SPLITS = (
    Split(), Split(tp=2), Split(tp=8), Split(tp=16), Split(pp=2), Split(tp=2, pp=2), Split(dp=4), Split(tp=2, dp=3),
    Split(tp=2, pp=2, dp=2),
)  # fmt: skip
EXPERT_SPLITS = (*SPLITS, Split(tp=4, ep=2), Split(tp=4, ep=4), Split(dp=8, ep=8), Split(tp=2, dp=8, ep=16))
LENGTHS = ("1", "10", "1000", "30000", "uniform:5-3000", "p50=1020,p90=2734")
SCENARIOS = 1000


def scenario(seed: int) -> Cost | None:
    """A random answer; None where the scenario is refused with a sentence."""
    random = np.random.default_rng(seed)

    def pick(options: object) -> object:
        return options[random.integers(len(options))]  # type: ignore[arg-type, index]

    name = str(pick(sorted(maker.KINDS)))
    split = pick(EXPERT_SPLITS if name in ("moe", "latent", "sparse") else SPLITS)
    weights, kv = (("bf16", "bf16"), ("fp8", "fp8"), ("fp8", "bf16"))[random.integers(3)]
    engine = maker.profile(token_budget=float(pick((512, 2048, 8192))), max_sequences=float(pick((16, 256))))  # type: ignore[arg-type]
    engine = replace(engine, mixed=seed % 3 != 0)
    on = maker.accelerator(memory=float(pick((24e9, 80e9))))  # type: ignore[arg-type]
    d = maker.deploy(maker.KINDS[name](), split, weights=weights, kv=kv, engine=engine, on=on)  # type: ignore[arg-type]
    mode = str(pick(("saturated", "concurrency", "rps", "load")))
    amount = {
        "saturated": {},
        "concurrency": {"concurrency": float(10 ** random.uniform(0, 4))},
        "rps": {"rps": float(10 ** random.uniform(-6, 1.5))},
        "load": {"load": float(random.uniform(1e-6, 1.0))},
    }[mode]
    workload = Workload(
        str(pick(LENGTHS)), str(pick(LENGTHS)), cached=float(pick((0.0, 0.3, 0.9, 1.0))),  # type: ignore[arg-type]
        goals=pick((Goals(), Goals(5.0, 0.05))), **amount,  # type: ignore[arg-type]
    )  # fmt: skip
    paid = float(random.uniform(0.01, 1)) if mode in ("saturated", "concurrency") else 1.0
    basis = str(pick(("usage", "allocation")))
    try:
        return price_deployment(d, workload, rent(float(10 ** random.uniform(-1, 1))), paid, basis)
    except PertokenError as error:
        assert str(error)[0] != " "
        assert len(str(error)) > 40, error
        return None


def check_adds_up(cost: Cost) -> None:
    """input + cached + output + idle = accelerator-seconds paid, in dollars, in seconds and on the receipt."""
    bill, each = cost.bill, cost.accelerator_s
    paid = bill.period_s * cost.deployment.accelerators
    assert bill.accelerator_s == pytest.approx(paid, rel=1e-12)
    assert bill.usd == pytest.approx(paid * cost.rate.usd_per_second, rel=1e-12)  # type: ignore[union-attr]
    charged = sum(bill.tokens[t] * getattr(each, t).value for t in TOKENS if bill.tokens[t])
    idle = bill.idle_usd / cost.rate.usd_per_second  # type: ignore[union-attr]
    assert abs(charged + idle - paid) < 1e-9 * paid
    assert abs(bill.residual) < 1e-9 * bill.usd
    million = cost.per_million
    usd = sum(bill.tokens[t] / 1e6 * getattr(million, t).value for t in TOKENS if bill.tokens[t])
    assert abs(usd + bill.idle_usd - bill.usd) < 1e-9 * bill.usd
    assert sum(leaf.usd_share for leaf in cost.receipt) == pytest.approx(1.0, rel=1e-9)
    assert sum(leaf.seconds for leaf in cost.receipt) == pytest.approx(paid, rel=1e-9)
    assert bill.idle_usd >= -1e-9 * bill.usd
    if cost.basis == "allocation":
        assert bill.idle_usd == 0.0


def check_sane(cost: Cost) -> None:
    """Ordered intervals, finite figures, and requests that equal their tokens."""
    for table in (cost.per_million, cost.accelerator_s):
        for name in (*TOKENS, "input_blended"):
            figure = getattr(table, name)
            assert all(math.isfinite(v) and v >= 0.0 for v in (figure.value, figure.low, figure.high)), name
            assert figure.low <= figure.value * (1 + 1e-12), name
            assert figure.value <= figure.high * (1 + 1e-12), name
    tokens, million = cost.tokens_per_request, cost.per_million
    assert cost.per_request.value == pytest.approx(
        sum(tokens[t] * getattr(million, t).value / 1e6 for t in TOKENS if tokens[t]), rel=1e-9
    )
    assert cost.per_request.low <= cost.per_request.value * (1 + 1e-12)
    assert cost.per_request.value <= cost.per_request.high * (1 + 1e-12)
    assert 0.0 < cost.utilisation <= 1.0 + 1e-9
    assert 0.0 < cost.mfu < 1.0
    assert cost.bill.tokens["output"] == pytest.approx(cost.requests_per_s * 3600 * tokens["output"], rel=1e-9)
    if cost.workload.mode == "rps":
        assert cost.requests_per_s == pytest.approx(cost.workload.amount, rel=1e-6)
    if cost.workload.mode == "load":
        assert cost.requests_per_s == pytest.approx(cost.workload.amount * cost.operating.most_rate, rel=1e-6)
    state = cost.operating.state
    moments = cost.operating.moments
    in_system = cost.requests_per_s / cost.paid_share * float(moments.decoded * state.tpot_s + state.ttft_s)
    assert in_system == pytest.approx(cost.operating.concurrency, rel=2e-5), "Little's law"
    assert float(state.kv_occupancy) <= 1.001
    assert float(state.resident) <= cost.deployment.profile.max_sequences.value * 1.001


def test_every_bill_adds_up_over_random_scenarios() -> None:
    answered, kinds = 0, set()
    for seed in range(SCENARIOS):
        cost = scenario(seed)
        if cost is not None:
            try:
                check_adds_up(cost)
                check_sane(cost)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {cost.deployment.model.name}, {cost.workload}: {error}") from error
            answered += 1
            kinds.add((cost.deployment.model.name, cost.workload.mode, cost.basis))
    assert answered > 0.6 * SCENARIOS
    assert len(kinds) > 0.9 * len(maker.KINDS) * 4 * 2


def test_a_wrong_account_does_not_add_up() -> None:
    """Negative control: the check notices a token charged twice, or idle time left out."""
    cost = price_deployment(maker.deploy(), Workload(1000, 100, rps=0.5, cached=0.2), rent(2.0))
    check_adds_up(cost)
    figures = cost.accelerator_s
    for wrong in (
        replace(figures, output=figures.output.scaled(1.0 + 1e-6)),
        replace(figures, input=figures.input_blended),
        replace(figures, input=figures.output, output=figures.output),
    ):
        broken = price_deployment(cost.deployment, cost.workload, cost.rate)
        broken.__dict__["accelerator_s"] = wrong
        with pytest.raises(AssertionError):
            check_adds_up(broken)


@pytest.mark.parametrize("name", sorted(maker.KINDS))
@pytest.mark.parametrize("traffic", [{"rps": 2.0}, {"rps": 0.01}, {"concurrency": 7.5}, {"load": 0.5}, {}])
def test_littles_law(name: str, traffic: dict[str, float]) -> None:
    cost = price_deployment(maker.deploy(maker.KINDS[name](), Split(dp=2)), Workload(1000, 100, **traffic), rent(2.0))  # type: ignore[arg-type]
    state = cost.operating.state
    in_system = cost.requests_per_s * float(cost.operating.moments.decoded * state.tpot_s + state.ttft_s)
    assert in_system == pytest.approx(cost.operating.concurrency, rel=1e-6)


@pytest.mark.parametrize("goals", [Goals(), Goals(0.2, 0.02)])
def test_full_load_is_saturation(goals: Goals) -> None:
    d = maker.deploy()
    full = price_deployment(d, Workload(1000, 100, goals=goals), rent(2.0))
    load = price_deployment(d, Workload(1000, 100, goals=goals, load=1.0), rent(2.0))
    assert load.requests_per_s == pytest.approx(full.requests_per_s, rel=1e-6)
    for name in ("input", "output"):
        assert getattr(load.per_million, name).value == pytest.approx(getattr(full.per_million, name).value, rel=1e-4)


def test_utilisation_scales_idle_and_allocation() -> None:
    d, workload = maker.deploy(), Workload(1000, 100)
    full = price_deployment(d, workload, rent(2.0))
    tenth = price_deployment(d, workload, rent(2.0), 0.1)
    spread = price_deployment(d, workload, rent(2.0), 0.1, "allocation")
    assert tenth.per_million == full.per_million
    assert tenth.bill.idle_usd == pytest.approx(0.9 * tenth.bill.usd, rel=1e-12)
    assert spread.bill.idle_usd == 0.0
    for name in ("input", "output"):
        assert getattr(spread.per_million, name).value == pytest.approx(10 * getattr(full.per_million, name).value)
    assert tenth.bill.tokens["output"] == pytest.approx(0.1 * full.bill.tokens["output"])


def test_a_tenth_of_the_load_is_not_a_tenth_of_the_utilisation() -> None:
    d = maker.deploy()
    load = price_deployment(d, Workload(1000, 100, load=0.1), rent(2.0))
    share = price_deployment(d, Workload(1000, 100), rent(2.0), 0.1)
    assert load.utilisation > 3 * share.utilisation
    assert load.per_million.output.value > 1.5 * share.per_million.output.value


@pytest.mark.parametrize("basis", ["usage", "allocation"])
def test_twice_the_rate_is_twice_the_dollars_and_the_same_seconds(basis: str) -> None:
    d, workload = maker.deploy(maker.latent()), Workload(3000, 100, cached=0.4, concurrency=5)
    one, two = (price_deployment(d, workload, rent(usd), 0.5, basis) for usd in (1.5, 3.0))
    assert one.accelerator_s == two.accelerator_s
    for name in (*TOKENS, "input_blended"):
        assert getattr(two.per_million, name).value == pytest.approx(
            2 * getattr(one.per_million, name).value, rel=1e-12
        )
    assert two.bill.usd == pytest.approx(2 * one.bill.usd)
    assert two.per_month == pytest.approx(2 * one.per_month)
    assert one.bill.tokens == two.bill.tokens


def test_more_lanes_cost_more_for_the_same_traffic_but_the_same_when_saturated() -> None:
    one, four = (price_deployment(maker.deploy(None, Split(dp=n)), Workload(1000, 100), rent(2.0)) for n in (1, 4))
    assert four.per_million.output.value == pytest.approx(one.per_million.output.value, rel=1e-9)
    assert four.requests_per_s == pytest.approx(4 * one.requests_per_s, rel=1e-9)
    assert four.bill.usd == pytest.approx(4 * one.bill.usd)


def test_fewer_requests_than_lanes_leave_lanes_idle() -> None:
    cost = price_deployment(maker.deploy(None, Split(dp=8)), Workload(1000, 100, concurrency=2), rent(2.0))
    alone = price_deployment(maker.deploy(), Workload(1000, 100, concurrency=1), rent(2.0))
    assert cost.utilisation == pytest.approx(0.25)
    assert cost.per_million.output.value == pytest.approx(alone.per_million.output.value, rel=1e-9)
    check_adds_up(cost)


def test_cached_tokens_are_counted_once() -> None:
    cost = price_deployment(maker.deploy(maker.latent()), Workload(4000, 100, cached=0.75, concurrency=8), rent(2.0))
    assert cost.tokens_per_request == {"input": 1000.0, "cached": 3000.0, "output": 100.0}
    check_adds_up(cost)
    blended = (1000 * cost.per_million.input.value + 3000 * cost.per_million.cached.value) / 4000
    assert cost.per_million.input_blended.value == pytest.approx(blended)
    assert cost.per_million.cached.value < cost.per_million.input.value


@pytest.mark.parametrize("name", sorted(maker.KINDS))
@pytest.mark.parametrize("text", ["4000", "uniform:10-8000"])
def test_a_cached_token_still_adds_to_what_others_read(name: str, text: str) -> None:
    d = maker.deploy(maker.KINDS[name]())
    cost = price_deployment(d, Workload(text, 100, cached=0.5, concurrency=8), rent(2.0))
    more = cost.cached_increment
    assert more is not None
    assert -1e-15 <= more < cost.per_million.input.value / 1e6


def test_nothing_cached_has_a_price_where_it_would_cost() -> None:
    dense = price_deployment(maker.deploy(), Workload(4000, 100), rent(2.0))
    latent = price_deployment(maker.deploy(maker.latent()), Workload(4000, 100), rent(2.0))
    assert dense.per_million.cached.value == 0.0
    assert 0.0 <= latent.per_million.cached.value < latent.per_million.input.value


@pytest.mark.parametrize("name", sorted(maker.KINDS))
def test_each_token_costs_less_in_company(name: str) -> None:
    d = maker.deploy(maker.KINDS[name]())
    costs = [price_deployment(d, Workload(1000, 100, concurrency=n), rent(2.0)).per_million for n in (1, 4, 16, 64)]
    outputs = [c.output.value for c in costs]
    assert outputs == sorted(outputs, reverse=True)
    assert costs[-1].input.value < costs[0].input.value * 1.001


def test_longer_answers_make_dearer_tokens_at_equal_batch() -> None:
    d = maker.deploy()
    per = [
        price_deployment(d, Workload(i, 100, concurrency=32), rent(2.0)).per_million.output.value
        for i in (100, 1000, 5000, 20_000)
    ]
    assert per == sorted(per)


def test_lengths_enter_through_their_spread() -> None:
    d = maker.deploy()
    spread = Lengths(np.array([100.0, 19_900.0]), np.array([200.0, 200.0]))
    fixed = price_deployment(d, Workload(10_000, 200, concurrency=8), rent(2.0))
    mixed = price_deployment(d, Workload(lengths=spread, concurrency=8), rent(2.0))
    assert mixed.per_million.input.value > fixed.per_million.input.value  # E[I^2] attends more pairs
    check_adds_up(mixed)


@pytest.mark.parametrize("traffic", [{}, {"load": 0.5}, {"concurrency": 1.9}, {"concurrency": 40}, {"rps": 2.0}])
@pytest.mark.parametrize("prompt", [2048, 30_000])
def test_prompts_longer_than_the_budget_without_an_answer_are_served(traffic: dict[str, float], prompt: int) -> None:
    d = maker.deploy(engine=maker.profile(token_budget=2048))
    cost = price_deployment(d, Workload(prompt, 1, **traffic), rent(2.0))  # type: ignore[arg-type]
    check_adds_up(cost)
    check_sane(cost)
    near = price_deployment(d, Workload(prompt - 1, 1, **traffic), rent(2.0))  # type: ignore[arg-type]
    assert cost.per_million.input.value == pytest.approx(near.per_million.input.value, rel=0.02)


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("name", sorted(maker.KINDS))
def test_requests_of_one_token_each_are_priced(name: str, mixed: bool) -> None:
    d = maker.deploy(maker.KINDS[name](), engine=replace(maker.profile(), mixed=mixed))
    cost = price_deployment(d, Workload(1, 1, cached=1.0), rent(2.0))
    check_adds_up(cost)
    check_sane(cost)
    assert cost.per_million.cached.value == 0.0
    assert math.isnan(cost.operating.tpot_s)  # there is no second token to wait for


@pytest.mark.parametrize("output", [1, 2, 3])
@pytest.mark.parametrize("in_flight", [1, 4, 64])
def test_prompts_apart_leave_no_time_unpaid_and_keep_littles_law(in_flight: int, output: int) -> None:
    d = maker.deploy(engine=replace(maker.profile(), mixed=False))
    for prompt in (30, 1000, 20000):
        cost = price_deployment(d, Workload(prompt, output, concurrency=in_flight), rent(2.0))
        check_adds_up(cost)
        check_sane(cost)


def test_energy_is_board_power_times_the_seconds() -> None:
    cost = price_deployment(maker.deploy(), Workload(1000, 100), rent(2.0))
    assert cost.joules is not None
    assert cost.joules.output.value == pytest.approx(700.0 * cost.accelerator_s.output.value)
    without = price_deployment(maker.deploy(on=maker.accelerator(watts=None)), Workload(1000, 100), rent(2.0))
    assert without.joules is None


def test_power_alone_is_the_energy_priced() -> None:
    d = maker.deploy()
    cost = price_deployment(d, Workload(1000, 100), power(0.12, d.accelerator))
    assert cost.joules is not None
    assert cost.per_million.output.value == pytest.approx(1e6 * cost.joules.output.value / 3.6e6 * 0.12)


def test_parts_sum_to_the_cost_and_compare_explains_the_difference() -> None:
    d = maker.deploy()
    a = price_deployment(d, Workload(1000, 100, concurrency=4, cached=0.5), rent(2.0))
    b = price_deployment(d, Workload(1000, 100, concurrency=64, cached=0.5), rent(4.0), 0.5, "allocation")
    changes = a.compare(b)
    for token in ("input", "output"):
        before = sum(c.before for c in changes if c.token == token)
        after = sum(c.after for c in changes if c.token == token)
        assert before == pytest.approx(getattr(a.per_million, token).value)
        assert after == pytest.approx(getattr(b.per_million, token).value)


def test_without_a_rate_seconds_are_answered_and_dollars_refused() -> None:
    cost = price_deployment(
        maker.deploy(), Workload(1000, 100), None, rate_missing="no rent is known; use --rate rent:PRICE"
    )
    assert cost.accelerator_s.output.value > 0
    assert math.isnan(cost.bill.usd)
    with pytest.raises(PertokenError, match="no rent is known"):
        _ = cost.per_million
    with pytest.raises(PertokenError, match="no rent is known"):
        _ = cost.per_month


@pytest.mark.parametrize(
    ("workload", "more", "says"),
    [
        ({"rps": 1.0}, {"paid_share": 0.5}, "--utilisation"),
        ({"load": 0.5}, {"paid_share": 0.5}, "--utilisation"),
        ({}, {"paid_share": 0.0}, "--utilisation"),
        ({}, {"paid_share": 1.1}, "--utilisation"),
        ({}, {"paid_share": float("nan")}, "--utilisation"),
        ({}, {"basis": "both"}, "--basis"),
        ({"rps": 1e6}, {}, "more than"),
        ({"goals": Goals(1e-6, 1e-6)}, {}, "no load meets the goals"),
        ({"goals": Goals(1e-6, 1e-6), "load": 0.5}, {}, "no load meets the goals"),
    ],
)
def test_what_cannot_be_is_refused(workload: dict[str, object], more: dict[str, object], says: str) -> None:
    with pytest.raises(PertokenError, match=says):
        price_deployment(maker.deploy(), Workload(1000, 100, **workload), rent(2.0), **more)  # type: ignore[arg-type]


def test_what_does_not_fit_says_how_much_is_missing() -> None:
    d = maker.deploy(maker.llama_3_70b())
    with pytest.raises(DoesNotFit, match="does not fit") as caught:
        price_deployment(d, Workload(1000, 100), rent(2.0))
    missing = d.weight_bytes + d.workspace_bytes + 1100 * 327_680 - 72e9
    assert caught.value.shortfall == pytest.approx(missing)
    assert caught.value.exit_code == 3


def test_a_request_beyond_the_context_limit_is_refused() -> None:
    with pytest.raises(PertokenError, match="at most"):
        price_deployment(maker.deploy(on=maker.accelerator(memory=1e15)), Workload(1e7, 100), rent(2.0))
