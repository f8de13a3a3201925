"""The highest rate that meets the goals, by bisection over runs."""

from __future__ import annotations

from collections.abc import Callable

from pertoken.errors import PertokenError
from pertoken.serving.workload import Goals
from pertoken.simulate.records import Records
from pertoken.units import format_seconds

WITHIN = 0.01  # of the rate
SHARE = 0.99  # of requests that must meet the goals


def meets(records: Records, goals: Goals, share: float = SHARE) -> bool:
    """Whether so large a share of the requests sent met both goals."""
    return records.goodput(goals) * records.end >= share * records.traffic.size


def max_rate(
    run: Callable[[float], Records],
    guess: float,
    goals: Goals,
    share: float = SHARE,
    tell: Callable[[str], None] | None = None,
) -> tuple[float, Records]:
    """The highest rate at which ``share`` of requests meet the goals, to 1%, and its run.

    Parameters
    ----------
    run : callable
        Serves the traffic at a rate [1/s]. Seeds must not change between rates.
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
        When a thousandth of the guess does not meet them either.
    """
    low, high, best = 0.0, 0.0, None
    rate = guess
    for _ in range(60):
        found = run(rate)
        good = meets(found, goals, share)
        if tell:
            tell(f"{rate:.4g}/s {'meets' if good else 'misses'} the goals")
        if good:
            low, best = rate, found
        else:
            high = rate
        if found.partial:
            break
        if low and high and high / low - 1.0 < WITHIN:
            break
        rate = (low + high) / 2.0 if low and high else low * 1.5 if low else high / 2.0
        if rate < guess / 1000.0:
            break
    if best is None:
        raise PertokenError(
            f"no rate down to {rate:.4g}/s has {share:.0%} of requests within TTFT {format_seconds(goals.ttft)} and TPOT"
            f" {format_seconds(goals.tpot)}; raise --ttft or --tpot, or use more or faster accelerators"
        )
    return low, best
