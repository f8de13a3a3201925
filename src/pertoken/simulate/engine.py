"""The loop of one lane: iteration-level continuous batching [1]_, steps of the same batch advanced together.

State is O(1) a step: a request's last step is known when it begins to decode, a count by phase says how many sequences
need a block at a step, and running sums of what a decoding sequence owes give each its share when it ends. Between
events (an arrival that can be served, an end, a block that is missing, a bend of the step time) steps form an
arithmetic series.

Decodes take their blocks before anything is admitted; where blocks are missing the request that came last is given up
and recomputed [2]_. A prompt takes the blocks of all its tokens when it is admitted.

References
----------
.. [1] Yu et al. 2022, Orca, OSDI; Agrawal et al. 2024, arXiv:2403.02310 (chunked prefill).
.. [2] Kwon et al. 2023, arXiv:2309.06180 (paged KV cache, preemption by recompute).
"""

from __future__ import annotations

from pertoken.simulate.cache import evict
from pertoken.simulate.compiled import compiled, inlined
from pertoken.simulate.queues import overtaking, release
from pertoken.simulate.request import admit, begin, depart, finish, give_up, land, take
from pertoken.simulate.spend import decode_cost, note, pause, segment, step_cost
from pertoken.simulate.state import (
    BACK,
    CLOCK,
    CONTEXT,
    DECODED,
    DUE,
    EMITTED,
    HAVE,
    HELD,
    HOLD,
    MOST_HELD,
    MOVING,
    NEVER,
    NEXT,
    NEXT_ARRIVAL,
    NEXT_END,
    NEXT_FREE,
    NEXT_LANDING,
    NONE,
    PART,
    PARTIAL,
    PREEMPTED,
    PREFILLED,
    RUNNING,
    SEGMENT,
    STALL,
    STALLED,
    STARTED,
    STEP,
    STEPS,
    TARGET,
    WAITING,
    Costs,
    Lane,
    Policy,
    Requests,
)
from pertoken.simulate.stretch import earliest, grown, most_alike, needed, series


@inlined
def prompt_step(q: Requests, lane: Lane, c: Costs, p: Policy) -> bool:
    """One step with prompts, beside the decoding sequences or instead of them; False where none can be taken."""
    z = lane.z
    room = p.budget - z[RUNNING] * p.width if p.mixed else p.budget
    first, last, new, prompts = NONE, NONE, 0, 0
    while room > new and z[RUNNING] + z[MOVING] + prompts < p.slots:
        i = z[PARTIAL]
        if i < 0:
            i = admit(q, lane, p, room - new, z[RUNNING] + z[MOVING] + prompts)
            if i < 0:
                break
        left = q.n[i][TARGET] - q.n[i][HAVE]
        size = min(left, room - new) if p.chunked else left
        z[PARTIAL] = i if size < left else NONE
        q.n[i][PART], q.n[i][NEXT] = size, NONE
        if first < 0:
            first = i
        else:
            q.n[last][NEXT] = i
        last = i
        new += size
        prompts += 1
    if prompts == 0:
        return False
    z[MOST_HELD] = max(z[MOST_HELD], z[HELD])
    if p.caching:
        evict(lane, p)
    step_cost(q, lane, c, p, first, new, prompts)
    z[PREFILLED] += new
    if p.mixed:
        z[STEP] += 1
        z[CONTEXT] += z[RUNNING] * p.grow
        z[DECODED] += z[RUNNING]
        grown(lane, p, p.grow)
        if z[NEXT_END] == z[STEP]:
            finish(q, lane, p)
    i = first
    while i >= 0:
        after = q.n[i][NEXT]
        q.n[i][HAVE] += q.n[i][PART]
        if q.n[i][HAVE] == q.n[i][TARGET]:
            z[EMITTED] += 1
            begin(q, lane, p, i)
        i = after
    return True


@inlined
def decode_steps(q: Requests, lane: Lane, c: Costs, p: Policy, most: int, until: int) -> None:
    """Steps of decoding alone, as many as are alike: at most ``most``, none that begins at ``until`` or later."""
    z = lane.z
    n, clock, context = z[RUNNING], z[CLOCK], z[CONTEXT]
    more = n * p.grow
    k = segment(lane, c)
    steps = min(most, z[NEXT_END] - z[STEP])
    room = c.w[c.knots + z[SEGMENT] + 1] * n - context  # above 0; the bend is a multiple of the growth away or less
    if steps * more > room:
        steps = (room + more - 1) // more
    per = int(c.v[k + 1])
    first = int(c.v[k + 2]) + per * context
    growth = per * more
    wait = 0
    if n > c.captured and first < c.eager:
        # the launches take as long whatever the context, until kernels take longer
        wait = c.eager - first
        steps = min(steps, (wait + growth - 1) // growth) if growth > 0 else steps
        growth = 0
    if steps > 1:
        steps = series(until - clock, first + wait, growth, steps)
    if p.order and steps > 1 and z[WAITING] > 0 and n < p.slots:
        end = clock + steps * (first + wait) + growth * (steps * (steps - 1) // 2)
        steps = series(overtaking(q, lane, p, end) - clock, first + wait, growth, steps)
    free = p.capacity - z[HELD]
    blocks = needed(lane, p, steps * p.grow)
    if blocks > free:
        steps = max(1, free // n * p.units // p.grow)
        while needed(lane, p, (steps + 1) * p.grow) <= free:
            steps += 1
        blocks = needed(lane, p, steps * p.grow)
    decode_cost(lane, c, p, steps, wait, k)
    z[HELD] += blocks
    z[MOST_HELD] = max(z[MOST_HELD], z[HELD])
    if p.caching:
        evict(lane, p)
    note(lane, steps * (first + wait) + growth * (steps * (steps - 1) // 2), n + 0.0, steps * more / p.grain)
    z[STEPS] += steps
    z[STEP] += steps
    z[CONTEXT] = context + more * steps
    z[DECODED] += n * steps
    grown(lane, p, steps * p.grow)
    if z[NEXT_END] == z[STEP]:
        finish(q, lane, p)


@inlined
def secure(q: Requests, lane: Lane, p: Policy) -> None:
    """Make sure that the blocks of the next decode step are there, giving up requests for them."""
    z = lane.z
    while z[RUNNING] > 0:
        need = needed(lane, p, p.grow)
        if z[HELD] + need <= p.capacity:
            return
        give_up(q, lane, p)
        if z[RUNNING] == 0:
            z[NEXT_END] = NEVER


@inlined
def enter(q: Requests, lane: Lane, p: Policy) -> None:
    """Queue what has arrived; where nothing waited, say from which step on prompts are taken."""
    z = lane.z
    if z[WAITING] == 0:
        z[DUE] = z[STEP]
        if z[RUNNING] and p.look + p.wait > 1:
            z[DUE] = -(-z[STEP] // p.look) * p.look + p.wait
    release(q, lane, p)


@inlined
def hear(q: Requests, lane: Lane, p: Policy) -> None:
    """What has come about since the last step: KV that has moved away, arrivals, KV that has moved here."""
    z = lane.z
    if p.moves and z[CLOCK] >= z[NEXT_FREE]:
        depart(q, lane, p)
    if z[CLOCK] >= z[NEXT_ARRIVAL]:
        enter(q, lane, p)
    if p.ready and z[CLOCK] >= z[NEXT_LANDING]:
        land(q, lane, p)


@inlined
def rest(lane: Lane, until: int) -> bool:
    """Nothing can be served before something comes or KV has moved; True where neither is to be before ``until``."""
    z = lane.z
    wake = min(z[NEXT_ARRIVAL], z[NEXT_LANDING], z[NEXT_FREE])
    if z[WAITING] > 0:
        z[HOLD] = 2 if z[HOLD] else 0
        if wake >= until:
            z[STALLED] = 1
            return True
        z[STALL] += wake - z[CLOCK]
    elif wake >= until:
        return True
    pause(lane, wake)
    return False


@compiled
def advance(q: Requests, lane: Lane, c: Costs, p: Policy, until: int) -> None:
    """Serve until nothing is left to do, or the next step would begin at ``until`` or later.

    Where pools are apart, no further than one step after KV begins to move, or than an answer that others follow.
    """
    z = lane.z
    z[STALLED] = 0
    while z[CLOCK] < until and z[BACK] < 0:
        hear(q, lane, p)
        if z[RUNNING] == 0 and z[PARTIAL] < 0 and z[WAITING] == 0:
            if rest(lane, until):
                return
            continue
        need = 0
        if p.mixed:
            secure(q, lane, p)
            need = needed(lane, p, p.grow)
        z[HELD] += need  # decoding sequences take their blocks before prompts do
        if p.ready:
            take(q, lane, p)
            until = z[CLOCK] + 1 if z[STARTED] >= 0 else until
        wanted = z[PARTIAL] >= 0 or (z[WAITING] > 0 and (z[STEP] >= z[DUE] or z[RUNNING] == 0))
        if wanted and prompt_step(q, lane, c, p):
            continue
        z[HELD] -= need
        most = most_alike(lane)
        if not p.mixed:
            before = z[PREEMPTED]
            secure(q, lane, p)
            most = 1 if z[PREEMPTED] > before else most  # there may be room for a prompt after it
        if z[RUNNING]:
            decode_steps(q, lane, c, p, most, earliest(lane, p, until))
        elif p.ready or p.moves:
            if rest(lane, until):
                return
        elif z[HOLD]:
            z[HOLD] = 2
            z[CLOCK] = min(until, z[NEXT_ARRIVAL])
