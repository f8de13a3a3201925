"""Request lengths from text: fixed numbers, quantiles, ranges, or the columns of a trace."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from pertoken.errors import PertokenError
from pertoken.serving.lengths import MOST_TOKENS, Array, Lengths
from pertoken.units import parse_count

SAMPLES = 64  # points that stand for a distribution
_QUANTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]+)?)=([0-9][0-9_.,]*[kKmM]?)")


def _count(text: str, what: str) -> float:
    try:
        value = parse_count(text, what)
    except PertokenError as error:
        raise PertokenError(
            f"{what} is {text[:60]!r}; write a number from 1 to {MOST_TOKENS:,.0f} tokens, such as 8192,"
            " uniform:800-1024 or p50=1020,p90=2734"
        ) from error
    if not 1 <= value <= MOST_TOKENS:
        raise PertokenError(f"{what} is {text[:60]!r}; it must be from 1 to {MOST_TOKENS:,.0f} tokens")
    return value


def parse_distribution(text: str, what: str) -> Array:
    """Equally likely lengths that a text stands for.

    Parameters
    ----------
    text : str
        ``8192``, ``uniform:800-1024``, or quantiles such as ``p50=1020,p90=2734`` (joined on a log-normal scale, with the
        slope of the outermost pair beyond them).
    what : str
        Used in errors, such as ``--input``.

    Returns
    -------
    ndarray
        One value if fixed, else 64 [token].
    """
    text = str(text).strip()
    if text.startswith("uniform:"):
        ends = text.removeprefix("uniform:").split("-")
        if len(ends) != 2 or not all(ends):
            raise PertokenError(f"{what} is {text[:60]!r}; write uniform:LOW-HIGH, such as uniform:800-1024")
        low, high = (_count(end, what) for end in ends)
        if high < low:
            raise PertokenError(f"{what} is {text[:60]!r}, whose end is below its start; write uniform:LOW-HIGH")
        return low + (high - low) * (np.arange(SAMPLES) + 0.5) / SAMPLES
    if text.startswith("p") and "=" in text:
        return _from_quantiles(text, what)
    return np.array([_count(text, what)])


def _from_quantiles(text: str, what: str) -> Array:
    parts = ["p" + part if i else part for i, part in enumerate(text.split(",p"))]
    found = [_QUANTILE.fullmatch(part.strip()) for part in parts]
    if not all(found) or len(found) < 2:
        raise PertokenError(f"{what} is {text[:60]!r}; write two or more quantiles, such as p50=1020,p90=2734")
    points = sorted((float(m[1]), _count(m[2], what)) for m in found if m)
    if points[0][0] <= 0 or len({p for p, _ in points}) < len(points):
        raise PertokenError(f"{what} is {text[:60]!r}; quantiles must differ and lie between p0 and p100")
    if any(b[1] < a[1] for a, b in pairwise(points)):
        raise PertokenError(f"{what} is {text[:60]!r}; a higher quantile cannot be a shorter length")
    normal = NormalDist()
    z = np.array([normal.inv_cdf(p / 100.0) for p, _ in points])
    logs = np.log([value for _, value in points])
    at = np.array([normal.inv_cdf((i + 0.5) / SAMPLES) for i in range(SAMPLES)])
    values = np.interp(at, z, logs)
    first, last = (logs[1] - logs[0]) / (z[1] - z[0]), (logs[-1] - logs[-2]) / (z[-1] - z[-2])
    values = np.where(at < z[0], logs[0] + first * (at - z[0]), values)
    values = np.where(at > z[-1], logs[-1] + last * (at - z[-1]), values)
    lengths: Array = np.clip(np.exp(values), 1.0, MOST_TOKENS)
    return lengths


def lengths_from_text(input_text: str, output_text: str) -> Lengths:
    """Lengths from two texts; two distributions are taken as independent."""
    inputs, outputs = parse_distribution(input_text, "--input"), parse_distribution(output_text, "--output")
    fixed = inputs.size == outputs.size == 1
    origin = f"input {input_text}, output {output_text}" + ("" if fixed else ", independent of each other")
    return Lengths(np.repeat(inputs, outputs.size), np.tile(outputs, inputs.size), origin)


def lengths_from_rows(rows: Iterable[Sequence[Any]], where: str) -> Lengths:
    """Lengths from the cells of a trace.

    Parameters
    ----------
    rows : iterable of (line, input, output) or (line, input, output, cached)
        Line number for errors, and the cells. Requests that generated nothing are refused like any other length below 1.
    where : str
        Name of the trace.
    """
    inputs, outputs, cached = array("d"), array("d"), array("d")
    for line, first, second, *rest in rows:
        for label, cell, into in (("input", first, inputs), ("output", second, outputs)):
            into.append(_cell(label, cell, where, line, 1.0, MOST_TOKENS))
        if rest:
            cached.append(_cell("cached", rest[0], where, line, 0.0, inputs[-1]))
    if not inputs:
        raise PertokenError(f"{where} has no requests; give a trace with at least one")
    found = np.array(cached) if any(cached) else None
    return Lengths(np.array(inputs), np.array(outputs), f"trace {where}, {len(inputs):,} requests", found)


def _cell(label: str, cell: Any, where: str, line: int, low: float, high: float) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        part = " (cached tokens are part of the input; are columns swapped?)" if label == "cached" else ""
        raise PertokenError(
            f"{where} line {line}: {label} is {str(cell)[:40]!r}; it must be a number from {low:g} to {high:,.0f}{part}"
        )
    return value
