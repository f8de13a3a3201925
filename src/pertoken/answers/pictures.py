"""Charts that only the answers have: transfers between requests, and a request by its ratio of input to output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pertoken.cost import Cost
from pertoken.report.axes import COLOURS
from pertoken.report.drawings import altair
from pertoken.report.text import headline

PAYS = ("pays more than it costs", "pays less")


def _titled(chart: Any, cost: Cost, what: str, *more: str) -> Any:
    title = {"text": what, "subtitle": [headline(cost), *more], "anchor": "start"}
    return chart.properties(width=520, height=300, title=title).configure_axis(gridOpacity=0.5)


def transfers(cost: Cost, offs: Sequence[float]) -> Any:
    """What flat prices charge over cost, by groups of requests from short to long.

    Parameters
    ----------
    cost : Cost
        The case.
    offs : sequence of float
        Charged over cost, less 1 [1].
    """
    alt = altair()
    rows = [{"group": i + 1, "off": off, "who": PAYS[off < 0]} for i, off in enumerate(offs)]
    bars = alt.Chart(alt.Data(values=rows)).mark_bar()
    drawn = bars.encode(
        x=alt.X("group:O", title="requests from short to long, in equal parts", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("off:Q", title="charged over cost", axis=alt.Axis(format="+%")),
        color=alt.Color("who:N", title=None, scale=alt.Scale(domain=list(PAYS), range=[COLOURS[1], COLOURS[2]])),
    )
    return _titled(drawn, cost, "What a flat price moves", f"lengths: {cost.workload.lengths.origin}")


def mixes(cost: Cost, found: Sequence[tuple[float, float, float]]) -> Any:
    """What input and output of a request cost, by the ratio of their lengths.

    Parameters
    ----------
    cost : Cost
        The case.
    found : sequence of (ratio, cost of a request, share of it that is input's)
        Points.
    """
    alt = altair()
    rows = [
        {"ratio": ratio, "cost": whole * part, "of": name, "order": order}
        for ratio, whole, share in found
        for order, (name, part) in enumerate((("output", 1.0 - share), ("input", share)))
    ]
    unit = "$" if cost.rate else "accelerator-s"
    bars = alt.Chart(alt.Data(values=rows)).mark_bar()
    drawn = bars.encode(
        x=alt.X("ratio:O", title="input tokens for each output token", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("cost:Q", title=f"{unit} of a request", stack="zero"),
        color=alt.Color(
            "of:N", title=None, scale=alt.Scale(domain=["input", "output"], range=[COLOURS[1], COLOURS[2]])
        ),
        order=alt.Order("order:Q"),
    )
    return _titled(drawn, cost, "What a request costs by its ratio of input to output", "answers of the same length")
