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
    overtaking,
    pop,
    push_front,
    release,
    send_any,
    set_end,
    unset_end,
    unstack,
)
from pertoken.simulate.spend import decode_cost, note, segment, settle, snapshot, step_cost
from pertoken.simulate.state import (
    AGAIN,
    ARRIVAL,
    BASE,
    CLOCK,
    CONTEXT,
    DECODED,
    DUE,
    EMITTED,
    EMITTED_BEFORE,
    FIRST,
    FOLLOW,
    HAVE,
    HELD,
    HIT,
    HOLD,
    INPUT,
    LAST,
    LOST,
    MASK,
    MOST_HELD,
    NEVER,
    NEXT,
    NEXT_ARRIVAL,
    NEXT_END,
    NONE,
    OFFSET,
    OUTPUT,
    PART,
    PARTIAL,
    PREEMPTED,
    PREFILLED,
    READ,
    RING,
    RUNNING,
    SEGMENT,
    SERVED,
    STEP,
    STEPS,
    TARGET,
    THINK,
    WAITING,
    Costs,
    Lane,
    Policy,
    Requests,
)  # fmt: skip
from pertoken.simulate.stretch import earliest, grown, most_alike, needed, series


@inlined
def blocks_of(p: Policy, tokens: int) -> int:
    """KV blocks of so many tokens."""
    return (tokens + p.block - 1) // p.block


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
def admit(q: Requests, lane: Lane, p: Policy, room: int, before: int) -> int:
    """The next prompt that the step can take, its blocks taken; NONE where there is none.

    Parameters
    ----------
    room : int
        Tokens left in the step.
    before : int
        Prompts that the step holds; what is never cut gets a step of its own.
    """
    z = lane.z
    if z[WAITING] == 0 or z[RUNNING] >= p.slots:
        return NONE
    i = front(lane, p.levels)
    target = q.n[i][INPUT] + q.n[i][EMITTED_BEFORE]
    found, have = 0, 0
    if p.caching:
        found = match(q, lane, i, (target - 1) // (p.hash_blocks * p.block))
        have = found * p.hash_blocks * p.block
    if not p.chunked and target - have > room and before:
        return NONE
    blocks = blocks_of(p, target) - found * p.hash_blocks
    again = unreferred(q, lane, i, found) * p.hash_blocks if found else 0
    if z[HELD] + blocks + again > p.capacity:
        return NONE
    if p.admit:
        running = z[RUNNING] + before
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
    left = n[OUTPUT] - n[EMITTED_BEFORE] - 1
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
    if p.caching:
        publish(q, lane, p, i, min(context // p.grain, q.n[i][INPUT] + q.n[i][OUTPUT] - 1))
        let_go(q, lane, p, i, (context + p.units - 1) // p.units)
    else:
        z[HELD] -= (context + p.units - 1) // p.units
    if p.closed and q.n[i][FOLLOW] >= 0:
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


@inlined
def prompt_step(q: Requests, lane: Lane, c: Costs, p: Policy) -> bool:
    """One step with prompts, beside the decoding sequences or instead of them; False where none can be taken."""
    z = lane.z
    room = p.budget - z[RUNNING] * p.width if p.mixed else p.budget
    first, last, new, prompts = NONE, NONE, 0, 0
    while room > new and z[RUNNING] + prompts < p.slots:
        i = z[PARTIAL]
        if i < 0:
            i = admit(q, lane, p, room - new, prompts)
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
    if n > c.captured and first < c.launches:
        # the launches take as long whatever the context, until kernels take longer
        wait = c.launches - first
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
    note(lane, steps * (first + wait) + growth * (steps * (steps - 1) // 2), n, steps * more / p.grain)
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


@compiled
def take(q: Requests, lane: Lane, p: Policy) -> None:
    """Admit requests whose prompts were prefilled elsewhere."""
    z = lane.z
    while z[WAITING] > 0 and z[RUNNING] < p.slots:
        i = front(lane, p.levels)
        if q.n[i][EMITTED_BEFORE] or z[HELD] + blocks_of(p, q.n[i][INPUT]) > p.capacity:
            return
        blocks = blocks_of(p, q.n[i][INPUT])
        if p.admit and not allowed(q, lane, p, i, p.capacity - z[HELD], blocks, z[RUNNING], z[WAITING]):
            return
        pop(q, lane, i)
        z[HELD] += blocks
        q.n[i][TARGET] = q.n[i][HAVE] = q.n[i][INPUT]
        begin(q, lane, p, i)


@inlined
def enter(q: Requests, lane: Lane, p: Policy) -> None:
    """Queue what has arrived; where nothing waited, say from which step on prompts are taken."""
    z = lane.z
    if z[WAITING] == 0:
        z[DUE] = z[STEP]
        if z[RUNNING] and p.look + p.wait > 1:
            z[DUE] = -(-z[STEP] // p.look) * p.look + p.wait
    release(q, lane, p)


@compiled
def advance(q: Requests, lane: Lane, c: Costs, p: Policy, until: int) -> None:
    """Serve until nothing is left to do, or the next step would begin at ``until`` or later."""
    z = lane.z
    while z[CLOCK] < until:
        if z[CLOCK] >= z[NEXT_ARRIVAL]:
            enter(q, lane, p)
        if z[RUNNING] == 0 and z[PARTIAL] < 0 and z[WAITING] == 0:
            if z[NEXT_ARRIVAL] >= until:
                return
            z[CLOCK] = z[NEXT_ARRIVAL]
            continue
        if p.ready:
            take(q, lane, p)
        need = 0
        if p.mixed:
            secure(q, lane, p)
            need = needed(lane, p, p.grow)
        if z[PARTIAL] >= 0 or (z[WAITING] > 0 and (z[STEP] >= z[DUE] or z[RUNNING] == 0)):
            z[HELD] += need  # decoding sequences take their blocks before prompts do
            if prompt_step(q, lane, c, p):
                continue
            z[HELD] -= need
        most = most_alike(lane)
        if not p.mixed:
            before = z[PREEMPTED]
            secure(q, lane, p)
            most = 1 if z[PREEMPTED] > before else most  # there may be room for a prompt after it
        if z[RUNNING]:
            decode_steps(q, lane, c, p, most, earliest(lane, p, until))
        elif z[HOLD]:
            z[HOLD] = 2
            z[CLOCK] = min(until, z[NEXT_ARRIVAL])
