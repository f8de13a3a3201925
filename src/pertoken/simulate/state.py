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
LATER, TOO_LARGE = -2, -3  # in place of a lane: follows another request; refused
BINS = 512  # of a lane's history

# whole numbers of a lane
(
    CLOCK, STEP, RUNNING, CONTEXT, HELD, KEPT, PARTIAL, NEXT_END, SEGMENT, WAITING, COMING, COMING_LAST, HEAP, NEXT_ARRIVAL,
    DUE, STEPS, BUSY, PREEMPTED, MOST_HELD, EMITTED, WIDTH, OLDEST, LATEST, SERVED, ASSIGNED, DECODED, PREFILLED, LOST, ENTERED,
    MASK,
    OFFSET,  # how far contexts have grown, modulo a block
    BIN, BIN_END,  # of the history, that of the latest step
    ORDERED,  # waiting requests by a user's order, a heap
    FAULT,  # what a user's policy did wrong
    HOLD,  # its refusal to admit: 1, and 2 where nothing runs either
    # where prompts are prefilled on other lanes than answers: requests whose KV moves to the lane, by when it is there ...
    LANDING, LANDING_LAST, NEXT_LANDING, MOVING,
    # ... and from it, until which it holds their blocks
    LEAVING, LEAVING_LAST, NEXT_FREE,
    AWAY, STARTED, BACK,  # what the other pool has to be told: prompts prefilled, moves begun, answers that others follow
    STALLED, STALL,  # whether all waits for KV to move, and how long that was with prompts to serve [tick]
) = range(48)  # fmt: skip
# running sums of a lane: what a decoding sequence owes, apart from, by and by the growth of its context
(S0, S1, S2, J0, J1, J2, JOULES, HISTORY) = range(8)


# whole numbers of a request: what is sent ...
(
    ARRIVAL,  # at the engine [tick]
    INPUT, OUTPUT, LEVEL,
    FOLLOW,  # the request that is sent when this one is answered
    THINK,  # how long after another's answer it is sent [tick]
    # ... and what becomes of it
    NEXT, PREVIOUS,  # in a queue or bucket; in the heap the children
    NEWER, OLDER,  # running requests
    TARGET,  # tokens to prefill
    HAVE,  # tokens in the cache while it prefills
    EMITTED_BEFORE,  # output tokens before the latest prefill
    BASE,  # context less what the lane's contexts grew since its first step, while it decodes [grain]
    PART,  # tokens of its chunk in the step under way; while it decodes the step at which it ends
    READ,  # attention of that chunk [tick]; while it decodes the phase of its context in a block
    SHARED,  # blocks of the prefix cache that it refers to
    HIT,  # input tokens found there
    FIRST, LAST,  # times of the first and the last token [tick]
    AGAIN,  # times that it was preempted
) = range(21)  # fmt: skip
Q = 21
MOVED, MOVE = PART, THINK  # when its KV has moved, and how long that takes [tick]
# real numbers of a request: six running sums as it began to decode, then what input, cached and output tokens owe [tick],
# and input and output tokens [J]
F, OWED = 11, 6
SAID = HISTORY + 4 * BINS  # what a user's policy was asked when it failed
# where a lane's lists begin among its whole numbers
STACK, QUEUE, RING = 48, 64, 96


class Costs(NamedTuple):
    """Step times of a lane [tick] and, with a ``_j``, their energy [J]: where each table begins in ``w`` or ``v``.

    See `pertoken.simulate.tables`.
    """

    w: Array  # whole numbers
    v: Array  # real numbers, whole where they are ticks
    knots: int  # mean contexts at which decode attention bends, the last beyond reach [grain]
    chunk_n: int  # sizes of chunks
    chunk_c: int  # and contexts
    layers: int  # by tokens of the step: ticks, joules
    head: int  # by tokens that pass it: ticks, joules
    draft: int  # by prompt tokens, what a draft model adds: ticks, joules
    decode: int  # by batch and segment: attention's constant and line against grains of context, constant of all; then joules
    chunk: int  # by size and context, for each pair: ticks, joules, and what context owes that is expanded anew, were it cached
    near_n: int  # by sizes up to ``near``: the last knot, and how far it is towards the next
    near_c: int  # and by contexts
    one_by: int  # reciprocals of sequences and of tokens that pass the head
    segments: int
    sizes: int
    contexts: int
    near: int
    drafted: int  # whether prompts pass a draft model
    host_step: int
    host_sequence: int
    launches: int  # launching all operations one by one, in steps that hold prompts
    eager: int  # and in others
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
    moves: int  # and go with it once they are prefilled
    reserves: int  # a request takes the blocks of its whole answer when it is admitted
    width: int  # tokens of a decoding sequence in a step: one and its drafts
    grow: int  # what its context grows by [grain]
    grain: int  # grains of a token
    units: int  # grains of a block
    phases: int  # where the counts by phase begin among a lane's whole numbers
    accept: float  # how likely a draft is accepted after another was
    seed: int  # of what is accepted
    first: int  # number of the first request that is held
    tick: float  # [s]
    order: Any  # a user's functions: where they are, or plain code, and 0 where there are none
    admit: Any
    victim: Any


class Requests(NamedTuple):
    """Traffic and what becomes of it, `Q` whole and `F` real numbers a request."""

    n: Array
    f: Array
    chain_at: Array  # where its blocks of the prefix cache begin in chain
    chain: Array  # those that others have too, and its tail
    alone: Array  # blocks of its tail


class Lane(NamedTuple):
    """One batch in flight."""

    z: Array  # whole numbers and lists
    g: Array  # running sums and history: busy time, batch x time, blocks x time, output tokens
    refs: Array  # of the prefix cache by block: NONE where absent
    before: Array  # less recently used
    after: Array


def make_requests(sent: tuple[Array, ...], chains: tuple[Array, Array, Array]) -> Requests:
    """Arrays for traffic: arrival, input, output, level, follow and think of each request, and chains."""
    count = sent[0].size
    n = np.full((count, Q), NONE, dtype=np.int64)
    for at, values in enumerate(sent):
        n[:, at] = values
    n[:, [TARGET, HAVE, EMITTED_BEFORE, PART, READ, SHARED, AGAIN]] = 0
    n[:, [FIRST, LAST]] = NEVER
    return Requests(boxed(n), boxed(np.full((count, F), 0.0)), *(boxed(x) for x in chains))


def ring_of(longest: int) -> int:
    """Buckets of the ring of ends: a power of 2 beyond the most output tokens of a request."""
    return 1 << int(longest + 2).bit_length()


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
        Entries of the prefix cache.
    """
    ring = ring_of(longest)
    z = np.zeros((count, RING + ring + policy.units), dtype=np.int64)
    z[:, [PARTIAL, COMING, COMING_LAST, HEAP, OLDEST, LATEST, ORDERED]] = NONE
    z[:, [LANDING, LANDING_LAST, LEAVING, LEAVING_LAST, AWAY, STARTED, BACK]] = NONE
    z[:, [NEXT_END, NEXT_ARRIVAL, NEXT_LANDING, NEXT_FREE]] = NEVER
    z[:, WIDTH] = 1 << 30
    z[:, MASK] = ring - 1
    z[:, STACK : RING + ring] = NONE
    kept = [boxed(np.full((count, hashes if policy.caching else 1), NONE, dtype=np.int32)) for _ in range(3)]
    return Lane(boxed(z), boxed(np.zeros((count, SAID + 6))), *kept)
