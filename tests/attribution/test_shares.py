"""Fair shares: exact, never negative, the Shapley value of small games, and no more than standing alone."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.attribution.ledger import by_token, split
from pertoken.attribution.shares import crossover, phases
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.engine.work import Work
from tests import maker

SECONDS = st.one_of(st.just(0.0), st.floats(1e-12, 1e3))


def touched(active: float, experts: float, tokens: float) -> object:
    """w(tau)/w(1) of evenly routed experts."""

    def part(tau: object) -> object:
        return 1.0 - (1.0 - active / experts) ** (tokens * np.asarray(tau))

    return lambda tau: part(tau) / part(1.0)  # type: ignore[operator]


def by_integration(fixed: float, moved: float, compute: float, shape: object, steps: int = 20_000) -> tuple[float, ...]:
    """Phases by adding the batch in small steps and charging each increment to what is the larger there."""
    tau = np.linspace(0.0, 1.0, steps + 1)
    read = fixed * (shape(tau) if shape else np.where(tau > 0, 1.0, 0.0))  # type: ignore[operator]
    middle = (tau[1:] + tau[:-1]) / 2
    at = fixed * (shape(middle) if shape else 1.0)  # type: ignore[operator]
    memory = at + middle * moved >= middle * compute
    return (
        float(np.diff(read)[memory].sum()),
        float(moved * memory.sum() / steps),
        float(compute * (~memory).sum() / steps),
    )


@settings(max_examples=400, deadline=None)
@given(SECONDS, SECONDS, SECONDS, st.booleans())
def test_phases_sum_to_the_time_and_are_never_negative(
    fixed: float, moved: float, compute: float, curved: bool
) -> None:
    found = phases(fixed, moved, compute, touched(8, 256, 300) if curved else None)  # type: ignore[arg-type]
    assert found.total == pytest.approx(max(fixed + moved, compute), rel=1e-12)
    assert min(found.fixed, found.moved, found.computed) >= 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3),
    st.one_of(st.none(), st.tuples(st.sampled_from([1, 8]), st.sampled_from([16, 256]), st.floats(1, 4000))),
)  # fmt: skip
def test_phases_equal_a_numerical_integral(fixed: float, moved: float, compute: float, routing: object) -> None:
    shape = touched(*routing) if routing else None  # type: ignore[misc]
    found = phases(fixed, moved, compute, shape)  # type: ignore[arg-type]
    expected = by_integration(fixed, moved, compute, shape)
    whole = max(fixed + moved, compute)
    for mine, theirs in zip((found.fixed, found.moved, found.computed), expected, strict=True):
        assert mine == pytest.approx(theirs, abs=3e-3 * (whole + fixed + compute))


@settings(max_examples=200, deadline=None)
@given(SECONDS, SECONDS, SECONDS)
def test_crossover_is_where_memory_and_compute_meet(fixed: float, moved: float, compute: float) -> None:
    scale = float(crossover(fixed, moved, compute))
    assert 0.0 <= scale <= 1.0
    if scale < 1.0:
        assert fixed + scale * moved == pytest.approx(scale * compute, rel=1e-9, abs=1e-12)
    else:
        assert fixed + moved >= compute * (1 - 1e-12)


def game(n: int, fixed: float, moved: float, compute: float, shape: object = None) -> object:
    """Seconds of k of n identical tokens; none take no time."""

    def value(k: int) -> float:
        if not k:
            return 0.0
        read = fixed * (float(shape(k / n)) if shape else 1.0)  # type: ignore[operator]
        return max(read + moved * k / n, compute * k / n)

    return value


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize(
    ("fixed", "moved", "compute"), [(3.0, 1.0, 2.0), (1.0, 0.5, 4.0), (0.0, 1.0, 3.0), (2.0, 0.0, 9.0)]
)
@pytest.mark.parametrize("inputs", [0, 1, 3])
def test_shares_equal_the_shapley_value_over_all_orders(
    n: int, fixed: float, moved: float, compute: float, inputs: int
) -> None:
    inputs = min(inputs, n)
    value = game(n, fixed, moved, compute)
    owed = [0.0] * n
    for order in permutations(range(n)):
        for place, token in enumerate(order):
            owed[token] += (value(place + 1) - value(place)) / factorial(n)  # type: ignore[operator]
    op = Timed(
        "x", "x", 1, Work(), fixed_s=fixed, moved_s=moved, compute_s=compute, input_tokens=float(inputs),
        output_tokens=float(n - inputs),
    )  # fmt: skip
    totals = by_token(split(op, 1.0))
    assert totals["input"] == pytest.approx(sum(owed[:inputs]), rel=1e-12, abs=1e-12)
    assert totals["output"] == pytest.approx(sum(owed[inputs:]), rel=1e-12, abs=1e-12)


def test_leave_one_out_marginals_do_not_add_up() -> None:
    n, value = 6, game(6, 3.0, 1.0, 2.0)
    marginals = n * (value(n) - value(n - 1))  # type: ignore[operator]
    assert marginals < 0.5 * value(n)  # type: ignore[operator]
    assert by_token(split(Timed("x", "x", 1, Work(), 3.0, 1.0, 2.0, output_tokens=6.0), 1.0))["output"] == value(n)  # type: ignore[operator]


def test_charging_the_whole_time_to_both_does_not_add_up() -> None:
    d = maker.deploy()
    ops = d.run(Step((Decode(16.0, 500.0),), Prefill(1.0, 500.0, 0.0), 1.0))
    whole = sum(float(op.seconds) for op in ops)
    totals = by_token(entry for op in ops for entry in split(op, 1.0))
    assert sum(totals.values()) == pytest.approx(whole, rel=1e-12)
    wrong = sum(float(op.seconds) for op in ops if np.any(op.input_tokens)) + sum(
        float(op.seconds) for op in ops if np.any(op.output_tokens)
    )
    assert wrong > 1.5 * whole


@settings(max_examples=200, deadline=None)
@given(SECONDS, SECONDS, SECONDS, st.integers(1, 500), st.integers(0, 500), st.floats(0, 1), SECONDS, SECONDS)
def test_entries_of_any_operation_sum_to_its_seconds(
    fixed: float, moved: float, compute: float, outputs: int, inputs: int, cached: float, link: float, launch: float
) -> None:
    op = Timed(
        "x", "x", 3, Work(), fixed, moved, compute, link, launch, "kv", float(inputs), float(outputs), cached,
        touched(8, 64, 20),  # type: ignore[arg-type]
    )  # fmt: skip
    entries = list(split(op, 0.25))
    assert sum(float(e.seconds) for e in entries) == pytest.approx(0.25 * op.seconds, rel=1e-12)
    assert min((float(e.seconds) for e in entries), default=0.0) >= 0.0


@pytest.mark.parametrize("name", sorted(maker.KINDS))
def test_no_token_pays_more_than_alone_for_operations_that_carry_weights(name: str) -> None:
    d = maker.deploy(maker.KINDS[name]())
    alone = {op.name: float(op.seconds) for op in d.run(Step((Decode(1.0, 500.0),))) if op.work.weight_bytes}
    assert len(alone) >= 3
    for batch in (2.0, 5.0, 64.0, 1000.0, 30_000.0):
        for op in d.run(Step((Decode(batch, 500.0),))):
            if op.name in alone:
                assert by_token(split(op, 1.0))["output"] / batch <= alone[op.name] * (1 + 1e-12), op.name


def test_arrays_equal_scalars() -> None:
    fixed, moved, compute = np.array([3.0, 1.0, 0.0]), np.array([1.0, 0.5, 1.0]), np.array([2.0, 4.0, 3.0])
    for shape in (None, touched(8, 64, 20)):
        together = phases(fixed, moved, compute, shape)  # type: ignore[arg-type]
        for i in range(3):
            one = phases(fixed[i], moved[i], compute[i], shape)  # type: ignore[arg-type]
            assert (together.fixed[i], together.moved[i], together.computed[i]) == (one.fixed, one.moved, one.computed)
