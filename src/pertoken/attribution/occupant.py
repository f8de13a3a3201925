"""Occupant-pays: what a token pays to read old positions is charged to those positions.

A token that attends p positions (itself included) charges each of them a p-th of its attention: its arithmetic, its cache
read and, in the long run, its residency. Nothing is lost or made: over a request the sums are those of reader-pays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pertoken.attribution.batch import Parts, add
from pertoken.engine.ops import AttentionOp
from pertoken.model.attention import ChunkedQuery, GroupedQuery

Number = Any
MOVED = ("kv", "attention", "residency")


class Span:
    """Which positions a token reads, and how far on a position is read.

    Parameters
    ----------
    op : AttentionOp or None
        The operation; None for what is held, which is all positions.
    """

    def __init__(self, op: AttentionOp | None) -> None:
        a = op.attention if op else None
        self.own = a is not None and a.kind == "linear"  # a state is no position: its work stays with the reader
        self.window = a.window if isinstance(a, GroupedQuery) else None
        self.fixed = isinstance(a, ChunkedQuery)

    def count(self, p: Number) -> Number:
        """Positions that the p-th token reads; a top k or pooled entries are taken to fall on all alike [token]."""
        if self.window is None:
            return p
        return (p - 1) % self.window + 1 if self.fixed else np.minimum(p, self.window)

    def last(self, j: Number, end: Number) -> Number:
        """The last position up to ``end`` whose token reads position j [token]."""
        if self.window is None:
            return end + 0 * j
        upto = ((j - 1) // self.window + 1) * self.window if self.fixed else j + self.window - 1
        return np.minimum(upto, end)


def _running(parts: Parts, span: Span, p: Number) -> dict[str, Number]:
    """Running sums over positions of what each charges every position it reads, 0 in front."""
    shape = p.shape
    return {
        part: np.concatenate(([0.0], np.cumsum(np.broadcast_to(parts[part], shape) / span.count(p))))
        for part in MOVED
        if part in parts
    }


def moved(
    span: Span, inputs: Callable[[Number], Parts], outputs: Callable[[Number], Parts] | None,
    j: Number, end_input: Number, end: Number, found: int = 0,
) -> Parts:  # fmt: skip
    """What position j is charged for being read in a request, by part [s].

    Parameters
    ----------
    span : Span
        Who reads what.
    inputs, outputs : callable
        Attention of the input token, and of the decode step, at each of an array of positions; no outputs: None.
    j : ndarray of int
        Positions, from 1.
    end_input, end : ndarray of int
        Last position of the input, and of all steps.
    found : int
        Positions that the prefix cache supplied, whose tokens read nothing.
    """
    if not j.size:
        return {}
    charged: Parts = {}
    for of, low, high in ((inputs, np.maximum(j - 1, found), end_input), (outputs, np.maximum(j - 1, end_input), end)):
        if of is None:
            continue
        upto = np.maximum(span.last(j, high), low)
        p = np.arange(1, int(upto.max()) + 1)
        table = of(p.astype(float))
        charged = add(charged, {part: run[upto] - run[low] for part, run in _running(table, span, p).items()})
    return charged


def kept(parts: Parts) -> Parts:
    """What stays with the reader: writing its own cache, launches."""
    return {part: seconds for part, seconds in parts.items() if part not in MOVED}
