"""The roofline: seconds of an operation from its counts and the rates it reaches.

References
----------
.. [1] Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertoken.engine.work import Work

Number = Any


@dataclass  # an estimate makes hundreds, and frozen ones take three times as long
class Timed:
    """An operation of a step with its counts and seconds, both for one repeat on one accelerator.

    Parameters
    ----------
    name, group : str
        Such as ``qkv`` of ``attention``.
    count : float
        Repeats in a forward pass (layers).
    work : Work
        Counts.
    fixed_s, moved_s : float or ndarray
        Memory seconds: of what is read however few tokens come, and of what tokens move themselves [s].
    compute_s, link_s : float or ndarray
        Seconds of the arithmetic and on the link [s].
    overhead_s : float or ndarray
        Launch, latency and host seconds, which overlap with nothing [s].
    fixed : str
        What the fixed read is: ``weights`` or ``kv``.
    input_tokens, output_tokens : float or ndarray
        Tokens that share the operation, by who sent them [token].
    cached_share : float or ndarray
        Part of the arithmetic done again for tokens found in the prefix cache.
    shape : callable, optional
        How the fixed read grows with the batch, see `pertoken.attribution.shares`.
    useful : float or ndarray
        Share of the compute seconds that a large shape would have needed; the rest goes on padding small ones.
    seconds : float or ndarray
        Of all repeats: compute and memory overlap, link and overhead add [s].
    """

    name: str
    group: str
    count: float
    work: Work
    fixed_s: Number = 0.0
    moved_s: Number = 0.0
    compute_s: Number = 0.0
    link_s: Number = 0.0
    overhead_s: Number = 0.0
    fixed: str = "weights"
    input_tokens: Number = 0.0
    output_tokens: Number = 0.0
    cached_share: Number = 0.0
    shape: Callable[[Number], Number] | None = None
    useful: Number = 1.0
    seconds: Number = field(init=False)

    def __post_init__(self) -> None:
        self.seconds = np.maximum(self.compute_s, self.fixed_s + self.moved_s)
        for beside in (self.link_s, self.overhead_s):
            if not (isinstance(beside, float) and beside == 0.0):
                self.seconds = self.seconds + beside
        self.seconds = self.count * self.seconds

    @property
    def memory_s(self) -> Number:
        """Seconds of memory traffic [s]."""
        return self.fixed_s + self.moved_s


def total_seconds(ops: Sequence[Timed]) -> Number:
    """Seconds of a step [s]."""
    return sum(op.seconds for op in ops)


def bounds(ops: Sequence[Timed]) -> tuple[Number, Number]:
    """Least and most seconds of a step: all of compute, memory, link and overhead overlap, or nothing does [s]."""
    terms = [sum(op.count * getattr(op, n) for op in ops) for n in ("compute_s", "memory_s", "link_s", "overhead_s")]
    return np.maximum.reduce(np.broadcast_arrays(*terms)), sum(terms)
