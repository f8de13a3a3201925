"""Prefill and decode on pools of their own, joined by the transfer of the cache [1]_.

A request needs fresh / C steps of the prefill pool and (O - 1) / B of the decode pool; pools are taken in the proportion in which
neither waits for the other.

References
----------
.. [1] Zhong et al. 2024, arXiv:2401.09670 (DistServe). Patel et al. 2023, arXiv:2311.18677 (Splitwise).
"""

from __future__ import annotations

from pertoken.cost import Cost
from pertoken.engine.roofline import Timed, total_seconds
from pertoken.engine.step import Decode, Step
from pertoken.engine.work import Work
from pertoken.errors import PertokenError
from pertoken.serving.steady import cache_slots
from pertoken.units import format_rate, format_seconds
from pertoken.whatif.base import Case, Counterfactual
from pertoken.whatif.traffic import _decoding, by_hand, in_flight, prompts


class _Pools:
    """Both pools of one case, a lane of each."""

    def __init__(self, cost: Cost) -> None:
        self.cost, self.d = cost, cost.deployment
        self.moments = cost.operating.moments
        fabric = self.d.fabric
        near = 2 * self.d.accelerators <= fabric.domain
        self.path, self.rate = ("link", fabric.link) if near else ("network", fabric.network)
        self.moved = float(self.d.sequence_bytes(float(self.moments.input)))
        self.transfer_s = self.moved / self.rate

    def prefill(self, tokens: float) -> tuple[Step, list[Timed], float]:
        """A step of the prefill pool, what the transfer takes beyond it included."""
        m = self.moments
        step = prompts(m.fresh, m.prior, m.cached, tokens)
        ops = self.d.run(step)
        sent = tokens / float(m.fresh)
        beyond = max(0.0, sent * self.transfer_s - float(total_seconds(ops)))
        ops.append(
            Timed("kv_transfer", "links", 1, Work(link_bytes=sent * self.moved), link_s=beyond, input_tokens=tokens)
        )
        return step, ops, float(total_seconds(ops))

    def decode(self, batch: float) -> tuple[Step, list[Timed], float]:
        """A step of the decode pool."""
        contexts = self.moments.contexts
        step = Step(tuple(Decode(batch / len(contexts), context) for context in contexts))
        ops = self.d.run(step)
        return step, ops, float(total_seconds(ops))

    def ttft(self, tokens: float, seconds: float) -> float:
        """Time to first token: half a step of waiting, the prompt's own chunks, and its cache's way to the other pool [s]."""
        chunks = max(1.0, float(self.moments.fresh) / tokens)
        return (0.5 + chunks) * seconds + self.transfer_s

    def chunk(self) -> float:
        """Prompt tokens of a step: as many as budget, requests in flight and the goal allow, at least a prompt's own."""
        budget, fresh = self.d.profile.token_budget.value, float(self.moments.fresh)
        least, crowd = min(fresh, budget), in_flight(self.cost)
        tokens = max(least, min(budget, crowd * fresh) if crowd else budget)
        goal = self.cost.workload.goals.ttft - self.d.profile.request_delay.value
        while crowd is None and tokens > least and self.ttft(tokens, self.prefill(tokens)[2]) > goal:
            tokens = max(least, tokens / 2.0)
        return tokens

    def batch(self, tokens: float, prefill_s: float) -> tuple[float, str]:
        """Decoding sequences of a step, and what keeps them from being more."""
        m, goal = self.moments, self.cost.workload.goals.tpot
        slots, sequences = float(cache_slots(self.d, m)), self.d.profile.max_sequences.value
        crowd = in_flight(self.cost)
        served = tokens / (float(m.fresh) * prefill_s)  # requests a second that a lane of prefill feeds

        def excess(batch: float) -> float:
            seconds = self.decode(batch)[2]
            if crowd is None:
                return seconds - goal
            there = served * (self.ttft(tokens, prefill_s) + float(m.later) * seconds)
            return there - crowd * (1.0 + served * float(m.later) * seconds / batch)

        most, bound = min((slots, "KV memory"), (sequences, "max sequences"))
        if excess(most) <= 0:
            return most, bound
        low, high = 1.0, most
        for _ in range(40):
            middle = (low + high) / 2.0
            low, high = (middle, high) if excess(middle) <= 0 else (low, middle)
        return low, "TPOT goal" if crowd is None else "concurrency asked for"


def split_pools(cost: Cost, _: float) -> Case:
    """Prefill and decode on pools of their own."""
    _decoding(cost)
    if cost.workload.mode in ("rps", "load"):
        raise PertokenError(
            f"pools are priced in the proportion in which both are busy, which --{cost.workload.mode} does not say; leave it out"
            " or give --concurrency"
        )
    pools, m = _Pools(cost), cost.operating.moments
    tokens = pools.chunk()
    first, opening, prefill_s = pools.prefill(tokens)
    batch, bound = pools.batch(tokens, prefill_s)
    step, ops, decode_s = pools.decode(batch)
    n_first, n_later = float(m.fresh) / tokens, float(m.later) / batch
    made = by_hand(
        cost,
        [(n_later, step, ops), (n_first, first, opening)],
        m,
        bound,
        tpot_s=decode_s,
        ttft_s=pools.ttft(tokens, prefill_s),
        batch=batch,
        kv_occupancy=batch / float(cache_slots(cost.deployment, m)),
    )
    share = n_first * prefill_s / (n_first * prefill_s + n_later * decode_s)
    return Case(
        made,
        (
            f"{share:.0%} of the accelerators prefill, {tokens:,.0f} tokens a step, and the rest decode, {batch:,.0f} sequences"
            f" a step: the proportion in which neither pool waits; the cache crosses the {pools.path} at"
            f" {format_rate(pools.rate, 'B/s')} per accelerator in {format_seconds(pools.transfer_s)}, behind the next prompt's"
            " prefill",
        ),
    )


POOLS = Counterfactual("split-pools", "prefill and decode on separate pools, the KV cache sent between", split_pools)
