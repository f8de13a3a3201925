"""Cells of tables of measurements: texts, numbers and counts, or why one cannot be read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from pertoken.errors import PertokenError

UNKNOWN = ("", "n/a", "na", "nan", "none", "null", "unknown", "-", "--", "?")
_WATTS = re.compile(r"(?:avg_power|power_w_avg)=([0-9.]+)")
_COUNT = re.compile(r"x?\s*([0-9]+)\s*(?:x|gpus?|chips?|cards?|accelerators?)?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


class Refused(PertokenError):
    """Why a row cannot be predicted. ``kind`` is ``unstated``, ``unknown``, ``unreadable``, ``unmodelled`` or ``misfit``."""

    def __init__(self, reason: str, kind: str, detail: str = "") -> None:
        super().__init__(reason)
        self.kind = kind
        self.detail = detail


def clean(cell: object) -> str:
    """A cell without spaces at its ends or control characters."""
    return "".join(c for c in str(cell or "")[:20_000] if c.isprintable()).strip()


def number(cells: Mapping[str, str], key: str, low: float, high: float, what: str) -> float | None:
    """The number of a cell, within limits; None when it states none."""
    text = cells.get(key, "")
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if text.lower() in UNKNOWN:
        return None
    if not PLAIN.fullmatch(text):
        raise Refused(f"{key} is not a number in {what}", "unreadable", text[:40])
    value = float(text)
    if not low <= value <= high:
        raise Refused(f"{key} is not within {low:g} to {high:g} {what}: another unit?", "unreadable", text[:40])
    return value


def whole(cells: Mapping[str, str], key: str) -> int | None:
    """The whole number of a cell such as ``8``, ``8x`` or ``8 GPUs``; None when it states none."""
    found = _COUNT.fullmatch(cells.get(key, "").lower())
    value = number({key: found[1]} if found else cells, key, 0, 100_000, "accelerators")
    if value is None or value == 0:  # a size of 0 is how one source writes 'not set'
        return None
    if value != int(value):
        raise Refused(f"{key} is not a whole number", "unreadable", cells[key][:40])
    return int(value)


def optional(pattern: re.Pattern[str], text: str) -> float:
    """The first number that a pattern finds; NaN when there is none or it is 0."""
    found = pattern.search(text)
    if not found:
        return math.nan
    try:
        value = float(next(group for group in found.groups() if group))
    except ValueError:
        return math.nan
    return value * (1e-3 if "e2e_ms" in found[0] else 1.0) or math.nan


def watts(notes: str, count: int) -> float:
    """Mean power of all accelerators [W]; one source writes milliwatts, which no accelerator draws in watts."""
    value = optional(_WATTS, notes)
    return value / 1e3 if value > 5e3 * count else value
