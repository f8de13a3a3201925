"""The first screen in one answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from pertoken.catalog import rates
from pertoken.cli import money
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.money.currency import parse_currency
from pertoken.units import HOUR


def effective(cost: Cost) -> dict[str, Any]:
    """What a slider shows where its knob was not given."""
    tokens, d = cost.tokens_per_request, cost.deployment
    found: dict[str, Any] = {
        "on": f"{d.accelerators}x{d.accelerator.name}",
        "dtype": d.precision.weights,
        "kv_dtype": d.precision.kv,
        "engine": d.profile.name,
        "input": tokens["input"] + tokens["cached"],
        "output": tokens["output"],
        "cached": tokens["cached"] / (tokens["input"] + tokens["cached"]),
        "concurrency": cost.operating.concurrency,
        "rps": cost.requests_per_s,
        "load": cost.requests_per_s / cost.operating.most_rate,
        "ttft": cost.workload.goals.ttft,
        "tpot": cost.workload.goals.tpot,
        "rate": cost.rate.usd_per_second * HOUR if cost.rate else None,
        "utilisation": cost.paid_share,
        "basis": cost.basis,
        "host": cost.site.host.value,
        "tp": d.split.tp,
        "pp": d.split.pp,
        "ep": d.split.ep,
        "dp": d.split.dp,
        "pue": cost.site.pue.value,
        "network": d.network,
        "overlap": d.overlap,
        "token_budget": d.profile.token_budget.value,
        "max_sequences": d.profile.max_sequences.value,
        "watts": cost.meter.watts * cost.site.host.value if cost.meter else None,
        "water": cost.site.water.value if cost.site.water else None,
    }
    return found


def listed(cost: Cost) -> str:
    """Address of the public table that a rent was read in; empty where the rate is none of it."""
    if cost.rate is None or not cost.rate.since:
        return ""
    sources = {offer.source.partition(" ")[0] for offer in rates.counted(cost.deployment.accelerator.name)}
    return f"https://github.com/{min(sources)}" if sources else ""


def in_currency(cost: Cost) -> str:
    """Prices in the other currency that was asked for, in a sentence; empty without one."""
    given = cost.scenario.get("currency")
    if not given or not cost.rate:
        return ""
    other, dollars = parse_currency(str(given)), cost.per_million
    return (
        f"At {other.per_usd:g} {other.code} a dollar, as given: input {other.show(dollars.input.value)}, output"
        f" {other.show(dollars.output.value)} per million tokens; {other.show(cost.per_month)} a month."
    )


def rows_of(cost: Cost, charts: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of charts by name, with the options of each; a chart that cannot follow is left out and keeps what it shows."""
    from pertoken.report import drawings

    found = {}
    for name in charts:
        own = options.get(name, {})
        try:
            found[name] = drawings.rows(name, [cost], own if isinstance(own, Mapping) else {})
        except PertokenError:
            if name not in options:
                raise
    return found


def screen(cost: Cost, charts: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows first; ``options`` holds those of charts by name."""
    from pertoken.report import text
    from pertoken.report.document import interval_meaning
    from pertoken.report.figures import figures, receipt, why

    listing = listed(cost)
    return {
        "headline": text.headline(cost),
        "why": f"An output token is mostly {text.mostly(cost, 'output')}; an input token mostly {text.mostly(cost, 'input')}.",
        "details": text.reasons(cost),
        "currency": in_currency(cost),
        "interval": interval_meaning(cost),
        "why_parts": why(cost),
        "figures": figures(cost, listing),
        "parts": receipt(cost, listing),
        "receipt": [dict(vars(leaf)) for leaf in cost.receipt],
        "scenario": cost.scenario,
        "effective": effective(cost),
        "assumed": list(cost.assumed),
        "warnings": money.warnings([cost], dt.datetime.now(tz=dt.UTC).date()),
        "rows": rows_of(cost, charts, options),
    }
