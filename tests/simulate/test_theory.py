"""Queues whose waits are known, Little's law, conservation, the tables, and the closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.errors import PertokenError
from pertoken.serving.lengths import Lengths
from pertoken.serving.operating import operate
from pertoken.serving.workload import Workload
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.compiled import boxed
from pertoken.simulate.records import Records
from pertoken.simulate.run import Run, _drive, simulate
from pertoken.simulate.spend import chunk_cost, entry_of
from pertoken.simulate.state import HELD, KEPT
from pertoken.simulate.traffic import Traffic, closed_loop, conversations, open_loop
from tests import maker
from tests.simulate.test_engine import deployment, traffic, with_blocks

STEP_S = 0.001


def constant(t: Traffic, slots: int) -> Records:
    """Served by an engine whose steps all take `STEP_S`, at most ``slots`` at a time."""
    run = Run(deployment(max_sequences=slots, token_budget=100_000), t, Cluster(), None, 1e-12)
    c, step = run.costs, round(STEP_S * 1e12)
    v = np.array(c.v)
    v[: c.near_n] = 0.0  # all that is no place in a table
    v[c.decode : c.chunk].reshape(-1, 6)[:, 2] = step
    run.costs = c._replace(v=boxed(v), host_step=step, host_sequence=0, launches=0, prompt_launch=0, captured=1 << 30)
    _drive(run, None)
    return Records.of(run, False)


def poisson(rate: float, outputs: np.ndarray, seed: int = 0) -> Traffic:
    when = np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate, outputs.size))
    return Traffic(when, np.full(outputs.size, 4), outputs, "drawn")


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_server_of_constant_service_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    found = constant(poisson(load / STEP_S, np.ones(60_000, dtype=int)), 1)
    wait = found.ttft.mean() - STEP_S
    theory = load * STEP_S / (2.0 * (1.0 - load))
    assert wait == pytest.approx(theory, rel=0.08)
    assert wait != pytest.approx(load * STEP_S / (1.0 - load), rel=0.3), "negative control: the wait of M/M/1"


def erlang_wait(k: int, load: float, service: float) -> float:
    """Mean wait of M/M/k (Erlang C)."""
    a = load * k
    last = a**k / math.factorial(k) / (1.0 - load)
    chance = last / (sum(a**n / math.factorial(n) for n in range(k)) + last)
    return chance * service / (k * (1.0 - load))


def test_many_slots_of_geometric_service_wait_as_erlang_says() -> None:
    k, load, mean = 4, 0.8, 200
    outputs = np.random.default_rng(1).geometric(1.0 / mean, 60_000)
    service = mean * STEP_S
    found = constant(poisson(load * k / service, outputs, 2), k)
    wait = found.e2e.mean() - service - STEP_S / 2
    assert wait == pytest.approx(erlang_wait(k, load, service), rel=0.1)
    other = erlang_wait(k + 1, load * k / (k + 1), service)
    assert wait != pytest.approx(other, rel=0.1), "negative control: the wait with one more slot"


@pytest.mark.parametrize("gap", [0.02, 0.1])
def test_littles_law(gap: float) -> None:
    found = simulate(deployment(max_sequences=8), traffic(1, 4000, gap))
    edges = np.concatenate((found.arrival, found.last))
    order = np.argsort(edges)
    number = np.cumsum(np.concatenate((np.ones(4000), -np.ones(4000)))[order])
    inside = (number[:-1] * np.diff(edges[order])).sum()
    assert inside == pytest.approx(found.e2e.sum(), rel=1e-9)


def adds_up(found: Records) -> None:
    owed = sum(found.accelerator_s.values())
    assert owed == pytest.approx(found.paid_accelerator_s, rel=1e-9)
    assert (found.owed >= -1e-12).all()
    if found.energy:
        assert found.joules.sum() == pytest.approx(found.energy, rel=1e-6)


@settings(max_examples=150)
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.001, 0.02]), st.integers(30, 200), st.integers(1, 4),
    st.sampled_from(["round-robin", "least-loaded"]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_tokens_blocks_and_money_are_conserved(seed, gap, blocks, replicas, route, mixed, chunked) -> None:
    d, t = deployment(token_budget=128, max_sequences=12, mixed=mixed, chunked=chunked), traffic(seed, 80, gap)
    run = with_blocks(Run(d, t, Cluster(replicas, route), None, 1e-12), blocks)
    while run.done < t.size or run.busy:
        run.drive(7)
        assert all(0 <= z[HELD] + z[KEPT] <= blocks for z in run.lanes.z)
    found = Records.of(run, False)
    adds_up(found)
    assert found.done.all()
    recomputed = found.counts["prefilled"] - int(t.input.sum())
    assert recomputed >= 0
    assert found.counts["decoded"] + found.counts["finished_prompts"] == int(t.output.sum())
    assert all(z[HELD] == 0 for z in run.lanes.z), "blocks leaked"


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(60, 400), st.sampled_from(["round-robin", "least-loaded", "prefix-aware"]))
def test_a_prefix_cache_keeps_its_blocks_in_bounds(seed: int, blocks: int, route: str) -> None:
    lengths = Lengths(np.array([20.0, 60.0]), np.array([5.0, 30.0]))
    t = conversations(lengths, 40.0, 80, 4.0, 0.01, seed)
    keep = (t.input + t.output).max()
    d = deployment(token_budget=128, max_sequences=12)
    run = with_blocks(Run(d, t, Cluster(2, route, prefix_cache=True), None, 1e-12), max(blocks, int(keep) // 16 + 2))
    while run.done < t.size or run.busy:
        run.drive(9)
        assert all(z[HELD] >= 0 and z[KEPT] >= 0 and z[HELD] + z[KEPT] <= run.policy.capacity for z in run.lanes.z)
    found = Records.of(run, False)
    adds_up(found)
    assert found.done.all()
    assert all(z[HELD] == 0 for z in run.lanes.z)
    assert (found.hit < t.input).all()


@pytest.mark.parametrize("name", ["dense", "moe", "latent"])
def test_tables_are_the_deployment_s_own_step_times(name: str) -> None:
    d = maker.deploy(maker.KINDS[name]())
    run = Run(d, traffic(1, 50, 0.1, longest=30_000), Cluster(), None, 1e-12)
    c = run.costs
    for batch, context, new, before in (
        (1, 100, 0, 0),
        (17, 3333, 0, 0),
        (40, 900, 512, 0),
        (3, 70, 2000, 9000),
        (0, 0, 77, 0),
    ):
        batch = min(batch, run.policy.slots)  # noqa: PLW2901
        step = Step(
            (Decode(float(batch), float(context)),) if batch else (),
            Prefill(1.0, float(new), float(before)) if new else None,
            1.0 if new else 0.0,
        )
        ends = 1 if new else 0
        ticks = c.v[c.layers + 2 * entry_of(batch + new)] + c.v[c.head + 2 * (batch + ends)] + c.host_step
        ticks += c.host_sequence * (batch + ends)
        if batch:
            at = max(k for k in range(c.segments) if c.w[c.knots + k] <= context)
            line = c.decode + 6 * (batch * c.segments + at)
            ticks += c.v[line] + c.v[line + 1] * batch * context
        if new:
            ticks = max(ticks + chunk_cost(c, new, before)[0] + c.prompt_launch, c.launches)
        assert ticks * 1e-12 == pytest.approx(float(total_seconds(d.run(step))), rel=0.01)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.75])
def test_the_closed_form_agrees(load: float) -> None:
    d = maker.deploy(maker.KINDS["dense"](), engine=maker.profile(token_budget=2048))
    rng = np.random.default_rng(5)
    lengths = Lengths(rng.integers(200, 1800, 400).astype(float), rng.integers(20, 300, 400).astype(float))
    best = operate(d, Workload(lengths=lengths)).most_rate
    state = operate(d, Workload(lengths=lengths, rps=load * best))
    found = simulate(d, open_loop(lengths, load * best, 12_000, 3))
    busy = slice(2000, 11_000)
    assert found.ttft[busy].mean() == pytest.approx(state.ttft_s, rel=0.1)
    assert found.tpot.mean() == pytest.approx(float(state.state.tpot_s), rel=0.1)
    users = closed_loop(lengths, 32, 6000, 3)
    closed = operate(d, Workload(lengths=lengths, concurrency=32))
    rate = d.split.lanes * float(closed.state.rate)
    ends = np.sort(simulate(d, users).last)  # without the burst that begins the run and the drain that ends it
    assert 4000 / (ends[5200] - ends[1200]) == pytest.approx(rate, rel=0.03)


def test_the_same_seed_gives_the_same_bytes() -> None:
    lengths, d = Lengths.fixed(300, 40), deployment(max_sequences=8)
    runs = [simulate(d, open_loop(lengths, 20.0, 500, seed)) for seed in (4, 4, 5)]
    assert runs[0].last.tobytes() == runs[1].last.tobytes()
    assert runs[0].last.tobytes() != runs[2].last.tobytes()


def test_gaps_and_equal_times_and_giants() -> None:
    d = deployment()
    far = Traffic(np.array([0.0, 0.0, 1e9]), np.array([100, 100, 100]), np.array([5, 5, 5]), "drawn")
    found = simulate(d, far)
    assert found.done.all()
    assert found.last[2] == pytest.approx(1e9, abs=2.0)
    adds_up(found)
    run = with_blocks(Run(d, traffic(1, 5, 0.0), Cluster(), None, 1e-12), 1 << 20)
    assert run.refused == 0
    with pytest.raises(PertokenError, match="from 1 up"):
        Traffic(np.zeros(1), np.ones(1), np.zeros(1), "nothing")
    with pytest.raises(PertokenError, match="rising order"):
        Traffic(np.array([2.0, 1.0]), np.ones(2), np.ones(2), "unsorted")


def test_an_interrupt_leaves_a_partial_result_that_adds_up() -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    t = open_loop(Lengths.fixed(300, 40), 2000.0, 250_000, 1)
    found = simulate(deployment(max_sequences=8), t, progress=stop)
    assert found.partial
    assert not found.done.all()
    adds_up(found)


def test_replicas_that_start_and_stop_are_paid_while_they_run() -> None:
    t = open_loop(Lengths.fixed(300, 40), 30.0, 3000, 1)
    d = deployment(max_sequences=8)
    still, moving = (
        simulate(d, t, Cluster(4)),
        simulate(d, t, Cluster(4, "least-loaded", crowd=4, start_s=2.0, patience_s=5.0)),
    )
    assert moving.paid_s < still.paid_s
    assert moving.done.all()
    adds_up(moving)
