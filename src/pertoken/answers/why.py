"""Questions 1 and 2: why input is cheaper than output, and whether output is about memory."""

from __future__ import annotations

from typing import Any

from pertoken.answers.base import (
    RESOURCES,
    Answer,
    Asked,
    Row,
    Words,
    bare,
    per_million,
    percent,
    resources,
    sentence,
)
from pertoken.answers.counts import Counts, LookingBack, company, counts, looking_back
from pertoken.attribution.ledger import PARTS
from pertoken.cost import Cost
from pertoken.report.text import LABELS
from pertoken.whatif.base import repriced, traffic

NOTHING = 1e-4  # of a token's cost: a part that a table leaves empty
ALIKE = 0.05  # two costs this near are called the same
KINDS = ("input", "output")
RESOURCE = {
    "memory": "reading and moving bytes in memory", "compute": "arithmetic", "links": "links between accelerators",
    "overhead": "launches, latency and the host",
}  # fmt: skip


def compared(words: Words, ratio: float) -> str:
    """An output token's cost beside an input token's."""
    if abs(ratio - 1.0) <= ALIKE:
        return f"the two cost about the same (a ratio of {words.times('ratio', ratio)})"
    if ratio > 1.0:
        return f"an output token costs {words.times('ratio', ratio)} times as much as an input token"
    return f"here it is the input token that is dearer, {words.times('ratio_input_over_output', 1.0 / ratio)} times"


def prices(words: Words, cost: Cost) -> str:
    """What a million tokens of each kind cost, and the ratio."""
    each = per_million(cost)
    return (
        f"A million input tokens cost {words.money('input', each['input'])}, a million output tokens"
        f" {words.money('output', each['output'])}: {compared(words, each['output'] / each['input'])}."
    )


def cheaper(asked: Asked) -> Answer:
    """Question 1."""
    cost = asked.cost
    words, each = Words(cost.rate is not None), counts(cost)
    text = sentence(
        prices(words, cost),
        _quadratic(words, looking_back(cost, each["input"]), each["input"], cost),
        _arithmetic(words, each),
        _company(words, cost, each),
        _difference(words, cost),
    )
    return Answer(
        1,
        "If prefill is quadratic in the input, why are input tokens cheaper than output tokens?",
        text,
        words,
        _parts_table(cost),
        asked.command("answers", "--question", "1"),
        asked.command("explain"),
        _ratio_chart(cost),
    )


def _ratio_chart(cost: Cost) -> Any:
    def draw() -> Any:
        from pertoken.report import charts

        return charts.ratio([cost])

    return draw


def _quadratic(words: Words, back: LookingBack, of_input: Counts, cost: Cost) -> str:
    """How much of an input token's arithmetic grows with its position."""
    flop = words.rate("input_flop", of_input.flop, "FLOP")
    limit = words.count("context_limit", cost.deployment.model.context_limit)
    if not back.grows:
        return f"Prefill is not quadratic in this model: an input token takes {flop} wherever it stands in the prompt."
    share = words.share("quadratic_share", back.share)
    ruling = (
        "so at these lengths prefill is all but linear" if back.share < 0.1
        else "so at these lengths the quadratic part counts without ruling" if back.share < 0.5
        else "so at these lengths the quadratic part rules"
    )  # fmt: skip
    where = (
        f"it would equal all other arithmetic at position {words.count('quadratic_equals_at', back.equals)}"
        if back.equals
        else f"it stays below all other arithmetic up to the limit of {limit} tokens"
    )
    return (
        f"The quadratic part of prefill is looking back at earlier tokens. That is {share} of the {flop} of an input"
        f" token, {ruling}; {where}."
    )


def _arithmetic(words: Words, each: dict[str, Counts]) -> str:
    ratio = each["output"].flop / each["input"].flop
    flop = words.rate("output_flop", each["output"].flop, "FLOP")
    if abs(ratio - 1.0) <= 0.2:
        return f"An output token takes about as much, {flop}, so arithmetic does not tell the two apart."
    return f"An output token takes {flop}, {words.times('flop_ratio', ratio)} times that."


def _company(words: Words, cost: Cost, each: dict[str, Counts]) -> str:
    """How many tokens share a reading of the weights, and what each pays of it."""
    beside = company(cost)
    shared = words.things("tokens_a_step_with_prompts", beside["prefill"], "token")
    alone = (
        f", a step without prompts {words.count('tokens_a_decode_step', beside['decode'])}" if beside["decode"] else ""
    )
    weights = [words.bytes(f"{kind}_weight_bytes", each[kind].weight_bytes) for kind in KINDS]
    own = (
        f", and it moves {words.bytes('output_kv_bytes', each['output'].kv_bytes)} of cache that is its sequence's alone"
        if each["output"].kv_bytes > 0
        else ""
    )
    return (
        f"But tokens share their step's reading of the weights. A step with prompts handles {shared}{alone}."
        f" An input token's part of that reading is {weights[0]}; an output token's is {weights[1]}{own}."
    )


def _difference(words: Words, cost: Cost) -> str:
    """Which parts make most of the difference."""
    priced = cost.rate is not None
    parts = cost.parts(priced)
    gaps = {part: parts.get(("output", part), 0.0) - parts.get(("input", part), 0.0) for part in PARTS}
    whole = sum(gaps.values())
    sign = 1.0 if whole >= 0 else -1.0
    top = [part for part in sorted(gaps, key=lambda p: -sign * gaps[p])[:2] if sign * gaps[part] > 0]
    named = " and ".join(f"{LABELS[part]} ({words.money(f'gap_{part}', sign * gaps[part])})" for part in top)
    dearer = "output" if sign > 0 else "input"
    return f"What makes {dearer} dearer is most of all {named}, per million tokens." if named else ""


def _parts_table(cost: Cost) -> tuple[Row, ...]:
    priced, total = cost.rate is not None, per_million(cost)
    parts = cost.parts(priced)
    unit = "$/M" if priced else "s/M"
    rows: list[Row] = [("of a token", f"input {unit}", "", f"output {unit}", "")]
    for part in PARTS:
        own = [parts.get((kind, part), 0.0) for kind in KINDS]
        if any(own):
            cells = [
                cell
                for kind, v in zip(KINDS, own, strict=True)
                for cell in ((bare(v, priced), percent(v / total[kind])) if v > NOTHING * total[kind] else ("", ""))
            ]
            rows.append((LABELS[part], *cells))
    return (*rows, ("all", bare(total["input"], priced), "100%", bare(total["output"], priced), "100%"))


def memory(asked: Asked) -> Answer:
    """Question 2."""
    cost = asked.cost
    words = Words(cost.rate is not None)
    found = resources(cost, "output")
    text = sentence(
        _verdict(words, found), _intensity(words, cost), *_faster(words, cost), _capacity(words, cost)
    )  # fmt: skip
    both = {kind: resources(cost, kind) for kind in KINDS}
    rows: list[Row] = [("share of a token's time", "input", "output")]
    rows += [(RESOURCE[name], *(percent(both[kind][name]) for kind in KINDS)) for name in RESOURCES]
    return Answer(
        2,
        "Is output about memory capacity and bandwidth rather than FLOPs?",
        text,
        words,
        tuple(rows),
        asked.command("answers", "--question", "2"),
        asked.command("price", "--what-if", "all"),
        _roofline(cost),
    )


def _roofline(cost: Cost) -> Any:
    def draw() -> Any:
        from pertoken.report import pictures

        return pictures.roofline([cost])

    return draw


def _verdict(words: Words, found: dict[str, float]) -> str:
    shown = {name: words.share(f"output_{name}", value) for name, value in found.items()}
    most = max(found, key=lambda name: found[name])
    rest = ", ".join(f"{shown[name]} on {RESOURCE[name]}" for name in RESOURCES if name != "memory" and found[name] > 0)
    spent = f"An output token spends {shown['memory']} of its time on {RESOURCE['memory']}, {rest}."
    if found["memory"] > 0.5:
        return f"Yes, mostly about bandwidth. {spent}"
    if most == "memory":
        return f"About bandwidth more than about any other thing, but not about bandwidth alone. {spent}"
    if found["memory"] > found["compute"]:
        return (
            f"More about bandwidth than about FLOPs, but the largest part is neither: it is {RESOURCE[most]}. {spent}"
        )
    return f"Not here: {RESOURCE['compute']} takes more of it than memory does. {spent}"


def _intensity(words: Words, cost: Cost) -> str:
    """FLOP per byte of an output token against the accelerator's ridge."""
    a, each = cost.deployment.accelerator, counts(cost)
    ridge = a.peak(a.compute_for(cost.deployment.precision.of("feedforward"))) / a.bandwidth.value
    own = each["output"].flop / each["output"].memory_bytes
    side = "below that, on the memory side" if own < ridge else "above that, on the arithmetic side"
    prompt = each["input"].flop / each["input"].memory_bytes
    return (
        f"It does {words.number('output_intensity', own, 'FLOP')} for each byte that it moves, an input token"
        f" {words.number('input_intensity', prompt, 'FLOP')}; the accelerator can do"
        f" {words.number('ridge', ridge, 'FLOP')} in the time in which it moves a byte: output is {side} of the"
        " roofline."
    )


def _change(cost: Cost, name: str) -> float | None:
    """Relative change of an output token's cost by a counterfactual; None where it cannot be."""
    from pertoken.whatif.ask import what_if

    outcome = what_if(cost, f"{name}:2")
    if outcome.after is None:
        return None
    before, after = outcome.figures(outcome.before)["output"], outcome.figures(outcome.after.cost)["output"]
    return after / before - 1.0


def _moves(words: Words, name: str, change: float) -> str:
    if abs(change) < 0.0005:
        return "no change"
    return f"{words.share(name, abs(change))} {'less' if change < 0 else 'more'}"


def _faster(words: Words, cost: Cost) -> tuple[str, ...]:
    """What twice of each peak does to an output token: with the same requests in flight, and within the goals."""
    called = {"bandwidth": "memory bandwidth", "flops": "FLOP/s", "links": "bandwidth of the links"}
    flight = max(1.0, cost.operating.concurrency)
    same = repriced(cost, workload=traffic(cost.workload, concurrency=flight))
    known = {name: change for name in called if (change := _change(same, name)) is not None}
    clauses = [
        f"{_moves(words, f'twice_{name}', change)} with twice the {called[name]}" for name, change in known.items()
    ]
    if not clauses:
        return ()
    first = (
        f"With the same {words.things('in_flight', flight, 'request')} in flight and at the same rent, an output"
        f" token costs {', '.join(clauses)}."
    )
    if cost.workload.mode != "saturated" or cost.operating.bound not in ("TPOT goal", "TTFT goal"):
        return (first,)
    within = [
        _moves(words, f"twice_{name}_within_goals", change)
        for name in known
        if (change := _change(cost, name)) is not None
    ]
    return first, f"As the goals then allow larger batches, it comes to {', '.join(within)}."


def _capacity(words: Words, cost: Cost) -> str:
    """Whether memory's size binds."""
    state, bound = cost.operating.state, cost.operating.bound
    full = words.share("kv_occupancy", float(state.kv_occupancy))
    held = f"the cache is {full} full"
    if bound == "KV memory":
        change = _change(cost, "memory")
        more = (
            f"; with twice the memory a token costs {_moves(words, 'twice_memory', change)}"
            if change is not None
            else ""
        )
        return f"Capacity binds as well: {held}, which is what limits the batch{more}."
    return f"Capacity is not what binds: {held}, and the batch is limited by {limited(bound)}."


def limited(bound: str) -> str:
    """What limits the batch, with an article."""
    return {
        "TPOT goal": "the TPOT goal", "TTFT goal": "the TTFT goal", "token budget": "the token budget of a step",
        "max sequences": "the most sequences of a step", "concurrency asked for": "the concurrency that was asked for",
        "request rate": "the request rate that was asked for", "batch": "the engine's own limits",
    }.get(bound, f"what binds here ({bound})")  # fmt: skip
