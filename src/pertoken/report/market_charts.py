"""Charts of offers, one definition each for the command, a notebook and the page: prices against cost, and what they imply."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pertoken.errors import PertokenError
from pertoken.market.compare import cost_per_request
from pertoken.report.axes import COLOURS
from pertoken.report.drawings import Datasets, Rows, altair, held
from pertoken.report.text import headline
from pertoken.units import DAY, HOUR, MILLION, MONTH, format_money

if TYPE_CHECKING:
    from pertoken.report.market import Hosts
    from pertoken.report.market_offer import Against

WIDTH, HEIGHT = 520, 320
POINTS = 120  # of a line
STEPS = 20  # of a bill that are drawn upright


@dataclass(frozen=True)
class Picture:
    """One chart of a view of the market; as `pertoken.report.drawings.Drawing` is one of answers.

    Parameters
    ----------
    rows : callable
        Takes the view, returns rows by the name of their dataset.
    drawn : callable
        Takes the view and these rows, returns the chart with data that are held by these names.
    said : callable
        Takes the same, returns the chart as a sentence, for those who do not see it.
    """

    rows: Callable[[Any], Datasets]
    drawn: Callable[[Any, Datasets], Any]
    said: Callable[[Any, Datasets], str]

    def chart(self, view: Any) -> Any:
        """The chart with its rows, as a notebook shows and a file keeps it."""
        rows = self.rows(view)
        return self.drawn(view, rows).properties(datasets=rows, description=self.said(view, rows))

    def spec(self, view: Any) -> dict[str, Any]:
        """The same as a Vega-Lite specification."""
        rows = self.rows(view)
        bare: dict[str, Any] = self.drawn(view, rows).to_dict()
        return {**bare, "datasets": rows, "description": self.said(view, rows)}


def titled(chart: Any, what: str, *more: str) -> Any:
    """A chart with its title and what it is of."""
    title = {"text": what, "subtitle": list(more), "anchor": "start"}
    return chart.properties(title=title).configure_axis(gridOpacity=0.5, labelLimit=420)


def _per_million(view: Hosts) -> float:
    """What turns dollars of a mean request into dollars per million of its tokens."""
    return MILLION / float(view.mix.tokens.mean())


def _hosts_rows(view: Hosts) -> Datasets:
    """Offers that charge, the cheapest first, and the cost here."""
    paid = [row for row in view.compared if row.usd_per_request > 0]
    if not paid:
        raise PertokenError("no offer charges anything, so there is nothing to draw; ask for another model")
    offers = [
        {"offer": r.offer.name, "usd": r.usd_per_token * MILLION, "shown": format_money(r.usd_per_token * MILLION),
         "ratio": f"{r.offer.ratio:.1f}" if math.isfinite(r.offer.ratio) else "",
         "margin": r.margin.value if r.margin else None}
        for r in paid
    ]  # fmt: skip
    cost: Rows = []
    if view.cost:
        usd, each = cost_per_request(view.cost), _per_million(view)
        cost = [{"low": usd.low * each, "value": usd.value * each, "high": usd.high * each}]
    ends = [row["usd"] for row in offers] + [row[end] for row in cost for end in ("low", "high")]
    return {"offers": [{**row, "left": min(ends) / 1.3} for row in offers], "cost": cost}


def _hosts(view: Hosts, rows: Datasets) -> Any:
    """What a million tokens of the mix cost at each offer, as dots, against the cost here as a band."""
    alt = altair()
    ends = [row["usd"] for row in rows["offers"]] + [row["high"] for row in rows["cost"]]
    scale = alt.Scale(type="log", domain=[rows["offers"][0]["left"], max(ends) * 1.6], nice=False)
    left = alt.X("left:Q", scale=scale)
    x = alt.X("usd:Q", title="$ per million tokens of the mix, input and output", scale=scale)
    y = alt.Y("offer:N", sort=[row["offer"] for row in rows["offers"]], title=None, axis=None)
    tips = [
        alt.Tooltip("offer:N"), alt.Tooltip("shown:N", title="$ per million tokens"),
        alt.Tooltip("ratio:N", title="output over input"), alt.Tooltip("margin:Q", title="margin", format="+.0%"),
    ]  # fmt: skip
    base = alt.Chart(held("offers"))
    names = base.mark_text(align="left", dy=-10, fontSize=11, limit=280).encode(x=left, y=y, text="offer:N")
    layers = [
        base.mark_rule(opacity=0.25, color=COLOURS[4]).encode(x=left, x2="usd:Q", y=y),
        names,
        base.mark_point(filled=True, size=70, color=COLOURS[1], opacity=1).encode(x=x, y=y, tooltip=tips),
        base.mark_text(align="left", dx=8).encode(x=x, y=y, text=alt.Text("ratio:N")),
    ]
    if rows["cost"]:
        cost = alt.Chart(held("cost"))
        layers = [
            cost.mark_rect(color=COLOURS[3], opacity=0.25).encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
            cost.mark_rule(color=COLOURS[2], strokeWidth=2).encode(x=alt.X("value:Q", scale=scale)),
            *layers,
        ]
    drawn = alt.layer(*layers).properties(width=WIDTH, height={"step": 32})
    more = [headline(view.cost), "line and band: cost here, and its 90% interval"] if view.cost else [view.missing]
    return titled(
        drawn, f"Offers of {view.model}", *more, "beside a dot: price of output over that of input", view.source
    )


def _hosts_said(view: Hosts, rows: Datasets) -> str:
    first, last = rows["offers"][0], rows["offers"][-1]
    cost = "".join(
        f" It costs {format_money(c['value'])} here, {format_money(c['low'])} to {format_money(c['high'])}."
        for c in rows["cost"]
    )
    return (
        f"Offers of {view.model}, $ per million tokens of the mix: {len(rows['offers'])} from {first['shown']}"
        f" ({first['offer']}) to {last['shown']} ({last['offer']}).{cost} {view.source}."
    )


def _region_rows(view: Against) -> Datasets:
    found, rate = view.region, view.cost.rate
    assert rate
    band = [("rate", rate.usd_per_second)]
    if rate.band:
        band = [("lowest rate", rate.band[0]), ("rate", rate.usd_per_second), ("highest rate", rate.band[1])]
    rows = [
        {"batch": float(b), "utilisation": float(u), "rate": f"{name}, {format_money(each * HOUR)}/h"}
        for name, each in band
        for b, u in zip(found.batch, found.utilisation(each), strict=True)
        if u <= 1.0
    ]
    if not rows:
        raise PertokenError(
            "at no batch does this price pay for the machine, even never idle, so there is no region to draw"
        )
    return {"lines": rows}


def _region(view: Against, rows: Datasets) -> Any:
    """The utilisation at which cost is the price, against batch, at three rents; above a line the seller earns."""
    alt = altair()
    order = list(dict.fromkeys(str(row["rate"]) for row in rows["lines"]))
    batch = view.region.batch
    scale = alt.Scale(type="log", domain=[float(batch[0]), float(batch[-1])], nice=False)
    x = alt.X("batch:Q", title="sequences that decode together (batch)", scale=scale, axis=alt.Axis(format="~s"))
    y = alt.Y(
        "utilisation:Q",
        title="utilisation at which cost is the price",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format="%"),
    )
    colours = alt.Scale(domain=order, range=[COLOURS[i] for i in (5, 1, 2)][: len(order)])
    colour = alt.Color("rate:N", title=None, sort=order, scale=colours, legend=alt.Legend(orient="bottom", columns=1))
    lines = alt.Chart(held("lines")).mark_line().encode(x=x, y=y, color=colour)
    offer = view.compared.offer
    return titled(
        lines.properties(width=WIDTH, height=HEIGHT), f"What the price of {offer.name} implies", headline(view.cost),
        f"{format_money(view.price)} for a mean request; above a line its seller earns at that rate, below it loses", view.source,
    )  # fmt: skip


def _region_said(view: Against, rows: Datasets) -> str:
    ends: dict[str, list[dict[str, Any]]] = {}
    for row in rows["lines"]:
        ends.setdefault(row["rate"], []).append(row)
    lines = [
        f"at the {rate} {line[0]['utilisation']:.0%} at a batch of {line[0]['batch']:,.0f} and"
        f" {line[-1]['utilisation']:.0%} at {line[-1]['batch']:,.0f}"
        for rate, line in ends.items()
    ]
    return f"Utilisation at which cost is the price of {view.compared.offer.name}: {'; '.join(lines)}."


def _volume_rows(view: Against) -> Datasets:
    """A month's bill at the offer and here against requests a day, and where the user and the break-even are."""
    h, even = view.hosting, view.hosting.break_even(view.price)
    middle = [even.requests_per_day] if even else [h.per_machine * 0.5]
    middle += [view.bill.per_day] if view.bill else []
    found = np.geomspace(min(middle) / 20.0, max(middle) * 20.0, POINTS)
    steps = h.per_machine * np.arange(1, STEPS + 1)[:, None] * (1.0, 1.0 + 1e-6)  # where another machine is needed
    found = np.unique(np.concatenate((found, steps[(steps > found[0]) & (steps < found[-1])])))
    days = MONTH / DAY
    lines = [{"requests": float(n), "usd": float(n) * view.price * days, "who": "the API"} for n in found]
    lines += [{"requests": float(n), "usd": h.usd(float(n)) * days, "who": "served here"} for n in found]
    marks: Rows = []
    if even:
        each = even.requests_per_day
        marks.append({"requests": each, "usd": each * view.price * days, "text": "break-even"})
    if view.bill:
        own = view.own_bill
        marks.append({"requests": view.bill.per_day, "usd": own["api_usd_per_month"], "text": "you"})
    return {"lines": lines, "marks": marks}


def _volume(view: Against, rows: Datasets) -> Any:
    """When serving oneself is cheaper than the offer."""
    alt = altair()
    lines, marks = alt.Chart(held("lines")), alt.Chart(held("marks"))
    n, usd = ([row[key] for row in rows["lines"]] for key in ("requests", "usd"))
    x = alt.X(
        "requests:Q", title="requests a day", scale=alt.Scale(type="log", domain=[min(n), max(n)], nice=False),
        axis=alt.Axis(format="~s"),
    )  # fmt: skip
    y = alt.Y(
        "usd:Q", title="$ a month", scale=alt.Scale(type="log", domain=[min(usd) / 1.5, max(usd) * 1.5], nice=False),
        axis=alt.Axis(format="$~s"),
    )  # fmt: skip
    who = ["the API", "served here"]
    colours = alt.Scale(domain=who, range=[COLOURS[1], COLOURS[2]])
    colour = alt.Color("who:N", title=None, sort=who, scale=colours, legend=alt.Legend(orient="bottom"))
    layers = [
        lines.mark_line(clip=True).encode(x=x, y=y, color=colour),
        marks.mark_point(filled=True, size=80, color=COLOURS[5], opacity=1).encode(x=x, y=y, tooltip=["text:N"]),
        marks.mark_text(align="right", dx=-9, dy=-9).encode(x=x, y=y, text="text:N"),
    ]
    spare = f"{view.hosting.spare} spare machine{'s' * (view.hosting.spare != 1)}"
    return titled(
        alt.layer(*layers).properties(width=WIDTH, height=HEIGHT), f"{view.compared.offer.name} or serving it here",
        headline(view.cost), f"machines paid round the clock, {spare}", view.source,
    )  # fmt: skip


def _volume_said(view: Against, rows: Datasets) -> str:
    marks = "; ".join(
        f"{mark['text']} at {mark['requests']:,.0f} requests a day and {format_money(mark['usd'])} a month at the API"
        for mark in rows["marks"]
    )
    never = "" if view.hosting.break_even(view.price) else " The API is cheaper at every volume."
    return (
        f"A month's bill of {view.compared.offer.name} and of serving it here, against requests a day: {marks or 'two lines'}."
        f"{never}"
    )


PICTURES: Mapping[str, Picture] = {
    "offers": Picture(_hosts_rows, _hosts, _hosts_said),
    "implied": Picture(_region_rows, _region, _region_said),
    "break-even": Picture(_volume_rows, _volume, _volume_said),
}
