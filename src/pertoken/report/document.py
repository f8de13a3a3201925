"""The answer as plain data: what ``--json`` prints. SI units; unknown figures are null, never NaN."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pertoken.cost import Cost, Interval
from pertoken.money.currency import parse_currency
from pertoken.money.rate import Rate
from pertoken.report.energy import carbon, energy, water
from pertoken.units import HOUR, JOULES_PER_KWH, MILLION


def interval_meaning(cost: Cost) -> str:
    """What low and high of a cost are."""
    if cost.deployment.interval("tpot") is None:
        return "the roofline's bounds: all of compute, memory, links and overhead overlap, or none do"
    wider = ", wider as kernels of this accelerator were not all measured" if cost.deployment.assumed else ""
    return f"90% interval of step time, from accelerators and models left out of the fit{wider}; the rate is taken as given"


def clean(value: Any) -> Any:
    """Plain JSON data: numpy numbers as Python's, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def serving(cost: Cost) -> dict[str, Any]:
    """Latency, throughput, batch and how busy the machine is."""
    state, tokens = cost.operating.state, cost.tokens_per_request
    rate = cost.requests_per_s
    return {
        "ttft_s": cost.operating.ttft_s,
        "tpot_s": cost.operating.tpot_s,
        "wait_s": float(state.wait_s),
        "request_per_s": rate,
        "input_tok_per_s": rate * (tokens["input"] + tokens["cached"]),
        "output_tok_per_s": rate * tokens["output"],
        "batch": float(state.batch) * cost.deployment.split.lanes,
        "concurrency": cost.operating.concurrency,
        "utilisation": cost.utilisation,
        "load": rate / cost.operating.most_rate,
        "mfu": cost.mfu,
        "kv_occupancy": float(state.kv_occupancy),
        "bound": cost.operating.bound,
        "goals_met": bool(
            cost.operating.ttft_s <= cost.workload.goals.ttft and state.tpot_s <= cost.workload.goals.tpot
        ),
    }


def _money(cost: Cost) -> dict[str, Any]:
    """Dollars; null with the reason where there is no rate."""
    if cost.rate is None:
        missing = dict.fromkeys(("per_million", "cached_increment", "per_request", "per_month", "rate"))
        return missing | {"usd_missing": cost.rate_missing}
    idle = cost.bill.idle_usd / (cost.requests_per_s * cost.bill.period_s)
    increment = cost.cached_increment
    return {
        "per_million": cost.per_million.as_dict(),
        "cached_increment": None if increment is None else increment * MILLION,
        "per_request": cost.per_request.as_dict() | {"idle": idle},
        "per_month": cost.per_month,
        "rate": _rate(cost, cost.rate),
        "usd_missing": None,
    }


def paid_hour(cost: Cost) -> float:
    """Mean price of a paid accelerator-hour; idle ones draw less where electricity is paid by the joule [$]."""
    return cost.bill.usd / cost.bill.accelerator_s * HOUR


def currency(cost: Cost) -> dict[str, Any] | None:
    """The other currency that was asked for: its rate, and dollars of tokens in it."""
    text = cost.scenario.get("currency")
    if not text:
        return None
    found = parse_currency(str(text))
    each = cost.per_million.scaled(found.per_usd).as_dict() if cost.rate else None
    return {"code": found.code, "per_usd": found.per_usd, "per_million": each}


def _rate(cost: Cost, rate: Rate) -> dict[str, Any]:
    """Price of a paid accelerator-hour in the mean, of one that works, and what they are made of."""
    return {
        "usd_per_accelerator_hour": paid_hour(cost),
        "usd_per_working_hour": rate.usd_per_second * HOUR,
        "kind": rate.kind,
        "usd_per_kwh": rate.usd_per_joule * JOULES_PER_KWH if rate.usd_per_joule else None,
        "band": [end * HOUR for end in rate.band] if rate.band else None,
        "since": rate.since or None,
        "origin": rate.origin,
    }


def _model(cost: Cost) -> dict[str, Any]:
    model, precision = cost.deployment.model, cost.deployment.precision
    return {
        "name": model.name,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "weights": precision.weights,
        "weights_by_role": dict(precision.roles),
        "kv": precision.kv,
    }


def _machine(cost: Cost) -> dict[str, Any]:
    d = cost.deployment
    return {
        "accelerator": d.accelerator.name,
        "accelerators": d.accelerators,
        **asdict(d.split),
        "engine": d.profile.name,
        "weight_bytes": d.weight_bytes,
        "kv_tokens": d.kv_tokens,
    }


def document(cost: Cost) -> dict[str, Any]:
    """Everything about one answer.

    Parameters
    ----------
    cost : Cost
        The answer.

    Returns
    -------
    dict
        Keys as in the README; plain JSON data.
    """
    found: dict[str, Any] = clean(
        {
            **_money(cost),
            "accelerator_s_per_million": cost.accelerator_s.scaled(MILLION).as_dict(),
            "ratio": cost.ratio,
            "interval": interval_meaning(cost),
            "serving": serving(cost),
            "receipt": [asdict(leaf) for leaf in cost.receipt],
            "bill": asdict(cost.bill),
            "idle_share": cost.idle_share,
            "energy": energy(cost),
            "carbon": carbon(cost),
            "water": water(cost),
            "model": _model(cost),
            "machine": _machine(cost),
            "currency": currency(cost),
            "lengths": cost.workload.lengths.origin,
            "basis": cost.basis,
            "assumed": cost.assumed,
            "scenario": cost.scenario,
        }
    )
    return found


def to_json(costs: Sequence[Cost], extra: Sequence[Mapping[str, Any]] = ()) -> str:
    """JSON of one answer, or ``{"cases": [...]}`` of several; ``extra`` holds further keys of each."""
    found = [document(cost) for cost in costs]
    for answer, more in zip(found, extra, strict=False):
        answer.update(clean(more))
    return json.dumps(found[0] if len(found) == 1 else {"cases": found}, indent=2, allow_nan=False) + "\n"


def row(cost: Cost) -> dict[str, Any]:
    """One flat line for tables: names, dollars per million, latency, throughput."""
    d = cost.deployment
    nothing = Interval(math.nan, math.nan, math.nan)
    dollars = cost.per_million if cost.rate else None
    joules, grams = cost.facility_joules, cost.grams

    def value(name: str) -> Interval:
        return getattr(dollars, name) if dollars else nothing

    return {
        "model": d.model.name,
        "on": f"{d.accelerators}x{d.accelerator.name}",
        "split": str(d.split),
        "weights": d.precision.weights,
        "rate_usd_per_hour": paid_hour(cost),
        "input_usd_per_million": value("input").value,
        "input_low": value("input").low,
        "input_high": value("input").high,
        "cached_usd_per_million": value("cached").value,
        "output_usd_per_million": value("output").value,
        "output_low": value("output").low,
        "output_high": value("output").high,
        "ratio": cost.ratio,
        "ttft_s": cost.operating.ttft_s,
        "tpot_s": cost.operating.tpot_s,
        "output_tok_per_s": cost.requests_per_s * cost.tokens_per_request["output"],
        "concurrency": cost.operating.concurrency,
        "utilisation": cost.utilisation,
        "usd_per_month": cost.per_month if cost.rate else math.nan,
        "idle_share": cost.idle_share,
        "input_joules": joules.input.value if joules else math.nan,
        "output_joules": joules.output.value if joules else math.nan,
        "input_g_co2e_per_million": grams.input.value * MILLION if grams else math.nan,
        "output_g_co2e_per_million": grams.output.value * MILLION if grams else math.nan,
    }


def safe_cell(value: Any) -> Any:
    """A CSV cell that no spreadsheet takes for a formula; unknown figures are empty."""
    if isinstance(value, float):
        return "" if not math.isfinite(value) else repr(float(value))  # numpy's own repr names its type
    text = str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def to_csv(costs: Sequence[Cost]) -> str:
    """One line for each answer, with a header."""
    out = io.StringIO()
    rows = [row(cost) for cost in costs]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([safe_cell(value) for value in r.values()] for r in rows)
    return out.getvalue()
