"""Charts of the market, one definition each for the command, a notebook and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pertoken.errors import PertokenError
from pertoken.market import ratios as lists
from pertoken.market.compare import cost_per_request
from pertoken.report.axes import COLOURS
from pertoken.report.drawings import altair
from pertoken.report.text import headline
from pertoken.units import HOUR, MILLION, format_money

if TYPE_CHECKING:
    from pertoken.report.market import Hosts
    from pertoken.report.market_list import History, Ratios
    from pertoken.report.market_offer import Against
    from pertoken.report.market_tariffs import Tariffs

MOST_LINES = 14  # of one chart
WIDTH, HEIGHT = 520, 320


def _titled(chart: Any, what: str, *more: str) -> Any:
    title = {"text": what, "subtitle": list(more), "anchor": "start"}
    return chart.properties(title=title, description=". ".join((what, *more))).configure_axis(gridOpacity=0.5, labelLimit=420)


def _of(alt: Any, rows: Sequence[dict[str, Any]]) -> Any:
    return alt.Chart(alt.Data(values=list(rows)))


def hosts(view: Hosts) -> Any:
    """What a million tokens of the mix cost at each offer, as dots, against the cost here as a band."""
    alt = altair()
    paid = [row for row in view.compared if row.usd_per_request > 0]
    if not paid:
        raise PertokenError("no offer charges anything, so there is nothing to draw; ask for another model")
    rows = [
        {"offer": r.offer.name, "usd": r.usd_per_token * MILLION, "shown": format_money(r.usd_per_token * MILLION),
         "ratio": f"{r.offer.ratio:.1f}" if r.offer.ratio == r.offer.ratio else ""}
        for r in paid
    ]  # fmt: skip
    usd = cost_per_request(view.cost) if view.cost else None
    tokens = float(view.mix.tokens.mean()) / MILLION
    ends = [usd.low / tokens, usd.high / tokens] if usd else []
    prices = [r.usd_per_token * MILLION for r in paid]
    scale = alt.Scale(type="log", domain=[min(prices + ends) / 1.3, max(prices + ends) * 2.2], nice=False)
    x = alt.X("usd:Q", title="$ per million tokens of the mix, input and output", scale=scale)
    y = alt.Y("offer:N", sort=[row["offer"] for row in rows], title=None)
    base = _of(alt, rows)
    layers = [
        base.mark_point(filled=True, size=70, color=COLOURS[1], opacity=1).encode(x=x, y=y),
        base.mark_text(align="left", dx=8).encode(x=x, y=y, text=alt.Text("ratio:N")),
    ]
    if usd:
        band = _of(alt, [{"low": ends[0], "high": ends[1]}]).mark_rect(color=COLOURS[3], opacity=0.25)
        line = _of(alt, [{"at": usd.value / tokens}]).mark_rule(color=COLOURS[2], strokeWidth=2)
        layers = [
            band.encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
            line.encode(x=alt.X("at:Q", scale=scale)),
            *layers,
        ]
    drawn = alt.layer(*layers).properties(width=WIDTH, height={"step": 20})
    more = (
        [
            headline(view.cost),
            "line and band: cost here, and its 90% interval; numbers: price of output over that of input",
        ]
        if view.cost
        else [view.missing]
    )
    return _titled(drawn, f"Offers of {view.model}", *more, view.source)


def region(view: Against) -> Any:
    """The utilisation at which cost is the price, against batch, at three rents; above a line the seller earns."""
    alt = altair()
    found, rate = view.region, view.cost.rate
    assert rate
    band = [("rate", rate.usd_per_second)]
    if rate.band:
        band = [("lowest rate", rate.band[0]), ("rate", rate.usd_per_second), ("highest rate", rate.band[1])]
    rows = []
    for name, each in band:
        label = f"{name}, {format_money(each * HOUR)}/h"
        share = found.utilisation(each)
        rows += [
            {"batch": float(b), "utilisation": float(u), "rate": label}
            for b, u in zip(found.batch, share, strict=True)
            if u <= 1.0
        ]
    order = list(dict.fromkeys(str(row["rate"]) for row in rows))
    if not rows:
        raise PertokenError(
            "at no batch does this price pay for the machine, even never idle, so there is no region to draw"
        )
    scale = alt.Scale(type="log", domain=[float(found.batch[0]), float(found.batch[-1])], nice=False)
    x = alt.X("batch:Q", title="sequences that decode together (batch)", scale=scale, axis=alt.Axis(format="~s"))
    y = alt.Y(
        "utilisation:Q",
        title="utilisation at which cost is the price",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format="%"),
    )
    colour = alt.Color(
        "rate:N",
        title=None,
        sort=order,
        scale=alt.Scale(domain=order, range=[COLOURS[i] for i in (5, 1, 2)][: len(order)]),
    )
    lines = _of(alt, rows).mark_line().encode(x=x, y=y, color=colour)
    offer = view.compared.offer
    return _titled(
        lines.properties(width=WIDTH, height=HEIGHT), f"What the price of {offer.name} implies", headline(view.cost),
        f"{format_money(view.price)} for a mean request; above a line its seller earns at that rate, below it loses", view.source,
    )  # fmt: skip


def transfers(view: Tariffs) -> Any:
    """Who pays for whom by decile of length, and Lorenz curves of the tariffs."""
    alt = altair()
    fair = view.judged[view.shown][1]
    bars = []
    for by in ("input", "output"):
        rows = [
            {"group": f"{g.low:,.0f} to {g.high:,.0f}", "over": g.charge / g.cost - 1.0, "at": i}
            for i, g in enumerate(fair.groups(by))
        ]
        bar = _of(alt, rows).mark_bar()
        bars.append(
            bar.encode(
                x=alt.X("group:O", sort=alt.EncodingSortField("at"), title=f"{by} tokens of a request, a tenth of requests each",
                        axis=alt.Axis(labelAngle=-40)),
                y=alt.Y("over:Q", title="pays over its cost", axis=alt.Axis(format="+%")),
                color=alt.condition("datum.over > 0", alt.value(COLOURS[2]), alt.value(COLOURS[1])),
            ).properties(width=300, height=220)
        )  # fmt: skip
    curves: list[dict[str, Any]] = []
    names = list(dict.fromkeys(f"{name} ({f.moved:.1%} moved)" for name, (_, f) in view.judged.items()))
    for name, (_, each) in view.judged.items():
        x, y = each.lorenz()
        label = f"{name} ({each.moved:.1%} moved)"
        curves += [
            {"cost": float(a), "gap": max(0.0, float(a - b)), "tariff": label} for a, b in zip(x, y, strict=True)
        ]
    lines = _of(alt, curves).mark_line().encode(
        x=alt.X("cost:Q", title="share of all cost, requests that pay least for theirs first", axis=alt.Axis(format="%")),
        y=alt.Y("gap:Q", title="share of revenue still owed", axis=alt.Axis(format="%")),
        color=alt.Color("tariff:N", title=None, sort=names, legend=alt.Legend(labelLimit=320),
                        scale=alt.Scale(domain=names, range=list(COLOURS))),
    ).properties(width=WIDTH, height=240, title="Lorenz curve: its distance from equality, at most the share moved")  # fmt: skip
    drawn = alt.vconcat(alt.hconcat(*bars), lines).resolve_scale(color="independent")
    return _titled(drawn, f"Who pays for whom: {view.shown}", headline(view.cost), view.cost.workload.lengths.origin)


def distribution(view: Ratios) -> Any:
    """How many models sell output at how many times input, with the quartiles."""
    alt = altair()
    edges = np.arange(0.75, 12.3, 0.5)
    found = np.clip(lists.ratios(view.offers), edges[0], edges[-1])
    count, _ = np.histogram(found, edges)
    rows = [
        {"low": float(a), "high": float(a + 0.5), "models": int(n), "zero": 0}
        for a, n in zip(edges, count, strict=False)
    ]
    bars = _of(alt, rows).mark_bar(color=COLOURS[0]).encode(
        x=alt.X("low:Q", title="output price over input price (12 and more in the last bar)",
                scale=alt.Scale(domain=[0.5, 12.5])),
        x2="high:Q", y=alt.Y("models:Q", title="models", scale=alt.Scale(zero=True)), y2="zero:Q",
    )  # fmt: skip
    marks = [
        {"at": q, "what": f"{name} {q:.2f}"}
        for name, q in zip(("lower quartile", "median", "upper quartile"), lists.quartiles(view.offers), strict=True)
    ]
    rules = _of(alt, marks).mark_rule(color=COLOURS[2], strokeDash=[5, 3]).encode(x="at:Q")
    top = max(count)
    for i, mark in enumerate(marks):
        mark["row"] = float(top * (1.0 - 0.07 * i))
    words = _of(alt, marks).mark_text(align="left", dx=4).encode(x="at:Q", y="row:Q", text="what:N")
    return _titled(
        alt.layer(bars, rules, words).properties(width=WIDTH, height=HEIGHT), "What output costs in inputs", view.source
    )


def history(view: History) -> Any:
    """Output prices as steps over time."""
    alt = altair()
    names = list(dict.fromkeys(d.name for d in view.dated if d.since))
    if not names:
        raise PertokenError(
            "the list dates none of these prices, so there is no history to draw; ask for another model"
        )
    shown = names[:MOST_LINES]
    rows = []
    for name in shown:
        own = [d for d in view.dated if d.name == name and d.since <= view.today]
        dated = [d for d in own if d.since]
        if len(own) > len(dated) and dated:  # the price before the first dated one, drawn from a month before it
            start = str(np.datetime64(dated[0].since) - np.timedelta64(30, "D"))
            rows.append({"day": start, "usd": own[0].tariff.base.output * MILLION, "offer": name})
        rows += [{"day": d.since, "usd": d.tariff.base.output * MILLION, "offer": name} for d in dated]
        if own:
            rows.append({"day": view.today, "usd": own[-1].tariff.base.output * MILLION, "offer": name})
    rows = [row for row in rows if float(str(row["usd"])) > 0]
    lines = _of(alt, rows).mark_line(interpolate="step-after", point=True).encode(
        x=alt.X("day:T", title=None),
        y=alt.Y("usd:Q", title="output, $ per million tokens", scale=alt.Scale(type="log")),
        color=alt.Color("offer:N", title=None, sort=shown, legend=alt.Legend(labelLimit=360)),
    )  # fmt: skip
    more = [f"the first {MOST_LINES} of {len(names)} whose changes are dated"] if len(names) > MOST_LINES else []
    return _titled(lines.properties(width=WIDTH, height=HEIGHT), f"Prices over time: {view.title}", view.source, *more)
