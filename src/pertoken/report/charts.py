"""Charts of cost, one definition each for the command, a notebook and the page: against position, batch and load.

Each takes costs or curves and returns an Altair chart, which a notebook shows as it is and `export` writes as a picture.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.report import curve_text as report
from pertoken.report.axes import COLOURS, drawn_of, line, log_axis, per_million_unit, up_axis
from pertoken.report.curve import Curve
from pertoken.report.curve_text import labels
from pertoken.report.drawings import Datasets, Drawing, Options, Rows, altair, held
from pertoken.report.export import write_whole
from pertoken.report.positions import position
from pertoken.report.svg import PICTURES, picture
from pertoken.serving.lengths import Array
from pertoken.serving.operating import at_rate
from pertoken.sweep import batches, per_million
from pertoken.units import format_number

POINTS = 160  # of a line


def _names(costs: Sequence[Cost]) -> list[str]:
    return labels([Curve(cost) for cost in costs])


def loads(cost: Cost) -> tuple[Array, dict[str, Array], Array]:
    """Loads up to 1, what tokens cost there without idle time [$ or s per million], and the share of paid time worked.

    Raises
    ------
    PertokenError
        When no rate meets the goals, so there is no load.
    """
    most = cost.operating.most_rate
    if not np.isfinite(most):
        raise PertokenError("no rate meets the goals, so there is no load to draw against; raise --ttft or --tpot")
    load = np.geomspace(0.01, 1.0, POINTS)
    lanes = cost.deployment.split.lanes
    state = at_rate(cost.deployment, cost.operating.moments, load * most / lanes)
    return load, per_million(cost, state), np.broadcast_to(state.busy, load.shape)


def _batch_rows(costs: Sequence[Cost], options: Options) -> Datasets:  # noqa: ARG001
    rows: Rows = []
    for name, cost in zip(_names(costs), costs, strict=True):
        x, found = batches(cost)
        rows += [
            {"x": float(x[i]), "cost": float(v[i]), "token": token, "case": name}
            for token, v in found.items()
            for i in range(x.size)
        ]
    return {"lines": rows}


def batch(costs: Sequence[Cost]) -> Any:
    """Cost of an input and an output token against the batch, all logarithmic."""
    return DRAWINGS["batch"].chart(costs)


def _load_rows(costs: Sequence[Cost], options: Options) -> Datasets:  # noqa: ARG001
    rows: Rows = []
    for name, cost in zip(_names(costs), costs, strict=True):
        x, found, busy = loads(cost)
        rows += [
            {"x": float(x[i]), "cost": float(v[i] / busy[i]), "token": token, "case": name}
            for token, v in found.items()
            for i in range(x.size)
        ]
    return {"lines": rows}


def load(costs: Sequence[Cost]) -> Any:
    """Cost of an input and an output token against load, idle time spread over tokens, all logarithmic."""
    return DRAWINGS["load"].chart(costs)


def _kinds(x: str, title: str, form: str, costs: Sequence[Cost], options: Options, rows: Datasets) -> Any:  # noqa: ARG001
    """A line for each kind of token, dashes for the second; a colour for each case if there are several."""
    alt = altair()
    y = up_axis("cost", per_million_unit(costs[0]), [row["cost"] for row in rows["lines"]])
    axis = log_axis("x", x, [row["x"] for row in rows["lines"]], form)
    if len(costs) == 1:
        colour, dash = alt.Color("token:N", title=None, scale=alt.Scale(range=list(COLOURS[1:3]))), None
    else:
        colour, dash = alt.Color("case:N", title=None, sort=None), alt.StrokeDash("token:N", title=None)
    return drawn_of(line("lines", axis, y, colour, dash).properties(width=520, height=320), costs, title)


def _kinds_said(title: str, costs: Sequence[Cost], options: Options, rows: Datasets) -> str:  # noqa: ARG001
    ends: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows["lines"]:
        ends.setdefault((row["case"], row.get("token", "")), []).append(row)
    said = [
        f"{case + ': ' if len(costs) > 1 else ''}{token} from {format_number(line[0]['cost'], 3)} at"
        f" {format_number(line[0]['x'], 3)} to {format_number(line[-1]['cost'], 3)} at {format_number(line[-1]['x'], 3)}"
        for (case, token), line in ends.items()
    ]
    return f"{title}, {per_million_unit(costs[0])}: {'; '.join(said)}."


def _ratio_rows(costs: Sequence[Cost], options: Options) -> Datasets:  # noqa: ARG001
    rows: Rows = []
    for name, cost in zip(_names(costs), costs, strict=True):
        x, found = batches(cost)
        rows += [
            {"x": float(b), "ratio": float(r), "case": name}
            for b, r in zip(x, found["output"] / found["input"], strict=True)
        ]
    return {"lines": rows, "one": [{"one": 1.0}]}


def ratio(costs: Sequence[Cost]) -> Any:
    """How many times an input token's cost an output token's is, against the batch."""
    return DRAWINGS["ratio"].chart(costs)


def _ratio(costs: Sequence[Cost], options: Options, rows: Datasets) -> Any:  # noqa: ARG001
    alt = altair()
    axis = log_axis("x", "sequences that decode together (batch)", [row["x"] for row in rows["lines"]])
    y = up_axis("ratio", "output cost / input cost", [1.0, *(row["ratio"] for row in rows["lines"])])
    colour = alt.Color("case:N", title=None, sort=None) if len(costs) > 1 else alt.value(COLOURS[1])
    lines = line("lines", axis, y, colour)
    equal = alt.Chart(held("one")).mark_rule(strokeDash=[5, 3]).encode(y="one:Q")
    drawn = alt.layer(lines, equal).properties(width=520, height=320)
    return drawn_of(drawn, costs, "An output token's cost over an input token's")


def _ratio_said(costs: Sequence[Cost], options: Options, rows: Datasets) -> str:  # noqa: ARG001
    first, last = rows["lines"][0], rows["lines"][-1]
    return (
        f"An output token costs {format_number(first['ratio'], 3)} times an input token at a batch of"
        f" {format_number(first['x'], 3)}, and {format_number(last['ratio'], 3)} times at {format_number(last['x'], 3)}."
    )


_BATCH = ("sequences that decode together (batch)", "Cost against batch", "~s")
_LOAD = ("load: served rate over the highest that meets the goals", "Cost against load, idle time included", "~%")


DRAWINGS = {
    "batch": Drawing(_batch_rows, partial(_kinds, *_BATCH), partial(_kinds_said, _BATCH[1])),
    "load": Drawing(_load_rows, partial(_kinds, *_LOAD), partial(_kinds_said, _LOAD[1])),
    "ratio": Drawing(_ratio_rows, _ratio, _ratio_said),
}


def drawn(curves: Sequence[Curve], kind: str) -> Any:
    """The chart of a kind: position, batch, load or ratio."""
    if kind == "position":
        return position(curves)
    costs = list({id(curve.cost): curve.cost for curve in curves}.values())
    return {"batch": batch, "load": load, "ratio": ratio}[kind](costs)


def _page(curves: Sequence[Curve], kind: str) -> str:
    """A page that needs nothing else: the chart as SVG, then the text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>What the n-th token costs</title>'
        '<meta name="viewport" content="width=device-width"><style>body{max-width:110ch;margin:2rem auto;padding:0 1rem;'
        "font:1rem/1.5 system-ui}pre{overflow:auto;font-size:.85rem}svg{max-width:100%;height:auto}</style></head><body>"
        f"<h1>What the n-th token costs</h1>{picture(drawn(curves, kind), '.svg')!s}"
        f"<pre>{html.escape(report.as_text(curves))}</pre></body></html>\n"
    )


def export(curves: Sequence[Curve], kind: str, path: Path) -> None:
    """Write curves to a file; its suffix decides the form, ``kind`` the chart."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        write_whole(path, picture(drawn(curves, kind), suffix))
    elif suffix == ".html":
        write_whole(path, _page(curves, kind))
    elif suffix == ".md":
        write_whole(path, f"# What the n-th token costs\n\n```text\n{report.as_text(curves)}```\n")
    else:
        write_whole(path, {".json": report.to_json, ".csv": report.to_csv, ".txt": report.as_text}[suffix](curves))
