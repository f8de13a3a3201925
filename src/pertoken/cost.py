"""The answer: what input, cached and output tokens cost, adding up to the bill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pertoken.attribution.ledger import TOKENS, Entry, by_token, ledgers
from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.explain.summary import Explained
from pertoken.money.energy import Draw, Joules, board
from pertoken.money.figures import CASES, KINDS, Bill, Change, Interval, Leaf, PerToken
from pertoken.money.meter import Meter
from pertoken.money.rate import Rate
from pertoken.money.site import Site
from pertoken.serving.lengths import Moments
from pertoken.serving.operating import Operating, operate
from pertoken.serving.steady import Steady, steady
from pertoken.serving.workload import Workload
from pertoken.units import HOUR, MILLION, MONTH

if TYPE_CHECKING:
    from pertoken.attribution.at import At

BASES = ("usage", "allocation")
__all__ = ["BASES", "CASES", "Bill", "Change", "Cost", "Interval", "Leaf", "PerToken", "price_deployment"]


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
    draw : Draw or None
        What an accelerator draws; None for board power all the time that it works.
    site : Site
        Host, cooling, grid and water around the accelerators.
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
    draw: Draw | None = None
    site: Site = Site()  # noqa: RUF009

    @cached_property
    def entries(self) -> dict[str, list[Entry]]:
        """Ledger of the mean step by case: 90% of measured steps took between low and high, or the roofline's bounds."""
        return ledgers(self.operating.state, self.deployment.interval("tpot"))

    @cached_property
    def utilisation(self) -> float:
        """Busy accelerator-seconds over paid ones."""
        return float(self.operating.state.busy) * self.operating.lanes_busy * self.paid_share

    @cached_property
    def requests_per_s(self) -> float:
        """Requests finished per second of paid time [1/s]."""
        state = self.operating.state
        return self.deployment.split.lanes * self.utilisation * float(state.finished / state.step_s)

    @cached_property
    def tokens_per_request(self) -> dict[str, float]:
        """Mean tokens of a request by kind [token]."""
        m = self.operating.moments
        return dict(zip(TOKENS, (float(m.fresh), float(m.cached), float(m.output)), strict=True))

    @cached_property
    def accelerator_s(self) -> PerToken:
        """Accelerator-seconds charged to one token of each kind [s]."""
        state, split = self.operating.state, self.deployment.split
        tokens = self.tokens_per_request
        owed: dict[str, list[float]] = {name: [] for name in KINDS}
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

    @cached_property
    def _lone(self) -> tuple[Steady, float]:
        """The state in which a hundredth of the input is cached, and its cached tokens a request."""
        own = self.operating.moments
        moments = replace(self.workload.lengths.moments(0.01), width=own.width, accepted=own.accepted)
        state = self.operating.state
        return steady(self.deployment, moments, state.finished, state.pace), float(moments.cached)

    @cached_property
    def _lone_entries(self) -> dict[str, list[Entry]]:
        """What cached tokens owe in that state, by case."""
        return ledgers(self._lone[0], self.deployment.interval("tpot"), "cached")

    def _lone_cached(self, case: str) -> float:
        """Accelerator-seconds of a first cached token where the traffic has none [s]."""
        state, cached = self._lone
        if cached <= 0:  # prompts of one token have nothing to cache
            return 0.0
        again = float(by_token(self._lone_entries[case])["cached"])
        return self.deployment.split.tp * self._spread(case) * again / (float(state.finished) * cached)

    @cached_property
    def cached_increment(self) -> float | None:
        """What having cached tokens in the context adds to all others, per cached token; does not add up [$]."""
        cached = self.tokens_per_request["cached"]
        if cached <= 0 or self.rate is None:
            return None
        m = self.operating.moments
        contexts = tuple(max(0.0, c - m.cached) for c in m.contexts)
        prior = max(0.0, float(m.prior - m.cached))
        without = replace(m, input=m.fresh, prior=prior, contexts=contexts, whole=m.whole - m.cached)
        state = self.operating.state
        bare = steady(self.deployment, without, state.finished, state.pace)
        more = float(state.step_s / state.finished - bare.step_s / bare.finished) * self.deployment.split.tp
        return more / cached * self._usd()

    def _usd(self) -> float:
        if self.rate is None:
            raise PertokenError(self.rate_missing)
        return self.rate.usd_per_second

    @cached_property
    def per_million(self) -> PerToken:
        """Dollars per million tokens [$]. Raises a sentence when there is no rate."""
        return self.usd.scaled(MILLION)

    @cached_property
    def usd(self) -> PerToken:
        """Dollars per token: what is paid by the second, and electricity by the joule [$]."""
        self._usd()
        assert self.rate
        joules = self.facility_joules
        if not self.rate.usd_per_joule or joules is None:
            return self.accelerator_s.scaled(self.rate.usd_per_second)
        fixed = self.accelerator_s.scaled(self.rate.fixed_usd_per_second)
        return fixed.plus(joules.scaled(self.rate.usd_per_joule))

    @property
    def per_request(self) -> Interval:
        """Dollars charged to the tokens of a mean request [$]."""
        return self._of_request(self.usd)

    @property
    def accelerator_s_per_request(self) -> Interval:
        """Accelerator-seconds charged to a mean request [s]."""
        return self._of_request(self.accelerator_s)

    def _of_request(self, each: PerToken) -> Interval:
        """A figure per token, summed over the tokens of a mean request."""
        t = self.tokens_per_request
        return Interval(
            *(sum(t[name] * getattr(getattr(each, name), case) for name in TOKENS if t[name] > 0) for case in CASES)
        )

    @property
    def ratio(self) -> float:
        """Cost of an output token over that of an uncached input token."""
        each = self.usd if self.rate else self.accelerator_s
        return each.output.value / each.input.value

    @cached_property
    def bill(self) -> Bill:
        """One hour's bill. Without a rate the dollars are NaN; seconds and tokens are answered."""
        paid = self.deployment.accelerators * HOUR
        tokens = {name: count * self.requests_per_s * HOUR for name, count in self.tokens_per_request.items()}
        if self.rate is None:
            return Bill(HOUR, paid, math.nan, math.nan, tokens, math.nan)
        idle_s, idle_j = self.idle_s, self.idle_joules
        busy_j = self.meter.busy_watts * self.site.factor * (paid - idle_s) if self.meter else 0.0
        q, fixed = self.rate.usd_per_joule, self.rate.fixed_usd_per_second
        usd, idle = paid * fixed + q * (busy_j + idle_j), idle_s * fixed + q * idle_j
        idle = idle if self.basis == "usage" else 0.0
        charged = sum(tokens[name] * getattr(self.usd, name).value for name in TOKENS if tokens[name] > 0)
        return Bill(HOUR, paid, usd, idle, tokens, usd - charged - idle)

    @property
    def idle_share(self) -> float:
        """Share of the bill that idle time costs, whoever pays it; of paid seconds without a rate [1]."""
        if self.rate is None:
            return 1.0 - self.utilisation
        idle = self.idle_s * self.rate.fixed_usd_per_second + self.rate.usd_per_joule * self.idle_joules
        return idle / self.bill.usd

    @property
    def idle_s(self) -> float:
        """Idle accelerator-seconds of an hour, whoever pays for them [s]."""
        return (1.0 - self.utilisation) * self.deployment.accelerators * HOUR

    @property
    def per_month(self) -> float:
        """The bill of a month, 730.5 hours [$]."""
        self._usd()
        return self.bill.usd * MONTH / HOUR

    @cached_property
    def meter(self) -> Meter | None:
        """Energy of the operating point; None when no power is known."""
        draw = self.draw or board(self.deployment.accelerator)
        return Meter(self.deployment, self.operating.state, draw, self.site) if draw else None

    @cached_property
    def joules(self) -> PerToken | None:
        """Joules of the accelerators per token, shared as the money is; None when no power is known [J]."""
        if self.meter is None:
            return None
        share = 0.0 if self.basis == "usage" else 1.0 - self.utilisation
        idle_s = {name: getattr(self.accelerator_s, name).value * share for name in TOKENS}
        low, high = self.meter.draw.interval
        if (low, high) == (1.0, 1.0):  # watts as given or published: joules are as uncertain as the seconds
            low, high = self.deployment.interval("tpot") or (1.0, 1.0)
        found = self.meter.per_token(self.tokens_per_request, idle_s, self._lone_joules())
        return PerToken(**{name: Interval(v, v * low, v * high) for name, v in found.items()})

    def _lone_joules(self) -> float:
        """Joules of a first cached token where the traffic has none [J]."""
        assert self.meter
        if self.tokens_per_request["cached"] > 0 or self._lone[1] <= 0:
            return 0.0
        return replace(self.meter, state=self._lone[0]).by_token["cached"] / self._lone[1]

    @cached_property
    def facility_joules(self) -> PerToken | None:
        """Joules at the facility's meter per token: host and cooling included [J]."""
        return self.joules.scaled(self.site.factor) if self.joules else None

    @property
    def idle_joules(self) -> float:
        """Joules at the facility's meter that idle accelerators draw in an hour [J]."""
        return self.idle_s * self.meter.idle_watts * self.site.factor if self.meter else 0.0

    @cached_property
    def grams(self) -> PerToken | None:
        """CO2e per token: electricity, and the making of the machines where asked for; None when unknown [g]."""
        joules, each = self.facility_joules, self.site.grams_per_joule
        if joules is None or each is None:
            return None
        return joules.scaled(each).plus(self.accelerator_s.scaled(self.site.embodied_grams_per_second))

    @cached_property
    def receipt(self) -> list[Leaf]:
        """Leaves of the bill, largest first, idle time last; their shares sum to 1."""
        totals: dict[tuple[str, str, str, str], list[float]] = {}
        for e in self.entries["value"]:
            totals.setdefault((e.token, e.part, e.group, e.name), [0.0, 0.0])[0] += float(e.seconds)
        for j in self._priced_joules:
            totals.setdefault((j.token, j.part, j.group, j.name), [0.0, 0.0])[1] += float(j.joules)
        paid, step = self.bill.accelerator_s, float(self.operating.state.step_s)
        busy = paid if self.basis == "allocation" else paid * self.utilisation
        worked = paid * self.utilisation
        q, fixed, bill = 0.0, 1.0, paid
        if self.rate and self.rate.usd_per_joule:
            q, fixed, bill = self.rate.usd_per_joule * self.site.factor, self.rate.fixed_usd_per_second, self.bill.usd
        spread = 0.0 if self.basis == "usage" else q * self.idle_joules / self.site.factor
        found = [
            Leaf(
                "/".join(key),
                (seconds / step * (busy * fixed + spread) + joules / step * worked * q) / bill,
                seconds / step * busy,
                _BOUND[key[1]],
            )
            for key, (seconds, joules) in totals.items()
            if seconds > 0 or joules > 0
        ]
        found.sort(key=lambda leaf: -leaf.seconds)
        idle = self.bill.idle_usd / self.bill.usd if q else 1.0 - busy / paid
        return [*found, Leaf("idle", idle, paid - busy, "idle")]

    @property
    def _priced_joules(self) -> list[Joules]:
        """Energy of the mean step by who owes it, where the rate pays for it by the joule."""
        return self.meter.entries if self.meter and self.rate and self.rate.usd_per_joule else []

    def parts(self, priced: bool = True) -> dict[tuple[str, str], float]:
        """Cost per million tokens by kind of token and part: dollars, or accelerator-seconds [$ or s]."""
        state, tokens = self.operating.state, self.tokens_per_request
        unit = MILLION * self.deployment.split.tp / float(state.finished)
        second, joule = self._spread("value"), 0.0
        if priced:
            self._usd()
            assert self.rate
            joule = self.rate.usd_per_joule * self.site.factor
            second *= self.rate.fixed_usd_per_second
            if joule and self.basis == "allocation" and self.meter:
                second += joule * self.meter.idle_watts * (1.0 / self.utilisation - 1.0)
        owed = [(e.token, e.part, float(e.seconds) * second) for e in self.entries["value"]]
        if priced:
            owed += [(j.token, j.part, float(j.joules) * joule) for j in self._priced_joules]
        found: dict[tuple[str, str], float] = {}
        for token, part, amount in owed:
            if tokens[token] > 0:
                found[token, part] = found.get((token, part), 0.0) + amount * unit / tokens[token]
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
        ``rate_missing``, ``assumed``, ``scenario``, ``draw`` and ``site`` of `Cost`.
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
    found = Cost(deployment, workload, operate(deployment, workload, moments), rate, paid_share, basis, **notes)
    if rate is None or rate.usd_per_joule == 0.0 or found.meter is None:
        return found  # no price that depends on what is drawn
    priced = replace(found, rate=rate.drawing(found.meter.busy_watts * found.site.factor))
    vars(priced)["meter"] = found.meter  # of no rate, and read already
    return priced
