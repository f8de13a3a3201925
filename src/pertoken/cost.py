"""The answer: what input, cached and output tokens cost, adding up to the bill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pertoken.attribution.ledger import TOKENS, Entry, by_token, ledger
from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.explain.summary import Explained
from pertoken.money.rate import Rate
from pertoken.serving.lengths import Moments
from pertoken.serving.operating import Operating, operate
from pertoken.serving.steady import Steady, steady
from pertoken.serving.workload import Workload
from pertoken.units import HOUR, MILLION, MONTH

if TYPE_CHECKING:
    from pertoken.attribution.at import At

CASES = ("value", "low", "high")
BASES = ("usage", "allocation")


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
        return PerToken(
            *(getattr(self, name).scaled(factor) for name in ("input", "cached", "output", "input_blended"))
        )

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Intervals by kind of token."""
        return {name: getattr(self, name).as_dict() for name in ("input", "cached", "output", "input_blended")}


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


@dataclass(frozen=True, repr=False)
class Cost(Explained):
    """What a token costs here. Made by `price_deployment`.

    Parameters
    ----------
    deployment, workload : Deployment, Workload
        What serves and what is sent.
    operating : Operating
        Where that puts it.
    rate : Rate or None
        Price of accelerator time; None when no dollars can be given.
    paid_share : float
        ``--utilisation``: share of paid time in which the deployment works at this point.
    basis : str
        ``usage`` shows idle time as a line of its own; ``allocation`` spreads it over tokens by their busy share.
    rate_missing : str
        Why there is no rate.
    assumed : tuple of str
        Everything that was not given.
    scenario : mapping
        The knobs, to write out and read back.
    """

    deployment: Deployment
    workload: Workload
    operating: Operating
    rate: Rate | None
    paid_share: float = 1.0
    basis: str = "usage"
    rate_missing: str = ""
    assumed: tuple[str, ...] = ()
    scenario: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def entries(self) -> dict[str, list[Entry]]:
        """Ledger of the mean step by case: 90% of measured steps took between low and high, or the roofline's bounds."""
        return {case: self._ledger(self.operating.state, case) for case in CASES}

    def _ledger(self, state: Steady, case: str) -> list[Entry]:
        ends = self.deployment.interval("tpot")
        if ends is None or case == "value":
            return ledger(state, case)
        factor = ends[0] if case == "low" else ends[1]
        return [replace(entry, seconds=entry.seconds * factor) for entry in ledger(state)]

    @property
    def utilisation(self) -> float:
        """Busy accelerator-seconds over paid ones."""
        return float(self.operating.state.busy) * self.operating.lanes_busy * self.paid_share

    @property
    def requests_per_s(self) -> float:
        """Requests finished per second of paid time [1/s]."""
        state = self.operating.state
        return self.deployment.split.lanes * self.utilisation * float(state.finished / state.step_s)

    @property
    def tokens_per_request(self) -> dict[str, float]:
        """Mean tokens of a request by kind [token]."""
        m = self.operating.moments
        return dict(zip(TOKENS, (float(m.fresh), float(m.cached), float(m.output)), strict=True))

    @cached_property
    def accelerator_s(self) -> PerToken:
        """Accelerator-seconds charged to one token of each kind [s]."""
        state, split = self.operating.state, self.deployment.split
        tokens = self.tokens_per_request
        owed: dict[str, list[float]] = {name: [] for name in (*TOKENS, "input_blended")}
        for case in CASES:
            totals = by_token(self.entries[case])
            share = split.tp * self._spread(case) / float(state.finished)
            for name in TOKENS:
                count = tokens[name]
                owed[name].append(float(totals[name]) * share / count if count > 0 else self._lone_cached(case))
            both = float(totals["input"]) + float(totals["cached"])
            owed["input_blended"].append(both * share / (tokens["input"] + tokens["cached"]))
        # with idle time spread over tokens at a given rate, what one kind of token saves another pays: order the bounds
        return PerToken(**{name: Interval(v[0], min(v), max(v)) for name, v in owed.items()})

    def _spread(self, case: str) -> float:
        """Paid over busy seconds when idle time is spread over tokens, else 1."""
        if self.basis == "usage":
            return 1.0
        if self.workload.mode in ("rps", "load"):  # the rate is given, so a slower engine is busier, not dearer
            stretch = sum(float(e.seconds) for e in self.entries[case]) / float(self.operating.state.step_s)
            return 1.0 / (self.utilisation * stretch)
        return 1.0 / self.utilisation

    def _lone_cached(self, case: str) -> float:
        """Accelerator-seconds of a first cached token where the traffic has none [s]."""
        share = 0.01
        own = self.operating.moments
        moments = replace(self.workload.lengths.moments(share), width=own.width, accepted=own.accepted)
        if moments.cached <= 0:  # prompts of one token have nothing to cache
            return 0.0
        state = steady(self.deployment, moments, self.operating.state.finished)
        again = float(by_token(self._ledger(state, case))["cached"])
        return self.deployment.split.tp * self._spread(case) * again / float(state.finished * moments.cached)

    @cached_property
    def cached_increment(self) -> float | None:
        """What having cached tokens in the context adds to all others, per cached token; does not add up [$]."""
        cached = self.tokens_per_request["cached"]
        if cached <= 0 or self.rate is None:
            return None
        m = self.operating.moments
        contexts = tuple(max(0.0, c - m.cached) for c in m.contexts)
        without = replace(m, input=m.fresh, prior=max(0.0, float(m.prior - m.cached)), contexts=contexts)
        bare = steady(self.deployment, without, self.operating.state.finished)
        state = self.operating.state
        more = float(state.step_s / state.finished - bare.step_s / bare.finished) * self.deployment.split.tp
        return more / cached * self.rate.usd_per_second

    def _usd(self) -> float:
        if self.rate is None:
            raise PertokenError(self.rate_missing)
        return self.rate.usd_per_second

    @property
    def per_million(self) -> PerToken:
        """Dollars per million tokens [$]. Raises a sentence when there is no rate."""
        return self.accelerator_s.scaled(MILLION * self._usd())

    @property
    def per_request(self) -> Interval:
        """Dollars charged to the tokens of a mean request [$]."""
        return self.accelerator_s_per_request.scaled(self._usd())

    @property
    def accelerator_s_per_request(self) -> Interval:
        """Accelerator-seconds charged to a mean request [s]."""
        t, s = self.tokens_per_request, self.accelerator_s
        return Interval(
            *(sum(t[name] * getattr(getattr(s, name), case) for name in TOKENS if t[name] > 0) for case in CASES)
        )

    @property
    def ratio(self) -> float:
        """Cost of an output token over that of an uncached input token."""
        return self.accelerator_s.output.value / self.accelerator_s.input.value

    @cached_property
    def bill(self) -> Bill:
        """One hour's bill. Without a rate the dollars are NaN; seconds and tokens are answered."""
        paid = self.deployment.accelerators * HOUR
        usd = self.rate.usd_per_second if self.rate else float("nan")
        tokens = {name: count * self.requests_per_s * HOUR for name, count in self.tokens_per_request.items()}
        idle = (1.0 - self.utilisation) * paid if self.basis == "usage" else 0.0
        charged = sum(tokens[name] * getattr(self.accelerator_s, name).value for name in TOKENS if tokens[name] > 0)
        return Bill(HOUR, paid, paid * usd, idle * usd, tokens, (paid - charged - idle) * usd)

    @property
    def per_month(self) -> float:
        """The bill of a month, 730.5 hours [$]."""
        return self.deployment.accelerators * MONTH * self._usd()

    @property
    def joules(self) -> PerToken | None:
        """Joules per token at board power; None when none is published [J]."""
        board = self.deployment.accelerator.board_power
        return self.accelerator_s.scaled(board.value) if board else None

    @cached_property
    def receipt(self) -> list[Leaf]:
        """Leaves of the bill, largest first, idle time last; their shares sum to 1."""
        totals: dict[tuple[str, str, str, str], float] = {}
        for e in self.entries["value"]:
            key = (e.token, e.part, e.group, e.name)
            totals[key] = totals.get(key, 0.0) + float(e.seconds)
        paid, step = self.bill.accelerator_s, float(self.operating.state.step_s)
        busy = paid if self.basis == "allocation" else paid * self.utilisation
        found = [
            Leaf("/".join(key), seconds / step * busy / paid, seconds / step * busy, _BOUND[key[1]])
            for key, seconds in totals.items()
            if seconds > 0
        ]
        found.sort(key=lambda leaf: -leaf.seconds)
        return [*found, Leaf("idle", 1.0 - busy / paid, paid - busy, "idle")]

    def parts(self, priced: bool = True) -> dict[tuple[str, str], float]:
        """Cost per million tokens by kind of token and part: dollars, or accelerator-seconds [$ or s]."""
        state, tokens = self.operating.state, self.tokens_per_request
        unit = MILLION * self.deployment.split.tp * self._spread("value") * (self._usd() if priced else 1.0)
        found: dict[tuple[str, str], float] = {}
        for e in self.entries["value"]:
            if tokens[e.token] > 0:
                owed = float(e.seconds) / float(state.finished) / tokens[e.token] * unit
                found[e.token, e.part] = found.get((e.token, e.part), 0.0) + owed
        return found

    def compare(self, other: Cost) -> list[Change]:
        """Why ``other`` costs more or less than this: every part of each kind of token, in both."""
        priced = self.rate is not None and other.rate is not None
        mine, theirs = self.parts(priced), other.parts(priced)
        return [Change(*key, mine.get(key, 0.0), theirs.get(key, 0.0)) for key in sorted({*mine, *theirs})]

    def at(self, *, input: Any = None, output: Any = None, view: str = "fair", who: str = "reader") -> At:
        """What the n-th input or output token costs, in its parts; see `pertoken.attribution.at.at`."""
        from pertoken.attribution.at import at  # not needed for a price

        return at(self, input, output, view, who)

    @property
    def mfu(self) -> float:
        """Useful FLOP over the dense peak of the weights' arithmetic, busy time only."""
        state = self.operating.state
        flop = sum(k.share * op.count * op.work.flop for k in state.kinds for op in k.ops)
        a = self.deployment.accelerator
        return float(flop / state.step_s / a.peak(a.compute_for(self.deployment.precision.of("feedforward"))))


_BOUND = {
    "weights": "memory", "kv": "memory", "activations": "memory", "compute": "compute", "padding": "compute", "links": "link",
    "overhead": "overhead",
}  # fmt: skip


def price_deployment(
    deployment: Deployment,
    workload: Workload,
    rate: Rate | None,
    paid_share: float = 1.0,
    basis: str = "usage",
    moments: Moments | None = None,
    **notes: Any,
) -> Cost:
    """Price a workload on a deployment.

    Parameters
    ----------
    deployment, workload, rate
        What serves, what is sent, and what accelerator time costs (None: seconds only).
    paid_share : float
        Share of paid time in which the deployment works, above 0 and up to 1; only where no request rate is given.
    basis : str
        ``usage`` or ``allocation``.
    moments : Moments, optional
        Averages of the lengths where they differ from the workload's own (speculative decoding).
    **notes
        ``rate_missing``, ``assumed`` and ``scenario`` of `Cost`.
    """
    if basis not in BASES:
        raise PertokenError(f"--basis is {str(basis)[:40]!r}; use one of {', '.join(BASES)}")
    if not 0.0 < paid_share <= 1.0:
        raise PertokenError(f"--utilisation is {paid_share:g}; it must be above 0 and at most 1")
    if paid_share != 1.0 and workload.mode in ("rps", "load"):
        raise PertokenError(
            f"--utilisation {paid_share:g} and --{workload.mode} cannot both be given: a request rate decides how busy the"
            " accelerators are; leave one out"
        )
    return Cost(deployment, workload, operate(deployment, workload, moments), rate, paid_share, basis, **notes)
