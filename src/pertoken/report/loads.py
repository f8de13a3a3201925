"""Cost and latency against requests in flight and their rate, in closed form, with room for simulated points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pertoken.attribution.position import check_choice
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.report.axes import COLOURS, drawn_of, log_axis, per_million_unit, up_axis
from pertoken.report.drawings import Datasets, Drawing, Options, Rows, altair, held, number
from pertoken.serving.lengths import Array
from pertoken.serving.operating import at_concurrency, at_rate, saturated
from pertoken.serving.steady import Steady, beyond, most_resident, steady
from pertoken.serving.workload import Goals
from pertoken.sweep import per_million
from pertoken.units import MILLION, format_number

AGAINST = {"concurrency": "requests in flight", "rate": "requests a second"}
POINTS = 90  # of a line
MOST_SIMULATED = 40
NOW, SIMULATED = "where you are", "simulated"
LATENCIES = {"ttft": "time to first token", "tpot": "time per output token"}
_SECONDS = "datum.value < 1 ? format(datum.value * 1000, ',.3~r') + ' ms' : format(datum.value, ',.3~r') + ' s'"


@dataclass(frozen=True)
class Course:
    """What a deployment does along an axis of load.

    Parameters
    ----------
    x : ndarray
        Requests in flight, or per second.
    cost : mapping of str to ndarray
        Of input and output tokens, idle time included [$ or accelerator-s per million].
    ttft_s, tpot_s : ndarray
        Latencies; a TPOT is NaN where no request has a second output token [s].
    busy : ndarray
        Share of time in which the machine works.
    """

    x: Array
    cost: Mapping[str, Array]
    ttft_s: Array
    tpot_s: Array
    busy: Array


def course(cost: Cost, against: str, x: Array | None = None) -> Course:
    """The closed form along requests in flight (``concurrency``) or requests per second (``rate``).

    Parameters
    ----------
    cost : Cost
        Model, machine and lengths; its own traffic does not matter where ``x`` is given.
    against : str
        Which axis.
    x : ndarray, optional
        Where; otherwise from an all but empty machine to one that is full.

    Raises
    ------
    PertokenError
        When there is no such axis.
    """
    check_choice("against", against, tuple(AGAINST))
    x = axis(cost, against) if x is None else x
    d, moments = cost.deployment, cost.operating.moments
    lanes = d.split.lanes
    if against == "rate":
        state = at_rate(d, moments, x / lanes)
        return _course(cost, x, state, np.broadcast_to(state.busy, x.shape), 0.0)
    each = np.maximum(x / lanes, 1.0)
    state = at_concurrency(d, moments, each)
    return _course(cost, x, state, np.minimum(x / lanes, 1.0), beyond(d, state, moments, each))


def _course(cost: Cost, x: Array, state: Steady, busy: Array, outside: Any) -> Course:
    moments, shape = cost.operating.moments, x.shape
    ttft = np.broadcast_to(state.ttft_s + outside + cost.operating.delay_s, shape)
    tpot = np.broadcast_to(state.tpot_s if moments.later > 0 else math.nan, shape)
    paid = {name: np.broadcast_to(value, shape) / busy for name, value in per_million(cost, state).items()}
    return Course(x, paid, ttft, tpot, busy)


def ceiling(cost: Cost) -> float:
    """The highest rate that the machine can serve of these lengths, whatever the goals [1/s]."""
    d, moments = cost.deployment, cost.operating.moments
    return float(d.split.lanes * steady(d, moments, saturated(d, moments, Goals())).rate)


def axis(cost: Cost, against: str) -> Array:
    """Loads worth drawing, the present one among them."""
    if against == "rate":
        top = ceiling(cost)
        now = here(cost, against)["x"] / top
        low, high = min(0.01, now), max(0.98, now)
        bend = np.linspace(0.5, high, POINTS // 3)  # latencies turn up near the end
        return np.unique(np.concatenate((np.geomspace(low, high, POINTS - bend.size), bend, [now]))) * top
    lanes, now = cost.deployment.split.lanes, cost.operating.concurrency
    most = 1.5 * lanes * float(most_resident(cost.deployment, cost.operating.moments))
    return np.geomspace(1.0, max(8.0 * lanes, min(most, 8.0 * now), 1.2 * now), POINTS)


def here(cost: Cost, against: str) -> dict[str, float]:
    """Where the case itself is on the axis: x, costs with the idle time of that load, and latencies."""
    point = cost.operating
    working = cost.requests_per_s / cost.paid_share
    busy = float(point.state.busy) * point.lanes_busy
    unit = cost.rate.usd_per_second if cost.rate else 1.0
    # allocation has spread idle time over tokens already, that of hours without work too
    spread = MILLION * unit * (1.0 / busy if cost.basis == "usage" else cost.paid_share)
    costs = {name: getattr(cost.accelerator_s, name).value * spread for name in ("input", "output")}
    return {
        "x": working if against == "rate" else point.concurrency,
        **costs,
        "ttft": point.ttft_s,
        "tpot": point.tpot_s,
    }


def _against(options: Options) -> str:
    found = str(options.get("against", "concurrency"))[:60]
    check_choice("against", found, tuple(AGAINST))
    return found


def _lines(x: Array, named: Mapping[str, Array]) -> Rows:
    return [
        {"x": float(a), "value": float(b), "of": name}
        for name, values in named.items()
        for a, b in zip(x, values, strict=True)
        if math.isfinite(b)
    ]


def _rows(kind: str, costs: Sequence[Cost], options: Options) -> Datasets:
    if len(costs) != 1:
        raise PertokenError(f"{len(costs)} cases were asked for; this chart draws one")
    cost, against = costs[0], _against(options)
    found, now = course(cost, against), here(cost, against)
    if kind == "cost":
        named, goals = {f"{name} token": found.cost[name] for name in ("input", "output")}, []
        marks = {f"{name} token": now[name] for name in ("input", "output")}
    else:
        named = {LATENCIES["ttft"]: found.ttft_s, LATENCIES["tpot"]: found.tpot_s}
        marks = {title: now[name] for name, title in LATENCIES.items()}
        g = cost.workload.goals
        goals = [
            {"value": goal, "x": float(found.x[0]), "text": f"goal for {LATENCIES[name]}"}
            for name, goal in (("ttft", g.ttft), ("tpot", g.tpot))
            if math.isfinite(goal)
        ]
    dots: Rows = [
        {"x": now["x"], "value": value, "of": of, "text": NOW} for of, value in marks.items() if math.isfinite(value)
    ]
    return {"lines": _lines(found.x, named), "here": dots, "goals": goals, "simulated": _simulated(kind, options)}


def _simulated(kind: str, options: Options) -> Rows:
    """Points that were simulated already, handed over as the option ``simulated``: x with costs and latencies of each."""
    given = options.get("simulated", [])
    if (
        not isinstance(given, list)
        or len(given) > MOST_SIMULATED
        or not all(isinstance(each, Mapping) for each in given)
    ):
        raise PertokenError(f"the option simulated must be a list of at most {MOST_SIMULATED} points")
    named = {"input": "input token", "output": "output token"} if kind == "cost" else LATENCIES
    return [
        {
            "x": number(each, "x", 0.0, 1e-9, 1e12),
            "value": number(each, name, 0.0, 1e-12, 1e12),
            "of": of,
            "text": SIMULATED,
        }
        for each in given
        for name, of in named.items()
        if each.get(name) is not None
    ]


def _drawn(kind: str, costs: Sequence[Cost], options: Options, rows: Datasets) -> Any:
    alt, against = altair(), _against(options)
    values = [row["value"] for name in ("lines", "here") for row in rows[name]]
    values += [1.2 * row["value"] for row in rows["goals"]]  # and room for its name
    unit = per_million_unit(costs[0]) if kind == "cost" else None
    x = log_axis(
        "x", AGAINST[against], [row["x"] for row in rows["lines"]], "~s" if against == "concurrency" else ".3~r"
    )
    y = up_axis("value", unit, values, alt.Axis(labelExpr=_SECONDS) if kind == "latency" else None)
    names = list(dict.fromkeys(row["of"] for row in rows["lines"]))
    colour = alt.Color("of:N", title=None, sort=names, scale=alt.Scale(domain=names, range=list(COLOURS[1:3])))
    told = [alt.Tooltip("of:N", title="what"), alt.Tooltip("x:Q", title=AGAINST[against], format=",.3~r"),
            alt.Tooltip("value:Q", title=unit or "seconds", format=",.3~r")]  # fmt: skip
    line = alt.Chart(held("lines")).mark_line(clip=True).encode(x=x, y=y, color=colour)
    goal = alt.Chart(held("goals"))
    layers = [
        line,
        goal.mark_rule(strokeDash=[5, 3]).encode(y=y),
        goal.mark_text(align="left", dx=4, dy=-6).encode(x=x, y=y, text="text:N"),
        alt.Chart(held("simulated")).mark_point(size=60, strokeWidth=2, clip=True).encode(x=x, y=y, color=colour, tooltip=told),
        alt.Chart(held("here")).mark_point(size=110, filled=True, opacity=1, shape="diamond").encode(
            x=x, y=y, color=colour, tooltip=told),
    ]  # fmt: skip
    what = "Cost" if kind == "cost" else "Latency"
    idle = "idle time included; " if kind == "cost" else ""
    more = f"{idle}lines: closed form; diamonds: where you are; rings: simulated"
    return drawn_of(
        alt.layer(*layers).properties(width=520, height=300), costs, f"{what} against {AGAINST[against]}", more
    )


def _said(kind: str, costs: Sequence[Cost], options: Options, rows: Datasets) -> str:
    def amount(value: float) -> str:
        return format_number(value, 3) + (" s" if kind == "latency" else "")

    said = []
    for of in dict.fromkeys(row["of"] for row in rows["lines"]):
        line = [row for row in rows["lines"] if row["of"] == of]
        now = next((row for row in rows["here"] if row["of"] == of), None)
        at = f", {amount(now['value'])} where you are, at {format_number(now['x'], 3)}" if now else ""
        said.append(
            f"{of} from {amount(line[0]['value'])} at {format_number(line[0]['x'], 3)} to {amount(line[-1]['value'])} at"
            f" {format_number(line[-1]['x'], 3)}{at}"
        )
    unit = f", {per_million_unit(costs[0])}" if kind == "cost" else ""
    return f"{'Cost' if kind == 'cost' else 'Latency'} against {AGAINST[_against(options)]}{unit}: {'; '.join(said)}."


DRAWINGS = {
    f"load-{kind}": Drawing(partial(_rows, kind), partial(_drawn, kind), partial(_said, kind))
    for kind in ("cost", "latency")
}
