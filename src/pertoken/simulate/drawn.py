"""Traffic that comes in parts, so that not all of it is held at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pertoken.serving.lengths import Lengths
from pertoken.simulate.traffic import (
    NO_CHAIN,
    Extent,
    Traffic,
    check_arrivals,
    draw_lengths,
    gaps_of,
    on_the_clock,
    origin_of,
)

Array = NDArray[Any]
PART = 100_000  # requests drawn at once where bounds alone are looked for
Take = Callable[[int], Traffic]


class Source(Protocol):
    """What a run has to know of traffic that it takes in parts."""

    @property
    def extent(self) -> Extent:
        """Its size and bounds."""

    @property
    def origin(self) -> str:
        """Where requests come from."""

    @property
    def size(self) -> int:
        """Requests."""

    @property
    def closed(self) -> bool:
        """Whether requests follow others."""

    @property
    def level(self) -> Array:
        """Priorities, or empty."""

    @property
    def hash_tokens(self) -> int:
        """Tokens of a block of the prefix cache; 0 where prompts have no known blocks."""


class Parts(Source, Protocol):
    """Traffic that can be had in parts."""

    def begin(self) -> Take:
        """A function that gives so many more requests each time, from the first on."""


@dataclass(frozen=True)
class Drawn:
    """What `open_loop` draws, the same to the bit, in parts.

    Parameters
    ----------
    lengths, rate, count, seed, cv, profile
        As of `pertoken.simulate.traffic.open_loop`.
    """

    lengths: Lengths
    rate: float
    count: int
    seed: int = 0
    cv: float = 1.0
    profile: Array | None = None
    closed: bool = False
    level: Array = field(default_factory=lambda: NO_CHAIN)
    hash_tokens: int = 0

    def __post_init__(self) -> None:
        check_arrivals(self.rate, self.cv)

    @property
    def size(self) -> int:
        """Requests."""
        return self.count

    @property
    def origin(self) -> str:
        """Where requests come from."""
        return origin_of(self.lengths, self.rate, self.cv, self.profile)

    @cached_property
    def _after_gaps(self) -> dict[str, Any]:
        """State of the generator when all arrivals are drawn, as lengths come after them."""
        rng = np.random.default_rng(self.seed)
        for begin in range(0, self.count, PART):
            gaps_of(min(PART, self.count - begin), rng, self.cv)
        return dict(rng.bit_generator.state)

    def begin(self) -> Take:
        """A function that gives so many more requests each time, from the first on."""
        gaps, picks = np.random.default_rng(self.seed), np.random.default_rng(self.seed)
        picks.bit_generator.state = self._after_gaps
        upto = 0.0

        def take(count: int) -> Traffic:
            nonlocal upto
            work = np.cumsum(np.concatenate(([upto], gaps_of(count, gaps, self.cv))))[1:]
            upto = work[-1]
            when = on_the_clock(work / self.rate, self.profile)
            return Traffic(when, *draw_lengths(self.lengths, count, picks), self.origin)

        return take

    @cached_property
    def extent(self) -> Extent:
        """Its size and bounds, for which all of it is drawn once."""
        take = self.begin()
        found = [take(min(PART, self.count - begin)).extent for begin in range(0, self.count, PART)]
        most_in, most_out, longest = (max(getattr(e, name) for e in found) for name in ("input", "output", "longest"))
        inputs, outputs = (sum(getattr(e, name) for e in found) for name in ("inputs", "outputs"))
        return Extent(self.count, most_in, most_out, longest, inputs, outputs, found[-1].span)


@dataclass(frozen=True)
class Held:
    """Traffic that is in memory anyway, such as a trace, in parts.

    Parameters
    ----------
    traffic : Traffic
        Whose requests follow no others.
    """

    traffic: Traffic
    closed: bool = False
    hash_tokens: int = 0

    @property
    def size(self) -> int:
        """Requests."""
        return self.traffic.size

    @property
    def origin(self) -> str:
        """Where requests come from."""
        return self.traffic.origin

    @property
    def level(self) -> Array:
        """Priorities, or empty."""
        return self.traffic.level

    @property
    def extent(self) -> Extent:
        """Its size and bounds."""
        return self.traffic.extent

    def begin(self) -> Take:
        """A function that gives so many more requests each time, from the first on."""
        at = 0

        def take(count: int) -> Traffic:
            nonlocal at
            at += count
            return self.traffic.part(at - count, at)

        return take
