"""Prefill and decode on pools of their own: KV moves from one to the other, and waits where it is until that has room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.money.energy import Draw
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.moving import READY, Pool, due, serve_both
from pertoken.simulate.records import Records, Timeline
from pertoken.simulate.run import Run, driven
from pertoken.simulate.spend import renew
from pertoken.simulate.state import ARRIVAL, BINS, MOVE, NEVER, NONE, OUTPUT, STALL, TOO_LARGE, WAITING
from pertoken.simulate.traffic import Traffic

Array = NDArray[Any]
FIELDS = ("arrival", "first", "last", "hit", "again", "where", "owed", "joules")


@dataclass(frozen=True)
class Pools:
    """One run on two pools; both are paid for until the last of them is done, so that their bills add up to the whole's.

    Parameters
    ----------
    whole : Records
        Of both pools: requests from arrival to last token, time and energy added up. Lanes are the first pool's.
    prefill, decode : Records
        Of each pool; a request of one output token never reaches the second, and one that does has its first from the first.
    moved_bytes : float
        KV moved between the pools [byte].
    transfer_s, waited_s : float
        Mean time that took a request, and that it waited for the second pool's memory before [s].
    sending : float
        Share of the time in which an accelerator of the first pool sends.
    stalled : float
        Share of the time in which a lane of the first pool has prompts, and no memory for any, as it holds KV that has not moved.
    """

    whole: Records
    prefill: Records
    decode: Records | None
    moved_bytes: float
    transfer_s: float
    waited_s: float
    sending: float
    stalled: float


class Pair:
    """Two runs, of lanes that prefill and of lanes that decode, driven together.

    Parameters
    ----------
    deployment, traffic, draw, tick
        As of `Run`.
    prefill, decode : Cluster
        Replicas and policies of each pool.

    Raises
    ------
    PertokenError, DoesNotFit
        As `Run`.
    """

    def __init__(
        self, deployment: Deployment, traffic: Traffic, prefill: Cluster, decode: Cluster, draw: Draw | None, tick: float
    ) -> None:  # fmt: skip
        single = replace(traffic, output=np.ones_like(traffic.output))
        self.first = Run(deployment, single, prefill, draw, tick, "prefill")
        self.second = Run(deployment, traffic, decode, draw, tick, "decode")
        each = np.asarray(deployment.sequence_bytes(traffic.input.astype(float)), dtype=float) * deployment.split.pp
        self.bytes, self.seconds = each, each / deployment.fabric.network
        write(self.first, OUTPUT, traffic.output)  # what a user's policy is told
        write(self.second, MOVE, np.maximum(np.rint(self.seconds / tick), 1).astype(np.int64))
        for i in np.flatnonzero(np.asarray(self.second.where) == TOO_LARGE):
            self.first.where[i] = TOO_LARGE
        self.between = self.first.boxed(np.array([NONE, 0]))

    @property
    def pools(self) -> tuple[Pool, Pool]:
        """Both, as the loop has them."""
        a, b = (Pool(r.requests, r.lanes, r.costs, r.policy, r.scale, r.up, r.where) for r in (self.first, self.second))
        return a, b

    def drive(self, slice_: int) -> float:
        """Route the next ``slice_`` requests, or serve what is left; the share of work that is done."""
        run, (a, b) = self.first, self.pools
        begin = end = run.done
        if run.left:
            end = min(len(run.where), begin + slice_)
            run.done = end
            until = a.q.n[end][ARRIVAL] if run.left and not run.traffic.closed else 0
        else:
            when = [t for t in self._due if t < NEVER]
            if self.between[READY] < 0 and not when:
                assert run.own
                raise run.own.none_admitted(sum(int(z[WAITING]) for z in (*a.lanes.z, *b.lanes.z)))
            latest = max(when, default=0)
            until = min(when, default=0) + max(latest // 50, round(10.0 / run.tick))
        run.code(serve_both)(a, b, self.between, begin, end, until)
        for each, pool in ((self.first, a), (self.second, b)):
            each.check_faults()
            each.code(renew)(pool.q, pool.lanes, pool.p)
        return (self.first.answered + self.second.answered) / (2 * run.traffic.size)

    @property
    def _due(self) -> list[int]:
        when = self.first.code(due)
        return [int(when(z)) for run in (self.first, self.second) for z in run.lanes.z]

    @property
    def busy(self) -> bool:
        """Whether anything is left to serve."""
        waiting = any(z[WAITING] for run in (self.first, self.second) for z in run.lanes.z)
        return waiting or self.between[READY] >= 0 or min(self._due) < NEVER

    @property
    def clock(self) -> int:
        """The latest time of a lane [tick]."""
        return max(self.first.clock, self.second.clock)

    @property
    def left(self) -> int:
        """Requests that were not sent yet."""
        return self.first.left

    @property
    def compiled(self) -> bool:
        """Whether its loop is."""
        return self.first.compiled


def write(run: Run, column: int, values: Array) -> None:
    """A column of a run's requests."""
    if run.compiled:
        run.requests.n[:, column] = values
        return
    for row, value in zip(run.requests.n, values.tolist(), strict=True):
        row[column] = value


def simulate_pools(
    deployment: Deployment,
    traffic: Traffic,
    prefill: Cluster,
    decode: Cluster,
    draw: Draw | None = None,
    progress: Callable[[float], None] | None = None,
) -> Pools:
    """Serve traffic on two pools.

    A prompt keeps its blocks in the lane that prefilled it until its KV has moved, which begins when a lane that decodes has a
    slot and blocks for it. KV moves over the network of all accelerators of a lane at once, each its own part, and whatever
    else moves.

    Raises
    ------
    PertokenError
        As `Run`, and for pools that grow and shrink.
    """
    if prefill.crowd or decode.crowd:
        raise PertokenError("replicas of separate pools all run; leave --crowd out")
    pair, early = driven(partial(Pair, deployment, traffic, prefill, decode, draw), traffic.span, progress)
    first, second = (Records.of(run, early) for run in (pair.first, pair.second))
    first = replace(first, refused=int((np.asarray(pair.first.where) == TOO_LARGE).sum()))
    go = np.flatnonzero((traffic.output > 1) & first.done)
    if not go.size:  # the second pool is paid for all the same
        paid = first.paid_s * (1.0 + second.lanes / first.lanes)
        whole = replace(first, traffic=traffic, paid_s=paid, lanes=first.lanes + second.lanes)
        return Pools(whole, first, None, 0.0, 0.0, 0.0, 0.0, 0.0)
    level = traffic.level[go] if traffic.level.size else traffic.level
    # of the second pool's traffic lengths alone are used; when a request came there is in its own column
    later = Traffic(np.sort(first.last[go]), traffic.input[go], traffic.output[go] - 1, traffic.origin, level)
    parts = {name: getattr(second, name)[go] for name in FIELDS} | {"arrival": first.last[go]}
    whole, (first, second) = _joined(traffic, first, replace(second, traffic=later, refused=0, **parts), go)
    seconds = pair.seconds[go]
    begun = np.isfinite(second.first)
    waited = (second.first - first.last[go] - seconds)[begun]
    stall = sum(int(z[STALL]) for z in pair.first.lanes.z) * pair.first.tick
    return Pools(
        whole, first, second, float(pair.bytes[go].sum()) * deployment.split.tp, float(seconds.mean()),
        float(waited.mean()) if waited.size else 0.0, float(seconds.sum()) / first.paid_s, stall / first.paid_s,
    )  # fmt: skip


def _joined(traffic: Traffic, first: Records, second: Records, go: Array) -> tuple[Records, tuple[Records, Records]]:
    """Records of both pools as one, and each pool's; all are paid for until the same end."""
    last = np.where(traffic.output > 1, np.nan, first.last)
    last[go] = second.last
    owed, joules, again = first.owed.copy(), first.joules.copy(), np.array(first.again)
    owed[go] += second.owed
    joules[go] += second.joules
    again[go] += second.again
    end = max(first.paid_s / first.lanes, second.paid_s / second.lanes)
    timelines = [_even(r.timeline, r.paid_s / r.lanes, end) for r in (first, second)]
    first, second = (
        replace(r, paid_s=end * r.lanes, timeline=t) for r, t in zip((first, second), timelines, strict=True)
    )
    counts = {name: n + second.counts[name] for name, n in first.counts.items()}
    counts["most_blocks"] = max(first.counts["most_blocks"], second.counts["most_blocks"])
    whole = replace(
        first, traffic=traffic, last=last, owed=owed, joules=joules, again=again, paid_s=first.paid_s + second.paid_s,
        busy_s=first.busy_s + second.busy_s, energy=first.energy + second.energy, counts=counts,
        timeline=_sum(first, second), partial=first.partial or second.partial, lanes=first.lanes + second.lanes,
    )  # fmt: skip
    return whole, (replace(first, last=np.where(np.isnan(last), np.nan, first.last)), second)


def _even(t: Timeline, own: float, end: float) -> Timeline:
    """A timeline from 0 to ``own``, over equal stretches from 0 to ``end``, idle after its own."""
    edges = np.minimum(np.arange(t.busy.size + 1) * t.width, own)
    grid = np.linspace(0.0, end, BINS + 1)
    found = [
        np.diff(np.interp(grid, edges, np.concatenate(([0.0], np.cumsum(values * np.diff(edges)))))) / (end / BINS)
        for values in (t.busy, t.batch, t.kv, t.output)
    ]
    return Timeline(end / BINS, *found)


def _sum(first: Records, second: Records) -> Timeline:
    """Both pools' course: shares by lanes, sequences and tokens added."""
    a, b, lanes = first.timeline, second.timeline, first.lanes + second.lanes
    busy, kv = ((x * first.lanes + y * second.lanes) / lanes for x, y in ((a.busy, b.busy), (a.kv, b.kv)))
    return Timeline(a.width, busy, a.batch + b.batch, kv, a.output + b.output)
