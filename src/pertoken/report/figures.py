"""Every number of the page's first screen: how it is written, its formula, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pertoken.attribution.ledger import PARTS, TOKENS, by_token
from pertoken.cost import Cost
from pertoken.money.figures import Interval
from pertoken.report import basis
from pertoken.report.basis import Entry, entry, figure, of_figure
from pertoken.report.text import LABELS
from pertoken.units import MILLION, MONTH

NAMES = {"input": "input", "cached": "cached input", "output": "output"}
Figures = dict[str, Entry]


def figures(cost: Cost, listing: str = "") -> Figures:
    """All figures by key.

    Parameters
    ----------
    cost : Cost
        The answer.
    listing : str
        Address of the dated table that a rent was read in.

    Returns
    -------
    dict
        Of ``{label, value, low, high, unit, shown, range, formula, inputs, basis, url}``; money is left out where there is no
        rate, energy and carbon where no power is known.
    """
    found: Figures = {name: _price(cost, name, listing) for name in TOKENS}
    found["ratio"] = _ratio(cost, found)
    found |= _energy(cost)
    found |= _latency(cost)
    found |= _traffic(cost)
    if cost.rate:
        found |= _bills(cost, found, listing)
    return found


def _seconds(cost: Cost, token: str) -> Entry:
    """Accelerator-seconds of a million tokens."""
    each = getattr(cost.accelerator_s, token).scaled(MILLION)
    none = cost.tokens_per_request[token] <= 0
    idle = " x paid over busy time" if cost._spread("value") != 1.0 else ""
    formula = (
        "what a first cached token would take; this traffic has none"
        if none
        else f"mean step x share charged to these tokens x accelerators of a slice{idle} / (requests finished a step x tokens of"
        " a request) x 1,000,000"
    )
    name = f"accelerator-seconds of a million {NAMES[token]} tokens"
    return figure(name, each, "accelerator-s", formula, [] if none else _behind(cost, token))


def _behind(cost: Cost, token: str) -> list[Entry]:
    """What the seconds of one kind of token follow from."""
    state, split = cost.operating.state, cost.deployment.split
    owed = float(by_token(cost.entries["value"])[token])
    spread = cost._spread("value")
    return [
        basis.step(cost),
        entry(f"share of it charged to {NAMES[token]} tokens", owed / float(state.step_s), "%"),
        entry("accelerators of a slice (tensor parallel)", split.tp, "accelerator"),
        *([entry("paid over busy time", spread, "1")] if spread != 1.0 else []),
        entry("requests finished a step", float(state.finished), "request"),
        basis.lengths(cost, token),
        *basis.hardware(cost),
    ]


def _price(cost: Cost, token: str, listing: str) -> Entry:
    """Dollars of a million tokens; accelerator-seconds without a rate."""
    seconds = _seconds(cost, token)
    if cost.rate is None:
        return {**seconds, "label": f"{NAMES[token]} tokens"}
    dollars = getattr(cost.per_million, token)
    inputs = [of_figure(seconds)]
    joules = cost.facility_joules
    if cost.rate.usd_per_joule and joules:
        formula = "accelerator-seconds x price of an hour / 3,600 + joules x price of electricity / 3,600,000"
        each = getattr(joules, token).value * MILLION
        inputs += [basis.fixed_rate(cost), entry("joules of a million tokens", each, "J"), basis.electricity(cost)]
    else:
        formula = "accelerator-seconds x price of an accelerator-hour / 3,600"
        inputs.append(basis.rate(cost, listing))
    return figure(f"{NAMES[token]} tokens", dollars, "$/million tokens", formula, inputs + seconds["inputs"])


def _ratio(cost: Cost, found: Figures) -> Entry:
    one, two = found["output"], found["input"]
    return figure("output over input", cost.ratio, "1", "price of an output token / price of an input token",
                  [of_figure(one), of_figure(two)], text=f"{cost.ratio:.1f}\u00d7")  # fmt: skip


def _energy(cost: Cost) -> Figures:
    """Joules and grams of a token of each kind."""
    meters, inside, grams = cost.facility_joules, cost.joules, cost.grams
    found: Figures = {}
    if meters is None or inside is None:
        return found
    for token in ("input", "output"):
        own = getattr(inside, token).value
        found[f"{token}_joules"] = figure(
            f"energy of an {token} token, at the facility's meter", getattr(meters, token), "J",
            "joules of the accelerators x host x PUE",
            [
                entry("joules of the accelerators", own, "J", formula="floor x seconds + bytes + FLOP, its share of each step"),
                *basis.site(cost),
                *basis.draw(cost),
            ],
        )  # fmt: skip
        if grams and cost.site.grid:
            found[f"{token}_grams"] = _grams(
                cost, token, getattr(grams, token).scaled(MILLION), found[f"{token}_joules"]
            )
    return found


def _grams(cost: Cost, token: str, value: Interval, joules: Entry) -> Entry:
    """CO2e of a million tokens."""
    assert cost.site.grid
    grid = basis.read("grams CO2e of a kWh of this grid", cost.site.grid, "listed")
    inputs = [of_figure(joules), grid]
    formula = "joules of a token x grams of a kWh / 3,600,000 x 1,000,000"
    if cost.site.embodied:
        formula += " + accelerator-seconds x grams of making an accelerator, over its life"
        inputs.append(basis.read("making an accelerator", cost.site.embodied, "assumed"))
    return figure(f"CO2e of a million {token} tokens", value, "g", formula, inputs)


def _latency(cost: Cost) -> Figures:
    """Times to the first and between further tokens, as users see them."""
    state, op, d = cost.operating.state, cost.operating, cost.deployment
    wait = float(state.wait_s)
    parts = [
        entry("waiting for a step", wait, "s", formula="from arrivals at random and the step in progress"),
        entry("steps of the prompt", float(state.ttft_s) - wait, "s"),
        basis.read("outside the engine", d.profile.request_delay, "measured")
        if op.delay_s == d.profile.request_delay.value
        else entry("outside the engine", op.delay_s, "s"),
    ]
    found = {
        "ttft": figure("TTFT, mean time to first token", _around(cost, "ttft", op.ttft_s), "s",
                       "waiting + steps of the prompt + time outside the engine", [*parts, *_goal(cost, "ttft")])
    }  # fmt: skip
    later = [basis.step(cost), *_goal(cost, "tpot"), *basis.hardware(cost)]
    found["tpot"] = figure("TPOT, mean time of each further output token", _around(cost, "tpot", op.tpot_s), "s",
                           "mean of the steps that a decoding sequence waits for", later)  # fmt: skip
    return found


def _around(cost: Cost, metric: str, value: float) -> Interval:
    """With the ends that measured times had around predicted ones."""
    ends = cost.deployment.interval(metric)
    return Interval(value, value * ends[0], value * ends[1]) if ends else Interval(value, math.nan, math.nan)


def _goal(cost: Cost, name: str) -> list[Entry]:
    given = name in cost.scenario
    return [entry(f"{name.upper()} goal", getattr(cost.workload.goals, name), "s", "given" if given else "assumed")]


def _traffic(cost: Cost) -> Figures:
    """How much is served, and how full the machine is."""
    state, op, d = cost.operating.state, cost.operating, cost.deployment
    tokens, rps, lanes = cost.tokens_per_request, cost.requests_per_s, d.split.lanes
    requests = entry(
        "requests a second", rps, "1/s", formula="replicas' lanes x utilisation x requests finished a step / step"
    )
    batch = entry("sequences of a replica", float(state.batch), "sequence")
    stay = op.concurrency / rps if rps else math.nan
    busy = [entry("engine busy", float(state.busy) * op.lanes_busy, "%"),
            entry("paid time with traffic (utilisation knob)", cost.paid_share, "%", _given(cost, "utilisation"))]  # fmt: skip
    peak = basis.hardware(cost)[:1]
    return {
        "requests": figure("requests a second", rps, "1/s", requests["formula"],
                           [entry("lanes", lanes, "1"), entry("utilisation", cost.utilisation, "%"),
                            entry("requests finished a step", float(state.finished), "request"), basis.step(cost)]),
        "throughput": figure("output tokens a second", rps * tokens["output"], "token/s", "requests a second x output tokens",
                             [requests, basis.lengths(cost, "output")]),
        "concurrency": figure("requests in flight", op.concurrency, "requests", "requests a second x seconds of a request"
                              " (Little's law)", [requests, entry("seconds of a request", stay, "s")]),
        "batch": figure("sequences that decode together", float(state.batch) * lanes, "sequence", "sequences x lanes",
                        [batch, entry("lanes", lanes, "1")]),
        "utilisation": figure("busy share of paid time", cost.utilisation, "%", "busy share of the engine x paid time with"
                              " traffic", busy),
        "load": figure("load", rps / op.most_rate, "%", "requests a second / the most that meet the goals",
                       [requests, entry("most that meet the goals", op.most_rate, "1/s"), *_goal(cost, "ttft"),
                        *_goal(cost, "tpot")]),
        "mfu": figure("share of peak FLOP/s (MFU)", cost.mfu, "%", "FLOP of the mean step / (step x peak)",
                      [basis.step(cost), *peak]),
        "kv": figure("KV cache in use", float(state.kv_occupancy), "%", "tokens held / tokens that fit",
                     [entry("tokens that fit", d.kv_tokens, "token", formula="memory left by weights and workspace"),
                      basis.read("memory", d.accelerator.memory)]),
    }  # fmt: skip


def _given(cost: Cost, knob: str) -> str:
    return "given" if knob in cost.scenario else "assumed"


def _bills(cost: Cost, found: Figures, listing: str) -> Figures:
    """A request and a month."""
    rate, t = basis.rate(cost, listing), cost.tokens_per_request
    paid = [part for name in TOKENS if t[name] > 0 for part in (basis.lengths(cost, name), of_figure(found[name]))]
    count = cost.deployment.accelerators
    return {
        "request": figure("a mean request", cost.per_request, "$", "sum of its tokens x their price / 1,000,000", paid),
        "month": figure("the machine for a month", cost.per_month, "$", "accelerators x price of an hour x 730.5 hours",
                        [entry("accelerators", count, "accelerator"), rate,
                         entry("hours of a month", MONTH / cost.bill.period_s, "h")]),
    }  # fmt: skip


def receipt(cost: Cost, listing: str = "") -> list[dict[str, Any]]:
    """What an hour pays for, by part: figures of input (cached or not), of output and of both, largest part first.

    Parameters
    ----------
    cost, listing
        As in `figures`.

    Returns
    -------
    list of dict
        ``part``, ``label``, ``share`` of the bill, the same as the figure ``percent``, and ``input``, ``output`` and ``all`` as
        figures (input and output are None in the line ``idle``); the shares add up to 1.
    """
    sums: dict[str, dict[str, float]] = {
        part: {"input": 0.0, "output": 0.0, "seconds": 0.0} for part in (*PARTS, "idle")
    }
    for leaf in cost.receipt:
        token, _, rest = leaf.path.partition("/")
        owed = sums[rest.partition("/")[0] or "idle"]
        owed["output" if token == "output" else "input"] += leaf.usd_share
        owed["seconds"] += leaf.seconds
    lines = [_line(cost, part, owed, listing) for part, owed in sums.items() if owed["input"] + owed["output"] > 0]
    return sorted(lines, key=lambda line: (line["part"] == "idle", -line["share"]))


def _line(cost: Cost, part: str, owed: Mapping[str, float], listing: str) -> dict[str, Any]:
    """One line of the receipt."""
    whole = cost.bill.usd if cost.rate else cost.bill.accelerator_s
    bill = _bill(cost, whole, listing)
    name, share = "idle time" if part == "idle" else LABELS[part], owed["input"] + owed["output"]
    kinds = {kind: _owed(cost, name, kind, owed[kind], whole, bill) for kind in ("input", "output")}
    seconds = entry("accelerator-seconds of this part", owed["seconds"], "accelerator-s")
    paid = entry("accelerator-seconds paid in an hour", cost.bill.accelerator_s, "accelerator-s")
    formula = "accelerator-seconds of this part / those paid in an hour"
    if cost.rate and cost.rate.usd_per_joule:
        formula = "(accelerator-seconds x price of time + joules x price of electricity) / bill of an hour"
    return {
        "part": part,
        "label": name,
        "share": share,
        "percent": figure(
            f"{name}, share of the bill", share, "%", formula, [seconds, paid, *bill], text=f"{share:.1%}"
        ),
        **(dict.fromkeys(kinds) if part == "idle" else kinds),
        "all": _owed(cost, name, "all", share, whole, bill),
    }


def _bill(cost: Cost, whole: float, listing: str) -> list[Entry]:
    if cost.rate is None:
        return [entry("accelerator-seconds of an hour", whole, "accelerator-s")]
    return [entry("bill of an hour", whole, "$", formula="accelerators x price of an hour"), basis.rate(cost, listing)]


def _owed(cost: Cost, name: str, kind: str, share: float, whole: float, bill: list[Entry]) -> Entry:
    """What one part of one kind of token owes in an hour."""
    unit = "$" if cost.rate else "accelerator-s"
    label = f"{name}, {'all tokens' if kind == 'all' else kind + ' tokens'}, of an hour"
    return figure(
        label,
        share * whole,
        unit,
        "share of the bill x bill of an hour",
        [entry("share of the bill", share, "%"), *bill],
    )


def why(cost: Cost) -> list[Any]:
    """The reason in a sentence: texts and figures in turn."""
    said: list[Any] = []
    for token, start in (("output", "An output token is mostly "), ("input", "; an input token mostly ")):
        totals = dict.fromkeys(PARTS, 0.0)
        for line in cost.entries["value"]:
            if line.token == token:
                totals[line.part] += float(line.seconds)
        whole = sum(totals.values()) or 1.0
        top = sorted(totals.items(), key=lambda item: -item[1])[:2]
        for i, (part, seconds) in enumerate(top):
            said += [f"{', ' if i else start}{LABELS[part]} ", _part(cost, token, part, seconds, whole)]
    return [*said, "."]


def _part(cost: Cost, token: str, part: str, seconds: float, whole: float) -> Entry:
    step = float(cost.operating.state.step_s)
    formula = "seconds of this part / all seconds charged to it"
    return figure(f"{LABELS[part]}, of an {token} token", seconds / whole, "%", formula,
                  [entry("this part of the mean step", seconds, "s"), entry(f"all that {token} tokens owe of it", whole, "s"),
                   entry("mean step of the engine", step, "s"), *basis.hardware(cost)])  # fmt: skip
