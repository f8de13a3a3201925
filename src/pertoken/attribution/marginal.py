"""Short-run marginal: one more token in today's batch, idle capacity free.

What a step costs more for one token more, operation by operation. Reads that the batch has anyway, launches and the host's
time per step are not in it, so the marginals of a step's tokens sum to less than its time, and one alone is no floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pertoken.attribution.batch import Parts, add, scaled, total
from pertoken.attribution.views import View
from pertoken.engine.ops import AttentionOp
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Decode, Step

Number = Any


def added(before: Sequence[Timed], after: Sequence[Timed], share: Number = 1.0) -> Parts:
    """What operations take more ``after`` than ``share`` of them took ``before``, by what then binds [s]."""
    found: Parts = {}
    for name in dict.fromkeys(op.name for op in after):
        pairs = [[op for op in ops if op.name == name] for ops in (before, after)]
        found = add(found, _grown(pairs[0], pairs[1], share))
    return covered(found)


def covered(parts: Parts) -> Parts:
    """The same total without negative parts: what one thing saves (a wait that more work hides) others take less."""
    whole = np.maximum(total(parts), 0.0)
    above = sum(np.maximum(seconds, 0.0) for seconds in parts.values())
    factor = whole / np.where(above > 0, above, 1.0)
    return {part: np.maximum(seconds, 0.0) * factor for part, seconds in parts.items()}


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


class Marginal(View):
    """One more token in today's batch."""

    def flat_input(self) -> Parts:
        step, prompt = self.batch.mixed, self.batch.prompt
        longer = replace(step, prefill=replace(prompt, new=prompt.new + 1.0 / prompt.sequences))
        return added(self.batch.rest(step, last=False), self.batch.rest(longer, last=False))

    def flat_output(self) -> Parts:
        return self._decode(self.batch.rest, 0.0)

    def _decode(self, run: Callable[[Step], list[Timed]], context: Number) -> Parts:
        """What operations take more for one more decode, in the kinds of step that decode."""
        found = []
        for kind, chance in self.batch.decoding:
            longer = replace(kind.step, decodes=(*kind.step.decodes, Decode(1.0, context)))
            found.append(scaled(added(run(kind.step), run(longer)), chance))
        return add(*found)

    def first_output(self) -> Parts:
        step = self.batch.mixed
        longer = replace(step, finishing=step.finishing + 1.0)
        return added(self.batch.rest(step, last=True), self.batch.rest(longer, last=True))

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
        return self._decode(op.at, context)
