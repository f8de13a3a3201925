"""What was measured, beside what the model says: runs of a file, and this machine as an accelerator."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
from collections.abc import Sequence
from typing import Any

from pertoken.measure.here import Machine, Spread
from pertoken.report.document import safe_cell
from pertoken.report.export import toml_value
from pertoken.report.text import plain, table, wrap
from pertoken.units import format_bytes, format_money, format_rate, format_seconds

LABELS = {"ttft": "TTFT", "tpot": "TPOT", "throughput": "output rate", "energy": "energy"}


def shown(metric: str, value: float) -> str:
    """A figure in the unit that a reader would use."""
    if metric in ("ttft", "tpot", "step"):
        return format_seconds(value)
    return f"{value:,.4g} {'J/token' if metric == 'energy' else 'tok/s'}"


def finite(value: Any) -> Any:
    """The value, None where it is a float that says unknown."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def traffic(run: Any) -> str:
    """How a run was sent."""
    if run.concurrency > 0:
        return f"{run.concurrency:.3g} in flight"
    if run.rate > 0:
        return f"{run.rate:.3g} requests/s"
    return f"{run.together:.0f} at once" if run.together > 0 else ""


def runs_text(held: Sequence[Any]) -> str:
    """Loads as a table, with prices and notes under it."""
    rows = [["run", "in/out", "traffic", "", "measured", "predicted", "90% interval", "error"]]
    for h in held:
        head = [h.run.name[-44:], f"{h.run.input:,.0f}/{h.run.output:,.0f}", traffic(h.run)]
        for metric, value in h.run.measured.items():
            found = h.predicted.get(metric)
            cells = (
                [
                    shown(metric, found.value),
                    _interval(metric, found),
                    f"{h.error(metric):+.1%}",
                ]
                if found
                else ["", "", ""]
            )
            rows.append([*head, LABELS[metric], shown(metric, value), *cells])
            head = ["", "", ""]
    lines = table(rows, left=(0, 1, 2, 3))
    lines += _prices(held)
    notes = list(dict.fromkeys(note for h in held for note in (*h.run.assumed, *h.notes)))
    failed = sum(h.run.failed for h in held)
    notes += [f"{failed:,} requests failed and count for nothing"] if failed else []
    if notes:
        lines += ["", "note", *(line for note in notes for line in wrap(note))]
    return plain("\n".join(lines) + "\n")


def _interval(metric: str, found: Any) -> str:
    return f"{shown(metric, found.low)} to {shown(metric, found.high)}" if found.high > found.low else ""


def _prices(held: Sequence[Any]) -> list[str]:
    rows = [["per million tokens", "", "measured", "predicted"]]
    for h in held:
        name = h.run.name[-44:]
        for kind, prices in h.per_million.items():
            rows.append([name, kind, format_money(prices["measured"]), format_money(prices["predicted"])])
            name = ""
    if len(rows) == 1:
        return []
    rate = next(h.rate for h in held if h.rate is not None)
    how = f"{rate.origin}; the measured bill is shared over kinds of tokens as the model does"
    return ["", *table(rows, left=(0, 1)), *wrap(how, "  ", "  ")]


def run_dict(held: Any) -> dict[str, Any]:
    """One run for JSON, SI units."""
    run = held.run
    found = {k: finite(v) for k, v in vars(run).items() if k not in ("assumed",)}
    found["metrics"] = {
        m: {"measured": v}
        | (
            {"predicted": {k: finite(getattr(p, k)) for k in ("value", "low", "high")}, "error": held.error(m)}
            if (p := held.predicted.get(m))
            else {"predicted": None, "error": None}
        )
        for m, v in run.measured.items()
    }
    found["usd_per_million"] = held.per_million or None
    found["assumed"], found["notes"] = list(run.assumed), list(held.notes)
    return found


def runs_csv(held: Sequence[Any]) -> str:
    """A line for each figure."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["tool", "run", "model", "input", "output", "concurrency", "rate", "metric", "measured", "predicted", "low",
                     "high", "error"])  # fmt: skip
    for h in held:
        for metric, value in h.run.measured.items():
            p = h.predicted.get(metric)
            cells = [p.value, p.low, p.high, h.error(metric)] if p else ["", "", "", ""]
            run = h.run
            head = [run.tool, run.name, run.model, run.input, run.output, run.concurrency, run.rate]
            writer.writerow([_cell(c) for c in (*head, metric, value, *cells)])
    return out.getvalue()


def _cell(value: Any) -> Any:
    return "" if finite(value) is None else safe_cell(value)


def _range(s: Spread, unit: str) -> str:
    return f"{format_rate(s.value, unit)}  ({format_rate(s.low, unit)} to {format_rate(s.high, unit)} in {s.repeats} repeats)"


def machine_text(machine: Machine) -> str:
    """This machine in four lines."""
    return plain(
        f"{machine.title}, {machine.processors} processor{'s' * (machine.processors > 1)}\n"
        f"  memory           {format_bytes(machine.memory)}\n"
        f"  read rate        {_range(machine.bandwidth, 'B/s')}\n"
        f"  products, fp32   {_range(machine.fp32, 'FLOP/s')}\n"
    )


def machine_dict(machine: Machine) -> dict[str, Any]:
    """This machine for JSON."""
    spreads = {k: vars(getattr(machine, k)) | {"unit": u} for k, u in (("bandwidth", "byte/s"), ("fp32", "FLOP/s"))}
    return {"title": machine.title, "processors": machine.processors, "memory": machine.memory} | spreads


def machine_toml(machine: Machine, name: str, today: dt.date, version: str, watts: float | None) -> str:
    """An accelerator file for ``--on``."""

    def figure(s: Spread, unit: str, note: str) -> str:
        scatter = f"{note}; median of {s.repeats} repeats, 10 to 90% of them from {s.low:.4g} to {s.high:.4g}"
        return f'{{ value = {float(f"{s.value:.5g}")!r}, unit = "{unit}", source = "measured", note = {toml_value(scatter)} }}'

    half = "of fp32: numpy has no half-precision products, and weights are unpacked"
    lines = [
        "# This machine as an accelerator, as numpy reaches it. Use it with: --on 1xFILE",
        f"name = {toml_value(name)}", f"title = {toml_value(machine.title)}", 'vendor = "unknown"',
        'family = "cpu"', 'kind = "cpu"',
        "", "[sources.measured]",
        f"title = {toml_value(f'measured here by pertoken {version}, numpy on {machine.processors} processors')}",
        f"read = {today}", "", "[flops]", f"fp32 = {figure(machine.fp32, 'FLOP/s', 'numpy.matmul')}",
        f"fp16 = {figure(machine.fp32, 'FLOP/s', half)}", f"bf16 = {figure(machine.fp32, 'FLOP/s', half)}",
        "", "[memory]",
        f'capacity = {{ value = {machine.memory:.0f}, unit = "byte", source = "measured", note = "of the system" }}',
        f"bandwidth = {figure(machine.bandwidth, 'byte/s', 'numpy.max over float32, all processors')}",
    ]  # fmt: skip
    if watts is not None:
        lines += ["", "[power]", f'board = {{ value = {watts!r}, unit = "W", note = "as given by --watts" }}']
    return "\n".join(lines) + "\n"
