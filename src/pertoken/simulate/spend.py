r"""What steps take, and who owes it.

Operations that all tokens of a step pass are owed in equal parts, the head by the tokens that it emits, attention by its own
sequence [1]_. A decoding sequence at context c owes u_s + b_s c in step s; with c = base + G s, where G is what contexts grow
by, its debt from step s_0 on is

.. math:: \Delta\sum u + base\,\Delta\sum b + \Delta\sum G s b

so three running sums of the lane give it when it ends. Energy has three of its own: the floor is owed as the time is, traffic
and arithmetic as they are made, and all shares of a step shrink alike where the power cap binds.

References
----------
.. [1] `pertoken.attribution.ledger`, the fair share.
"""

from __future__ import annotations

from pertoken.simulate.cache import Array
from pertoken.simulate.compiled import compiled, inlined
from pertoken.simulate.state import (
    BASE,
    BIN,
    BIN_END,
    BINS,
    BUSY,
    CLOCK,
    CONTEXT,
    DUE,
    HAVE,
    HELD,
    HISTORY,
    HIT,
    INPUT,
    J0,
    JOULES,
    MASK,
    NEVER,
    NEXT,
    NEXT_END,
    PART,
    READ,
    RING,
    RUNNING,
    S0,
    SEGMENT,
    STEP,
    STEPS,
    TARGET,
    WIDTH,
    Costs,
    Lane,
    Policy,
    Requests,
)

LONG = 1 << 16  # steps after which running sums begin anew
FINE, COARSE = 16384, 64  # beyond so many tokens the table of layers has one entry for 64


@inlined
def entry_of(tokens: int) -> int:
    """Where the table of layers has a number of tokens."""
    return tokens if tokens <= FINE else FINE + (tokens - FINE) // COARSE


@inlined
def segment(lane: Lane, c: Costs) -> int:
    """Place in the decode tables; where the mean context is among the knots is remembered, as it moves little."""
    z = lane.z
    batch, context, at = z[RUNNING], z[CONTEXT], z[SEGMENT]
    while context < c.w[c.knots + at] * batch:
        at -= 1
    while context >= c.w[c.knots + at + 1] * batch:
        at += 1
    z[SEGMENT] = at
    return c.decode + 6 * (batch * c.segments + at)  # type: ignore[no-any-return]


@compiled
def _place(w: Array, first: int, count: int, value: int) -> tuple[int, float]:
    """The last of ``count`` knots at or below a value, but never the last of all, and how far it is towards the next."""
    low, high = first, first + count - 1
    while high - low > 1:
        middle = (low + high) // 2
        if w[middle] <= value:
            low = middle
        else:
            high = middle
    return low - first, (value - w[low]) / (w[low + 1] - w[low])


@inlined
def chunk_cost(c: Costs, new: int, context: int) -> tuple[int, float, float]:
    """Attention of a chunk: time [tick], energy [J], and what of the time it owes to all its context, were that cached."""
    w, v = c.w, c.v
    if new <= c.near:
        i, x = int(v[c.near_n + 2 * new]), v[c.near_n + 2 * new + 1]
    else:
        i, x = _place(w, c.chunk_n, c.sizes, new)
    pairs = new * (context + (new + 1) * 0.5)
    a = c.chunk + 3 * i * c.contexts
    if context == 0:
        b = a + 3 * c.contexts
        time, joules = (1.0 - x) * v[a] + x * v[b], (1.0 - x) * v[a + 1] + x * v[b + 1]
        return int(time * pairs + 0.5), joules * pairs, 0.0
    if context <= c.near:
        k, y = int(v[c.near_c + 2 * context]), v[c.near_c + 2 * context + 1]
    else:
        k, y = _place(w, c.chunk_c, c.contexts, context)
    a += 3 * k
    b = a + 3 * c.contexts
    w00, w01, w10, w11 = (1.0 - x) * (1.0 - y), (1.0 - x) * y, x * (1.0 - y), x * y
    time = w00 * v[a] + w01 * v[a + 3] + w10 * v[b] + w11 * v[b + 3]
    joules = w00 * v[a + 1] + w01 * v[a + 4] + w10 * v[b + 1] + w11 * v[b + 4]
    again = w00 * v[a + 2] + w01 * v[a + 5] + w10 * v[b + 2] + w11 * v[b + 5]
    return int(time * pairs + 0.5), joules * pairs, again * pairs


@compiled
def _note_far(lane: Lane, start: int, end: int, busy: float, batch: float, tokens: float) -> None:
    """Add a stretch that leaves its bin; bins double in width when time outgrows them."""
    z, g = lane.z, lane.g
    while end > z[WIDTH] * BINS:
        for k in range(BINS // 2):
            for of in range(4):
                g[HISTORY + 4 * k + of] = g[HISTORY + 8 * k + of] + g[HISTORY + 8 * k + 4 + of]
        for k in range(2 * BINS, 4 * BINS):
            g[HISTORY + k] = 0.0
        z[WIDTH] *= 2
    width, held, each = z[WIDTH], z[HELD], tokens / (end - start)
    at = start // width
    while start < end:
        until = min(end, (at + 1) * width)
        span = until - start
        g[HISTORY + 4 * at] += span * busy
        g[HISTORY + 4 * at + 1] += span * batch
        g[HISTORY + 4 * at + 2] += span * held
        g[HISTORY + 4 * at + 3] += span * each
        start = until
        at += 1
    z[BIN], z[BIN_END] = at - 1, at * width


@inlined
def note(lane: Lane, time: int, batch: float, tokens: float) -> None:
    """Add a stretch of busy time from now on to the lane's history, and move the clock to its end."""
    z, g = lane.z, lane.g
    end = z[CLOCK] + time
    if end > z[BIN_END]:
        if time > 0:
            _note_far(lane, z[CLOCK], end, 1.0, batch, tokens)
    else:
        at = HISTORY + 4 * z[BIN]
        g[at] += time
        g[at + 1] += time * batch
        g[at + 2] += time * z[HELD]
        g[at + 3] += tokens
    z[CLOCK] = end
    z[BUSY] += time


@inlined
def pause(lane: Lane, end: int) -> None:
    """Let the clock stand at ``end``, until which the lane does nothing but hold memory."""
    if lane.z[HELD] > 0 and end > lane.z[CLOCK]:
        _note_far(lane, lane.z[CLOCK], end, 0.0, 0.0, 0.0)
    lane.z[CLOCK] = end


@inlined
def snapshot(q: Requests, lane: Lane, i: int) -> None:
    """Remember the running sums as a request begins to decode."""
    g, f = lane.g, q.f[i]
    for k in range(6):
        f[k] = g[S0 + k]


@inlined
def settle(q: Requests, lane: Lane, i: int) -> None:
    """Charge a request with what it owes for decoding."""
    g, f, base = lane.g, q.f[i], q.n[i][BASE]
    f[8] += g[S0] - f[0] + base * (g[S0 + 1] - f[1]) + g[S0 + 2] - f[2]
    f[10] += g[J0] - f[3] + base * (g[J0 + 1] - f[4]) + g[J0 + 2] - f[5]


@compiled
def renew(q: Requests, lanes: Lane, p: Policy) -> None:
    """Begin the running sums and steps anew in lanes with many, as differences of large ones lose digits in a long run."""
    for r in range(len(lanes.z)):
        z, g = lanes.z[r], lanes.g[r]
        whole = (z[MASK] + 1) * p.look  # so that ends stay where they are, and the engine looks when it would
        if z[STEP] < max(LONG, whole):
            continue
        back = z[STEP] // whole * whole
        for at in range(RING, p.phases):
            i = z[at]
            while i >= 0:
                n, f = q.n[i], q.f[i]
                for k in range(6):
                    f[k] -= g[S0 + k]
                f[2] -= back * p.grow * f[1]
                f[5] -= back * p.grow * f[4]
                n[BASE] += back * p.grow
                n[PART] -= back
                i = n[NEXT]
        for k in range(6):
            g[S0 + k] = 0.0
        z[STEP] -= back
        z[DUE] -= back
        if z[NEXT_END] != NEVER:
            z[NEXT_END] -= back


@inlined
def owe_prompt(q: Requests, i: int, seconds: float, joules: float, cached: float) -> None:
    """Charge a prompt's chunk to its tokens: to output tokens those that are computed anew after preemption."""
    n, f = q.n[i], q.f[i]
    beyond = n[HAVE] + n[PART] - max(n[INPUT], n[HAVE])
    f[7] += cached
    if beyond > 0:
        share = beyond / n[PART]
        f[8] += (seconds - cached) * share
        f[10] += joules * share
        f[6] += (seconds - cached) * (1.0 - share)
        f[9] += joules * (1.0 - share)
    else:
        f[6] += seconds - cached
        f[9] += joules


@inlined
def decode_cost(lane: Lane, c: Costs, p: Policy, steps: int, wait: int, k: int) -> None:
    """Charge ``steps`` steps of decoding alone, before they are made.

    Parameters
    ----------
    steps : int
        Steps of the same batch, on one side of every bend.
    wait : int
        What the first waits for launches that its kernels do not hide [tick]; the others wait less as context grows.
    k : int
        Place in the decode tables.
    """
    g, v, n, context = lane.g, c.v, lane.z[RUNNING], lane.z[CONTEXT]
    each, flat, per = v[c.one_by + n], v[k + 2] + wait, v[k + 1]
    middle = (steps - 1) * 0.5
    mean = context + n * p.grow * middle
    first = lane.z[STEP] + 0.0
    at = first + middle if wait == 0 else first  # launches take as long whatever the context
    time = flat + per * (mean if wait == 0 else context)
    own, own_per, floor = v[k + 5], v[k + 4], c.active
    total = own + own_per * mean + floor * time
    if total > c.cap * time:
        cut = c.cap * time / total
        own, own_per, floor, total = own * cut, own_per * cut, floor * cut, total * cut
    sums = per * steps
    g[S0] += flat * each * steps
    g[S0 + 1] += sums
    g[S0 + 2] += sums * p.grow * at
    g[J0] += (floor * flat + own) * each * steps
    g[J0 + 1] += floor * sums + own_per * steps
    g[J0 + 2] += p.grow * (floor * sums * at + own_per * steps * (first + middle))
    g[JOULES] += total * steps


@inlined
def step_cost(q: Requests, lane: Lane, c: Costs, p: Policy, first: int, new: int, prompts: int) -> None:
    """Time a step with prompts, charge it, and move the clock to its end."""
    z, g, v = lane.z, lane.g, c.v
    decodes = z[RUNNING] if p.mixed else 0
    reads, reads_j, ends, i = 0, 0.0, 0, first
    while i >= 0:
        n, f = q.n[i], q.f[i]
        n[READ], f[0], f[1] = chunk_cost(c, n[PART], n[HAVE])
        reads += n[READ]
        reads_j += f[0]
        ends += 1 if n[HAVE] + n[PART] == n[TARGET] else 0
        i = n[NEXT]
    tokens, heads = new + decodes * p.width, decodes * p.width + ends
    e, h = c.layers + 2 * entry_of(tokens), c.head + 2 * heads
    layers, head, layers_j, head_j = int(v[e]) + c.host_step, int(v[h]), v[e + 1], v[h + 1]
    a, b, ja, jb, context = 0, 0, 0.0, 0.0, 0
    if decodes:
        k, context = segment(lane, c), z[CONTEXT]
        a, b, ja, jb = int(v[k]), int(v[k + 1]), v[k + 3], v[k + 4]
    draft, draft_j = 0, 0.0
    if c.drafted:
        e = c.draft + 2 * entry_of(new)
        draft, draft_j = int(v[e]), v[e + 1]
    work = layers + head + c.host_sequence * (prompts + decodes) + a + b * context + reads + c.prompt_launch + draft
    time = max(work, c.launches)
    wait = time - work + c.prompt_launch + draft
    active = c.active
    total = layers_j + head_j + ja + jb * context + reads_j + draft_j + active * time
    cut = 1.0
    if total > c.cap * time:
        cut = c.cap * time / total
        layers_j, head_j, ja, jb = layers_j * cut, head_j * cut, ja * cut, jb * cut
        draft_j, active = draft_j * cut, active * cut
    g[JOULES] += cut * total
    per_token, per_new = 1.0 / tokens, 1.0 / new
    each, each_j = layers * per_token, layers_j * per_token
    spare, spare_j = wait * per_new, draft_j * per_new
    last, last_j = 0.0, 0.0
    if heads:
        one = v[c.one_by + heads]
        last, last_j = head * one, head_j * one
    else:
        spare, spare_j = spare + head * per_new, spare_j + head_j * per_new
    if decodes:
        one = v[c.one_by + decodes]
        flat = p.width * (each + last) + c.host_sequence + a * one
        at = z[STEP] * p.grow
        g[S0] += flat
        g[S0 + 1] += b
        g[S0 + 2] += b * at
        per = jb + active * b
        g[J0] += p.width * (each_j + last_j) + ja * one + active * flat
        g[J0 + 1] += per
        g[J0 + 2] += per * at
    i = first
    while i >= 0:
        n, f = q.n[i], q.f[i]
        size, cached = n[PART], 0.0
        if n[HIT] > 0:
            cached = f[1] * n[HIT] / max(n[HAVE], 1)
        seconds = size * (each + spare) + n[READ] + c.host_sequence
        owe_prompt(q, i, seconds, size * (each_j + spare_j) + cut * f[0] + active * seconds, cached)
        if n[HAVE] + size == n[TARGET]:
            f[8] += last
            f[10] += last_j + active * last
        i = n[NEXT]
    note(lane, time, decodes + 0.0, heads + 0.0)  # floats, as elsewhere, so that it is compiled once
    z[STEPS] += 1
