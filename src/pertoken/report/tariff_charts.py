"""Charts of tariffs on a trace: who pays for whom by length, and Lorenz curves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pertoken.report.axes import COLOURS
from pertoken.report.drawings import Datasets, altair, held
from pertoken.report.market_charts import WIDTH, Picture, titled
from pertoken.report.text import headline

if TYPE_CHECKING:
    from pertoken.report.market_tariffs import Tariffs

PAYS = ("pays more than it costs", "pays less")


def _group_rows(by: str, view: Tariffs) -> Datasets:
    """What each tenth of requests pays over its cost."""
    groups = view.judged[view.shown][1].groups(by)
    overs = [g.charge / g.cost - 1.0 for g in groups]
    return {
        f"{by}_tenths": [
            {"group": f"{g.low:,.0f} to {g.high:,.0f}", "over": over, "tenth": i + 1, "who": PAYS[over < 0]}
            for i, (g, over) in enumerate(zip(groups, overs, strict=True))
        ]
    }


def _bars(by: str, rows: Datasets) -> Any:
    alt = altair()
    found = [row["over"] for row in rows[f"{by}_tenths"]]
    ends = [min(0.0, *found), max(0.0, *found)]
    return alt.Chart(held(f"{by}_tenths")).mark_bar().encode(
        x=alt.X("tenth:O", title=f"tenths of requests, from short to long {by}", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("over:Q", title="pays over its cost", axis=alt.Axis(format="+%"), scale=alt.Scale(domain=ends)),
        color=alt.Color("who:N", title=None, legend=alt.Legend(orient="bottom"),
                        scale=alt.Scale(domain=list(PAYS), range=[COLOURS[2], COLOURS[1]])),
        tooltip=[alt.Tooltip("group:N", title=f"{by} tokens"), alt.Tooltip("over:Q", title="pays over cost", format="+.1%")],
    )  # fmt: skip


def _groups(by: str, view: Tariffs, rows: Datasets) -> Any:
    drawn = _bars(by, rows).properties(width=WIDTH, height=260)
    return titled(
        drawn, f"Who pays for whom, by {by} length", view.shown, headline(view.cost), view.cost.workload.lengths.origin
    )


def _groups_said(by: str, view: Tariffs, rows: Datasets) -> str:
    found = rows[f"{by}_tenths"]
    ends = "; ".join(f"requests of {row['group']} {row['over']:+.1%}" for row in (found[0], found[-1]))
    return (
        f"What tenths of requests by {by} length pay over their cost under {view.shown}, shortest and longest: {ends}."
    )


def _label(name: str, moved: float) -> str:
    return f"{name} ({moved:.1%} moved)"


def _lorenz_rows(view: Tariffs) -> Datasets:
    rows = []
    for name, (_, fair) in view.judged.items():
        x, y = fair.lorenz()
        label = _label(name, fair.moved)
        rows += [{"cost": float(a), "gap": max(0.0, float(a - b)), "tariff": label} for a, b in zip(x, y, strict=True)]
    return {"lines": rows}


def _curves(rows: Datasets) -> Any:
    alt = altair()
    names = list(dict.fromkeys(row["tariff"] for row in rows["lines"]))
    return alt.Chart(held("lines")).mark_line().encode(
        x=alt.X("cost:Q", title="share of cost, least paid first", axis=alt.Axis(format="%")),
        y=alt.Y("gap:Q", title="share of revenue still owed", axis=alt.Axis(format="%")),
        color=alt.Color("tariff:N", title=None, sort=names, legend=alt.Legend(labelLimit=300, orient="bottom", columns=1),
                        scale=alt.Scale(domain=names, range=list(COLOURS))),
    ).properties(width=WIDTH, height=240)  # fmt: skip


LORENZ = ("What tariffs move", "Lorenz curves: their distance from equality, at most the share moved")


def _lorenz(view: Tariffs, rows: Datasets) -> Any:
    return titled(_curves(rows), *LORENZ, headline(view.cost), view.cost.workload.lengths.origin)


def _lorenz_said(view: Tariffs, rows: Datasets) -> str:  # noqa: ARG001
    moved = "; ".join(f"{name} {fair.moved:.2%}" for name, (_, fair) in view.judged.items())
    return f"Distance of Lorenz curves from equality; share of revenue moved: {moved}."


def _all_rows(view: Tariffs) -> Datasets:
    return {**_group_rows("input", view), **_group_rows("output", view), **_lorenz_rows(view)}


def _all(view: Tariffs, rows: Datasets) -> Any:
    """Bars by input and by output length, and curves below."""
    alt = altair()
    bars = [_bars(by, rows).properties(width=300, height=220) for by in ("input", "output")]
    drawn = alt.vconcat(
        alt.hconcat(*bars), _curves(rows).properties(title={"text": LORENZ[0], "subtitle": LORENZ[1]})
    ).resolve_scale(color="independent")
    return titled(drawn, f"Who pays for whom: {view.shown}", headline(view.cost), view.cost.workload.lengths.origin)


def _all_said(view: Tariffs, rows: Datasets) -> str:
    return " ".join((*(_groups_said(by, view, rows) for by in ("input", "output")), _lorenz_said(view, rows)))


PICTURES: Mapping[str, Picture] = {
    **{
        f"tariff-{by}": Picture(partial(_group_rows, by), partial(_groups, by), partial(_groups_said, by))
        for by in ("input", "output")
    },
    "tariff-lorenz": Picture(_lorenz_rows, _lorenz, _lorenz_said),
    "tariffs": Picture(_all_rows, _all, _all_said),
}
