"""The plan of a deployment: the operations that its layers come to, equal ones counted together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from pertoken.engine.collectives import CollectiveOp, Fabric
from pertoken.engine.ops import (
    HALF_BYTES,
    AttentionOp,
    ElementwiseOp,
    ExpertsOp,
    HostOp,
    MatmulOp,
    Operation,
)
from pertoken.engine.parallel import Split
from pertoken.engine.profile import Profile
from pertoken.engine.transfer import LAUNCH_S, Chooser
from pertoken.hardware.accelerator import Accelerator
from pertoken.model.attention import Attention
from pertoken.model.feedforward import Dense, Experts, FeedForward
from pertoken.model.matmul import Matmul
from pertoken.model.model import Model
from pertoken.model.precision import Format, Precision

SAMPLER_BYTES = 10.0  # logits are read in half precision, written and read again in single: 2 + 4 + 4 bytes


def _input_bytes(compute: str) -> float:
    return {"fp8": 1.0, "int8": 1.0, "nvfp4": 0.5625, "mxfp4": 0.53125}.get(compute, HALF_BYTES)


class Deployed(Protocol):
    """What of a deployment its plan depends on."""

    @property
    def model(self) -> Model: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def accelerator(self) -> Accelerator: ...
    @property
    def split(self) -> Split: ...
    @property
    def profile(self) -> Profile: ...
    @property
    def chooser(self) -> Chooser: ...
    @property
    def fabric(self) -> Fabric: ...
    @property
    def kv_bytes(self) -> float: ...


class _Planner:
    """Makes operations for one deployment."""

    def __init__(self, deployment: Deployed) -> None:
        self.d = deployment
        self.tp = deployment.split.tp
        self.hidden = deployment.model.hidden
        self.rate = deployment.accelerator.bandwidth.value

    def arithmetic(self, form: Format) -> tuple[str, float]:
        compute = self.d.accelerator.compute_for(form)
        return compute, self.d.accelerator.peak(compute)

    def kernel_name(self, form: Format) -> str:
        return "fp8_block" if form.name == "fp8" and self.d.precision.blocks else form.name

    def matmul(self, m: Matmul, group: str, count: float, last_only: bool = False) -> MatmulOp:
        form = self.d.precision.of(m.role)
        compute, flops = self.arithmetic(form)
        efficiency = self.paid(self.d.chooser.kernel("matmul", self.kernel_name(form), compute))
        bytes_ = m.parameters * form.bytes
        return MatmulOp(m.name, group, count, m, bytes_, _input_bytes(compute), flops, self.rate, efficiency, last_only)

    def elementwise(
        self, name: str, count: float, token_bytes: float, launches: int, last: bool = False
    ) -> ElementwiseOp:
        rate = self.rate * self.d.chooser.elementwise
        launch = launches * LAUNCH_S * self.d.profile.launch_share.value
        return ElementwiseOp(name, "elementwise", count, token_bytes, rate, launch, last)

    def paid(self, efficiency: Any) -> Any:
        """An efficiency whose launch is what the engine pays of it."""
        return replace(efficiency, launch_s=efficiency.launch_s * self.d.profile.launch_share.value)

    def collective(
        self, kind: str, name: str, count: float, ranks: int, size: float, last: bool = False
    ) -> CollectiveOp:
        efficiency = self.d.chooser.collective(kind)
        skew = self.d.profile.rank_skew.value * (ranks - 1)
        return CollectiveOp(name, "links", count, kind, ranks, size, self.d.fabric, efficiency, skew, last)

    def attention(self, a: Attention, count: float) -> list[Operation]:
        accelerator, chooser = self.d.accelerator, self.d.chooser
        cache = "fp8" if self.d.kv_bytes < HALF_BYTES else "bf16"
        phase = "latent_{}" if a.kind == "latent" else "{}"
        found: list[Operation] = [self.matmul(m, "attention", count) for m in a.projections(self.tp)]
        found.append(
            AttentionOp(
                "attention",
                "attention",
                count,
                a,
                self.tp,
                self.d.kv_bytes,
                accelerator.peak(accelerator.half),
                self.rate,
                self.paid(chooser.phase(phase.format("prefill"), cache)),
                self.paid(chooser.phase(phase.format("decode"), cache)),
                a.tile(self.tp),
            )
        )
        width = a.projections(self.tp)[0].n
        found.append(
            self.elementwise("attention_norms", count, 4 * self.hidden * HALF_BYTES + 2 * width * HALF_BYTES, 2)
        )
        if self.tp > 1:
            found.append(self.collective("all_reduce", "attention_reduce", count, self.tp, self.hidden * HALF_BYTES))
        return found

    def feedforward(self, f: FeedForward, count: float) -> list[Operation]:
        found: list[Operation] = [self.matmul(m, "feedforward", count) for m in f.projections(self.tp)]
        inner = sum(m.k for m in f.projections(self.tp) if m.name.endswith("down")) if isinstance(f, Dense) else 0
        found.append(self.elementwise("feedforward_norms", count, (4 * self.hidden + 3 * inner) * HALF_BYTES, 2))
        if isinstance(f, Experts):
            found += self.experts(f, count)
        elif self.tp > 1:
            found.append(self.collective("all_reduce", "feedforward_reduce", count, self.tp, self.hidden * HALF_BYTES))
        return found

    def experts(self, e: Experts, count: float) -> list[Operation]:
        split, form = self.d.split, self.d.precision.of("experts")
        compute, flops = self.arithmetic(form)
        found: list[Operation] = [
            ExpertsOp(
                "experts", "experts", count, e, split.expert_ranks, split.expert_split, split.pool,
                e.expert_parameters * form.bytes, _input_bytes(compute), flops, self.rate,
                self.paid(self.d.chooser.kernel("experts", self.kernel_name(form), compute)),
                kernels=self.d.profile.expert_kernels.value,
            )
        ]  # fmt: skip
        if split.pool > 1:
            # a token goes once to each rank that holds one of its experts, and comes back in half precision
            reached = split.ep * (1.0 - (1.0 - 1.0 / split.ep) ** e.active)
            copies = reached / split.tp
            found.append(
                self.collective("all_to_all", "dispatch", count, split.ep, copies * e.width * _input_bytes(compute))
            )
            found.append(self.collective("all_to_all", "combine", count, split.ep, copies * e.width * HALF_BYTES))
        elif self.tp > 1:
            found.append(self.collective("all_reduce", "experts_reduce", count, self.tp, self.hidden * HALF_BYTES))
        return found

    def ends(self) -> list[Operation]:
        """What follows the layers."""
        m, split, profile = self.d.model, self.d.split, self.d.profile
        local = -(-m.vocab // self.tp)
        found: list[Operation] = [
            self.matmul(Matmul("head", self.hidden, local, "head"), "head", 1, last_only=True),
            self.elementwise("sampling", 1, m.vocab * SAMPLER_BYTES, 4, last=True),
            HostOp(
                "host",
                "host",
                1,
                profile.host_step.value,
                profile.host_sequence.value,
            ),
        ]
        if self.tp > 1:
            found.append(self.collective("all_gather", "logits_gather", 1, self.tp, m.vocab * HALF_BYTES, last=True))
        if split.pp > 1:
            found.append(
                self.collective("send", "stage_send", split.pp - 1, self.tp * split.pp, self.hidden * HALF_BYTES)
            )
        return found


def build_plan(deployment: Deployed) -> tuple[Operation, ...]:
    """Operations of one forward pass through all layers, equal ones merged.

    Parameters
    ----------
    deployment : Deployed
        What is deployed.
    """
    planner = _Planner(deployment)
    merged: dict[tuple[Any, ...], Operation] = {}
    for block in deployment.model.blocks:
        ops = planner.attention(block.attention, block.count) if block.attention else []
        ops += planner.feedforward(block.feedforward, block.count) if block.feedforward else []
        for op in ops:
            key = (type(op), *(value for name, value in vars(op).items() if name != "count"))
            same = merged.get(key)
            merged[key] = replace(op, count=same.count + op.count) if same else op
    return (*merged.values(), *planner.ends())
