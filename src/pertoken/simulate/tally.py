"""Totals of a run whose requests are handed out part by part: sums are exact, percentiles come from a histogram.

References
----------
.. [1] Masson, Rim and Lee 2019, DDSketch, VLDB 12(12), arXiv:1908.10693 (buckets of equal ratio bound the relative error).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.serving.workload import Goals
from pertoken.simulate.bill import Billed
from pertoken.simulate.records import KINDS, PERCENTILES, Records, whole
from pertoken.simulate.stream import Stream

Array = NDArray[Any]
ERROR = 0.002  # of percentiles, at most
RATIO = (1.0 + ERROR) / (1.0 - ERROR)  # of a bucket's end to its beginning [1]_
LOW, HIGH = 1e-12, 1e12  # what is below or above goes to the first or last bucket
BUCKETS = math.ceil(math.log(HIGH / LOW) / math.log(RATIO)) + 1
LATENCIES = ("ttft", "tpot", "e2e")


class Sketch:
    """Mean, and percentiles to ``ERROR``, of numbers from 0 up, in memory that does not grow."""

    def __init__(self) -> None:
        self.counts = np.zeros(BUCKETS + 1, dtype=np.int64)  # the first of zeros
        self.size, self.sum, self.least, self.most = 0, 0.0, math.inf, -math.inf

    def add(self, values: Array) -> None:
        """Count numbers in; NaN makes the mean and all percentiles NaN."""
        if not values.size:
            return
        self.size += values.size
        self.sum += float(values.sum())
        if np.isnan(self.sum):
            return
        self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))
        at = np.floor(np.log(np.maximum(values, LOW) / LOW) / math.log(RATIO)).astype(np.int64)
        at = np.where(values > 0, np.minimum(at, BUCKETS - 1) + 1, 0)
        self.counts += np.bincount(at, minlength=self.counts.size)

    @property
    def spread(self) -> dict[str, float]:
        """Mean and percentiles; NaN of nothing."""
        if not self.size or np.isnan(self.sum):
            return {"mean": float("nan")} | {f"p{p:g}": float("nan") for p in PERCENTILES}
        upto = np.cumsum(self.counts)
        found = {"mean": self.sum / self.size}
        for p in PERCENTILES:
            rank = (self.size - 1) * p / 100.0
            low, high = (
                self._value(int(np.searchsorted(upto, r, side="right"))) for r in (math.floor(rank), math.ceil(rank))
            )
            found[f"p{p:g}"] = low + (high - low) * (rank - math.floor(rank))
        return found

    def _value(self, bucket: int) -> float:
        """The number at most ``ERROR`` away from all of a bucket."""
        value = LOW * RATIO ** (bucket - 1) * (1.0 + ERROR) if bucket else 0.0
        return min(max(value, self.least), self.most)


class Tally:
    """Sums and sketches of requests.

    Parameters
    ----------
    goals : Goals
        Of single requests.
    """

    def __init__(self, goals: Goals) -> None:
        self.goals, self.answered, self.within, self.end = goals, 0, 0, 0.0
        self.tokens = dict.fromkeys(KINDS, 0)
        self.owed, self.joules, self.usd = np.zeros(3), np.zeros(2), np.zeros(3)
        self.sketches: dict[str, Sketch] = {}

    def add(self, billed: Billed) -> None:
        """Count a part in."""
        r = billed.records
        self.owed += r.owed_sums
        self.joules += billed.joules_sums
        self.usd += billed.usd_sums
        if not r.answered:
            return
        self.answered += r.answered
        self.within += r.within(self.goals)
        self.end = max(self.end, float(np.nanmax(r.last)))
        for name, count in r.tokens.items():
            self.tokens[name] += count
        for name, values in ({name: getattr(r, name) for name in LATENCIES} | billed.each).items():
            self.sketches.setdefault(name, Sketch()).add(values)

    def spread(self, name: str) -> dict[str, float]:
        """Mean and percentiles."""
        return self.sketches.get(name, Sketch()).spread


@dataclass(frozen=True)
class Streamed(Records):
    """Records whose requests have been handed out: what is left are totals. Arrays are empty.

    Parameters
    ----------
    tally : Tally
        Sums of the requests.
    sent : int
        Requests that were sent.
    """

    tally: Tally = Tally(Goals())  # noqa: RUF009 - never the default: fields before it have some
    sent: int = 0

    @classmethod
    def ended(cls, run: Stream, tally: Tally, partial: bool) -> Streamed:
        """What a run comes to."""
        none = np.zeros(0)
        arrays: dict[str, Any] = dict.fromkeys(("arrival", "first", "last", "hit", "again", "where"), none)
        arrays |= {"owed": np.zeros((0, 3)), "joules": np.zeros((0, 2))}
        return cls(run.deployment, run.held, **arrays, **whole(run), partial=partial, tally=tally, sent=run.sent)

    @property
    def error(self) -> float:
        """Relative error of percentiles, at most."""
        return ERROR

    @property
    def answered(self) -> int:
        """How many requests were answered."""
        return self.tally.answered

    @property
    def end(self) -> float:
        """When the last answer ended [s]."""
        return self.tally.end if self.answered else float(self.timeline.width * self.timeline.busy.size)

    def within(self, goals: Goals) -> int:
        """How many answered requests met both goals, which are those of the tally."""
        assert goals == self.tally.goals
        return self.tally.within

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens of answered requests by kind."""
        return self.tally.tokens

    @property
    def owed_sums(self) -> Array:
        """Lane-seconds owed by input, cached and output tokens of all requests [s]."""
        return self.tally.owed

    def spread(self, name: str) -> dict[str, float]:
        """Mean and percentiles of ``ttft``, ``tpot`` or ``e2e`` [s]."""
        return self.tally.spread(name)


@dataclass(frozen=True)
class BilledStream(Billed):
    """A streamed run with its money and energy."""

    records: Streamed

    @property
    def joules_sums(self) -> Array:
        """Joules of the accelerators for all requests, by input and output tokens [J]."""
        return self.records.tally.joules

    @property
    def usd_sums(self) -> Array:
        """Dollars of all requests, by input, cached and output tokens [$]."""
        return self.records.tally.usd

    @property
    def spread(self) -> dict[str, dict[str, float]]:
        """Mean and percentiles of requests that were answered."""
        return {name: self.records.spread(name) for name in ("input", "cached", "output", "usd", "joules")}
