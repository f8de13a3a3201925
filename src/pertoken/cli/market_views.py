"""What ``pertoken market`` shows of each case: offers side by side, one offer closely, tariffs on a trace, the whole list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pertoken.catalog import files, offers, traces
from pertoken.errors import PertokenError
from pertoken.market.breakeven import self_hosting
from pertoken.market.compare import compared, cost_per_request, mix_of, sorted_by_price
from pertoken.report.market import Hosts
from pertoken.report.market_offer import Against, Bill
from pertoken.scenario import price
from pertoken.units import format_money

if TYPE_CHECKING:
    import datetime as dt

    from pertoken.catalog.usage import Usage
    from pertoken.cost import Cost
    from pertoken.market.offers import Offer
    from pertoken.market.tariff import Requests
    from pertoken.report.market import View

DAYS = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}
_SPEND = re.compile(r"\s*\$?\s*([0-9][0-9_,]*\.?[0-9]*)\s*([kKmM]?)\s*/\s*([a-zA-Z]+)\s*")


@dataclass(frozen=True)
class Asked:
    """What was asked, besides the knobs.

    Parameters
    ----------
    day : datetime.date
        Of the prices.
    own : list of Offer
        A user's own.
    offers : tuple of str
        Names of those to look at closely.
    spend, requests : float or None
        Dollars, or requests, a day [$/day, request/day].
    usage : Usage or None
        Tokens by day.
    spare : int
        Spare machines.
    written : float or None
        Share of the uncached input written to a vendor's cache.
    form : str
        Which fitted tariff is shown by length.
    """

    day: dt.date
    own: list[Offer]
    offers: tuple[str, ...]
    spend: float | None
    requests: float | None
    usage: Usage | None
    spare: int
    written: float | None
    form: str

    @property
    def bill(self) -> bool:
        """Whether a user's own consumption was told."""
        return self.spend is not None or self.requests is not None or self.usage is not None

    @property
    def source(self) -> str:
        """The list and the day."""
        return f"{offers.version()}, prices of {self.day}"


def parse_spend(text: str | None) -> float | None:
    """Read ``4000/month`` as dollars a day.

    Raises
    ------
    PertokenError
        When it is none, or in another currency.
    """
    if text is None:
        return None
    found = _SPEND.fullmatch(text)
    if not found or found[3].lower().rstrip("s") not in DAYS:
        raise PertokenError(
            f"--spend is {text[:40]!r}; write dollars per {', '.join(DAYS)}, such as 4000/month (convert other currencies)"
        )
    value = float(found[1].replace("_", "").replace(",", "")) * {"": 1.0, "k": 1e3, "m": 1e6}[found[2].lower()]
    if not 0.0 < value <= 1e12:
        raise PertokenError(f"--spend is {text[:40]!r}; it must be above 0 and at most $1,000,000,000,000")
    return value / DAYS[found[3].lower().rstrip("s")]


def share_of(name: str, value: float | None, low: float, high: float) -> float | None:
    if value is not None and not low <= value <= high:
        raise PertokenError(f"{name} is {value:g}; it must be from {low:g} to {high:,.0f}")
    return value


def views_of(cases: Sequence[Mapping[str, Any]], asked: Asked, traced: bool) -> list[View]:
    """What is shown of each case."""
    found: list[View] = []
    for case in cases:
        closed = files.find_name("models", str(case["model"])) is None and _unpublished(case, asked)
        if closed:
            found.append(closed)
        elif traced and not asked.bill:
            found.append(_tariffs(case, asked))
        elif asked.offers or asked.bill:
            found += _against(case, asked)
        else:
            found.append(_hosts(case, asked))
    return found


def _unpublished(case: Mapping[str, Any], asked: Asked) -> View | None:
    """Offers of a model whose weights are not published, without a cost; None when it is a config file of the user's."""
    from pertoken.catalog.models import is_closed, load_checkpoint
    from pertoken.market.tariff import from_lengths
    from pertoken.serving.trace import lengths_from_text

    model = str(case["model"])
    if not is_closed(model):
        try:
            load_checkpoint(model)
        except PertokenError as error:
            try:
                offers.named(model, asked.day)
            except PertokenError:
                raise error from None
        else:
            return None
    if asked.bill or asked.offers:
        raise PertokenError(
            f"{model[:60]!r}: weights unpublished, so it cannot be served here; name an open MODEL to hold the offer against"
        )
    if "trace" in case:
        raise PertokenError(
            f"{model[:60]!r}: weights unpublished, so there is no cost to hold a tariff against; give an open model with --offer"
        )
    if ("input" in case) != ("output" in case):
        raise PertokenError(f"{model[:60]!r} has no weights here, so both --input and --output are needed, or neither")
    if "input" in case:
        lengths = lengths_from_text(str(case["input"]), str(case["output"]))
    else:
        lengths = traces.load_lengths(str(case.get("trace", traces.DEFAULT)))
    cached = float(case.get("cached", 0.0))
    written = asked.written if asked.written is not None else float(cached > 0)
    mix = from_lengths(lengths, cached, written)
    mine = [o for o in asked.own if o.model == model]
    assumed = () if "input" in case else (f"lengths: {lengths.origin}",)
    return Hosts(
        model, sorted_by_price(mine + offers.named(model, asked.day), mix), mix, asked.source, assumed=assumed,
        missing="weights unpublished, so its cost cannot be computed from shapes; these are its offers alone",
    )  # fmt: skip


def _priced(case: Mapping[str, Any], asked: Asked) -> tuple[Cost, Requests, tuple[str, ...]]:
    """The cost, the mix as a vendor counts it, and what was assumed."""
    cost = price(**case)
    mix = mix_of(cost, asked.written)
    notes = [f"{asked.spare} spare machine{'s' * (asked.spare != 1)} (--redundancy)"]
    if asked.written is None and float(cost.operating.moments.cached) > 0:
        notes.append(
            "all input that is not cached is written to the vendor's cache, where that has a price (--written)"
        )
    return cost, mix, (*notes, *cost.assumed)


def _hosts(case: Mapping[str, Any], asked: Asked) -> View:
    found = offers.hosts(str(case["model"]), asked.day, asked.own)
    if not found:
        raise PertokenError(
            f"no offer of the weights of {str(case['model'])[:60]!r} is known to {offers.version()}; name one with --offer"
            " PROVIDER/MODEL, or give --prices FILE"
        )
    cost, mix, assumed = _priced(case, asked)
    if cost.rate is None:
        raise PertokenError(cost.rate_missing)
    rows = sorted_by_price(found, mix, cost_per_request(cost))
    name = cost.deployment.model.name
    return Hosts(
        name, rows, mix, asked.source, cost, self_hosting(cost, asked.spare), _patient(case, cost), assumed=assumed
    )


def _patient(case: Mapping[str, Any], cost: Cost) -> float | None:
    """Cost of a request without latency goals over that with them; None where traffic or goals were given."""
    if cost.workload.mode != "saturated":
        return None
    free = {"ttft": 1e6, "tpot": 1e6, "on": cost.scenario["on"]}
    return price(**{**case, **free}).per_request.value / cost.per_request.value


def _against(case: Mapping[str, Any], asked: Asked) -> list[View]:
    """Each offer against the deployment; the cheapest host where none is named."""
    case = {**case, **_usage_knobs(case, asked.usage)}
    cost, mix, assumed = _priced(case, asked)
    if asked.usage:
        share = float(asked.usage.written.sum() / asked.usage.input.sum())
        if share > 0 and asked.written is None:
            mix = replace(mix, written=mix.input * share)
            assumed = tuple(note for note in assumed if "(--written)" not in note)
        assumed = (*_usage_notes(asked.usage), *assumed)
    chosen = [offers.find(name, asked.day, asked.own) for name in asked.offers]
    if not chosen:
        known = sorted_by_price(offers.hosts(str(case["model"]), asked.day, asked.own), mix)
        if not known:
            raise PertokenError(
                f"no offer of {str(case['model'])[:60]!r} is known; name one with --offer PROVIDER/MODEL"
            )
        chosen = [next((row.offer for row in known if row.usd_per_request > 0), known[0].offer)]
        assumed = (f"offer {chosen[0].name}, the cheapest of {len(known)} (--offer)", *assumed)
    usd, hosting, found = cost_per_request(cost), self_hosting(cost, asked.spare), list[Any]()
    same = {offer.name for offer in offers.hosts(str(case["model"]), asked.day, asked.own)}
    for offer in chosen:
        row = compared(offer, mix, usd)
        other = (
            () if offer.name in same else (f"{offer.name} is no known offer of these weights: it may be another model",)
        )
        found.append(
            Against(cost, row, mix, hosting, _bill(asked, cost, row.usd_per_request), asked.source, (*other, *assumed))
        )
    return found


def _usage_knobs(case: Mapping[str, Any], usage: Usage | None) -> dict[str, Any]:
    """Lengths of a mean request from a usage table, and its cached share."""
    if usage is None:
        return {}
    clash = [name for name in ("input", "output", "cached", "trace") if name in case]
    if clash:
        raise PertokenError(f"--usage and --{clash[0]} cannot both be given: the table tells the mix; leave one out")
    tokens, output = float(usage.input.sum()), float(usage.output.sum())
    if usage.requests is not None:
        count = float(usage.requests.sum())
    else:
        count = output / float(traces.load_lengths(traces.DEFAULT).output.mean())
    lengths = {"input": tokens / count, "output": output / count}
    if min(lengths.values()) < 1.0:
        raise PertokenError(f"{usage.name} has under one token of input or output a request; check its requests column")
    return {name: repr(max(1.0, value)) for name, value in lengths.items()} | {"cached": usage.cached_share}


def _usage_notes(usage: Usage) -> list[str]:
    found = [f"all requests of the mean length of {usage.name}"]
    if usage.requests is None:
        found.append("its requests are not told: as many as give the mean output of the Azure 2023 conversation trace")
    return found


def _bill(asked: Asked, cost: Cost, price: float) -> Bill | None:
    if asked.usage is not None:
        each = cost.operating.moments
        per_day = float((asked.usage.input.mean() + asked.usage.output.mean()) / float(each.input + each.output))
        return Bill(per_day, asked.usage.peak, f"{asked.usage.days:,} days of {asked.usage.name}")
    if asked.spend is not None:
        if not price > 0:
            raise PertokenError("--spend buys no number of requests at an offer that is free; give --requests")
        return Bill(asked.spend / price, 1.0, f"a spend of {format_money(asked.spend * DAYS['month'])} a month")
    if asked.requests is not None:
        return Bill(asked.requests, 1.0, "as given")
    return None


def _tariffs(case: Mapping[str, Any], asked: Asked) -> View:
    from pertoken.market.fit import MOST
    from pertoken.report.market_tariffs import Tariffs

    chosen = [offers.find(name, asked.day, asked.own) for name in asked.offers]
    cost = price(**case)
    if cost.rate is None:
        raise PertokenError(cost.rate_missing)
    written = asked.written if asked.written is not None else float(float(cost.operating.moments.cached) > 0)
    notes = []
    if (count := cost.workload.lengths.input.size) >= 2 * MOST:
        notes.append(
            f"prices fitted to one in {count // MOST:,} of the {count:,} requests, spread by length, and judged on all"
        )
    if float(cost.operating.moments.output) > float(cost.operating.moments.input):
        notes.append("outputs are longer than inputs in the mean: check that the trace's columns are not swapped")
    return Tariffs(cost, chosen, asked.form, written, _patient(case, cost), (*notes, *cost.assumed))


def list_views(model: tuple[str, ...], history: bool, asked: Asked, cases: Sequence[Mapping[str, Any]]) -> list[View]:
    """The whole list: its ratios, or how its prices changed."""
    from pertoken.market import ratios as lists
    from pertoken.market.implied import Region
    from pertoken.report.market_list import History, Ratios

    if not history:
        found = lists.offers_on(offers.providers(), asked.day, offers.version()) + asked.own
        costs = [_priced(case, asked)[0] for case in cases[:1]]
        return [Ratios(found, asked.source, Region(costs[0], 1.0).ratios if costs and costs[0].rate else None)]
    views: list[View] = []
    for name in model or (None,):
        if name is None:
            wanted = None
        else:
            known = offers.hosts(name, asked.day) or offers.named(name, asked.day)
            wanted = [o.name for o in known]
        dated = lists.histories(offers.providers(), wanted)
        views.append(History(dated, offers.version(), name or "all models whose price changed", asked.day.isoformat()))
    return views
