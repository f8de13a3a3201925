"""A Run is what a load generator found over one run: lengths, times and tokens per second, whichever tool measured it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pertoken.errors import PertokenError

UNSTATED = math.nan
MOST = 1e15  # larger than any count, time or rate that a result file can mean
SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "microseconds": 1e-6,
           "ns": 1e-9, "nanoseconds": 1e-9}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run of a load generator. What the file does not state is NaN, or an empty text.

    Parameters
    ----------
    tool : str
        What measured.
    name : str
        Which run of the file.
    model : str
        As the tool names it.
    input, output : float
        Mean tokens of a request, cached ones included [token].
    cached : float
        Of the mean input, found in the prefix cache [token].
    concurrency, rate : float
        Requests in flight; requests/s where arrivals were given instead.
    together : float
        Requests that were all sent at once.
    ttft, tpot : float
        Means over requests [s].
    throughput : float
        Output tokens per second of the run [token/s].
    requests, failed : int
        Answered, and not.
    watts : float
        Mean power of all accelerators, where the tool measured it [W].
    date, engine, version : str
        As stated.
    assumed : tuple of str
        What was derived or taken for granted.
    """

    tool: str
    name: str
    model: str = ""
    input: float = UNSTATED
    output: float = UNSTATED
    cached: float = UNSTATED
    concurrency: float = UNSTATED
    rate: float = UNSTATED
    together: float = UNSTATED
    ttft: float = UNSTATED
    tpot: float = UNSTATED
    throughput: float = UNSTATED
    requests: int = 0
    failed: int = 0
    watts: float = UNSTATED
    date: str = ""
    engine: str = ""
    version: str = ""
    assumed: tuple[str, ...] = ()

    @property
    def measured(self) -> dict[str, float]:
        """Figures by metric that the file states [SI]."""
        values = {"ttft": self.ttft, "tpot": self.tpot, "throughput": self.throughput}
        if self.watts > 0 and self.throughput > 0:
            values["energy"] = self.watts / self.throughput
        return {name: value for name, value in values.items() if value > 0}


def at(table: Any, *path: str) -> Any:
    """What a path of keys leads to, or None."""
    for key in path:
        if not isinstance(table, Mapping):
            return None
        table = table.get(key)
    return table


def number(table: Any, *path: str) -> float:
    """The number at a path; NaN where there is none.

    Raises
    ------
    PertokenError
        When it is negative or larger than any measurement.
    """
    value = at(table, *path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return UNSTATED
    if not 0.0 <= value <= MOST:
        raise PertokenError(f"{'.'.join(path)} is {value:g}; it must be from 0 to {MOST:g}: is the file damaged?")
    return float(value)


def first(*values: float) -> float:
    """The first number that is stated."""
    return next((value for value in values if not math.isnan(value)), UNSTATED)


def count(value: float) -> int:
    """A whole number, 0 where it is unstated."""
    return 0 if math.isnan(value) else round(value)


def text(table: Any, *path: str) -> str:
    """The text at a path, at most 200 characters; empty where there is none."""
    value = at(table, *path)
    return value[:200] if isinstance(value, str) else ""


def find(table: Any, key: str, depth: int = 6) -> Any:
    """The first value of a key anywhere in nested tables; None where there is none."""
    if depth == 0 or not isinstance(table, Mapping | list):
        return None
    if isinstance(table, Mapping) and table.get(key) is not None:
        return table[key]
    parts = table.values() if isinstance(table, Mapping) else table[:100]
    return next((found for part in parts if (found := find(part, key, depth - 1)) is not None), None)


def mean(values: Sequence[float]) -> float:
    """Their mean; NaN for none."""
    return math.fsum(values) / len(values) if values else UNSTATED


def in_flight(rate: float, seconds: float) -> tuple[float, tuple[str, ...]]:
    """Mean requests in flight by Little's law, from requests/s and seconds of a request, and the sentence for it."""
    if not (rate > 0 and seconds > 0):
        return UNSTATED, ()
    found = max(1.0, rate * seconds)
    return found, (f"{found:.3g} requests in flight, by Little's law: the file states no concurrency",)
