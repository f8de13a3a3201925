"""The view Position: what the n-th token costs, single positions side by side, and a flat price against the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pertoken.attribution.position import VIEWS, WHO, check_choice
from pertoken.errors import PertokenError
from pertoken.report import curve_text as report
from pertoken.report.curve import Curve

if TYPE_CHECKING:
    from pertoken.web.asked import Asked

TOKENS = ("input", "output")
USUAL = (11, 10_001)  # the question that the page opens with
MOST = 6  # positions side by side
POINTS = 60  # of a line on the page


def view(asked: Asked) -> dict[str, Any]:
    """What the view shows; options ``view``, ``who`` and ``n``, a list of positions."""
    curve = made(asked)
    try:
        found = shown(curve)
    except PertokenError as refused:  # this question has no answer here; others have
        found = {
            "sentences": [f"{str(refused)[0].upper()}{str(refused)[1:]}."],
            "tables": [],
            "cards": [],
            "charts": [],
        }
    return {
        "title": "Position",
        **found,
        "limit": {token: curve.last(token) for token in TOKENS},
        "choices": {
            "view": [{"value": name, "label": report.QUESTION[name]} for name in VIEWS],
            "who": [{"value": name, "label": f"the {name} pays for reading old positions"} for name in WHO],
        },
    }


def shown(curve: Curve) -> dict[str, Any]:
    """Sentences, tables, figures and charts of one curve, and the command's own document."""
    options = {"view": curve.view, "who": curve.who, "points": POINTS, "n": list(curve.asked)}
    return {
        "sentences": [*(whys(curve, token) for token in TOKENS), *report.sentences(curve)],
        "tables": [table(curve, token) for token in TOKENS],
        "cards": [card(curve, token, n) for token in TOKENS for n in curve.shown(token)],
        "charts": [{"name": f"position-{token}", "options": options} for token in TOKENS if curve.last(token) > 1],
        "document": report.document(curve),
    }


def made(asked: Asked) -> Curve:
    """The curve that was asked for."""
    options = asked.options
    view, who, n = options.get("view", "fair"), options.get("who", "reader"), options.get("n", list(USUAL))
    for name, value, known in (("view", view, VIEWS), ("who", who, WHO)):
        check_choice(name, str(value)[:60], known)
    if not isinstance(n, list) or not 1 <= len(n) <= MOST:
        raise PertokenError(f"the option n must be a list of 1 to {MOST} positions, such as [11, 10001]")
    for each in n:
        if isinstance(each, bool) or not isinstance(each, int) or not 1 <= each <= 10**9:
            raise PertokenError(
                f"a position is {str(each)[:40]!r}; it must be a whole number from 1 to the context limit"
            )
    curve = Curve(asked.cost, view, who)
    kept = [min(each, curve.limit) for each in n]
    return Curve(asked.cost, view, who, tuple(sorted(set(kept))))


def ordinal(n: float) -> str:
    """``1st``, ``11th``, ``10,001st``."""
    last = int(n) % 10 if int(n) % 100 not in (11, 12, 13) else 0
    return f"{n:,.0f}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def card(curve: Curve, token: str, n: float) -> dict[str, Any]:
    """One position as a figure of the page."""
    at = curve.at(token, np.array([n]))
    value, low, high = (float(x[0]) for x in (at.value, at.low, at.high))
    parts = sorted(report.columns(at).items(), key=lambda item: -float(item[1][0]))
    unit = "$" if curve.cost.rate else "accelerator-s"
    return {
        "token": token,
        "n": int(n),
        "label": f"{ordinal(n)} {token} token",
        "value": value, "low": low, "high": high, "unit": f"{unit} per million tokens",
        "shown": report.amount(curve, value),
        "range": f"{report.amount(curve, low)} to {report.amount(curve, high)} per million",
        "over_flat": report.off(value / curve.flat[token]),
        "formula": " + ".join(report.HEADS[name] for name, _ in parts),
        "inputs": [
            {"name": report.HEADS[name], "shown": report.amount(curve, float(v[0])), "value": float(v[0]), "unit": unit,
             "basis": "derived", "source": "share of the step's time, by operation", "url": None, "date": None}
            for name, v in parts
        ],
        "basis": "derived",
        "url": None,
    }  # fmt: skip


def table(curve: Curve, token: str) -> dict[str, Any]:
    """Positions of one kind of token side by side: a column a position, a line a part."""
    n = curve.shown(token)
    after = "" if token == "input" else f", after {curve.before:,} input tokens"
    title = f"The n-th {token} token by part{after}"
    if not n.size:
        note = f"No position asked for is within {curve.last(token):,}."
        return {"title": title, "head": ["part"], "rows": [], "note": note}
    at, means = curve.at(token, n), curve.means(token, n)
    unit = "$ per million" if curve.cost.rate else "accelerator-s per million"

    def line(name: str, values: Any, form: Any = None) -> list[str]:
        return [name, *((form or (lambda v: report.cell(curve, v)))(float(v)) for v in values)]

    rows = [line(report.HEADS[part], values) for part, values in report.columns(at).items()]
    rows += [line("all", at.value), line("low", at.low), line("high", at.high)]
    rows.append(line("against the flat price", at.value / curve.flat[token], report.off))
    if curve.cumulative:
        rows.append(line("mean of all up to here", means))
        rows.append(line("that mean against the flat price", means / curve.flat[token], report.off))
    flat = report.amount(curve, curve.flat[token])
    note = f"Flat price: {flat} per million, the traffic's mean. Dense: arithmetic and padding."
    return {"title": title, "head": [unit, *(ordinal(each) for each in n)], "rows": rows, "note": note}


def whys(curve: Curve, token: str) -> str:
    """Why the last position asked for costs more or less than the first."""
    n = curve.shown(token)
    if n.size < 2:
        return f"Give two positions within {curve.last(token):,} to compare {token} tokens."
    at = curve.at(token, n)
    first, last = float(at.value[0]), float(at.value[-1])
    names = f"The {ordinal(n[-1])} {token} token costs {report.amount(curve, last)} per million"
    if abs(last / first - 1.0) < 5e-4:
        return f"{names}, as much as the {ordinal(n[0])}: its attention to what came before is too small to show."
    moved = {report.HEADS[name]: float(v[-1] - v[0]) for name, v in report.columns(at).items()}
    most = max(moved, key=lambda name: abs(moved[name]))
    times = last / first
    ratio = (
        f"{times:,.3g} times"
        if times >= 1.1 or times < 0.9
        else f"{abs(times - 1):.1%} {'more' if times > 1 else 'less'} than"
    )
    share = moved[most] / (last - first)
    whole = "all" if share > 0.995 else f"{share:.0%}"
    return f"{names}, {ratio} the {ordinal(n[0])}; {whole} of the difference is {_SPOKEN.get(most, most)}."


_SPOKEN = {
    "KV read": "reading the KV cache", "attention": "attention's arithmetic", "weights": "reading weights",
    "dense": "products with weights", "moving": "moving activations", "residency": "memory held",
}  # fmt: skip
