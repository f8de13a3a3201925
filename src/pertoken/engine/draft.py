"""Speculative decoding: a small draft model proposes tokens, the model checks them all in one step.

A decode step handles the last token and its d drafts, and emits a of these 1 + d: the acceptance length [1]_.

References
----------
.. [1] Leviathan, Kalman and Matias 2022, arXiv:2211.17192.
.. [2] Li et al. 2024, arXiv:2401.15077 (EAGLE: a draft of one layer, with the model's own embedding and head).
.. [3] DeepSeek-AI 2024, arXiv:2412.19437, section 2.2 (multi-token-prediction layers).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from pertoken.engine.deployment import Deployment
from pertoken.engine.ops import HostOp, Operation
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Decode, Step
from pertoken.model.feedforward import Experts
from pertoken.model.model import Block, Model

Number = Any
GROUP = "draft"


@dataclass(frozen=True)
class DraftOp(Operation):
    """An operation of the draft model: once for each draft of a decoding sequence, and once for prompts.

    Parameters
    ----------
    inner : Operation
        The operation in one pass of the draft model.
    drafts : int
        Drafts of a step.
    """

    inner: Operation
    drafts: int

    def at(self, step: Step) -> list[Timed]:
        found = []
        if step.decodes:
            one = Step(tuple(Decode(d.sequences, d.context) for d in step.decodes))
            found += [replace(t, count=t.count * self.drafts) for t in self.inner.at(one)]
        if step.prefill and not getattr(self.inner, "last_only", False):
            found += self.inner.at(Step((), step.prefill))
        return [replace(t, name=f"draft_{t.name}", group=GROUP) for t in found]


def draft_model(model: Model) -> tuple[Model, str]:
    """A draft for ``model`` and what it is: its own multi-token-prediction layer [3]_, else a copy of its last layer [2]_."""
    if model.mtp:
        block, what = model.mtp[0], "its own multi-token-prediction layer"
    else:
        attention = next((b.attention for b in reversed(model.blocks) if b.attention), None)
        feedforward = next((b.feedforward for b in reversed(model.blocks) if b.feedforward), None)
        block, what = Block(1, attention, feedforward), "one layer shaped like its last"
    return replace(model, name=f"{model.name} draft", blocks=(replace(block, count=1),), mtp=(), extra=0), what


@dataclass(frozen=True)
class Drafted(Deployment):
    """A deployment that decodes speculatively.

    Parameters
    ----------
    drafts : int
        Tokens that the draft model proposes in a step.
    """

    drafts: int = 1

    @cached_property
    def draft(self) -> Deployment:
        """The draft model on the same accelerators."""
        model = draft_model(self.model)[0]
        routed = any(isinstance(b.feedforward, Experts) for b in model.blocks)
        split = replace(self.split, pp=1, dp=self.split.lanes, ep=self.split.ep if routed else 1)
        return Deployment(model, self.precision, self.accelerator, split, self.profile, self.chooser, self.network)

    @cached_property
    def plan(self) -> tuple[Operation, ...]:
        drafted = [op for op in self.draft.plan if not isinstance(op, HostOp)]
        return (*super().plan, *(DraftOp(op.name, GROUP, op.count, op, self.drafts) for op in drafted))

    @cached_property
    def weight_bytes(self) -> float:
        """Weights on the fullest accelerator, the draft's layer included [byte]."""
        return super().weight_bytes + sum(self.draft._block_bytes(b) for b in self.draft.model.blocks)

    def sequence_bytes(self, context: Number) -> Number:
        """Cache bytes of one sequence on one rank, the draft's included [byte]."""
        return super().sequence_bytes(context) + self.draft.sequence_bytes(context) / self.split.pp


def drafted(deployment: Deployment, accepted: float) -> Drafted:
    """The deployment with a draft model that proposes as many tokens as are to be emitted in a step, rounded up.

    Parameters
    ----------
    deployment : Deployment
        What decodes one token at a time.
    accepted : float
        Tokens that a step emits on average, from 1 [token].
    """
    given = {f.name: getattr(deployment, f.name) for f in fields(Deployment)}
    return Drafted(**given, drafts=max(1, math.ceil(accepted)))
