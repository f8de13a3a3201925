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
        tick, n = run.tick, run.traffic.size

        def times(found: Any) -> Array:
            whole = np.asarray(found, dtype=np.int64)
            return np.where(whole >= NEVER, np.nan, whole * tick)

        if partial:
            _settle_all(run)
        z, g = np.asarray(run.lanes.z, dtype=np.int64), np.asarray(run.lanes.g)
        q, f = np.asarray(run.requests.n), np.asarray(run.requests.f)
        first, last, owed = times(q[:, FIRST]), times(q[:, LAST]), f[:, OWED:]
        delay = run.deployment.profile.request_delay.value
        arrival = q[:, ARRIVAL] * tick - delay
        unsent = np.isnan(run.traffic.arrival) & np.isnan(first)
        arrival = np.where(np.isnan(run.traffic.arrival), arrival, run.traffic.arrival)
        end = int(z[:, CLOCK].max()) if n else 0
        names = {"steps": STEPS, "preempted": PREEMPTED, "prefilled": PREFILLED, "decoded": DECODED, "finished_prompts": EMITTED,
                 "recomputed": LOST, "most_blocks": MOST_HELD}  # fmt: skip
        counts = {name: int(z[:, at].max() if name == "most_blocks" else z[:, at].sum()) for name, at in names.items()}
        return cls(
            run.deployment, run.traffic, np.where(unsent, np.nan, arrival), first, last,
            np.maximum(q[:, HIT], 0), q[:, AGAIN], _lanes_of(run), owed[:, :3] * tick, owed[:, 3:],
            paid_ticks(run, end) * tick, float(z[:, BUSY].sum() * tick), float(g[:, JOULES].sum()), counts,
            timeline_of(run, z), partial, int(run.refused.size), len(z),
        )  # fmt: skip

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

    def goodput(self, goals: Goals) -> float:
        """Answered requests that met both goals, a second [1/s]."""
        own = np.zeros(self.done.sum())
        many = self.traffic.output[self.done] > 1
        own[many] = self.tpot
        return float(((self.ttft <= goals.ttft) & (own <= goals.tpot)).sum() / self.end)

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

    @cached_property
    def accelerator_s(self) -> dict[str, float]:
        """Accelerator-seconds by who owes them; with ``idle`` they are all that is paid for [s]."""
        tp = self.deployment.split.tp
        found = {name: float(self.owed[:, k].sum()) * tp for k, name in enumerate(KINDS)}
        return found | {"idle": (self.paid_s - self.busy_s) * tp}

    @property
    def paid_accelerator_s(self) -> float:
        """Accelerator-seconds that are paid for [s]."""
        return self.paid_s * self.deployment.split.tp

    def percentiles(self, values: Array) -> dict[str, float]:
        """Mean and percentiles; NaN of nothing."""
        if not values.size:
            return {"mean": float("nan")} | {f"p{p:g}": float("nan") for p in PERCENTILES}
        at = np.percentile(values, PERCENTILES)
        return {"mean": float(values.mean())} | {f"p{p:g}": float(v) for p, v in zip(PERCENTILES, at, strict=True)}


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
    follow = run.traffic.follow
    if follow.size:
        for i in np.flatnonzero(follow >= 0):
            where[follow[i]] = where[i]
    return where


def _settle_all(run: Run) -> None:
    """Charge requests that still decode, so that a partial result adds up too."""
    q = run.requests
    for r in range(len(run.lanes.z)):
        lane = Lane(*(rows[r] for rows in run.lanes))
        for i in lane.z[RING : run.policy.phases]:
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
