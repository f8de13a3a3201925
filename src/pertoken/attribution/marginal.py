"""Short-run marginal: one more token in today's batch, idle capacity free.

What a step costs more for one token more, operation by operation. Reads that the batch has anyway, launches and the host's
time per step are not in it, so the marginals of a step's tokens sum to less than its time, and one alone is no floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pertoken.attribution.batch import Parts, add, scaled
from pertoken.attribution.views import View, last_only
from pertoken.engine.ops import AttentionOp, Operation
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Decode, Step

Number = Any


def added(before: Sequence[Timed], after: Sequence[Timed], share: Number = 1.0) -> Parts:
    """What operations of one name take more ``after`` than ``share`` of them took ``before``, by what then binds [s]."""
    found: Parts = {}
    for name in dict.fromkeys(op.name for op in after):
        pairs = [[op for op in ops if op.name == name] for ops in (before, after)]
        found = add(found, _grown(pairs[0], pairs[1], share))
    return found


def _grown(before: Sequence[Timed], after: Sequence[Timed], share: Number) -> Parts:
    def grown(seconds: Any) -> Number:
        return sum(op.count * seconds(op) for op in after) - share * sum(op.count * seconds(op) for op in before)

    busy = grown(lambda op: np.maximum(op.compute_s, op.memory_s))
    # whether memory binds is asked of the last group, which holds the token
    memory = after[-1].memory_s >= after[-1].compute_s
    fixed = np.maximum(busy - np.maximum(grown(lambda op: op.moved_s), 0.0), 0.0)
    return {
        after[-1].fixed: np.where(memory, fixed, 0.0),
        "activations": np.where(memory, busy - fixed, 0.0),
        "attention" if after[-1].fixed == "kv" else "compute": np.where(memory, 0.0, busy),
        "links": grown(lambda op: op.link_s),
        "overhead": grown(lambda op: op.overhead_s),
    }


def more(ops: Sequence[Operation], before: Step, after: Step) -> Parts:
    """What a step takes more than another in some operations, by part [s]."""
    return add({}, *(added(op.at(before), op.at(after)) for op in ops))


class Marginal(View):
    """One more token in today's batch."""

    def flat_input(self) -> Parts:
        step, prompt = self.batch.mixed, self.batch.prompt
        longer = replace(step, prefill=replace(prompt, new=prompt.new + 1.0 / prompt.sequences))
        return more([op for op in self.batch.rest if not last_only(op)], step, longer)

    def flat_output(self) -> Parts:
        return self._decode(self.batch.rest, 0.0)

    def _decode(self, ops: Sequence[Operation], context: Number) -> Parts:
        return add(
            *(
                scaled(
                    more(ops, kind.step, replace(kind.step, decodes=(*kind.step.decodes, Decode(1.0, context)))), chance
                )
                for kind, chance in self.batch.decoding
            )
        )

    def first_output(self) -> Parts:
        step = self.batch.mixed
        ops = [op for op in self.batch.rest if last_only(op)]
        return more(ops, step, replace(step, finishing=step.finishing + 1.0))

    def read_input(self, op: AttentionOp, n: Number) -> Parts:
        chunk, longer = self.batch.chunk(op, n), self.batch.chunk(op, n, 1.0)
        memory = chunk.memory_s >= chunk.compute_s
        own = chunk.compute_s * (1.0 - chunk.cached_share) / self.batch.prompt.new * self.batch.own_arithmetic(op, n)
        moved = longer.moved_s - chunk.moved_s
        parts = {
            "kv": np.where(memory, longer.memory_s - chunk.memory_s - moved, 0.0),
            "activations": np.where(memory, moved, 0.0),
            "attention": np.where(memory, 0.0, own),
        }
        return scaled(parts, op.count)

    def read_output(self, op: AttentionOp, context: Number) -> Parts:
        return self._decode([op], context)
