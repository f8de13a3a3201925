"""Prefill and decode on pools of their own: the first pool's answers are the second's traffic, once their KV has moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.money.energy import Draw
from pertoken.simulate.records import Records, Timeline
from pertoken.simulate.run import Cluster, capacity, simulate
from pertoken.simulate.state import BINS
from pertoken.simulate.traffic import Traffic

Array = NDArray[Any]


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
    transfer_s : float
        Mean time that took a request [s].
    sending : float
        Share of the time in which an accelerator of the first pool sends.
    waiting : float
        Most KV that waited for the second pool at once, over the KV memory of the first, which is not held up by it.
    """

    whole: Records
    prefill: Records
    decode: Records | None
    moved_bytes: float
    transfer_s: float
    sending: float
    waiting: float


def simulate_pools(
    deployment: Deployment,
    traffic: Traffic,
    prefill: Cluster,
    decode: Cluster,
    draw: Draw | None = None,
    progress: Callable[[float], None] | None = None,
) -> Pools:
    """Serve traffic on two pools.

    The decode pool never holds the prefill pool up, which frees a prompt's KV as soon as its first token is out. KV moves
    over the network of all accelerators of a lane at once, each its own part, and whatever else moves.

    Raises
    ------
    PertokenError
        For requests that follow others, whose arrivals the second pool would decide, and for pools that grow and shrink.
    """
    if traffic.closed:
        raise PertokenError("separate pools have no closed loop or conversations; give arrivals, such as --rps")
    if prefill.crowd or decode.crowd:
        raise PertokenError("replicas of separate pools all run; leave --crowd out")
    halves = [(lambda s, k=k: progress((k + s) / 2.0)) if progress else None for k in range(2)]
    single = replace(traffic, output=np.ones_like(traffic.output))
    first = simulate(deployment, single, prefill, draw, halves[0])
    each = np.asarray(deployment.sequence_bytes(traffic.input.astype(float)), dtype=float) * deployment.split.pp
    seconds = each / deployment.fabric.network
    go = np.flatnonzero((traffic.output > 1) & first.done)
    ready = first.last[go] + seconds[go]
    order = np.argsort(ready, kind="stable")
    go = go[order]
    if not go.size:  # the second pool is paid for all the same
        more = decode.replicas * deployment.split.lanes
        paid = first.paid_s * (1.0 + more / first.lanes)
        whole = replace(first, traffic=traffic, paid_s=paid, lanes=first.lanes + more)
        return Pools(whole, first, None, 0.0, 0.0, 0.0, 0.0)
    level = traffic.level[go] if traffic.level.size else traffic.level
    later = Traffic(ready[order], traffic.input[go], traffic.output[go], traffic.origin, level)
    second = simulate(deployment, later, decode, draw, halves[1], ready=True)
    whole, (first, second) = _joined(
        traffic, first, replace(second, traffic=replace(later, output=later.output - 1)), go
    )
    memory = capacity(deployment, single, prefill.block) * prefill.block * first.lanes
    return Pools(
        whole, first, second, float(each[go].sum()) * deployment.split.tp, float(seconds[go].mean()),
        float(seconds[go].sum()) / first.paid_s, _peak(whole.first[go], second.first, traffic.input[go]) / memory,
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
        timeline=_sum(first, second), partial=first.partial or second.partial, refused=first.refused + second.refused,
        lanes=first.lanes + second.lanes,
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


def _peak(since: Array, until: Array, tokens: Array) -> float:
    """Most tokens that are held at once; what never ends is left out."""
    keep = np.isfinite(until)
    when = np.concatenate((since[keep], until[keep]))
    change = np.concatenate((tokens[keep], -tokens[keep].astype(np.int64)))
    order = np.lexsort((change, when))
    return float(max(0, np.cumsum(change[order]).max(initial=0)))
