"""Pools apart against a step-by-step reference, theory of two stations with little room between them, and conservation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.simulate.cluster import Cluster
from pertoken.simulate.pools import Pair, write
from pertoken.simulate.run import _drive
from pertoken.simulate.state import AGAIN, FIRST, HELD, LAST, MOST_HELD, MOVE, MOVING, STEPS
from pertoken.simulate.traffic import Traffic
from tests.simulate.reference import One
from tests.simulate.test_engine import TICK, deployment, traffic, with_blocks
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
        ones(np.ones(t.size)), ones(t.output), ticks.tolist(),
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
            assert 0 < z[MOST_HELD] <= run.policy.capacity


@settings(max_examples=300)
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.0005, 0.003, 0.05]), st.integers(30, 90), st.integers(30, 90),
    st.sampled_from([1, 3]), st.sampled_from([1, 4, 16]), st.integers(1, 40), st.sampled_from([40, 64, 700]),
    st.booleans(), st.booleans(), st.sampled_from([(1, 1), (2, 1), (1, 2), (3, 2)]), st.sampled_from([0.0, 1.0, 30.0, 1000.0]),
)  # fmt: skip
def test_random_runs_agree(seed, gap, first, second, levels, block, slots, budget, mixed, chunked, lanes, move) -> None:
    d = deployment(token_budget=budget, max_sequences=slots, mixed=mixed, chunked=chunked, graph_sequences=6)
    cluster = Cluster(priorities=levels, block=block)
    blocks = (first * 16 // block, second * 16 // block)
    same(*both(d, traffic(seed, 60, gap, levels=levels), lanes, blocks, cluster, move))
