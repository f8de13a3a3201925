r"""The tree behind a cost: money -> seconds -> steps -> operations -> what bound them -> FLOP and bytes.

Every node holds the accelerator-seconds of a mean request that fall to it, and they are the sum of its children's:

.. math:: \text{request} = \sum_\text{token} \sum_\text{step} \sum_\text{operation} \sum_\text{part} s + \text{idle}

Dollars are these seconds times the rate. Facts beside a node (FLOP, bytes, peaks, shares of them) say where its seconds
come from; they do not add up along the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pertoken.attribution.ledger import PARTS, TOKENS, Entry, split
from pertoken.engine.roofline import Timed
from pertoken.explain.costed import Costed
from pertoken.explain.facts import Fact, Facts, part_formula
from pertoken.serving.lane import StepKind


@dataclass(frozen=True)
class Node:
    """A branch or leaf of the tree.

    Parameters
    ----------
    name : str
        Such as ``output``, ``decode steps``, ``attention/qkv``, ``weights``.
    seconds : float
        Accelerator-seconds of a mean request [s].
    formula, source : str
        How a leaf follows, and where its rates were read.
    facts : tuple of Fact
        Quantities behind it.
    children : tuple of Node
        What it is the sum of.
    """

    name: str
    seconds: float
    formula: str = ""
    source: str = ""
    facts: tuple[Fact, ...] = ()
    children: tuple[Node, ...] = ()

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """All nodes with their depth, from the root down."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    def find(self, *names: str) -> Node | None:
        """The node reached by following names from here, or None."""
        if not names:
            return self
        return next((c.find(*names[1:]) for c in self.children if c.name == names[0]), None)

    def as_dict(self, usd_per_second: float | None, depth: int | None = None) -> dict[str, Any]:
        """Plain data, dollars included where there is a rate; ``depth`` levels of children, None for all."""
        found: dict[str, Any] = {
            "name": self.name,
            "value": self.seconds,
            "unit": "accelerator-s",
            "usd": None if usd_per_second is None else self.seconds * usd_per_second,
        }
        for key in ("formula", "source"):
            if getattr(self, key):
                found[key] = getattr(self, key)
        if self.facts:
            found["facts"] = [fact.as_dict() for fact in self.facts]
        if self.children and depth != 0:
            less = None if depth is None else depth - 1
            found["children"] = [child.as_dict(usd_per_second, less) for child in self.children]
        return found


@dataclass(frozen=True)
class Tree:
    """The tree of one cost.

    Parameters
    ----------
    root : Node
        A mean request.
    usd_per_second : float or None
        Dollars of an accelerator-second; None without a rate [$].
    """

    root: Node
    usd_per_second: float | None

    def as_dict(self, depth: int | None = None) -> dict[str, Any]:
        """Plain data, ``depth`` levels of it; None for all."""
        return self.root.as_dict(self.usd_per_second, depth)


def _sum(name: str, children: Iterable[Node], facts: tuple[Fact, ...] = ()) -> Node:
    """A node of its children, largest first; those of no time are left out."""
    kept = sorted((c for c in children if c.seconds > 0), key=lambda c: (-c.seconds, c.name))
    return Node(name, sum(c.seconds for c in kept), facts=facts, children=tuple(kept))


def kind_name(kind: StepKind) -> str:
    """What a kind of step is, in words."""
    if kind.step.prefill is None:
        return "decode steps"
    if float(kind.step.decode_tokens) > 0:
        return "steps with a prompt"
    paid_by_output = any(float(op.output_tokens) > float(op.input_tokens) for op in kind.ops if op.group == "attention")
    return "steps that recompute" if paid_by_output else "prompt steps"


class _Planter:
    """Grows the tree of one cost."""

    def __init__(self, cost: Costed) -> None:
        self.cost, self.facts = cost, Facts(cost)
        self.state = cost.operating.state
        # accelerator-seconds of a request for each second of the mean step
        self.each = cost.deployment.split.tp / float(self.state.finished)

    def root(self) -> Node:
        """A mean request."""
        tokens = [node for token in TOKENS if (node := self.token(token)).seconds > 0]
        busy = sum(node.seconds for node in tokens)
        idle = busy / self.cost.utilisation - busy
        reason = f"busy seconds x (1 / utilisation - 1) = {busy:.4g} x (1 / {self.cost.utilisation:.4g} - 1)"
        if self.cost.basis == "allocation" and idle > 0:
            tokens = [
                _sum(
                    t.name,
                    (*t.children, Node("idle", t.seconds / busy * idle, f"{reason}, by busy share", "utilisation")),
                    t.facts,
                )
                for t in tokens
            ]
        elif idle > 0:
            tokens.append(Node("idle", idle, reason, "utilisation"))
        found = _sum("request", tokens)
        return replace(found, facts=self.facts.request(found.seconds))

    def token(self, token: str) -> Node:
        """All that one kind of token owes in a request."""
        kinds = [self.kind(kind, token) for kind in self.state.kinds if float(kind.share) > 0]
        return _sum(token, kinds, self.facts.tokens(token))

    def kind(self, kind: StepKind, token: str) -> Node:
        """What one kind of token owes in one kind of step."""
        groups: dict[tuple[str, str], list[tuple[Timed, list[Entry]]]] = {}
        for op in kind.ops:
            owed = [e for e in split(op, kind.share) if e.token == token]
            if owed:
                groups.setdefault((op.group, op.name), []).append((op, owed))
        made = [self.operation(kind, name, pairs) for name, pairs in groups.items()]
        return _sum(kind_name(kind), made, self.facts.kind(kind))

    def operation(self, kind: StepKind, name: tuple[str, str], pairs: list[tuple[Timed, list[Entry]]]) -> Node:
        """One operation, its parts as leaves."""
        sums = dict.fromkeys(PARTS, 0.0)
        for _, owed in pairs:
            for entry in owed:
                sums[entry.part] += float(entry.seconds) * self.each
        ops = [op for op, _ in pairs]
        leaves = [
            Node(part, seconds, part_formula(part), self.facts.source(kind, name, part))
            for part, seconds in sums.items()
        ]
        return _sum("/".join(name), leaves, self.facts.operation(kind, name, ops))


def explain(cost: Costed) -> Tree:
    """The tree behind a cost.

    Parameters
    ----------
    cost : Costed
        The answer to explain.

    Returns
    -------
    Tree
        Its root is a mean request; the seconds of every node are the sum of its children's.
    """
    return Tree(_Planter(cost).root(), cost.rate.usd_per_second if cost.rate else None)
