"""A run that holds only requests under way: those before the first that is not answered are handed out and forgotten.

Requests are taken in parts, and indices that the loop keeps (queues, ends, what runs) shift when the first requests go. The
loop is the same and makes the same steps, so what it says of a request is what it says where all are held.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.money.energy import Draw
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.drawn import Parts, Take
from pertoken.simulate.records import Records, outcomes, settle_all
from pertoken.simulate.run import MOST_TICKS, Run, _drive, tick_of
from pertoken.simulate.state import (
    COMING,
    COMING_LAST,
    HEAP,
    LAST,
    MASK,
    NEVER,
    NEWER,
    NEXT,
    NONE,
    OLDER,
    ORDERED,
    PARTIAL,
    PREVIOUS,
    RING,
    STACK,
    TOO_LARGE,
    Array,
)
from pertoken.simulate.traffic import Traffic

PART = 100_000  # requests taken at once, above the slices in which a run is driven
Sink = Callable[[Records], None]
OF_REQUEST = [NEXT, PREVIOUS, NEWER, OLDER]  # what a request says of others
OF_LANE = [PARTIAL, COMING, COMING_LAST, HEAP, ORDERED]  # and a lane, besides its lists


class Stream(Run):
    """A run that takes its traffic in parts.

    Parameters
    ----------
    deployment, cluster, draw, tick
        As of `Run`.
    source : Parts
        What users send.
    sink : callable
        Given records of requests in order of arrival, without what is known of the whole run alone.
    part : int
        Requests taken at once.
    """

    traffic: Parts

    def __init__(
        self, deployment: Deployment, source: Parts, cluster: Cluster, draw: Draw | None, tick: float, sink: Sink,
        part: int = PART,
    ) -> None:  # fmt: skip
        if cluster.prefix_cache:
            raise PertokenError("--stream forgets prompts, and --reuse-prefixes keeps them; leave one out")
        self.sink, self.part, self.unsent = sink, part, source.size
        self.take: Take = source.begin()
        super().__init__(deployment, source, cluster, draw, tick)

    def _begin(self) -> int:
        self.refused = 0
        self._extend(0)
        return self.traffic.extent.longest - 1

    def _extend(self, least: int) -> None:
        """Take more requests than ``least``, and as many as are held, so that moving them costs little in a long queue."""
        size = len(self.where) if self.unsent < self.traffic.size else 0
        count = min(self.unsent, max(self.part, least + 1, size))
        self.unsent -= count
        more = self.take(count)
        where, _ = self._places(more)
        q = self._requests(more)
        n, f = np.asarray(q.n), np.asarray(q.f)
        if size:
            n, f = np.concatenate((np.asarray(self.requests.n), n)), np.concatenate((np.asarray(self.requests.f), f))
            where = np.concatenate((np.asarray(self.where, dtype=np.int32), where))
            more = _joined(self.held, more)
        self.requests = q._replace(n=self.boxed(n), f=self.boxed(f))
        self.where, self.held = self.boxed(where), more

    def drive(self, slice_: int) -> float:
        """As of `Run`, with more requests taken where those held do not reach beyond the slice."""
        if self.unsent and self.done + slice_ >= len(self.where):
            n = np.asarray(self.requests.n)[: self.done]
            open_ = np.flatnonzero((n[:, LAST] == NEVER) & (np.asarray(self.where[: self.done]) != TOO_LARGE))
            self._hand_out(int(open_[0]) if open_.size else self.done)
            self._extend(slice_)
        return super().drive(slice_)

    def _hand_out(self, count: int) -> None:
        """Give the first ``count`` requests to the sink, and forget them."""
        if not count:
            return
        self.refused += int((np.asarray(self.where[:count]) == TOO_LARGE).sum())
        gone = self.held.part(0, count)
        empty = {"paid_s": 0.0, "busy_s": 0.0, "energy": 0.0, "counts": {}, "timeline": None}
        self.sink(Records(self.deployment, gone, **outcomes(self, count), **empty))  # type: ignore[arg-type]
        n, z = np.asarray(self.requests.n)[count:].copy(), np.asarray(self.lanes.z)
        n[:, OF_REQUEST] = _shifted(n[:, OF_REQUEST], count)
        z[:, OF_LANE] = _shifted(z[:, OF_LANE], count)
        lists = slice(STACK, RING + int(z[0, MASK]) + 1)
        z[:, lists] = _shifted(z[:, lists], count)
        f = np.asarray(self.requests.f)[count:].copy()
        self.requests = self.requests._replace(n=self.boxed(n), f=self.boxed(f))
        self.lanes = self.lanes._replace(z=self.boxed(z))
        self.where = self.boxed(np.asarray(self.where, dtype=np.int32)[count:].copy())
        if count < self.held.size:
            self.held = self.held.part(count, self.held.size)
        self.done -= count
        self.first += count
        self.policy = self.policy._replace(first=self.first)

    def finish(self, partial: bool) -> None:
        """Hand out all requests that were sent; where the run was ended early, with what those that decode owe so far."""
        if partial:
            settle_all(self)
        self._hand_out(self.done)

    @property
    def sent(self) -> int:
        """Requests that were sent until now."""
        return self.first + self.done


def _shifted(found: Array, count: int) -> Array:
    """Indices of requests when the first ``count`` are gone; what points at these is read no more."""
    return np.where(found >= count, found - count, NONE)


def _joined(a: Traffic, b: Traffic) -> Traffic:
    both = ((getattr(a, name), getattr(b, name)) for name in ("arrival", "input", "output", "level"))
    arrival, inputs, outputs, level = (np.concatenate(pair) for pair in both)
    return Traffic(arrival, inputs, outputs, a.origin, level)


def stream(
    deployment: Deployment,
    source: Parts,
    sink: Sink,
    cluster: Cluster | None = None,
    draw: Draw | None = None,
    progress: Callable[[float], None] | None = None,
    part: int = PART,
) -> tuple[Stream, bool]:
    """Serve traffic in parts; the run, and whether it was ended early.

    Parameters
    ----------
    deployment, cluster, draw, progress
        As of `pertoken.simulate.run.simulate`.
    source, sink, part
        As of `Stream`.

    Raises
    ------
    PertokenError
        As `Run`; for prefix caches; and where serving takes much longer than sending.
    """
    run, partial = (
        Stream(deployment, source, cluster or Cluster(), draw, tick_of(source.extent.span), sink, part),
        False,
    )
    try:
        _drive(run, progress)
    except KeyboardInterrupt:
        partial = True
    if run.clock >= MOST_TICKS:
        raise PertokenError(
            f"serving takes more than {2.0**61 * run.tick / 86400.0:,.0f} days, and requests are sent in"
            f" {source.extent.span / 86400.0:,.1f}; use a lower rate, or leave --stream out"
        )
    run.finish(partial)
    return run, partial
