"""A cost as a line, as a small table in a terminal, and as one in a notebook."""

from __future__ import annotations

import html
from typing import Any, Protocol

from pertoken.explain.costed import Costed
from pertoken.explain.tree import Tree, explain
from pertoken.units import MILLION, format_money, format_seconds

HEADS = ("per million tokens", "cost", "low", "high")


class Answered(Costed, Protocol):
    """A cost with its figures per token."""

    @property
    def accelerator_s(self) -> Any: ...
    @property
    def accelerator_s_per_request(self) -> Any: ...


def title(cost: Costed) -> str:
    """Model, formats and machine."""
    d = cost.deployment
    name = "".join(c if c.isprintable() else repr(c)[1:-1] for c in d.model.name)  # of a user's file
    return f"{name}, weights in {d.precision.weights}, on {d.accelerators} x {d.accelerator.name} ({d.split})"


def rows(cost: Answered) -> list[tuple[str, ...]]:
    """Input, cached and output tokens, and a request, each with low and high; accelerator-seconds without a rate."""
    unit, tokens = cost.rate.usd_per_second if cost.rate else 1.0, cost.tokens_per_request

    def shown(value: float) -> str:
        return format_money(value * unit) if cost.rate else f"{value:.4g} s"

    found = []
    for name in ("input", "cached", "output"):
        if name != "cached" or tokens["cached"] > 0:
            figure = getattr(cost.accelerator_s, name)
            found.append((name, *(shown(getattr(figure, case) * MILLION) for case in ("value", "low", "high"))))
    whole = cost.accelerator_s_per_request
    asked = f"a request of {tokens['input'] + tokens['cached']:,.0f} + {tokens['output']:,.0f}"
    found.append((asked, *(shown(getattr(whole, case)) for case in ("value", "low", "high"))))
    return found


def serving(cost: Costed) -> str:
    """Latency and throughput in a line."""
    point = cost.operating
    rate = cost.requests_per_s * cost.tokens_per_request["output"]
    return (
        f"TTFT {format_seconds(point.ttft_s)}, TPOT {format_seconds(point.tpot_s)}, {rate:,.0f} output tokens/s,"
        f" busy {cost.utilisation:.0%}, bound by {point.bound}"
    )


def money(cost: Costed) -> str:
    """What an accelerator-second is priced at, or why it is not."""
    return cost.rate.origin if cost.rate else f"in accelerator-seconds: {cost.rate_missing}"


def line(cost: Answered) -> str:
    """The answer in a line."""
    figures = ", ".join(f"{name} {value}" for name, value, *_ in rows(cost)[:-1])
    return f"<Cost of {title(cost)}: {figures} per million tokens>"


def table(cost: Answered) -> str:
    """The answer as a small table of plain text."""
    body = [HEADS, *rows(cost)]
    widths = [max(len(r[i]) for r in body) for i in range(len(HEADS))]
    lines = [
        "  ".join([r[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(r[1:], widths[1:], strict=True))]).rstrip()
        for r in body
    ]
    return "\n".join([title(cost), *(f"  {text}" for text in lines), f"  {serving(cost)}", f"  {money(cost)}"])


def html_table(cost: Answered) -> str:
    """The answer as an HTML table for a notebook."""
    head = "".join(f"<th>{name}</th>" for name in HEADS)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in r) + "</tr>" for r in rows(cost))
    notes = "".join(f"<br><small>{html.escape(text)}</small>" for text in (serving(cost), money(cost)))
    caption = f"<caption>{html.escape(title(cost))}{notes}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Explained:
    """A cost that explains itself: as a tree, and as a table in a terminal and in a notebook."""

    def explain(self: Answered) -> Tree:
        """The tree behind the cost: money, seconds, steps, operations, what bound them, FLOP and bytes."""
        return explain(self)

    def __str__(self: Answered) -> str:
        return table(self)

    def __repr__(self: Answered) -> str:
        return line(self)

    def _repr_html_(self: Answered) -> str:
        return html_table(self)
