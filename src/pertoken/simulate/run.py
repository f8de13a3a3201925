"""One run: a deployment, its replicas and policies, and traffic; what comes out are records of every request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pertoken.engine.deployment import Deployment
from pertoken.engine.draft import Drafted
from pertoken.errors import PertokenError
from pertoken.money.energy import Draw
from pertoken.simulate.accepting import BITS, GRAIN, accept_of
from pertoken.simulate.asking import NAMES
from pertoken.simulate.cache import tails
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.compiled import COMPILED, as_lists, as_written, boxed
from pertoken.simulate.drawn import Source
from pertoken.simulate.records import Records
from pertoken.simulate.routing import ROUTES, Scale, idle, serve
from pertoken.simulate.spend import renew
from pertoken.simulate.state import (
    ARRIVAL,
    CLOCK,
    FAULT,
    HOLD,
    INPUT,
    LATER,
    LEVEL,
    NEVER,
    NEXT_ARRIVAL,
    NONE,
    OUTPUT,
    RING,
    SAID,
    SERVED,
    TOO_LARGE,
    WAITING,
    Costs,
    Lane,
    Policy,
    Requests,
    make_lanes,
    make_requests,
    ring_of,
)  # fmt: skip
from pertoken.simulate.tables import Reach, Tabulated
from pertoken.simulate.traffic import Traffic

Array = NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])
TICK = 1e-12  # s; longer where traffic or service would not fit 62 bits
SLICE = 8_000  # requests between two looks at progress; few enough to stay near the processor
SMALL = 2_000  # and where nothing is compiled
MOST_TICKS = 1 << 61  # of a clock


def capacity(deployment: Deployment, traffic: Traffic | Source, block: int) -> int:
    """KV blocks of one lane; a token takes what it takes on average at the mean request's length."""
    mean = traffic.extent.mean
    each = float(deployment.sequence_bytes(mean)) / mean
    if each <= 0:
        return 1 << 40
    return int(min(deployment.cache_capacity / deployment.split.pp / each / block, float(1 << 40)))


class Run:
    """A simulation that can be driven in slices.

    Parameters
    ----------
    deployment : Deployment
        One replica.
    traffic : Traffic
        What users send.
    cluster : Cluster
        Replicas and policies.
    draw : Draw or None
        What an accelerator draws; None leaves energy out.
    tick : float
        Length of a tick [s]; `simulate` lengthens it where needed.
    pool : str
        ``prefill`` or ``decode`` of a pool that does that alone.

    Raises
    ------
    PertokenError
        When traffic is longer than the model's context limit, or policies do not suit it.
    DoesNotFit
        When weights and the longest request do not fit the memory.
    """

    requests: Requests
    held: Traffic
    where: Any
    refused: int

    def __init__(
        self,
        deployment: Deployment,
        traffic: Traffic | Source,
        cluster: Cluster,
        draw: Draw | None,
        tick: float,
        pool: str = "",
    ) -> None:
        self.deployment, self.traffic, self.cluster, self.tick = deployment, traffic, cluster, tick
        e, self.first, self.done = traffic.extent, 0, 0
        longest, limit = e.longest, deployment.model.context_limit
        if longest > limit:
            raise PertokenError(
                f"the longest request has {longest:,} tokens of input and output, and {deployment.model.name} takes at most"
                f" {limit:,}; leave it out or use shorter lengths"
            )
        deployment.check_fit(1.0)
        self.own = cluster.policy
        self._compiled = COMPILED and not (self.own and self.own.why)
        self.policy = self._policy(pool)
        p = self.policy
        most_grown = self._begin()
        if self.refused and traffic.closed:
            deployment.check_fit(float(longest))
        budget = self.policy.budget
        most = budget if self.policy.chunked else max(budget, e.input + e.output)
        most = min(most, int(min(e.inputs + e.outputs, 1 << 26)))
        reach = Reach(p.slots, most + p.slots * p.width, most_grown + 1, p.width, p.grain)
        self.costs: Costs = Tabulated(deployment, reach, tick, draw).costs()
        hashes = int(np.max(self.requests.chain)) + 1
        lanes = cluster.replicas * deployment.split.lanes
        self.lanes: Lane = make_lanes(lanes, self.policy, e.output, hashes)
        self._attempt()
        on = cluster.least if cluster.crowd else cluster.replicas
        up = np.where(np.arange(cluster.replicas) < on, 0, NEVER)
        self.up, self.since, self.paid = boxed(up), boxed(0 * up), boxed(0 * up)
        self.scale = Scale(
            ROUTES.index(cluster.route), deployment.split.lanes, on, cluster.crowd, round(cluster.start_s / tick),
            round(cluster.patience_s / tick),
        )  # fmt: skip
        if COMPILED and not self.compiled:
            self.costs, self.requests, self.lanes = (as_lists(x) for x in (self.costs, self.requests, self.lanes))
            self.where, self.up, self.since, self.paid = (
                self.boxed(x) for x in (self.where, self.up, self.since, self.paid)
            )

    def _begin(self) -> int:
        """Take the requests in; the most that the context of one grows to [token]."""
        assert isinstance(self.traffic, Traffic)
        self.held = self.traffic
        self.requests = self._requests(self.held)
        where, grown = self._places(self.held)
        self.where, self.refused = boxed(where), int((where == TOO_LARGE).sum())
        return int(grown.max())

    def _places(self, t: Traffic) -> tuple[Array, Array]:
        """Lane of each request, or why a router does not choose one, and what contexts grow to [token]."""
        p = self.policy
        grown = t.input + (t.output.astype(np.int64) - 1) * p.grow // p.grain  # no draft ever accepted
        where = np.full(t.size, NONE, dtype=np.int32)
        where[np.isnan(t.arrival)] = LATER
        where[-(-grown // self.cluster.block) > p.capacity] = TOO_LARGE
        return where, grown

    def _policy(self, pool: str) -> Policy:
        """What the engine's profile and the cluster say of a step."""
        d, c, t = self.deployment, self.cluster, self.traffic
        if c.route == "prefix-aware" and not c.prefix_cache:
            raise PertokenError("--route prefix-aware goes by prefix caches, and there are none; add --reuse-prefixes")
        if c.prefix_cache and not t.hash_tokens:
            raise PertokenError(
                "--reuse-prefixes needs prompts whose blocks are known: a trace with hash_ids, or --turns; this has neither"
            )
        if c.prefix_cache and t.hash_tokens % c.block:
            raise PertokenError(
                f"--block is {c.block}; it must divide the {t.hash_tokens} tokens of the trace's blocks: use a power of 2"
            )
        if t.level.size and int(t.level.max()) >= c.priorities:
            raise PertokenError(
                f"a request has priority {int(t.level.max())}, and there are {c.priorities} levels from 0; raise --priorities"
            )
        p, held = d.profile, capacity(d, t, c.block)
        budget = int(min(p.token_budget.value, max(1 << 20, t.extent.longest)))
        drafts = d.drafts if isinstance(d, Drafted) else 0
        slots = int(min(p.max_sequences.value, max(1, held), t.size, max(1, budget // (1 + drafts))))
        grain = GRAIN if drafts else 1
        return Policy(
            budget, slots, c.block, held, int(p.mixed or pool == "decode"), int(p.chunked), max(1, int(p.look_steps.value)),
            int(p.wait_steps.value), c.priorities, int(c.prefix_cache),
            t.hash_tokens // c.block if c.prefix_cache else 1, int(t.closed), int(pool == "decode"),
            int(pool == "prefill"), int(p.reserves and pool != "prefill"), 1 + drafts, round(c.accepted * grain), grain,
            c.block * grain, RING + ring_of(t.extent.output), accept_of(c.accepted, drafts), c.seed & BITS, 0, self.tick,
            *(c.policy.loop if c.policy else (0, 0, 0)),
        )  # fmt: skip

    def _requests(self, t: Traffic) -> Requests:
        n = t.size
        delay = self.deployment.profile.request_delay.value
        arrival = np.rint((np.nan_to_num(t.arrival) + delay) / self.tick).astype(np.int64)
        think = np.rint(((t.think if t.think.size else np.zeros(n)) + delay) / self.tick).astype(np.int64)
        level = (t.level if t.level.size else np.zeros(n)).astype(np.int8)
        follow = (t.follow if t.follow.size else np.full(n, NONE)).astype(np.int32)
        whole = np.zeros(2, dtype=np.int64)
        chains = (whole, np.zeros(1, dtype=np.int32), whole)  # of the same kinds, so that the loop is compiled once
        if self.policy.caching:
            chains = tails(t.chain_at.astype(np.int64), t.chain)
        return make_requests((arrival, t.input, t.output, level, follow, think), chains)

    def _attempt(self) -> None:
        """Call each of the user's functions once: of the first request, and of an empty lane."""
        if not self.own:
            return
        n, p = self.requests.n[0], self.policy
        length, answer = float(n[INPUT]), float(n[OUTPUT])
        request = (float(n[ARRIVAL] * self.tick), length, answer, float(n[LEVEL]), 0.0, 0.0)
        room = (float(p.capacity), float(-(-n[INPUT] // p.block)), 0.0, 1.0, length, answer)
        for name in self.own.functions:
            self.own.attempt(name, room if name == "admit" else request)

    def check_faults(self) -> None:
        """Refuse a user's policy that failed."""
        for z, g in zip(self.lanes.z, self.lanes.g, strict=True):
            if self.own and z[FAULT]:
                raise self.own.fault(NAMES[z[FAULT] - 1], [float(x) for x in g[SAID : SAID + 6]])

    def _check(self) -> None:
        """Refuse a user's policy that failed, or that leaves requests waiting for nothing."""
        if not self.own:
            return
        self.check_faults()
        left = [z for z in self.lanes.z if z[WAITING] or not self.code(idle)(z) or z[NEXT_ARRIVAL] < NEVER]
        if (
            self.first + self.done == self.traffic.size
            and left
            and all(z[HOLD] == 2 and z[NEXT_ARRIVAL] == NEVER for z in left)
        ):
            raise self.own.none_admitted(sum(int(z[WAITING]) for z in left))

    def code(self, function: F) -> F:
        """A function of the loop as this run has it."""
        return function if self.compiled else as_written(function)

    @property
    def compiled(self) -> bool:
        """Whether its loop is."""
        return self._compiled

    def boxed(self, array: Array) -> Any:
        """An array as this run's code reads it."""
        return array if self.compiled else np.asarray(array).tolist()

    @property
    def busy(self) -> bool:
        """Whether anything is left to serve."""
        quiet = self.code(idle)
        return any(not quiet(z) or z[NEXT_ARRIVAL] < NEVER for z in self.lanes.z)

    def drive(self, slice_: int) -> float:
        """Route the next ``slice_`` requests, or serve what is left; the share of requests that is answered."""
        q, lanes, c, p = self.requests, self.lanes, self.costs, self.policy
        n = len(self.where)
        begin = end = self.done
        if begin < n:
            end = min(n, begin + slice_)
            until = q.n[end][ARRIVAL] if end < n and not self.traffic.closed else 0
        else:
            quiet = self.code(idle)
            due = [int(max(z[NEXT_ARRIVAL], z[CLOCK]) if quiet(z) else z[CLOCK]) for z in lanes.z]
            left = [t for t in due if t < NEVER]
            until = min(left) + max(max(left) // 50, round(10.0 / self.tick))
        self.code(serve)(
            q, lanes, c, p, self.scale, self.where, self.up, self.since, self.paid, self.first, begin, end, until
        )
        self.done = end
        self._check()
        self.code(renew)(q, lanes, p)
        return self.answered / self.traffic.size

    @property
    def answered(self) -> int:
        """Requests that are answered."""
        return int(sum(z[SERVED] for z in self.lanes.z))

    @property
    def left(self) -> int:
        """Requests that are held and were not sent yet."""
        return len(self.where) - self.done

    @property
    def clock(self) -> int:
        """The latest time of a lane [tick]."""
        return int(max(z[CLOCK] for z in self.lanes.z))


class Driven(Protocol):
    """What is driven in slices."""

    @property
    def clock(self) -> int:
        """The latest time of a lane [tick]."""

    @property
    def busy(self) -> bool:
        """Whether anything is left to serve."""

    @property
    def left(self) -> int:
        """Requests that are held and were not sent yet."""

    @property
    def compiled(self) -> bool:
        """Whether its loop is."""

    def drive(self, slice_: int) -> float:
        """Route so many requests, or serve what is left; the share of requests that is answered."""


D = TypeVar("D", bound=Driven)


def simulate(
    deployment: Deployment,
    traffic: Traffic,
    cluster: Cluster | None = None,
    draw: Draw | None = None,
    progress: Callable[[float], None] | None = None,
) -> Records:
    """Serve traffic and return what became of every request.

    Parameters
    ----------
    deployment : Deployment
        One replica.
    traffic : Traffic
        What users send.
    cluster : Cluster, optional
        Replicas and policies; one replica, first come first served.
    draw : Draw, optional
        What an accelerator draws.
    progress : callable, optional
        Told the share of requests that is answered, now and then. Where it raises ``KeyboardInterrupt`` the run ends, and
        the records are marked as partial.

    Raises
    ------
    PertokenError
        As `Run`.
    """
    make = partial(Run, deployment, traffic, cluster or Cluster(), draw)
    return Records.of(*driven(make, traffic.span, progress))


def driven(make: Callable[[float], D], span: float, progress: Callable[[float], None] | None) -> tuple[D, bool]:
    """A run to its end, and whether it was ended early; of longer ticks where service takes longer than clocks have bits for."""
    tick = tick_of(span)
    while True:
        run, early = make(tick), False
        try:
            _drive(run, progress)
        except KeyboardInterrupt:
            early = True
        if run.clock < MOST_TICKS:
            return run, early
        tick *= 1000.0


def tick_of(span: float) -> float:
    """Length of a tick for so many seconds of traffic [s]."""
    tick = TICK
    while span / tick > 2.0**59:
        tick *= 10.0
    return tick


def _drive(run: Driven, progress: Callable[[float], None] | None) -> None:
    while run.left or run.busy:
        share = run.drive(SLICE if run.compiled else SMALL)
        if progress:
            progress(share)
        if run.clock >= MOST_TICKS:
            return


def faster(traffic: Traffic, rate: float) -> Traffic:
    """The same requests at another mean rate [1/s]."""
    return replace(traffic.faster(rate * traffic.span / traffic.size), origin=f"{traffic.origin}, at {rate:.4g}/s")
