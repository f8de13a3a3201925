"""Offers of one model side by side, at the user's own mix of tokens, against what they would cost here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pertoken.cost import CASES, Cost
from pertoken.market.offers import THROUGH, Offer
from pertoken.market.tariff import Requests, from_lengths
from pertoken.money.figures import Interval


@dataclass(frozen=True)
class Compared:
    """One offer at a mix of tokens.

    Parameters
    ----------
    offer : Offer
        What is charged.
    usd_per_request : float
        Of a mean request, tiers request by request [$].
    usd_per_token : float
        The same over all its tokens, cached ones included [$].
    margin : Interval or None
        Share of the price that is not cost, low to high by the cost's interval; None without a cost [1].
    """

    offer: Offer
    usd_per_request: float
    usd_per_token: float
    margin: Interval | None = None


def mix_of(cost: Cost, written: float | None = None) -> Requests:
    """The requests of an operating point as a vendor counts them.

    Parameters
    ----------
    cost : Cost
        The operating point.
    written : float, optional
        Share of the uncached input that is written to the vendor's cache; all of it where some input is cached, if None.
    """
    workload = cost.workload
    cached = float(cost.operating.moments.cached) > 0
    return from_lengths(workload.lengths, workload.cached, float(cached) if written is None else written)


def cost_per_request(cost: Cost) -> Interval:
    """The bill over its requests, idle time included [$].

    A slower engine makes each request dearer where the utilisation is given, idle time with it; where the request rate is given,
    it is busier and the bill is the same.
    """
    usd = cost.bill.usd / (cost.requests_per_s * cost.bill.period_s)
    if cost.workload.mode in ("rps", "load"):
        return Interval(usd, usd, usd)
    each = cost.per_request
    return Interval(*(usd * getattr(each, case) / each.value for case in CASES))


def compared(offer: Offer, mix: Requests, cost: Interval | None = None) -> Compared:
    """An offer at a mix, with its margin over a cost per request [$]."""
    price = offer.tariff.mean(mix)
    margin = None
    if cost is not None and price > 0:
        margin = Interval(1.0 - cost.value / price, 1.0 - cost.high / price, 1.0 - cost.low / price)
    return Compared(offer, price, price / float(mix.tokens.mean()), margin)


def sorted_by_price(offers: Sequence[Offer], mix: Requests, cost: Interval | None = None) -> list[Compared]:
    """All offers at a mix, the cheapest first."""
    return sorted((compared(o, mix, cost) for o in offers), key=lambda c: (c.usd_per_request, c.offer.name))


def distinct(offers: Sequence[Offer]) -> list[Offer]:
    """Without what a router passes on of a host that lists these weights itself."""
    own = {offer.provider for offer in offers if not offer.provider.startswith(THROUGH)}
    own |= {name.split("-")[0] for name in own}
    return [o for o in offers if not (o.provider.startswith(THROUGH) and o.host.split("-")[0] in own)]


def spread(rows: Sequence[Compared]) -> float:
    """Dearest over cheapest of those that charge at all [1]."""
    paid = [row.usd_per_request for row in rows if row.usd_per_request > 0]
    return max(paid) / min(paid) if paid else float("nan")
