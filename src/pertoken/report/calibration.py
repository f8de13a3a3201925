"""A calibration with own rows as text, JSON, and the file that ``--efficiency`` reads."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pertoken.calibrate.own import Own, Parameter
from pertoken.report.export import toml_value
from pertoken.report.text import plain, table, wrap
from pertoken.units import format_seconds

LABELS = {
    "memory": "share of the memory rate",
    "compute": "share of the arithmetic peak",
    "host_step": "host time a step",
}
METRICS = ("ttft", "tpot", "throughput")
SHORT = {"ttft": "TTFT", "tpot": "TPOT", "throughput": "throughput"}
MOST_ROWS = 60  # of the list of rows in the text


def dates(own: Own) -> str:
    """Days that the fitted rows state, first to last; empty when none does."""
    found = sorted({date for s in own.samples if (date := s.row.cells.get("date", "").strip()[:20])})
    return "" if not found else found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _median(errors: Sequence[float]) -> float:
    return float(np.median(np.abs(errors))) if errors else math.nan


def _figure(own: Own, p: Parameter, value: float) -> str:
    return format_seconds(value) if p.name == "host_step" else f"{min(1.0, float(own.shares[p.name]) * value):.1%}"


def _parameters(own: Own) -> list[str]:
    rows = [["", "ships", "own", "standard error", ""]]
    for p in own.parameters:
        told = math.isfinite(p.error)
        size = format_seconds(p.error) if p.name == "host_step" else f"{p.error / p.value:.1%} of it"
        rows.append(
            [
                LABELS[p.name],
                _figure(own, p, p.before),
                _figure(own, p, p.value) if told else "kept",
                size if told else "",
                f"x {p.value:.3f}" if p.name != "host_step" else "",
            ]
        )
    return table(rows)


def errors(own: Own) -> list[dict[str, Any]]:
    """Median absolute errors of every metric, as shipped, fitted, and each row predicted by a fit without it."""
    found = []
    for fitted in (True, False):
        for m in METRICS:
            before = own.errors(m, own.before, fitted)
            if before:
                found.append(
                    {
                        "metric": m,
                        "fitted": fitted,
                        "figures": len(before),
                        "before": _median(before),
                        "after": _median(own.errors(m, own.after, fitted)),
                        "left_out": _median(own.errors(m, own.without, fitted)),
                    }
                )
    return found


def _errors(own: Own) -> list[str]:
    rows = [["median error", "figures", "ships", "own", "each row left out of its fit"]]
    for item in errors(own):
        name = SHORT[item["metric"]] + ("" if item["fitted"] else ", not fitted")
        cells = [f"{item[key]:.1%}" if math.isfinite(item[key]) else "" for key in ("before", "after", "left_out")]
        rows.append([name, f"{item['figures']:,}", *cells])
    return table(rows)


def _share(predicted: Sequence[dict[str, float]], i: int, metric: str, measured: float) -> str:
    if i >= len(predicted) or metric not in predicted[i]:
        return ""
    return f"{predicted[i][metric] / measured - 1.0:+.1%}"


def _rows(own: Own) -> list[str]:
    rows = [["line", "model", "in/out", "load", "", "measured", "ships", "own", "left out"]]
    for i, s in enumerate(own.samples):
        for m in (*s.fitted, *s.shown):
            value = s.row.measured[m]
            amount = f" {s.row.amount:g}" if s.row.load in ("closed", "static", "burst", "open") else ""
            unit = "req/s" if s.row.counts == "requests" else "tok/s"
            shown = format_seconds(value) if m != "throughput" else f"{value:,.4g} {unit}"
            rows.append(
                [
                    str(s.row.line), s.row.model[:28], f"{s.row.input[:16]}/{s.row.output[:16]}", f"{s.row.load}{amount}",
                    SHORT[m] + ("" if m in s.fitted else " *"), shown,
                    *(_share(found, i, m, value) for found in (own.before, own.after, own.without)),
                ]
            )  # fmt: skip
    kept = rows[: MOST_ROWS + 1]
    lines = table(kept, left=(1, 2, 3, 4))
    if len(rows) > len(kept):
        lines.append(f"and {len(rows) - len(kept):,} figures more; all with --json")
    if any(s.shown for s in own.samples):
        lines += wrap(
            "* compared, not fitted: TTFT under load is mostly queueing; a rate that was given says nothing", "", "  "
        )
    return lines


def as_text(own: Own) -> str:
    """What was fitted, how well it holds, and the rows."""
    when = dates(own)
    lines = [
        f"{own.accelerator} under {own.engine}: {_count(len(own.samples), 'row')}{f' of {when}' if when else ''}"
        + (f", {len(own.dropped):,} left out" if own.dropped else "")
    ]
    if own.refused:
        lines += ["", *wrap(f"not fitted: {own.refused}", "", "  ")]
    else:
        form = f"large products with weights in {own.shares['format']}"
        lines += [
            "",
            *_parameters(own),
            *wrap(f"shares as {form} reach them; the factor holds for all formats", "  ", "  "),
        ]
        lines += ["", *_errors(own)]
    if own.samples:
        lines += ["", *_rows(own)]
    if own.dropped:
        lines += ["", "left out", *(line for place, why in own.dropped for line in wrap(f"{place}: {why}"))]
    if own.notes:
        lines += ["", "note", *(line for note in own.notes for line in wrap(note))]
    return plain("\n".join(lines) + "\n")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_dict(own: Own) -> dict[str, Any]:
    """For JSON, SI units; unknown figures are None."""
    series = {"before": own.before, "after": own.after, "left_out": own.without}
    return {
        "accelerator": own.accelerator,
        "engine": own.engine,
        "fitted": not own.refused,
        "reason": own.refused,
        "dates": dates(own),
        "shares": dict(own.shares),
        "parameters": {
            p.name: {
                "before": p.before, "value": p.value, "error": _finite(p.error), "unit": "s" if p.name == "host_step" else "1"
            }
            for p in own.parameters
        },
        "errors": [{k: _finite(v) if isinstance(v, float) else v for k, v in item.items()} for item in errors(own)],
        "rows": [
            {
                "line": s.row.line, "model": s.row.model, "input": s.row.input, "output": s.row.output, "load": s.row.load,
                "amount": s.row.amount, "count": s.row.count,
                "metrics": {
                    m: {"fitted": m in s.fitted, "measured": s.row.measured[m]}
                    | {name: found[i].get(m) if i < len(found) else None for name, found in series.items()}
                    for m in (*s.fitted, *s.shown)
                },
            }
            for i, s in enumerate(own.samples)
        ],
        "dropped": [{"row": place, "reason": why} for place, why in own.dropped],
        "notes": list(own.notes),
    }  # fmt: skip


def as_json(own: Own) -> str:
    """The same as a text."""
    return json.dumps(as_dict(own), indent=2, allow_nan=False) + "\n"


def as_toml(own: Own, name: str, today: dt.date, version: str) -> str:
    """The file that ``--efficiency`` reads.

    Parameters
    ----------
    own : Own
        What was fitted.
    name : str
        The file of the rows.
    today : datetime.date
        Day of the fit.
    version : str
        Of pertoken, whose shipped efficiencies the factors are of.
    """
    when = dates(own)
    title = f"{name}, {_count(len(own.samples), 'row')}{f' of {when}' if when else ''}"
    lines = [
        f"# {own.accelerator} under {own.engine}, by own measurements. Use it with: --efficiency FILE",
        f"# memory and compute are factors on the efficiencies that ship with pertoken {version}; calibrate anew after updates.",
        f"accelerator = {toml_value(own.accelerator)}",
        f"engine = {toml_value(own.engine)}",
        f"rows = {len(own.samples)}",
    ]
    for p in own.parameters:
        if not math.isfinite(p.error):
            continue
        unit, digits = ("s", f"{p.value:.4g}") if p.name == "host_step" else ("1", f"{p.value:.4f}")
        error = format_seconds(p.error) if unit == "s" else f"{p.error:.2g}"
        lines.append(
            f'{p.name} = {{ value = {float(digits)!r}, unit = "{unit}", source = "rows", note = "fitted, +- {error}" }}'
        )
    lines += ["", "[errors]  # median, absolute: as shipped, fitted, each row left out of its fit"]
    for item in errors(own):
        if item["fitted"]:
            figures = [
                f"{key} = {item[key]:.4f}" for key in ("before", "after", "left_out") if math.isfinite(item[key])
            ]
            lines.append(f"{item['metric']} = {{ {', '.join(figures)} }}")
    lines += ["", "[sources.rows]", f"title = {toml_value(title)}", f"read = {today}"]
    return "\n".join(lines) + "\n"
