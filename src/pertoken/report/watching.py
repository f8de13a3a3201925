"""A watch as lines of a terminal."""

from __future__ import annotations

import math
from typing import Any

from pertoken.measure.watch import KINDS, Window
from pertoken.report.measure import finite
from pertoken.units import format_money

HEADS = [
    "",
    "input/s",
    "cached/s",
    "output/s",
    "running",
    "waiting",
    "busy",
    "idle $",
    "$/M input",
    "$/M cached",
    "$/M output",
    "$/M all",
]
WIDTHS = [8, 9, 9, 9, 7, 7, 5, 9, 10, 10, 10, 9]


def line(cells: list[str]) -> str:
    """Cells in columns that stay where they are from line to line."""
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))


def head() -> str:
    """The line above."""
    return line(HEADS)


def _number(value: float, form: str = ",.0f") -> str:
    return "" if math.isnan(value) else format(value, form)


def _price(value: float) -> str:
    return "" if math.isnan(value) else format_money(value)


def row(window: Window, when: str) -> str:
    """A window in one line; what is not known is left blank."""
    rates = [_number(window.rate(kind), ",.4g") if kind in window.tokens else "" for kind in KINDS]
    money = window.usd > 0
    idle = _price(window.usd_of["idle"]) if money else ""
    prices = [_price(window.per_million(kind)) if money else "" for kind in KINDS]
    return line([when, *rates, _number(window.running, ".1f"), _number(window.waiting, ".1f"), _number(window.busy, ".0%"), idle,
                 *prices, _price(window.blended) if money else ""])  # fmt: skip


def as_dict(window: Window) -> dict[str, Any]:
    """For JSON, SI units; unknown is None."""
    return {
        "seconds": window.seconds, "tokens": dict(window.tokens), "utilisation": finite(window.busy), "looks": window.looks,
        "running": finite(window.running), "waiting": finite(window.waiting), "usd": window.usd, "usd_of": dict(window.usd_of),
        "usd_per_million": {kind: finite(window.per_million(kind)) for kind in KINDS} | {"all": finite(window.blended)},
    }  # fmt: skip
