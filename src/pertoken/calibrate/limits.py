"""What the datasheet allows at best: a measured time below it cannot be right, whatever the engine."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from pertoken.calibrate.rows import Row
from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.engine.transfer import Chooser
from pertoken.serving.trace import lengths_from_text

MARGIN = 0.97  # of the limit: clocks and datasheets are rounded
_SHARES = ("peak", "bandwidth")


@dataclass
class Ideal(Chooser):
    """Every peak reached at every size, nothing lost between kernels."""

    def adapt(self, group: str, record: Any) -> Any:  # noqa: ARG002
        """The record with all its shares at 1 and all its losses at 0."""
        return replace(record, **{f.name: 1.0 if f.name in _SHARES else 0.0 for f in fields(record)})

    @property
    def elementwise(self) -> float:
        """All of the memory rate."""
        return 1.0


def ideal(deployment: Deployment) -> Deployment:
    """The deployment on its bare datasheet."""
    chooser = deployment.chooser
    given = {f.name: getattr(chooser, f.name) for f in fields(chooser)}
    profile = deployment.profile
    waits = {name: replace(getattr(profile, name), value=0.0) for name in ("host_step", "host_sequence", "rank_skew")}
    return replace(
        deployment, chooser=Ideal(**given | {"assumed": [], "scale": None}), profile=replace(profile, **waits)
    )


def _arithmetic(ops: list[Timed]) -> float:
    return float(sum(op.count * op.compute_s for op in ops))


def _reads(ops: list[Timed]) -> float:
    return float(sum(op.count * op.memory_s for op in ops))


def too_fast(row: Row, deployment: Deployment) -> str:
    """Why a row's figures are faster than its accelerators' datasheet; empty when they are not.

    A token's step reads the weights that it needs and its own context; a first token needs all of its prompt's
    arithmetic; a request's tokens need theirs.
    """
    best, lengths = ideal(deployment), lengths_from_text(row.input, row.output)
    prompt, output = float(lengths.input.mean()), float(lengths.output.mean())
    decode = best.run(Step((Decode(1.0, prompt + output / 2.0),)))
    prefill = best.run(Step((), Prefill(1.0, prompt, 0.0), 1.0))
    alone = _arithmetic(prefill)
    least = {"tpot": _reads(decode), "ttft": alone / deployment.split.pp}
    for metric, what in (("tpot", "a token's reads"), ("ttft", "its prompt's arithmetic")):
        if metric in row.measured and row.measured[metric] < MARGIN * least[metric]:
            return (
                f"{metric.upper()} of {row.measured[metric] * 1e3:.3g} ms is less than the {least[metric] * 1e3:.3g} ms that"
                f" {what} take at the datasheet's peaks"
            )
    counted = {"total": prompt + output, "requests": 1.0}.get(row.counts, output)
    request = (alone + (output - 1.0) * _arithmetic(decode)) / deployment.split.lanes
    most = counted / request
    if row.measured.get("throughput", 0.0) * MARGIN > most:
        return (
            f"throughput of {row.measured['throughput']:.4g}/s is more than the {most:.4g}/s that the arithmetic allows at the"
            " datasheet's peak"
        )
    return ""
