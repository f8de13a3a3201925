"""Two pools in step: lanes that prefill, and lanes that decode what these have prefilled, each held up by the other.

A prompt that is prefilled joins the queue of a decoding lane, which takes it when it has a slot and blocks for it; its KV moves
then, and the blocks in the first lane are free once it has. So what a step of either pool can do follows from steps of the
other, and steps are made in order of their beginnings: before a lane prefills at a time, all decoding steps that begin then or
earlier are made, and lanes decode together up to there where one of them may wake a lane that waits for memory, or
where an answer may bring the next request. Prefill steps end later than they begin, so nothing comes too late.
"""

from __future__ import annotations

from typing import NamedTuple

from pertoken.simulate.compiled import compiled, inlined, merged
from pertoken.simulate.engine import advance
from pertoken.simulate.queues import meld, put, send, send_any
from pertoken.simulate.routing import Scale, choose, lane_of
from pertoken.simulate.state import (
    ARRIVAL,
    ASSIGNED,
    AWAY,
    BACK,
    CLOCK,
    FOLLOW,
    LAST,
    LEAVING,
    MOVED,
    NEVER,
    NEXT,
    NEXT_ARRIVAL,
    NEXT_FREE,
    NEXT_LANDING,
    NONE,
    OLDER,
    PARTIAL,
    PREVIOUS,
    RUNNING,
    STALLED,
    STARTED,
    THINK,
    WAITING,
    Array,
    Costs,
    Lane,
    Policy,
    Requests,
)

READY, TURN = 0, 1  # of what is between pools: prompts that are prefilled, a heap, and how many were routed


class Pool(NamedTuple):
    """Lanes of one kind, and requests as they see them."""

    q: Requests
    lanes: Lane
    c: Costs
    p: Policy
    s: Scale
    up: Array
    where: Array


@compiled
def due(z: Array) -> int:
    """When a lane can do something next, as far as it is known."""
    if z[RUNNING] > 0 or z[PARTIAL] >= 0 or (z[WAITING] > 0 and not z[STALLED]):
        return z[CLOCK]  # type: ignore[no-any-return]
    wake = min(z[NEXT_ARRIVAL], z[NEXT_LANDING])
    if z[WAITING] > 0 or wake == NEVER:
        wake = min(wake, z[NEXT_FREE])
    return max(z[CLOCK], wake)  # type: ignore[no-any-return]


@inlined
def hand_on(a: Pool, b: Pool, between: Array, r: int) -> None:
    """Prompts that a lane has prefilled wait for the other pool."""
    z = a.lanes.z[r]
    i = z[AWAY]
    z[AWAY] = NONE
    while i >= 0:
        after, n = a.q.n[i][NEXT], b.q.n[i]
        a.where[i] = r
        n[ARRIVAL], n[NEXT], n[PREVIOUS] = a.q.n[i][LAST], NONE, NONE
        between[READY] = meld(b.q, between[READY], i, False)
        i = after


@inlined
def route(b: Pool, between: Array) -> None:
    """The prompt that was prefilled first joins the queue of a lane."""
    i = between[READY]
    between[READY] = meld(b.q, b.q.n[i][NEXT], b.q.n[i][PREVIOUS], False)
    r = choose(b.q, b.lanes, b.p, b.s, b.up, i, between[TURN])
    between[TURN] += 1
    b.where[i] = r
    b.lanes.z[r][ASSIGNED] += 1
    send(b.q, lane_of(b.lanes, r), i)


@inlined
def tell(a: Pool, b: Pool, r: int) -> bool:
    """Let the first pool know what a decoding lane has begun to take and has answered; whether there was any."""
    z, told = b.lanes.z[r], False
    i = z[STARTED]
    z[STARTED] = NONE
    while i >= 0:
        a.q.n[i][MOVED] = b.q.n[i][MOVED]
        put(a.q, lane_of(a.lanes, a.where[i]), i, LEAVING)
        i, told = b.q.n[i][OLDER], True
    i = z[BACK]
    z[BACK] = NONE
    while i >= 0:
        later = b.q.n[i][FOLLOW]
        a.q.n[later][ARRIVAL] = b.q.n[i][LAST] + a.q.n[later][THINK]
        send_any(a.q, lane_of(a.lanes, a.where[i]), later)
        i, told = b.q.n[i][OLDER], True
    return told


@merged
def decode_until(a: Pool, b: Pool, between: Array, until: int, together: bool) -> bool:
    """Make all decoding steps that begin before ``until``; True where that let the first pool act before.

    Parameters
    ----------
    together : bool
        Whether that may be, so that no lane may run ahead of another.
    """
    while True:
        best, soon, second = NONE, NEVER, NEVER
        for r in range(len(b.lanes.z)):
            t = due(b.lanes.z[r])
            if t < soon:
                best, soon, second = r, t, soon
            else:
                second = min(second, t)
        bound = until
        if between[READY] >= 0:
            arrival = b.q.n[between[READY]][ARRIVAL]
            if arrival < until and arrival <= soon:
                route(b, between)
                continue
            bound = min(bound, arrival)
        if together:
            bound = min(bound, second + 1)
        if soon >= bound:
            return False
        advance(b.q, lane_of(b.lanes, best), b.c, b.p, bound)
        if tell(a, b, best) and together:
            return True


@merged
def both_until(a: Pool, b: Pool, between: Array, until: int) -> None:
    """Make all steps of both pools that begin before ``until``."""
    while True:
        best, now, stalled = NONE, NEVER, False
        for r in range(len(a.lanes.z)):
            z = a.lanes.z[r]
            stalled = stalled or z[STALLED] > 0
            if due(z) < now:
                best, now = r, due(z)
        if decode_until(a, b, between, min(now + 1, until), stalled or b.p.closed > 0):
            continue
        if now >= until:
            return
        advance(a.q, lane_of(a.lanes, best), a.c, a.p, now + 1)
        hand_on(a, b, between, best)


@compiled
def serve_both(a: Pool, b: Pool, between: Array, begin: int, end: int, until: int) -> None:
    """Route the requests from ``begin`` to before ``end``, which arrive in that order, and serve meanwhile and to ``until``."""
    for i in range(begin, end):
        if a.where[i] != NONE:
            continue
        if a.s.route:
            both_until(a, b, between, a.q.n[i][ARRIVAL])
        r = choose(a.q, a.lanes, a.p, a.s, a.up, i, i)
        a.where[i] = r
        a.lanes.z[r][ASSIGNED] += 1
        send(a.q, lane_of(a.lanes, r), i)
    both_until(a, b, between, until)
