"""The view Load: cost and latency against requests in flight or their rate, and which loads to simulate beside that."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pertoken.attribution.position import check_choice
from pertoken.report import loads
from pertoken.units import format_money, format_number, format_seconds

if TYPE_CHECKING:
    from pertoken.cost import Cost
    from pertoken.serving.lengths import Array
    from pertoken.web.asked import Asked

SIMULATED = 7  # points
NEAR = 0.25  # of a logarithm: loads this near to where you are tell nothing new
LEAST, MOST = 20_000, 100_000  # requests of one: enough that filling and emptying the machine hardly count
KEPT_OUT = {
    "cached": "a simulation finds out itself what its prefix caches hold, and a share of cached input was given",
    "prefix_cache": "a simulation finds out itself what its prefix caches hold, and --prefix-cache was given",
}  # knobs whose closed form a run of single requests does not follow
UNUSED = ("basis", "utilisation", "currency", "concurrency", "rps", "load")


def view(asked: Asked) -> dict[str, Any]:
    """What the view shows; option ``against``: ``concurrency`` or ``rate``."""
    cost, against = asked.cost, str(asked.options.get("against", "concurrency"))[:60]
    check_choice("against", against, tuple(loads.AGAINST))
    now, refused, span = loads.here(cost, against), no_runs(cost, against), loads.axis(cost, against)
    return {
        "title": "Load",
        "against": against,
        "sentences": [said(cost, against, now, span)],
        "charts": [{"name": f"load-{kind}", "options": {"against": against}} for kind in ("cost", "latency")],
        "tables": [table(cost, against, now, span)],
        "here": now,
        "no_runs": refused,
        "runs": [] if refused else runs(cost, against, now, span),
        "choices": [{"value": name, "label": label} for name, label in loads.AGAINST.items()],
    }


def _amount(cost: Cost, value: float) -> str:
    return format_money(value) if cost.rate else f"{format_number(value, 4)} s"


def said(cost: Cost, against: str, now: dict[str, float], span: Array) -> str:
    """Where you are, and what half and twice the load would cost."""
    unit = loads.AGAINST[against]
    x = np.clip([now["x"] / 2.0, now["x"]], span[0], span[-1])
    output = loads.course(cost, against, x).cost["output"]
    tpot = "" if math.isnan(now["tpot"]) else f" and a TPOT of {format_seconds(now['tpot'])}"
    half = (
        "" if x[0] == x[1] else f"; at half of it an output token would cost {output[0] / output[1]:.2f} times as much"
    )
    goals = cost.operating.most_rate
    most = (
        "no rate meets the goals"
        if math.isnan(goals)
        else f"the goals allow {format_number(goals, 4)} requests a second"
    )
    return (
        f"You are at {format_number(now['x'], 4)} {unit}, with a TTFT of {format_seconds(now['ttft'])}{tpot}{half}. Idle time is"
        f" in these costs; {most}."
    )


def table(cost: Cost, against: str, now: dict[str, float], span: Array) -> dict[str, Any]:
    """The closed form at round loads and where you are."""
    steps = [m * 10.0**e for e in range(-9, 10) for m in (1, 2, 5)]
    x = np.array(sorted({float(s) for s in steps if span[0] <= s <= span[-1]} | {now["x"]}))
    found = loads.course(cost, against, x)
    unit = "$/M" if cost.rate else "s/M"
    random = against == "concurrency" and cost.workload.mode != "concurrency"
    apart = (
        " Where you are, requests come at random; elsewhere one follows each answer, which waits less."
        if random
        else ""
    )
    rows = []
    for i, value in enumerate(x):
        mine = value == now["x"]
        figures = [now[name] for name in ("input", "output", "ttft", "tpot")] if mine else [
            found.cost["input"][i], found.cost["output"][i], found.ttft_s[i], found.tpot_s[i],
        ]  # fmt: skip
        money = [_amount(cost, float(v)) for v in figures[:2]]
        times = ["-" if math.isnan(v) else format_seconds(float(v)) for v in figures[2:]]
        rows.append([f"{value:,.4g}{', where you are' if mine else ''}", *money, *times])
    return {
        "title": f"Cost and latency against {loads.AGAINST[against]}, closed form",
        "head": [loads.AGAINST[against], f"input {unit}", f"output {unit}", "TTFT", "TPOT"],
        "rows": rows,
        "note": "Idle time at each load is in its cost. Latencies are means." + apart,
    }


def no_runs(cost: Cost, against: str) -> str:
    """Why nothing is simulated beside the closed form; empty if it is."""
    knobs = cost.scenario
    for name, why in KEPT_OUT.items():
        if knobs.get(name):
            return f"Not simulated: {why}."
    if "trace" in knobs and against == "concurrency":
        return "Not simulated: a trace has its own arrivals; look at requests a second instead."
    if "workload" in knobs:
        return "Not simulated: the lengths were given in Python."
    return ""


def runs(cost: Cost, against: str, now: dict[str, float], span: Array) -> list[dict[str, Any]]:
    """What to ask of ``/api/simulate``, nearest to where you are first: knobs, options, and where the point goes on the axis."""
    knobs = {name: value for name, value in cost.scenario.items() if name not in (*UNUSED, *KEPT_OUT)}
    x = np.geomspace(max(span[0], now["x"] / 30.0), min(0.95 * span[-1], now["x"] * 3.0), SIMULATED - 1)
    if against == "concurrency":
        x = np.maximum(np.round(x), 1.0)
    mine = max(1.0, float(round(now["x"]))) if against == "concurrency" else now["x"]
    places = sorted(
        {mine, *(float(v) for v in x if abs(math.log(v / mine)) > NEAR)}, key=lambda v: abs(math.log(v / mine))
    )
    course = loads.course(cost, against, np.array(places))
    seconds = course.ttft_s + np.nan_to_num(course.tpot_s) * cost.tokens_per_request["output"]
    inside = np.array(places) * (1.0 if against == "concurrency" else seconds)  # Little: requests in flight
    found = []
    for place, count in zip(places, np.clip(200.0 * inside, LEAST, MOST), strict=True):
        given = {"concurrency": int(place)} if against == "concurrency" else {"rps": place}
        found.append({"x": place, "knobs": {**knobs, **given}, "options": {"requests": int(count), "seed": 0}})
    return found
