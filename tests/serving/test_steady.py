"""The steady state: tokens are conserved, a lone request is alone, and arrays equal scalars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.engine.parallel import Split
from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.serving.lengths import Lengths, Moments
from pertoken.serving.mixing import at_least, busy_share
from pertoken.serving.operating import at_concurrency, at_rate, saturated
from pertoken.serving.steady import (
    in_system,
    least_finished,
    most_finished,
    open_pace,
    solve,
    steady,
    strain,
)
from pertoken.serving.workload import Goals
from tests import maker

NAMES = sorted(maker.KINDS)
LENGTHS = [(1000.0, 100.0), (20_000.0, 50.0), (10.0, 2000.0), (3000.0, 1.0), (1.0, 1.0), (8192.0, 2.0)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("input_tokens", "output"), LENGTHS)
@pytest.mark.parametrize("cached", [0.0, 0.5, 1.0])
def test_the_mean_step_processes_the_tokens_of_the_requests_it_finishes(
    name: str, input_tokens: float, output: float, cached: float
) -> None:
    d = maker.deploy(maker.KINDS[name]())
    moments = Lengths.fixed(input_tokens, output).moments(cached, 1 if d.model.linear_in_context else 8)
    low, high = least_finished(d, moments), most_finished(d, moments) * (1 - 1e-9)
    for share in (0.0, 0.1, 0.6, 1.0):
        y = low ** (1 - share) * max(low, high) ** share
        state = steady(d, moments, y)
        new, decoded, emitted = (
            sum(float(k.share * getattr(k.step, field)) for k in state.kinds)
            for field in ("input_tokens", "decode_tokens", "emitted")
        )
        assert new == pytest.approx(y * moments.fresh, rel=1e-9)
        assert decoded == pytest.approx(y * moments.decoded, rel=1e-9, abs=1e-12)
        assert emitted == pytest.approx(y * moments.output, rel=1e-9)
        assert sum(float(k.share) for k in state.kinds) == pytest.approx(1.0)
        assert state.step_s == pytest.approx(sum(float(k.share * k.seconds) for k in state.kinds), rel=1e-12)
        assert all(0.0 <= float(k.share) <= 1.0 + 1e-12 for k in state.kinds)


@pytest.mark.parametrize("name", NAMES)
def test_no_step_exceeds_the_token_budget(name: str) -> None:
    d = maker.deploy(maker.KINDS[name](), engine=maker.profile(token_budget=512))
    for input_tokens, output in LENGTHS:
        moments = Lengths.fixed(input_tokens, output).moments(0.0, 1 if d.model.linear_in_context else 8)
        for share in (0.0, 0.5, 0.999):
            low, high = least_finished(d, moments), most_finished(d, moments)
            state = steady(d, moments, low ** (1 - share) * high**share)
            for kind in state.kinds:
                if float(kind.share) > 1e-9:
                    assert float(kind.step.tokens) <= 512 * (1 + 1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("input_tokens", "output"), [(1000.0, 100.0), (10.0, 2000.0), (7000.0, 2.0)])
def test_a_lone_request_decodes_in_pure_steps_of_one(name: str, input_tokens: float, output: float) -> None:
    d = maker.deploy(maker.KINDS[name]())
    moments = Lengths.fixed(input_tokens, output).moments(0.0, 1 if d.model.linear_in_context else 8)
    state = steady(d, moments, least_finished(d, moments))
    share = 1.0 / len(moments.contexts)
    alone = total_seconds(d.run(Step(tuple(Decode(share, c) for c in moments.contexts))))
    prompt = total_seconds(d.run(Step((), Prefill(1.0, input_tokens, 0.0), 1.0)))
    assert state.tpot_s == pytest.approx(alone, rel=1e-9)
    assert state.ttft_s == pytest.approx(prompt, rel=1e-9)
    assert state.wait_s == pytest.approx(0.0, abs=1e-12)
    assert in_system(state, moments) == pytest.approx(1.0, rel=1e-9)
    assert state.finished / state.step_s == pytest.approx(1.0 / (prompt + (output - 1) * alone), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_asking_for_one_request_in_flight_gives_one(name: str) -> None:
    d = maker.deploy(maker.KINDS[name]())
    moments = Lengths.fixed(1000, 100).moments(0.0, 1 if d.model.linear_in_context else 8)
    for asked in (1.0, 1.5, 4.0, 40.0, 150.0):
        state = at_concurrency(d, moments, asked)
        assert in_system(state, moments) == pytest.approx(asked, rel=1e-9)


def test_more_in_flight_gives_more_throughput_and_slower_tokens() -> None:
    d = maker.deploy()
    moments = Moments.fixed(1000.0, 100.0)
    states = [at_concurrency(d, moments, n) for n in (1.0, 2.0, 8.0, 64.0, 200.0)]
    rates = [float(s.rate) for s in states]
    tpots = [float(s.tpot_s) for s in states]
    assert rates == sorted(rates)
    assert tpots == sorted(tpots)


@pytest.mark.parametrize("name", ["dense", "moe", "latent", "recurrent"])
def test_states_of_arrays_equal_those_of_scalars(name: str) -> None:
    d = maker.deploy(maker.KINDS[name](), Split(tp=2))
    inputs, outputs = np.array([1.0, 50.0, 1000.0, 30_000.0]), np.array([1.0, 2.0, 300.0, 20.0])
    moments = Moments.fixed(inputs, outputs, np.array([0.0, 0.9, 0.2, 0.5]))
    y = least_finished(d, moments) ** 0.7 * most_finished(d, moments) ** 0.3
    together = steady(d, moments, y)
    for i in range(4):
        one = steady(d, Moments.fixed(inputs[i], outputs[i], [0.0, 0.9, 0.2, 0.5][i]), y[i])
        for field in ("step_s", "tpot_s", "ttft_s", "wait_s", "batch", "resident", "kv_occupancy", "prefill_load"):
            assert getattr(one, field) == pytest.approx(getattr(together, field)[i], rel=1e-12), field


def test_operating_points_of_arrays_equal_those_of_scalars() -> None:
    d = maker.deploy()
    inputs, flights = np.array([100.0, 1000.0, 9000.0]), np.array([1.0, 20.0, 100.0])
    together = at_concurrency(d, Moments.fixed(inputs, 100.0), flights)
    y = saturated(d, Moments.fixed(inputs, 100.0), Goals(tpot=0.02))
    rated = at_rate(d, Moments.fixed(inputs, 100.0), np.array([0.1, 2.0, 1.0]))
    for i in range(3):
        moments = Moments.fixed(inputs[i], 100.0)
        assert at_concurrency(d, moments, flights[i]).finished == pytest.approx(together.finished[i], rel=1e-8)
        assert saturated(d, moments, Goals(tpot=0.02)) == pytest.approx(y[i], rel=1e-6)
        assert at_rate(d, moments, [0.1, 2.0, 1.0][i]).ttft_s == pytest.approx(rated.ttft_s[i], rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 1.0), st.floats(1.001, 1e6), st.floats(0.0, 1.0))
def test_solve_finds_the_root_of_a_rising_function(low: float, ratio: float, place: float) -> None:
    high = low * ratio
    root = low * ratio**place
    found = float(solve(lambda y: np.log(y / root), low, high, high * 1.5))
    assert found == pytest.approx(root, rel=1e-6)


def test_solve_takes_the_nearer_end_without_a_root_and_arrays_as_scalars() -> None:
    roots = np.array([0.1, 2.0, 5.0, 30.0])
    found = solve(lambda y: np.log(y) * 3 - np.log(roots) * 3, 1.0, 10.0, 11.0)
    assert found == pytest.approx([1.0, 2.0, 5.0, 10.0], rel=1e-6)
    for i, root in enumerate(roots):
        one = solve(lambda y, root=root: np.log(y) * 3 - np.log(root) * 3, 1.0, 10.0, 11.0)
        assert float(one) == pytest.approx(found[i], rel=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-9, 5e3))
def test_busy_share_is_the_root(crowd: float) -> None:
    u = float(busy_share(crowd))
    assert 0.0 <= u <= 1.0
    if crowd > 1.0 + 1e-6:
        assert u > 0.0
        assert u == pytest.approx(-np.expm1(-u * crowd), rel=1e-6)
    if crowd <= 1.0:
        assert u == 0.0


def test_at_a_trickle_the_busy_share_is_the_rate_times_the_time_alone() -> None:
    d = maker.deploy()
    moments = Moments.fixed(1000.0, 100.0)
    alone = steady(d, moments, least_finished(d, moments))
    rate = 1e-6
    state = at_rate(d, moments, rate)
    assert state.rate == pytest.approx(rate, rel=1e-6)
    assert state.busy == pytest.approx(rate * (alone.ttft_s + 99.0 * alone.tpot_s), rel=1e-3)
    assert state.tpot_s == pytest.approx(alone.tpot_s, rel=1e-3)


@pytest.mark.parametrize("jump", [1e-3, 0.5, 3.0, 9.0])
def test_of_a_jump_over_the_limit_the_side_below_is_found(jump: float) -> None:
    """Such as one sequence more than there are captured graphs for."""
    found = float(solve(lambda y: np.where(y > jump, 1.0, -1.0) + 0.1 * np.log(y), 1e-4, 10.0, 11.0))
    assert jump * (1.0 - 1e-9) < found <= jump


def test_a_rate_that_graphs_can_meet_is_met_with_graphs() -> None:
    """Beyond the most sequences that a graph replays steps take longer, so that the same rate keeps more in flight there."""
    d = maker.deploy()
    bare = replace(d, accelerator=replace(d.accelerator, vendor="NVIDIA"))
    captured = maker.number(20, "sequence")
    profile = replace(
        bare.profile, prompt_launch=maker.number(200e-6, "s"), graph_sequences=captured, prompt_graphs=True
    )
    slow, moments = replace(bare, profile=profile), Moments.fixed(200.0, 400.0)
    most = float(steady(bare, moments, saturated(bare, moments, Goals()), open_pace(bare, moments)).rate)
    rates = most * np.array([0.02, 0.1, 0.2, 0.3, 0.5])
    quick, found = at_rate(bare, moments, rates), at_rate(slow, moments, rates)
    assert found.rate == pytest.approx(rates, rel=1e-6)
    few = quick.batch < 20.0
    assert few.tolist() == [True, True, True, False, False]
    assert found.batch[few] == pytest.approx(quick.batch[few], rel=1e-6)
    assert (found.batch[~few] > 1.5 * quick.batch[~few]).all()
    for rate, batch in zip(rates, found.batch, strict=True):
        assert float(at_rate(slow, moments, rate).batch) == pytest.approx(batch, rel=1e-6)


def test_a_rate_is_met_at_every_load() -> None:
    d = maker.deploy()
    moments = Moments.fixed(1000.0, 100.0)
    most = float(steady(d, moments, saturated(d, moments, Goals()), open_pace(d, moments)).rate)
    last = 0.0
    for share in (1e-4, 1e-3, 0.01, 0.1, 0.3, 0.6, 0.9, 0.99):
        state = at_rate(d, moments, share * most)
        assert state.rate == pytest.approx(share * most, rel=1e-6)
        assert float(state.ttft_s) > last * 0.999
        last = float(state.ttft_s)


@pytest.mark.parametrize(
    ("goals", "binding"),
    [
        (Goals(), "max sequences"),
        (Goals(tpot=0.006), "TPOT goal"),
        (Goals(ttft=0.012), "TTFT goal"),
    ],
)
def test_saturation_is_where_a_limit_binds(goals: Goals, binding: str) -> None:
    d = maker.deploy()
    moments = Moments.fixed(1000.0, 100.0)
    limits = strain(d, goals, steady(d, moments, saturated(d, moments, goals), open_pace(d, moments)))
    assert max(limits, key=lambda key: float(limits[key])) == binding
    assert float(limits[binding]) == pytest.approx(1.0, rel=1e-6)


def test_small_memory_binds_before_slots() -> None:
    d = maker.deploy(on=maker.accelerator(memory=6e9))
    moments = Moments.fixed(20_000.0, 100.0)
    limits = strain(d, Goals(), steady(d, moments, saturated(d, moments, Goals()), open_pace(d, moments)))
    assert float(limits["KV memory"]) == pytest.approx(1.0, rel=1e-6)
    assert float(limits["max sequences"]) < 1.0


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("delay", [0.0, 0.07])
def test_no_more_decode_than_are_in_flight(mixed: bool, delay: float) -> None:
    """Up to a tenth more where two-token answers follow prompts of many steps, which engines that do not mix take first."""
    d = maker.deploy(engine=replace(maker.profile(request_delay=delay), mixed=mixed))
    for asked in (10, 1000, 20_000):
        for made in (2, 20, 2000):
            for users in (1.0, 4.0, 64.0):
                state = at_concurrency(d, Lengths.fixed(asked, made).moments(), users)
                slack = 1.1 if made == 2 and asked == 20_000 and not mixed else 1.001
                assert float(state.batch) <= slack * users


def test_a_closed_loop_holds_those_on_their_way_too() -> None:
    d = maker.deploy(engine=maker.profile(request_delay=0.07))
    for asked, made in ((10, 2), (1000, 100), (20_000, 5)):
        moments = Lengths.fixed(asked, made).moments()
        for users in (1.0, 2.0, 8.0, 64.0):
            state = at_concurrency(d, moments, users)
            found = float(in_system(state, moments) * state.busy + state.rate * 0.07)
            assert found == pytest.approx(users, rel=1e-4)
            assert 0.0 < float(state.busy) <= 1.0
    lone = at_concurrency(d, Lengths.fixed(10, 2).moments(), 1.0)
    alone = float(lone.ttft_s + lone.tpot_s)
    assert float(lone.busy) == pytest.approx(alone / (alone + 0.07), rel=1e-4)


def test_steps_of_unlike_prompts_wait_longer_for_their_launches() -> None:
    """The mean of max(level, S) of a lognormal S against draws; it is not that of the mean."""
    rng = np.random.default_rng(1)
    for spread in (0.05, 0.5, 2.0):
        sigma = np.sqrt(np.log1p(spread))
        drawn = rng.lognormal(-(sigma**2) / 2, sigma, 400_000)
        for level in (0.3, 1.0, 2.0):
            mean, variance = at_least(level, 1.0, spread)
            found = np.maximum(level, drawn)
            assert mean == pytest.approx(found.mean(), rel=5e-3)
            assert variance == pytest.approx(found.var(), rel=0.05, abs=2e-3)
            assert mean > max(level, 1.0)
