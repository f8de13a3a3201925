"""What a mean token of each kind counts, all ranks together: FLOP, and its share of the bytes that its steps read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.attribution.batch import Batch
from pertoken.attribution.crossing import first, input_flop
from pertoken.cost import Cost
from pertoken.serving.steady import Steady

Number = Any


@dataclass(frozen=True)
class Counts:
    """Of one token.

    Parameters
    ----------
    flop, attention_flop : float or ndarray
        Arithmetic, and that of attention [FLOP].
    weight_bytes, kv_bytes, activation_bytes : float or ndarray
        Its share of what its steps read and write [byte].
    """

    flop: Number
    attention_flop: Number
    weight_bytes: Number
    kv_bytes: Number
    activation_bytes: Number

    @property
    def memory_bytes(self) -> Number:
        """All of it [byte]."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes


def batch_of(cost: Cost) -> Batch:
    """The batch of an operating point."""
    return Batch(cost.deployment, cost.operating.state, cost.operating.moments)


def counts(cost: Cost, state: Steady | None = None) -> dict[str, Counts]:
    """Counts of a mean input and a mean output token; tokens of an operation share its bytes equally.

    Parameters
    ----------
    cost : Cost
        The case.
    state : Steady, optional
        Another state of its deployment, perhaps an array of them; else its own.
    """
    state, moments, tp = state or cost.operating.state, cost.operating.moments, cost.deployment.split.tp
    attention = {f"{phase}_{op.name}" for op in batch_of(cost).attention for phase in ("prefill", "decode")}
    tokens = {"input": state.finished * moments.fresh, "output": state.finished * moments.output}
    sums: dict[str, list[Number]] = {name: [0.0] * 5 for name in tokens}
    for kind in state.kinds:
        for op in kind.ops:
            everyone = np.maximum(op.input_tokens + op.output_tokens, 1e-30)
            for name, own in (("input", op.input_tokens), ("output", op.output_tokens)):
                each = kind.share * op.count * own / everyone * tp / tokens[name]
                work, back = op.work, op.work.flop if op.name in attention else 0.0
                more = (work.flop, back, work.weight_bytes, work.kv_bytes, work.activation_bytes)
                sums[name] = [total + each * amount for total, amount in zip(sums[name], more, strict=True)]
    return {name: Counts(*found) for name, found in sums.items()}


@dataclass(frozen=True)
class LookingBack:
    """The arithmetic of an input token that grows with its position: what makes prefill quadratic.

    Parameters
    ----------
    share : float
        Of a mean input token's arithmetic [1].
    equals : int or None
        Position at which it equals the rest; None when it never does up to the limit.
    grows : bool
        Whether it grows at all.
    """

    share: float
    equals: int | None
    grows: bool


def looking_back(cost: Cost, of_input: Counts) -> LookingBack:
    """How much of an input token's arithmetic is attention to earlier tokens."""
    batch, limit = batch_of(cost), float(cost.deployment.model.context_limit)
    start = float(input_flop(batch, 1.0)[0])

    def surplus(n: Number) -> Number:
        attention, rest = input_flop(batch, n)
        return attention - start - (rest + start)

    grown = float(input_flop(batch, limit)[0]) - start
    mean = max(0.0, float(of_input.attention_flop) - start * cost.deployment.split.tp)
    return LookingBack(mean / float(of_input.flop), first(surplus, limit), grown > 1e-9 * start)


def company(cost: Cost) -> dict[str, float]:
    """Tokens that share one reading of the weights: in steps with prompts, and in those that only decode (0: none do)."""
    pure, mixed = cost.operating.state.kinds
    found = {"prefill": float(mixed.step.tokens), "decode": float(pure.step.tokens)}
    return found | ({"decode": 0.0} if float(pure.share) <= 1e-9 else {})
