"""The command ``market``: what vendors charge against what it costs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pertoken.cli.options import complete, knob_options, read_cases
from pertoken.errors import PertokenError

if TYPE_CHECKING:
    import datetime as dt

    from pertoken.catalog.usage import Usage
    from pertoken.cost import Cost
    from pertoken.market.offers import Offer
    from pertoken.market.tariff import Requests
    from pertoken.report.market import View
    from pertoken.report.market_offer import Bill

FORMS = (".json", ".csv", ".md", ".html", ".txt", ".png", ".svg")
DAYS = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}
TITLE = "What vendors charge against what it costs"
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
        from pertoken.catalog import offers

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
            f"--spend is {text[:40]!r}; write dollars per {', '.join(DAYS)}, such as 4000/month (another currency: convert it first)"
        )
    value = float(found[1].replace("_", "").replace(",", "")) * {"": 1.0, "k": 1e3, "m": 1e6}[found[2].lower()]
    if not 0.0 < value <= 1e12:
        raise PertokenError(f"--spend is {text[:40]!r}; it must be above 0 and at most $1,000,000,000,000")
    return value / DAYS[found[3].lower().rstrip("s")]


def _share(name: str, value: float | None, low: float, high: float) -> float | None:
    if value is not None and not low <= value <= high:
        raise PertokenError(f"{name} is {value:g}; it must be from {low:g} to {high:,.0f}")
    return value


def _views(cases: Sequence[Mapping[str, Any]], asked: Asked, traced: bool) -> list[View]:
    """What is shown of each case."""
    from pertoken.catalog import files

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
    from pertoken.catalog import offers, traces
    from pertoken.catalog.models import is_closed, load_checkpoint
    from pertoken.market.compare import sorted_by_price
    from pertoken.market.tariff import from_lengths
    from pertoken.report.market import Hosts
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
    if "trace" in case and not asked.offers:
        raise PertokenError(
            f"{model[:60]!r}: weights unpublished, so requests have no cost to hold a tariff against; give an open model and --offer"
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
    from pertoken.market.compare import mix_of
    from pertoken.scenario import price

    cost = price(**case)
    mix = mix_of(cost, asked.written)
    notes = [f"{asked.spare} spare machine{'s' * (asked.spare != 1)} (--redundancy)"]
    if asked.written is None and float(cost.operating.moments.cached) > 0:
        notes.append("all input that is not cached is written to the vendor's cache, where that has a price (--written)")
    return cost, mix, (*notes, *cost.assumed)


def _hosts(case: Mapping[str, Any], asked: Asked) -> View:
    from pertoken.catalog import offers
    from pertoken.market.breakeven import self_hosting
    from pertoken.market.compare import cost_per_request, sorted_by_price
    from pertoken.report.market import Hosts

    found = offers.hosts(str(case["model"]), asked.day, asked.own)
    if not found:
        raise PertokenError(
            f"no offer of the weights of {str(case['model'])[:60]!r} is known to {offers.version()}; name one with --offer"
            " PROVIDER/MODEL, or give --offers FILE"
        )
    cost, mix, assumed = _priced(case, asked)
    if cost.rate is None:
        raise PertokenError(cost.rate_missing)
    rows = sorted_by_price(found, mix, cost_per_request(cost))
    name = cost.deployment.model.name
    return Hosts(name, rows, mix, asked.source, cost, self_hosting(cost, asked.spare), _patient(case, cost), assumed=assumed)


def _patient(case: Mapping[str, Any], cost: Cost) -> float | None:
    """Cost of a request without latency goals over that with them; None where traffic or goals were given."""
    from pertoken.scenario import price

    if cost.workload.mode != "saturated":
        return None
    free = {"ttft": 1e6, "tpot": 1e6, "on": cost.scenario["on"]}
    return price(**{**case, **free}).per_request.value / cost.per_request.value


def _against(case: Mapping[str, Any], asked: Asked) -> list[View]:
    """Each offer against the deployment; the cheapest host where none is named."""
    from pertoken.catalog import offers
    from pertoken.market.breakeven import self_hosting
    from pertoken.market.compare import compared, cost_per_request, sorted_by_price
    from pertoken.report.market_offer import Against

    case = {**case, **_usage_knobs(case, asked.usage)}
    cost, mix, assumed = _priced(case, asked)
    if asked.usage:
        share = float(asked.usage.written.sum() / asked.usage.input.sum())
        if share > 0 and asked.written is None:
            mix = replace(mix, written=mix.input * share)
        assumed = (*_usage_notes(asked.usage), *assumed)
    chosen = [offers.find(name, asked.day, asked.own) for name in asked.offers]
    if not chosen:
        known = sorted_by_price(offers.hosts(str(case["model"]), asked.day, asked.own), mix)
        if not known:
            raise PertokenError(f"no offer of {str(case['model'])[:60]!r} is known; name one with --offer PROVIDER/MODEL")
        chosen = [next((row.offer for row in known if row.usd_per_request > 0), known[0].offer)]
        assumed = (f"offer {chosen[0].name}, the cheapest of {len(known)} (--offer)", *assumed)
    usd, hosting, found = cost_per_request(cost), self_hosting(cost, asked.spare), list[Any]()
    for offer in chosen:
        row = compared(offer, mix, usd)
        found.append(Against(cost, row, mix, hosting, _bill(asked, cost, row.usd_per_request), asked.source, assumed))
    return found


def _usage_knobs(case: Mapping[str, Any], usage: Usage | None) -> dict[str, Any]:
    """Lengths of a mean request from a usage table, and its cached share."""
    from pertoken.catalog import traces

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
    from pertoken.report.market_offer import Bill
    from pertoken.units import format_money

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
    from pertoken.catalog import offers
    from pertoken.report.market_tariffs import Tariffs
    from pertoken.scenario import price

    chosen = [offers.find(name, asked.day, asked.own) for name in asked.offers]
    cost = price(**case)
    if cost.rate is None:
        raise PertokenError(cost.rate_missing)
    written = asked.written if asked.written is not None else float(float(cost.operating.moments.cached) > 0)
    notes = []
    if float(cost.operating.moments.output) > float(cost.operating.moments.input):
        notes.append("outputs are longer than inputs in the mean: check that the trace's columns are not swapped")
    return Tariffs(cost, chosen, asked.form, written, (*notes, *cost.assumed))


def _list_views(model: tuple[str, ...], history: bool, asked: Asked, cases: Sequence[Mapping[str, Any]]) -> list[View]:
    """The whole list: its ratios, or how its prices changed."""
    from pertoken.catalog import offers
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


@click.command()
@click.argument("model", nargs=-1, shell_complete=complete("models"))
@knob_options
@click.option("--offer", "offers", multiple=True, metavar="PROVIDER/MODEL", help="Look at an offer closely: what it implies, break-even.")
@click.option("--offers", "own", metavar="FILE", help="Offers of your own, TOML or CSV, in $ per million tokens.")
@click.option("--spend", metavar="$/PERIOD", help="What you pay an API, such as 4000/month: what serving that yourself costs.")
@click.option("--requests", type=float, metavar="NUMBER", help="Requests a day, instead of --spend.")
@click.option("--usage", metavar="FILE.csv", help="Your tokens by day (input, cached, output; requests if known).")
@click.option("--redundancy", type=int, default=1, metavar="WHOLE", help="Spare machines, n + this (default: 1).")
@click.option("--written", type=float, metavar="SHARE", help="Share of uncached input that is written to the vendor's cache.")
@click.option("--tariff", "form", default="flat", metavar="one|flat|cached|fee|cliff|marginal",
              help="With --trace: the fitted tariff shown by length (default: flat).")  # fmt: skip
@click.option("--ratios", is_flag=True, help="The whole price list: output over input, context tiers.")
@click.option("--history", is_flag=True, help="Prices over time, of MODEL or of all that changed.")
@click.option("--scenario", metavar="FILE.toml", help="Read knobs from a file; options given here come first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("-o", "--output-file", "target", metavar="FILE", help="Also write .json .csv .md .html .txt, or a chart .png .svg.")
@click.option("--today", envvar="PERTOKEN_TODAY", metavar="DATE", help="Day of the prices.")
def market(
    model: tuple[str, ...],
    offers: tuple[str, ...],
    own: str | None,
    spend: str | None,
    requests: float | None,
    usage: str | None,
    redundancy: int,
    written: float | None,
    form: str,
    ratios: bool,
    history: bool,
    scenario: str | None,
    as_json: bool,
    as_csv: bool,
    target: str | None,
    today: str | None,
    **given: tuple[str, ...],
) -> None:
    """What vendors charge for a model against what it costs here: margin, what a price implies, break-even, tariffs.

    Prices are list prices of the package genai-prices, by provider and exact model id, on the day of --today. With --trace:
    what each request costs against what tariffs charge, so who pays for whom.

    \b
    pertoken market llama-3.3-70b --on 8xh100-sxm --dtype fp8
    pertoken market gpt-oss-120b --on 2xh100-sxm --offer together/openai/gpt-oss-120b --spend 4000/month
    pertoken market llama-3.1-70b --on 8xh100-sxm --dtype fp8 --trace mooncake-conversation -o tariffs.svg
    pertoken market claude-sonnet-4-5
    pertoken market --ratios
    """
    from pertoken.cli.curve import check_file
    from pertoken.market.fit import FORMS as TARIFFS

    if as_json and as_csv:
        raise PertokenError("--json and --csv cannot both be given; leave one out, or write the other with -o")
    if form not in TARIFFS:
        raise PertokenError(f"--tariff is {form[:40]!r}; use one of {', '.join(TARIFFS)}")
    if ratios and history:
        raise PertokenError("--ratios and --history cannot both be given; ask for one after the other")
    told = [n for n, v in (("spend", spend), ("requests", requests), ("usage", usage)) if v is not None]
    if len(told) > 1:
        raise PertokenError(f"--{told[0]} and --{told[1]} cannot both be given: each tells how much is sent; leave one out")
    path = check_file(target)
    asked = _asked(offers, own, spend, requests, usage, redundancy, written, form, today)
    whole_list = ratios or history
    cases = [] if whole_list and (history or not model) else read_cases(model, scenario, given, "pertoken market llama-3.3-70b")
    traced = any("trace" in case for case in cases)
    views = _list_views(model, history, asked, cases) if whole_list else _views(cases, asked, traced)
    if path:  # first, so that a reader who closes the pipe early does not lose the file
        _write(path, views)
        click.echo(f"wrote {path}", err=True)
    click.echo(_shown(views, "json" if as_json else "csv" if as_csv else "txt"), nl=False)


def _asked(
    offers: tuple[str, ...], own: str | None, spend: str | None, requests: float | None, usage: str | None, spare: int,
    written: float | None, form: str, today: str | None,
) -> Asked:  # fmt: skip
    """Options read and checked."""
    from pertoken.cli.money import parse_day

    mine: list[Offer] = []
    if own:
        from pertoken.catalog.offers import read_own

        mine = read_own(Path(own).expanduser())
    table = None
    if usage:
        from pertoken.catalog.usage import read_usage

        table = read_usage(usage)
    _share("--redundancy", float(spare), 0.0, 1000.0)
    return Asked(
        parse_day(today), mine, offers, parse_spend(spend), _share("--requests", requests, 1e-6, 1e12), table, spare,
        _share("--written", written, 0.0, 1.0), form,
    )  # fmt: skip


def _shown(views: Sequence[View], form: str) -> str:
    """All views in one form."""
    import csv
    import io
    import json

    from pertoken.report.document import clean, safe_cell

    if form == "txt":
        return "\n".join(view.text() for view in views)
    if form == "json":
        found = [clean(view.document()) for view in views]
        return json.dumps(found[0] if len(found) == 1 else {"cases": found}, indent=2, allow_nan=False) + "\n"
    rows = [row for view in views for row in view.rows()]
    heads = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([safe_cell("" if row.get(key) is None else row.get(key, "")) for key in heads] for row in rows)
    return out.getvalue()


def _write(path: Path, views: Sequence[View]) -> None:
    """A file by its suffix, whole or not at all."""
    from pertoken.report import export
    from pertoken.report.charts import PICTURES, picture

    suffix = path.suffix.lower()
    if suffix in PICTURES:
        if len(views) > 1:
            raise PertokenError(f"a chart shows one case, and {len(views)} were asked for; write .html or .json, or ask one at a time")
        export.write_whole(path, picture(views[0].chart(), suffix))
    elif suffix in (".json", ".csv"):
        export.write_whole(path, _shown(views, suffix[1:]))
    else:
        shown = _shown(views, "txt")
        export.write_whole(
            path,
            export.as_markdown(shown, TITLE) if suffix == ".md" else export.as_html(shown, TITLE) if suffix == ".html" else shown,
        )
