"""What a figure rests on: each input with its value, unit, source and date, and whether it was measured, listed or assumed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pertoken.cost import Cost
from pertoken.explain.facts import fitted
from pertoken.money.figures import Interval
from pertoken.report.document import paid_hour
from pertoken.sources import USER, Sourced
from pertoken.units import HOUR, JOULES_PER_KWH, format_bytes, format_money, format_number, format_rate, format_seconds

BASES = ("measured", "datasheet", "listed", "assumed", "derived", "given")
TABLES_URL = "https://github.com/ai-dynamo/aiconfigurator"  # whose kernel measurements the efficiencies are fitted to
Entry = dict[str, Any]


def shown(value: float, unit: str) -> str:
    """A quantity as a reader would write it; a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    if unit.startswith("$"):
        return format_money(value)
    if unit == "s":
        return format_seconds(value)
    if unit == "byte":
        return format_bytes(value)
    if unit in ("byte/s", "FLOP/s"):
        return format_rate(value, unit.replace("byte", "B"))
    if unit == "%":
        return f"{value:.0%}" if value >= 0.1 or not value else f"{value:.1%}"
    return f"{value:,.0f}" if value >= 1000 else format_number(value, 4 if value >= 100 else 3)


def figure(label: str, value: float | Interval, unit: str, formula: str, inputs: list[Entry], **more: Any) -> Entry:
    """One number that reaches a reader.

    Parameters
    ----------
    label : str
        What it is.
    value : float or Interval
        In ``unit``; ``%`` stands for a share of 1.
    formula : str
        How it follows from ``inputs``.
    inputs : list of dict
        See `entry`.
    **more
        ``basis`` (derived if not said), ``url``, ``text`` in place of the usual way to write the value.
    """
    ends = value if isinstance(value, Interval) else Interval(float(value), math.nan, math.nan)
    known = math.isfinite(ends.low) and math.isfinite(ends.high) and ends.low < ends.high
    return {
        "label": label,
        "value": _plain(ends.value),
        "low": _plain(ends.low),
        "high": _plain(ends.high),
        "unit": unit,
        "shown": more.get("text") or shown(ends.value, unit),
        "range": f"{shown(ends.low, unit)} to {shown(ends.high, unit)}" if known else "",
        "formula": formula,
        "inputs": inputs,
        "basis": more.get("basis", "derived"),
        "url": more.get("url", ""),
    }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def entry(name: str, value: float, unit: str, basis: str = "derived", **of: str) -> Entry:
    """One input of a figure; ``of`` holds source, url and date as far as they are known, and ``formula``."""
    found = {
        "name": name,
        "value": _plain(float(value)),
        "unit": unit,
        "shown": shown(float(value), unit),
        "basis": basis,
    }
    return {**found, "source": "", "url": "", "date": "", **{key: text for key, text in of.items() if text}}


def of_figure(found: Mapping[str, Any]) -> Entry:
    """A figure as an input of another."""
    value = math.nan if found["value"] is None else found["value"]
    return entry(found["label"], value, found["unit"], formula=found["formula"])


def read(name: str, number: Sourced, basis: str = "datasheet", unit: str = "") -> Entry:
    """An input that was read somewhere."""
    s = number.source
    if s.title == USER.title:
        basis = "given"
    day = f"of {s.date}" if s.date else f"read {s.read}" if s.read else ""
    source = f"{s.title}; {number.note}" if number.note else s.title
    return entry(name, number.value, unit or number.unit, basis, source=source, url=s.url, date=day)


def rate(cost: Cost, listing: str = "") -> Entry:
    """The price of a paid accelerator-hour; ``listing`` is the address of a dated table of rents."""
    assert cost.rate
    r, name = cost.rate, "price of an accelerator-hour"
    given = ":" in str(cost.scenario.get("rate", "")) and r.kind != "own"
    basis = "listed" if r.since else "given" if given else "assumed"
    dated = f"listed from {r.since}" if r.since else ""
    return entry(name, paid_hour(cost), "$", basis, source=r.origin, url=listing if r.since else "", date=dated)


def fixed_rate(cost: Cost) -> Entry:
    """The part of an hour's price that is paid whatever is drawn."""
    assert cost.rate
    return entry("price of an accelerator-hour, electricity apart", cost.rate.fixed_usd_per_second * HOUR, "$", "given",
                 source=cost.rate.origin)  # fmt: skip


def electricity(cost: Cost) -> Entry:
    """The price of electricity."""
    assert cost.rate
    return entry(
        "price of electricity, $/kWh", cost.rate.usd_per_joule * JOULES_PER_KWH, "$", "given", source=cost.rate.origin
    )


def lengths(cost: Cost, token: str) -> Entry:
    """Tokens of one kind in a mean request."""
    given = "input" in cost.scenario or "output" in cost.scenario or "trace" in cost.scenario
    basis = "given" if given else "assumed"
    name = {"input": "uncached input", "cached": "cached input"}.get(token, token)
    return entry(f"{name} tokens of a request", cost.tokens_per_request[token], "token", basis,
                 source=cost.workload.lengths.origin)  # fmt: skip


def hardware(cost: Cost) -> list[Entry]:
    """Peaks of the datasheet, and what taught the shares of them that are reached."""
    d = cost.deployment
    a, known = d.accelerator, d.chooser.efficiency
    compute = a.compute_for(d.precision.of("feedforward"))
    form = d.precision.of("feedforward").name
    taught = fitted(known, "matmul", form)
    measured = "no table" not in taught
    reached = known.matmul.get(form)
    found = [read(f"peak in {compute}, dense", a.flops[compute]), read("memory bandwidth", a.bandwidth)]
    if a.link and d.accelerators > 1:
        found.append(read(f"{a.link.name}, one direction", a.link.bandwidth))
    if measured and reached:
        of = {"source": taught, "url": TABLES_URL if any("aiconfigurator" in t for t in known.tables) else ""}
        found += [
            entry(f"highest share of that peak, {form} matrices", reached.peak, "%", "measured", **of),
            entry("highest share of the bandwidth", reached.bandwidth, "%", "measured", **of),
        ]
    found += [entry(sentence, math.nan, "", "assumed") for sentence in d.assumed[:3]]
    return found


def step(cost: Cost) -> Entry:
    """The mean step of one lane."""
    return entry("mean step of the engine", float(cost.operating.state.step_s), "s",
                 formula="sum over operations of max(compute, memory) + links + overhead")  # fmt: skip


def site(cost: Cost) -> list[Entry]:
    """Host and facility around the accelerators."""
    return [
        read("host: accelerator and host over accelerator", cost.site.host, "assumed"),
        read("PUE", cost.site.pue, "assumed"),
    ]


def draw(cost: Cost) -> list[Entry]:
    """What an accelerator draws."""
    if not cost.meter:
        return []
    d = cost.meter.draw
    basis = "datasheet" if d.byte.value == 0 else "assumed" if d.assumed else "measured"
    rows = [read("floor while a step runs", d.active, basis)]
    if d.byte.value:
        rows += [read("for each byte of memory", d.byte, basis), read("for each FLOP", d.flop, basis)]
    return rows
