"""A run whose requests are handed out part by part says the same as one that holds them all."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from pertoken.errors import PertokenError
from pertoken.money.energy import board
from pertoken.money.rate import rent
from pertoken.money.site import Site
from pertoken.serving.lengths import Lengths
from pertoken.serving.workload import Goals
from pertoken.simulate import run as running
from pertoken.simulate import tally as tallying
from pertoken.simulate.bill import Billed
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.drawn import Drawn, Held
from pertoken.simulate.own import read_policy
from pertoken.simulate.records import Records
from pertoken.simulate.run import Run, simulate
from pertoken.simulate.state import STEP
from pertoken.simulate.stream import Stream, stream
from pertoken.simulate.tally import ERROR, BilledStream, Sketch, Streamed, Tally
from pertoken.simulate.traffic import Traffic, open_loop
from tests import maker
from tests.simulate.test_engine import deployment, speculating
from tests.simulate.test_own import batch, slowly

LENGTHS = Lengths(np.array([300.0, 900.0, 40.0]), np.array([1.0, 80.0, 700.0]))
SLICE, PART, COUNT = 150, 200, 5000
ARRAYS = ("arrival", "first", "last", "hit", "again", "where", "owed", "joules")
PROFILE = np.linspace(0.0, 2.0, 24)
GOALS = Goals(0.2, 0.05)


@pytest.fixture(autouse=True)
def _short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SLICE", SLICE)
    monkeypatch.setattr(running, "SMALL", SLICE)


@pytest.mark.parametrize(("cv", "profile"), [(1.0, None), (0.0, None), (2.5, None), (1.0, PROFILE), (3.0, PROFILE)])
def test_traffic_drawn_in_parts_is_that_drawn_at_once(cv: float, profile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pertoken.simulate.drawn.PART", 77)
    whole = open_loop(LENGTHS, 0.01, 1000, 5, cv, profile)
    drawn = Drawn(LENGTHS, 0.01, 1000, 5, cv, profile)
    take = drawn.begin()
    parts = [take(count) for count in (1, 333, 600, 66)]
    for name in ("arrival", "input", "output"):
        assert np.array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name))
    assert (drawn.extent, drawn.origin) == (whole.extent, whole.origin)
    other = replace(drawn, seed=6).begin()(1000)
    assert not np.array_equal(other.input, whole.input), "negative control: another seed"


def streamed(
    source: Any, cluster: Cluster, d: Any, progress: Any = None
) -> tuple[dict[str, Any], BilledStream, Stream]:
    parts: list[Records] = []
    tally = Tally(GOALS)
    draw = board(d.accelerator)

    def sink(part: Records) -> None:
        parts.append(part)
        tally.add(Billed(part, rent(2.0), draw, Site()))

    run, partial = stream(d, source, sink, cluster, draw, progress, PART)
    found = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ARRAYS}
    return found, BilledStream(Streamed.ended(run, tally, partial), rent(2.0), draw, Site()), run


def leveled(count: int) -> Traffic:
    t = open_loop(LENGTHS, 30.0, count, 3)
    return replace(t, level=np.arange(count) % 3)


OWN = "def order(input, arrival_s): return arrival_s + input / 1000\ndef admit(running, waiting): return running < 6"
CASES = {
    "one": (Drawn(LENGTHS, 6.0, COUNT, 1), Cluster(), {}),
    "overloaded": (Drawn(LENGTHS, 100.0, COUNT, 1), Cluster(), {"max_sequences": 8}),
    "round-robin": (Drawn(LENGTHS, 20.0, COUNT, 1, 3.0), Cluster(3), {}),
    "start and stop": (
        Drawn(LENGTHS, 12.0, COUNT, 2),
        Cluster(4, "least-loaded", crowd=4, start_s=2, patience_s=5),
        {},
    ),
    "priorities": (Held(leveled(COUNT)), Cluster(2, priorities=3), {"max_sequences": 6}),
    "drafts": (Drawn(LENGTHS, 12.0, COUNT, 2), Cluster(2, accepted=2.5, seed=7), {}),
    "a policy": (Drawn(LENGTHS, 12.0, COUNT, 2), Cluster(2, policy=read_policy(OWN, "own.py")), {"max_sequences": 8}),
    "one that is not compiled": (
        Drawn(LENGTHS, 12.0, 1000, 2), Cluster(2, policy=read_policy(slowly(OWN), "own.py")), {"max_sequences": 8},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_records_and_totals_are_those_of_a_run_that_holds_all(name: str) -> None:
    source, cluster, profile = CASES[name]
    d = deployment(**profile) if cluster.accepted == 1.0 else speculating(cluster.accepted, **profile)
    whole = source.traffic if isinstance(source, Held) else source.begin()(source.size)
    held = simulate(d, whole, cluster, board(d.accelerator))
    found, billed, _ = streamed(source, cluster, d)
    for column in ARRAYS:
        assert np.array_equal(found[column], getattr(held, column)), column
    plain, r = Billed(held, rent(2.0), board(d.accelerator), Site()), billed.records
    assert (r.sent, r.answered, r.refused, r.counts, r.tokens) == (
        held.sent, held.answered, held.refused, held.counts, held.tokens,
    )  # fmt: skip
    assert (r.end, r.paid_s, r.busy_s, r.energy) == (held.end, held.paid_s, held.busy_s, held.energy)
    assert r.goodput(GOALS) == held.goodput(GOALS)
    assert billed.usd_sums == pytest.approx(plain.usd_sums, rel=1e-12)
    assert billed.joules_sums == pytest.approx(plain.joules_sums, rel=1e-12)
    assert abs(billed.residual) < 1e-9 * billed.bill
    for field in fields(held.timeline):
        assert np.array_equal(getattr(r.timeline, field.name), getattr(held.timeline, field.name))
    spreads = [(r.spread(x), held.spread(x)) for x in ("ttft", "tpot", "e2e")]
    spreads += [(billed.spread[x], plain.spread[x]) for x in plain.spread]
    for mine, exact in spreads:
        assert mine == pytest.approx(exact, rel=ERROR)
        assert mine["mean"] == pytest.approx(exact["mean"], rel=1e-12)
    if cluster.route == "round-robin":
        assert np.array_equal(found["where"], np.arange(source.size) % cluster.replicas)


def test_requests_that_do_not_fit_are_counted_and_memory_runs_out_alike() -> None:
    d = maker.deploy(on=maker.accelerator(memory=4e9))
    lengths = Lengths(np.array([300.0, 900.0, 30000.0]), np.array([700.0, 700.0, 70.0]))
    source = Drawn(lengths, 60.0, COUNT, 4)
    held = simulate(d, source.begin()(COUNT))
    assert held.again.sum() > 100
    assert 100 < held.refused < COUNT
    found, billed, _ = streamed(source, Cluster(), d)
    for column in ARRAYS[:6]:
        assert np.array_equal(found[column], getattr(held, column), equal_nan=True), column
    assert (billed.records.refused, billed.records.answered) == (held.refused, held.answered)


def test_what_is_held_does_not_grow() -> None:
    most = []

    class Watched(Stream):
        def drive(self, slice_: int) -> float:
            share = super().drive(slice_)
            most.append(len(self.where))
            return share

    run = Watched(deployment(), Drawn(LENGTHS, 6.0, COUNT, 1), Cluster(), None, 1e-12, lambda part: None, PART)
    running._drive(run, None)
    assert max(most) < 3 * PART < COUNT / 8
    most.clear()
    source = Drawn(LENGTHS, 100.0, COUNT, 1)
    run = Watched(deployment(max_sequences=8), source, Cluster(), None, 1e-12, lambda part: None, PART)
    running._drive(run, None)
    assert max(most) > COUNT / 2, "negative control: a queue that grows is held"


def test_an_interrupt_leaves_what_was_sent_and_it_adds_up() -> None:
    def stop(share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    source = Drawn(LENGTHS, 6.0, COUNT, 1)
    found, billed, run = streamed(source, Cluster(), deployment(), stop)
    r = billed.records
    assert r.partial
    assert r.sent == found["arrival"].size == run.sent < COUNT
    assert 0 < r.answered < r.sent
    assert np.array_equal(found["arrival"], source.begin()(COUNT).arrival[: r.sent])
    assert abs(billed.residual) < 1e-9 * billed.bill
    whole, _, _ = streamed(source, Cluster(), deployment())
    done = ~np.isnan(found["last"])
    assert np.array_equal(found["last"][done], whole["last"][: r.sent][done])


def test_percentiles_are_within_the_error_that_is_told() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate((np.exp(rng.normal(-3, 4, 20_001)), np.zeros(300), [1e-9, 1e9]))
    sketch = Sketch()
    for part in np.array_split(values, 7):
        sketch.add(part)
    exact = np.percentile(values, (50, 90, 95, 99))
    found = np.array([sketch.spread[f"p{p}"] for p in (50, 90, 95, 99)])
    assert np.all(np.abs(found / exact - 1.0) <= ERROR)
    assert np.any(np.abs(found / exact - 1.0) > ERROR / 100), "negative control: not the numbers themselves"
    assert np.isnan(Sketch().spread["p50"])
    sketch.add(np.array([np.nan]))
    assert np.isnan(sketch.spread["mean"])
    assert tallying.BUCKETS < 20_000


def test_steps_that_begin_anew_move_no_answer_and_mend_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    d, t = deployment(look_steps=3), open_loop(LENGTHS, 6.0, 2000, 1)

    def late(renewing: bool) -> Records:
        run = Run(d, t, Cluster(), None, 1e-12)
        z = run.lanes.z[0]
        z[STEP] += (1 << 34) * 3  # as after a year
        with monkeypatch.context() as m:
            if not renewing:
                m.setattr(running, "renew", lambda q, lanes, p: None)
            running._drive(run, None)
        assert (run.lanes.z[0][STEP] < 1 << 20) == renewing
        return Records.of(run, False)

    anew, on, plain = late(True), late(False), simulate(d, t)
    for name in ("first", "last"):
        assert np.array_equal(getattr(anew, name), getattr(plain, name))
        assert np.array_equal(getattr(on, name), getattr(plain, name))
    # the first slice is served before any renewal
    rest = slice(2 * SLICE, None)
    far = [np.abs(r.owed[rest] / np.maximum(plain.owed[rest], 1e-300) - 1.0)[:, 2].max() for r in (anew, on)]
    assert far[0] < 1e-9
    assert far[1] > 100 * far[0], "negative control: without it digits are lost"


def test_what_cannot_be_forgotten_is_refused() -> None:
    with pytest.raises(PertokenError, match="--reuse-prefixes"):
        stream(deployment(), Drawn(LENGTHS, 6.0, 10, 1), lambda part: None, Cluster(prefix_cache=True))


def test_a_policy_that_admits_nothing_ends_a_stream_too() -> None:
    own = read_policy("def admit(running, waiting): return running > 0 or waiting >= 7", "own.py")
    t = Held(batch(COUNT // 2))
    with pytest.raises(PertokenError, match="admits none of 1 that wait, with nothing running"):
        stream(deployment(), t, lambda part: None, Cluster(policy=own), part=PART)
