"""Cost against position, drawn: by part for one case, a line a case for several."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from pertoken.attribution.at import At
from pertoken.attribution.crossing import grid
from pertoken.attribution.position import VIEWS, WHO, check_choice
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.report import curve_text as report
from pertoken.report.axes import COLOURS, drawn_of, line, log_axis, per_million_unit, up_axis
from pertoken.report.curve import Curve
from pertoken.report.curve_text import HEADS, columns, labels
from pertoken.report.drawings import Datasets, Drawing, Options, Rows, altair, held, number
from pertoken.serving.lengths import Array

POINTS = 160  # of a line
MOST_MARKS = 8  # positions marked
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


def _drawable(tokens: Sequence[str], curves: Sequence[Curve]) -> Sequence[str]:
    """Kinds of token that have a course to draw: not output where no request has a second output token."""
    found = [token for token in tokens if all(curve.last(token) > 1 for curve in curves)]
    if not found:
        raise PertokenError(
            "no request has a second output token, so there is no course to draw; give --output 2 or more"
        )
    return found


def _grid(curve: Curve, token: str, options: Options) -> Array:
    n = grid(float(curve.last(token)), int(number(options, "points", POINTS, 2, 1000)))
    return n[n >= 2] if token == "output" else n  # the first output token is prefill's, an order of magnitude below


def _position_rows(tokens: Sequence[str], costs: Sequence[Cost], options: Options) -> Datasets:
    curves = _curves(costs, options)
    found: Datasets = {}
    for token in _drawable(tokens, curves):
        if len(curves) > 1:
            found[f"{token}_cases"] = _case_rows(curves, token, options)
        else:
            found[f"{token}_parts"] = _part_rows(curves[0], token, options)
            found[f"{token}_flat"] = [{"flat": curves[0].flat[token], "n": 1.0, "text": "flat price"}]
        found[f"{token}_asked"] = _asked(curves, token, options)
    return found


def _asked(curves: Sequence[Curve], token: str, options: Options) -> Rows:
    """Positions that are marked: the option ``n``."""
    given = options.get("n", [])
    if not isinstance(given, list) or len(given) > MOST_MARKS:
        raise PertokenError(f"the option n must be a list of at most {MOST_MARKS} positions")
    last = max(curve.last(token) for curve in curves)
    marks = (number({"n": each}, "n", 1, 1, 1e9) for each in given)
    return [{"asked": n, "label": f"{n:,.0f}"} for n in marks if n <= last]


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
    tokens = _drawable(tokens, curves)
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
    return alt.layer(stacked, rule, text, *_marks(token)).properties(width=360, height=300)


def _marks(token: str) -> list[Any]:
    """Rules at the positions asked for, with their numbers on top."""
    alt = altair()
    asked = alt.Chart(held(f"{token}_asked"))
    x = alt.X("asked:Q")
    number_of = asked.mark_text(align="left", baseline="top", dx=3, dy=2).encode(x=x, y=alt.value(0), text="label:N")
    return [asked.mark_rule().encode(x=x), number_of]


def _cases(curves: Sequence[Curve], token: str, rows: Datasets) -> Any:
    y = up_axis("cost", per_million_unit(curves[0].cost), [row["cost"] for row in rows[f"{token}_cases"]])
    lines = line(f"{token}_cases", _position_axis(curves, token), y, altair().Color("case:N", title=None, sort=None))
    return altair().layer(lines, *_marks(token)).properties(width=360, height=300)


def _position_said(tokens: Sequence[str], costs: Sequence[Cost], options: Options, rows: Datasets) -> str:  # noqa: ARG001
    said = []
    for name, curve in zip(labels(curves := _curves(costs, options)), curves, strict=True):
        for token in _drawable(tokens, curves):
            last = curve.last(token)
            first = min(2 if token == "output" else 1, last)
            ends = [report.amount(curve, float(v)) for v in curve.at(token, np.array([first, last], dtype=float)).value]
            of = f"{name}: " if len(curves) > 1 else ""
            said.append(f"{of}{token} token {first:,} costs {ends[0]} per million and token {last:,} {ends[1]}")
    return f"Cost of the n-th token by position. {'; '.join(said)}."


def _of_tokens(tokens: Sequence[str]) -> Drawing:
    return Drawing(partial(_position_rows, tokens), partial(_position, tokens), partial(_position_said, tokens))


DRAWINGS = {
    "position": _of_tokens(TOKENS),
    "position-input": _of_tokens(TOKENS[:1]),
    "position-output": _of_tokens(TOKENS[1:]),
}
