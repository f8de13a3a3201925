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

from pertoken.simulate.cache import evict, let_go, match, publish, refer, unreferred
from pertoken.simulate.compiled import compiled, inlined
from pertoken.simulate.queues import (
    find_end,
    front,
    newest,
    pop,
    push_front,
    release,
    send_any,
    set_end,
    unset_end,
    unstack,
)
from pertoken.simulate.spend import decode_cost, entry_of, note, segment, settle, snapshot, step_cost
from pertoken.simulate.state import (
    AGAIN,
    ARRIVAL,
    BASE,
    BUSY,
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
    OUTPUT,
    PART,
    PARTIAL,
    PHASE,
    PREEMPTED,
    PREFILLED,
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
    Q,
    Requests,
)
from pertoken.simulate.stretch import earliest, most_alike, needed, series


@inlined
def blocks_of(p: Policy, tokens: int) -> int:
    """KV blocks of so many tokens."""
    return (tokens + p.block - 1) // p.block


@compiled
def give_up(q: Requests, lane: Lane, p: Policy) -> None:
    """Take the blocks of the request that came last; it goes to the front of the queue and starts anew."""
    z = lane.z
    i = newest(lane, p.levels)
    unstack(q, lane, i)
    if i == z[PARTIAL]:
        z[PARTIAL] = NONE
        let_go(q, lane, p, i, blocks_of(p, q.n[i * Q + TARGET]))
        z[LOST] += q.n[i * Q + HAVE]
    else:
        context = q.n[i * Q + BASE] + z[STEP]
        unset_end(q, lane, i, q.n[i * Q + PART])  # see begin
        settle(q, lane, i)
        z[RUNNING] -= 1
        z[CONTEXT] -= context
        lane.z[PHASE + q.n[i * Q + BASE] % p.block] -= 1
        let_go(q, lane, p, i, blocks_of(p, context))
        q.n[i * Q + EMITTED_BEFORE] = context - q.n[i * Q + INPUT] + 1
        z[LOST] += context
    z[PREEMPTED] += 1
    q.n[i * Q + AGAIN] += 1
    push_front(q, lane, i)


@inlined
def admit(q: Requests, lane: Lane, p: Policy, room: int, empty: bool) -> int:
    """The next prompt that the step can take, its blocks taken; NONE where there is none.

    Parameters
    ----------
    room : int
        Tokens left in the step.
    empty : bool
        Whether the step holds no prompt yet: what is never cut then gets a step of its own.
    """
    z = lane.z
    if z[WAITING] == 0 or z[RUNNING] >= p.slots:
        return NONE
    i = front(lane, p.levels)
    target = q.n[i * Q + INPUT] + q.n[i * Q + EMITTED_BEFORE]
    found, have = 0, 0
    if p.caching:
        found = match(q, lane, i, (target - 1) // (p.hash_blocks * p.block))
        have = found * p.hash_blocks * p.block
    if not p.chunked and target - have > room and not empty:
        return NONE
    blocks = blocks_of(p, target) - found * p.hash_blocks
    again = unreferred(q, lane, i, found) * p.hash_blocks if found else 0
    if z[HELD] + blocks + again > p.capacity:
        return NONE
    pop(q, lane, i)
    if found:
        refer(q, lane, p, i, found)
    z[HELD] += blocks
    if p.caching:
        evict(lane, p)
    if q.n[i * Q + HIT] < 0:
        q.n[i * Q + HIT] = min(have, q.n[i * Q + INPUT])
    q.n[i * Q + TARGET], q.n[i * Q + HAVE] = target, have
    return i


@inlined
def begin(q: Requests, lane: Lane, p: Policy, i: int) -> None:
    """A request's prompt is prefilled and its next token emitted: it decodes, or has ended."""
    z = lane.z
    if q.n[i * Q + FIRST] == NEVER:
        q.n[i * Q + FIRST] = z[CLOCK]
    if p.caching:
        publish(q, lane, p, i, q.n[i * Q + TARGET])
    left = q.n[i * Q + OUTPUT] - q.n[i * Q + EMITTED_BEFORE] - 1
    q.n[i * Q + BASE] = q.n[i * Q + TARGET] - z[STEP]
    if left == 0:
        end_of(q, lane, p, i, q.n[i * Q + TARGET])
        return
    z[RUNNING] += 1
    z[CONTEXT] += q.n[i * Q + TARGET]
    lane.z[PHASE + q.n[i * Q + BASE] % p.block] += 1
    q.n[i * Q + PART] = z[STEP] + left
    set_end(q, lane, i, z[STEP] + left)
    snapshot(q, lane, i)


@compiled
def end_of(q: Requests, lane: Lane, p: Policy, i: int, context: int) -> None:
    """A request has emitted its last token: free its blocks, and send what follows."""
    z = lane.z
    q.n[i * Q + LAST] = z[CLOCK]
    z[SERVED] += 1
    unstack(q, lane, i)
    if p.caching:
        publish(q, lane, p, i, context)
    let_go(q, lane, p, i, blocks_of(p, context))
    if p.closed and q.n[i * Q + FOLLOW] >= 0:
        later = q.n[i * Q + FOLLOW]
        q.n[later * Q + ARRIVAL] = z[CLOCK] + q.n[later * Q + THINK]
        send_any(q, lane, later)


@inlined
def finish(q: Requests, lane: Lane, p: Policy) -> None:
    """End what emits its last token at this step."""
    z = lane.z
    at = RING + (z[STEP] & z[MASK])
    i = z[at]
    z[at] = NONE
    while i >= 0:
        after = q.n[i * Q + NEXT]
        context = q.n[i * Q + BASE] + z[STEP]
        settle(q, lane, i)
        z[RUNNING] -= 1
        z[CONTEXT] -= context
        lane.z[PHASE + q.n[i * Q + BASE] % p.block] -= 1
        end_of(q, lane, p, i, context)
        i = after
    find_end(lane, z[RUNNING] > 0)


@inlined
def prompt_step(q: Requests, lane: Lane, c: Costs, p: Policy) -> bool:
    """One step with prompts, beside the decoding sequences or instead of them; False where none can be taken."""
    z = lane.z
    room = p.budget - z[RUNNING] if p.mixed else p.budget
    first, last, new, prompts = NONE, NONE, 0, 0
    while room > new and z[RUNNING] + prompts < p.slots:
        i = z[PARTIAL]
        if i < 0:
            i = admit(q, lane, p, room - new, prompts == 0)
            if i < 0:
                break
        left = q.n[i * Q + TARGET] - q.n[i * Q + HAVE]
        size = min(left, room - new) if p.chunked else left
        z[PARTIAL] = i if size < left else NONE
        q.n[i * Q + PART], q.n[i * Q + NEXT] = size, NONE
        if first < 0:
            first = i
        else:
            q.n[last * Q + NEXT] = i
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
        z[CONTEXT] += z[RUNNING]
        z[DECODED] += z[RUNNING]
        if z[NEXT_END] == z[STEP]:
            finish(q, lane, p)
    i = first
    while i >= 0:
        after = q.n[i * Q + NEXT]
        q.n[i * Q + HAVE] += q.n[i * Q + PART]
        if q.n[i * Q + HAVE] == q.n[i * Q + TARGET]:
            z[EMITTED] += 1
            begin(q, lane, p, i)
        i = after
    return True


@inlined
def decode_steps(q: Requests, lane: Lane, c: Costs, p: Policy, most: int, until: int) -> None:
    """Steps of decoding alone, as many as are alike: at most ``most``, none that begins at ``until`` or later."""
    z = lane.z
    n = z[RUNNING]
    k = segment(lane, c)
    steps = min(most, z[NEXT_END] - z[STEP])
    room = c.w[c.knots + z[SEGMENT] + 1] * n - z[CONTEXT]  # above 0; the bend is a multiple of the growth away or less
    steps = min(steps, (room + n - 1) // n)
    first = (
        c.w[c.layers + entry_of(n)]
        + c.w[c.head + n]
        + c.host_step
        + c.host_sequence * n
        + c.w[c.decode_a + k]
        + c.w[c.decode_b + k] * z[CONTEXT]
    )
    growth = c.w[c.decode_b + k] * n
    wait = 0
    if (
        n > c.captured and first < c.launches
    ):  # the launches take as long whatever the context, until kernels take longer
        wait = c.launches - first
        steps = min(steps, (wait + growth - 1) // growth) if growth > 0 else steps
        growth = 0
    if steps > 1:
        steps = series(lane, first + wait, growth, steps, until)
    free = p.capacity - z[HELD]
    if needed(lane, p, steps) > free:
        steps = max(1, free // n * p.block)
        while needed(lane, p, steps + 1) <= free:
            steps += 1
    decode_cost(lane, c, steps, wait, k)
    z[HELD] += needed(lane, p, steps)
    z[MOST_HELD] = max(z[MOST_HELD], z[HELD])
    if p.caching:
        evict(lane, p)
    time = steps * (first + wait) + growth * (steps * (steps - 1) // 2)
    note(lane, z[CLOCK], z[CLOCK] + time, n, n * steps)
    z[CLOCK] += time
    z[BUSY] += time
    z[STEPS] += steps
    z[STEP] += steps
    z[CONTEXT] += n * steps
    z[DECODED] += n * steps
    if z[NEXT_END] == z[STEP]:
        finish(q, lane, p)


@inlined
def secure(q: Requests, lane: Lane, p: Policy) -> None:
    """Make sure that the blocks of the next decode step are there, giving up requests for them."""
    z = lane.z
    while z[RUNNING] > 0:
        need = lane.z[PHASE + (-z[STEP]) % p.block]
        if z[HELD] + need <= p.capacity:
            return
        give_up(q, lane, p)
        if z[RUNNING] == 0:
            z[NEXT_END] = NEVER


@compiled
def take(q: Requests, lane: Lane, p: Policy) -> None:
    """Admit requests whose prompts were prefilled elsewhere."""
    z = lane.z
    while z[WAITING] > 0 and z[RUNNING] < min(p.slots, p.budget):
        i = front(lane, p.levels)
        if q.n[i * Q + EMITTED_BEFORE] or z[HELD] + blocks_of(p, q.n[i * Q + INPUT]) > p.capacity:
            return
        pop(q, lane, i)
        z[HELD] += blocks_of(p, q.n[i * Q + INPUT])
        q.n[i * Q + TARGET] = q.n[i * Q + HAVE] = q.n[i * Q + INPUT]
        begin(q, lane, p, i)


@compiled
def advance(q: Requests, lane: Lane, c: Costs, p: Policy, until: int) -> None:
    """Serve until nothing is left to do, or the next step would begin at ``until`` or later."""
    z = lane.z
    while z[CLOCK] < until:
        if z[CLOCK] >= z[NEXT_ARRIVAL]:
            if z[WAITING] == 0:
                z[DUE] = -(-z[STEP] // p.look) * p.look + p.wait if z[RUNNING] else z[STEP]
            release(q, lane)
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
            need = z[PHASE + (-z[STEP]) % p.block]
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
