"""Where attention overtakes the rest of a token, and how far a flat price is from a prompt's mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pertoken.attribution.batch import Batch, Parts
from pertoken.engine.step import Prefill, Step
from pertoken.serving.lengths import Array

Number = Any
GRID = 600  # positions looked at in one round
ATTENTION = ("kv", "attention")
DENSE = ("compute", "padding")
PRODUCTS = ("weights", *DENSE)  # with weights, whether memory or arithmetic binds them


def grid(limit: float, points: int = GRID) -> Array:
    """Whole positions from 1 to ``limit``, evenly in the logarithm."""
    return np.unique(np.round(np.geomspace(1.0, max(limit, 1.0), points)))


def share(parts: Parts, names: tuple[str, ...]) -> Number:
    """Sum of some parts."""
    return sum((parts[name] for name in names if name in parts), 0.0)


def first(surplus: Callable[[Number], Number], limit: float) -> int | None:
    """The first position at which ``surplus`` is not negative; None when there is none up to the limit.

    Parameters
    ----------
    surplus : callable
        Of an array of positions.
    limit : float
        Last position to look at.
    """
    low, high = 1.0, limit
    while True:
        n = np.unique(np.round(np.geomspace(low, high, GRID)))
        found = np.flatnonzero(np.broadcast_to(surplus(n), n.shape) >= 0)
        if not found.size:
            return None
        at = int(found[0])
        if at == 0 or n[at] - n[at - 1] <= 1.0:
            return int(n[at])
        low, high = float(n[at - 1]), float(n[at])


def input_flop(batch: Batch, n: Number) -> tuple[Number, Number]:
    """FLOP of the n-th input token on one rank: of its attention, and of everything else [FLOP]."""
    rest = sum(t.count * t.work.flop for t in batch.rest(Step((), Prefill(1.0, 1.0, 0.0)), last=False))
    attention = sum(op.count * op.attention.flop(1.0, n - 1.0, op.tp) for op in batch.attention)
    return attention, rest


def mean_upto(n: Array, value: Array) -> Array:
    """Mean over positions 1 to n of a curve given at rising whole positions from 1, straight between them."""
    gaps = np.diff(n)
    between = (value[1:] + value[:-1]) / 2.0 * gaps + (value[1:] - value[:-1]) / 2.0
    found: Array = (value[0] + np.concatenate(([0.0], np.cumsum(between)))) / n
    return found
