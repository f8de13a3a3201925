"""Many simulations side by side: a row each, means over seeds with confidence intervals, as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pertoken.knobs import KNOBS
from pertoken.report.document import safe_cell
from pertoken.report.text import plain, table
from pertoken.simulate.options import OPTIONS, REFUSED
from pertoken.units import format_money, format_seconds

Row = dict[str, Any]
LEVEL = 0.95  # of confidence
GIVEN = [name for name in (*KNOBS, *OPTIONS) if name not in REFUSED]
FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "max_rate_per_s": ("highest rate", lambda v: f"{v:.4g}/s"), "answered_per_s": ("answered", lambda v: f"{v:.4g}/s"),
    "ttft_mean_s": ("TTFT mean", format_seconds), "ttft_p99_s": ("p99", format_seconds),
    "tpot_mean_s": ("TPOT mean", format_seconds), "tpot_p99_s": ("p99", format_seconds),
    "within_goals": ("in goals", lambda v: f"{v:.1%}"), "input_usd_per_million": ("$/M input", format_money),
    "cached_usd_per_million": ("cached", format_money), "output_usd_per_million": ("output", format_money),
    "idle_share": ("idle", lambda v: f"{v:.1%}"), "usd": ("bill", format_money),
}  # fmt: skip


def given(row: Row, but: Sequence[str] = ()) -> dict[str, Any]:
    """Knobs and options of a case."""
    return {name: row[name] for name in GIVEN if name in row and name not in but}


def varied(rows: Sequence[Row], but: Sequence[str] = ()) -> list[str]:
    """Knobs and options in which cases differ."""
    tables = [given(row, but) for row in rows]
    return [name for name in GIVEN if len({str(found.get(name)) for found in tables}) > 1]


def quantile(freedom: int, level: float = LEVEL) -> float:
    """What Student's t of so many degrees of freedom stays below in size, with this probability.

    By bisection of its distribution in closed form [1]_.

    References
    ----------
    .. [1] Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """

    def inside(angle: float) -> float:
        square, odd = math.cos(angle) ** 2, freedom % 2
        term = total = 1.0
        for k in range(2 + odd, freedom, 2):
            term *= square * (k - 1) / k
            total += term
        if not odd:
            return math.sin(angle) * total
        return 2.0 / math.pi * (angle + (math.sin(angle) * math.cos(angle) * total if freedom > 1 else 0.0))

    low, high = 0.0, math.pi / 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """One row for cases that differ only by seed: of each figure the mean, and half of its confidence interval in ``spread``.

    Rows of one seed have no spread; failed ones are left out. ``cases`` holds the numbers of those that a row is of.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if not row.get("error"):
            groups.setdefault(repr(given(row, ["seed"])), []).append(row)
    found = []
    for same in groups.values():
        n = len(same)
        spread: dict[str, float] = {}
        means = {"cases": [row["case"] for row in same], **given(same[0], ["seed"]), "seeds": n}
        for name, value in same[0].items():
            values = [row.get(name) for row in same]
            numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
            if name in means or name in ("case", "seed") or isinstance(value, str | bool) or len(numbers) < n:
                continue
            means[name] = float(np.mean(numbers))
            if n > 1:
                spread[name] = quantile(n - 1) * float(np.std(numbers, ddof=1)) / math.sqrt(n)
        found.append({**means, "spread": spread})
    return found


def failures(rows: Sequence[Row]) -> list[str]:
    """Why cases have no result, each reason once."""
    why: dict[str, list[int]] = {}
    for row in rows:
        if row.get("error"):
            why.setdefault(row["error"], []).append(row["case"])
    return [
        f"case {of[0]:,}{f' and {len(of) - 1:,} more' if len(of) > 1 else ''}: {error}" for error, of in why.items()
    ]


def _cell(row: Row, name: str) -> str:
    value = row.get(name)
    if value is None:
        return "-"
    shown, spread = FIGURES[name][1](value), row["spread"].get(name)
    if spread is None:
        return shown
    if name in ("within_goals", "idle_share"):
        return f"{shown} ±{spread * 100:.1f}"
    return f"{shown} ±{spread / abs(value):.1%}" if value else shown


def text(rows: Sequence[Row]) -> str:
    """What cases share, and a line for each; for those that differ only by seed one line of their means."""
    shown = varied(rows, ["seed"])
    same = {name: value for name, value in given(rows[0], [*shown, "seed"]).items() if name != "model"}
    means = over_seeds(rows)
    repeated = any(row["seeds"] > 1 for row in means)
    names = [name for name in FIGURES if any(row.get(name) is not None for row in means)]
    heads = [*([] if repeated else ["case"]), *(name.replace("_", " ") for name in shown)]
    lines = [[*heads, *(FIGURES[name][0] for name in names)]]
    for row in means:
        number = [] if repeated else [str(row["cases"][0])]
        lines.append([*number, *(str(row.get(name, "")) for name in shown), *(_cell(row, name) for name in names)])
    failed = failures(rows)
    out = [", ".join([] if "model" in shown else [str(rows[0].get("model", ""))])
           + "".join(f", {name.replace('_', ' ')} {value}" for name, value in same.items()), ""]  # fmt: skip
    out += [line.rstrip() for line in table(lines, [heads.index(h) for h in heads])] if means else []
    if repeated:
        counts = sorted({row["seeds"] for row in means})
        of = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        out += ["", f"means over {of} seeds, ± half of the {LEVEL:.0%} confidence interval (Student's t): of the value in %,"
                " of shares in points"]  # fmt: skip
    if failed:
        out += ["", "without a result:", *failed]
    return plain("\n".join(out).lstrip(", ") + "\n")


def to_csv(rows: Sequence[Row]) -> str:
    """A line for each case."""
    heads = list(dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row))
    edges = [[h for h in (end,) if h in heads] for end in ("case", "error")]
    heads = [*edges[0], *(h for h in heads if h not in ("case", "error")), *edges[1]]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([safe_cell("" if row.get(h) is None else row[h]) for h in heads] for row in rows)
    return out.getvalue()


def to_json(rows: Sequence[Row], partial: bool) -> str:
    """All rows, and their means over seeds where there are several."""
    means = over_seeds(rows)
    more = {"over_seeds": {"level": LEVEL, "rows": means}} if any(row["seeds"] > 1 for row in means) else {}
    return json.dumps({"partial": partial, "cases": rows, **more}, indent=2, allow_nan=False) + "\n"
