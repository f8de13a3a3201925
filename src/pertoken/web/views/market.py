"""The view Market: offers of the page's model against its cost here, one offer closely, and the price list around them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pertoken.catalog import files, offers
from pertoken.catalog.models import is_closed
from pertoken.cli import market_views
from pertoken.cli.market_views import Asked as Market
from pertoken.errors import PertokenError
from pertoken.report.market import OTHERS, Hosts
from pertoken.report.market_offer import Against

if TYPE_CHECKING:
    from pertoken.web.asked import Asked

PARTS = ("offers", "offer", "list")
PART_OF = {"offers": "offers", "implied": "offer", "break-even": "offer", "ratios": "ratios", "history": "history"}
MOST_SPARE = 10


def view(asked: Asked) -> dict[str, Any]:
    """What the view shows, by the option ``part``: ``offers``, ``offer`` (that of the option ``offer``), or ``list``."""
    part = asked.options.get("part", PARTS[0])
    if part not in PARTS:
        raise PertokenError(f"the option part is {str(part)[:40]!r}; use one of {', '.join(PARTS)}")
    if why := nobody(asked.knobs):
        around = around_it(asked) if part == "list" else {}
        return {
            "title": "Market",
            "sentences": [] if around else [why],
            "tables": [],
            "charts": [],
            "offers": [],
            **around,
        }
    return {"title": "Market", **{"offers": side_by_side, "offer": closely, "list": around_it}[part](asked)}


def nobody(knobs: Mapping[str, Any]) -> str:
    """Why there is no offer of a model; empty if there is one."""
    model = str(knobs["model"])
    if files.UPLOAD.fullmatch(model):
        return "Nobody is known to sell tokens of a model that you uploaded. Choose a model of the catalog to see its offers."
    if is_closed(model) or offers.hosts(model, today()):
        return ""
    return (
        f"No offer of the weights of {files.find_name('models', model) or model[:60]} is known to {offers.version()}, so there"
        " is nothing to hold its cost against. Choose another model."
    )


def today() -> dt.date:
    """The day of prices."""
    return dt.datetime.now(tz=dt.UTC).date()


def _number(options: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    found = options.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
        raise PertokenError(
            f"the option {name} is {str(found)[:40]!r}; it must be a number from {low:g} to {high:,.0f}"
        )
    return float(found)


def read(options: Mapping[str, Any], closely: bool) -> Market:
    """Options of the view as the command takes them.

    Parameters
    ----------
    options : mapping
        ``offer`` (PROVIDER/MODEL), ``spend`` [$/month] or ``requests`` [request/day], and ``redundancy``.
    closely : bool
        Whether one offer is looked at; the cheapest where none is named.
    """
    offer = options.get("offer")
    if offer is not None and (not isinstance(offer, str) or len(offer) > 200 or not offer.isprintable()):
        raise PertokenError(f"the option offer is {str(offer)[:40]!r}; write PROVIDER/MODEL")
    spend, requests = _number(options, "spend", 1e-6, 1e12), _number(options, "requests", 1e-6, 1e12)
    if spend is not None and requests is not None:
        raise PertokenError("the options spend and requests cannot both be given: each tells how much is sent")
    spare = _number(options, "redundancy", 0, 1000)
    if spare is not None and spare != int(spare):
        raise PertokenError(f"the option redundancy is {spare:g}; it must be a whole number of spare machines")
    return Market(
        today(), [], (offer,) if closely and offer else (), spend / market_views.DAYS["month"] if spend else None, requests,
        None, 1 if spare is None else int(spare), None, "flat",
    )  # fmt: skip


def hosts(asked: Asked) -> Hosts:
    """Offers side by side."""
    (found,) = market_views.views_of(
        [asked.knobs], read({k: v for k, v in asked.options.items() if k == "redundancy"}, False), False
    )
    assert isinstance(found, Hosts)
    return found


def against(asked: Asked) -> Against:
    """One offer against the deployment."""
    market = read(asked.options, True)
    if not market.offers and not market.bill:  # the cheapest that charges
        paid = [row for row in hosts(asked).compared if row.usd_per_request > 0]
        if not paid:
            raise PertokenError("no offer of this model charges anything; name another as PROVIDER/MODEL")
        market = read({**asked.options, "offer": paid[0].offer.name}, True)
    (found,) = market_views.views_of([asked.knobs], market, False)
    assert isinstance(found, Against)
    return found


def drawn(asked: Asked, name: str) -> Any:
    """What a chart is drawn of."""
    part = PART_OF[name]
    if part in ("ratios", "history"):
        return _listed(asked, part == "history")
    if why := nobody(asked.knobs):
        raise PertokenError(why)
    return hosts(asked) if part == "offers" else against(asked)


def _listed(asked: Asked, history: bool) -> Any:
    knobs = asked.knobs
    known = not nobody(knobs)
    priced = [] if is_closed(str(knobs["model"])) else [knobs]
    market = read({}, False)
    if history:
        return market_views.list_views((str(knobs["model"]),) if known else (), True, market, [])[0]
    return market_views.list_views((), False, market, priced)[0]


def side_by_side(asked: Asked) -> dict[str, Any]:
    """Every offer, the cheapest first, and the cost here among them."""
    found = hosts(asked)
    unpriced = [] if found.cost else [f"{found.model}: {found.missing}."]
    return {
        "sentences": [*unpriced, *(s for s in found.sentences() if s != OTHERS)],
        "tables": [{
            "title": f"Offers of {found.model}", "head": found.heads(), "rows": found.lines(),
            "note": f"{found.source}; {found.about()}. {OTHERS}",
        }],
        "charts": [{"name": "offers", "options": {}}] if any(row.usd_per_request > 0 for row in found.compared) else [],
        "offers": [row.offer.name for row in found.compared] if found.cost else [],
        "source": found.source,
        "command": command(asked),
    }  # fmt: skip


def closely(asked: Asked) -> dict[str, Any]:
    """What an offer's price implies, its context tiers, and when serving it here is cheaper."""
    if is_closed(str(asked.knobs["model"])):
        raise PertokenError(
            "weights unpublished, so it cannot be served here and its price implies nothing of this machine"
        )
    found = against(asked)
    options = {
        "offer": found.compared.offer.name,
        **{k: v for k, v in asked.options.items() if k in ("spend", "requests", "redundancy")},
    }
    about, request = found.about()
    heads, *rows = found.implied()
    pays = any(row["utilisation"] <= 1.0 for row in found.region.at()) or found.region.least_batch()
    return {
        "offer": found.compared.offer.name,
        "sentences": [f"{said}." for said in (about, capital(request))],
        "sections": [
            {
                "title": "What the price implies, were it served on this machine at cost",
                "sentences": [*found.implied_sentences(), *found.tier_sentences()],
                "tables": [{"title": "By batch", "head": heads, "rows": rows, "note": None}],
                "charts": [{"name": "implied", "options": options}] if pays else [],
            },
            {
                "title": "Buying it, or serving it yourself",
                "sentences": [capital(said) for said in found.hosting_sentences()],
                "tables": [],
                "charts": [{"name": "break-even", "options": options}],
            },
        ],
        "tables": [],
        "charts": [],
        "source": found.source,
        "command": command(asked, options),
    }


def around_it(asked: Asked) -> dict[str, Any]:
    """The whole list: output over input, context tiers; and this model's prices over time, where the list dates them."""
    ratios = _listed(asked, False)
    heads, *rows = ratios.vendors()
    found: dict[str, Any] = {
        "sentences": ratios.sentences(),
        "tables": [
            {"title": "Output price over input price", "head": heads, "rows": rows, "note": f"{ratios.source}."}
        ],
        "charts": [{"name": "ratios", "options": {}}],
        "command": "pertoken market --ratios",
    }
    if nobody(asked.knobs):
        return found
    history = _listed(asked, True)
    heads, *rows = history.prices()
    found["tables"].append(
        {"title": f"Prices over time: {history.title}", "head": heads, "rows": rows, "note": history.note()}
    )
    if any(d.since for d in history.dated):
        found["charts"].append({"name": "history", "options": {}})
    return found


def capital(sentence: str) -> str:
    """A sentence that begins with a capital letter."""
    return sentence[:1].upper() + sentence[1:]


def command(asked: Asked, options: Mapping[str, Any] | None = None) -> str:
    """The command that prints the same."""
    from pertoken.answers.base import line_of

    options = options or {}
    more = ["--offer", str(options["offer"])] if options.get("offer") else []
    for name, after in (("spend", "/month"), ("requests", ""), ("redundancy", "")):
        if options.get(name) is not None:
            more += [f"--{name}", f"{options[name]:.12g}{after}"]
    return line_of("market", asked.knobs, *more)
