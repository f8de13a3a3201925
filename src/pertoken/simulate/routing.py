"""Which lane serves a request, and how many replicas run: plain functions that the loop calls at each arrival.

Lanes are told of an arrival when they have ended the step under way, so a router knows loads as of then. Later turns of a
conversation stay where the first one went.

References
----------
.. [1] SMG, "Load Balancing" (docs/getting-started/load-balancing.md, read 2026-11-25): cache-aware routing with a match of at
   least 0.3 of the prompt, given up where the longest queue is 64 longer than the shortest and 1.5 times as long.
"""

from __future__ import annotations

from typing import NamedTuple

from pertoken.simulate.cache import match
from pertoken.simulate.compiled import compiled, inlined, merged
from pertoken.simulate.engine import advance
from pertoken.simulate.queues import send
from pertoken.simulate.state import (
    ARRIVAL,
    ASSIGNED,
    CLOCK,
    INPUT,
    NEVER,
    NEXT_ARRIVAL,
    NONE,
    PARTIAL,
    RUNNING,
    SERVED,
    WAITING,
    Array,
    Costs,
    Lane,
    Policy,
    Requests,
)

ROUTES = ("round-robin", "least-loaded", "prefix-aware")
MATCH, APART, TIMES = 0.3, 64, 1.5  # [1]_


class Scale(NamedTuple):
    """How many replicas run.

    Parameters
    ----------
    route : int
        Place in ``ROUTES``.
    per_replica : int
        Lanes that start and stop together.
    least : int
        Replicas that always run.
    crowd : int
        Requests in a running replica above which one more is started; 0 keeps all running.
    delay, patience : int
        From start to service, and without requests until a replica is stopped [tick].
    """

    route: int
    per_replica: int
    least: int
    crowd: int
    delay: int
    patience: int


@inlined
def lane_of(lanes: Lane, r: int) -> Lane:
    """One lane of several."""
    return Lane(lanes.z[r], lanes.g[r], lanes.refs[r], lanes.before[r], lanes.after[r])


@inlined
def load(lanes: Lane, r: int) -> int:
    """Requests that a lane was given and has not answered."""
    return lanes.z[r][ASSIGNED] - lanes.z[r][SERVED]  # type: ignore[no-any-return]


@compiled
def least_loaded(lanes: Lane, up: Array, now: int, per: int) -> int:
    """The ready lane with the fewest requests; the first to be ready where none is."""
    best, fewest, soonest, first = -1, 0, -1, NEVER
    for r in range(len(lanes.z)):
        ready = up[r // per]
        if ready <= now:
            if best < 0 or load(lanes, r) < fewest:
                best, fewest = r, load(lanes, r)
        elif ready < first or (ready == first and soonest >= 0 and load(lanes, r) < load(lanes, soonest)):
            soonest, first = r, ready
    return best if best >= 0 else soonest


@compiled
def round_robin(lanes: Lane, up: Array, now: int, per: int, turn: int) -> int:
    """The ready lane whose turn it is."""
    for k in range(len(lanes.z)):
        r = (turn + k) % len(lanes.z)
        if up[r // per] <= now:
            return r
    return least_loaded(lanes, up, now, per)


@compiled
def prefix_aware(q: Requests, lanes: Lane, p: Policy, up: Array, i: int, now: int, per: int) -> int:
    """The ready lane that has most of the prompt, if that is much and loads are not far apart; else the least loaded."""
    quiet = least_loaded(lanes, up, now, per)
    size = p.hash_blocks * p.block
    whole = (q.n[i][INPUT] - 1) // size
    best, most, crowd = quiet, 0, 0
    for r in range(len(lanes.z)):
        if up[r // per] <= now:
            crowd = max(crowd, load(lanes, r))
            found = match(q, lane_of(lanes, r), i, whole)
            if found > most or (found == most and most > 0 and load(lanes, r) < load(lanes, best)):
                best, most = r, found
    fewest = load(lanes, quiet)
    if crowd - fewest > APART and crowd > TIMES * fewest:
        return quiet
    return best if most * size >= MATCH * q.n[i][INPUT] else quiet


@inlined
def idle(z: Array) -> bool:
    """Whether a lane has nothing to do before its next arrival."""
    return z[RUNNING] == 0 and z[WAITING] == 0 and z[PARTIAL] < 0  # type: ignore[no-any-return]


@compiled
def start_and_stop(lanes: Lane, up: Array, since: Array, paid: Array, s: Scale, now: int) -> None:
    """Stop replicas that had no requests for long, and start one where those that run are crowded."""
    on, crowd, off = 0, 0, -1
    for k in range(len(up)):
        if up[k] == NEVER:
            off = k if off < 0 else off
            continue
        on += 1
        for r in range(k * s.per_replica, (k + 1) * s.per_replica):
            crowd += load(lanes, r)
    for back in range(len(up)):
        k = len(up) - 1 - back
        if up[k] > now or on <= s.least:
            continue
        quiet = up[k]
        for r in range(k * s.per_replica, (k + 1) * s.per_replica):
            quiet = NEVER if load(lanes, r) else max(quiet, lanes.z[r][CLOCK])
            if quiet == NEVER:
                break
        if quiet != NEVER and quiet + s.patience <= now:
            paid[k] += quiet + s.patience - since[k]
            up[k] = NEVER
            on -= 1
            off = k if off < 0 else off
    if off >= 0 and crowd + 1 > s.crowd * on:
        since[off], up[off] = now, now + s.delay
        for r in range(off * s.per_replica, (off + 1) * s.per_replica):
            lanes.z[r][CLOCK] = up[off]


@merged
def catch_up(q: Requests, lanes: Lane, c: Costs, p: Policy, until: int) -> None:
    """All lanes serve until ``until``."""
    for r in range(len(lanes.z)):
        z = lanes.z[r]
        if z[CLOCK] < until and not (idle(z) and z[NEXT_ARRIVAL] >= until):
            advance(q, lane_of(lanes, r), c, p, until)


@inlined
def choose(q: Requests, lanes: Lane, p: Policy, s: Scale, up: Array, i: int, turn: int) -> int:
    """The lane of a request that arrives, the ``turn``-th that does."""
    now = q.n[i][ARRIVAL]
    if len(lanes.z) == 1:
        return 0
    if s.route == 0:
        return round_robin(lanes, up, now, s.per_replica, turn % len(lanes.z))
    if s.route == 1:
        return least_loaded(lanes, up, now, s.per_replica)
    return prefix_aware(q, lanes, p, up, i, now, s.per_replica)


@compiled
def serve(
    q: Requests,
    lanes: Lane,
    c: Costs,
    p: Policy,
    s: Scale,
    where: Array,
    up: Array,
    since: Array,
    paid: Array,
    before: int,
    begin: int,
    end: int,
    until: int,
) -> None:
    """Route the requests from ``begin`` to before ``end``, which arrive in that order, and serve meanwhile and to ``until``.

    Parameters
    ----------
    where : ndarray
        Lane of each request, written; a request whose entry is not NONE is none of the router's business.
    up, since, paid : ndarray
        Of each replica: when it is ready, since when it is paid for, and what was paid for before [tick].
    before : int
        Requests that came before those that are held.
    """
    for i in range(begin, end):
        if where[i] != NONE:
            continue
        now = q.n[i][ARRIVAL]
        if s.route or s.crowd:
            catch_up(q, lanes, c, p, now)
        if s.crowd:
            start_and_stop(lanes, up, since, paid, s, now)
        r = choose(q, lanes, p, s, up, i, before + i)
        where[i] = r
        lanes.z[r][ASSIGNED] += 1
        send(q, lane_of(lanes, r), i)
    catch_up(q, lanes, c, p, until)
