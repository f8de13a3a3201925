"""Counterfactuals of how requests are run: no cache, no batch, a prefix cache, drafts, pools of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pertoken.attribution.ledger import split
from pertoken.cost import Cost
from pertoken.engine.draft import GROUP, draft_model, drafted
from pertoken.engine.roofline import Timed, total_seconds
from pertoken.engine.step import Prefill, Step
from pertoken.errors import PertokenError
from pertoken.serving.lane import StepKind
from pertoken.serving.lengths import Lengths, Moments
from pertoken.serving.operating import workload_moments
from pertoken.serving.steady import Steady
from pertoken.units import format_seconds
from pertoken.whatif.base import Case, Counterfactual, repriced, traffic

Number = Any


def by_hand(
    cost: Cost, kinds: list[tuple[float, Step, list[Timed]]], moments: Moments, bound: str, **state: float
) -> Cost:
    """The cost where the steps of a request are known: how many of each kind, and what each holds.

    Parameters
    ----------
    cost : Cost
        Gives rate, basis and what else stays.
    kinds : list of (steps of a request, Step, operations)
        A step that serves n requests counts as 1/n of each.
    moments, bound, **state
        Of `Operating` and `Steady`.
    """
    base, lanes = cost.operating.state, cost.deployment.split.lanes
    made = tuple(StepKind(n * base.finished, step, ops, total_seconds(ops)) for n, step, ops in kinds)
    step_s = sum(kind.share * kind.seconds for kind in made)
    found = {"wait_s": 0.0, "resident": state["batch"], "kv_occupancy": 0.0, "prefill_load": 1.0, **state}
    busy = Steady(base.finished, made, step_s, busy=1.0, **found)  # type: ignore[arg-type]
    rate = lanes * float(base.finished / step_s)
    flight = rate * float(moments.later * busy.tpot_s + busy.ttft_s)
    operating = replace(
        cost.operating, state=busy, moments=moments, lanes_busy=1.0, concurrency=flight, bound=bound, most_rate=rate
    )
    return replace(cost, operating=operating)


def in_flight(cost: Cost) -> float | None:
    """Requests in flight of a lane where they were given."""
    workload = cost.workload
    return max(1.0, workload.amount / cost.deployment.split.lanes) if workload.mode == "concurrency" else None


def prompts(length: Number, prior: Number, cached: Number, tokens: float) -> Step:
    """A step of ``tokens`` prompt tokens of prompts of one length."""
    new = min(float(length), tokens)
    context = max(float(prior) + (float(length) - new) / 2.0, 0.0)
    chunk = Prefill(tokens / new, new, context, min(float(cached), context))
    return Step((), chunk, tokens / float(length))


def _decoding(cost: Cost) -> None:
    if float(cost.operating.moments.later) <= 0:
        raise PertokenError(
            "each request emits one token, which its prompt's pass gives; there is no decoding to change"
        )


def recomputed(lengths: Lengths) -> tuple[float, float, float]:
    """Of a mean request without a cache: tokens of all passes after the first, their length, and positions before each.

    The pass for output token t + 1 holds I + t tokens, t from 1 to O - 1; the positions make its pairs come out right.
    """
    i, last = lengths.input, lengths.input + lengths.output - 1.0
    tokens = float(((last * (last + 1.0) - i * (i + 1.0)) / 2.0).mean())

    def squares(n: Number) -> Number:
        return n * (n + 1.0) * (2.0 * n + 1.0) / 6.0

    pairs = (float((squares(last) - squares(i)).mean()) + tokens) / 2.0
    mean = tokens / float((lengths.output - 1.0).mean())
    return tokens, mean, pairs / tokens - (mean + 1.0) / 2.0


def no_kv_cache(cost: Cost, _: float) -> Case:
    """Every output token recomputes its whole context."""
    _decoding(cost)
    d, budget = cost.deployment, cost.deployment.profile.token_budget.value
    moments = replace(replace(cost.workload.lengths, found=None).moments(0.0), contexts=cost.operating.moments.contexts)
    tokens, mean, prior = recomputed(cost.workload.lengths)
    crowd = in_flight(cost)

    def filled(length: float) -> float:
        return max(min(length, budget), min(budget, length * crowd) if crowd else budget)

    first = prompts(moments.fresh, moments.prior, 0.0, filled(float(moments.fresh)))
    again = prompts(mean, prior, 0.0, filled(mean))
    ops = [replace(op, input_tokens=0.0, output_tokens=op.input_tokens + op.output_tokens) for op in d.run(again)]
    opening = d.run(first)
    tpot = float(total_seconds(ops)) * (crowd * mean / filled(mean) if crowd else max(1.0, mean / budget))
    made = by_hand(
        cost,
        [(float(moments.fresh) / first.tokens, first, opening), (tokens / again.tokens, again, ops)],
        moments,
        "recomputing",
        tpot_s=tpot,
        ttft_s=float(total_seconds(opening)) * max(1.0, float(moments.fresh) / budget),
        batch=again.tokens / mean,
    )
    return Case(
        made,
        (
            f"a pass holds {mean:,.0f} tokens on average, and a step {again.tokens:,.0f} tokens of passes; an output token"
            f" then takes {format_seconds(tpot)}, whatever the goal; no prefix is cached either, and the"
            " machine is taken to be busy all the time",
        ),
    )


def no_batching(cost: Cost, _: float) -> Case:
    """One request at a time."""
    lanes = cost.deployment.split.lanes
    if cost.workload.mode == "concurrency" and cost.workload.amount <= lanes:
        raise PertokenError("requests are served one at a time as it is")
    found = repriced(cost, workload=traffic(cost.workload, concurrency=float(lanes)))
    found = replace(found, operating=replace(found.operating, bound="one request at a time"))
    return Case(found, ("the next request starts when one ends",))


def prefix_cache(cost: Cost, rate: float) -> Case:
    """A share of the input is found in a prefix cache."""
    if cost.workload.cached == rate and cost.workload.lengths.found is None:
        raise PertokenError(f"{rate:.0%} of the input is found in the prefix cache as it is")
    lengths = replace(cost.workload.lengths, found=None)
    found = repriced(cost, workload=replace(cost.workload, input=None, output=None, lengths=lengths, cached=rate))
    return Case(found, ("found prefixes are kept in accelerator memory, so loading them costs nothing",))


def speculative(cost: Cost, accepted: float) -> Case:
    """A draft model proposes tokens and the model checks them."""
    _decoding(cost)
    d = cost.deployment
    served = drafted(d, accepted)
    drafts = served.drafts
    moments = replace(workload_moments(served, cost.workload), width=1.0 + drafts, accepted=accepted)
    found = repriced(cost, served, moments=moments)
    lost = (1.0 + drafts - accepted) / (1.0 + drafts)
    rejected = sum(
        float(e.seconds) * float(kind.step.decode_tokens / op.output_tokens) * lost
        for kind in found.operating.state.kinds
        for op in kind.ops
        if op.group not in (GROUP, "host") and np.any(op.output_tokens > 0)
        for e in split(op, kind.share)
        if e.token == "output"
    )
    model = sum(float(e.seconds) for e in found.entries["value"] if e.token == "output" and e.group == GROUP)
    each = d.split.tp / float(found.operating.state.finished * found.operating.moments.output)
    return Case(
        found,
        (
            f"{drafts} drafts a step, of which {accepted - 1.0:.3g} are accepted; the draft model is"
            f" {draft_model(d.model)[1]} with the model's own head, run {drafts} times a step and once over the prompt",
        ),
        (("rejected drafts", rejected * each), ("draft model", model * each)),
    )


TRAFFIC = (
    Counterfactual("no-kv-cache", "each output token recomputes its whole context", no_kv_cache),
    Counterfactual("no-batching", "one request at a time", no_batching),
)
CACHED = Counterfactual("prefix-cache", "{} of the input found in a prefix cache", prefix_cache, 0.5, 0.0, 1.0, "%")
DRAFTS = Counterfactual(
    "speculative", "speculative decoding that emits {} tokens a step", speculative, 2.5, 1.0, 16.0, "token"
)
