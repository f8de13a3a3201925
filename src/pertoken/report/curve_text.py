"""Cost against position as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from pertoken.attribution.at import At
from pertoken.attribution.batch import PARTS
from pertoken.attribution.crossing import DENSE, share
from pertoken.errors import PertokenError
from pertoken.report.curve import OFF, Curve
from pertoken.report.document import clean, safe_cell
from pertoken.report.text import bullets, headline, plain, table, wrap
from pertoken.units import format_money, format_number

HEADS = {
    "weights": "weights", "kv": "KV read", "attention": "attention", "dense": "dense", "activations": "moving",
    "links": "links", "overhead": "overhead", "residency": "residency", "fixed": "fixed time",
}  # fmt: skip
QUESTION = {
    "fair": "fair share: the tokens of the traffic together pay the machine",
    "alone": "stand-alone: a step for this token only",
    "marginal": "short-run marginal: one more token in today's batch; does not add up",
    "long-run": "long-run marginal: machines added for it",
}


def columns(at: At) -> dict[str, Any]:
    """Parts as the table shows them: arithmetic and its padding as one."""
    found = {name: share(dict(at.parts), (name,)) for name in HEADS if name != "dense"}
    found["dense"] = share(dict(at.parts), DENSE)
    return {name: found[name] for name in HEADS if np.any(found[name])}


def amount(curve: Curve, value: float) -> str:
    """An amount with its unit."""
    return format_money(value) if curve.cost.rate else f"{format_number(value, 4)} s"


def cell(curve: Curve, value: float) -> str:
    """An amount in a column whose head has the unit."""
    return format_money(value) if curve.cost.rate else format_number(value, 4)


def _table(curve: Curve, token: str) -> list[str]:
    n = curve.shown(token)
    if not n.size:
        return wrap(f"no {token} position asked for is within {curve.last(token):,}", "  ", "  ")
    at, means = curve.at(token, n), curve.means(token, n)
    parts = columns(at)
    extra = ["mean to it", "to flat"] if curve.cumulative else []
    rows = [[f"{token} token", "$/M" if curve.cost.rate else "s/M", *extra, *(HEADS[p] for p in parts)]]
    for i, position in enumerate(n):
        mean = [cell(curve, means[i]), off(means[i] / curve.flat[token])] if curve.cumulative else []
        cells = [cell(curve, parts[p][i]) if parts[p][i] else "" for p in parts]
        rows.append([f"{position:,.0f}", cell(curve, at.value[i]), *mean, *cells])
    return ["  " + line for line in table(rows, left=())]


def off(ratio: float) -> str:
    """How far a ratio is from 1."""
    return f"{ratio - 1.0:+.0%}" if ratio < 10.0 else f"{ratio:,.0f} x"


def _where(n: int | None, what: str = "position") -> str:
    return "nowhere up to the limit" if n is None else f"from {what} {n:,} on"


def sentences(curve: Curve) -> list[str]:
    """Where attention overtakes the rest, and how far a flat price is from the truth."""
    over, reader = curve.overtakes, curve.who == "reader"
    lines = []
    if reader:
        flop, time = over["input_flop"], over["input_time"]
        when = _where(None) if flop == time is None else f"{_where(flop)} in FLOP and {_where(time)} in time"
        lines.append(
            f"Attention overtakes an input token's products with weights {when}; all else that the token pays for"
            f" {_where(over['input_attention_over_rest'])}."
        )
    if reader and curve.decodes:
        weights = f"an output token's share of the weight read {_where(over['output_kv_over_weights'], 'context')}; "
        shared = curve.view in ("fair", "alone")  # a marginal holds no weights, which are read anyway
        what = "all else that the token pays for" if shared else "all else that an output token pays for"
        lines.append(
            f"Reading the token's own cache overtakes {weights if shared else ''}{what}"
            f" {_where(over['output_attention_over_rest'], 'context')}."
        )
    if not reader:
        output = max(1, round(float(curve.cost.operating.moments.output)))
        lines.append(
            f"A position pays for being read by all behind it, in a request of {curve.before:,} input and {output:,} output"
            " tokens (longer where its own position is)."
        )
    if curve.view == "fair" and reader:
        lines += [_flat(curve, token) for token in ("input", *(["output"] if curve.decodes else []))]
    if curve.view == "long-run":
        lines.append(f"Machines are added to meet what binds here: {curve.cost.operating.bound}.")
    return lines


def _flat(curve: Curve, token: str) -> str:
    """How far one price for all positions is from the truth."""
    wrong, length = curve.off(token), "a prompt" if token == "input" else "an answer"
    clauses = []
    if wrong["below_upto"]:
        clauses.append(f"over {OFF:.0%} less up to {wrong['below_upto']:,} tokens")
    if wrong["above_from"]:
        clauses.append(f"over {OFF:.0%} more from {wrong['above_from']:,} tokens on")
    clauses.append(f"{off(wrong['at_last'] + 1.0)} at {curve.last(token):,}")
    flat = amount(curve, curve.flat[token])
    return f"Against one flat {token} price of {flat}, a token of {length} costs {', '.join(clauses)}."


def answer(curve: Curve) -> str:
    """One case as a screen of text."""
    cost = curve.cost
    lines = [
        headline(cost),
        *wrap(f"{QUESTION[curve.view]}; the {curve.who} pays for reading old positions", "  ", "    "),
        f"  batch {float(cost.operating.state.batch):,.1f}, bound by {cost.operating.bound}; lengths:"
        f" {cost.workload.lengths.origin}",
        "",
        *_table(curve, "input"),
        "",
        *_table(curve, "output"),
        "",
        *(line for sentence in sentences(curve) for line in wrap(sentence, "", "  ")),
        "",
        *wrap(
            ("to flat: mean cost of a prompt (an answer) of that length against the traffic's mean. " if curve.cumulative else "")
            + f"dense: arithmetic and padding. Output after {curve.before:,} input tokens, the mean; its first token comes from"
            " prefill.",
            "", "  ",
        ),
    ]  # fmt: skip
    lines += ["", *wrap(f"In accelerator-seconds: {cost.rate_missing}", "", "  ")] if cost.rate is None else []
    lines += ["", "assumed (give it to change it)", *bullets(cost.assumed)] if cost.assumed else []
    return plain("\n".join(lines) + "\n")


def labels(curves: Sequence[Curve]) -> list[str]:
    """What tells cases apart, a short text for each."""
    tables = [{**curve.cost.scenario, "view": curve.view, "who": curve.who} for curve in curves]
    keys = dict.fromkeys(key for t in tables for key in t)
    varied = [key for key in keys if len({str(t.get(key)) for t in tables}) > 1]
    return [", ".join(f"{key} {t.get(key, 'default')}" for key in varied) or "this case" for t in tables]


def comparison(curves: Sequence[Curve]) -> str:
    """Several cases side by side: a line a position, a column a case."""
    names = labels(curves)
    heads = [f"{chr(65 + i % 26)}{'' if i < 26 else i // 26}" for i in range(len(names))]
    of = dict.fromkeys(headline(curve.cost) for curve in curves)
    lines = [*(of if len(of) == 1 else ()), *(f"{head}: {name}" for head, name in zip(heads, names, strict=True))]
    for token in ("input", "output"):
        shown = sorted({float(n) for curve in curves for n in curve.shown(token)})
        rows = [[f"{token} token, $/M" if curves[0].cost.rate else f"{token} token, s/M", *heads]]
        for n in shown:
            cells = [
                cell(curve, float(curve.at(token, np.array([n])).value[0])) if n <= curve.last(token) else ""
                for curve in curves
            ]
            rows.append([f"{n:,.0f}", *cells])
        lines += ["", *table(rows, left=())]
    for head, curve in zip(heads, curves, strict=True):
        lines += [
            "",
            *(line for s in sentences(curve) for line in wrap(f"{head}: {s}", "", "  ")),
        ]
    shared = [s for s in curves[0].cost.assumed if all(s in c.cost.assumed for c in curves)]
    lines += ["", "assumed in all cases", *bullets(shared)] if shared else []
    for head, curve in zip(heads, curves, strict=True):
        if own := [s for s in curve.cost.assumed if s not in shared]:
            lines += [f"{head}: also assumed", *bullets(own)]
    return plain("\n".join(lines) + "\n")


def as_text(curves: Sequence[Curve]) -> str:
    """One case in full, or several side by side."""
    return answer(curves[0]) if len(curves) == 1 else comparison(curves)


def _rows(curve: Curve, token: str) -> list[dict[str, Any]]:
    n = curve.shown(token)
    if not n.size:
        return []
    at, means = curve.at(token, n), curve.means(token, n)
    return [
        {
            "position": int(n[i]), "value": at.value[i], "low": at.low[i], "high": at.high[i], "mean": means[i],
            "over_flat": means[i] / curve.flat[token] - 1.0, "parts": {part: v[i] for part, v in at.parts.items()},
        }
        for i in range(n.size)
    ]  # fmt: skip


def document(curve: Curve) -> dict[str, Any]:
    """One case as plain data."""
    cost = curve.cost
    found: dict[str, Any] = clean(
        {
            "unit": f"{'$' if cost.rate else 'accelerator-s'} per million tokens",
            "view": curve.view,
            "who": curve.who,
            "context_limit": curve.limit,
            "bound": cost.operating.bound,
            "batch": float(cost.operating.state.batch),
            "flat": curve.flat,
            "input": _rows(curve, "input"),
            "output_after": curve.before,
            "output": _rows(curve, "output"),
            "overtakes": curve.overtakes,
            "off_flat": {token: curve.off(token) for token in ("input", "output")},
            "model": cost.deployment.model.name,
            "usd_missing": None if cost.rate else cost.rate_missing,
            "assumed": cost.assumed,
            "scenario": cost.scenario,
        }
    )
    return found


def to_json(curves: Sequence[Curve]) -> str:
    """JSON of one case, or ``{"cases": [...]}`` of several."""
    found = [document(curve) for curve in curves]
    return json.dumps(found[0] if len(found) == 1 else {"cases": found}, indent=2, allow_nan=False) + "\n"


def to_csv(curves: Sequence[Curve]) -> str:
    """One line for each case, kind of token and position."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["case", "view", "who", "unit", "token", "position", "value", "low", "high", "mean", "over_flat", *PARTS]
    )
    for name, curve in zip(labels(curves), curves, strict=True):
        unit = "usd_per_million" if curve.cost.rate else "accelerator_s_per_million"
        for token in ("input", "output"):
            for row in _rows(curve, token):
                figures = [float(row[key]) for key in ("value", "low", "high", "mean", "over_flat")]
                parts = [float(row["parts"].get(part, 0.0)) for part in PARTS]
                cells = [name, curve.view, curve.who, unit, token, row["position"], *figures, *parts]
                writer.writerow([safe_cell(cell) for cell in cells])
    return out.getvalue()


def check_same(curves: Sequence[Curve]) -> None:
    """Refuse to put dollars and seconds in one table."""
    if len({curve.cost.rate is None for curve in curves}) > 1:
        missing = next(curve.cost for curve in curves if curve.cost.rate is None)
        raise PertokenError(f"cases with and without dollars cannot be compared by position: {missing.rate_missing}")
