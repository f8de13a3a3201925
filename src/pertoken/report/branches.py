"""A tree, and the difference of two, as the page opens them branch by branch: every amount and source ready to be read."""

from __future__ import annotations

import math
import re
from typing import Any

from pertoken.cost import Cost
from pertoken.explain.difference import Branch, difference
from pertoken.explain.facts import Fact
from pertoken.explain.tree import Node, Tree
from pertoken.report.explaining import NAMED, OF, label, money, value
from pertoken.units import MILLION, format_money

_URL = re.compile(r"https?://[^\s,;]+")
_CITED = (
    (re.compile(r"\barXiv:(\d{4}\.\d{4,5})"), "https://arxiv.org/abs/"),
    (re.compile(r"\bdoi:(10\.[^\s,;]+)"), "https://doi.org/"),
)


def sources(text: str) -> list[dict[str, str]]:
    """A source's text in its parts: ``of`` what, ``text`` without its address, and ``url`` where it has one."""
    found = []
    for part in OF.split(text) if text else []:
        of = NAMED.match(part)
        rest = part[of.end() :] if of else part
        url = _address(rest)
        shown = re.sub(r",? *" + re.escape(url), "", rest) if url and url in rest else rest
        found.append({"of": of[1] if of else "", "text": shown, "url": url})
    return found


def _address(text: str) -> str:
    if at := _URL.search(text):
        return at[0]
    return next((base + at[1] for pattern, base in _CITED if (at := pattern.search(text))), "")


def _fact(fact: Fact) -> dict[str, Any]:
    return {
        "name": fact.name, "shown": value(fact.value, fact.unit), "formula": fact.formula, "sources": sources(fact.source),
    }  # fmt: skip


def _node(tree: Tree, node: Node) -> dict[str, Any]:
    return {
        "name": label(node.name),
        "shown": money(tree, node.seconds),
        "share": f"{node.seconds / tree.root.seconds:.1%}",
        "formula": node.formula,
        "sources": sources(node.source),
        "facts": [_fact(fact) for fact in node.facts],
        "children": [_node(tree, child) for child in node.children],
    }


def tree(cost: Cost) -> dict[str, Any]:
    """The whole tree of a cost, its amounts of a million requests."""
    found = cost.explain()
    return _node(found, found.root)


def _signed(number: float, unit: str, sign: bool = False) -> str:
    text = format_money(abs(number) * MILLION) if unit == "usd" else f"{abs(number) * MILLION:,.4g} s"
    return (("+" if number > 0 else "-" if number < 0 else "") if sign else "") + text


def _branch(branch: Branch, unit: str) -> dict[str, Any]:
    facts = [
        {"name": name, "before": value(before, of), "after": value(after, of)}
        for name, of, before, after in branch.facts
    ]
    return {
        "name": label(branch.name),
        "mark": branch.mark,
        "before": _signed(branch.before, unit),
        "after": _signed(branch.after, unit),
        "change": "" if branch.mark == "=" else _signed(branch.change, unit, sign=True),
        "ratio": ratio(branch.before, branch.after),
        "facts": facts,
        "children": [_branch(child, unit) for child in branch.children],
    }


def ratio(before: float, after: float) -> str:
    """After over before, as it is said: ``+12%``, ``x 3.4``, ``same``; empty where there is none."""
    if not (math.isfinite(before) and math.isfinite(after)) or before <= 0:
        return ""
    found = after / before
    if abs(found - 1.0) < 5e-5:
        return "same"
    return f"x {found:,.3g}" if found >= 10 or found < 0.1 else f"{found - 1.0:+.1%}"


def branches(before: Cost, after: Cost) -> tuple[dict[str, Any], Branch]:
    """The difference of two costs, branch by branch, of a million requests; and its root."""
    root, unit = difference(before.explain(), after.explain())
    return _branch(root, unit), root
