"""One offer against one deployment: what its price implies, where its tiers begin, and when serving oneself is cheaper."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from pertoken.cost import Cost
from pertoken.market.breakeven import SelfHosting
from pertoken.market.compare import Compared, cost_per_request
from pertoken.market.implied import Region, TierCheck, tiers
from pertoken.market.tariff import Requests
from pertoken.report.market import OTHERS, Row, about_mix, elsewhere, offer_document, per_million, where, whole
from pertoken.report.text import bullets, headline, plain, table, wrap
from pertoken.units import DAY, HOUR, MONTH, format_money

MONTH_DAYS = MONTH / DAY


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{100 * share:.2g}%"


@dataclass(frozen=True)
class Bill:
    """Requests that a user sends, and what an offer charges for them.

    Parameters
    ----------
    per_day : float
        Requests [request/day].
    peak : float
        Requests of the busiest day over a mean day's [1].
    origin : str
        Where they come from.
    """

    per_day: float
    peak: float = 1.0
    origin: str = ""


@dataclass(frozen=True)
class Against:
    """One offer held against one deployment.

    Parameters
    ----------
    cost : Cost
        The deployment.
    compared : Compared
        The offer at the mix.
    mix : Requests
        The requests.
    hosting : SelfHosting
        Machines and what they serve.
    bill : Bill or None
        What a user sends.
    source : str
        The price list, and the day.
    assumed : tuple of str
        What was taken for granted.
    """

    cost: Cost
    compared: Compared
    mix: Requests
    hosting: SelfHosting
    bill: Bill | None
    source: str
    assumed: tuple[str, ...] = ()

    @property
    def region(self) -> Region:
        """Cost against batch."""
        return Region(self.cost, self.compared.usd_per_request)

    @property
    def price(self) -> float:
        """Of a mean request [$]."""
        return self.compared.usd_per_request

    def about(self) -> list[str]:
        """What the offer charges, and what a mean request pays and costs."""
        base, row = self.compared.offer.tariff.base, self.compared
        usd = cost_per_request(self.cost)
        cached = f", cached {per_million(base.cached)}" if base.cached is not None else ""
        since = f" since {row.offer.since}" if row.offer.since else ""
        margin = row.margin
        return [
            f"{row.offer.name}{since}: input {per_million(base.input)}{cached}, output {per_million(base.output)} per million"
            f" ({self.source})",
            f"a mean request of {about_mix(self.mix, [self.compared.offer])} pays {format_money(self.price)} and costs"
            f" {format_money(usd.value)}{elsewhere(self.cost, usd.value)}"
            f" here ({format_money(usd.low)} to {format_money(usd.high)})"
            + (f": a margin of {margin.value:+.0%}" if margin else ""),
        ]

    def text(self) -> str:
        """Plain text."""
        lines = [
            *wrap(headline(self.cost), "", "  "),
            *(line for s in self.about() for line in wrap(s, "  ", "  ")),
            "",
            "what the price implies, were it served on this machine at cost",
            *("  " + line for line in table(self.implied(), left=())),
            *(line for s in (*self.implied_sentences(), *self.tier_sentences()) for line in wrap(s, "  ", "    ")),
            "",
            "serving it yourself",
            *(line for s in self.hosting_sentences() for line in wrap(s, "  ", "    ")),
            "",
            *wrap(OTHERS, "", "  "),
        ]  # fmt: skip
        lines += ["", "assumed (give it to change it)", *bullets(self.assumed)] if self.assumed else []
        return plain("\n".join(lines) + "\n")

    def implied(self) -> list[list[str]]:
        """A table by batch, its heads first."""
        heads = ["batch", "a request costs", "utilisation needed", "rent implied $/accelerator-hour"]
        rows = [
            [f"{r['batch']:,.0f}", format_money(r["usd"]), f"{r['utilisation']:.0%}" if r["utilisation"] <= 1 else "over 100%",
             format_money(r["usd_per_hour"])]
            for r in self.region.at()
        ]  # fmt: skip
        return [heads, *rows]

    def implied_sentences(self) -> list[str]:
        """What batch and ratio the price implies."""
        region, rate, offer = self.region, self.cost.rate, self.compared.offer
        assert rate
        least, (low, high) = region.least_batch(), region.ratios
        found = [
            f"At {format_money(rate.usd_per_second * HOUR)} per accelerator-hour the price pays for batches of"
            f" {math.ceil(least):,} and more, if never idle."
            if least
            else f"At {format_money(rate.usd_per_second * HOUR)} per accelerator-hour the price pays for no batch up to"
            f" {region.batch[-1]:,.0f}, the most that fit: its seller has a lower rate, other machines or formats, or a loss."
        ]
        if offer.ratio > 0:
            at = [f"{b:,.0f} ({region.concurrency(b):,.0f} requests in flight)" for b in region.ratio_at(offer.ratio)]
            where = f"at a batch of {' and of '.join(at)}" if at else f"nowhere: here it is {low:.1f} to {high:.1f}"
            found.append(f"Its output costs {offer.ratio:.1f} times its input; costs have that ratio {where}.")
        return found

    def tier_sentences(self) -> list[str]:
        """The offer's context tiers against the cost of context."""
        checks = self.tiers
        if not checks:
            return ["It has no context tiers."]
        found = [
            f"Its prices rise {c.price_step:.3g} times above {c.above:,.0f} input tokens, where a token of a prompt costs"
            + (f" {c.cost_step:.2f} times one of the traffic's mean length here." if c.cost_step else
               " something nobody can tell here: the model's context ends before.")
            for c in checks
        ]  # fmt: skip
        limit, single, doubles = (
            self.cost.deployment.model.context_limit, checks[0].position_doubles_at, checks[0].doubles_at,
        )  # fmt: skip
        nowhere = f"nowhere up to the limit of {limit:,} tokens"
        return [
            *found,
            f"Here the n-th input token costs twice the first {f'from position {single:,} on' if single else nowhere}, and"
            f" a prompt's mean token twice the usual one {f'from {doubles:,} tokens on' if doubles else nowhere}.",
        ]

    @property
    def tiers(self) -> list[TierCheck]:
        """The offer's tiers against the cost of context."""
        return tiers(self.cost, self.compared.offer)

    def hosting_sentences(self) -> list[str]:
        """When serving these requests is cheaper than buying them."""
        h, even = self.hosting, self.hosting.break_even(self.price)
        need = h.least_utilisation(self.price)
        machine = f"{self.cost.deployment.accelerators} x {self.cost.deployment.accelerator.name}"
        lines = [
            f"A machine of {machine} costs {format_money(h.usd_per_day)} a day and serves up to {whole(h.most_per_day)} requests"
            + (
                f" within the goals, {whole(h.per_machine)} at utilisation {h.used:.2g}."
                if h.used < 1
                else " within the goals."
            )
        ]
        if even is None:
            why = (
                f"a machine would have to work {need:.0%} of its time to be cheaper, and works {h.used:.0%} at most"
                if math.isfinite(need)
                else "electricity alone costs more"
            )
            lines.append(f"The API wins at every volume: {why}.")
        else:
            lines.append(
                f"From {whole(even.requests_per_day)} requests a day on, {even.machines} machine{'s' * (even.machines != 1)}"
                f" ({h.spare} of them spare) cost{'s' * (even.machines == 1)} less than the API; they work {even.utilisation:.0%}"
                f" of paid time there.{self._without()} Below, the API wins."
            )
        return lines + self._bill()

    def _without(self) -> str:
        """The break-even without spare machines."""
        alone = replace(self.hosting, spare=0).break_even(self.price)
        return f" Without a spare one it is {whole(alone.requests_per_day)}." if alone and self.hosting.spare else ""

    def _bill(self) -> list[str]:
        if self.bill is None:
            return []
        b = self.own_bill
        n = b["machines"]
        wins = "The API wins" if b["api_usd_per_month"] <= b["self_usd_per_month"] else "Serving it yourself wins"
        return [
            f"{self.bill.origin}: {whole(self.bill.per_day)} requests a day cost {format_money(b['api_usd_per_month'])} a month"
            f" at the API. Served here they take {n} machine{'s' * (n != 1)} ({self.hosting.spare} spare),"
            f" {format_money(b['self_usd_per_month'])} a month, working {_percent(b['utilisation'])} of the time. {wins}, by"
            f" {format_money(abs(b['api_usd_per_month'] - b['self_usd_per_month']))} a month."
        ]

    @property
    def own_bill(self) -> Row:
        """A user's requests at the offer and here, a month of 30.4 days [$]."""
        assert self.bill
        peak = self.bill.per_day * self.bill.peak
        machines = self.hosting.machines(peak)
        return {
            "requests_per_day": self.bill.per_day,
            "peak_over_mean_day": self.bill.peak,
            "api_usd_per_month": self.bill.per_day * self.price * MONTH_DAYS,
            "self_usd_per_month": self.hosting.usd(self.bill.per_day, peak) * MONTH_DAYS,
            "machines": machines,
            "utilisation": self.bill.per_day / (machines * self.hosting.most_per_day),
            "origin": self.bill.origin,
        }

    def document(self) -> Row:
        """Plain data."""
        even, region, usd = self.hosting.break_even(self.price), self.region, cost_per_request(self.cost)
        need = self.hosting.least_utilisation(self.price)
        return {
            "view": "offer",
            **offer_document(self.compared),
            "source": self.source,
            "cost_per_request": usd.as_dict(),
            "margin": self.compared.margin.as_dict() if self.compared.margin else None,
            "implied": {
                "batches": region.at(),
                "least_batch": region.least_batch(),
                "ratio_at": [
                    {"batch": b, "concurrency": region.concurrency(b)}
                    for b in (region.ratio_at(self.compared.offer.ratio) if self.compared.offer.ratio > 0 else [])
                ],
                "ratios": region.ratios,
            },
            "context_tiers": [vars(check) for check in self.tiers],
            "self_hosting": {
                "usd_per_machine_day": self.hosting.usd_per_day,
                "usd_per_request_more": self.hosting.usd_per_request,
                "most_requests_per_day": self.hosting.most_per_day,
                "utilisation_given": self.hosting.used,
                "spare": self.hosting.spare,
                "utilisation_needed": need,
                "break_even": vars(even) if even else None,
                "winner": None if even else "api",
            },
            "bill": self.own_bill if self.bill else None,
            "assumed": list(self.assumed),
            "scenario": dict(self.cost.scenario),
        }

    def rows(self) -> list[Row]:
        """A flat line for each batch."""
        case = where(self.cost.deployment.model.name, self.cost)
        return [
            {**case, "offer": self.compared.offer.name, "usd_per_request": self.price, **row}
            for row in self.region.at()
        ]

    def chart(self) -> Any:
        """The region of batch, utilisation and rate at which cost is the price."""
        from pertoken.report.market_charts import PICTURES

        return PICTURES["implied"].chart(self)
