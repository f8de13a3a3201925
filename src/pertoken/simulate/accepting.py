"""Speculative decoding: how many steps a request takes, drawn when it begins to decode.

A step emits one token and those drafts that are accepted one after another, each with the same probability [1]_, so a truncated
geometric number. Steps that emit so many tokens are drawn one by one from that; contexts meanwhile all grow by its mean.

References
----------
.. [1] Leviathan, Kalman and Matias 2022, arXiv:2211.17192, equation 1.
"""

from __future__ import annotations

from pertoken.simulate.compiled import compiled
from pertoken.simulate.state import Policy

GRAIN = 16  # parts of a token in which growth is counted
BITS = 0xFFFFFFFF


def mean_of(accept: float, drafts: int) -> float:
    """Mean tokens that a step emits: ``(1 - a^(d + 1)) / (1 - a)`` [1]_."""
    return float(sum(accept**k for k in range(drafts + 1)))


def accept_of(mean: float, drafts: int) -> float:
    """The probability at which a step emits ``mean`` tokens, from 1 to ``1 + drafts``."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if mean_of(middle, drafts) < mean else (low, middle)
    return (low + high) / 2.0


@compiled
def steps_of(p: Policy, i: int, again: int, left: int) -> int:
    """Steps in which request ``i``, given up ``again`` times, emits ``left`` tokens."""
    x = (p.seed ^ (i * 0x9E3779B1) ^ (again * 0x85EBCA6B)) & BITS
    for _ in range(2):  # spread neighbouring seeds; the factor keeps products within 63 bits
        x = ((x >> 16) ^ x) * 0x45D9F3B & BITS
    x = ((x >> 16) ^ x) | 1
    steps, emitted, scale = 0, 0, p.accept * 4294967296.0
    while emitted < left:
        x ^= (x << 13) & BITS  # Marsaglia 2003, xorshift
        x ^= x >> 17
        x ^= (x << 5) & BITS
        steps += 1
        emitted += 1
        limit, drafts = scale, p.width - 1
        while drafts > 0 and x < limit:
            emitted += 1
            limit *= p.accept
            drafts -= 1
    return steps
