"""Charts of a whole price list: the distribution of ratios, and prices over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pertoken.errors import PertokenError
from pertoken.market import ratios as lists
from pertoken.report.axes import COLOURS
from pertoken.report.drawings import Datasets, Rows, altair, held
from pertoken.report.market_charts import HEIGHT, WIDTH, Picture, titled
from pertoken.units import MILLION, format_money

if TYPE_CHECKING:
    from pertoken.report.market_list import History, Ratios

MOST_LINES = 14  # of one chart


def _ratio_rows(view: Ratios) -> Datasets:
    edges = np.arange(0.75, 12.3, 0.5)
    found = np.clip(lists.ratios(view.offers), edges[0], edges[-1])
    count, _ = np.histogram(found, edges)
    bars = [
        {"low": float(a), "high": float(a + 0.5), "models": int(n), "zero": 0}
        for a, n in zip(edges, count, strict=False)
    ]
    names = ("lower quartile", "median", "upper quartile")
    marks = [
        {"at": q, "what": f"{name} {q:.2f}", "row": float(max(count) * (1.0 - 0.07 * i))}
        for i, (name, q) in enumerate(zip(names, lists.quartiles(view.offers), strict=True))
    ]
    return {"bars": bars, "marks": marks}


def _ratios(view: Ratios, rows: Datasets) -> Any:  # noqa: ARG001
    """How many models sell output at how many times input, with the quartiles."""
    alt = altair()
    bars = alt.Chart(held("bars")).mark_bar(color=COLOURS[0]).encode(
        x=alt.X("low:Q", title="output price over input price (12 and more in the last bar)",
                scale=alt.Scale(domain=[0.5, 12.5])),
        x2="high:Q", y=alt.Y("models:Q", title="models", scale=alt.Scale(zero=True)), y2="zero:Q",
    )  # fmt: skip
    marks = alt.Chart(held("marks"))
    rules = marks.mark_rule(color=COLOURS[2], strokeDash=[5, 3]).encode(x="at:Q")
    words = marks.mark_text(align="left", dx=4).encode(x="at:Q", y="row:Q", text="what:N")
    drawn = alt.layer(bars, rules, words).properties(width=WIDTH, height=HEIGHT)
    return titled(drawn, "What output costs in inputs", view.source)


def _ratios_said(view: Ratios, rows: Datasets) -> str:
    most = max(rows["bars"], key=lambda bar: bar["models"])
    return (
        f"Models by the price of output over that of input: {'; '.join(mark['what'] for mark in rows['marks'])};"
        f" most, {most['models']:,}, between {most['low']:g} and {most['high']:g}. {view.source}."
    )


def _history_rows(view: History) -> Datasets:
    names = list(dict.fromkeys(d.name for d in view.dated if d.since))
    if not names:
        raise PertokenError(
            "the list dates none of these prices, so there is no history to draw; ask for another model"
        )
    rows: Rows = []
    for name in names[:MOST_LINES]:
        own = [d for d in view.dated if d.name == name and d.since <= view.today]
        dated = [d for d in own if d.since]
        if len(own) > len(dated) and dated:  # the price before the first dated one, drawn from a month before it
            start = str(np.datetime64(dated[0].since) - np.timedelta64(30, "D"))
            rows.append({"day": start, "usd": own[0].tariff.base.output * MILLION, "offer": name})
        rows += [{"day": d.since, "usd": d.tariff.base.output * MILLION, "offer": name} for d in dated]
        if own:
            rows.append({"day": view.today, "usd": own[-1].tariff.base.output * MILLION, "offer": name})
    return {"lines": [row for row in rows if row["usd"] > 0]}


def _history(view: History, rows: Datasets) -> Any:
    """Output prices as steps over time."""
    alt = altair()
    names = list(dict.fromkeys(d.name for d in view.dated if d.since))
    shown = [name for name in names if any(row["offer"] == name for row in rows["lines"])]
    lines = alt.Chart(held("lines")).mark_line(interpolate="step-after", point=True).encode(
        x=alt.X("day:T", title=None),
        y=alt.Y("usd:Q", title="output, $ per million tokens", scale=alt.Scale(type="log")),
        color=alt.Color("offer:N", title=None, sort=shown, legend=alt.Legend(labelLimit=360, orient="bottom", columns=1)),
    )  # fmt: skip
    more = [f"the first {MOST_LINES} of {len(names)} whose changes are dated"] if len(names) > MOST_LINES else []
    return titled(lines.properties(width=WIDTH, height=HEIGHT), f"Prices over time: {view.title}", view.source, *more)


def _history_said(view: History, rows: Datasets) -> str:
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in rows["lines"]:
        lines.setdefault(row["offer"], []).append(row)
    said = "; ".join(
        f"{name} from {format_money(line[0]['usd'])} to {format_money(line[-1]['usd'])} on {line[-1]['day']}"
        for name, line in lines.items()
    )
    return f"Prices of a million output tokens over time, {view.title}: {said}."


PICTURES: Mapping[str, Picture] = {
    "ratios": Picture(_ratio_rows, _ratios, _ratios_said),
    "history": Picture(_history_rows, _history, _history_said),
}
