"""Questions 8 and 9: what a tenth of the traffic costs, and what more input for each output token changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pertoken.answers.base import Answer, Asked, Row, Words, bar, bare, factor, per_million, percent, sentence
from pertoken.cost import Cost, price_deployment
from pertoken.errors import PertokenError
from pertoken.serving.lengths import Lengths
from pertoken.serving.workload import Workload
from pertoken.units import format_seconds
from pertoken.whatif.base import traffic

TENTH = 0.1
RATIOS = (1, 3, 5, 10, 30, 100)
ENDS = (3, 10)  # what people send


def again(cost: Cost, workload: Workload) -> Cost:
    """The same case under another workload, idle time spread over its tokens."""
    about = {name: getattr(cost, name) for name in ("rate_missing", "assumed", "scenario", "draw", "site")}
    return price_deployment(cost.deployment, workload, cost.rate, 1.0, "allocation", **about)


def at_tenth(cost: Cost) -> tuple[dict[str, Cost], str]:
    """Cases of question 8 by name, and why there is no load where there is none."""
    w = cost.workload
    cases: dict[str, Cost] = {}
    if w.mode == "concurrency":
        asked = replace(cost, paid_share=1.0, basis="allocation")
        cases |= {"as asked": asked, "utilisation 0.1": replace(asked, paid_share=TENTH)}
    try:
        full = again(cost, traffic(w))
        loaded = again(cost, traffic(w, load=TENTH))
    except PertokenError as error:
        if w.mode != "concurrency":
            asked = replace(cost, basis="allocation")
            return {"as asked": asked}, str(error)
        return cases, str(error)
    if "as asked" not in cases:
        return {"full": full, "utilisation 0.1": replace(full, paid_share=TENTH), "load 0.1": loaded}, ""
    return cases | {"load 1": full, "load 0.1": loaded}, ""


def tenth(asked: Asked) -> Answer:
    """Question 8."""
    cost, words = asked.cost, Words(asked.cost.rate is not None)
    cases, refused = at_tenth(cost)
    full = cases.get("load 1") or next(iter(cases.values()))
    text = sentence(
        "Ten per cent can mean three things.",
        _utilisation(words, cases),
        _load(words, cases, full, refused),
        _same(words, cases),
        _mfu(words, cases, full),
    )
    return Answer(
        8,
        "What does a token cost at 10% utilisation?",
        text,
        words,
        _cases_table(cases, words.priced),
        asked.command("answers", "--question", "8"),
        asked.command("curve", "--chart", "load", "-o", "load.svg"),
        None if refused else _load_chart(cost),
    )


def _load_chart(cost: Cost) -> Any:
    def draw() -> Any:
        from pertoken.report import charts

        return charts.load([cost])

    return draw


def _both(words: Words, name: str, cost: Cost) -> str:
    each = per_million(cost)
    shown = [words.money(f"{name}_{kind}", each[kind]) for kind in ("input", "output")]
    return f"{shown[0]} a million input tokens and {shown[1]} a million output tokens"


def _utilisation(words: Words, cases: Mapping[str, Cost]) -> str:
    if "utilisation 0.1" not in cases:
        return ""
    case, before = cases["utilisation 0.1"], next(iter(cases.values()))
    size = f", at a batch of {words.count('full_batch', batch(case), 'sequence')}," if decodes(case) else ""
    times = words.times("utilisation_times", per_million(case)["output"] / per_million(before)["output"])
    return (
        f"Utilisation {words.keep('utilisation', TENTH, '1', '0.1')}: the machine runs as it does when always"
        f" busy{size} for a tenth of the time that is paid. An output token pays {times} times as much:"
        f" {_both(words, 'utilisation', case)}."
    )


def batch(cost: Cost) -> float:
    """Sequences that decode together, all lanes."""
    return float(cost.operating.state.batch) * cost.deployment.split.lanes


def decodes(cost: Cost) -> bool:
    """Whether the traffic has output tokens beyond each request's first, so that there is a batch."""
    return float(cost.operating.moments.decoded) > 0


def _load(words: Words, cases: Mapping[str, Cost], full: Cost, refused: str) -> str:
    if "load 0.1" not in cases:
        return f"A load of a tenth has no meaning here: {words.quote(refused)}."
    case = cases["load 0.1"]
    paces = ""
    if decodes(case):
        size = words.count("load_batch", batch(case), "sequence")
        tpot = [words.seconds(f"{n}_tpot", c.operating.tpot_s) for n, c in (("load", case), ("full", full))]
        paces = (
            f", at a batch of {size} instead of {words.count('load_1_batch', batch(full), 'sequence')}; an output"
            f" token takes {tpot[0]} instead of {tpot[1]}"
        )
    return (
        f"Load {words.keep('load', TENTH, '1', '0.1')}: a tenth of the highest rate of requests trickles in all day."
        f" The machine then works {words.share('load_busy', case.utilisation)} of the time{paces}. That costs"
        f" {_both(words, 'load', case)}."
    )


def _same(words: Words, cases: Mapping[str, Cost]) -> str:
    """What is alike and what is not in the two."""
    if "load 0.1" not in cases or "utilisation 0.1" not in cases:
        return ""
    one, two = cases["utilisation 0.1"], cases["load 0.1"]
    requests = [words.money(f"{n}_request", _request(c), "request") for n, c in (("utilisation", one), ("load", two))]
    ratios = [words.times(f"{n}_ratio", c.ratio) for n, c in (("utilisation", one), ("load", two))]
    over = f"output over input is {ratios[0]} in the one and {ratios[1]} in the other"
    if abs(_request(two) / _request(one) - 1.0) < 0.001:
        return (
            f"The bill and the requests are the same in both, so a request costs the same, {requests[0]}; but {over}."
        )
    same = abs(two.requests_per_s / one.requests_per_s - 1.0) < 0.01
    why = ", for the same number of requests" if same else ", as they do not serve the same number of requests"
    return f"A request costs {requests[0]} in the one and {requests[1]} in the other{why}; {over}."


def _request(cost: Cost) -> float:
    return (cost.per_request if cost.rate else cost.accelerator_s_per_request).value


def _mfu(words: Words, cases: Mapping[str, Cost], full: Cost) -> str:
    busy = words.share("full_mfu", full.mfu)
    clauses = [
        f"{words.share(f'{key}_mfu_paid', cases[name].mfu * cases[name].utilisation)} at {words.quote(name)}"
        for name, key in (("utilisation 0.1", "utilisation"), ("load 0.1", "load"))
        if name in cases
    ]
    paid = f" Over paid time it is {' and '.join(clauses)}." if clauses else ""
    when = "works at full batch" if "load 0.1" in cases else "works"
    far = ", so a machine that is never idle may still be far from its peak" if full.mfu < 0.5 else ""
    return f"MFU, FLOP done over the peak, is the third: {busy} while the machine {when}{far}.{paid}"


def _cases_table(cases: Mapping[str, Cost], priced: bool) -> tuple[Row, ...]:
    unit = "$/M" if priced else "s/M"
    rows: list[Row] = [
        ("", "batch", "busy", "TTFT", "TPOT", "MFU busy", "MFU paid", f"input {unit}", f"output {unit}", "ratio")
    ]
    for name, case in cases.items():
        each = per_million(case)
        size = f"{batch(case):,.1f}" if decodes(case) else ""
        rows.append((
            name, size, percent(case.utilisation), format_seconds(case.operating.ttft_s),
            format_seconds(case.operating.tpot_s), percent(case.mfu), percent(case.mfu * case.utilisation),
            *(bare(each[k], priced) for k in ("input", "output")), factor(case.ratio),
        ))  # fmt: skip
    return tuple(rows)


@dataclass(frozen=True)
class Mix:
    """A case at one ratio of input to output.

    Parameters
    ----------
    ratio : float
        Input tokens for each output token.
    cost : Cost
        Its answer.
    """

    ratio: float
    cost: Cost

    @property
    def request(self) -> float:
        """What a request costs [$ or accelerator-s]."""
        return _request(self.cost)

    @property
    def input_share(self) -> float:
        """Share of a request's cost that its input pays [1]."""
        tokens, each = self.cost.tokens_per_request, per_million(self.cost)
        both = tokens["input"] * each["input"], tokens["output"] * each["output"]
        return both[0] / sum(both)


def mixes(cost: Cost) -> tuple[list[Mix], list[str]]:
    """Cases of the same output and more and more input, and why others are left out."""
    output = max(2.0, round(float(cost.operating.moments.output)))
    kept: dict[str, Any] = {"concurrency": cost.workload.concurrency}
    found, refused = [], []
    for ratio in RATIOS:
        lengths = Lengths.fixed(ratio * output, output)
        try:
            workload = replace(traffic(cost.workload, **kept), input=None, output=None, lengths=lengths)
            found.append(Mix(float(ratio), again(cost, workload)))
        except PertokenError as error:
            refused.append(f"{ratio}: {error}")
    return found, refused


def mix(asked: Asked) -> Answer:
    """Question 9."""
    cost, words = asked.cost, Words(asked.cost.rate is not None)
    found, refused = mixes(cost)
    by = {m.ratio: m for m in found}
    text = sentence(_own(words, cost), _sweep(words, by, found), _left(words, refused))
    return Answer(
        9,
        "People send 3 to 10 times more input than output: what does that change?",
        text,
        words,
        _mix_table(found, words.priced),
        asked.command("answers", "--question", "9"),
        _lengths_command(asked),
        _mix_chart(cost, found) if len(found) > 1 else None,
    )


def _lengths_command(asked: Asked) -> str:
    """Two of the mixes side by side."""
    knobs = {k: v for k, v in asked.cost.scenario.items() if k not in ("input", "output", "trace")}
    plain = replace(asked, cost=replace(asked.cost, scenario=knobs))
    output = max(2, round(float(asked.cost.operating.moments.output)))
    sizes = [part for ratio in ENDS for part in ("--input", str(ratio * output))]
    return plain.command("price", *sizes, "--output", str(output))


def _own(words: Words, cost: Cost) -> str:
    m = cost.operating.moments
    ratio = float(m.input / m.output)
    return f"This traffic sends {words.times('own_ratio', ratio)} times as much input as output."


def _change(words: Words, name: str, before: float, after: float) -> str:
    change = after / before - 1.0
    if abs(change) < 0.005:
        return "the same"
    return f"{words.share(name, abs(change))} {'more' if change > 0 else 'less'}"


def _sweep(words: Words, by: Mapping[float, Mix], found: list[Mix]) -> str:
    if len(found) < 2:
        return "There are no two ratios at which this machine can serve the traffic within its limits, so none can be compared."
    first, second = (by[e] for e in ENDS) if all(e in by for e in ENDS) else (found[0], found[-1])
    places = [words.things(f"ratio_{n}", m.ratio, "token") for n, m in (("low", first), ("high", second))]
    output = words.count("output_tokens", float(first.cost.operating.moments.output))
    times = words.times("length_times", second.ratio / first.ratio)
    requests = [words.money(f"request_{n}", m.request, "request") for n, m in (("low", first), ("high", second))]
    shares = [words.share(f"input_share_{n}", m.input_share) for n, m in (("low", first), ("high", second))]
    batches = [words.count(f"batch_{n}", batch(m.cost), "sequence") for n, m in (("low", first), ("high", second))]
    goes = f"stays at {batches[0]}" if batches[0] == batches[1] else f"goes from {batches[0]} to {batches[1]}"
    prices = [per_million(m.cost) for m in (first, second)]
    changes = {k: _change(words, f"{k}_change", prices[0][k], prices[1][k]) for k in ("input", "output")}
    most, then = ("most" if m.input_share >= 0.5 else "the smaller part" for m in (first, second))
    then = f"still {then}" if then == most else then
    shown = [words.money(f"output_{n}", p["output"]) for n, p in zip(("low", "high"), prices, strict=True)]
    return (
        f"Take answers of {output} tokens. With {places[0]} of input for each, a request costs {requests[0]} and its"
        f" input is {most} of that, {shares[0]}; with {places[1]}, {times} times the input, it costs {requests[1]},"
        f" and input is {then} of it, {shares[1]}. The batch {goes}. A million output tokens cost {shown[0]} and"
        f" then {shown[1]}, {changes['output']}; input tokens cost {changes['input']}."
    )


def _left(words: Words, refused: list[str]) -> str:
    if not refused:
        return ""
    ratio, _, why = refused[0].partition(": ")
    return f"Left out from a ratio of {words.count('left_out', float(ratio), '1')} on: {words.quote(why)}."


def _mix_table(found: list[Mix], priced: bool) -> tuple[Row, ...]:
    if not found:
        return ()
    unit = "$" if priced else "s"
    most = max(m.request for m in found)
    rows: list[Row] = [
        ("input/output", "batch", f"input {unit}/M", f"output {unit}/M", f"request {unit}", "input's share", "")
    ]
    for m in found:
        each = per_million(m.cost)
        money = (*(each[k] for k in ("input", "output")), m.request)
        rows.append((
            f"{m.ratio:g}", f"{batch(m.cost):,.1f}", *(bare(v, priced) for v in money), percent(m.input_share),
            bar(m.request, most),
        ))  # fmt: skip
    return tuple(rows)


def _mix_chart(cost: Cost, found: list[Mix]) -> Any:
    def draw() -> Any:
        from pertoken.answers import pictures

        return pictures.mixes(cost, [(m.ratio, m.request, m.input_share) for m in found])

    return draw
