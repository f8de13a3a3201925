"""Lists of requests in a lane: coming, waiting, running by age, and by the step at which they end."""

from __future__ import annotations

from pertoken.simulate.compiled import compiled
from pertoken.simulate.state import (
    ASSIGNED,
    CLOCK,
    COMING,
    COMING_LAST,
    ENTERED,
    HEAP,
    NEVER,
    NEXT_ARRIVAL,
    NEXT_END,
    NONE,
    STEP,
    WAITING,
    Lane,
    Requests,
)


@compiled
def _later(q: Requests, i: int, j: int) -> bool:
    return q.arrival[i] > q.arrival[j] or (q.arrival[i] == q.arrival[j] and i > j)


@compiled
def meld(q: Requests, a: int, b: int) -> int:
    """Two skew heaps by arrival made one; its root [Sleator and Tarjan 1986]."""
    if a < 0 or b < 0:
        return max(a, b)
    if _later(q, a, b):
        a, b = b, a
    root = a
    while True:
        right = q.prv[a]
        q.prv[a] = q.nxt[a]
        if right < 0:
            q.nxt[a] = b
            return root
        if _later(q, right, b):
            right, b = b, right
        q.nxt[a] = right
        a = right


@compiled
def send(q: Requests, lane: Lane, i: int) -> None:
    """A request that arrives at the lane after all sent before."""
    z = lane.z
    q.nxt[i] = NONE
    if z[COMING] < 0:
        z[COMING] = i
    else:
        q.nxt[z[COMING_LAST]] = i
    z[COMING_LAST] = i
    z[NEXT_ARRIVAL] = min(z[NEXT_ARRIVAL], q.arrival[i])


@compiled
def send_any(q: Requests, lane: Lane, i: int) -> None:
    """A request that arrives at the lane whenever its arrival says."""
    z = lane.z
    q.nxt[i] = q.prv[i] = NONE
    z[HEAP] = meld(q, z[HEAP], i)
    z[NEXT_ARRIVAL] = min(z[NEXT_ARRIVAL], q.arrival[i])


@compiled
def release(q: Requests, lane: Lane) -> None:
    """Put what has arrived by now into the queues, in order of arrival."""
    z = lane.z
    now = z[CLOCK]
    while True:
        i, j = z[COMING], z[HEAP]
        if j >= 0 and (i < 0 or _later(q, i, j)):
            if q.arrival[j] > now:
                z[NEXT_ARRIVAL] = q.arrival[j]
                return
            z[HEAP] = meld(q, q.nxt[j], q.prv[j])
            z[ASSIGNED] += 1
            i = j
        elif i >= 0:
            if q.arrival[i] > now:
                z[NEXT_ARRIVAL] = q.arrival[i]
                return
            z[COMING] = q.nxt[i]
        else:
            z[NEXT_ARRIVAL] = NEVER
            return
        z[ENTERED] += 1
        push_back(q, lane, i)


@compiled
def push_back(q: Requests, lane: Lane, i: int) -> None:
    """To the end of its level's queue."""
    at = 2 * q.level[i]
    q.nxt[i] = NONE
    if lane.queue[at] < 0:
        lane.queue[at] = i
    else:
        q.nxt[lane.queue[at + 1]] = i
    lane.queue[at + 1] = i
    lane.z[WAITING] += 1


@compiled
def push_front(q: Requests, lane: Lane, i: int) -> None:
    """To the front of its level's queue."""
    at = 2 * q.level[i]
    q.nxt[i] = lane.queue[at]
    if lane.queue[at] < 0:
        lane.queue[at + 1] = i
    lane.queue[at] = i
    lane.z[WAITING] += 1


@compiled
def front(lane: Lane, levels: int) -> int:
    """The request to serve next."""
    for level in range(levels):
        if lane.queue[2 * level] >= 0:
            return lane.queue[2 * level]  # type: ignore[no-any-return]
    return NONE


@compiled
def pop(q: Requests, lane: Lane, i: int) -> None:
    """Take the front of a queue away, on to the stack of what runs."""
    level = q.level[i]
    lane.queue[2 * level] = q.nxt[i]
    lane.z[WAITING] -= 1
    q.older[i], q.newer[i] = lane.stack[level], NONE
    if lane.stack[level] >= 0:
        q.newer[lane.stack[level]] = i
    lane.stack[level] = i


@compiled
def unstack(q: Requests, lane: Lane, i: int) -> None:
    """A request runs no more."""
    older, newer = q.older[i], q.newer[i]
    if older >= 0:
        q.newer[older] = newer
    if newer >= 0:
        q.older[newer] = older
    else:
        lane.stack[q.level[i]] = older


@compiled
def newest(lane: Lane, levels: int) -> int:
    """The running request to give up first: of the last level that runs, the one that came last."""
    for back in range(levels):
        if lane.stack[levels - 1 - back] >= 0:
            return lane.stack[levels - 1 - back]  # type: ignore[no-any-return]
    return NONE


@compiled
def set_end(q: Requests, lane: Lane, i: int, end: int) -> None:
    """A decoding request emits its last token when the lane has done ``end`` steps."""
    ring = lane.ring
    at = end & (len(ring) - 1)
    q.nxt[i], q.prv[i] = ring[at], NONE
    if ring[at] >= 0:
        q.prv[ring[at]] = i
    ring[at] = i
    lane.z[NEXT_END] = min(lane.z[NEXT_END], end)


@compiled
def unset_end(q: Requests, lane: Lane, i: int, end: int) -> None:
    """It does not end there after all."""
    after, before = q.nxt[i], q.prv[i]
    if after >= 0:
        q.prv[after] = before
    if before >= 0:
        q.nxt[before] = after
    else:
        lane.ring[end & (len(lane.ring) - 1)] = after


@compiled
def find_end(lane: Lane, any_left: bool) -> None:
    """The next step at which something ends."""
    if not any_left:
        lane.z[NEXT_END] = NEVER
        return
    ring, end = lane.ring, lane.z[STEP]
    mask = len(ring) - 1
    while ring[end & mask] < 0:
        end += 1
    lane.z[NEXT_END] = end
