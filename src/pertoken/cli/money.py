"""What the command adds to money: the day, ranges of inputs, and warnings of old prices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pertoken.errors import PertokenError

if TYPE_CHECKING:
    from pertoken.cost import Cost
    from pertoken.report.uncertainty import Range, Tornado

UTILISATION = (0.5, 1.5)  # of the value, cut at 1: an assumption
INPUT = (0.5, 2.0)  # of every input's length: an assumption


def priced(cases: Sequence[Mapping[str, Any]]) -> list[Cost]:
    """Answers of all cases; where rates are compared and no machine is named, on one that all of them know."""
    from pertoken.scenario import price

    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, case in enumerate(cases):
        groups.setdefault(tuple(sorted((k, str(v)) for k, v in case.items() if k != "rate")), []).append(i)
    found: dict[int, Cost] = {}
    for group in groups.values():
        costs = [price(**cases[i]) for i in group]
        if len(group) > 1 and "on" not in cases[group[0]]:
            costs = _together([cases[i] for i in group], costs)
        found |= dict(zip(group, costs, strict=True))
    return [found[i] for i in range(len(cases))]


def _together(cases: Sequence[Mapping[str, Any]], alone: list[Cost]) -> list[Cost]:
    """The cases on one machine, the first of those chosen alone that every rate knows; else as they are."""
    from pertoken.scenario import price

    machines = dict.fromkeys(str(cost.scenario["on"]) for cost in alone)
    for on in machines if len(machines) > 1 else ():
        try:
            costs = [price(**{**case, "on": on}) for case in cases]
        except PertokenError:
            continue
        note = f"machine {on}: the cheapest at one of the rates, and known to all of them"
        return [replace(cost, assumed=(note, *cost.assumed)) for cost in costs]
    return alone


def parse_day(text: str | None) -> dt.date:
    """``2026-11-22``, or the clock's day where none is given.

    Raises
    ------
    PertokenError
        When it is no date.
    """
    if not text:
        return dt.datetime.now(tz=dt.UTC).date()
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise PertokenError(f"--today is {text[:40]!r}; write a date such as 2026-11-22") from error


def warnings(costs: Sequence[Cost], today: dt.date) -> list[str]:
    """A sentence for each rate that rests on old prices."""
    from pertoken.catalog.rates import warning

    return [s for s in dict.fromkeys(warning(cost.rate, today) for cost in costs if cost.rate) if s]


def parse_ranges(given: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Read ``utilisation=0.3:0.8`` and the like.

    Raises
    ------
    PertokenError
        When it is none.
    """
    found = {}
    for text in given:
        name, _, ends = text.partition("=")
        low, _, high = ends.partition(":")
        try:
            found[name.strip().replace("_", " ")] = (float(low), float(high))
        except ValueError as error:
            raise PertokenError(
                f"--range is {text[:60]!r}; write NAME=LOW:HIGH, such as utilisation=0.3:0.8 or rate=1.5:4 ($/accelerator-hour)"
            ) from error
    return found


def ranges(cost: Cost, given: dict[str, tuple[float, float]]) -> dict[str, Range]:
    """What to vary: residuals and rents as known, the rest as given or assumed."""
    from pertoken.catalog.site import pue_range
    from pertoken.report.uncertainty import Range, default_ranges
    from pertoken.units import HOUR

    found = default_ranges(cost)
    if cost.workload.mode in ("saturated", "concurrency"):
        u = cost.paid_share
        found["utilisation"] = Range(
            u * UTILISATION[0], min(1.0, u * UTILISATION[1]), "half to 1.5 times, at most 1; assumed"
        )
    found["input"] = Range(*INPUT, "inputs of half to twice the length; assumed")
    low, high, where = pue_range()
    if cost.site.pue.value > 1.0 and low <= cost.site.pue.value <= high:
        found["pue"] = Range(low, high, where)
    for name, (start, end) in given.items():
        unit = cost.rate.usd_per_second * HOUR if name == "rate" and cost.rate else 1.0
        found[name] = Range(start / unit, end / unit, "as given")
    return found


def uncertainty(cost: Cost, given: Sequence[str]) -> Tornado:
    """The tornado of an answer."""
    from pertoken.report.uncertainty import tornado

    return tornado(cost, ranges(cost, parse_ranges(given)))
