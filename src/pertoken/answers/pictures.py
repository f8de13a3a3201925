"""Charts that only the answers have: transfers between requests, and a request by its ratio of input to output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pertoken.answers import traffic
from pertoken.answers import transfers as between
from pertoken.answers.base import amount
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.report.axes import COLOURS
from pertoken.report.drawings import Datasets, Drawing, Options, altair, held
from pertoken.report.text import headline

PAYS = ("pays more than it costs", "pays less")


def _titled(chart: Any, cost: Cost, what: str, *more: str) -> Any:
    title = {"text": what, "subtitle": [headline(cost), *more], "anchor": "start"}
    return chart.properties(width=520, height=300, title=title).configure_axis(gridOpacity=0.5)


def _one(costs: Sequence[Cost]) -> Cost:
    if len(costs) != 1:
        raise PertokenError(f"{len(costs)} cases were asked for; this chart draws one")
    return costs[0]


def _transfer_rows(costs: Sequence[Cost], options: Options) -> Datasets:
    """What flat prices charge over cost, less 1, by groups of requests; handed over as a tuple, which JSON has not, or found."""
    given = options.get("offs")
    offs = given if isinstance(given, tuple) else between.offs(between.requests(_one(costs)))
    return {"groups": [{"group": i + 1, "off": off, "who": PAYS[off < 0]} for i, off in enumerate(offs)]}


def _transfers(costs: Sequence[Cost], options: Options, rows: Datasets) -> Any:  # noqa: ARG001
    alt = altair()
    drawn = alt.Chart(held("groups")).mark_bar().encode(
        x=alt.X("group:O", title="requests from short to long, in equal parts", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("off:Q", title="charged over cost", axis=alt.Axis(format="+%")),
        color=alt.Color("who:N", title=None, legend=alt.Legend(orient="bottom"),
                        scale=alt.Scale(domain=list(PAYS), range=[COLOURS[2], COLOURS[1]])),
        tooltip=[alt.Tooltip("group:O", title="part"), alt.Tooltip("off:Q", title="charged over cost", format="+.1%")],
    )  # fmt: skip
    return _titled(drawn, costs[0], "What a flat price moves", f"lengths: {costs[0].workload.lengths.origin}")


def _transfers_said(costs: Sequence[Cost], options: Options, rows: Datasets) -> str:  # noqa: ARG001
    first, last = rows["groups"][0]["off"], rows["groups"][-1]["off"]
    return (
        f"What flat prices charge over cost, requests in {len(rows['groups'])} equal parts by length: the shortest"
        f" {first:+.1%}, the longest {last:+.1%}."
    )


def transfers(cost: Cost, offs: Sequence[float]) -> Any:
    """What flat prices charge over cost, by groups of requests from short to long.

    Parameters
    ----------
    cost : Cost
        The case.
    offs : sequence of float
        Charged over cost, less 1 [1].
    """
    return DRAWINGS["transfers"].chart([cost], {"offs": tuple(offs)})


def _mix_rows(costs: Sequence[Cost], options: Options) -> Datasets:
    """Parts of a request's cost by the ratio of its lengths; handed over as a tuple, or found."""
    given = options.get("mixes")
    if not isinstance(given, tuple):
        given = tuple((m.ratio, m.request, m.input_share) for m in traffic.mixes(_one(costs))[0])
    return {
        "parts": [
            {"ratio": ratio, "cost": whole * part, "of": name, "order": order}
            for ratio, whole, share in given
            for order, (name, part) in enumerate((("output", 1.0 - share), ("input", share)))
        ]
    }


def _mixes(costs: Sequence[Cost], options: Options, rows: Datasets) -> Any:  # noqa: ARG001
    alt, cost = altair(), costs[0]
    unit = "$" if cost.rate else "accelerator-s"
    kinds = ["input", "output"]
    drawn = alt.Chart(held("parts")).mark_bar().encode(
        x=alt.X("ratio:O", title="input tokens for each output token", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("cost:Q", title=f"{unit} of a request", stack="zero"),
        color=alt.Color("of:N", title=None, legend=alt.Legend(orient="bottom"),
                        scale=alt.Scale(domain=kinds, range=[COLOURS[1], COLOURS[2]])),
        order=alt.Order("order:Q"),
        tooltip=[alt.Tooltip("ratio:O"), alt.Tooltip("of:N"), alt.Tooltip("cost:Q", title=unit, format=",.3~r")],
    )  # fmt: skip
    return _titled(drawn, cost, "What a request costs by its ratio of input to output", "answers of the same length")


def _mixes_said(costs: Sequence[Cost], options: Options, rows: Datasets) -> str:  # noqa: ARG001
    whole: dict[float, float] = {}
    for row in rows["parts"]:
        whole[row["ratio"]] = whole.get(row["ratio"], 0.0) + row["cost"]
    said = ", ".join(f"{amount(cost, costs[0].rate is not None)} at {ratio:g}" for ratio, cost in whole.items())
    return f"What a request costs by its input tokens for each output token: {said}."


def mixes(cost: Cost, found: Sequence[tuple[float, float, float]]) -> Any:
    """What input and output of a request cost, by the ratio of their lengths.

    Parameters
    ----------
    cost : Cost
        The case.
    found : sequence of (ratio, cost of a request, share of it that is input's)
        Points.
    """
    return DRAWINGS["mixes"].chart([cost], {"mixes": tuple(found)})


DRAWINGS = {
    "transfers": Drawing(_transfer_rows, _transfers, _transfers_said),
    "mixes": Drawing(_mix_rows, _mixes, _mixes_said),
}
