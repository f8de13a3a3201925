"""The loop against a step-by-step reference: the same schedule, and the same times to the last tick."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.engine.deployment import Deployment
from pertoken.engine.draft import drafted
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.run import Run, _drive
from pertoken.simulate.state import AGAIN, FIRST, HELD, LAST, PREEMPTED, STEPS
from pertoken.simulate.traffic import Traffic
from tests import maker
from tests.simulate.reference import One, Reference

TICK = 1e-12


def deployment(**changes) -> Deployment:
    flags = {name: changes.pop(name) for name in ("mixed", "chunked", "reserves") if name in changes}
    return maker.deploy(maker.KINDS["dense"](), engine=replace(maker.profile(**changes), **flags))


def speculating(accepted: float, **changes) -> Deployment:
    return drafted(deployment(**changes), accepted)


def with_blocks(run: Run, blocks: int) -> Run:
    """The run on a lane of so many KV blocks."""
    run.policy = run.policy._replace(capacity=blocks)
    return run


def traffic(seed: int, count: int, gap: float, longest: int = 400, answers: int = 60, levels: int = 1) -> Traffic:
    rng = np.random.default_rng(seed)
    when = np.cumsum(rng.exponential(gap, count)) if gap else np.zeros(count)
    return Traffic(
        when,
        rng.integers(1, longest, count),
        rng.integers(1, answers, count),
        "drawn",
        level=rng.integers(0, levels, count),
    )


def both(d: Deployment, t: Traffic, blocks: int, cluster: Cluster) -> tuple[Run, Reference]:
    run = with_blocks(Run(d, t, cluster, None, TICK), blocks)
    arrival = np.rint((t.arrival + d.profile.request_delay.value) / TICK).astype(np.int64)
    level = t.level if t.level.size else np.zeros(t.size, dtype=int)
    ones = [One(i, int(arrival[i]), int(t.input[i]), int(t.output[i]), int(level[i])) for i in range(t.size)]
    found = Reference(run.costs, run.policy, ones, own=cluster.policy.functions if cluster.policy else {})
    found.run()
    _drive(run, None)
    return run, found


def same(run: Run, found: Reference) -> None:
    n = np.asarray(run.requests.n)
    assert n[:, FIRST].tolist() == [r.first for r in found.requests]
    assert n[:, LAST].tolist() == [r.last for r in found.requests]
    assert n[:, AGAIN].tolist() == [r.again for r in found.requests]
    assert int(run.lanes.z[0][STEPS]) == found.steps


@pytest.mark.parametrize("gap", [0.0, 0.001, 0.004, 0.02, 0.2])
@pytest.mark.parametrize("blocks", [30, 60, 5000])
@pytest.mark.parametrize(("mixed", "chunked"), [(True, True), (True, False), (False, True), (False, False)])
def test_times_are_those_of_the_reference(gap: float, blocks: int, mixed: bool, chunked: bool) -> None:
    d = deployment(token_budget=128, max_sequences=16, mixed=mixed, chunked=chunked)
    run, found = both(d, traffic(3, 200, gap), blocks, Cluster())
    same(run, found)
    if blocks == 30 and gap < 0.004:
        assert run.lanes.z[0][PREEMPTED] > 0, "nothing was preempted, so the test shows less than it says"


@settings(max_examples=300)
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.0005, 0.003, 0.05]), st.integers(30, 90), st.sampled_from([1, 3]),
    st.sampled_from([1, 4, 16]), st.integers(1, 40), st.sampled_from([40, 64, 700]), st.booleans(), st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_random_runs_agree(seed, gap, blocks, levels, block, slots, budget, mixed, chunked, reserves) -> None:
    flags = {"mixed": mixed, "chunked": chunked, "reserves": reserves}
    d = deployment(token_budget=budget, max_sequences=slots, graph_sequences=6, **flags)
    cluster = Cluster(priorities=levels, block=block)
    run, found = both(d, traffic(seed, 60, gap, levels=levels), blocks * 16 // block, cluster)
    same(run, found)
    assert run.lanes.z[0][HELD] == 0
    if reserves:
        assert run.lanes.z[0][PREEMPTED] == 0


@settings(max_examples=100)
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.0005, 0.003, 0.05]), st.integers(30, 90), st.sampled_from([1, 4, 16]),
    st.integers(1, 12), st.sampled_from([64, 700]), st.booleans(), st.booleans(), st.sampled_from([1.2, 2.0, 2.5, 4.9]),
)  # fmt: skip
def test_random_runs_with_drafts_agree(seed, gap, blocks, block, slots, budget, mixed, chunked, accepted) -> None:
    d = speculating(accepted, token_budget=budget, max_sequences=slots, mixed=mixed, chunked=chunked, graph_sequences=6)
    cluster = Cluster(block=block, accepted=accepted, seed=seed)
    run, found = both(d, traffic(seed, 60, gap), (blocks + 60) * 16 // block, cluster)
    same(run, found)


def test_a_wrong_reference_is_caught() -> None:
    d = deployment(token_budget=128, max_sequences=16)
    run, found = both(d, traffic(3, 50, 0.001), 60, Cluster())
    found.requests[7].last += 1
    with pytest.raises(AssertionError):
        same(run, found)
