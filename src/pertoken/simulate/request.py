"""What becomes of a request in a lane: admitted, begun, given up, moved to another pool, ended.

Where pools are apart, a prompt's blocks are held in the lane that prefilled it until its KV has moved, and that begins when a
lane that decodes has a slot and blocks for it [1]_ [2]_.

References
----------
.. [1] Qin et al. 2024, Mooncake, arXiv:2407.00079.
.. [2] vLLM, "Disaggregated Prefilling" (docs/features/disagg_prefill, KV connectors): blocks are allocated on the decoding
   instance before KV is read, and freed on the prefilling one after.
"""

from __future__ import annotations

from pertoken.simulate.accepting import steps_of
from pertoken.simulate.asking import allowed
from pertoken.simulate.cache import evict, let_go, match, publish, refer, unreferred
from pertoken.simulate.compiled import compiled, inlined
from pertoken.simulate.queues import (
    chosen,
    emitted_of,
    find_end,
    front,
    newest,
    pop,
    push_front,
    put,
    send_any,
    set_end,
    stack,
    take_first,
    unqueue,
    unset_end,
    unstack,
)
from pertoken.simulate.spend import settle, snapshot
from pertoken.simulate.state import (
    AGAIN,
    ARRIVAL,
    AWAY,
    BACK,
    BASE,
    CLOCK,
    CONTEXT,
    EMITTED_BEFORE,
    FIRST,
    FOLLOW,
    HAVE,
    HELD,
    HIT,
    HOLD,
    INPUT,
    LANDING,
    LAST,
    LEAVING,
    LOST,
    MASK,
    MOST_HELD,
    MOVE,
    MOVED,
    MOVING,
    NEVER,
    NEXT,
    NEXT_FREE,
    NEXT_LANDING,
    NONE,
    OFFSET,
    OLDER,
    OUTPUT,
    PART,
    PARTIAL,
    PREEMPTED,
    READ,
    RING,
    RUNNING,
    SERVED,
    STARTED,
    STEP,
    TARGET,
    THINK,
    WAITING,
    Lane,
    Policy,
    Requests,
)


@inlined
def blocks_of(p: Policy, tokens: int) -> int:
    """KV blocks of so many tokens."""
    return (tokens + p.block - 1) // p.block


@inlined
def taken(q: Requests, p: Policy, i: int, tokens: int) -> int:
    """KV blocks that a request takes for a context of ``tokens``: of its whole answer where the engine sets them aside."""
    return blocks_of(p, q.n[i][INPUT] + q.n[i][OUTPUT] - 1) if p.reserves else blocks_of(p, tokens)


@compiled
def give_up(q: Requests, lane: Lane, p: Policy) -> None:
    """Take the blocks of the request that came last; it goes to the front of the queue and starts anew."""
    z = lane.z
    i = chosen(q, lane, p) if p.victim else newest(lane, p.levels)
    unstack(q, lane, i)
    if i == z[PARTIAL]:
        z[PARTIAL] = NONE
        let_go(q, lane, p, i, blocks_of(p, q.n[i][TARGET]))
        z[LOST] += q.n[i][HAVE]
    else:
        n = q.n[i]
        unset_end(q, lane, i, n[PART])
        settle(q, lane, i)
        n[EMITTED_BEFORE] = emitted_of(q, lane, p, i)
        context = leave(q, lane, p, i)
        let_go(q, lane, p, i, (context + p.units - 1) // p.units)
        z[LOST] += context // p.grain
    z[PREEMPTED] += 1
    q.n[i][AGAIN] += 1
    push_front(q, lane, p, i)


@inlined
def admit(q: Requests, lane: Lane, p: Policy, room: int, running: int) -> int:
    """The next prompt that the step can take, its blocks taken; NONE where there is none.

    Parameters
    ----------
    room : int
        Tokens left in the step.
    running : int
        Requests in the lane with those prompts that the step holds; where it holds none, what is never cut gets it for its own.
    """
    z = lane.z
    if z[WAITING] == 0 or z[RUNNING] + z[MOVING] >= p.slots:
        return NONE
    i = front(lane, p.levels)
    if p.ready and q.n[i][EMITTED_BEFORE] == 0:
        return NONE  # comes with its KV
    target = q.n[i][INPUT] + q.n[i][EMITTED_BEFORE]
    found, have = 0, 0
    if p.caching:
        found = match(q, lane, i, (target - 1) // (p.hash_blocks * p.block))
        have = found * p.hash_blocks * p.block
    if not p.chunked and target - have > room and running > z[RUNNING] + z[MOVING]:
        return NONE
    blocks = taken(q, p, i, target) - found * p.hash_blocks
    again = unreferred(q, lane, i, found) * p.hash_blocks if found else 0
    if z[HELD] + blocks + again > p.capacity:
        return NONE
    if p.admit:
        z[HOLD] = 0 if allowed(q, lane, p, i, p.capacity - z[HELD], blocks + again, running, z[WAITING]) else 1
        if z[HOLD]:
            return NONE
    pop(q, lane, i)
    if found:
        refer(q, lane, p, i, found)
    z[HELD] += blocks
    if p.caching:
        evict(lane, p)
    if q.n[i][HIT] < 0:
        q.n[i][HIT] = min(have, q.n[i][INPUT])
    q.n[i][TARGET], q.n[i][HAVE] = target, have
    return i


@inlined
def begin(q: Requests, lane: Lane, p: Policy, i: int) -> None:
    """A request's prompt is prefilled and its next token emitted: it decodes, or has ended."""
    z, n = lane.z, q.n[i]
    target, step = n[TARGET], z[STEP]
    if n[FIRST] == NEVER:
        n[FIRST] = z[CLOCK]
    if p.caching:
        publish(q, lane, p, i, target)
    left = 0 if p.moves else n[OUTPUT] - n[EMITTED_BEFORE] - 1
    if left == 0:
        end_of(q, lane, p, i, target * p.grain)
        return
    steps = left if p.width == 1 else steps_of(p, p.first + i, n[AGAIN], left)
    phase = (target % p.block) * p.grain - z[OFFSET]
    if phase < 0:
        phase += p.units
    n[BASE], n[READ], n[PART] = target * p.grain - step * p.grow, phase, step + steps
    z[RUNNING] += 1
    z[CONTEXT] += target * p.grain
    z[p.phases + phase] += 1
    set_end(q, lane, i, step + steps)
    snapshot(q, lane, i)


@inlined
def leave(q: Requests, lane: Lane, p: Policy, i: int) -> int:
    """A request decodes no more; its context [grain]."""
    z = lane.z
    context = q.n[i][BASE] + z[STEP] * p.grow
    z[RUNNING] -= 1
    z[CONTEXT] -= context
    z[p.phases + q.n[i][READ]] -= 1
    return context  # type: ignore[no-any-return]


@compiled
def end_of(q: Requests, lane: Lane, p: Policy, i: int, context: int) -> None:
    """A request has emitted its last token: free the blocks of its context, and send what follows."""
    z = lane.z
    q.n[i][LAST] = z[CLOCK]
    z[SERVED] += 1
    unstack(q, lane, i)
    if p.moves and q.n[i][OUTPUT] > 1:  # its blocks stay until its KV has moved
        q.n[i][NEXT], z[AWAY] = z[AWAY], i
        return
    blocks = taken(q, p, i, -(-context // p.grain))
    if p.caching:
        publish(q, lane, p, i, min(context // p.grain, q.n[i][INPUT] + q.n[i][OUTPUT] - 1))
        let_go(q, lane, p, i, blocks)
    else:
        z[HELD] -= blocks
    if p.closed and q.n[i][FOLLOW] >= 0:
        if p.ready:
            q.n[i][OLDER], z[BACK] = z[BACK], i
            return
        later = q.n[i][FOLLOW]
        q.n[later][ARRIVAL] = z[CLOCK] + q.n[later][THINK]
        send_any(q, lane, later)


@inlined
def finish(q: Requests, lane: Lane, p: Policy) -> None:
    """End what emits its last token at this step."""
    z = lane.z
    at = RING + (z[STEP] & z[MASK])
    i = z[at]
    z[at] = NONE
    while i >= 0:
        after = q.n[i][NEXT]
        settle(q, lane, i)
        end_of(q, lane, p, i, leave(q, lane, p, i))
        i = after
    find_end(lane, z[RUNNING] > 0)


@compiled
def take(q: Requests, lane: Lane, p: Policy) -> None:
    """Begin to move the KV of requests that were prefilled elsewhere, as far as there are slots and blocks for them."""
    z = lane.z
    recomputed = 1 if z[PARTIAL] >= 0 else 0
    while z[WAITING] > 0 and z[RUNNING] + z[MOVING] + recomputed < p.slots:
        i = front(lane, p.levels)
        n, blocks = q.n[i], taken(q, p, i, q.n[i][INPUT])
        if n[EMITTED_BEFORE] or z[HELD] + blocks > p.capacity:
            return
        if p.admit:
            running = z[RUNNING] + z[MOVING]
            z[HOLD] = 0 if allowed(q, lane, p, i, p.capacity - z[HELD], blocks, running, z[WAITING]) else 1
            if z[HOLD]:
                return
        unqueue(q, lane, i)
        z[HELD] += blocks
        z[MOST_HELD] = max(z[MOST_HELD], z[HELD])
        z[MOVING] += 1
        n[MOVED] = z[CLOCK] + n[MOVE]
        put(q, lane, i, LANDING)
        n[OLDER], z[STARTED] = z[STARTED], i


@compiled
def land(q: Requests, lane: Lane, p: Policy) -> None:
    """Decode what has its KV by now."""
    z = lane.z
    while z[NEXT_LANDING] <= z[CLOCK]:
        i = take_first(q, lane, LANDING)
        z[MOVING] -= 1
        stack(q, lane, i)
        q.n[i][TARGET] = q.n[i][HAVE] = q.n[i][INPUT]
        begin(q, lane, p, i)


@compiled
def depart(q: Requests, lane: Lane, p: Policy) -> None:
    """Free the blocks of prompts whose KV is with the other pool by now."""
    z = lane.z
    while z[NEXT_FREE] <= z[CLOCK]:
        i = take_first(q, lane, LEAVING)
        let_go(q, lane, p, i, blocks_of(p, q.n[i][TARGET]))
