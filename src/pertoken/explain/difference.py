"""The difference of two trees, branch by branch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pertoken.explain.tree import Node, Tree

SAME = 1e-9  # relative change below which a branch is the same


@dataclass(frozen=True)
class Branch:
    """A branch in two cases.

    Parameters
    ----------
    name : str
        Of the node.
    before, after : float
        Dollars of a mean request where both cases have a rate, else accelerator-seconds; the same unit in all branches.
    mark : str
        ``+`` only after, ``-`` only before, ``~`` changed, ``=`` the same.
    facts : tuple of (str, str, float, float)
        Name, unit, and both values of facts that changed; NaN where a case has none.
    children : tuple of Branch
        What it is the sum of.
    """

    name: str
    before: float
    after: float
    mark: str
    facts: tuple[tuple[str, str, float, float], ...] = ()
    children: tuple[Branch, ...] = ()

    @property
    def change(self) -> float:
        """After less before."""
        return self.after - self.before

    def as_dict(self, depth: int | None = None) -> dict[str, Any]:
        """Plain data, ``depth`` levels of children; None for all."""
        found: dict[str, Any] = {
            "name": self.name,
            "mark": self.mark,
            "before": self.before,
            "after": self.after,
            "change": self.change,
        }
        if self.facts:
            keys = ("name", "unit", "before", "after")
            found["facts"] = [dict(zip(keys, fact, strict=True)) for fact in self.facts]
        if self.children and depth != 0:
            less = None if depth is None else depth - 1
            found["children"] = [child.as_dict(less) for child in self.children]
        return found


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= SAME * max(abs(a), abs(b))


def _facts(before: Node | None, after: Node | None) -> tuple[tuple[str, str, float, float], ...]:
    nan = float("nan")
    one = {f.name: f for f in before.facts} if before else {}
    two = {f.name: f for f in after.facts} if after else {}
    found = []
    for name in dict.fromkeys((*one, *two)):
        unit = (one.get(name) or two[name]).unit
        a, b = (side[name].value if name in side else nan for side in (one, two))
        if not _same(a, b):
            found.append((name, unit, a, b))
    return tuple(found)


def _branch(name: str, before: Node | None, after: Node | None, units: tuple[float, float]) -> Branch:
    a = before.seconds * units[0] if before else 0.0
    b = after.seconds * units[1] if after else 0.0
    mark = "+" if before is None else "-" if after is None else "=" if _same(a, b) else "~"
    one = {c.name: c for c in before.children} if before else {}
    two = {c.name: c for c in after.children} if after else {}
    children = [_branch(key, one.get(key), two.get(key), units) for key in dict.fromkeys((*one, *two))]
    children.sort(key=lambda c: (-abs(c.change), c.name))
    if children and mark == "=" and any(c.mark != "=" for c in children):
        mark = "~"
    return Branch(name, a, b, mark, _facts(before, after), tuple(children))


def difference(before: Tree, after: Tree) -> tuple[Branch, str]:
    """The difference of two trees.

    Parameters
    ----------
    before, after : Tree
        Two costs.

    Returns
    -------
    tuple of (Branch, str)
        The root, and its unit: ``usd``, or ``accelerator_s`` where a case has no rate.
    """
    rates = before.usd_per_second, after.usd_per_second
    priced = rates[0] is not None and rates[1] is not None
    units = (rates[0], rates[1]) if priced else (1.0, 1.0)
    root = _branch(before.root.name, before.root, after.root, units)  # type: ignore[arg-type]
    return root, "usd" if priced else "accelerator_s"
