"""Traffic: when requests arrive and how long they are, drawn with a seed or read from a trace.

The same seed gives the same requests. Arrivals are Poisson, or renewals with gamma gaps of a given coefficient of variation
(bursts), with a rate that may follow a daily profile; or a closed loop, where each of so many users sends the next
request when the last is answered; or conversations, whose turns share their beginning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.errors import PertokenError
from pertoken.serving.lengths import Lengths
from pertoken.units import DAY, HOUR

Array = NDArray[Any]
MOST_REQUESTS = 100_000_000
NONE = -1
NO_CHAIN: Array = np.zeros(0, dtype=np.int64)
BLOCK = 16  # tokens of a block of the prefix cache of made-up conversations


def _no_chain() -> Array:
    return NO_CHAIN


@dataclass(frozen=True)
class Extent:
    """What a machine has to know of traffic before it serves any.

    Parameters
    ----------
    size : int
        Requests.
    input, output, longest : int
        Most input, most output, and most of both in one request [token].
    inputs, outputs : int
        Of all requests [token].
    span : float
        From 0 to the last arrival that is known [s].
    """

    size: int
    input: int
    output: int
    longest: int
    inputs: int
    outputs: int
    span: float

    @property
    def mean(self) -> float:
        """Mean context of the mean request while it decodes [token]."""
        return self.inputs / self.size + self.outputs / self.size / 2.0


@dataclass(frozen=True)
class Traffic:
    """Requests in order of arrival.

    Parameters
    ----------
    arrival : ndarray of float
        From the beginning of the run; NaN for a request that follows another [s].
    input, output : ndarray of int
        Lengths, from 1 up [token].
    origin : str
        Where they come from, for the receipt.
    level : ndarray of int, optional
        Priority, 0 first.
    follow : ndarray of int, optional
        The request that is sent when this one is answered, or -1.
    think : ndarray of float, optional
        How long after the answer a following request is sent [s].
    chain_at, chain : ndarray of int, optional
        Blocks of the prompt by hash: those of request i are ``chain[chain_at[i]:chain_at[i + 1]]``.
    hash_tokens : int
        Tokens of such a block; 0 where prompts have no known blocks.
    """

    arrival: Array
    input: Array
    output: Array
    origin: str
    level: Array = field(default_factory=_no_chain)
    follow: Array = field(default_factory=_no_chain)
    think: Array = field(default_factory=_no_chain)
    chain_at: Array = field(default_factory=_no_chain)
    chain: Array = field(default_factory=_no_chain)
    hash_tokens: int = 0

    def __post_init__(self) -> None:
        n = self.arrival.size
        if not n:
            raise PertokenError("the traffic has no requests; give at least one")
        if n > MOST_REQUESTS:
            raise PertokenError(f"the traffic has {n:,} requests; at most {MOST_REQUESTS:,} are simulated at once")
        for name in ("input", "output"):
            values = getattr(self, name)
            if values.size != n or values.min() < 1:
                raise PertokenError(f"{name} lengths must be one whole number from 1 up for each of {n:,} requests")
        first = self.arrival[~np.isnan(self.arrival)]
        if not first.size or not np.isfinite(first).all() or first.min() < 0 or np.any(np.diff(first) < 0):
            raise PertokenError(
                "arrivals must be finite seconds from 0 up in rising order; sort the traffic by arrival"
            )
        if self.follow.size == 0 and first.size < n:
            raise PertokenError(f"{n - first.size:,} requests have no arrival and follow no other; give arrivals")

    @property
    def size(self) -> int:
        """Requests."""
        return self.arrival.size

    @property
    def closed(self) -> bool:
        """Whether requests follow others."""
        return bool(self.follow.size)

    @property
    def span(self) -> float:
        """From 0 to the last arrival that is known [s]."""
        return self.extent.span

    @cached_property
    def extent(self) -> Extent:
        """Its size and bounds."""
        whole = self.input.astype(np.int64) + self.output
        inputs, outputs = (int(x.sum(dtype=np.int64)) for x in (self.input, self.output))
        most_in, most_out, longest = (int(x.max()) for x in (self.input, self.output, whole))
        return Extent(self.size, most_in, most_out, longest, inputs, outputs, float(np.nanmax(self.arrival)))

    def part(self, begin: int, end: int) -> Traffic:
        """Requests ``begin`` to before ``end``, without what ties them to others."""
        level = self.level[begin:end]
        return Traffic(self.arrival[begin:end], self.input[begin:end], self.output[begin:end], self.origin, level)

    @property
    def lengths(self) -> Lengths:
        """The lengths alone, as the closed form takes them."""
        return Lengths(self.input.astype(float), self.output.astype(float), self.origin)

    def faster(self, factor: float) -> Traffic:
        """The same requests, ``factor`` times as many a second."""
        return replace(self, arrival=self.arrival / factor)


def draw_lengths(lengths: Lengths, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """So many lengths, drawn with replacement, in whole tokens."""
    inputs = np.maximum(np.rint(lengths.input), 1).astype(np.int32)
    outputs = np.maximum(np.rint(lengths.output), 1).astype(np.int32)
    pick = rng.integers(inputs.size, size=count, dtype=np.int32)
    return inputs[pick], outputs[pick]


def read_profile(text: str) -> Array:
    """24 hourly weights of a day, such as ``1,1,1,1,1,1,2,4,6,8,8,8,8,8,8,8,7,6,5,4,3,2,1,1``; their mean is 1 afterwards."""
    try:
        found = np.array([float(word) for word in text.split(",")])
    except ValueError:
        found = np.zeros(0)
    if found.size != 24 or not np.isfinite(found).all() or found.min() < 0 or found.max() <= 0:
        raise PertokenError(f"--profile is {text[:60]!r}; give 24 hourly weights from 0 up with commas")
    weights: Array = found / found.mean()
    return weights


def arrivals(rate: float, count: int, rng: np.random.Generator, cv: float = 1.0, profile: Array | None = None) -> Array:
    """Times of arrival.

    Parameters
    ----------
    rate : float
        Requests a second, above 0 [1/s].
    count : int
        Requests.
    rng : Generator
        Where chance comes from.
    cv : float
        Standard deviation of the gaps over their mean: 1 is Poisson, more comes in bursts, 0 is even.
    profile : ndarray, optional
        24 hourly weights of mean 1, by which the rate changes over a day.
    """
    check_arrivals(rate, cv)
    return on_the_clock(np.cumsum(gaps_of(count, rng, cv)) / rate, profile)


def check_arrivals(rate: float, cv: float) -> None:
    """Refuse what is no rate [1/s] or no coefficient of variation."""
    if not 1e-9 <= rate <= 1e9:
        raise PertokenError(f"a rate of {rate:g} requests/s cannot be simulated; give 1e-9 to 1e9")
    if not 0.0 <= cv <= 100.0:
        raise PertokenError(f"--burst is {cv:g}; it is the coefficient of variation of gaps, from 0 to 100")


def gaps_of(count: int, rng: np.random.Generator, cv: float) -> Array:
    """So many gaps between arrivals, of mean 1."""
    if cv == 1.0:
        return rng.standard_exponential(count)
    if cv == 0.0:
        return np.ones(count)
    found: Array = rng.standard_gamma(1.0 / cv**2, count) * cv**2
    return found


def on_the_clock(work: Array, profile: Array | None) -> Array:
    """Seconds at the mean rate as those of the day's clock."""
    if profile is None:
        return work
    # the rate's integral over a day is one day; its inverse turns even work into the day's clock
    upto = np.concatenate(([0.0], np.cumsum(profile))) * HOUR
    clock = np.arange(25) * HOUR
    rising = np.concatenate(([True], np.diff(upto) > 0))
    found: Array = np.floor(work / DAY) * DAY + np.interp(work % DAY, upto[rising], clock[rising])
    return found


def open_loop(
    lengths: Lengths, rate: float, count: int, seed: int = 0, cv: float = 1.0, profile: Array | None = None
) -> Traffic:
    """Requests that arrive whatever becomes of those before.

    Parameters
    ----------
    lengths : Lengths
        To draw from.
    rate, count, cv, profile
        As of `arrivals`.
    seed : int
        Of all that is drawn.
    """
    rng = np.random.default_rng(seed)
    when = arrivals(rate, count, rng, cv, profile)
    inputs, outputs = draw_lengths(lengths, count, rng)
    return Traffic(when, inputs, outputs, origin_of(lengths, rate, cv, profile))


def origin_of(lengths: Lengths, rate: float, cv: float, profile: Array | None) -> str:
    """Where an open loop's requests come from, for the receipt."""
    kind = "Poisson" if cv == 1.0 else "even" if cv == 0.0 else f"gamma (cv {cv:g})"
    daily = " over a daily profile" if profile is not None else ""
    return f"{kind} arrivals at {rate:.4g}/s{daily}, {lengths.origin}"


def closed_loop(lengths: Lengths, users: int, count: int, seed: int = 0, think: float = 0.0) -> Traffic:
    """So many users, each of whom sends the next request when the last is answered.

    Parameters
    ----------
    users : int
        Requests in flight; the first of each is sent at 0.
    think : float
        From an answer to the next request [s].
    """
    if not 1 <= users <= 1_000_000:
        raise PertokenError(f"--concurrency is {users:,}; a closed loop has 1 to 1,000,000 requests in flight")
    rng = np.random.default_rng(seed)
    count = max(count, users)
    inputs, outputs = draw_lengths(lengths, count, rng)
    when = np.full(count, np.nan)
    when[:users] = 0.0
    follow = np.full(count, NONE, dtype=np.int32)
    follow[: count - users] = np.arange(users, count)
    return Traffic(
        when, inputs, outputs, f"closed loop of {users:,}, {lengths.origin}", follow=follow, think=np.full(count, think)
    )


def conversations(
    lengths: Lengths, rate: float, count: int, turns: float, think: float, seed: int = 0, cv: float = 1.0
) -> Traffic:
    """Conversations whose turns each bring the whole history again.

    Parameters
    ----------
    lengths : Lengths
        New input and output of a turn.
    rate : float
        Requests a second over all turns, were answers immediate [1/s].
    count : int
        Requests.
    turns : float
        Mean turns of a conversation, geometrically distributed, from 1 up.
    think : float
        Mean time from an answer to the next turn, exponential [s].
    """
    if not 1.0 <= turns <= 1000.0 or not 0.0 <= think <= 1e6:
        raise PertokenError(f"--turns is {turns:g} and --think {think:g}; give 1 to 1,000 turns and 0 to 1,000,000 s")
    rng = np.random.default_rng(seed)
    number = rng.geometric(1.0 / turns, size=max(1, int(count / turns * 1.2) + 20))
    talk = np.repeat(np.arange(number.size), number)[:count]
    count = talk.size
    turn = np.arange(count) - np.searchsorted(talk, talk)
    new, outputs = draw_lengths(lengths, count, rng)
    upto = np.cumsum((new + outputs).astype(np.int64))
    start = np.concatenate(([0], upto))[np.searchsorted(talk, talk)]
    inputs = upto - outputs - start
    when = np.full(count, np.nan)
    when[turn == 0] = arrivals(rate / turns, int((turn == 0).sum()), rng, cv)
    follow = np.where(np.append(talk[1:] == talk[:-1], False), np.arange(1, count + 1), NONE).astype(np.int32)
    pause = rng.standard_exponential(count) * think
    blocks = (inputs + outputs) // BLOCK
    chain_at = np.concatenate(([0], np.cumsum(blocks)))
    # a conversation's blocks are numbered once; each turn refers to all from its beginning
    longest = np.zeros(talk[-1] + 1, dtype=np.int64)
    np.maximum.at(longest, talk, blocks)
    first = np.concatenate(([0], np.cumsum(longest)))[talk]
    if chain_at[-1] > MOST_REQUESTS:
        raise PertokenError(
            f"these conversations have {chain_at[-1]:,} blocks of history; at most {MOST_REQUESTS:,} are kept: fewer requests"
        )
    chain = np.arange(chain_at[-1]) - np.repeat(chain_at[:-1] - first, blocks)
    origin = f"conversations of {turns:g} turns at {rate:.4g} requests/s, {lengths.origin}"
    return Traffic(
        when, inputs.astype(np.int32), outputs, origin, follow=follow, think=pause, chain_at=chain_at,
        chain=chain.astype(np.int32), hash_tokens=BLOCK,
    )  # fmt: skip
