"""What the loop reads and writes: flat arrays, in tuples with names, so that one source serves compiled and plain code.

Times are whole ticks, so that the loop and a step-by-step reference agree to the last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pertoken.simulate.compiled import boxed

Array = Any
NEVER = 1 << 62  # a time that does not come [tick]
NONE = -1
BINS = 512  # of a lane's history

# whole numbers of a lane
(
    CLOCK, STEP, RUNNING, CONTEXT, HELD, KEPT, PART, NEXT_END, SEGMENT, WAITING, COMING, COMING_LAST, HEAP, NEXT_ARRIVAL,
    DUE, STEPS, BUSY, PREEMPTED, MOST_HELD, EMITTED, WIDTH, OLDEST, LATEST, SERVED, ASSIGNED, DECODED, PREFILLED, LOST, ENTERED,
) = range(29)  # fmt: skip
# running sums of a lane: what a decoding sequence owes, apart from, by and by the growth of its context
(S0, S1, S2, J0, J1, J2, JOULES) = range(7)


class Costs(NamedTuple):
    """Step times of a lane, see `pertoken.simulate.tables` [tick] and, with a ``_j``, their energy [J]."""

    layers: Array  # by tokens of the step
    layers_j: Array
    head: Array  # by tokens that pass it
    head_j: Array
    knots: Array  # mean contexts at which decode attention bends, the last beyond reach
    decode_a: Array  # by batch and segment: constant
    decode_b: Array  # and per token of context
    decode_ja: Array
    decode_jb: Array
    chunk_n: Array  # chunk sizes, contexts, and what attention of a chunk takes for each pair, at these
    chunk_c: Array
    chunk_s: Array
    chunk_j: Array
    chunk_x: Array  # of it, what context owes that is expanded anew, were it all cached
    host_step: int
    host_sequence: int
    launches: int  # launching all operations one by one
    prompt_launch: int  # attention of prompts, whatever their number
    captured: int
    active: float  # [J/tick]
    cap: float  # [J/tick]


class Policy(NamedTuple):
    """What an engine may do in a step."""

    budget: int
    slots: int
    block: int  # tokens of a KV block
    capacity: int  # KV blocks of a lane
    mixed: int
    chunked: int
    look: int
    wait: int
    levels: int  # of priority
    caching: int
    hash_blocks: int  # KV blocks of a block of the prefix cache
    closed: int  # requests follow others
    ready: int  # prompts come with their KV


class Requests(NamedTuple):
    """Traffic and what becomes of it, one entry a request."""

    arrival: Array  # at the engine [tick]
    input: Array
    output: Array
    level: Array
    follow: Array  # the request that is sent when this one is answered
    think: Array  # and how long after [tick]
    chain_at: Array  # where its blocks of the prefix cache begin in chain
    chain: Array
    nxt: Array  # the next in a queue or bucket; in the heap the left child
    prv: Array  # the one before; in the heap the right child
    newer: Array
    older: Array
    target: Array  # tokens to prefill
    have: Array  # tokens in the cache while it prefills
    emitted: Array  # output tokens before the latest prefill
    base: Array  # context less the lane's step count while it decodes
    part: Array  # tokens of its chunk in the step under way
    read: Array  # and their attention [tick]
    shared: Array  # blocks of the prefix cache that it refers to
    hit: Array  # input tokens found there
    snap: Array  # running sums when it began to decode, six a request
    first: Array  # times of the first and the last token [tick]
    last: Array
    owed: Array  # input, cached, output [tick], and input, output [J], five a request
    again: Array  # times that it was preempted


class Lane(NamedTuple):
    """One batch in flight."""

    z: Array  # whole numbers
    g: Array  # running sums
    phase: Array  # sequences by the step, modulo the block, at which they need a block
    ring: Array  # first request that ends at a step
    queue: Array  # first and last waiting request of each level
    stack: Array  # newest running request of each level
    bins: Array  # history: busy time, batch x time, blocks x time, output tokens
    refs: Array  # of the prefix cache by block: NONE where absent
    before: Array  # less recently used
    after: Array


def make_requests(
    arrival: Array, inputs: Array, outputs: Array, level: Array, follow: Array, think: Array, chain_at: Array, chain: Array
) -> Requests:
    """Arrays for traffic; the first eight are read, the rest written."""
    n = arrival.size
    whole = [boxed(np.full(n, NONE, dtype=np.int32)) for _ in range(4)]
    more = [boxed(np.zeros(n, dtype=np.int32)) for _ in range(3)]
    later = [boxed(np.zeros(n, dtype=np.int64)) for _ in range(3)]
    return Requests(
        boxed(arrival), boxed(inputs), boxed(outputs), boxed(level), boxed(follow), boxed(think), boxed(chain_at),
        boxed(chain), *whole, *more, later[0], later[1], later[2], boxed(np.zeros(n, dtype=np.int32)),
        boxed(np.full(n, NONE, dtype=np.int32)), boxed(np.zeros(6 * n)), boxed(np.full(n, NEVER)),
        boxed(np.full(n, NEVER)), boxed(np.zeros(5 * n)), boxed(np.zeros(n, dtype=np.int32)),
    )  # fmt: skip


def make_lanes(count: int, policy: Policy, longest: int, hashes: int) -> Lane:
    """Arrays of several lanes, one row each.

    Parameters
    ----------
    count : int
        Lanes.
    policy : Policy
        Of all.
    longest : int
        Most output tokens of a request.
    hashes : int
        Different blocks of the prefix cache.
    """
    ring = 1 << int(longest + 2).bit_length()
    z = np.zeros((count, 29), dtype=np.int64)
    for at in (PART, COMING, COMING_LAST, HEAP, OLDEST, LATEST):
        z[:, at] = NONE
    z[:, NEXT_END] = z[:, NEXT_ARRIVAL] = NEVER
    z[:, WIDTH] = 1 << 30
    kept = hashes if policy.caching else 1
    return Lane(
        boxed(z),
        boxed(np.zeros((count, 7))),
        boxed(np.zeros((count, policy.block), dtype=np.int64)),
        boxed(np.full((count, ring), NONE, dtype=np.int32)),
        boxed(np.full((count, 2 * policy.levels), NONE, dtype=np.int32)),
        boxed(np.full((count, policy.levels), NONE, dtype=np.int32)),
        boxed(np.zeros((count, 4 * BINS))),
        boxed(np.full((count, kept), NONE, dtype=np.int32)),
        boxed(np.full((count, kept), NONE, dtype=np.int32)),
        boxed(np.full((count, kept), NONE, dtype=np.int32)),
    )
