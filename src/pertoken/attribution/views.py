r"""Four answers to what one token costs, by its position: stand-alone, short-run marginal, fair share, long-run marginal.

All give seconds of one lane by part. What differs between positions is attention (and, in the long run, the cache held);
a view says what each operation charges, and `pertoken.attribution.position` adds it up.

References
----------
.. [1] Mirman and Tauman 1982; Mirman, Samet and Tauman 1983 (shares of joint costs).
.. [2] Pope et al. 2022, arXiv:2211.05102 (attention reads each sequence's own cache).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pertoken.attribution.batch import Batch, Parts, add, scaled
from pertoken.attribution.ledger import split
from pertoken.attribution.shares import phases
from pertoken.engine.ops import AttentionOp
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Decode, Prefill, Step

Number = Any


def each(ops: Iterable[Timed], token: str) -> Parts:
    """What one token of a kind owes in operations that its whole kind shares equally [s]."""
    found: Parts = {}
    for op in ops:
        tokens = op.input_tokens if token == "input" else op.output_tokens
        for entry in split(op, 1.0):
            if entry.token == token:
                part = "attention" if entry.part == "compute" and op.fixed == "kv" else entry.part
                found = add(found, {part: entry.seconds / tokens})
    return found


@dataclass(frozen=True)
class View(ABC):
    """What the operations of a step charge one token.

    Parameters
    ----------
    batch : Batch
        The batch around it.
    """

    batch: Batch

    @abstractmethod
    def flat_input(self) -> Parts:
        """Of an input token, what is the same at all positions [s]."""

    @abstractmethod
    def flat_output(self) -> Parts:
        """Of an output token that a decode step makes, what is the same at all positions [s]."""

    @abstractmethod
    def first_output(self) -> Parts:
        """Of the first output token, which prefill emits [s]."""

    @abstractmethod
    def read_input(self, op: AttentionOp, n: Number) -> Parts:
        """Attention of the n-th input token in one operation [s]."""

    @abstractmethod
    def read_output(self, op: AttentionOp, context: Number) -> Parts:
        """Attention of a decode step at ``context`` in one operation [s]."""

    def held_input(self, n: Number) -> Parts:  # noqa: ARG002 - what memory costs is the long run's business
        """What holding memory costs the n-th input token [s]."""
        return {}

    def held_output(self, context: Number) -> Parts:  # noqa: ARG002
        """What holding memory costs a decode step at ``context`` [s]."""
        return {}

    def finish(self, parts: Parts) -> Parts:
        """What is added to all that a token was charged with."""
        return parts


class Fair(View):
    """The fair share: all tokens of the traffic together pay the step, to rounding."""

    def flat_input(self) -> Parts:
        return each(self.batch.rest(self.batch.mixed), "input")

    def flat_output(self) -> Parts:
        return add(
            *(scaled(each(self.batch.rest(kind.step), "output"), chance) for kind, chance in self.batch.decoding)
        )

    def first_output(self) -> Parts:
        return each(self.batch.rest(self.batch.mixed, last=True), "output")

    def read_input(self, op: AttentionOp, n: Number) -> Parts:
        """The chunk's read in equal parts, arithmetic by what each token attends, where it binds."""
        chunk, new = self.batch.chunk(op, n), self.batch.prompt.new
        bound = phases(chunk.fixed_s, chunk.moved_s, chunk.compute_s)
        own = self.batch.own_arithmetic(op, n) * (1.0 - chunk.cached_share)
        parts = {"kv": bound.fixed, "activations": bound.moved, "attention": bound.computed * own}
        return scaled(parts, op.count / new) | {"overhead": self.batch.prompts_of(op)[1]}

    def read_output(self, op: AttentionOp, context: Number) -> Parts:
        found = []
        for kind, chance in self.batch.decoding:
            others, launch = self.batch.decodes_of(op, kind)
            one = op.sequence("decode", others, 1.0, context)
            bound = phases(one.fixed_s, one.moved_s, one.compute_s)
            parts = {"kv": bound.fixed, "activations": bound.moved, "attention": bound.computed}
            found.append(scaled(scaled(parts, op.count) | {"overhead": launch}, chance))
        return add(*found)


class Alone(View):
    """Stand-alone: a step for this token only."""

    def flat_input(self) -> Parts:
        return each(self.batch.rest(Step((), Prefill(1.0, 1.0, 0.0)), last=False), "input")

    def flat_output(self) -> Parts:
        return each(self.batch.rest(Step((Decode(1.0, 0.0),))), "output")

    def first_output(self) -> Parts:
        return each(self.batch.rest(Step(finishing=1.0), last=True), "output")

    def read_input(self, op: AttentionOp, n: Number) -> Parts:
        return each(op.at(Step((), Prefill(1.0, 1.0, n - 1.0))), "input")

    def read_output(self, op: AttentionOp, context: Number) -> Parts:
        return each(op.at(Step((Decode(1.0, context),))), "output")
