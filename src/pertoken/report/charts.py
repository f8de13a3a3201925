"""Charts of cost, one definition each for the command, a notebook and the page: against position, batch and load.

Each takes costs or curves and returns an Altair chart, which a notebook shows as it is and `export` writes as a picture.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pertoken.attribution.at import At
from pertoken.attribution.crossing import grid
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.report import curve_text as report
from pertoken.report.curve import Curve
from pertoken.report.curve_text import HEADS, columns, labels
from pertoken.report.export import write_whole
from pertoken.serving.lengths import Array
from pertoken.serving.operating import at_rate
from pertoken.sweep import batches, per_million

POINTS = 160  # of a line
PICTURES = (".png", ".svg")
# colours that the colour-blind tell apart (Okabe and Ito 2008), in the order of the parts
COLOURS = (
    "#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#B0B0B0", "#009E73", "#CC79A7", "#F0E442", "#707070",
)  # fmt: skip
Rows = list[dict[str, Any]]


def altair() -> Any:
    """The library that draws, or a sentence on how to get it."""
    try:
        import altair as found  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise PertokenError(
            "charts need altair and vl-convert-python; install them with: pip install 'pertoken[charts]', or write .csv"
        ) from error
    return found


def _unit(cost: Cost) -> str:
    return "$ per million tokens" if cost.rate else "accelerator-s per million tokens"


def _titled(chart: Any, costs: Sequence[Cost], what: str, *more: str) -> Any:
    """A chart with its title, what it is of, and a grid that stays behind the lines."""
    subjects = dict.fromkeys(
        f"{d.model.name}, weights in {d.precision.weights}, on {d.accelerators} x {d.accelerator.name} ({d.split})"
        for d in (cost.deployment for cost in costs)
    )
    origins = dict.fromkeys(cost.workload.lengths.origin for cost in costs)
    lengths = f"lengths: {next(iter(origins))}" if len(origins) == 1 else "lengths differ"
    subtitle = [*list(subjects)[:4], *(["and others"] if len(subjects) > 4 else []), lengths, *more]
    title = {"text": what, "subtitle": subtitle, "anchor": "start"}
    return chart.properties(title=title).configure_axis(gridOpacity=0.5)


def _names(costs: Sequence[Cost]) -> list[str]:
    return labels([Curve(cost) for cost in costs])


def _line(rows: Rows, x: Any, y: Any, colour: Any, dash: Any = None) -> Any:
    alt = altair()
    chart = alt.Chart(alt.Data(values=rows)).mark_line()
    found = chart.encode(x=x, y=y, color=colour)
    return found.encode(strokeDash=dash) if dash is not None else found


def _log(field: str, title: str, values: Sequence[float], form: str = "~s") -> Any:
    """A logarithmic x axis that ends where the values do."""
    alt = altair()
    scale = alt.Scale(type="log", domain=[min(values), max(values)], nice=False)
    return alt.X(f"{field}:Q", scale=scale, title=title, axis=alt.Axis(format=form))


def _up(field: str, title: str, values: Sequence[float]) -> Any:
    """A logarithmic y axis with a little room above and below."""
    alt = altair()
    scale = alt.Scale(type="log", domain=[min(values) / 1.15, max(values) * 1.15], nice=False)
    return alt.Y(f"{field}:Q", scale=scale, title=title)


def position(curves: Sequence[Curve]) -> Any:
    """Cost of the n-th input and output token: by part for one case, a line a case for several.

    Parameters
    ----------
    curves : sequence of Curve
        Cases.
    """
    alt = altair()
    if len(curves) > 1:
        panels, more = [_cases(curves, token) for token in ("input", "output")], []
    else:
        state = curves[0].cost.operating
        panels = [_parts(curves[0], token) for token in ("input", "output")]
        more = [
            f"batch {float(state.state.batch):,.1f}, bound by {state.bound}",
            f"{report.QUESTION[curves[0].view]}; the {curves[0].who} pays for reading old positions",
        ]
    return _titled(alt.hconcat(*panels), [curve.cost for curve in curves], "Cost of the n-th token", *more)


def _grid(curve: Curve, token: str) -> Array:
    n = grid(float(curve.last(token)), POINTS)
    return n[n >= 2] if token == "output" else n  # the first output token is prefill's, an order of magnitude below


def _position_axis(curves: Sequence[Curve], token: str) -> Any:
    after = "" if token == "input" else f", after {curves[0].before:,} of input"
    return _log("n", f"position of the {token} token{after}", [1.0, float(max(c.last(token) for c in curves))])


def _parts(curve: Curve, token: str) -> Any:
    """Areas by part on top of each other, and the flat price as a rule."""
    alt = altair()
    n = _grid(curve, token)
    at: At = curve.at(token, n)
    shown = columns(at)
    rows: Rows = [
        {"n": float(n[i]), "part": HEADS[part], "cost": float(values[i]), "order": k}
        for k, (part, values) in enumerate(shown.items())
        for i in range(n.size)
    ]
    used = [HEADS[part] for part in shown]
    colours = [COLOURS[list(HEADS).index(part)] for part in shown]
    area = alt.Chart(alt.Data(values=rows)).mark_area()
    stacked = area.encode(
        x=_position_axis([curve], token),
        y=alt.Y("cost:Q", title=_unit(curve.cost), stack="zero"),
        color=alt.Color("part:N", title=None, scale=alt.Scale(domain=used, range=colours), sort=used),
        order=alt.Order("order:Q"),
    )
    flat = alt.Chart(alt.Data(values=[{"flat": curve.flat[token]}])).mark_rule(color="black", strokeDash=[5, 3])
    label = alt.Chart(alt.Data(values=[{"flat": curve.flat[token], "n": 1.0, "text": "flat price"}]))
    text = label.mark_text(align="left", dx=4, dy=-6).encode(x=alt.X("n:Q"), y=alt.Y("flat:Q"), text="text:N")
    return alt.layer(stacked, flat.encode(y="flat:Q"), text).properties(width=360, height=300, title=f"{token} tokens")


def _cases(curves: Sequence[Curve], token: str) -> Any:
    alt = altair()
    rows: Rows = []
    for name, curve in zip(labels(curves), curves, strict=True):
        n = _grid(curve, token)
        rows += [
            {"n": float(x), "case": name, "cost": float(y)} for x, y in zip(n, curve.at(token, n).value, strict=True)
        ]
    y = _up("cost", _unit(curves[0].cost), [row["cost"] for row in rows])
    lines = _line(rows, _position_axis(curves, token), y, alt.Color("case:N", title=None, sort=None))
    return lines.properties(width=360, height=300, title=f"{token} tokens")


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


def batch(costs: Sequence[Cost]) -> Any:
    """Cost of an input and an output token against the batch, all logarithmic."""
    rows: Rows = []
    for name, cost in zip(_names(costs), costs, strict=True):
        x, found = batches(cost)
        rows += [
            {"x": float(x[i]), "cost": float(v[i]), "token": token, "case": name}
            for token, v in found.items()
            for i in range(x.size)
        ]
    return _kinds(costs, rows, "sequences that decode together (batch)", "Cost against batch")


def load(costs: Sequence[Cost]) -> Any:
    """Cost of an input and an output token against load, idle time spread over tokens, all logarithmic."""
    rows: Rows = []
    for name, cost in zip(_names(costs), costs, strict=True):
        x, found, busy = loads(cost)
        rows += [
            {"x": float(x[i]), "cost": float(v[i] / busy[i]), "token": token, "case": name}
            for token, v in found.items()
            for i in range(x.size)
        ]
    what = "load: served rate over the highest that meets the goals"
    return _kinds(costs, rows, what, "Cost against load, idle time included", "~%")


def _kinds(costs: Sequence[Cost], rows: Rows, x: str, title: str, form: str = "~s") -> Any:
    """A line for each kind of token, dashes for the second; a colour for each case if there are several."""
    alt = altair()
    y = _up("cost", _unit(costs[0]), [row["cost"] for row in rows])
    axis = _log("x", x, [row["x"] for row in rows], form)
    if len(costs) == 1:
        colour, dash = alt.Color("token:N", title=None, scale=alt.Scale(range=list(COLOURS[1:3]))), None
    else:
        colour, dash = alt.Color("case:N", title=None, sort=None), alt.StrokeDash("token:N", title=None)
    return _titled(_line(rows, axis, y, colour, dash).properties(width=520, height=320), costs, title)


def ratio(costs: Sequence[Cost]) -> Any:
    """How many times an input token's cost an output token's is, against the batch."""
    alt = altair()
    rows: Rows = []
    for name, cost in zip(_names(costs), costs, strict=True):
        x, found = batches(cost)
        rows += [
            {"x": float(b), "ratio": float(r), "case": name}
            for b, r in zip(x, found["output"] / found["input"], strict=True)
        ]
    axis = _log("x", "sequences that decode together (batch)", [row["x"] for row in rows])
    y = _up("ratio", "output cost / input cost", [1.0, *(row["ratio"] for row in rows)])
    colour = alt.Color("case:N", title=None, sort=None) if len(costs) > 1 else alt.value(COLOURS[1])
    lines = _line(rows, axis, y, colour)
    equal = alt.Chart(alt.Data(values=[{"one": 1.0}])).mark_rule(strokeDash=[5, 3]).encode(y="one:Q")
    drawn = alt.layer(lines, equal).properties(width=520, height=320)
    return _titled(drawn, costs, "An output token's cost over an input token's")


def drawn(curves: Sequence[Curve], kind: str) -> Any:
    """The chart of a kind: position, batch, load or ratio."""
    if kind == "position":
        return position(curves)
    costs = list({id(curve.cost): curve.cost for curve in curves}.values())
    return {"batch": batch, "load": load, "ratio": ratio}[kind](costs)


def picture(chart: Any, suffix: str) -> str | bytes:
    """A chart, or its Vega-Lite definition, as SVG or PNG.

    Raises
    ------
    PertokenError
        When vl-convert is not installed.
    """
    try:
        import vl_convert  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise PertokenError(
            "pictures need vl-convert-python; install it with: pip install 'pertoken[charts]'"
        ) from error
    spec = chart if isinstance(chart, dict) else chart.to_dict()
    if suffix == ".svg":
        return str(vl_convert.vegalite_to_svg(spec))
    return bytes(vl_convert.vegalite_to_png(spec, scale=2))


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
