"""How many steps are alike: until an arrival that matters, prompts that are due, or a block that is missing."""

from __future__ import annotations

from pertoken.simulate.compiled import inlined
from pertoken.simulate.state import (
    DUE,
    HOLD,
    MOVING,
    NEXT_ARRIVAL,
    NEXT_LANDING,
    OFFSET,
    RUNNING,
    STEP,
    WAITING,
    Lane,
    Policy,
)


@inlined
def series(span: int, first: int, growth: int, most: int) -> int:
    """Steps of an arithmetic series, at most ``most``, that begin within ``span`` of its beginning; the first one does.

    Parameters
    ----------
    span, first, growth : int
        Time that there is, that of the first step, and what each next one takes more [tick].
    """
    last = most - 1
    if last * first + growth * (last * (last - 1) // 2) < span:
        return most
    one = 1.0 / first
    many, more = span * one, growth * one
    if more * many < 0.02:  # the root to first order, at most a few steps off
        last = int(many - 0.5 * more * many * (many - 1.0))
    else:
        half = first - growth * 0.5
        last = int((2.0 * span) / (half + (half * half + 2.0 * growth * span) ** 0.5))
    last = min(last, most - 1)
    while last > 0 and last * first + growth * (last * (last - 1) // 2) >= span:
        last -= 1
    while last + 1 < most and (last + 1) * first + growth * (last * (last + 1) // 2) < span:
        last += 1
    return last + 1


@inlined
def most_alike(lane: Lane) -> int:
    """Steps until prompts that wait for others are due; one where a user's policy holds them back, as it may let go after it."""
    z = lane.z
    if z[HOLD]:
        return 1
    return z[DUE] - z[STEP] if z[WAITING] > 0 and z[DUE] > z[STEP] else 1 << 40


@inlined
def earliest(lane: Lane, p: Policy, until: int) -> int:
    """When an arrival may change what the lane does: not while others wait before it, nor while no slot is free.

    KV that has moved always does.
    """
    z = lane.z
    until = min(until, z[NEXT_LANDING]) if p.ready else until
    open_ = z[WAITING] == 0 or p.levels > 1
    return min(until, z[NEXT_ARRIVAL]) if open_ and z[RUNNING] + z[MOVING] < p.slots else until


@inlined
def crossing(lane: Lane, p: Policy, grains: int) -> int:
    """Decoding sequences that begin a block within so many grains of growth, fewer than a block's."""
    z = lane.z
    start = p.units - grains + 1 - z[OFFSET]
    if start < 0:
        start += p.units
    elif start >= p.units:
        start -= p.units
    if grains == 1:
        return z[p.phases + start]  # type: ignore[no-any-return]
    end, total = start + grains, 0
    for at in range(p.phases + start, p.phases + min(end, p.units)):
        total += z[at]
    for at in range(p.phases, p.phases + end - p.units):
        total += z[at]
    return total


@inlined
def needed(lane: Lane, p: Policy, grains: int) -> int:
    """KV blocks that the decoding sequences take while their contexts grow by ``grains``."""
    if p.reserves:
        return 0
    whole = 0
    if grains >= p.units:
        whole = grains // p.units
        grains -= whole * p.units
    return lane.z[RUNNING] * whole + (crossing(lane, p, grains) if grains else 0)  # type: ignore[no-any-return]


@inlined
def grown(lane: Lane, p: Policy, grains: int) -> None:
    """Contexts have grown by ``grains``."""
    offset = lane.z[OFFSET] + grains
    if offset >= p.units:
        offset -= p.units
        if offset >= p.units:
            offset %= p.units
    lane.z[OFFSET] = offset
