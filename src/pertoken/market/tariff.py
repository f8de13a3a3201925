"""A tariff turns token counts of requests into money: prices by kind of token, a fee, tiers by context."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pertoken.errors import PertokenError
from pertoken.serving.lengths import Array, Lengths

MOST_USD = 1.0  # of one token, and ten thousand times as much of one request [$]


@dataclass(frozen=True)
class Requests:
    """Token counts of requests.

    Parameters
    ----------
    input : ndarray
        All input tokens, cached ones included [token].
    output : ndarray
        Output tokens [token].
    cached, written : ndarray or float
        Parts of the input that were found in a vendor's prefix cache, and that were written to it [token].
    """

    input: Array
    output: Array
    cached: Array | float = 0.0
    written: Array | float = 0.0

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached", "written"):
            values = np.asarray(getattr(self, name), dtype=float)
            if not (np.isfinite(values) & (values >= 0)).all():
                raise PertokenError(f"{name} tokens of a request must be finite numbers from 0; mend them")
        if np.any(self.cached + self.written > self.input * (1 + 1e-12)):
            raise PertokenError(
                "cached and written tokens are parts of the input, counted once; here they are more than it"
            )

    @property
    def fresh(self) -> Array:
        """Input that was neither read from a cache nor written to one [token]."""
        return np.maximum(self.input - self.cached - self.written, 0.0)

    @property
    def tokens(self) -> Array:
        """Input and output together [token]."""
        return self.input + self.output


def from_lengths(lengths: Lengths, cached: float = 0.0, written: float = 0.0) -> Requests:
    """Requests of given lengths.

    Parameters
    ----------
    lengths : Lengths
        Input and output, and what was cached where it is known.
    cached : float
        Share of the input that was cached, where the lengths do not tell.
    written : float
        Share of the input that was not cached that is written to the vendor's cache.
    """
    found = np.minimum(lengths.input * cached if lengths.found is None else lengths.found, lengths.input - 1.0)
    return Requests(lengths.input, lengths.output, found, (lengths.input - found) * written)


@dataclass(frozen=True)
class Prices:
    """Prices of one token by kind, and of a request.

    Parameters
    ----------
    input, output : float
        Of one token [$].
    cached, written : float, optional
        Of an input token read from, or written to, the vendor's cache; None: as any input [$].
    request : float
        Of a request, whatever its length [$].
    """

    input: float
    output: float
    cached: float | None = None
    written: float | None = None
    request: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("input", 1), ("output", 1), ("cached", 1), ("written", 1), ("request", 10_000)):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= most * MOST_USD:
                raise PertokenError(f"a price of {name} is {value:g} $; it must be from 0 to {most * MOST_USD:,.0f}")

    @property
    def kinds(self) -> tuple[float, float, float, float]:
        """Of cached, written, other input and output tokens, with what follows where none is set [$]."""
        return (
            self.input if self.cached is None else self.cached,
            self.input if self.written is None else self.written,
            self.input,
            self.output,
        )

    def scaled(self, factor: float) -> Prices:
        """All prices times ``factor``."""
        cached, written = (None if v is None else v * factor for v in (self.cached, self.written))
        return Prices(self.input * factor, self.output * factor, cached, written, self.request * factor)


@dataclass(frozen=True)
class Tier:
    """Prices of requests whose input is longer than a threshold.

    Parameters
    ----------
    above : float
        Longest input that still pays less [token].
    prices : Prices
        From there on.
    """

    above: float
    prices: Prices


@dataclass(frozen=True)
class Tariff:
    """Prices, and how they change with context.

    Parameters
    ----------
    base : Prices
        Below all tiers.
    tiers : tuple of Tier
        By rising threshold.
    marginal : bool
        Whether a tier's prices hold for the tokens beyond its threshold alone. Vendors' hold for the whole request.
    batch : float
        What a request that may wait pays of this, above 0 [1].
    """

    base: Prices
    tiers: tuple[Tier, ...] = ()
    marginal: bool = False
    batch: float = 1.0

    def __post_init__(self) -> None:
        above = [tier.above for tier in self.tiers]
        if any(not (math.isfinite(a) and a >= 0) for a in above) or sorted(set(above)) != above:
            raise PertokenError(f"tiers begin above {above}; thresholds must be finite, rise and differ")
        if not 0.0 < self.batch <= 1.0:
            raise PertokenError(f"a batch pays {self.batch:g} of the price; it must be above 0 and at most 1")

    def bands(self) -> Iterator[tuple[float, float, Prices]]:
        """Each threshold, the next one and the prices between."""
        starts = [0.0, *(tier.above for tier in self.tiers), math.inf]
        yield from zip(starts, starts[1:], (self.base, *(t.prices for t in self.tiers)), strict=False)

    def charge(self, requests: Requests, waits: NDArray[np.bool_] | None = None) -> Array:
        """What each request pays [$].

        Parameters
        ----------
        requests : Requests
            Token counts.
        waits : ndarray of bool, optional
            Which of them may wait, and so pay the batch's share; none if None.
        """
        paid = self._by_position(requests) if self.marginal else self._by_request(requests)
        return paid if waits is None else np.where(waits, paid * self.batch, paid)

    def _by_request(self, r: Requests) -> Array:
        """A tier's prices for the whole request: a cliff at its threshold."""
        counts = (r.cached, r.written, r.fresh, r.output)
        at = np.searchsorted([tier.above for tier in self.tiers], r.input, side="left")
        table = np.array([(*prices.kinds, prices.request) for _, _, prices in self.bands()])
        if not self.tiers:
            at, table = np.zeros((), dtype=int), table[:1]
        paid: Array = table[at, 4] + 0.0 * r.input
        for i, n in enumerate(counts):
            paid = paid + n * table[at, i]
        return paid

    def _by_position(self, r: Requests) -> Array:
        """A tier's prices for tokens past its threshold: cached first, then written, then other input, then output."""
        ends = np.cumsum(np.broadcast_arrays(0.0 * r.input, r.cached, r.written, r.fresh, r.output), axis=0)
        paid: Array = np.full(r.input.shape, self.base.request)
        for low, high, prices in self.bands():
            clipped = np.clip(ends, low, high)
            for i, price in enumerate(prices.kinds):
                paid = paid + price * (clipped[i + 1] - clipped[i])
        return paid

    def scaled(self, factor: float) -> Tariff:
        """All prices times ``factor``."""
        tiers = tuple(Tier(tier.above, tier.prices.scaled(factor)) for tier in self.tiers)
        return replace(self, base=self.base.scaled(factor), tiers=tiers)

    def mean(self, requests: Requests) -> float:
        """What a mean request pays [$]."""
        return float(self.charge(requests).mean())
