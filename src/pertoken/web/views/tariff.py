"""The view Tariff: what each request of a trace costs against what tariffs charge, so who pays for whom."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pertoken.answers.base import line_of
from pertoken.catalog import files, offers, traces
from pertoken.cli import market_views
from pertoken.errors import PertokenError
from pertoken.market.fit import FORMS
from pertoken.report.market import about_mix
from pertoken.report.market_tariffs import Tariffs
from pertoken.units import format_money
from pertoken.web.guard import MOST_UPLOAD
from pertoken.web.views.market import capital, read

if TYPE_CHECKING:
    from pertoken.market.fairness import Group
    from pertoken.web.asked import Asked

KINDS = ("input", "output")
MOST_KEPT = 3  # judged traces that a worker keeps: charts and other tariffs of the same one are asked for next
_KEPT: OrderedDict[str, Tariffs] = OrderedDict()


def view(asked: Asked) -> dict[str, Any]:
    """What the view shows; options ``trace`` (a shipped one or ``upload:ID``), ``form`` and ``offer``."""
    found, case = tariffs(asked), case_of(asked)
    heads, *rows = found.ladder()
    total, count = float(found.cost_of_each.sum()), found.cost_of_each.size
    tenths = []
    for by in KINDS:
        head, *lines = found.deciles(by)
        tenths.append({"title": f"By {by} length, under {found.shown}", "head": head, "rows": lines, "note": None})
    return {
        "title": "Tariff",
        "trace": case["trace"],
        "sentences": [
            f"{capital(found.cost.workload.lengths.origin)}: {about_mix(found.requests)} a request.",
            f"All requests cost {format_money(total)}, a mean one {format_money(total / count)}; every tariff below takes in"
            " the same.",
            *map(capital, found.sentences()),
        ],
        "cards": cards(found),
        "tables": [
            {"title": "Tariffs that move least, and what they move", "head": heads, "rows": rows, "note": PRICES},
            *tenths,
        ],
        "charts": [{"name": f"tariff-{name}", "options": options(asked)} for name in (*KINDS, "lorenz")],
        "choices": {
            "trace": [{"value": name, "label": name} for name in traces.names()],
            "form": [{"value": name, "label": title} for name, title in FORMS.items() if title in found.judged],
            "offer": [o.name for o in offers.hosts(str(asked.knobs["model"]), read({}, False).day)],
        },
        "limits": {"bytes": MOST_UPLOAD, "requests": traces.MOST_REQUESTS},
        "command": line_of("market", case, *flags(options(asked))),
    }  # fmt: skip


PRICES = (
    "Prices in $ per million tokens, a fee in $ a request. moved: share of revenue that some requests pay for others. beyond:"
    " input length at which a tier begins."
)


def options(asked: Asked) -> dict[str, Any]:
    """Options that were given, those of this view alone."""
    return {name: asked.options[name] for name in ("trace", "form", "offer") if asked.options.get(name) is not None}


def flags(given: Mapping[str, Any]) -> list[str]:
    """The same as the command takes them."""
    found = ["--tariff", str(given["form"])] if "form" in given else []
    return [*found, *(["--offer", str(given["offer"])] if "offer" in given else [])]


def case_of(asked: Asked) -> dict[str, Any]:
    """Knobs with the trace in place of lengths."""
    trace = asked.options.get("trace", asked.knobs.get("trace", traces.DEFAULT))
    if trace not in traces.names() and not (isinstance(trace, str) and files.UPLOAD.fullmatch(trace)):
        raise PertokenError(
            f"the option trace is {str(trace)[:60]!r}; use one of {', '.join(traces.names())}, or upload:ID"
        )
    kept = {name: value for name, value in asked.knobs.items() if name not in KINDS}
    return {**kept, "trace": trace}


def tariffs(asked: Asked) -> Tariffs:
    """The trace judged; fitted once for charts, forms and offers of the same case."""
    form = asked.options.get("form", "flat")
    if not isinstance(form, str) or form not in FORMS:
        raise PertokenError(f"the option form is {str(form)[:40]!r}; use one of {', '.join(FORMS)}")
    case, market = case_of(asked), replace(read(asked.options, True), form=form)
    key = json.dumps([market.day.isoformat(), case, market.offers], sort_keys=True, default=str)
    if key not in _KEPT:
        (found,) = market_views.views_of([case], market, True)
        if not isinstance(found, Tariffs):
            raise PertokenError("there is nothing to judge of this model; choose another")
        _KEPT[key] = found
        while len(_KEPT) > MOST_KEPT:
            _KEPT.popitem(last=False)
    kept = _KEPT[key]
    _KEPT.move_to_end(key)
    found = replace(kept, form=form)
    for name in ("costs", "cost_of_each", "fitted", "judged"):  # none of them depends on the form
        found.__dict__[name] = getattr(kept, name)
    return found


def drawn(asked: Asked, name: str) -> Tariffs:  # noqa: ARG001
    """What a chart is drawn of."""
    return tariffs(asked)


def cards(found: Tariffs) -> list[dict[str, Any]]:
    """Light against heavy users: what the shortest and the longest tenth of requests pay for each dollar that they cost."""
    fair = found.judged[found.shown][1]
    made = []
    for by in KINDS:
        groups = fair.groups(by)
        made += [_card(f"{name} {by}s", g, by) for name, g in (("shortest", groups[0]), ("longest", groups[-1]))]
    return made


def _card(name: str, g: Group, by: str) -> dict[str, Any]:
    paid = g.charge / g.cost
    money = [
        {"name": what, "value": value, "unit": "$", "shown": format_money(value), "basis": "derived", "source": source,
         "url": None, "date": None}
        for what, value, source in (
            ("paid", g.charge, "the tariff over their tokens, scaled to the revenue that all cost"),
            ("cost", g.cost, "positions of their own tokens in the batch of the operating point"),
        )
    ]  # fmt: skip
    return {
        "label": f"the tenth with the {name} ({g.low:,.0f} to {g.high:,.0f} tokens)",
        "name": name, "of": by, "tokens": f"{g.low:,.0f} to {g.high:,.0f} {by} tokens",
        "value": paid, "low": None, "high": None, "unit": "$ paid for each $ of cost", "shown": format_money(paid), "range": None,
        "formula": f"what these {g.requests:,} requests pay / what they cost", "inputs": money, "basis": "derived", "url": None,
    }  # fmt: skip
