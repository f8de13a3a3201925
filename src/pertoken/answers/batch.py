"""Question 3: tokens are processed once each, but not in the same company; what the batch shares and what it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.answers.base import Answer, Asked, Row, Words, bare, factor, sentence, unit_price
from pertoken.answers.counts import Counts, counts
from pertoken.attribution.ledger import by_token, ledger
from pertoken.cost import Cost
from pertoken.serving.operating import at_concurrency
from pertoken.serving.steady import most_resident
from pertoken.units import MILLION, format_bytes

POINTS = 200  # batches looked at
ALIKE = 0.05  # two amounts this near are called the same
KINDS = ("input", "output")


def once(asked: Asked) -> Answer:
    """Question 3."""
    cost = asked.cost
    words = Words(cost.rate is not None)
    question = "With a KV cache an output token is processed just once, like an input token: so why is it dearer?"
    command = asked.command("answers", "--question", "3")
    deeper = asked.command("curve", "--chart", "batch", "-o", "batch.svg")
    if float(cost.operating.moments.decoded) <= 0:
        text = (
            "Each request of this traffic has one output token, which the pass over its prompt gives. No token is"
            " decoded on its own, so there is nothing to compare; give a longer --output."
        )
        return Answer(3, question, text, words, (), command, deeper)
    found = by_batch(cost)
    text = sentence(_reads(words, counts(cost)), _shared(words, found), _equal(words, found))

    def draw() -> Any:
        from pertoken.report import charts

        return charts.batch([cost])

    return Answer(3, question, text, words, _batch_table(cost, found), command, deeper, draw)


@dataclass(frozen=True)
class ByBatch:
    """A case at batches from one sequence a lane to the most that fit, idle time left out.

    Parameters
    ----------
    batch : ndarray
        Sequences that decode together, of all lanes.
    input, output : ndarray
        Fair shares [$ or accelerator-s per million].
    weights, kv : ndarray
        Bytes of weights and of cache that an output token's share of its steps comes to [byte].
    """

    batch: Any
    input: Any
    output: Any
    weights: Any
    kv: Any

    @property
    def ratio(self) -> Any:
        """Output over input [1]."""
        return self.output / self.input


def by_batch(cost: Cost) -> ByBatch:
    """What the batch does to a case; its own amount of traffic does not matter."""
    d, moments = cost.deployment, cost.operating.moments
    state = at_concurrency(d, moments, np.geomspace(1.0, max(float(most_resident(d, moments)), 1.0), POINTS))
    totals, unit = by_token(ledger(state)), d.split.tp * MILLION * unit_price(cost) / state.finished
    money = [totals[kind] * unit / cost.tokens_per_request[kind] for kind in KINDS]
    each = counts(cost, state)["output"]
    batch = np.broadcast_to(state.batch, (POINTS,)) * d.split.lanes
    # where the token budget is full, more requests wait and the batch stays
    kept = np.concatenate(([True], np.diff(batch) > 1e-6 * batch[1:]))
    every = (batch, *money, each.weight_bytes, each.kv_bytes)
    return ByBatch(*(np.broadcast_to(x, (POINTS,))[kept] for x in every))


def _reads(words: Words, each: dict[str, Counts]) -> str:
    weights = {kind: words.bytes(f"{kind}_weight_bytes", each[kind].weight_bytes) for kind in KINDS}
    ratio = each["output"].weight_bytes / each["input"].weight_bytes
    times = (
        f", {words.times('weight_ratio', ratio)} times as much" if ratio > 1.0 + ALIKE
        else ", less" if ratio < 1.0 - ALIKE
        else ", about the same"
    )  # fmt: skip
    caches = [words.bytes(f"{kind}_kv_bytes", each[kind].kv_bytes) for kind in KINDS]
    cached = (
        f" Of its sequence's cache an input token moves {caches[0]}, as a whole chunk shares one reading; an output"
        f" token {caches[1]}."
        if each["output"].kv_bytes > each["input"].kv_bytes
        else f" Of its sequence's cache an input token moves {caches[0]}, an output token {caches[1]}."
    )
    return (
        "Once, but not in the same company. A step reads the weights once for all tokens in it. An input token's"
        f" part of that is {weights['input']}, an output token's {weights['output']}{times}.{cached}"
    )


def _shared(words: Words, found: ByBatch) -> str:
    """That the batch shares the weight read and not the cache read, by two batches."""
    first, last = float(found.batch[0]), float(found.batch[-1])
    if last < 2.0 * first:
        most = words.count("largest_batch", last, "sequence")
        return f"No more than {most} sequences fit, so there is hardly a batch to share with."
    sizes = [words.count(f"{n}_batch", b, "sequence") for n, b in (("smallest", first), ("largest", last))]
    clauses = []
    for name, values, what in (("weights", found.weights, "of weights"), ("kv", found.kv, "of cache")):
        ends = float(values[0]), float(values[-1])
        if max(ends) <= 0:
            continue
        shown = [words.bytes(f"{name}_at_{n}_batch", v) for n, v in zip(("smallest", "largest"), ends, strict=True)]
        fell = ends[0] / max(ends[1], 1e-30)
        how = (
            "the batch shares it" + ("" if fell > last / first / 2 else " in part")
            if fell > 1.1
            else "nobody shares it"
        )
        clauses.append(f"{shown[0]} and {shown[1]} {what}: {how}")
    return f"At a batch of {sizes[0]} and of {sizes[1]} an output token's part is {'; '.join(clauses)}."


def _equal(words: Words, found: ByBatch) -> str:
    """The batch at which an output token costs what an input token does."""
    ratio, batch = found.ratio, found.batch
    crossed = np.flatnonzero(np.diff(np.sign(ratio - 1.0)) != 0)
    ends = [words.times(f"ratio_at_{n}_batch", float(ratio[i])) for n, i in (("smallest", 0), ("largest", -1))]
    goes = f"the ratio goes from {ends[0]} at the smallest batch to {ends[1]} at the largest that fits"
    if crossed.size:
        i = int(crossed[0])
        w = float(np.log(ratio[i]) / (np.log(ratio[i]) - np.log(ratio[i + 1])))
        at = float(np.exp(np.log(batch[i]) + w * np.log(batch[i + 1] / batch[i])))
        when = " first" if crossed.size > 1 else ""
        return f"The two cost the same{when} at a batch of {words.count('equal_at', at, 'sequence')}: {goes}."
    if ratio[0] < 1.0:
        return f"Output is the cheaper one at every batch: {goes}."
    return f"No batch that fits the memory makes the two cost the same: {goes}."


def _batch_table(cost: Cost, found: ByBatch) -> tuple[Row, ...]:
    priced, batch = cost.rate is not None, found.batch
    unit = "$/M" if priced else "s/M"
    rows: list[Row] = [("batch", f"input {unit}", f"output {unit}", "ratio", "weights/token", "cache/token")]
    for at in np.unique([int(np.abs(np.log(batch / b)).argmin()) for b in np.geomspace(batch[0], batch[-1], 7)]):
        money = [bare(float(values[at]), priced) for values in (found.input, found.output)]
        moved = [format_bytes(float(values[at])) for values in (found.weights, found.kv)]
        rows.append((f"{batch[at]:,.0f}", *money, factor(float(found.ratio[at])), *moved))
    return tuple(rows)
