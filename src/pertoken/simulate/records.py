"""What became of every request, and what follows from it: percentiles, goodput, utilisation, and the bill."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pertoken.engine.deployment import Deployment
from pertoken.serving.workload import Goals
from pertoken.simulate.spend import settle
from pertoken.simulate.state import (
    AGAIN,
    ARRIVAL,
    BINS,
    BUSY,
    CLOCK,
    DECODED,
    EMITTED,
    FIRST,
    HISTORY,
    HIT,
    JOULES,
    LAST,
    LATER,
    LOST,
    MOST_HELD,
    NEVER,
    NEXT,
    OWED,
    PREEMPTED,
    PREFILLED,
    RING,
    SAID,
    STEPS,
    WIDTH,
    Lane,
)  # fmt: skip
from pertoken.simulate.traffic import Traffic

if TYPE_CHECKING:
    from pertoken.simulate.run import Run

Array = NDArray[Any]
PERCENTILES = (50.0, 90.0, 95.0, 99.0)
KINDS = ("input", "cached", "output")


@dataclass(frozen=True)
class Timeline:
    """Means over equal stretches of time, over all lanes.

    Parameters
    ----------
    width : float
        Of a stretch [s].
    busy, batch, kv, output : ndarray
        Share of lane time at work; sequences that decode in all; share of the KV memory held; output tokens a second.
    """

    width: float
    busy: Array
    batch: Array
    kv: Array
    output: Array


@dataclass(frozen=True)
class Records:
    """Outcome of a run. Times are seconds from its beginning; NaN where something did not happen.

    Parameters
    ----------
    deployment, traffic : Deployment, Traffic
        What served, and what was sent.
    arrival, first, last : ndarray
        At the service; first and last output token [s].
    hit, again, where : ndarray
        Input tokens found in the prefix cache, times preempted, and lane of each request.
    owed : ndarray, shape (requests, 3)
        Lane-seconds owed by input, cached and output tokens [s].
    joules : ndarray, shape (requests, 2)
        Joules of one accelerator owed by input and output tokens; 0 where no power is known [J].
    paid_s, busy_s : float
        Lane-seconds that are paid for and in which lanes work [s].
    energy : float
        Joules of one accelerator of each lane while working [J].
    counts : mapping
        Steps, tokens and so on of all lanes.
    timeline : Timeline
        Course of the run.
    partial : bool
        Whether the run was ended early.
    refused : int
        Requests larger than the KV memory.
    lanes : int
        Lanes of all replicas.
    """

    deployment: Deployment
    traffic: Traffic
    arrival: Array
    first: Array
    last: Array
    hit: Array
    again: Array
    where: Array
    owed: Array
    joules: Array
    paid_s: float
    busy_s: float
    energy: float
    counts: dict[str, int]
    timeline: Timeline
    partial: bool = False
    refused: int = 0
    lanes: int = 1

    @classmethod
    def of(cls, run: Run, partial: bool) -> Records:
        """Read a run's arrays."""
        if partial:
            settle_all(run)
        return cls(run.deployment, run.held, **outcomes(run, len(run.where)), **whole(run), partial=partial)

    @property
    def error(self) -> float:
        """Relative error of percentiles: none, as every request is kept."""
        return 0.0

    @property
    def sent(self) -> int:
        """Requests that users send."""
        return self.traffic.size

    @property
    def answered(self) -> int:
        """How many requests were answered."""
        return int(self.done.sum())

    @cached_property
    def done(self) -> Array:
        """Requests that were answered."""
        return ~np.isnan(self.last)

    @property
    def end(self) -> float:
        """When the last answer ended [s]."""
        return float(np.nanmax(self.last)) if self.done.any() else float(self.timeline.width * self.timeline.busy.size)

    @cached_property
    def ttft(self) -> Array:
        """Time to first token of answered requests, as their users see it [s]."""
        found: Array = (self.first - self.arrival)[self.done]
        return found

    @cached_property
    def tpot(self) -> Array:
        """Time per later output token of answered requests that have some [s]."""
        keep = self.done & (self.traffic.output > 1)
        found: Array = (self.last - self.first)[keep] / (self.traffic.output[keep] - 1)
        return found

    @cached_property
    def e2e(self) -> Array:
        """Time from arrival to last token of answered requests [s]."""
        found: Array = (self.last - self.arrival)[self.done]
        return found

    def within(self, goals: Goals) -> int:
        """How many answered requests met both goals."""
        own = np.zeros(self.answered)
        many = self.traffic.output[self.done] > 1
        own[many] = self.tpot
        return int(((self.ttft <= goals.ttft) & (own <= goals.tpot)).sum())

    def goodput(self, goals: Goals) -> float:
        """Answered requests that met both goals, a second [1/s]."""
        return self.within(goals) / self.end

    @property
    def utilisation(self) -> float:
        """Lane-seconds at work over those paid for."""
        return self.busy_s / self.paid_s if self.paid_s else 0.0

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens of answered requests by kind."""
        hit = int(self.hit[self.done].sum())
        return {
            "input": int(self.traffic.input[self.done].sum()) - hit,
            "cached": hit,
            "output": int(self.traffic.output[self.done].sum()),
        }

    @property
    def owed_sums(self) -> Array:
        """Lane-seconds owed by input, cached and output tokens of all requests [s]."""
        found: Array = self.owed.sum(axis=0)
        return found

    @cached_property
    def accelerator_s(self) -> dict[str, float]:
        """Accelerator-seconds by who owes them; with ``idle`` they are all that is paid for [s]."""
        tp = self.deployment.split.tp
        found = {name: float(each) * tp for name, each in zip(KINDS, self.owed_sums, strict=True)}
        return found | {"idle": (self.paid_s - self.busy_s) * tp}

    @property
    def paid_accelerator_s(self) -> float:
        """Accelerator-seconds that are paid for [s]."""
        return self.paid_s * self.deployment.split.tp

    def spread(self, name: str) -> dict[str, float]:
        """Mean and percentiles of ``ttft``, ``tpot`` or ``e2e`` [s]."""
        return self.percentiles(getattr(self, name))

    def percentiles(self, values: Array) -> dict[str, float]:
        """Mean and percentiles; NaN of nothing."""
        if not values.size:
            return {"mean": float("nan")} | {f"p{p:g}": float("nan") for p in PERCENTILES}
        at = np.percentile(values, PERCENTILES)
        return {"mean": float(values.mean())} | {f"p{p:g}": float(v) for p, v in zip(PERCENTILES, at, strict=True)}


def outcomes(run: Run, count: int) -> dict[str, Any]:
    """What became of the first ``count`` requests that a run holds, by fields of `Records`."""
    tick, sent = run.tick, run.held.arrival[:count]

    def times(found: Any) -> Array:
        ticks = np.asarray(found, dtype=np.int64)
        return np.where(ticks >= NEVER, np.nan, ticks * tick)

    q, f = np.asarray(run.requests.n)[:count], np.asarray(run.requests.f)[:count]
    first, last, owed = times(q[:, FIRST]), times(q[:, LAST]), f[:, OWED:]
    arrival = q[:, ARRIVAL] * tick - run.deployment.profile.request_delay.value
    unsent = np.isnan(sent) & np.isnan(first)
    arrival = np.where(np.isnan(sent), arrival, sent)
    return {
        "arrival": np.where(unsent, np.nan, arrival), "first": first, "last": last, "hit": np.maximum(q[:, HIT], 0),
        "again": q[:, AGAIN], "where": _lanes_of(run)[:count], "owed": owed[:, :3] * tick, "joules": owed[:, 3:],
    }  # fmt: skip


def whole(run: Run) -> dict[str, Any]:
    """What a run has in sum, by fields of `Records`."""
    tick = run.tick
    z, g = np.asarray(run.lanes.z, dtype=np.int64), np.asarray(run.lanes.g)
    names = {"steps": STEPS, "preempted": PREEMPTED, "prefilled": PREFILLED, "decoded": DECODED, "finished_prompts": EMITTED,
             "recomputed": LOST, "most_blocks": MOST_HELD}  # fmt: skip
    return {
        "paid_s": paid_ticks(run, int(z[:, CLOCK].max())) * tick, "busy_s": float(z[:, BUSY].sum() * tick),
        "energy": float(g[:, JOULES].sum()), "timeline": timeline_of(run, z), "refused": run.refused, "lanes": len(z),
        "counts": {name: int(z[:, at].max() if at == MOST_HELD else z[:, at].sum()) for name, at in names.items()},
    }  # fmt: skip


def paid_ticks(run: Run, end: int) -> int:
    """Lane time that is paid for: of every replica from its start to its stop, or to the end of the run."""
    per = run.scale.per_replica
    total = 0
    for k in range(len(run.up)):
        total += int(run.paid[k])
        if run.up[k] < NEVER:
            total += max(0, end - int(run.since[k]))
    return total * per


def _lanes_of(run: Run) -> Array:
    """Lane of each request; those that follow others are where these were."""
    where = np.asarray(run.where, dtype=np.int32).copy()
    follow = run.held.follow
    for i in np.flatnonzero(follow >= 0):
        if where[follow[i]] == LATER:
            where[follow[i]] = where[i]
    return where


def settle_all(run: Run) -> None:
    """Charge requests that still decode, so that a partial result adds up too."""
    q = run.requests
    for r in range(len(run.lanes.z)):
        lane = Lane(*(rows[r] for rows in run.lanes))
        for i in lane.z[RING : run.policy.phases]:  # counts by phase come after
            while i >= 0:
                run.code(settle)(q, lane, i)
                i = q.n[i][NEXT]  # noqa: PLW2901


def timeline_of(run: Run, z: Array) -> Timeline:
    """Histories of all lanes on one scale."""
    bins = np.asarray(run.lanes.g)[:, HISTORY:SAID].reshape(len(z), BINS, 4)
    widest = int(z[:, WIDTH].max())
    total = np.zeros((BINS, 4))
    for lane, width in zip(bins, z[:, WIDTH], strict=True):
        ratio = widest // int(width)
        folded = np.zeros((BINS, 4))
        np.add.at(folded, np.arange(BINS) // ratio, lane)
        total += folded
    end = int(z[:, CLOCK].max())
    count = max(1, min(BINS, -(-end // widest)))
    total = total[:count]
    spans = np.full(count, float(widest))
    spans[-1] = max(1.0, end - (count - 1) * widest)
    lanes, capacity = len(z), max(1, run.policy.capacity)
    return Timeline(
        widest * run.tick, total[:, 0] / spans / lanes, total[:, 1] / spans, total[:, 2] / spans / lanes / capacity,
        total[:, 3] / (spans * run.tick),
    )  # fmt: skip
