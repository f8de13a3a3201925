"""A trace's requests: what each costs against what tariffs charge, and which form of tariff moves least between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pertoken.cost import Cost
from pertoken.market.costs import RequestCosts
from pertoken.market.fairness import Fairness, Group, fairness, largest
from pertoken.market.fit import FORMS, Fitted, ladder
from pertoken.market.offers import Offer
from pertoken.market.tariff import Requests, Tariff
from pertoken.report.market import Row, about_mix, where
from pertoken.report.text import bullets, headline, plain, table, wrap
from pertoken.serving.lengths import Array
from pertoken.units import MILLION, format_money

HONEST = 0.02  # share of revenue moved up to which a tariff is called close to cost


@dataclass(frozen=True)
class Tariffs:
    """Tariffs on the requests of an operating point.

    Parameters
    ----------
    cost : Cost
        Deployment and trace.
    offers : sequence of Offer
        Vendors' tariffs to judge, scaled to the same revenue.
    form : str
        Which fitted tariff is shown by length, where no offer is given.
    written : float
        Share of the uncached input that is written to a vendor's cache, for their prices.
    patient : float or None
        Cost of a request without latency goals over that with them [1].
    assumed : tuple of str
        What was taken for granted.
    """

    cost: Cost
    offers: Sequence[Offer] = ()
    form: str = "flat"
    written: float = 0.0
    patient: float | None = None
    assumed: tuple[str, ...] = ()

    @cached_property
    def costs(self) -> RequestCosts:
        """By position."""
        return RequestCosts(self.cost)

    @property
    def requests(self) -> Requests:
        """Those of the trace."""
        return self.costs.own

    @cached_property
    def cost_of_each(self) -> Array:
        """What each request costs [$]."""
        return self.costs.of(self.requests)

    @cached_property
    def fitted(self) -> list[Fitted]:
        """Fitted tariffs, from few prices to many."""
        return ladder(self.requests, self.cost_of_each)

    @cached_property
    def judged(self) -> dict[str, tuple[Tariff, Fairness]]:
        """Every tariff by name, at equal revenue: offers first, then fitted forms."""
        found: dict[str, tuple[Tariff, Fairness]] = {}
        r = self.requests
        billed = Requests(r.input, r.output, r.cached, (r.input - r.cached) * self.written)
        for offer in self.offers:
            charge = offer.tariff.charge(billed)
            fair = fairness(r, self.cost_of_each, charge)
            found[offer.name] = (offer.tariff.scaled(fair.total / float(charge.sum())), fair)
        for fit in self.fitted:
            found[FORMS[fit.form]] = (fit.tariff, fairness(r, self.cost_of_each, fit.tariff.charge(r)))
        return found

    @property
    def shown(self) -> str:
        """The tariff that is shown by length: the first offer, or the form asked for."""
        return self.offers[0].name if self.offers else FORMS[self.form]

    def text(self) -> str:
        """Plain text."""
        total = float(self.cost_of_each.sum())
        lines = [
            *wrap(headline(self.cost), "", "  "),
            *wrap(f"{self.cost.workload.lengths.origin}: {about_mix(self.requests)} a request", "  ", "  "),
            *wrap(
                f"all requests cost {format_money(total)}, a mean one {format_money(total / self.cost_of_each.size)}; every"
                " tariff below takes in the same", "  ", "  ",
            ),
            "",
            *("  " + line for line in table(self.ladder())),
            "",
            *(line for s in self.sentences() for line in wrap(s, "", "  ")),
        ]  # fmt: skip
        for by in ("input", "output"):
            lines += [
                "",
                f"who pays for whom under {self.shown}, by {by} length",
                *("  " + t for t in table(self.deciles(by), left=())),
            ]
        lines += ["", "assumed (give it to change it)", *bullets(self.assumed)] if self.assumed else []
        return plain("\n".join(lines) + "\n")

    def ladder(self) -> list[list[str]]:
        """A table of tariffs, from few prices to many, its heads first."""
        rows = [
            ["tariff", "moved", "input $/M", "cached", "output", "a request", "beyond", "input", "cached", "output"]
        ]
        for name, (tariff, fair) in self.judged.items():
            rows.append([name, f"{fair.moved:.2%}", *_prices(tariff)])
        used = [i for i in range(len(rows[0])) if i < 3 or any(row[i] for row in rows[1:])]
        return [[row[i] for i in used] for row in rows]

    def deciles(self, by: str) -> list[list[str]]:
        """A table of tenths of requests by ``input`` or ``output`` length under the shown tariff, its heads first."""
        rows = [["tokens", "requests", "share of cost", "share of revenue", "pays over cost", "gives to others"]]
        fair = self.judged[self.shown][1]
        for g in fair.groups(by):
            rows.append(
                [f"{g.low:,.0f} to {g.high:,.0f}", f"{g.requests:,}", f"{g.cost / fair.total:.1%}",
                 f"{g.charge / fair.total:.1%}",
                 f"{g.charge / g.cost - 1.0:+.1%}", f"{g.transfer / fair.total:+.2%}"]
            )  # fmt: skip
        return rows

    def sentences(self) -> list[str]:
        """Whether the tariff is honest for this traffic, who pays for whom, and what more prices buy."""
        fair = self.judged[self.shown][1]
        verdict = "close to what requests cost" if fair.moved <= HONEST else "not what requests cost"
        receives, gives = largest(fair.groups("input"))
        found = [
            f"{self.shown if self.offers else self.shown.capitalize()}: {fair.moved:.2%} of revenue is paid by some requests for"
            f" others, so it is {verdict} in this traffic. By input length, {_group(gives)} pay"
            f" {gives.charge / gives.cost - 1.0:+.1%} of their cost, and {_group(receives)}"
            f" {receives.charge / receives.cost - 1.0:+.1%}."
        ]
        moved = {fit.form: fit.moved for fit in self.fitted}
        steps = [(FORMS[b.form], moved[_before(b.form, moved)] - b.moved) for b in self.fitted if b.form != "one"]
        gains = "; ".join(
            f"{name} {max(gain, 0.0):.2%}" for name, gain in steps
        )  # the fit is within a millionth of the least
        found.append(f"What each price buys, in share of revenue no longer moved: {gains}.")
        if self.patient and self.requests.input.size > 1:
            found.append(
                f"A request that may wait costs {self.patient:.0%} of one that may not, so a batch discount of"
                f" {1 - self.patient:.0%} is cost. Were every second request to wait for half the price, as most vendors sell it,"
                f" {self.batch_moved():.2%} of revenue would move."
            )
        found.append(
            "moved: half the sum of what requests pay beyond or below their cost, over the revenue. A cost is that of a request's"
            " own positions in the batch of the operating point, with idle time spread in proportion."
        )
        return found

    def batch_moved(self, discount: float = 0.5) -> float:
        """Share of revenue moved if every second request waits and pays less by ``discount``, under the shown tariff [1]."""
        waits = np.arange(self.requests.input.size) % 2 == 1
        tariff = replace(self.judged[self.shown][0], batch=1.0 - discount)
        cost = np.where(waits, self.cost_of_each * (self.patient or 1.0), self.cost_of_each)
        return fairness(self.requests, cost, tariff.charge(self.requests, waits)).moved

    def document(self) -> Row:
        """Plain data."""
        kinds = self.costs.by_kind(self.requests)
        return {
            "view": "tariffs",
            "trace": self.cost.workload.lengths.origin,
            "requests": int(self.cost_of_each.size),
            "cost": {
                "usd": float(self.cost_of_each.sum()), **{name: float(v.sum()) for name, v in kinds.items()},
                "bill_usd": self.costs.usd_per_request * self.cost_of_each.size, "position_factors": self.costs.factors,
            },
            "tariffs": [
                {"tariff": name, "moved": fair.moved, **_tariff(tariff),
                 "groups": {by: [_group_document(g) for g in fair.groups(by)] for by in ("input", "output")}}
                for name, (tariff, fair) in self.judged.items()
            ],
            "shown": self.shown,
            "patient_share": self.patient,
            "batch_at_half_price_moved": self.batch_moved() if self.patient else None,
            "assumed": list(self.assumed),
            "scenario": dict(self.cost.scenario),
        }  # fmt: skip

    def rows(self) -> list[Row]:
        """A flat line for each tariff and group."""
        case = where(self.cost.deployment.model.name, self.cost)
        return [
            {**case, "tariff": name, "moved": fair.moved, "by": by, **_group_document(g)}
            for name, (_, fair) in self.judged.items() for by in ("input", "output") for g in fair.groups(by)
        ]  # fmt: skip

    def chart(self) -> Any:
        """Transfers by length and Lorenz curves."""
        from pertoken.report.tariff_charts import PICTURES

        return PICTURES["tariffs"].chart(self)


def _before(form: str, known: Mapping[str, float]) -> str:
    """The form that has one price less."""
    chain = {"flat": "one", "cached": "flat", "fee": "cached", "cliff": "cached", "marginal": "cached"}
    found = chain[form]
    return found if found in known else "flat"


def _group(g: Group) -> str:
    return f"requests of {g.low:,.0f} to {g.high:,.0f} tokens"


def _group_document(g: Group) -> Row:
    return {
        "low": g.low,
        "high": g.high,
        "requests": g.requests,
        "cost_usd": g.cost,
        "charge_usd": g.charge,
        "transfer_usd": g.transfer,
    }


def _usd(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else format_money(value * MILLION)


def _prices(tariff: Tariff) -> list[str]:
    base = tariff.base
    fee = format_money(base.request) if base.request > 1e-9 else ""
    first = [_usd(base.input), _usd(base.cached), _usd(base.output), fee]
    if not tariff.tiers:
        return [*first, "", "", "", ""]
    tier = tariff.tiers[0]
    return [*first, f"{tier.above:,.0f}", _usd(tier.prices.input), _usd(tier.prices.cached), _usd(tier.prices.output)]


def _tariff(tariff: Tariff) -> Row:
    def prices(p: Any) -> Row:
        found = {n: getattr(p, n) for n in ("input", "cached", "written", "output")}
        return {n: v * MILLION if v is not None else None for n, v in found.items()} | {"request_usd": p.request}

    return {
        "prices": prices(tariff.base), "marginal": tariff.marginal,
        "tiers": [{"above": t.above, **prices(t.prices)} for t in tariff.tiers],
    }  # fmt: skip
