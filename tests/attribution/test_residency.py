"""The long-run marginal: a finite difference of the closed form for each constraint that can bind, and it adds up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pertoken.attribution.batch import Batch, total
from pertoken.attribution.position import Positions, positions
from pertoken.attribution.residency import LongRun
from pertoken.cost import price_deployment
from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.money.rate import rent
from pertoken.serving.lengths import Moments
from pertoken.serving.operating import operate, saturated
from pertoken.serving.steady import open_pace, steady
from pertoken.serving.workload import Goals, Workload
from tests import maker

Class = tuple[float, int, int]  # weight, input and output tokens of the requests of a class
CASES: dict[str, tuple[Deployment, Goals]] = {
    "KV memory": (maker.deploy(on=maker.accelerator(memory=6e9)), Goals()),
    "TPOT goal": (maker.deploy(), Goals(tpot=9e-3)),
    "max sequences": (maker.deploy(engine=maker.profile(max_sequences=300)), Goals()),
}


def mixture(classes: Sequence[Class]) -> Moments:
    """Moments of requests of several classes; a weight may be below 0."""
    weight, given, made = (np.array(column, dtype=float) for column in zip(*classes, strict=True))
    share = weight / weight.sum()
    fresh = float(share @ given)
    pairs = float(share @ (given * (given + 1.0) / 2.0))
    steps = share * (made - 1.0)
    context = float(steps @ (given + (made - 2.0) / 2.0) / steps.sum())
    return Moments(
        fresh,
        float(share @ made),
        fresh,
        float(share @ given**2),
        pairs / fresh - (fresh + 1) / 2,
        (context,),
        float(share @ (made * (given + made)) / (share @ made)),
    )


def machines(d: Deployment, goals: Goals, classes: Sequence[Class]) -> float:
    """Lane-seconds that the closed form takes for one request of weight 1 each, at the most that goals and memory allow."""
    moments = mixture(classes)
    state = steady(d, moments, saturated(d, moments, goals), open_pace(d, moments))
    return sum(c[0] for c in classes) * float(state.step_s / state.finished)


def finite_difference(d: Deployment, goals: Goals, base: Class, other: Class, by: float = 1e-3) -> float:
    """What a few requests more of another class take, a request."""
    up, down = (machines(d, goals, [base, (sign * by, *other[1:])]) for sign in (1.0, -1.0))
    return (up - down) / (2.0 * by)


def request(found: Positions, given: int, made: int) -> float:
    """All positions of a request, in lane-seconds."""
    inputs = total(found.input(np.arange(1.0, given + 1)))
    outputs = total(found.output(np.arange(1.0, made + 1), float(given)))
    return float(np.sum(inputs) + np.sum(outputs))


def at_the_limit(name: str, given: int, made: int) -> tuple[Positions, Deployment, Goals]:
    d, goals = CASES[name]
    op = operate(d, Workload(input=given, output=made, goals=goals))
    assert op.bound == name
    return positions(d, op, "long-run"), d, goals


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("given", "made"), [(200, 400), (600, 600)])
def test_a_requests_long_run_cost_is_what_the_closed_form_adds_for_it(name: str, given: int, made: int) -> None:
    """Requests of other outputs and inputs. The closed form is off the formula by its one representative prompt and by a
    request not waiting for itself: of the order of 1 / steps and of 1 / batch."""
    found, d, goals = at_the_limit(name, given, made)
    slack = 2.0 / (made - 1) + 2.0 / float(found.batch.state.batch)
    for other in ((1.0, given, 2 * made), (1.0, given, made // 2), (1.0, given * 5 // 4, made)):
        expected = finite_difference(d, goals, (1.0, given, made), other)
        assert request(found, *other[1:]) == pytest.approx(expected, rel=slack), other


@pytest.mark.parametrize("kind", ["moe", "recurrent", "latent"])
def test_so_it_is_for_other_models(kind: str) -> None:
    """And for prompts of many chunks, whose number does not depend on what others send."""
    d = maker.deploy(maker.KINDS[kind](), on=maker.accelerator(memory=14e9))
    op = operate(d, Workload(input=20_000, output=400))
    found = positions(d, op, "long-run")
    for other in ((1.0, 20_000, 800), (1.0, 26_000, 400)):
        expected = finite_difference(d, Goals(), (1.0, 20_000, 400), other)
        assert request(found, *other[1:]) == pytest.approx(expected, rel=0.02), (op.bound, other)


@pytest.mark.parametrize("name", CASES)
def test_it_adds_up_to_the_machine(name: str) -> None:
    found, d, goals = at_the_limit(name, 200, 400)
    assert request(found, 200, 400) == pytest.approx(machines(d, goals, [(1.0, 200, 400)]), rel=1e-6)


def test_the_price_of_another_constraint_is_not_the_finite_difference() -> None:
    """Negative control: where memory binds, long answers cost more than slots or goals would say."""
    found, d, goals = at_the_limit("KV memory", 200, 400)
    expected = finite_difference(d, goals, (1.0, 200, 400), (1.0, 200, 1600))
    assert request(found, 200, 1600) == pytest.approx(expected, rel=0.02)
    for wrong in ("TPOT goal", "max sequences"):
        other = Positions(found.batch, wrong, "long-run")
        assert abs(request(other, 200, 1600) / expected - 1.0) > 0.05, wrong


def test_residency_is_in_the_long_run_where_memory_binds_and_nowhere_else() -> None:
    for name in CASES:
        _, d, goals = at_the_limit(name, 200, 400)
        cost = price_deployment(d, Workload(input=200, output=400, goals=goals), rent(2.5))
        for view in ("fair", "alone", "marginal", "long-run"):
            parts = {*cost.at(input=100, view=view).parts, *cost.at(output=100, input=200, view=view).parts}
            assert ("residency" in parts) == (view == "long-run" and name == "KV memory")
            assert ("fixed" in parts) == (view == "long-run" and name != "KV memory")


def test_a_byte_second_costs_a_over_m_t_and_rises_with_context() -> None:
    """T = a + k B c with memory full: a token's share a c kv / M grows with context as its own read does."""
    found, d, _ = at_the_limit("KV memory", 200, 400)
    view = found.view
    assert isinstance(view, LongRun)
    state = found.batch.state
    capacity = d.cache_capacity / d.split.pp
    assert view.byte_price == pytest.approx(view.fixed_s / (capacity * state.step_s), rel=1e-3)
    held = [float(view.held_output(c)["residency"]) for c in (1000.0, 2000.0)]
    assert held[1] == pytest.approx(2 * held[0], rel=1e-12)


def test_fixed_time_is_that_of_a_step_without_anyone_in_it_on_the_bare_roofline() -> None:
    """Decodes bound by memory: a is the weight read and what the layers' launches come to."""
    d = maker.bare()
    op = operate(d, Workload(input=8, output=2000, goals=Goals(tpot=1.3e-3)))
    view = positions(d, op, "long-run").view
    assert isinstance(view, LongRun)
    weights = sum(float(t.count * t.fixed_s) for t in op.state.kinds[0].ops if t.fixed == "weights")
    launches = sum(float(t.count * t.overhead_s) for t in op.state.kinds[0].ops)
    assert view.fixed_s == pytest.approx(weights + launches, rel=0.02)


@pytest.mark.parametrize("workload", [
    Workload(input=200, output=400, load=0.3),
    Workload(input=200, output=400, rps=1.0),
    Workload(input=3000, output=40, goals=Goals(ttft=0.2)),
])  # fmt: skip
def test_where_nothing_that_has_a_price_binds_there_is_a_sentence(workload: Workload) -> None:
    d = maker.deploy()
    op = operate(d, workload)
    with pytest.raises(PertokenError, match="prices what binds"):
        LongRun(Batch(d, op.state, op.moments), op.bound)
