"""A finite closed loop against what must hold of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.errors import PertokenError
from pertoken.serving.closed import closed_run
from pertoken.serving.lengths import Lengths
from pertoken.serving.operating import at_concurrency
from pertoken.serving.steady import least_finished, steady
from tests import maker


def test_one_in_flight_is_a_lone_request() -> None:
    d = maker.deploy()
    lengths = Lengths.fixed(1000, 100)
    alone = steady(d, lengths.moments(), least_finished(d, lengths.moments()))
    found = closed_run(d, lengths, 1)
    assert found.ttft_s == pytest.approx(float(alone.ttft_s), rel=2e-3)
    assert found.tpot_s == pytest.approx(float(alone.tpot_s), rel=2e-3)
    assert found.seconds == pytest.approx(found.requests * (found.ttft_s + 99 * found.tpot_s), rel=1e-9)


def test_a_first_burst_waits_for_half_of_its_prompts() -> None:
    d = maker.deploy()
    budget = int(d.profile.token_budget.value)
    n = 16
    found = closed_run(
        d, Lengths.fixed(budget, 1), n, rounds=1
    )  # 2 rounds at least; an answer of one token frees its place
    one = float(total_seconds(d.run(Step((), Prefill(1.0, budget, 0.0), 1.0))))
    waits = [*range(1, n + 1)] + [n] * n  # then everyone waits for those in flight
    assert found.ttft_s == pytest.approx(np.mean(waits) * one, rel=2e-3)
    assert np.isnan(found.tpot_s)


def test_spread_lengths_come_near_the_steady_state() -> None:
    d = maker.deploy()
    spread = Lengths(np.full(64, 500.0), np.linspace(20, 400, 64))
    found = closed_run(d, spread, 32, rounds=100)
    state = at_concurrency(d, spread.moments(), 32.0)
    assert found.requests / found.seconds == pytest.approx(float(state.rate), rel=0.05)
    assert found.tpot_s == pytest.approx(float(state.tpot_s), rel=0.08)


def test_equal_lengths_keep_arriving_together_and_wait_longer() -> None:
    d = maker.deploy()
    together = closed_run(d, Lengths.fixed(4000, 200), 32)
    apart = closed_run(d, Lengths(np.full(64, 4000.0), np.linspace(20, 380, 64)), 32)
    assert together.ttft_s > 1.15 * apart.ttft_s


def test_an_engine_that_does_not_mix_stalls_decodes() -> None:
    d = maker.deploy()
    apart = replace(d, profile=replace(d.profile, mixed=False))
    lengths = Lengths(np.full(64, 4000.0), np.linspace(50, 350, 64))
    assert closed_run(apart, lengths, 16).tpot_s > closed_run(d, lengths, 16).tpot_s
    state = at_concurrency(apart, lengths.moments(), 16.0)
    assert float(state.kinds[1].step.decode_tokens) == 0.0
    assert closed_run(apart, lengths, 16, rounds=60).tpot_s == pytest.approx(float(state.tpot_s), rel=0.15)


def test_delay_outside_the_engine_reaches_the_user_only() -> None:
    d = maker.deploy()
    later = replace(d, profile=replace(d.profile, request_delay=maker.number(0.05, "s")))
    lengths = Lengths.fixed(1000, 50)
    assert closed_run(later, lengths, 8).ttft_s == pytest.approx(closed_run(d, lengths, 8).ttft_s + 0.05, rel=1e-9)
    assert closed_run(later, lengths, 8).tpot_s == closed_run(d, lengths, 8).tpot_s


def test_steps_with_prompts_take_longer_to_launch() -> None:
    d = maker.deploy()
    slow = replace(d, profile=replace(d.profile, prompt_launch=maker.number(50e-6, "s")))
    operations = sum(op.count for op in d.plan) - sum(op.count for op in d.plan if op.group in ("head", "host"))
    mixed = Step((Decode(4.0, 100.0),), Prefill(1.0, 100.0, 0.0), 1.0)
    pure = Step((Decode(4.0, 100.0),))
    more = float(total_seconds(slow.run(mixed)) - total_seconds(d.run(mixed)))
    assert 0.8 * operations * 45e-6 < more <= operations * 45e-6 * (1 + 1e-9)
    assert float(total_seconds(slow.run(pure))) == float(total_seconds(d.run(pure)))


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), 1e9])
def test_what_cannot_be_followed_is_refused(wrong: float) -> None:
    with pytest.raises(PertokenError, match="in flight"):
        closed_run(maker.deploy(), Lengths.fixed(100, 10), wrong)
