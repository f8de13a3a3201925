"""Pools apart against a step-by-step reference, theory of two stations with little room between them, and conservation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.money.energy import board
from pertoken.money.rate import rent
from pertoken.money.site import Site
from pertoken.serving.lengths import Lengths
from pertoken.simulate import pools
from pertoken.simulate.bill import Billed
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.compiled import COMPILED, boxed
from pertoken.simulate.own import read_policy
from pertoken.simulate.pools import Pair, simulate_pools, write
from pertoken.simulate.records import Records
from pertoken.simulate.run import _drive
from pertoken.simulate.state import AGAIN, FIRST, HELD, KEPT, LAST, MOST_HELD, MOVE, MOVING, STALL, STEPS
from pertoken.simulate.traffic import Traffic, conversations
from tests.simulate.reference import One
from tests.simulate.test_engine import TICK, deployment, speculating, traffic, with_blocks
from tests.simulate.test_own import KINDS, OWN, slowly
from tests.simulate.two_pools import Decoding, Prefilling, TwoPools


def both(
    d: Any, t: Traffic, lanes: tuple[int, int], blocks: tuple[int, int], cluster: Cluster, move: float = 1.0
) -> tuple[Pair, TwoPools]:
    """The loop and the reference, of ``lanes`` with so many ``blocks`` each; KV moves ``move`` times as long."""
    pair = Pair(d, t, *(replace(cluster, replicas=n) for n in lanes), None, TICK)
    for run, count in zip((pair.first, pair.second), blocks, strict=True):
        with_blocks(run, count)
    n = np.asarray(pair.second.requests.n)
    ticks = np.maximum((n[:, MOVE] * move).astype(np.int64), 1)
    write(pair.second, MOVE, ticks)
    arrival = np.rint((np.nan_to_num(t.arrival, nan=-1.0) + d.profile.request_delay.value) / TICK).astype(np.int64)
    arrival[np.isnan(t.arrival)] = -1
    level = t.level if t.level.size else np.zeros(t.size, dtype=int)
    own = cluster.policy.functions if cluster.policy else {}

    def ones(outputs: Any) -> list[One]:
        return [One(i, int(arrival[i]), int(t.input[i]), int(outputs[i]), int(level[i])) for i in range(t.size)]

    found = TwoPools(
        [Prefilling(pair.first.costs, pair.first.policy, [], own) for _ in range(lanes[0])],
        [Decoding(pair.second.costs, pair.second.policy, [], own) for _ in range(lanes[1])],
        ones(t.output), ones(t.output), ticks.tolist(),
    )  # fmt: skip
    if t.closed:
        think = np.rint((t.think + d.profile.request_delay.value) / TICK).astype(np.int64)
        found.follow = {i: (int(k), int(think[k])) for i, k in enumerate(t.follow) if k >= 0}
    found.run()
    _drive(pair, None)
    return pair, found


def same(pair: Pair, found: TwoPools) -> None:
    a, b = (np.asarray(run.requests.n) for run in (pair.first, pair.second))
    many = [r.output > 1 for r in found.others]
    assert a[:, FIRST].tolist() == [r.first for r in found.ones]
    assert b[many, FIRST].tolist() == [r.first for r in found.others if r.output > 1]
    assert b[many, LAST].tolist() == [r.last for r in found.others if r.output > 1]
    assert b[:, AGAIN].tolist() == [r.again for r in found.others]
    for run, lanes in ((pair.first, found.first), (pair.second, found.second)):
        assert [int(z[STEPS]) for z in run.lanes.z] == [lane.steps for lane in lanes]
        for z in run.lanes.z:
            assert z[HELD] == z[MOVING] == 0, "all is given back"
            assert 0 <= z[MOST_HELD] <= run.policy.capacity


@settings(max_examples=300)
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.0005, 0.003, 0.05]), st.integers(30, 90), st.integers(30, 90),
    st.sampled_from([1, 3]), st.sampled_from([1, 4, 16]), st.integers(1, 40), st.sampled_from([40, 64, 700]),
    st.booleans(), st.sampled_from([(True, False), (True, True), (False, False)]),
    st.sampled_from([(1, 1), (2, 1), (1, 2), (3, 2)]), st.sampled_from([0.0, 1.0, 30.0, 1000.0]),
)  # fmt: skip
def test_random_runs_agree(seed, gap, first, second, levels, block, slots, budget, chunked, kind, lanes, move) -> None:
    flags = {"mixed": kind[0], "chunked": chunked, "reserves": kind[1]}
    d = deployment(token_budget=budget, max_sequences=slots, graph_sequences=6, **flags)
    cluster = Cluster(priorities=levels, block=block)
    blocks = (first * 16 // block, second * 16 // block)
    same(*both(d, traffic(seed, 60, gap, levels=levels), lanes, blocks, cluster, move))


@settings(max_examples=60)
@given(
    st.integers(0, 10**6), st.integers(1, 30), st.integers(30, 90), st.integers(30, 90), st.integers(1, 40),
    st.sampled_from([40, 700]), st.sampled_from([(1, 1), (2, 1), (3, 2)]), st.sampled_from([1.0, 100.0]),
    st.sampled_from([0.0, 0.004]),
)  # fmt: skip
def test_random_closed_loops_agree(seed, users, first, second, slots, budget, lanes, move, think) -> None:
    d, drawn = deployment(token_budget=budget, max_sequences=slots), traffic(seed, 60, 0.0)
    arrival = np.where(np.arange(60) < users, 0.0, np.nan)
    follow = np.append(np.arange(users, 60), np.full(users, -1)).astype(np.int32)
    t = Traffic(arrival, drawn.input, drawn.output, "closed", follow=follow, think=np.full(60, think))
    same(*both(d, t, lanes, (first, second), Cluster(), move))


@settings(max_examples=60)
@given(
    st.integers(0, 10**6), st.sampled_from(["reserve", "drain", "all", "longest answer last"]), st.sampled_from([0.0, 0.003]),
    st.integers(30, 90), st.integers(30, 90), st.sampled_from([(1, 1), (2, 3)]), st.sampled_from([1.0, 100.0]),
)  # fmt: skip
def test_random_runs_with_policies_agree(seed, kind, gap, first, second, lanes, move) -> None:
    d = deployment(token_budget=128, max_sequences=12)
    same(*both(d, traffic(seed, 60, gap), lanes, (first, second), Cluster(policy=OWN[kind]), move))


def test_drafts_agree() -> None:
    d = speculating(2.5, token_budget=128, max_sequences=12)
    pair, found = both(d, traffic(5, 150, 0.001), (2, 1), (90, 90), Cluster(accepted=2.5, seed=4), 30.0)
    same(pair, found)
    assert stall(pair) > 0
    assert sum(r.again for r in found.others) > 0


def stall(pair: Pair) -> int:
    return sum(int(z[STALL]) for z in pair.first.lanes.z)


def test_the_runs_above_hold_the_first_pool_up_and_a_wrong_reference_is_caught() -> None:
    d = deployment(token_budget=128, max_sequences=16)
    pair, found = both(d, traffic(3, 200, 0.001), (1, 1), (60, 40), Cluster())
    same(pair, found)
    assert stall(pair) > 0
    assert sum(r.again for r in found.others) > 0, "nothing was given up, so the test shows less than it says"
    free, _ = both(d, traffic(3, 200, 0.001), (1, 1), (6000, 4000), Cluster())
    assert stall(free) == 0
    found.others[7].last += 1
    with pytest.raises(AssertionError):
        same(pair, found)


def test_plain_code_does_the_same() -> None:
    d = deployment(token_budget=128, max_sequences=16)
    pairs = [
        both(d, traffic(3, 120, 0.001), (2, 1), (60, 40), Cluster(policy=read_policy(source, "own.py")))
        for source in (KINDS["all"], slowly(KINDS["all"]))
    ]
    for pair, found in pairs:
        same(pair, found)
    assert not pairs[1][0].compiled
    one, other = (np.asarray(pair.second.requests.f) for pair, _ in pairs)
    assert np.allclose(one, other, rtol=1e-12)


STEP_S = 0.001


def throughput(room: int, prefill: float, decode: float, count: int = 20_000) -> float:
    """Of two stations in a row whose service is geometric, of so many steps in the mean, and a first that has room for so many.

    A prompt is prefilled a token a step, one at a time; one request decodes; a block is a whole request's.
    """
    rng = np.random.default_rng(room)
    inputs, outputs = rng.geometric(1.0 / prefill, count), 1 + rng.geometric(1.0 / decode, count)
    t = Traffic(np.zeros(count), np.minimum(inputs, 2000), np.minimum(outputs, 2000), "all at once")
    d = deployment(max_sequences=1, token_budget=1)
    pair = Pair(d, t, Cluster(block=4096), Cluster(block=4096), None, TICK)
    for run, blocks in ((pair.first, room), (pair.second, 1)):
        with_blocks(run, blocks)
        c = run.costs
        v = np.array(c.v)
        v[: c.near_n] = 0.0
        v[c.decode : c.chunk].reshape(-1, 6)[:, 2] = round(STEP_S / TICK)
        none = {"host_sequence": 0, "launches": 0, "prompt_launch": 0, "captured": 1 << 30}
        run.costs = c._replace(v=boxed(v), host_step=round(STEP_S / TICK), **none)
    write(pair.second, MOVE, np.ones(count, dtype=np.int64))
    _drive(pair, None)
    return count / (pair.clock * TICK)


@pytest.mark.skipif(not COMPILED, reason="the interpreter takes a minute")
@pytest.mark.parametrize(
    ("room", "prefill", "decode"), [(1, 60, 60), (3, 60, 60), (2, 40, 80), (2, 80, 40), (40, 40, 80)]
)
def test_two_stations_with_little_room_between_block_each_other_as_theory_says(
    room: int, prefill: float, decode: float
) -> None:
    """Prefilled and not yet answered are 0 to n = room + 1 requests, a birth-and-death chain; at n the first station is blocked.

    With ratio r of the two rates its throughput is the first's rate times (1 - r^n) / (1 - r^(n + 1)), and n / (n + 1) at r = 1.
    """
    r, n = decode / prefill, room + 1
    share = n / (n + 1) if r == 1.0 else (1.0 - r**n) / (1.0 - r ** (n + 1))
    found = throughput(room, prefill, decode)
    assert found == pytest.approx(share / (prefill * STEP_S), rel=0.03)
    slower = 1.0 / (max(prefill, decode) * STEP_S)
    if room < 10:
        assert found < 0.97 * slower, "negative control: without blocking it is the slower pool's"
    else:
        assert found == pytest.approx(slower, rel=0.03)


@settings(max_examples=100)
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.001, 0.02]), st.integers(30, 200), st.integers(30, 200),
    st.sampled_from([(1, 1), (2, 1), (2, 3)]), st.sampled_from(["round-robin", "least-loaded"]),
)  # fmt: skip
def test_tokens_blocks_bytes_and_money_are_conserved(seed, gap, first, second, lanes, route) -> None:
    d, t = deployment(token_budget=128, max_sequences=12), traffic(seed, 80, gap)
    draw = board(d.accelerator)
    pairs: list[Pair] = []

    class Watched(Pair):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            for run, blocks in ((self.first, first), (self.second, second)):
                with_blocks(run, blocks)
            pairs.append(self)

        def drive(self, slice_: int) -> float:
            share = super().drive(7)
            for run in (self.first, self.second):
                assert all(0 <= z[HELD] <= run.policy.capacity for z in run.lanes.z)
            return share

    with pytest.MonkeyPatch.context() as m:
        m.setattr(pools, "Pair", Watched)
        found = simulate_pools(d, t, *(Cluster(n, route) for n in lanes), draw)
    whole = found.whole
    assert whole.done.all()
    assert found.decode is not None
    counts = whole.counts
    assert counts["decoded"] + counts["finished_prompts"] == int(t.output.sum())
    assert found.prefill.counts["prefilled"] == int(t.input.sum())
    assert found.moved_bytes == pytest.approx(
        float(d.sequence_bytes(t.input[t.output > 1].astype(float)).sum()) * d.split.tp
    )
    assert sum(whole.accelerator_s.values()) == pytest.approx(whole.paid_accelerator_s, rel=1e-9)
    billed = Billed(whole, rent(2.0), draw, Site())
    assert abs(billed.residual) <= 1e-9 * billed.bill
    assert whole.joules.sum() == pytest.approx(whole.energy, rel=1e-6)
    assert all(z[HELD] == 0 for pair in pairs for run in (pair.first, pair.second) for z in run.lanes.z), (
        "blocks leaked"
    )
    later = t.output > 1
    assert (whole.last[later] > whole.first[later]).all()


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(60, 300), st.sampled_from(["round-robin", "least-loaded", "prefix-aware"]))
def test_conversations_find_their_prompts_in_the_first_pool_and_blocks_stay_in_bounds(seed, blocks, route) -> None:
    t = conversations(Lengths(np.array([20.0, 60.0]), np.array([5.0, 30.0])), 40.0, 80, 4.0, 0.01, seed)
    d, keep = deployment(token_budget=128, max_sequences=12), int((t.input + t.output).max()) // 16 + 2
    pair = Pair(d, t, Cluster(2, route, prefix_cache=True), Cluster(), None, TICK)
    for run in (pair.first, pair.second):
        with_blocks(run, max(blocks, keep))
    while pair.left or pair.busy:
        pair.drive(9)
        assert all(
            z[KEPT] >= 0 and z[HELD] >= 0 and z[HELD] + z[KEPT] <= run.policy.capacity
            for run in (pair.first,)
            for z in run.lanes.z
        )
    found = Records.of(pair.first, False)
    assert found.done.all()
    assert all(z[HELD] == 0 for z in pair.first.lanes.z)
    assert (found.hit[t.follow[t.follow >= 0]] > 0).any()
    assert (found.hit < t.input).all()
