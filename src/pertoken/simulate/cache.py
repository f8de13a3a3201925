"""The prefix cache of a lane: blocks by hash, kept after use and given up least recently used first.

A block that running requests refer to is held; one that none refers to is kept, and makes room when room is needed. What a
prompt shares with no other is one entry of so many blocks, its tail, so that work and memory go with what can be found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pertoken.simulate.compiled import compiled, inlined
from pertoken.simulate.state import HELD, KEPT, LATEST, NONE, OLDEST, SHARED, Lane, Policy, Requests

Array = Any


def tails(chain_at: Array, chain: Array) -> tuple[Array, Array, Array]:
    """Chains with the blocks that end them and occur nowhere else as one entry.

    Parameters
    ----------
    chain_at, chain : ndarray of int
        Blocks of request i are ``chain[chain_at[i]:chain_at[i + 1]]``.

    Returns
    -------
    tuple of ndarray
        The same for shared blocks, each followed by its tail if it has one, numbered anew; and the blocks of each tail.
    """
    n = chain_at.size - 1
    often = np.bincount(chain) > 1
    at = np.flatnonzero(often[chain[: chain_at[-1]]])
    end = chain_at[:-1].copy()
    end[np.searchsorted(chain_at, at, side="right") - 1] = at + 1  # the last one counts
    alone = chain_at[1:] - end
    kept = end - chain_at[:-1] + (alone > 0)
    begin = np.concatenate(([0], np.cumsum(kept)))
    place = np.repeat(chain_at[:-1] - begin[:-1], kept) + np.arange(begin[-1])
    found = np.unique(chain[place], return_inverse=True)[1] if begin[-1] else np.zeros(1)
    assert alone.size == n
    return begin.astype(np.int64), found.astype(np.int32), alone.astype(np.int64)


@inlined
def _common(q: Requests, i: int) -> int:
    """Blocks before the tail."""
    return q.chain_at[i + 1] - q.chain_at[i] - (1 if q.alone[i] else 0)  # type: ignore[no-any-return]


@compiled
def unlink(lane: Lane, block: int) -> None:
    """Take a kept entry out of the order of use."""
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
def evict(lane: Lane, p: Policy) -> None:
    """Give up kept blocks, least recently used first, until all fits."""
    z, refs = lane.z, lane.refs
    over, block = z[HELD] + z[KEPT] - p.capacity, z[OLDEST]
    if over <= 0 or block < 0:
        return
    while over > 0 and block >= 0:
        more = (over + p.hash_blocks - 1) // p.hash_blocks
        gone = min(max(refs[block], 1), more)  # a tail that is kept counts its blocks, a block alone has 0
        over -= gone * p.hash_blocks
        z[KEPT] -= gone * p.hash_blocks
        if refs[block] > gone:
            refs[block] -= gone
            break
        refs[block] = NONE
        block = lane.after[block]
    z[OLDEST] = block
    if block >= 0:
        lane.before[block] = NONE
    else:
        z[LATEST] = NONE


@compiled
def match(q: Requests, lane: Lane, i: int, most: int) -> int:
    """Leading blocks of a request's chain that the lane has, at most ``most``."""
    start, common = q.chain_at[i], _common(q, i)
    length, found = min(common, most), 0
    while found < length and lane.refs[q.chain[start + found]] >= 0:
        found += 1
    if found == common and q.alone[i]:  # its own, from before it was given up
        found += max(0, min(lane.refs[q.chain[start + common]], most - common))
    return found


@compiled
def unreferred(q: Requests, lane: Lane, i: int, found: int) -> int:
    """Blocks among the first ``found`` of a chain that nobody refers to now."""
    start, common = q.chain_at[i], _common(q, i)
    count = max(0, found - common)
    for k in range(start, start + min(found, common)):
        if lane.refs[q.chain[k]] == 0:
            count += 1
    return count


@compiled
def _take_tail(lane: Lane, p: Policy, block: int) -> None:
    """A tail that was kept is no more."""
    if lane.refs[block] > 0:
        unlink(lane, block)
        lane.z[KEPT] -= lane.refs[block] * p.hash_blocks
        lane.refs[block] = NONE


@compiled
def refer(q: Requests, lane: Lane, p: Policy, i: int, found: int) -> None:
    """A request refers to the first ``found`` blocks of its chain, which the lane has."""
    start, common, refs, fresh = q.chain_at[i], _common(q, i), lane.refs, 0
    for k in range(start, start + min(found, common)):
        block = q.chain[k]
        if refs[block] == 0:
            unlink(lane, block)
            fresh += 1
        refs[block] += 1
    lane.z[KEPT] -= fresh * p.hash_blocks
    if found > common:
        _take_tail(lane, p, q.chain[start + common])
        fresh += found - common
    lane.z[HELD] += fresh * p.hash_blocks
    q.n[i][SHARED] = found


@compiled
def publish(q: Requests, lane: Lane, p: Policy, i: int, tokens: int) -> None:
    """Let others find the whole blocks among the ``tokens`` that a request has computed.

    Where another has computed the same block meanwhile, the request's own copy is freed and it refers to the other's.
    """
    start, common, shared, refs = q.chain_at[i], _common(q, i), q.n[i][SHARED], lane.refs
    whole = min(common + q.alone[i], tokens // (p.hash_blocks * p.block))
    twice, kept = 0, 0
    for k in range(start + shared, start + min(whole, common)):
        block = q.chain[k]
        users = refs[block]
        refs[block] = max(users, 0) + 1
        if users == 0:
            unlink(lane, block)
            kept += 1
        elif users > 0:
            twice += 1
    lane.z[KEPT] -= kept * p.hash_blocks
    lane.z[HELD] -= twice * p.hash_blocks
    if whole > common:
        _take_tail(lane, p, q.chain[start + common])
    q.n[i][SHARED] = max(shared, whole)


@compiled
def let_go(q: Requests, lane: Lane, p: Policy, i: int, blocks: int) -> None:
    """Free a request's ``blocks``; of those that it shares, the ends of prompts are given up before their beginnings."""
    z, refs, before, after = lane.z, lane.refs, lane.before, lane.after
    shared = q.n[i][SHARED]
    start = q.chain_at[i] if shared > 0 else 0  # without caching there are no chains
    latest, kept, last = z[LATEST], 0, shared - 1
    if shared > 0:
        tail = shared - _common(q, i)
        if tail > 0:  # counts as one that was referred to once, until its number of blocks is written
            last -= tail - 1
            refs[q.chain[start + last]] = 1
        for back in range(last + 1):
            block = q.chain[start + last - back]
            users = refs[block] - 1
            refs[block] = users
            if users == 0:
                kept += 1
                before[block], after[block] = latest, NONE
                if latest >= 0:
                    after[latest] = block
                else:
                    z[OLDEST] = block
                latest = block
        if tail > 0:
            refs[q.chain[start + last]] = tail
            kept += tail - 1
    z[LATEST] = latest
    z[HELD] -= blocks - (shared - kept) * p.hash_blocks
    z[KEPT] += kept * p.hash_blocks
    q.n[i][SHARED] = 0
