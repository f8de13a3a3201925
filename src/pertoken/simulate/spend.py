r"""What steps take, and who owes it.

Operations that all tokens of a step pass are owed in equal parts, the head by the tokens that it emits, attention by its own
sequence [1]_. A decoding sequence at context c owes u_s + b_s c in step s; with c = base + s its debt from step s_0 on is

.. math:: \Delta\sum u + base\,\Delta\sum b + \Delta\sum s b

so three running sums of the lane give it when it ends. Energy has three of its own: the floor is owed as the time is, traffic
and arithmetic as they are made, and all shares of a step shrink alike where the power cap binds.

References
----------
.. [1] `pertoken.attribution.ledger`, the fair share.
"""

from __future__ import annotations

from pertoken.simulate.compiled import inlined
from pertoken.simulate.state import (
    BASE,
    BINS,
    BUSY,
    CLOCK,
    CONTEXT,
    HAVE,
    HELD,
    HISTORY,
    HIT,
    INPUT,
    J0,
    JOULES,
    NEXT,
    PART,
    READ,
    RUNNING,
    S0,
    SEGMENT,
    STEP,
    STEPS,
    TARGET,
    WIDTH,
    Array,
    Costs,
    F,
    Lane,
    Q,
    Requests,
)

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
    return batch * c.segments + at  # type: ignore[no-any-return]


@inlined
def _below(w: Array, first: int, count: int, value: int) -> int:
    """The last of ``count`` knots at or below a value, but never the last of all."""
    low, high = first, first + count - 1
    while high - low > 1:
        middle = (low + high) // 2
        if w[middle] <= value:
            low = middle
        else:
            high = middle
    return low


@inlined
def chunk_cost(c: Costs, new: int, context: int) -> tuple[int, float, float]:
    """Attention of a chunk: time [tick], energy [J], and what of the time it owes to all its context, were that cached."""
    i, k = _below(c.w, c.chunk_n, c.sizes, new), _below(c.w, c.chunk_c, c.contexts, context)
    x = (new - c.w[i]) / (c.w[i + 1] - c.w[i])
    y = (context - c.w[k]) / (c.w[k + 1] - c.w[k])
    a = (i - c.chunk_n) * c.contexts + k - c.chunk_c
    b = a + c.contexts
    w00, w01, w10, w11 = (1.0 - x) * (1.0 - y), (1.0 - x) * y, x * (1.0 - y), x * y
    pairs = new * (context + (new + 1) * 0.5)
    time = (
        w00 * c.v[c.chunk_s + a]
        + w01 * c.v[c.chunk_s + a + 1]
        + w10 * c.v[c.chunk_s + b]
        + w11 * c.v[c.chunk_s + b + 1]
    )
    joules = (
        w00 * c.v[c.chunk_j + a]
        + w01 * c.v[c.chunk_j + a + 1]
        + w10 * c.v[c.chunk_j + b]
        + w11 * c.v[c.chunk_j + b + 1]
    )
    again = (
        w00 * c.v[c.chunk_x + a]
        + w01 * c.v[c.chunk_x + a + 1]
        + w10 * c.v[c.chunk_x + b]
        + w11 * c.v[c.chunk_x + b + 1]
    )
    return int(time * pairs + 0.5), joules * pairs, again * pairs


@inlined
def note(lane: Lane, start: int, end: int, batch: float, tokens: float) -> None:
    """Add a stretch of busy time to the lane's history, whose bins double in width when time outgrows them."""
    z, g = lane.z, lane.g
    while end > z[WIDTH] * BINS:
        for k in range(BINS // 2):
            for of in range(4):
                g[HISTORY + 4 * k + of] = g[HISTORY + 8 * k + of] + g[HISTORY + 8 * k + 4 + of]
        for k in range(2 * BINS, 4 * BINS):
            g[HISTORY + k] = 0.0
        z[WIDTH] *= 2
    width = z[WIDTH]
    held, each = z[HELD], tokens / (end - start) if end > start else 0.0
    at = start // width
    while start < end:
        until = min(end, (at + 1) * width)
        span = until - start
        g[HISTORY + 4 * at] += span
        g[HISTORY + 4 * at + 1] += span * batch
        g[HISTORY + 4 * at + 2] += span * held
        g[HISTORY + 4 * at + 3] += span * each
        start = until
        at += 1


@inlined
def add(lane: Lane, at: int, u: float, b: float, steps: int, grows: bool) -> None:
    """Add to three running sums what a decoding sequence owes in each of ``steps`` steps from this one on.

    Parameters
    ----------
    at : int
        The first of the three: ``S0`` for time [tick] or ``J0`` for energy [J].
    u, b : float
        A step, and for each token of context.
    grows : bool
        Whether context counts as it grows, or as it is at the first of the steps.
    """
    g, step = lane.g, lane.z[STEP]
    g[at] += steps * u
    g[at + 1] += steps * b
    g[at + 2] += b * steps * (step + (steps - 1) * 0.5) if grows else b * steps * step


@inlined
def snapshot(q: Requests, lane: Lane, i: int) -> None:
    """Remember the running sums as a request begins to decode."""
    for k in range(3):
        q.f[F * i + k] = lane.g[S0 + k]
        q.f[F * i + 3 + k] = lane.g[J0 + k]


@inlined
def settle(q: Requests, lane: Lane, i: int) -> None:
    """Charge a request with what it owes for decoding."""
    g, f, at, base = lane.g, q.f, F * i, q.n[i * Q + BASE]
    for k, sums in ((2, S0), (4, J0)):
        since = at + sums - S0
        q.f[F * i + 6 + k] += g[sums] - f[since] + base * (g[sums + 1] - f[since + 1]) + g[sums + 2] - f[since + 2]


@inlined
def owe_prompt(q: Requests, i: int, seconds: float, joules: float, cached: float) -> None:
    """Charge a prompt's chunk to its tokens: to output tokens those that are computed anew after preemption."""
    beyond = q.n[i * Q + HAVE] + q.n[i * Q + PART] - max(q.n[i * Q + INPUT], q.n[i * Q + HAVE])
    share = max(0, beyond) / q.n[i * Q + PART]
    q.f[F * i + 6] += (seconds - cached) * (1.0 - share)
    q.f[F * i + 7] += cached
    q.f[F * i + 8] += (seconds - cached) * share
    q.f[F * i + 9] += joules * (1.0 - share)
    q.f[F * i + 10] += joules * share


@inlined
def decode_cost(lane: Lane, c: Costs, steps: int, wait: int, k: int) -> None:
    """Charge ``steps`` steps of decoding alone, before they are made.

    Parameters
    ----------
    steps : int
        Steps of the same batch, on one side of every bend.
    wait : int
        What the first waits for launches that its kernels do not hide [tick]; the others wait less as context grows.
    k : int
        Segment of the decode tables.
    """
    z = lane.z
    n = z[RUNNING]
    flat = c.w[c.layers + entry_of(n)] + c.w[c.head + n] + c.host_step + c.w[c.decode_a + k] + wait
    add(lane, S0, flat / n + c.host_sequence, c.w[c.decode_b + k], steps, wait == 0)
    mean = z[CONTEXT] + n * (steps - 1) * 0.5
    time = flat + c.host_sequence * n + c.w[c.decode_b + k] * (mean if wait == 0 else z[CONTEXT])
    own = c.v[c.layers_j + entry_of(n)] + c.v[c.head_j + n] + c.v[c.decode_ja + k]
    total = own + c.v[c.decode_jb + k] * mean + c.active * time
    cut = min(1.0, c.cap * time / total) if total > 0.0 else 1.0
    floor = c.active * cut
    add(lane, J0, floor * (flat / n + c.host_sequence), floor * c.w[c.decode_b + k], steps, wait == 0)
    add(lane, J0, cut * own / n, cut * c.v[c.decode_jb + k], steps, True)
    lane.g[JOULES] += cut * total * steps


@inlined
def step_cost(q: Requests, lane: Lane, c: Costs, p, first: int, new: int, prompts: int) -> None:  # type: ignore[no-untyped-def]
    """Time a step with prompts, charge it, and move the clock to its end; attention of each chunk is left in ``read``."""
    z, g = lane.z, lane.g
    decodes = z[RUNNING] if p.mixed else 0
    reads, reads_j, ends, i = 0, 0.0, 0, first
    while i >= 0:
        q.n[i * Q + READ], q.f[F * i], q.f[F * i + 1] = chunk_cost(c, q.n[i * Q + PART], q.n[i * Q + HAVE])
        reads += q.n[i * Q + READ]
        reads_j += q.f[F * i]
        ends += 1 if q.n[i * Q + HAVE] + q.n[i * Q + PART] == q.n[i * Q + TARGET] else 0
        i = q.n[i * Q + NEXT]
    tokens, heads = new + decodes, decodes + ends
    layers, head = c.w[c.layers + entry_of(tokens)], c.w[c.head + heads]
    k, a, b = 0, 0, 0
    if decodes:
        k = segment(lane, c)
        a, b = c.w[c.decode_a + k], c.w[c.decode_b + k]
    work = (
        layers
        + head
        + c.host_step
        + c.host_sequence * (prompts + decodes)
        + a
        + b * z[CONTEXT]
        + reads
        + c.prompt_launch
    )
    time = max(work, c.launches)
    wait = time - work + c.prompt_launch
    ja, jb = (c.v[c.decode_ja + k], c.v[c.decode_jb + k]) if decodes else (0.0, 0.0)
    layers_j, head_j = c.v[c.layers_j + entry_of(tokens)], c.v[c.head_j + heads]
    total = layers_j + head_j + ja + jb * (z[CONTEXT] if decodes else 0) + reads_j + c.active * time
    cut = min(1.0, c.cap * time / total) if total > 0.0 else 1.0
    g[JOULES] += cut * total
    each, each_j = (layers + c.host_step) / tokens, layers_j / tokens
    spare, spare_j = wait / new, 0.0
    last, last_j = 0.0, 0.0
    if heads:
        last, last_j = head / heads, head_j / heads
    else:
        spare, spare_j = spare + head / new, head_j / new
    if decodes:
        flat = each + last + c.host_sequence + a / decodes
        add(lane, S0, flat, b, 1, True)
        add(lane, J0, cut * (each_j + last_j + ja / decodes + c.active * flat), cut * (jb + c.active * b), 1, True)
    i = first
    while i >= 0:
        size = q.n[i * Q + PART]
        own_j, cached = q.f[F * i], q.f[F * i + 1] * q.n[i * Q + HIT] / max(q.n[i * Q + HAVE], 1)
        seconds = size * (each + spare) + q.n[i * Q + READ] + c.host_sequence
        joules = cut * (size * (each_j + spare_j) + own_j + c.active * seconds)
        owe_prompt(q, i, seconds, joules, cached)
        if q.n[i * Q + HAVE] + size == q.n[i * Q + TARGET]:
            q.f[F * i + 8] += last
            q.f[F * i + 10] += cut * (last_j + c.active * last)
        i = q.n[i * Q + NEXT]
    note(lane, z[CLOCK], z[CLOCK] + time, decodes, heads)
    z[CLOCK] += time
    z[BUSY] += time
    z[STEPS] += 1
