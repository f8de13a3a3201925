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

from pertoken.simulate.compiled import compiled
from pertoken.simulate.state import (
    BINS,
    BUSY,
    CLOCK,
    CONTEXT,
    HELD,
    J0,
    JOULES,
    RUNNING,
    S0,
    SEGMENT,
    STEP,
    STEPS,
    WIDTH,
    Costs,
    Lane,
    Requests,
)

FINE, COARSE = 16384, 64  # beyond so many tokens the table of layers has one entry for 64


@compiled
def entry_of(tokens: int) -> int:
    """Where the table of layers has a number of tokens."""
    return tokens if tokens <= FINE else FINE + (tokens - FINE) // COARSE


@compiled
def segment(lane: Lane, c: Costs) -> int:
    """Where the mean context is among the knots; it is remembered, as it moves little."""
    z = lane.z
    batch, context, at = z[RUNNING], z[CONTEXT], z[SEGMENT]
    while context < c.knots[at] * batch:
        at -= 1
    while context >= c.knots[at + 1] * batch:
        at += 1
    z[SEGMENT] = at
    return batch * (len(c.knots) - 1) + at  # type: ignore[no-any-return]


@compiled
def _below(knots, value):  # type: ignore[no-untyped-def]
    """The last knot at or below a value, but never the last of all."""
    low, high = 0, len(knots) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if knots[middle] <= value:
            low = middle
        else:
            high = middle
    return low


@compiled
def chunk_cost(c: Costs, new: int, context: int):  # type: ignore[no-untyped-def]
    """Attention of a chunk: time [tick], energy [J], and what of the time it owes to all its context, were that cached."""
    i, k = _below(c.chunk_n, new), _below(c.chunk_c, context)
    x = (new - c.chunk_n[i]) / (c.chunk_n[i + 1] - c.chunk_n[i])
    y = (context - c.chunk_c[k]) / (c.chunk_c[k + 1] - c.chunk_c[k])
    width = len(c.chunk_c)
    a, b = i * width + k, (i + 1) * width + k
    w00, w01, w10, w11 = (1.0 - x) * (1.0 - y), (1.0 - x) * y, x * (1.0 - y), x * y
    pairs = new * (context + (new + 1) * 0.5)
    time = w00 * c.chunk_s[a] + w01 * c.chunk_s[a + 1] + w10 * c.chunk_s[b] + w11 * c.chunk_s[b + 1]
    joules = w00 * c.chunk_j[a] + w01 * c.chunk_j[a + 1] + w10 * c.chunk_j[b] + w11 * c.chunk_j[b + 1]
    again = w00 * c.chunk_x[a] + w01 * c.chunk_x[a + 1] + w10 * c.chunk_x[b] + w11 * c.chunk_x[b + 1]
    return int(time * pairs + 0.5), joules * pairs, again * pairs


@compiled
def note(lane: Lane, start: int, end: int, batch: float, tokens: float) -> None:
    """Add a stretch of busy time to the lane's history, whose bins double in width when time outgrows them."""
    z, bins = lane.z, lane.bins
    while end > z[WIDTH] * BINS:
        for k in range(BINS // 2):
            for of in range(4):
                bins[4 * k + of] = bins[8 * k + of] + bins[8 * k + 4 + of]
        for k in range(2 * BINS, 4 * BINS):
            bins[k] = 0.0
        z[WIDTH] *= 2
    width = z[WIDTH]
    held, each = z[HELD], tokens / (end - start) if end > start else 0.0
    at = start // width
    while start < end:
        until = min(end, (at + 1) * width)
        span = until - start
        bins[4 * at] += span
        bins[4 * at + 1] += span * batch
        bins[4 * at + 2] += span * held
        bins[4 * at + 3] += span * each
        start = until
        at += 1


@compiled
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


@compiled
def snapshot(q: Requests, lane: Lane, i: int) -> None:
    """Remember the running sums as a request begins to decode."""
    for k in range(3):
        q.snap[6 * i + k] = lane.g[S0 + k]
        q.snap[6 * i + 3 + k] = lane.g[J0 + k]


@compiled
def settle(q: Requests, lane: Lane, i: int) -> None:
    """Charge a request with what it owes for decoding."""
    g, snap, at, base = lane.g, q.snap, 6 * i, q.base[i]
    for k, sums in ((2, S0), (4, J0)):
        since = at + sums - S0
        q.owed[5 * i + k] += g[sums] - snap[since] + base * (g[sums + 1] - snap[since + 1]) + g[sums + 2] - snap[since + 2]


@compiled
def owe_prompt(q: Requests, i: int, seconds: float, joules: float, cached: float) -> None:
    """Charge a prompt's chunk to its tokens: to output tokens those that are computed anew after preemption."""
    beyond = q.have[i] + q.part[i] - max(q.input[i], q.have[i])
    share = max(0, beyond) / q.part[i]
    q.owed[5 * i] += (seconds - cached) * (1.0 - share)
    q.owed[5 * i + 1] += cached
    q.owed[5 * i + 2] += (seconds - cached) * share
    q.owed[5 * i + 3] += joules * (1.0 - share)
    q.owed[5 * i + 4] += joules * share


@compiled
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
    flat = c.layers[entry_of(n)] + c.head[n] + c.host_step + c.decode_a[k] + wait
    add(lane, S0, flat / n + c.host_sequence, c.decode_b[k], steps, wait == 0)
    mean = z[CONTEXT] + n * (steps - 1) * 0.5
    time = flat + c.host_sequence * n + c.decode_b[k] * (mean if wait == 0 else z[CONTEXT])
    own = c.layers_j[entry_of(n)] + c.head_j[n] + c.decode_ja[k]
    total = own + c.decode_jb[k] * mean + c.active * time
    cut = min(1.0, c.cap * time / total) if total > 0.0 else 1.0
    floor = c.active * cut
    add(lane, J0, floor * (flat / n + c.host_sequence), floor * c.decode_b[k], steps, wait == 0)
    add(lane, J0, cut * own / n, cut * c.decode_jb[k], steps, True)
    lane.g[JOULES] += cut * total * steps


@compiled
def step_cost(q: Requests, lane: Lane, c: Costs, p, first: int, new: int, prompts: int) -> None:  # type: ignore[no-untyped-def]
    """Time a step with prompts, charge it, and move the clock to its end; attention of each chunk is left in ``read``."""
    z, g = lane.z, lane.g
    decodes = z[RUNNING] if p.mixed else 0
    reads, reads_j, ends, i = 0, 0.0, 0, first
    while i >= 0:
        q.read[i], q.snap[6 * i], q.snap[6 * i + 1] = chunk_cost(c, q.part[i], q.have[i])
        reads += q.read[i]
        reads_j += q.snap[6 * i]
        ends += 1 if q.have[i] + q.part[i] == q.target[i] else 0
        i = q.nxt[i]
    tokens, heads = new + decodes, decodes + ends
    layers, head = c.layers[entry_of(tokens)], c.head[heads]
    k, a, b = 0, 0, 0
    if decodes:
        k = segment(lane, c)
        a, b = c.decode_a[k], c.decode_b[k]
    work = layers + head + c.host_step + c.host_sequence * (prompts + decodes) + a + b * z[CONTEXT] + reads + c.prompt_launch
    time = max(work, c.launches)
    wait = time - work + c.prompt_launch
    ja, jb = (c.decode_ja[k], c.decode_jb[k]) if decodes else (0.0, 0.0)
    layers_j, head_j = c.layers_j[entry_of(tokens)], c.head_j[heads]
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
        size = q.part[i]
        own_j, cached = q.snap[6 * i], q.snap[6 * i + 1] * q.hit[i] / max(q.have[i], 1)
        seconds = size * (each + spare) + q.read[i] + c.host_sequence
        joules = cut * (size * (each_j + spare_j) + own_j + c.active * seconds)
        owe_prompt(q, i, seconds, joules, cached)
        if q.have[i] + size == q.target[i]:
            q.owed[5 * i + 2] += last
            q.owed[5 * i + 4] += cut * (last_j + c.active * last)
        i = q.nxt[i]
    note(lane, z[CLOCK], z[CLOCK] + time, decodes, heads)
    z[CLOCK] += time
    z[BUSY] += time
    z[STEPS] += 1
