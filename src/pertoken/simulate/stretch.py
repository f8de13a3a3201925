"""How many steps are alike: until an arrival that matters, prompts that are due, or a block that is missing."""

from __future__ import annotations

from pertoken.simulate.compiled import inlined
from pertoken.simulate.state import CLOCK, DUE, NEXT_ARRIVAL, PHASE, RUNNING, STEP, WAITING, Lane, Policy


@inlined
def series(lane: Lane, first: int, growth: int, most: int, until: int) -> int:
    """Steps of an arithmetic series, at most ``most``, that begin before ``until``; the first one does.

    Parameters
    ----------
    first, growth : int
        Time of the first step, and what each next one takes more [tick].
    """
    start = lane.z[CLOCK]
    last = most - 1
    if start + last * first + growth * (last * (last - 1) // 2) < until:
        return most
    span = until - start
    if growth:
        half = first - growth * 0.5
        last = int((2.0 * span) / (half + (half * half + 2.0 * growth * span) ** 0.5))
    else:
        last = span // first
    last = min(last, most - 1)
    while last > 0 and last * first + growth * (last * (last - 1) // 2) >= span:
        last -= 1
    while last + 1 < most and (last + 1) * first + growth * (last * (last + 1) // 2) < span:
        last += 1
    return last + 1


@inlined
def most_alike(lane: Lane) -> int:
    """Steps until prompts that wait for others are due."""
    z = lane.z
    return z[DUE] - z[STEP] if z[WAITING] > 0 and z[DUE] > z[STEP] else 1 << 40


@inlined
def earliest(lane: Lane, p: Policy, until: int) -> int:
    """When an arrival may change what the lane does: not while others wait before it, nor while no slot is free."""
    z = lane.z
    open_ = z[WAITING] == 0 or p.levels > 1
    return min(until, z[NEXT_ARRIVAL]) if open_ and z[RUNNING] < p.slots else until


@inlined
def needed(lane: Lane, p: Policy, steps: int) -> int:
    """KV blocks that the decoding sequences take in the next ``steps`` steps."""
    step = lane.z[STEP]
    total = lane.z[RUNNING] * (steps // p.block)
    for k in range(steps % p.block):
        total += lane.z[PHASE + (-(step + k)) % p.block]
    return total  # type: ignore[no-any-return]
