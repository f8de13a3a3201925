"""Lists of requests in a lane: coming, waiting, running by age, and by the step at which they end."""

from __future__ import annotations

from pertoken.simulate.asking import ORDER, VICTIM, ask_of
from pertoken.simulate.compiled import compiled, inlined
from pertoken.simulate.state import (
    ARRIVAL,
    ASSIGNED,
    BASE,
    CLOCK,
    COMING,
    COMING_LAST,
    EMITTED_BEFORE,
    ENTERED,
    HEAP,
    LEVEL,
    MASK,
    MOVED,
    NEVER,
    NEWER,
    NEXT,
    NEXT_ARRIVAL,
    NEXT_END,
    NONE,
    OLDER,
    ORDERED,
    OUTPUT,
    PART,
    PARTIAL,
    PREVIOUS,
    QUEUE,
    RING,
    STACK,
    STEP,
    TARGET,
    WAITING,
    Lane,
    Policy,
    Requests,
)


@inlined
def _later(q: Requests, i: int, j: int) -> bool:
    return q.n[i][ARRIVAL] > q.n[j][ARRIVAL] or (q.n[i][ARRIVAL] == q.n[j][ARRIVAL] and i > j)


@inlined
def _behind(q: Requests, i: int, j: int, ranked: bool) -> bool:
    if ranked and q.f[i][0] != q.f[j][0]:
        return q.f[i][0] > q.f[j][0]  # type: ignore[no-any-return]
    return _later(q, i, j)


@compiled
def meld(q: Requests, a: int, b: int, ranked: bool) -> int:
    """Two skew heaps, by arrival or by rank, made one; its root [Sleator and Tarjan 1986]."""
    if a < 0 or b < 0:
        return max(a, b)
    if _behind(q, a, b, ranked):
        a, b = b, a
    root = a
    while True:
        right = q.n[a][PREVIOUS]
        q.n[a][PREVIOUS] = q.n[a][NEXT]
        if right < 0:
            q.n[a][NEXT] = b
            return root
        if _behind(q, right, b, ranked):
            right, b = b, right
        q.n[a][NEXT] = right
        a = right


@inlined
def send(q: Requests, lane: Lane, i: int) -> None:
    """A request that arrives at the lane after all sent before."""
    z = lane.z
    q.n[i][NEXT] = NONE
    if z[COMING] < 0:
        z[COMING] = i
    else:
        q.n[z[COMING_LAST]][NEXT] = i
    z[COMING_LAST] = i
    z[NEXT_ARRIVAL] = min(z[NEXT_ARRIVAL], q.n[i][ARRIVAL])


@compiled
def send_any(q: Requests, lane: Lane, i: int) -> None:
    """A request that arrives at the lane whenever its arrival says."""
    z = lane.z
    q.n[i][NEXT] = q.n[i][PREVIOUS] = NONE
    z[HEAP] = meld(q, z[HEAP], i, False)
    z[NEXT_ARRIVAL] = min(z[NEXT_ARRIVAL], q.n[i][ARRIVAL])


@inlined
def release(q: Requests, lane: Lane, p: Policy) -> None:
    """Put what has arrived by now into the queues, in order of arrival."""
    z = lane.z
    now = z[CLOCK]
    while True:
        i, j = z[COMING], z[HEAP]
        if j >= 0 and (i < 0 or _later(q, i, j)):
            if q.n[j][ARRIVAL] > now:
                z[NEXT_ARRIVAL] = q.n[j][ARRIVAL]
                return
            z[HEAP] = meld(q, q.n[j][NEXT], q.n[j][PREVIOUS], False)
            z[ASSIGNED] += 1
            i = j
        elif i >= 0:
            if q.n[i][ARRIVAL] > now:
                z[NEXT_ARRIVAL] = q.n[i][ARRIVAL]
                return
            z[COMING] = q.n[i][NEXT]
        else:
            z[NEXT_ARRIVAL] = NEVER
            return
        z[ENTERED] += 1
        if p.order:
            rank(q, lane, p, i)
        else:
            push_back(q, lane, i)


@compiled
def rank(q: Requests, lane: Lane, p: Policy, i: int) -> None:
    """Among those that wait, by the user's order; the rank is kept where a request's running sums are once it decodes."""
    z = lane.z
    q.f[i][0] = ask_of(q, lane, p, ORDER, i, q.n[i][EMITTED_BEFORE])
    q.n[i][NEXT] = q.n[i][PREVIOUS] = NONE
    z[ORDERED] = meld(q, z[ORDERED], i, True)
    z[WAITING] += 1


@compiled
def overtaking(q: Requests, lane: Lane, p: Policy, end: int) -> int:
    """When, before ``end``, the first request arrives that goes before all that wait; else ``end``."""
    z = lane.z
    if z[HEAP] >= 0:  # what comes after it is not known in order
        end = min(end, q.n[z[HEAP]][ARRIVAL])
    i = z[COMING]
    while i >= 0 and q.n[i][ARRIVAL] < end:
        if ask_of(q, lane, p, ORDER, i, 0) < q.f[z[ORDERED]][0]:
            return q.n[i][ARRIVAL]  # type: ignore[no-any-return]
        i = q.n[i][NEXT]
    return end


@inlined
def push_back(q: Requests, lane: Lane, i: int) -> None:
    """To the end of its level's queue."""
    at = 2 * q.n[i][LEVEL]
    q.n[i][NEXT] = NONE
    if lane.z[QUEUE + at] < 0:
        lane.z[QUEUE + at] = i
    else:
        q.n[lane.z[QUEUE + at + 1]][NEXT] = i
    lane.z[QUEUE + at + 1] = i
    lane.z[WAITING] += 1


@compiled
def push_front(q: Requests, lane: Lane, p: Policy, i: int) -> None:
    """To the front of its level's queue, or to its place in the user's order."""
    if p.order:
        rank(q, lane, p, i)
        return
    at = 2 * q.n[i][LEVEL]
    q.n[i][NEXT] = lane.z[QUEUE + at]
    if lane.z[QUEUE + at] < 0:
        lane.z[QUEUE + at + 1] = i
    lane.z[QUEUE + at] = i
    lane.z[WAITING] += 1


@inlined
def front(lane: Lane, levels: int) -> int:
    """The request to serve next."""
    if lane.z[ORDERED] >= 0:
        return lane.z[ORDERED]  # type: ignore[no-any-return]
    for level in range(levels):
        if lane.z[QUEUE + 2 * level] >= 0:
            return lane.z[QUEUE + 2 * level]  # type: ignore[no-any-return]
    return NONE


@inlined
def pop(q: Requests, lane: Lane, i: int) -> None:
    """Take the front of a queue away, on to the stack of what runs."""
    unqueue(q, lane, i)
    stack(q, lane, i)


@inlined
def unqueue(q: Requests, lane: Lane, i: int) -> None:
    """Take the front of a queue away."""
    level = q.n[i][LEVEL]
    if lane.z[ORDERED] >= 0:
        lane.z[ORDERED] = meld(q, q.n[i][NEXT], q.n[i][PREVIOUS], True)
    else:
        lane.z[QUEUE + 2 * level] = q.n[i][NEXT]
    lane.z[WAITING] -= 1


@inlined
def stack(q: Requests, lane: Lane, i: int) -> None:
    """A request runs."""
    level = q.n[i][LEVEL]
    q.n[i][OLDER], q.n[i][NEWER] = lane.z[STACK + level], NONE
    if lane.z[STACK + level] >= 0:
        q.n[lane.z[STACK + level]][NEWER] = i
    lane.z[STACK + level] = i


@inlined
def unstack(q: Requests, lane: Lane, i: int) -> None:
    """A request runs no more."""
    older, newer = q.n[i][OLDER], q.n[i][NEWER]
    if older >= 0:
        q.n[older][NEWER] = newer
    if newer >= 0:
        q.n[newer][OLDER] = older
    else:
        lane.z[STACK + q.n[i][LEVEL]] = older


@inlined
def newest(lane: Lane, levels: int) -> int:
    """The running request to give up first: of the last level that runs, the one that came last."""
    for back in range(levels):
        if lane.z[STACK + levels - 1 - back] >= 0:
            return lane.z[STACK + levels - 1 - back]  # type: ignore[no-any-return]
    return NONE


@inlined
def emitted_of(q: Requests, lane: Lane, p: Policy, i: int) -> int:
    """Output tokens of a running request by now."""
    z, n = lane.z, q.n[i]
    if i == z[PARTIAL]:
        return n[EMITTED_BEFORE]  # type: ignore[no-any-return]
    done = z[STEP] - (n[TARGET] * p.grain - n[BASE]) // p.grow
    left = n[OUTPUT] - n[EMITTED_BEFORE] - 1
    return n[EMITTED_BEFORE] + 1 + left * done // (n[PART] - z[STEP] + done)  # type: ignore[no-any-return]


@compiled
def chosen(q: Requests, lane: Lane, p: Policy) -> int:
    """The running request to give up first by the user's policy; of those alike, as `newest`."""
    best, most = NONE, 0.0
    for back in range(p.levels):
        i = lane.z[STACK + p.levels - 1 - back]
        while i >= 0:
            value = ask_of(q, lane, p, VICTIM, i, emitted_of(q, lane, p, i))
            if best < 0 or value > most:
                best, most = i, value
            i = q.n[i][OLDER]
    return best


@inlined
def set_end(q: Requests, lane: Lane, i: int, end: int) -> None:
    """A decoding request emits its last token when the lane has done ``end`` steps."""
    z = lane.z
    at = RING + (end & z[MASK])
    q.n[i][NEXT], q.n[i][PREVIOUS] = z[at], NONE
    if z[at] >= 0:
        q.n[z[at]][PREVIOUS] = i
    z[at] = i
    z[NEXT_END] = min(z[NEXT_END], end)


@compiled
def unset_end(q: Requests, lane: Lane, i: int, end: int) -> None:
    """It does not end there after all."""
    after, before = q.n[i][NEXT], q.n[i][PREVIOUS]
    if after >= 0:
        q.n[after][PREVIOUS] = before
    if before >= 0:
        q.n[before][NEXT] = after
    else:
        lane.z[RING + (end & lane.z[MASK])] = after


@compiled
def put(q: Requests, lane: Lane, i: int, at: int) -> None:
    """Into one of the lists whose KV moves, in order of when it has; the list's first, last and next time are at ``at``."""
    z, when = lane.z, q.n[i][MOVED]
    before = z[at + 1]
    while before >= 0 and q.n[before][MOVED] > when:
        before = q.n[before][PREVIOUS]
    after = z[at] if before < 0 else q.n[before][NEXT]
    q.n[i][PREVIOUS], q.n[i][NEXT] = before, after
    if before < 0:
        z[at], z[at + 2] = i, when
    else:
        q.n[before][NEXT] = i
    if after < 0:
        z[at + 1] = i
    else:
        q.n[after][PREVIOUS] = i


@compiled
def take_first(q: Requests, lane: Lane, at: int) -> int:
    """The first of such a list, taken away."""
    z = lane.z
    i = z[at]
    after = q.n[i][NEXT]
    z[at] = after
    if after < 0:
        z[at + 1], z[at + 2] = NONE, NEVER
    else:
        q.n[after][PREVIOUS], z[at + 2] = NONE, q.n[after][MOVED]
    return i  # type: ignore[no-any-return]


@inlined
def find_end(lane: Lane, any_left: bool) -> None:
    """The next step at which something ends."""
    z = lane.z
    if not any_left:
        z[NEXT_END] = NEVER
        return
    end, mask = z[STEP], z[MASK]
    while z[RING + (end & mask)] < 0:
        end += 1
    z[NEXT_END] = end
