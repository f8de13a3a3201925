"""The figures of an answer: a value with its ends, one for each kind of token, a bill and the lines of its receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pertoken.attribution.ledger import TOKENS

CASES = ("value", "low", "high")
KINDS = (*TOKENS, "input_blended")


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 90% interval, or the roofline's bounds (perfect overlap and none) without a fit."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """All three times ``factor``."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)

    def as_dict(self) -> dict[str, float]:
        """Keys value, low and high."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class PerToken:
    """One figure for each kind of token.

    Parameters
    ----------
    input, cached, output : Interval
        Uncached input, input found in the prefix cache, output.
    input_blended : Interval
        All input, cached or not.
    """

    input: Interval
    cached: Interval
    output: Interval
    input_blended: Interval

    def scaled(self, factor: float) -> PerToken:
        """All figures times ``factor``."""
        return PerToken(**{name: getattr(self, name).scaled(factor) for name in KINDS})

    def plus(self, other: PerToken) -> PerToken:
        """The sum, case by case: what moves one moves the other."""
        return PerToken(
            **{
                n: Interval(*(getattr(getattr(self, n), c) + getattr(getattr(other, n), c) for c in CASES))
                for n in KINDS
            }
        )

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Intervals by kind of token."""
        return {name: getattr(self, name).as_dict() for name in KINDS}


@dataclass(frozen=True)
class Bill:
    """What is paid in a period, and for what; token costs and idle sum to it.

    Parameters
    ----------
    period_s, accelerator_s : float
        The period, and accelerator-seconds paid in it [s].
    usd, idle_usd : float
        Paid, and the part that no token is charged with [$].
    tokens : mapping
        Input (uncached), cached and output tokens processed in the period.
    residual : float
        Bill minus everything charged: rounding only [$].
    """

    period_s: float
    accelerator_s: float
    usd: float
    idle_usd: float
    tokens: Mapping[str, float]
    residual: float


@dataclass(frozen=True)
class Leaf:
    """One line of a receipt.

    Parameters
    ----------
    path : str
        ``token/part/group/operation``, or ``idle``.
    usd_share : float
        Share of the bill.
    seconds : float
        Accelerator-seconds in the bill's period [s].
    bound : str
        ``memory``, ``compute``, ``link``, ``overhead`` or ``idle``.
    """

    path: str
    usd_share: float
    seconds: float
    bound: str


@dataclass(frozen=True)
class Change:
    """One part of a token's cost in two cases.

    Parameters
    ----------
    token, part : str
        Kind of token, and what bound the operations.
    before, after : float
        Per million tokens: dollars when both cases have a rate, else accelerator-seconds [$ or s].
    """

    token: str
    part: str
    before: float
    after: float
