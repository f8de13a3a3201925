"""Counterfactuals as a table of plain text, and as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pertoken.cost import Cost
from pertoken.report.text import plain, table, wrap
from pertoken.units import format_money, format_seconds
from pertoken.whatif.base import Outcome, binding

TOKENS = ("input", "output")


def _change(before: float, after: float) -> str:
    if before <= 0:
        return ""
    ratio = after / before
    if abs(ratio - 1) < 5e-4:
        return "same"
    return f"x {ratio:,.3g}" if ratio >= 10 else f"{ratio - 1:+.1%}"


def _moves(before: Cost, after: Cost) -> str:
    """Tokens whose cost is mostly something else than before."""
    pairs = [(token, binding(before, token)[0], binding(after, token)[0]) for token in TOKENS]
    short = {"input": "in", "output": "out"}
    return "; ".join(f"{short.get(token, token)} {old}>{new}" for token, old, new in pairs if old != new)


def rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Heads, the case as it is, and a row for each outcome."""
    first = outcomes[0]
    unit = "$" if first.priced else "s"

    def money(value: float) -> str:
        return format_money(value) if first.priced else f"{value:.4g}"

    heads = ["what if", f"input {unit}/M", "", f"output {unit}/M", "", f"{unit}/request", "", "bound moves"]
    base = first.figures(first.before)
    names = ("input_blended", "output", "request")
    now = [cell for name in names for cell in (money(base[name]), "")]
    found = [heads, ["  as it is", *now, ""]]
    for outcome in outcomes:
        if outcome.after is not None:
            cost = outcome.after.cost
            new = outcome.figures(cost)
            cells = [cell for name in names for cell in (money(new[name]), _change(base[name], new[name]))]
            found.append([f"  {outcome.name}", *cells, _moves(outcome.before, cost)])
    return found


def _beyond(before: Cost, after: Cost) -> str:
    """Times that no longer meet a goal, in words."""
    goals, missed = before.workload.goals, []
    for name in ("ttft", "tpot"):
        goal = getattr(goals, name) * 1.002  # a goal that binds is met to rounding
        old, new = (getattr(c.operating, f"{name}_s") for c in (before, after))
        if old <= goal < new:
            missed.append(f"{name.upper()} {format_seconds(new)}")
    return ", ".join(missed)


def as_text(outcomes: Sequence[Outcome]) -> str:
    """The table, then what each row assumes, and which could not apply."""
    lines = table(rows(outcomes), left=(0, 7))
    before = outcomes[0].before
    bound = ", ".join(
        f"{token} by {name} ({share:.0%})" for token in TOKENS for name, share in [binding(before, token)]
    )
    legend = "" if outcomes[0].priced else "s: accelerator-seconds; "
    lines += wrap(
        f"{legend}input: all of it, cached or not. A token is bound by what takes most of its time; as it is, {bound}; throughput"
        f" is limited by {before.operating.bound}.", "  ", "  ",
    )  # fmt: skip
    for outcome in outcomes:
        if outcome.after is None:
            lines += wrap(f"{outcome.name}: does not apply; {outcome.refused}")
            continue
        notes = "; ".join((outcome.sentence, *outcome.after.assumed))
        lines += wrap(f"{outcome.name}: {notes}")
        cost = outcome.after.cost
        unit = cost.rate.usd_per_second if cost.rate else 1.0
        for name, seconds in outcome.after.lines:
            shown = format_money(seconds * unit * 1e6) if cost.rate else f"{seconds * 1e6:.4g} accelerator-seconds"
            share = seconds / cost.accelerator_s.output.value
            lines += wrap(f"of which {name}: {shown} per million output tokens ({share:.0%})", "      ", "      ")
        if cost.operating.bound != before.operating.bound:
            lines += wrap(f"throughput is then limited by {cost.operating.bound}", "      ", "      ")
        times = _beyond(before, cost)
        if times:
            lines += wrap(f"beyond the goals, which the case as it is meets: {times}", "      ", "      ")
    return plain("\n".join(lines) + "\n")


def as_list(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Plain data, one for each counterfactual; SI units."""
    return [_as_dict(outcome) for outcome in outcomes]


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {"name": outcome.name, "what": outcome.sentence, "applies": outcome.after is not None}
    if outcome.after is None:
        return found | {"reason": outcome.refused}
    cost, before = outcome.after.cost, outcome.before
    return found | {
        "unit": "usd" if outcome.priced else "accelerator_s",
        "per_million_and_request": {"before": outcome.figures(before), "after": outcome.figures(cost)},
        "binds": {
            token: {
                when: dict(zip(("resource", "share"), binding(c, token), strict=True))
                for when, c in (("before", before), ("after", cost))
            }
            for token in TOKENS
        },
        "limit": {"before": before.operating.bound, "after": cost.operating.bound},
        "serving": {
            when: {
                "ttft_s": c.operating.ttft_s,
                "tpot_s": c.operating.tpot_s,
                "batch": float(c.operating.state.batch),
            }
            for when, c in (("before", before), ("after", cost))
        },
        "lines": [{"name": name, "accelerator_s_per_output_token": seconds} for name, seconds in outcome.after.lines],
        "assumed": list(outcome.after.assumed),
    }
