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

from pertoken.attribution.at import At
from pertoken.attribution.crossing import grid
from pertoken.attribution.position import VIEWS, WHO, check_choice
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.report import curve_text as report
from pertoken.report.curve import Curve
from pertoken.report.curve_text import HEADS, columns, labels
from pertoken.report.drawings import Datasets, Drawing, Options, Rows, altair, held, number
from pertoken.report.export import write_whole
from pertoken.serving.lengths import Array
from pertoken.serving.operating import at_rate
from pertoken.sweep import batches, per_million
from pertoken.units import format_number

POINTS = 160  # of a line
PICTURES = (".png", ".svg")
# colours that the colour-blind tell apart (Okabe and Ito 2008), in the order of the parts
COLOURS = (
    "#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#B0B0B0", "#009E73", "#CC79A7", "#F0E442", "#707070",
)  # fmt: skip


def per_million_unit(cost: Cost) -> str:
    """What an amount on an axis is in."""
    return "$ per million tokens" if cost.rate else "accelerator-s per million tokens"


def drawn_of(chart: Any, costs: Sequence[Cost], what: str, *more: str) -> Any:
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


def _line(name: str, x: Any, y: Any, colour: Any, dash: Any = None) -> Any:
    found = altair().Chart(held(name)).mark_line(clip=True).encode(x=x, y=y, color=colour)
    return found.encode(strokeDash=dash) if dash is not None else found


def log_axis(field: str, title: str, values: Sequence[float], form: str = "~s") -> Any:
    """A logarithmic x axis that ends where the values do."""
    alt = altair()
    scale = alt.Scale(type="log", domain=[min(values), max(values)], nice=False)
    return alt.X(f"{field}:Q", scale=scale, title=title, axis=alt.Axis(format=form))


def up_axis(field: str, title: str | None, values: Sequence[float], axis: Any = None) -> Any:
    """A logarithmic y axis with a little room above and below."""
    alt = altair()
    scale = alt.Scale(type="log", domain=[min(values) / 1.15, max(values) * 1.15], nice=False)
    return alt.Y(f"{field}:Q", scale=scale, title=title, **({"axis": axis} if axis else {}))


TOKENS = ("input", "output")


def _curves(costs: Sequence[Cost], options: Options) -> Sequence[Curve]:
    """The curves of an answer each, by the view and payer asked for; or those handed over, a tuple, which JSON has not."""
    found = options.get("curves")
    if isinstance(found, tuple):
        return found
    view, who = str(options.get("view", "fair")), str(options.get("who", "reader"))
    check_choice("view", view, VIEWS)
    check_choice("who", who, WHO)
    return [Curve(cost, view, who) for cost in costs]


def position(curves: Sequence[Curve]) -> Any:
    """Cost of the n-th input and output token: by part for one case, a line a case for several.

    Parameters
    ----------
    curves : sequence of Curve
        Cases.
    """
    return DRAWINGS["position"].chart([curve.cost for curve in curves], {"curves": tuple(curves)})


def _grid(curve: Curve, token: str, options: Options) -> Array:
    n = grid(float(curve.last(token)), int(number(options, "points", POINTS, 2, 1000)))
    return n[n >= 2] if token == "output" else n  # the first output token is prefill's, an order of magnitude below


def _position_rows(tokens: Sequence[str], costs: Sequence[Cost], options: Options) -> Datasets:
    curves, found = _curves(costs, options), {}
    for token in tokens:
        if len(curves) > 1:
            found[f"{token}_cases"] = _case_rows(curves, token, options)
        else:
            found[f"{token}_parts"] = _part_rows(curves[0], token, options)
            found[f"{token}_flat"] = [{"flat": curves[0].flat[token], "n": 1.0, "text": "flat price"}]
    return found


def _part_rows(curve: Curve, token: str, options: Options) -> Rows:
    n = _grid(curve, token, options)
    at: At = curve.at(token, n)
    return [
        {"n": float(n[i]), "part": HEADS[part], "cost": float(values[i]), "order": k}
        for k, (part, values) in enumerate(columns(at).items())
        for i in range(n.size)
    ]


def _case_rows(curves: Sequence[Curve], token: str, options: Options) -> Rows:
    rows: Rows = []
    for name, curve in zip(labels(curves), curves, strict=True):
        n = _grid(curve, token, options)
        rows += [
            {"n": float(x), "case": name, "cost": float(y)} for x, y in zip(n, curve.at(token, n).value, strict=True)
        ]
    return rows


def _position(tokens: Sequence[str], costs: Sequence[Cost], options: Options, rows: Datasets) -> Any:
    curves = _curves(costs, options)
    draw = _cases if len(curves) > 1 else _parts
    panels = [draw(curves, token, rows) for token in tokens]
    more = []
    if len(curves) == 1:
        state = curves[0].cost.operating
        more = [
            f"batch {float(state.state.batch):,.1f}, bound by {state.bound}",
            f"{report.QUESTION[curves[0].view]}; the {curves[0].who} pays for reading old positions",
        ]
    if len(panels) == 1:
        return drawn_of(panels[0], costs, f"Cost of the n-th {tokens[0]} token", *more)
    named = [panel.properties(title=f"{token} tokens") for panel, token in zip(panels, tokens, strict=True)]
    return drawn_of(altair().hconcat(*named), costs, "Cost of the n-th token", *more)


def _position_axis(curves: Sequence[Curve], token: str) -> Any:
    after = "" if token == "input" else f", after {curves[0].before:,} of input"
    return log_axis("n", f"position of the {token} token{after}", [1.0, float(max(c.last(token) for c in curves))])


def _parts(curves: Sequence[Curve], token: str, rows: Datasets) -> Any:
    """Areas by part on top of each other, and the flat price as a rule."""
    alt = altair()
    used = list(dict.fromkeys(row["part"] for row in rows[f"{token}_parts"]))
    colours = [COLOURS[list(HEADS.values()).index(part)] for part in used]
    whole: dict[float, float] = {curves[0].flat[token]: curves[0].flat[token]}
    for row in rows[f"{token}_parts"]:
        whole[row["n"]] = whole.get(row["n"], 0.0) + row["cost"]
    stacked = alt.Chart(held(f"{token}_parts")).mark_area(clip=True).encode(
        x=_position_axis(curves, token),
        y=alt.Y("cost:Q", title=per_million_unit(curves[0].cost), stack="zero", scale=alt.Scale(domain=[0, max(whole.values())])),
        color=alt.Color("part:N", title=None, scale=alt.Scale(domain=used, range=colours), sort=used),
        order=alt.Order("order:Q"),
    )  # fmt: skip
    flat = alt.Chart(held(f"{token}_flat"))
    rule = flat.mark_rule(strokeDash=[5, 3]).encode(y="flat:Q")
    text = flat.mark_text(align="left", dx=4, dy=-6).encode(x=alt.X("n:Q"), y=alt.Y("flat:Q"), text="text:N")
    return alt.layer(stacked, rule, text).properties(width=360, height=300)


def _cases(curves: Sequence[Curve], token: str, rows: Datasets) -> Any:
    y = up_axis("cost", per_million_unit(curves[0].cost), [row["cost"] for row in rows[f"{token}_cases"]])
    lines = _line(f"{token}_cases", _position_axis(curves, token), y, altair().Color("case:N", title=None, sort=None))
    return lines.properties(width=360, height=300)


def _position_said(tokens: Sequence[str], costs: Sequence[Cost], options: Options, rows: Datasets) -> str:  # noqa: ARG001
    said = []
    for name, curve in zip(labels(curves := _curves(costs, options)), curves, strict=True):
        for token in tokens:
            last = curve.last(token)
            first = min(2 if token == "output" else 1, last)
            ends = [report.amount(curve, float(v)) for v in curve.at(token, np.array([first, last], dtype=float)).value]
            of = f"{name}: " if len(curves) > 1 else ""
            said.append(f"{of}{token} token {first:,} costs {ends[0]} per million and token {last:,} {ends[1]}")
    return f"Cost of the n-th token by position. {'; '.join(said)}."


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
    return drawn_of(_line("lines", axis, y, colour, dash).properties(width=520, height=320), costs, title)


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
    lines = _line("lines", axis, y, colour)
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


def _of_tokens(tokens: Sequence[str]) -> Drawing:
    return Drawing(partial(_position_rows, tokens), partial(_position, tokens), partial(_position_said, tokens))


DRAWINGS = {
    "position": _of_tokens(TOKENS),
    "position-input": _of_tokens(TOKENS[:1]),
    "position-output": _of_tokens(TOKENS[1:]),
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


def picture(chart: Any, suffix: str) -> str | bytes:
    """A chart as SVG or PNG.

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
    spec = chart.to_dict()
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
