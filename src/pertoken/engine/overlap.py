"""Two micro-batches that take turns: while one computes, the other's all-to-all is on its way.

Each half of the batch passes all layers, so weights are read twice and shapes are half as tall; what the all-to-all takes
beyond the arithmetic and memory time of both halves stays visible [1]_.

References
----------
.. [1] DeepSeek-AI 2024, arXiv:2412.19437, section 3.4 (two micro-batches in prefill and decode).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pertoken.engine.collectives import CollectiveOp
from pertoken.engine.ops import HostOp, Operation
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Step

OVERLAPS = ("none", "micro-batches")


def hides(op: Operation) -> bool:
    """Whether an operation runs beside the other micro-batch's arithmetic: expert-parallel all-to-all only."""
    return isinstance(op, CollectiveOp) and op.kind == "all_to_all"


def micro_batched(plan: Sequence[Operation], step: Step) -> list[Timed]:
    """Counts and seconds of a step that runs as two micro-batches, the all-to-all of each behind the other's work.

    Parameters
    ----------
    plan : sequence of Operation
        Operations of the forward pass.
    step : Step
        The whole batch; the host handles it once.
    """
    half = step.scaled(0.5)
    pairs = [
        (op, timed if isinstance(op, HostOp) else replace(timed, count=2.0 * timed.count))
        for op in plan
        for timed in op.at(step if isinstance(op, HostOp) else half)
    ]
    sent = sum(t.seconds for op, t in pairs if hides(op))
    beside = sum(t.seconds for op, t in pairs if not hides(op) and not isinstance(op, HostOp))
    shown = np.maximum(0.0, 1.0 - beside / np.maximum(sent, 1e-30))
    return [replace(t, link_s=t.link_s * shown, overhead_s=t.overhead_s * shown) if hides(op) else t for op, t in pairs]
