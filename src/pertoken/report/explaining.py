"""A tree, or the difference of two, as indented text and as data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from pertoken.cost import Cost
from pertoken.explain.difference import Branch, difference
from pertoken.explain.facts import Fact
from pertoken.explain.tree import Node, Tree
from pertoken.report.document import clean
from pertoken.report.text import LABELS, headline, plain, table, wrap
from pertoken.units import HOUR, MILLION, format_bytes, format_money, format_rate, format_seconds

DEPTH = 3
DEEPEST = 5  # request, token, steps, operation, part, facts
SMALL = 0.01  # of the whole; smaller branches of a node are shown together,
KEPT = 3  # but for so many of each node
OF = re.compile(r"; (?=[A-Za-z_]{1,8}: )")
NAMED = re.compile(r"([A-Za-z_]{1,8}): ")


def depth_help() -> str:
    """What each depth shows."""
    return "1 tokens, 2 steps, 3 operations, 4 what bound them, 5 FLOP, bytes, peaks and sources"


def label(name: str) -> str:
    """A node's name for reading."""
    return LABELS.get(name, name).replace("/", ": ")


def value(number: float, unit: str) -> str:
    """A quantity in the unit a reader would use."""
    if not math.isfinite(number):
        return "none"
    if unit == "s":
        return format_seconds(number)
    if unit == "byte":
        return format_bytes(number)
    if unit in ("FLOP", "FLOP/s", "FLOP/byte"):
        return format_rate(number, unit)
    if unit == "byte/s":
        return f"{format_bytes(number)}/s"
    if unit == "$":
        return format_money(number)
    return f"{number:,.4g}" + ("" if unit == "1" else f" {unit}")


def money(tree: Tree, seconds: float) -> str:
    """Of a million requests."""
    if tree.usd_per_second is None:
        return f"{seconds * MILLION:,.4g} s"
    return format_money(seconds * tree.usd_per_second * MILLION)


class _Sources:
    """Sources by number, in the order met."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def mark(self, source: str) -> str:
        """``[1]``, or ``W [1], e_m [2]`` where a source names what it is of."""
        marks = []
        for part in OF.split(source) if source else []:
            of = NAMED.match(part)
            text = part[of.end() :] if of else part
            number = self.numbers.setdefault(text, len(self.numbers) + 1)
            marks.append(f"{of[1]} [{number}]" if of else f"[{number}]")
        return "  " + ", ".join(marks) if marks else ""

    def lines(self) -> list[str]:
        """The list at the end."""
        found = [wrap(f"[{number}] {text}", "", "    ") for text, number in self.numbers.items()]
        return ["", "sources", *(line for lines in found for line in lines)] if found else []

    def fact(self, fact: Fact) -> str:
        """A quantity with formula and source."""
        formula = f" = {fact.formula}" if fact.formula else ""
        return f"{fact.name} {value(fact.value, fact.unit)}{formula}{self.mark(fact.source)}"

    def notes(self, node: Node, indent: str) -> list[str]:
        """Formula and quantities of a node."""
        lines = wrap(f"= {node.formula}{self.mark(node.source)}", indent, indent + "  ") if node.formula else []
        return lines + [line for fact in node.facts for line in wrap(f". {self.fact(fact)}", indent, indent + "  ")]


def _rows(tree: Tree, node: Node, depth: int, sources: _Sources, at: int = 0) -> list[list[str] | str]:
    """Rows of the table (name, money, share), and lines of facts as plain text."""
    whole = tree.root.seconds
    rows: list[list[str] | str] = [
        ["  " * at + label(node.name), money(tree, node.seconds), f"{node.seconds / whole:.1%}"]
    ]
    if depth >= DEEPEST:
        rows += sources.notes(node, "  " * at + "    ")
    if at >= min(depth, DEEPEST - 1):
        return rows
    small = [c for c in node.children[KEPT:] if c.seconds < SMALL * whole] if depth < DEEPEST else []
    for child in node.children:
        if len(small) < 2 or child not in small:
            rows += _rows(tree, child, depth, sources, at + 1)
    if len(small) >= 2:
        rest = sum(c.seconds for c in small)
        rows.append(["  " * (at + 1) + f"{len(small)} smaller", money(tree, rest), f"{rest / whole:.1%}"])
    return rows


def _laid_out(rows: Sequence[list[str] | str]) -> list[str]:
    """Rows as a table, plain lines kept where they stand."""
    lines = iter(table([row for row in rows if not isinstance(row, str)]))
    return [row if isinstance(row, str) else next(lines) for row in rows]


def tree_text(cost: Cost, depth: int = DEPTH) -> str:
    """A cost's tree.

    Parameters
    ----------
    cost : Cost
        The answer.
    depth : int
        1 to 5, see `depth_help`.
    """
    tree = cost.explain()
    t = cost.tokens_per_request
    asked = f"of a million requests, each {t['input'] + t['cached']:,.0f} input and {t['output']:,.0f} output tokens"
    money = wrap(cost.rate.origin if cost.rate else f"in accelerator-seconds: {cost.rate_missing}", "  ", "  ")
    sources = _Sources()
    lines = [headline(cost), *money, "", asked, *_laid_out(_rows(tree, tree.root, depth, sources)), *sources.lines()]
    return plain("\n".join([*lines, "", f"--depth 1 to {DEEPEST}: {depth_help()}"]) + "\n")


def _branch_rows(branch: Branch, whole: float, unit: str, depth: int, at: int = 0) -> list[list[str] | str]:
    def money(number: float, sign: bool = False) -> str:
        text = format_money(abs(number) * MILLION) if unit == "usd" else f"{abs(number) * MILLION:,.4g} s"
        return (("+" if number > 0 else "-" if number < 0 else "") if sign else "") + text

    name = f"{branch.mark} {'  ' * at}{label(branch.name)}"
    rows: list[list[str] | str] = [[name, money(branch.before), money(branch.after), money(branch.change, sign=True)]]
    if depth >= DEEPEST:
        indent = "  " * at + "      "
        for fact, of, before, after in branch.facts:
            rows += wrap(f". {fact} {value(before, of)} -> {value(after, of)}", indent, indent + "  ")
    if at >= min(depth, DEEPEST - 1):
        return rows
    small = [c for c in branch.children[KEPT:] if abs(c.change) < SMALL * whole] if depth < DEEPEST else []
    for child in branch.children:
        if len(small) < 2 or child not in small:
            rows += _branch_rows(child, whole, unit, depth, at + 1)
    if len(small) >= 2:
        sums = [sum(getattr(c, key) for c in small) for key in ("before", "after", "change")]
        mark = small[0].mark if len({c.mark for c in small}) == 1 else "~"
        rest = [money(sums[0]), money(sums[1]), money(sums[2], sign=True)]
        rows.append([f"{mark} {'  ' * (at + 1)}{len(small)} that differ less", *rest])
    return rows


def difference_text(before: Cost, after: Cost, names: tuple[str, str], depth: int = DEPTH) -> str:
    """Why one case costs more or less than another, branch by branch.

    Parameters
    ----------
    before, after : Cost
        The cases.
    names : tuple of str
        What to call them.
    depth : int
        As in `tree_text`.
    """
    root, unit = difference(before.explain(), after.explain())
    whole = max(root.before, root.after)
    heads: list[list[str] | str] = [["", "before", "after", "change"]]
    marks = "+ only after   - only before   ~ changed   = the same; of a million requests"
    lines = [*wrap(f"before: {names[0]}", "", "  "), *wrap(f"after:  {names[1]}", "", "  "), "", marks]
    lines += _laid_out([*heads, *_branch_rows(root, whole, unit, depth)])
    lines += ["", *(line for text in _causes(root) for line in wrap(text, "", "  "))]
    return plain("\n".join([*lines, "", f"--depth 1 to {DEEPEST}: {depth_help()}"]) + "\n")


def _causes(root: Branch) -> list[str]:
    """What of a whole request differs: its seconds, and what one costs."""
    found = {name: (before, after) for name, _, before, after in root.facts}
    texts = []
    if "seconds" in found:
        texts.append("a request takes {:.4g} > {:.4g} accelerator-seconds".format(*found["seconds"]))
    if "rate" in found:
        hourly = (format_money(rate * HOUR) for rate in found["rate"])
        texts.append("an accelerator-hour costs {} > {}".format(*hourly))
    return ["; ".join(texts)] if texts else []


def tree_json(cost: Cost, depth: int | None = None) -> str:
    """The tree as JSON: seconds and dollars of a mean request at every node; ``depth`` levels, None for all."""
    tree = cost.explain().as_dict(depth)
    found = {"per": "request", "tree": tree, "assumed": cost.assumed, "scenario": cost.scenario}
    return json.dumps(clean(found), indent=2, allow_nan=False) + "\n"


def difference_json(before: Cost, after: Cost, names: tuple[str, str], depth: int | None = None) -> str:
    """The difference as JSON; ``depth`` levels, None for all."""
    root, unit = difference(before.explain(), after.explain())
    found = {
        "per": "request",
        "unit": unit,
        "cases": [{"name": n, "scenario": c.scenario} for n, c in zip(names, (before, after), strict=True)],
        "difference": root.as_dict(depth),
    }
    return json.dumps(clean(found), indent=2, allow_nan=False) + "\n"
