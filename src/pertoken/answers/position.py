"""Question 4: what the 11th and the 10,001st token cost, where that stops being flat, and where vendors' tiers begin."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertoken.answers.base import PARAGRAPH, Answer, Asked, Row, Tiers, Words, bare, percent, sentence
from pertoken.attribution.crossing import ATTENTION, grid, share
from pertoken.cost import Cost
from pertoken.report.curve import OFF, Curve
from pertoken.serving.lengths import Array

POSITIONS = (11, 1_000, 10_001, 100_000)
SAME = 0.05  # a change this small is called none


def along(asked: Asked) -> Answer:
    """Question 4."""
    cost, words = asked.cost, Words(asked.cost.rate is not None)
    limit = cost.deployment.model.context_limit
    shown = tuple(n for n in POSITIONS if n <= limit) or (limit,)
    curve = Curve(cost, asked=shown)
    text = sentence(
        _two(words, curve, "input", shown), _crossing(words, curve), _flat(words, curve), _sent(words, curve)
    )
    more = (_tiers(words, curve, asked.tiers) if asked.tiers else "", _output(words, curve))
    text = PARAGRAPH.join(part for part in (text, *more) if part)

    def draw() -> Any:
        from pertoken.report import positions

        return positions.position([Curve(cost)])

    return Answer(
        4,
        "Why does the 11th token cost the same as the 10,001st? Should the price not be quadratic, or is linear honest?",
        text,
        words,
        _table(curve, shown),
        asked.command("answers", "--question", "4"),
        asked.command("curve", "--positions", ",".join(str(n) for n in shown)),
        draw,
    )


def _two(words: Words, curve: Curve, token: str, shown: tuple[int, ...]) -> str:
    """The first position and the 10,001st, or the last that there is."""
    last = min(10_001, curve.last(token))
    if last <= shown[0]:
        return ""
    ends = [float(v) for v in curve.at(token, np.array([shown[0], last], dtype=float)).value]
    first, second = (words.money(f"{token}_at_{n}", v) for n, v in zip((shown[0], last), ends, strict=True))
    places = [words.count(f"{token}_position_{n}", n) for n in (shown[0], last)]
    change = ends[1] / ends[0] - 1.0

    def more() -> str:
        return f"{words.share(f'{token}_rise', abs(change))} {'more' if change >= 0 else 'less'}"

    so = "the same" if abs(change) < 0.0005 else f"nearly the same, {more()}" if abs(change) <= SAME else more()
    return f"An {token} token at position {places[0]} costs {first} per million, one at position {places[1]} {second}: {so}."


def magnitude(n: int) -> str:
    """The order of a length, in words."""
    return (
        "hundreds of tokens" if n < 1_000 else "thousands of tokens" if n < 10_000 else "tens of thousands of tokens"
        if n < 100_000 else "hundreds of thousands of tokens" if n < 1_000_000 else "millions of tokens"
    )  # fmt: skip


def _crossing(words: Words, curve: Curve) -> str:
    """Where attention to earlier tokens equals the products with weights."""
    flop, time = curve.overtakes["input_flop"], curve.overtakes["input_time"]
    limit = words.count("context_limit", curve.limit)
    if flop is None and time is None:
        return (
            f"Attention stays below the products with weights up to the limit of {limit} tokens, in FLOP and in time."
        )
    found = {"FLOP": flop, "time": time}
    clauses = [
        f"in {what} at position {words.count('equal_in_' + what.lower(), n)}"
        if n
        else f"in {what} nowhere up to the limit of {limit}"
        for what, n in found.items()
    ]
    orders = {what: magnitude(n) for what, n in found.items() if n}
    larger = (
        f"from {orders['FLOP']} on, not before" if len(set(orders.values())) == 1 and len(orders) == 2
        else " and ".join(f"from {order} on in {what}" for what, order in orders.items())
    )  # fmt: skip
    return (
        f"Attention equals a token's products with weights {' and '.join(clauses)}: the quadratic term is the larger"
        f" one {larger}."
    )


def doubles(curve: Curve) -> int | None:
    """Length of the prompt whose mean token costs twice the flat price; None when none does up to the limit."""
    n = grid(float(curve.limit), 2000)
    over = np.flatnonzero(curve.means("input", n) >= 2.0 * curve.flat["input"])
    return int(n[over[0]]) if over.size else None


def _flat(words: Words, curve: Curve) -> str:
    """From which length on, and up to which, one price is off."""
    off, twice = curve.off("input"), doubles(curve)
    above, below = off["above_from"], off["below_upto"]
    flat, tenth = words.money("flat_input", curve.flat["input"]), words.share("off", OFF)
    against = f"Against one flat price, the traffic's mean of {flat},"
    less = (
        f"up to {words.count('flat_below_upto', below)} tokens a prompt is over {tenth} cheaper a token"
        if below
        else ""
    )
    if above is None:
        dearer = f"no prompt up to the limit is more than {tenth} dearer a token"
        return f"{against} {dearer}{f', but {less}' if less else ': a linear price is honest here'}."
    double = (
        f"twice as dear from {words.count('flat_doubles_at', twice)} on"
        if twice
        else f"{words.share('off_at_limit', off['at_last'])} dearer at the limit of {words.count('context_limit', curve.limit)}"
    )
    return (
        f"{against} a prompt as a whole is {tenth} dearer a token from {words.count('flat_off_from', above)} tokens"
        f" on, and {double}{f'; {less}' if less else ''}."
    )


def ratios(curve: Curve) -> Array:
    """Mean cost of an input token of each request over the flat price, by its length alone."""
    lengths = np.clip(np.round(curve.cost.workload.lengths.input), 1.0, float(curve.limit))
    each, back = np.unique(lengths, return_inverse=True)
    found: Array = (curve.means("input", each) / curve.flat["input"])[back]
    return found


def _sent(words: Words, curve: Curve) -> str:
    """How flat the cost is over the lengths that are sent."""
    lengths, over = curve.cost.workload.lengths.input, ratios(curve)
    if float(lengths.min()) == float(lengths.max()):
        return f"This traffic sends one length only, {words.things('sent_input', float(lengths[0]), 'token')}."
    near = np.abs(over - 1.0) <= OFF
    within = float(near.mean())
    far = int((~near).sum())
    whom = (
        "for every request" if not far
        else f"for all but {words.count('sent_far', far, 'request')} of {words.count('requests', near.size, 'request')} requests"
        if within > 0.99
        else f"for {words.share('sent_within', within)} of the requests"
    )  # fmt: skip
    places = {"shortest": int(lengths.argmin()), "longest": int(lengths.argmax())}
    said = [
        f"the {name} prompt ({words.things(f'sent_{name}', float(lengths[i]), 'token')}) costs"
        f" {words.share(f'sent_{name}_off', abs(float(over[i]) - 1.0))} {'more' if over[i] >= 1.0 else 'less'} a"
        " token"
        for name, i in places.items()
    ]
    return (
        f"Over the lengths that this traffic sends, the cost of input is {'flat' if within >= 0.9 else 'not flat'}:"
        f" {whom} the flat price is within {words.share('off', OFF)} of the truth; {', '.join(said)}."
    )


def _tiers(words: Words, curve: Curve, tiers: Tiers) -> str:
    """Whether vendors' tiers begin where cost stops being flat."""
    low, high = min(tiers.starts), max(tiers.starts)
    said = (
        f"Of {words.count('vendor_models', tiers.models, 'model')} models that vendors price themselves,"
        f" {words.count('vendor_tiered', tiers.tiered, 'model')} raise their price for long prompts, from"
        f" {words.count('vendor_lowest', low)} to {words.count('vendor_highest', high)} tokens on,"
        f" {words.count('vendor_doubled', tiers.doubled, 'model')} of them twofold ({words.quote(tiers.source)})."
    )
    above, twice = curve.off("input")["above_from"], doubles(curve)
    if above is None:
        return f"{said} Nothing in the cost here calls for one."
    side = (
        "cost here stops being flat before the first of those" if above < low
        else "cost here stops being flat where those begin" if above <= high
        else "cost here stops being flat only after all of those"
    )  # fmt: skip
    if twice is None:
        then = "and it does not double up to the limit"
    elif twice < low:
        then = "and has doubled before it too"
    elif twice <= high:
        then = "and doubles in their midst, so a doubling there is about right"
    else:
        then = "and doubles after all of them"
    return f"{said} By this count {side}, {then}."


def _output(words: Words, curve: Curve) -> str:
    """The same of output."""
    if not curve.decodes or curve.last("output") < 12:
        return ""
    over = curve.overtakes["output_kv_over_weights"]
    before = words.count("output_after", curve.before)
    where = (
        "never passes its share of the weights" if over is None
        else "is more than its share of the weights at any context" if over <= 1
        else f"passes its share of the weights from a context of {words.count('kv_passes_weights', over)} on"
    )  # fmt: skip
    found = _two(words, curve, "output", (11,))
    if not found:
        return ""
    said = f"{found[0].lower()}{found[1:]}"
    return f"After {before} tokens of input: {said} In this batch the reading of its cache {where}."


def _table(curve: Curve, shown: tuple[int, ...]) -> tuple[Row, ...]:
    cost: Cost = curve.cost
    priced = cost.rate is not None
    unit = "$/M" if priced else "s/M"
    n = np.array(shown, dtype=float)
    inputs, means = curve.at("input", n), curve.means("input", n) / curve.flat["input"]
    attention = np.asarray(share(dict(inputs.parts), ATTENTION)) / inputs.value
    rows: list[Row] = [
        ("position", f"input {unit}", "of it attention", "prompt / flat", f"output {unit}", "of it cache")
    ]
    for i, position in enumerate(shown):
        output: tuple[str, str] = ("", "")
        if curve.decodes and position <= curve.last("output"):
            at = curve.at("output", np.array([float(position)]))
            own = float(np.asarray(share(dict(at.parts), ATTENTION)).flat[0] / at.value[0])
            output = (bare(float(at.value[0]), priced), percent(own))
        rows.append(
            (
                f"{position:,}",
                bare(float(inputs.value[i]), priced),
                percent(float(np.broadcast_to(attention, n.shape)[i])),
                f"{float(means[i]):.2f}",
                *output,
            )
        )
    return tuple(rows)
