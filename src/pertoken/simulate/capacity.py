"""The highest rate that meets the goals, by bisection over runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pertoken.errors import PertokenError
from pertoken.serving.workload import Goals
from pertoken.simulate.records import Records
from pertoken.units import format_seconds

WITHIN = 0.01  # of the rate
SHARE = 0.99  # of requests that must meet the goals
FACTOR = 1000.0  # how far from the guess a rate is looked for
Found = TypeVar("Found")


@dataclass(frozen=True)
class Highest:
    """What a search found.

    Parameters
    ----------
    rate : float
        The highest rate that was seen to meet the goals [1/s].
    share : float
        Of requests that had to meet them.
    within : float
        How far above it a rate was seen to miss them, over it; infinite where the search was ended before.
    """

    rate: float
    share: float
    within: float


def meets(records: Records, goals: Goals, share: float = SHARE) -> bool:
    """Whether so large a share of the requests sent met both goals."""
    return records.goodput(goals) * records.end >= share * records.traffic.size


def max_rate(
    run: Callable[[float], Found],
    records: Callable[[Found], Records],
    guess: float,
    goals: Goals,
    share: float = SHARE,
    tell: Callable[[str], None] | None = None,
) -> tuple[Highest, Found]:
    """The highest rate at which ``share`` of requests meet the goals, to 1%, and its run.

    Parameters
    ----------
    run : callable
        Serves the traffic at a rate [1/s]. Seeds must not change between rates.
    records : callable
        What became of every request, of what ``run`` returns.
    guess : float
        Where to begin [1/s].
    goals : Goals
        What requests must meet.
    share : float
        Of the requests.
    tell : callable, optional
        Told what is being tried.

    Raises
    ------
    PertokenError
        When a thousandth of the guess does not meet them either, or a thousand times the guess does.
    KeyboardInterrupt
        When a run was ended early and none before met the goals; else the best so far is returned.
    """
    low, high, best = 0.0, 0.0, None
    rate = guess
    while guess / FACTOR <= rate <= guess * FACTOR:
        found = run(rate)
        if records(found).partial:
            if best is None:
                raise KeyboardInterrupt
            break
        good = meets(records(found), goals, share)
        if tell:
            tell(f"{rate:.4g}/s {'meets' if good else 'misses'} the goals")
        if good:
            low, best = rate, found
        else:
            high = rate
        if low and high and high / low - 1.0 < WITHIN:
            break
        rate = (low + high) / 2.0 if low and high else low * 1.5 if low else high / 2.0
    what = f"TTFT {format_seconds(goals.ttft)} and TPOT {format_seconds(goals.tpot)}"
    if best is None:
        raise PertokenError(
            f"no rate down to {rate:.4g}/s has {share:.0%} of requests within {what}; raise --ttft or --tpot, or use more or"
            " faster accelerators"
        )
    if rate > guess * FACTOR:
        raise PertokenError(
            f"every rate up to {low:.4g}/s has {share:.0%} of requests within {what}, as {records(best).traffic.size:,} requests"
            " are too few to fill what serves them; raise --requests"
        )
    return Highest(low, share, high / low - 1.0 if high else math.inf), best
