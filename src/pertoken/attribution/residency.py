r"""Long-run marginal: what a token costs when machines are added for it, with the price of what binds.

Let a step take T with z_j units of class j in it, :math:`c_j = \partial T / \partial z_j` a unit's own time and
:math:`a = T - \sum_j z_j c_j` what the step takes whoever is in it. Machines K grow until the binding constraint is met
again, :math:`\sum_j z_j R_j = M` with R_j what a unit of class j takes of M. Then

.. math:: \partial K / \partial \lambda_j = c_j + a R_j / M

where memory binds (R_j bytes held over steps, so a / (M T) is the price of a byte-second of residency) or slots do (R_j
steps in a slot), and :math:`c_j T / (T - a)` where the TPOT goal does. It adds up to K in all of them, as K is homogeneous.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pertoken.attribution.batch import Parts, add, scaled, total
from pertoken.attribution.marginal import Marginal, added
from pertoken.attribution.views import Fair, View
from pertoken.engine.ops import AttentionOp
from pertoken.engine.step import Step
from pertoken.errors import PertokenError

Number = Any

MEMORY, GOAL, BUDGET = "KV memory", "TPOT goal", "token budget"
SLOTS = ("max sequences", "concurrency asked for")  # the batch is what is given
PRICED = (MEMORY, GOAL, BUDGET, *SLOTS)


@dataclass(frozen=True)
class LongRun(View):
    """Own time, and a share of the step's fixed time by the binding constraint.

    Parameters
    ----------
    bound : str
        What binds, as in `Operating.bound`.

    Raises
    ------
    PertokenError
        When what binds has no price in closed form.
    """

    bound: str

    def __post_init__(self) -> None:
        if self.bound not in PRICED:
            raise PertokenError(
                f"the long-run view prices what binds, which here is {self.bound}; it is known for {', '.join(PRICED)}: leave"
                " out --load and --rps, raise --ttft, or give --concurrency"
            )

    @cached_property
    def _marginal(self) -> Marginal:
        return Marginal(self.batch)

    @cached_property
    def _fair(self) -> Fair:
        return Fair(self.batch)

    @cached_property
    def beside(self) -> Number:
        """Decoding sequences of a step with prompts over those of one without: what of a decode step it stands for."""
        pure, mixed = (kind.step.decode_tokens for kind in self.batch.state.kinds)
        return mixed / np.maximum(pure, 1e-30)

    def flat_input(self) -> Parts:
        """A chunk lengthens the step it joins; its tokens share that, attention apart."""
        step = self.batch.mixed
        without = self.batch.rest(Step(step.decodes), last=False)
        parts = added(without, self.batch.rest(step, last=False), self.beside)
        return scaled(parts, 1.0 / step.input_tokens)

    def flat_output(self) -> Parts:
        return self._marginal.flat_output()

    def first_output(self) -> Parts:
        step = self.batch.mixed
        without = self.batch.rest(replace(step, finishing=0.0), last=True)
        return scaled(added(without, self.batch.rest(step, last=True)), 1.0 / step.finishing)

    def read_input(self, op: AttentionOp, n: Number) -> Parts:
        return self._fair.read_input(op, n)

    def read_output(self, op: AttentionOp, context: Number) -> Parts:
        return self._marginal.read_output(op, context)

    @cached_property
    def fixed_s(self) -> float:
        """a: what a mean step takes whoever is in it [s]."""
        b, state, m = self.batch, self.batch.state, self.batch.moments
        attention = sum(t.seconds for op in b.attention for t in op.at(b.mixed) if t.name.startswith("prefill"))
        prefill = total(self.flat_input()) * b.mixed.input_tokens + attention
        own = state.kinds[1].share * prefill + state.finished * total(self.first_output())
        if m.decoded > 0:
            contexts = np.asarray(m.contexts)
            reads = total(add(*(self.read_output(op, contexts) for op in b.attention))) if b.attention else 0.0
            own = own + state.finished * m.decoded * (total(self.flat_output()) + np.mean(reads))
        return max(0.0, float(state.step_s - own))

    @property
    def _service_s(self) -> Number:
        """What an input token adds to its request's time in the engine [s]."""
        state, m = self.batch.state, self.batch.moments
        return (state.resident * state.step_s / state.finished - m.later * state.tpot_s) / m.fresh

    @cached_property
    def _held_bytes(self) -> Number:
        """Cache bytes of a mean request on one rank [byte]."""
        d, contexts = self.batch.deployment, self.batch.moments.contexts
        return sum(d.sequence_bytes(c) for c in contexts) / len(contexts)

    @cached_property
    def slot_price(self) -> Number:
        """What a request pays for each second in the engine, if all pay alike [s/s]."""
        return self.fixed_s / (self.batch.state.step_s * self.batch.state.resident)

    @property
    def byte_price(self) -> Number:
        """a / (M T): what a byte of cache on one rank costs for a second [s/(byte s)]."""
        return self.slot_price / self._held_bytes

    def held_input(self, n: Number) -> Parts:
        """A request holds the cache of its mean context from admission on (see `steady`)."""
        if self.bound == MEMORY:
            bytes_ = np.maximum(self.batch.deployment.sequence_bytes(n), self._held_bytes)
            return {"residency": self.byte_price * self._service_s * bytes_}
        return self._slot(self._service_s, 0.0 * n)

    def held_output(self, context: Number) -> Parts:
        if self.bound == MEMORY:
            bytes_ = self.batch.deployment.sequence_bytes(context)
            return {"residency": self.byte_price * self.batch.state.tpot_s * bytes_}
        return self._slot(self.batch.state.tpot_s, 0.0 * context)

    def _slot(self, seconds: Number, zero: Number) -> Parts:
        """The step's fixed time by seconds in a slot, or by tokens of the budget."""
        state, m = self.batch.state, self.batch.moments
        if self.bound in SLOTS:
            return {"fixed": self.slot_price * seconds + zero}
        if self.bound == BUDGET:
            return {"fixed": self.fixed_s / (state.finished * (m.fresh + m.decoded)) + zero}
        return {}

    def finish(self, parts: Parts) -> Parts:
        if self.bound != GOAL:
            return parts
        step_s = self.batch.state.step_s
        return add(parts, {"fixed": total(parts) * self.fixed_s / (step_s - self.fixed_s)})
