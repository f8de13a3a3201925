"""The operations of a forward pass: each turns a Step into counts and seconds on one accelerator.

An operation is made once for a deployment (shapes, rates, efficiencies) and evaluated on any step, whose numbers may be
arrays of scenarios.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pertoken.engine.efficiency import AttentionEfficiency, LatentEfficiency, MatmulEfficiency
from pertoken.engine.roofline import Timed, total_seconds
from pertoken.engine.step import Step
from pertoken.engine.work import Work
from pertoken.model.attention import Attention
from pertoken.model.feedforward import Experts
from pertoken.model.matmul import Matmul

Number = Any
HALF_BYTES = 2.0  # activations between operations are kept in half precision
# first shape of the beta distribution of experts' popularity: 1 is the widest whose density falls steadily, and agrees with
# measured serving better than experts all alike (docs/calibration.md); assumed
EVENNESS = 1.0
CHAIN = 55.0  # kernels that stand behind the products of routed experts, and behind latent attention, assumed
FAR = 1e9  # a context at which kernels reach their full rates [token]


@dataclass(frozen=True)
class Operation(ABC):
    """One operation of the forward pass, ``count`` times over the layers."""

    name: str
    group: str
    count: float

    @property
    def launches(self) -> float:
        """Kernels that the host launches for one repeat where no graph replays them."""
        return 1.0

    @abstractmethod
    def at(self, step: Step) -> list[Timed]:
        """Counts and seconds in one step."""


@dataclass(frozen=True)
class MatmulOp(Operation):
    """A weight matrix that all tokens of the step pass.

    Parameters
    ----------
    matmul : Matmul
        Shape on one rank.
    weight_bytes : float
        Bytes of the whole matrix [byte].
    input_bytes : float
        Bytes per element of its input [byte].
    flops, bandwidth : float
        Dense peak of its arithmetic [FLOP/s] and memory rate [byte/s].
    efficiency : MatmulEfficiency
        Shares of those reached.
    last_only : bool
        Only tokens that emit an output pass (the head).
    """

    matmul: Matmul
    weight_bytes: float
    input_bytes: float
    flops: float
    bandwidth: float
    efficiency: MatmulEfficiency
    last_only: bool = False

    def at(self, step: Step) -> list[Timed]:
        rows = step.emitted if self.last_only else step.tokens
        k, n = self.matmul.k, self.matmul.n
        flop = 2.0 * k * n * rows
        moved = rows * (k * self.input_bytes + n * HALF_BYTES)
        each = 1.0 / (self.bandwidth * self.efficiency.memory(self.weight_bytes + moved))  # s/byte
        reached = self.efficiency.compute(np.maximum(rows, 1.0), n, k)
        return [
            Timed(
                self.name,
                self.group,
                self.count,
                Work(flop=flop, weight_bytes=self.weight_bytes, activation_bytes=moved),
                fixed_s=self.weight_bytes * each,
                moved_s=moved * each,
                compute_s=flop / (self.flops * reached),
                useful=reached / self.efficiency.peak,
                overhead_s=self.efficiency.launch_s,
                input_tokens=0.0 if self.last_only else step.input_tokens,
                output_tokens=rows if self.last_only else step.decode_tokens,
            )
        ]


@dataclass(frozen=True)
class AttentionOp(Operation):
    """Scores and mixing: one operation for each sequence, whose cache read is its own.

    Parameters
    ----------
    attention : Attention
        Kind and shapes.
    tp : int
        Tensor-parallel ranks.
    kv : float
        Bytes per cache element [byte].
    flops, bandwidth : float
        Dense half-precision peak [FLOP/s] and memory rate [byte/s].
    prefill, decode : AttentionEfficiency or LatentEfficiency
        Shares of those reached, by phase.
    lanes : float
        What fills a tile: the head width of grouped attention, the heads on a rank of latent attention.
    """

    attention: Attention
    tp: int
    kv: float
    flops: float
    bandwidth: float
    prefill: AttentionEfficiency | LatentEfficiency
    decode: AttentionEfficiency | LatentEfficiency
    lanes: float

    @property
    def launches(self) -> float:
        """Latent attention is a chain of small kernels: norms, expansions, rotations, copies."""
        return CHAIN if self.attention.kind == "latent" else 1.0

    def at(self, step: Step) -> list[Timed]:
        found = self._phase("decode", [(d.new, d.sequences, d.context, 0.0) for d in step.decodes])
        if step.prefill:
            p = step.prefill
            found += self._phase("prefill", [(p.new, p.sequences, p.context, p.cached)])
        return found

    def sequence(self, phase: str, beside: Number, new: Number, context: Number, cached: Number = 0.0) -> Timed:
        """One sequence in a batch whose others move ``beside`` bytes; the launch that all share is not in it.

        Parameters
        ----------
        phase : str
            ``prefill`` or ``decode``.
        beside : float or ndarray
            Cache bytes that the other sequences read and write [byte].
        new, context, cached : float or ndarray
            As of `Prefill` [token].
        """
        group = (new, 1.0, context, cached)
        moved = self._moved(*group)
        return self._one(phase, beside + sum(moved), 0.0, group, moved)

    def _phase(self, phase: str, groups: list[tuple[Number, Number, Number, Number]]) -> list[Timed]:
        """One launch serves all groups of a phase, and none is needed where no sequence is in it."""
        moved = [self._moved(*g) for g in groups]
        size = sum(map(sum, moved))
        launch = np.minimum(sum(g[1] for g in groups), 1.0) / max(len(groups), 1)
        return [self._one(phase, size, launch, *each) for each in zip(groups, moved, strict=True)]

    def _moved(self, new: Number, sequences: Number, context: Number, *_: Number) -> tuple[Number, Number]:
        """Cache bytes read and written [byte]."""
        read = self.attention.read_bytes(new, context, self.kv, self.tp) * sequences
        return read, self.attention.written_bytes(new, self.kv, self.tp) * sequences

    def _one(
        self, phase: str, size: Number, launch: Number, group: tuple[Number, Number, Number, Number],
        moved: tuple[Number, Number],
    ) -> Timed:  # fmt: skip
        (new, sequences, context, cached), (read, written) = group, moved
        att, efficiency = self.attention, self.decode if phase == "decode" else self.prefill
        flop = att.flop(new, context, self.tp) * sequences
        seen = context if att.reach is None else np.minimum(context, att.reach)
        if att.kind == "linear":  # a state's kernels do the same work whatever the context
            seen = np.maximum(context, FAR)
        size = np.maximum(size, 1.0)
        compute = flop / (self.flops * efficiency.compute(new, seen, self.lanes))
        again = att.expand_flop(new, context, cached, self.tp)
        tokens = sequences * new
        return Timed(
            f"{phase}_{self.name}",
            self.group,
            self.count,
            Work(flop=flop, kv_bytes=read + written),
            fixed_s=read / (self.bandwidth * efficiency.memory(size, seen + new)),
            moved_s=written / (self.bandwidth * efficiency.memory(size)),  # short contexts slow reading only
            compute_s=compute,
            overhead_s=launch * efficiency.launch_s,
            fixed="kv",
            input_tokens=tokens if phase == "prefill" else 0.0,
            output_tokens=tokens if phase == "decode" else 0.0,
            cached_share=0.0 if isinstance(again, float) else again * sequences / np.maximum(flop, 1.0),
        )


@dataclass(frozen=True)
class ExpertsOp(Operation):
    """The routed experts of a layer on one rank.

    Parameters
    ----------
    experts : Experts
        Shapes and routing.
    ranks : int
        Ranks that hold the layer's experts between them (expert parallel x tensor parallel within an expert).
    expert_split : int
        Ranks over which one expert's matrices are split.
    pool : float
        Lanes whose tokens meet in this group of ranks (attention data parallel).
    expert_bytes : float
        Bytes of one whole expert [byte].
    flops, bandwidth : float
        Dense peak of the arithmetic [FLOP/s] and memory rate [byte/s].
    efficiency : MatmulEfficiency
        Shares of those reached.
    kernels : float
        That the host launches for a layer.
    """

    experts: Experts
    ranks: int
    expert_split: int
    pool: float
    expert_bytes: float
    input_bytes: float
    flops: float
    bandwidth: float
    efficiency: MatmulEfficiency
    evenness: float = EVENNESS
    kernels: float = CHAIN

    @property
    def launches(self) -> float:
        """What the engine's profile says of its experts."""
        return self.kernels

    def at(self, step: Step) -> list[Timed]:
        e, rows = self.experts, step.tokens * self.pool
        inner = -(-e.inner // self.expert_split)
        touched = np.maximum(e.touched(rows, self.evenness), 1e-30)  # no tokens take no time, not 0 / 0
        flop = 2.0 * e.active * e.expert_parameters * rows / self.ranks
        weights = touched * self.expert_bytes / self.ranks
        routed = rows * e.active * self.expert_split / self.ranks
        moved = routed * (e.width * (self.input_bytes + HALF_BYTES) + 3.0 * inner * HALF_BYTES)
        per_expert = np.maximum(rows * e.active / touched, 1.0)
        rate = self.bandwidth * self.efficiency.memory(np.maximum(weights + moved, 1.0))
        reached = self.efficiency.compute(per_expert, inner, e.width)
        busiest = 1.0 + self._ahead / np.sqrt(np.maximum(routed, 1.0)) if self._ahead else 1.0
        return [
            Timed(
                self.name,
                self.group,
                self.count,
                Work(flop=flop, weight_bytes=weights, activation_bytes=moved),
                fixed_s=weights / rate * self._most(touched),
                moved_s=moved / rate * busiest,
                compute_s=flop / (self.flops * reached) * busiest,
                useful=reached / self.efficiency.peak,
                overhead_s=self.efficiency.launch_s,
                input_tokens=step.input_tokens,
                output_tokens=step.decode_tokens,
                shape=lambda tau: e.touched(tau * rows, self.evenness) / touched,
            )
        ]

    @cached_property
    def _ahead(self) -> float:
        """Standard deviations by which the largest of the ranks' counts is above the mean (Blom); 0 for one rank."""
        groups = self.ranks // self.expert_split
        if groups < 2:
            return 0.0
        from statistics import NormalDist  # takes as long to load as a price to compute

        return NormalDist().inv_cdf((groups - 0.375) / (groups + 0.25))

    def _most(self, touched: Number) -> Number:
        """Experts touched on the busiest of the ranks that hold whole experts, over the mean.

        A rank holds n of them, each touched with probability q: counts spread by ``sqrt(n q (1-q))``.
        """
        if not self._ahead:
            return 1.0
        held = self.experts.experts * self.expert_split / self.ranks
        q = touched / self.experts.experts
        return np.minimum(1.0 + self._ahead * np.sqrt((1.0 - q) / (held * q)), 1.0 / q)


@dataclass(frozen=True)
class ElementwiseOp(Operation):
    """Norms, activations, positions and residuals: memory traffic and launches, fused as engines do.

    Parameters
    ----------
    token_bytes : float
        Bytes moved for each token [byte].
    bandwidth : float
        Memory rate reached [byte/s].
    launch_s : float
        Launches together [s].
    last_only : bool
        Only tokens that emit an output count (sampling).
    """

    token_bytes: float
    bandwidth: float
    launch_s: float
    last_only: bool = False

    def at(self, step: Step) -> list[Timed]:
        rows = step.emitted if self.last_only else step.tokens
        moved = rows * self.token_bytes
        return [
            Timed(
                self.name,
                self.group,
                self.count,
                Work(activation_bytes=moved),
                moved_s=moved / self.bandwidth,
                overhead_s=self.launch_s,
                input_tokens=0.0 if self.last_only else step.input_tokens,
                output_tokens=rows if self.last_only else step.decode_tokens,
            )
        ]


@dataclass(frozen=True)
class HostOp(Operation):
    """The scheduler and sampler on the host: seconds a step, shared equally, and seconds a sequence, its own.

    Parameters
    ----------
    step_s, sequence_s : float
        From the engine's profile [s].
    """

    step_s: float
    sequence_s: float

    def at(self, step: Step) -> list[Timed]:
        found = [
            Timed(
                "host_step",
                self.group,
                self.count,
                Work(),
                overhead_s=self.step_s,
                input_tokens=step.input_tokens,
                output_tokens=step.decode_tokens,
            ),
            Timed(
                "host_sequence",
                self.group,
                self.count,
                Work(),
                overhead_s=self.sequence_s * step.decode_sequences,
                output_tokens=step.decode_tokens,
            ),
        ]
        if step.prefill:
            seconds = self.sequence_s * step.prefill.sequences
            found.append(
                Timed("host_prompt", self.group, self.count, Work(), overhead_s=seconds, input_tokens=step.input_tokens)
            )
        return found


def launching(step: Step, kernels: list[Timed], seconds: float, captured: float) -> list[Timed]:
    """What kernels wait for their launches where no captured graph replays them.

    The host runs ahead of the accelerator, so a step waits only for what its kernels do not hide.

    Parameters
    ----------
    step : Step
        The forward pass.
    kernels : list of Timed
        All its operations.
    seconds : float
        Launching them one by one [s].
    captured : float
        Decoding sequences up to which a graph was captured; none is for steps that hold prompts.
    """
    if not seconds:
        return []
    wait = np.maximum(seconds - total_seconds(kernels), 0.0)
    if step.prefill:
        return [Timed("launching", "host", 1.0, Work(), overhead_s=wait, input_tokens=step.input_tokens)]
    wait = np.where(step.decode_tokens > captured, wait, 0.0)
    return [Timed("launching", "host", 1.0, Work(), overhead_s=wait, output_tokens=step.decode_tokens)]
