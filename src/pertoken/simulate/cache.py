"""The prefix cache of a lane: blocks by hash, kept after use and given up least recently used first.

A block that running requests refer to is held; one that none refers to is kept, and makes room when room is needed.
"""

from __future__ import annotations

from pertoken.simulate.compiled import compiled
from pertoken.simulate.state import (
    HELD,
    KEPT,
    LATEST,
    NONE,
    OLDEST,
    SHARED,
    Lane,
    Policy,
    Q,
    Requests,
)


@compiled
def unlink(lane: Lane, block: int) -> None:
    """Take a kept block out of the order of use."""
    before, after = lane.before[block], lane.after[block]
    if before >= 0:
        lane.after[before] = after
    else:
        lane.z[OLDEST] = after
    if after >= 0:
        lane.before[after] = before
    else:
        lane.z[LATEST] = before


@compiled
def keep(lane: Lane, block: int) -> None:
    """Put a block that nobody refers to any more at the end of the order of use."""
    latest = lane.z[LATEST]
    lane.before[block], lane.after[block] = latest, NONE
    if latest >= 0:
        lane.after[latest] = block
    else:
        lane.z[OLDEST] = block
    lane.z[LATEST] = block


@compiled
def evict(lane: Lane, p: Policy) -> None:
    """Give up kept blocks, least recently used first, until all fits."""
    z = lane.z
    while z[HELD] + z[KEPT] > p.capacity and z[OLDEST] >= 0:
        block = z[OLDEST]
        unlink(lane, block)
        lane.refs[block] = NONE
        z[KEPT] -= p.hash_blocks


@compiled
def match(q: Requests, lane: Lane, i: int, most: int) -> int:
    """Leading blocks of a request's chain that the lane has, at most ``most``."""
    start = q.chain_at[i]
    length = min(q.chain_at[i + 1] - start, most)
    found = 0
    while found < length and lane.refs[q.chain[start + found]] >= 0:
        found += 1
    return found


@compiled
def unreferred(q: Requests, lane: Lane, i: int, found: int) -> int:
    """Blocks among the first ``found`` of a chain that nobody refers to now."""
    start, count = q.chain_at[i], 0
    for k in range(found):
        if lane.refs[q.chain[start + k]] == 0:
            count += 1
    return count


@compiled
def refer(q: Requests, lane: Lane, p: Policy, i: int, found: int) -> None:
    """A request refers to the first ``found`` blocks of its chain, which the lane has."""
    start = q.chain_at[i]
    for k in range(found):
        block = q.chain[start + k]
        if lane.refs[block] == 0:
            unlink(lane, block)
            lane.z[KEPT] -= p.hash_blocks
            lane.z[HELD] += p.hash_blocks
        lane.refs[block] += 1
    q.n[i * Q + SHARED] = found


@compiled
def publish(q: Requests, lane: Lane, p: Policy, i: int, tokens: int) -> None:
    """Let others find the whole blocks among the ``tokens`` that a request has computed.

    Where another has computed the same block meanwhile, the request's own copy is freed and it refers to the other's.
    """
    start = q.chain_at[i]
    whole = min(q.chain_at[i + 1] - start, tokens // (p.hash_blocks * p.block))
    for k in range(q.n[i * Q + SHARED], whole):
        block = q.chain[start + k]
        if lane.refs[block] < 0:
            lane.refs[block] = 1
            continue
        if lane.refs[block] == 0:
            unlink(lane, block)
            lane.z[KEPT] -= p.hash_blocks
        else:
            lane.z[HELD] -= p.hash_blocks
        lane.refs[block] += 1
    q.n[i * Q + SHARED] = max(q.n[i * Q + SHARED], whole)


@compiled
def let_go(q: Requests, lane: Lane, p: Policy, i: int, blocks: int) -> None:
    """Free a request's ``blocks``; of those that it shares, the ends of prompts are given up before their beginnings."""
    start, shared = q.chain_at[i], q.n[i * Q + SHARED]
    lane.z[HELD] -= blocks - shared * p.hash_blocks
    for back in range(shared):
        block = q.chain[start + shared - 1 - back]
        lane.refs[block] -= 1
        if lane.refs[block] == 0:
            lane.z[HELD] -= p.hash_blocks
            lane.z[KEPT] += p.hash_blocks
            keep(lane, block)
    q.n[i * Q + SHARED] = 0
