"""A finite closed loop against what must hold of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pertoken.engine.deployment import Deployment
from pertoken.engine.parallel import Split
from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.errors import PertokenError
from pertoken.serving.closed import closed_run
from pertoken.serving.lengths import Lengths
from pertoken.serving.operating import at_concurrency
from pertoken.serving.steady import least_finished, steady
from pertoken.sources import Sourced
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


def test_a_lone_client_waits_for_the_delay_outside_the_engine_and_the_engine_does_not() -> None:
    d = maker.deploy()
    later = replace(d, profile=replace(d.profile, request_delay=maker.number(0.05, "s")))
    lengths = Lengths.fixed(1000, 50)
    assert closed_run(later, lengths, 1, 200).ttft_s == pytest.approx(
        closed_run(d, lengths, 1, 200).ttft_s + 0.05, rel=1e-2
    )
    assert closed_run(later, lengths, 1).tpot_s == pytest.approx(closed_run(d, lengths, 1).tpot_s, rel=1e-9)


def lanes(count: int, **changes: Sourced) -> Deployment:
    """Data-parallel lanes that share one set of experts."""
    d = maker.deploy(maker.moe(), split=Split(ep=count, dp=count))
    return replace(d, profile=replace(d.profile, **changes))


def test_lanes_that_share_experts_take_their_steps_together() -> None:
    lengths = Lengths(np.full(64, 4000.0), np.linspace(50, 350, 64))
    d = lanes(4)
    step = float(total_seconds(d.run(Step((Decode(1.0, 4200.0),)))))
    prompt = float(total_seconds(d.run(Step((), Prefill(1.0, 4000.0, 0.0), 1.0))))
    found = closed_run(d, lengths, 4, 100)
    # one request a lane: each answer is held up by the prompts of the three others, whose experts see a fourth of the tokens
    assert step + 3 * 0.25 * prompt / 200 < found.tpot_s < step + 3 * 1.05 * prompt / 200
    assert closed_run(d, lengths, 2, 100).requests == 100  # of each of the two lanes that have any
    alone = maker.deploy(split=Split(dp=4))
    assert closed_run(alone, lengths, 4, 100).tpot_s == pytest.approx(closed_run(alone, lengths, 1, 100).tpot_s)


def test_lanes_wait_for_one_another_s_prompts() -> None:
    lengths = Lengths(np.full(64, 300.0), np.linspace(200, 1400, 64))
    often, rarely = (closed_run(lanes(4, balance_steps=maker.number(n, "step")), lengths, 16, 20) for n in (0, 40))
    wait = (rarely.ttft_s - often.ttft_s) / often.tpot_s
    assert 12 < wait < 28  # half of the steps between two openings, less where all have a prompt
    together = Lengths.fixed(300, 200)
    burst = [closed_run(lanes(4, balance_steps=maker.number(n, "step")), together, 4, 1).ttft_s for n in (0, 40)]
    apart = lanes(4, balance_steps=maker.number(40, "step"))
    apart = replace(apart, profile=replace(apart.profile, mixed=False))
    assert np.isfinite(closed_run(apart, lengths, 16, 20).ttft_s)
    assert burst[0] == burst[1]  # all lanes have a prompt, or none has an answer to wait beside


def test_prompts_wait_for_looks_and_for_one_another() -> None:
    d = maker.deploy()
    profile = d.profile
    lengths = Lengths(np.full(64, 300.0), np.linspace(50, 350, 64))
    often = closed_run(d, lengths, 8, 40)
    step = often.tpot_s
    rarely = closed_run(replace(d, profile=replace(profile, look_steps=maker.number(21, "step"))), lengths, 8, 40)
    assert 5 * step < rarely.ttft_s - often.ttft_s < 12 * step
    held = closed_run(replace(d, profile=replace(profile, wait_steps=maker.number(20, "step"))), lengths, 8, 40)
    assert 14 * step < held.ttft_s - often.ttft_s < 24 * step
    alone = closed_run(replace(d, profile=replace(profile, wait_steps=maker.number(20, "step"))), lengths, 1)
    assert alone.ttft_s == pytest.approx(closed_run(d, lengths, 1).ttft_s)  # an idle engine waits for nobody
    state = at_concurrency(
        replace(d, profile=replace(profile, wait_steps=maker.number(20, "step"))), lengths.moments(), 8.0
    )
    assert float(state.ttft_s) == pytest.approx(held.ttft_s, rel=0.2)


def test_whole_prompts_fill_steps_less_than_chunks() -> None:
    d = maker.deploy()
    profile = replace(d.profile, token_budget=maker.number(1000, "token"))
    cut, whole = (replace(d, profile=replace(profile, chunked=chunked)) for chunked in (True, False))
    lengths = Lengths.fixed(600, 20)
    # whole prompts of 600 come one a step of 1,000, chunks five in three steps
    assert closed_run(whole, lengths, 32, 1 + 1).seconds > closed_run(cut, lengths, 32, 1 + 1).seconds
    longer = Lengths.fixed(1500, 20)  # what no step holds whole is served all the same
    assert np.isfinite(closed_run(whole, longer, 4).ttft_s)


def test_launches_count_where_no_graph_replays_them_and_kernels_do_not_hide_them() -> None:
    d = maker.deploy()
    number = maker.number(200e-6, "s")
    slow = replace(d, profile=replace(d.profile, prompt_launch=number))
    bare = replace(d, profile=replace(d.profile, prompt_launch=maker.number(0.0, "s")))
    kernels = sum(op.count * op.launches for op in d.plan if op.group != "host")
    mixed = Step((Decode(4.0, 100.0),), Prefill(1.0, 10.0, 0.0), 1.0)
    hidden = float(total_seconds(bare.run(mixed)))
    assert float(total_seconds(slow.run(mixed))) == pytest.approx(max(hidden, kernels * 200e-6))
    long = Step((), Prefill(1.0, 8000.0, 0.0), 1.0)
    quick = replace(d, profile=replace(d.profile, prompt_launch=maker.number(5e-6, "s")))
    assert float(total_seconds(quick.run(long))) == float(total_seconds(bare.run(long)))
    graph = maker.number(8, "sequence")
    captured = replace(slow, profile=replace(slow.profile, graph_sequences=graph))
    few, many = Step((Decode(8.0, 100.0),)), Step((Decode(9.0, 100.0),))
    assert float(total_seconds(captured.run(few))) == float(total_seconds(bare.run(few)))
    assert float(total_seconds(captured.run(many))) == pytest.approx(kernels * 200e-6)


def test_graphs_replay_prompts_on_nvidia_without_stages_or_shared_lanes() -> None:
    d = maker.deploy()
    profile = replace(d.profile, prompt_launch=maker.number(200e-6, "s"), prompt_graphs=True)
    other = replace(d, profile=profile)
    green = replace(other, accelerator=replace(d.accelerator, vendor="NVIDIA"))
    mixed = Step((Decode(4.0, 100.0),), Prefill(1.0, 10.0, 0.0), 1.0)
    assert float(total_seconds(green.run(mixed))) < float(total_seconds(other.run(mixed)))
    assert green.prompt_launches_s == 0.0 < green.launches_s == other.prompt_launches_s
    staged = replace(green, split=Split(pp=2))
    assert staged.prompt_launches_s == staged.launches_s
    lengths = Lengths.fixed(100, 10)
    assert closed_run(green, lengths, 4).ttft_s < closed_run(other, lengths, 4).ttft_s


def test_kernels_launches_are_paid_in_part() -> None:
    d = maker.deploy()
    half = replace(d, profile=replace(d.profile, launch_share=maker.number(0.5, "1")))
    step = Step((Decode(1.0, 100.0),))
    launches = sum(float(op.count * op.overhead_s) for op in d.run(step) if op.group not in ("host", "links"))
    saved = float(total_seconds(d.run(step)) - total_seconds(half.run(step)))
    assert saved == pytest.approx(launches / 2)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), 1e9])
def test_what_cannot_be_followed_is_refused(wrong: float) -> None:
    with pytest.raises(PertokenError, match="in flight"):
        closed_run(maker.deploy(), Lengths.fixed(100, 10), wrong)
