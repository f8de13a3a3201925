"""The batch around a token: what of an operating point stays as it is while one token's own position varies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.engine.ops import AttentionOp
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Prefill, Step
from pertoken.errors import PertokenError
from pertoken.serving.lane import StepKind
from pertoken.serving.lengths import Moments
from pertoken.serving.steady import Steady

Number = Any
Parts = dict[str, Number]  # seconds of one lane by part [s]

PARTS = (
    "weights", "kv", "attention", "compute", "padding", "activations", "links", "overhead", "residency", "fixed",
)  # fmt: skip


def add(*tables: Parts) -> Parts:
    """Sum of several tables of parts."""
    found: Parts = {}
    for table in tables:
        for part, seconds in table.items():
            found[part] = found[part] + seconds if part in found else seconds
    return found


def scaled(table: Parts, factor: Number) -> Parts:
    """All parts times ``factor``."""
    return {part: seconds * factor for part, seconds in table.items()}


def total(table: Parts) -> Number:
    """Sum over parts [s]."""
    return sum(table.values())


@dataclass(frozen=True)
class Batch:
    """The steps of an operating point, and where in them a token of a given position is.

    Parameters
    ----------
    deployment : Deployment
        What serves.
    state : Steady
        One lane.
    moments : Moments
        Averages of the lengths.
    """

    deployment: Deployment
    state: Steady
    moments: Moments

    @cached_property
    def attention(self) -> tuple[AttentionOp, ...]:
        """Operations whose cost depends on position."""
        return tuple(op for op in self.deployment.plan if isinstance(op, AttentionOp))

    def rest(self, step: Step, last: bool | None = None) -> list[Timed]:
        """What a step runs but for attention, which is alike for all positions.

        Parameters
        ----------
        step : Step
            The step.
        last : bool, optional
            Only what tokens that emit an output pass (the head, the sampler), or only what others pass too.
        """
        reads = {f"{phase}_{op.name}" for op in self.attention for phase in ("prefill", "decode")}
        ends = {op.name for op in self.deployment.plan if getattr(op, "last_only", False)}
        known = next((kind.ops for kind in self.state.kinds if kind.step is step), None)
        ops = self.deployment.run(step) if known is None else known
        return [op for op in ops if op.name not in reads and last in (None, op.name in ends)]

    @property
    def mixed(self) -> Step:
        """The step that holds prompts."""
        return self.state.kinds[1].step

    @property
    def prompt(self) -> Prefill:
        """The prompts in it."""
        found = self.mixed.prefill
        assert found is not None
        return found

    @cached_property
    def decoding(self) -> tuple[tuple[StepKind, float], ...]:
        """Kinds of step that decode, with the chance that a decode step is of that kind."""
        counts = [(kind, float(kind.share * kind.step.decode_tokens)) for kind in self.state.kinds]
        whole = sum(count for _, count in counts)
        if whole <= 1e-9 * float(self.state.finished):
            raise PertokenError(
                "this traffic has one output token a request, which prefill emits, so there is no batch in which a later one"
                " decodes; give --output of 2 or more"
            )
        return tuple((kind, count / whole) for kind, count in counts if count > 0)

    def chunk_context(self, n: Number) -> Number:
        """Positions before the chunk in which the n-th input token is computed [token].

        The token is at the chunk's mean place, except where the prompt's end, its beginning or what the prefix cache put
        in front is nearer than half a chunk. A prompt is of mean length, or ends with the token if that comes later.
        """
        new, found = self.prompt.new, self.moments.cached
        centred = n - (new + 1.0) / 2.0
        end = np.maximum(found + self.moments.fresh, n) - new
        return np.where(n > found, np.maximum(np.minimum(centred, end), found), np.maximum(centred, 0.0))

    def prompts_of(self, op: AttentionOp) -> tuple[Number, Number]:
        """Cache bytes that other prompts of the step move [byte], and launch seconds of each input token [s]."""
        (timed,) = (t for t in op.at(self.mixed) if t.name.startswith("prefill"))
        others = timed.work.kv_bytes * (1.0 - 1.0 / np.maximum(self.prompt.sequences, 1.0))
        return others, op.count * timed.overhead_s / self.prompt.tokens

    def decodes_of(self, op: AttentionOp, kind: StepKind) -> tuple[Number, Number]:
        """Cache bytes that other decoding sequences of the step move [byte], and launch seconds of each token [s]."""
        timed = [t for t in op.at(kind.step) if t.name.startswith("decode")]
        sequences = kind.step.decode_tokens
        others = sum(t.work.kv_bytes for t in timed) * (1.0 - 1.0 / np.maximum(sequences, 1.0))
        return others, op.count * sum(t.overhead_s for t in timed) / sequences

    def chunk(self, op: AttentionOp, n: Number, more: float = 0.0) -> Timed:
        """Attention of the whole chunk that holds the n-th input token, ``more`` tokens longer than it is."""
        others, _ = self.prompts_of(op)
        context = self.chunk_context(n)
        cached = np.minimum(self.moments.cached, context)
        return op.sequence("prefill", others, self.prompt.new + more, context, cached)

    def own_arithmetic(self, op: AttentionOp, n: Number) -> Number:
        """The n-th input token's arithmetic in attention over the mean of its chunk [1].

        Its own positions count, and work that comes whatever the position. For windows and the like the FLOP alone, at
        the efficiency of the chunk.
        """
        new, context, a = self.prompt.new, self.chunk_context(n), op.attention
        if a.linear_in_context:
            own = op.sequence("prefill", 0.0, 1.0, n - 1.0).compute_s
            mean = op.sequence("prefill", 0.0, 1.0, context + (new - 1.0) / 2.0).compute_s
        else:
            own, mean = a.flop(1.0, n - 1.0, op.tp), a.flop(new, context, op.tp) / new
        return np.where(mean > 0, own / np.where(mean > 0, mean, 1.0), 1.0)
