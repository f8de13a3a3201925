"""What the model expects of the steps that a probe measures, and which rate decides each of their parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import Timed, total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.measure.fit import Decoded, Prefilled, Steps, fit_steps

TERMS = {
    "memory": "the memory rate", "compute": "the arithmetic peak", "link": "the links", "overhead": "launches and the host",
}  # fmt: skip


def first_token(deployment: Deployment, fresh: float, cached: float = 0.0) -> float:
    """Seconds to the first token of a prompt that is alone, in chunks of the engine's budget [s]."""
    budget = deployment.profile.token_budget.value
    chunks = max(1, math.ceil(fresh / budget))
    size, total = fresh / chunks, deployment.profile.request_delay.value
    for i in range(chunks):
        last = 1.0 if i == chunks - 1 else 0.0
        total += float(total_seconds(deployment.run(Step((), Prefill(1.0, size, cached + i * size, cached), last))))
    return total


def decode_step(deployment: Deployment, batch: float, context: float) -> float:
    """Seconds of a step in which a batch decodes [s]."""
    lane = max(1.0, batch / deployment.split.lanes)
    return float(total_seconds(deployment.run(Step((Decode(lane, context),)))))


def expected_steps(deployment: Deployment, measured: Steps) -> Steps:
    """The model's seconds for everything that was measured, taken apart in the same way."""
    prompts = [replace(p, seconds=first_token(deployment, p.fresh, p.cached)) for p in measured.prompts]
    batches = [replace(b, seconds=decode_step(deployment, b.batch, b.context)) for b in measured.batches]
    return fit_steps(prompts, batches)


def _decides(more: Sequence[Timed], less: Sequence[Timed] = ()) -> str:
    """The term of the roofline that grows most from one step to another."""
    parts = dict.fromkeys(TERMS, 0.0)
    for sign, ops in ((1.0, more), (-1.0, less)):
        for op in ops:
            bound = "compute" if float(op.compute_s) >= float(op.memory_s) else "memory"
            parts[bound] += sign * op.count * float(max(op.compute_s, op.memory_s))
            parts["link"] += sign * op.count * float(op.link_s)
            parts["overhead"] += sign * op.count * float(op.overhead_s)
    return max(parts, key=lambda name: parts[name])


def deciding(deployment: Deployment, measured: Steps) -> dict[str, str]:
    """Which term of the roofline decides each part of the steps, by the part's name."""
    found = {"request": "overhead"}
    if measured.prompts:
        fresh = max(p.fresh for p in measured.prompts)
        found |= _of_prompts(deployment, min(fresh, deployment.profile.token_budget.value))
    if measured.batches:
        found |= _of_batches(deployment, measured.batches)
    return found


def _of_prompts(deployment: Deployment, fresh: float) -> dict[str, str]:
    def run(tokens: float, context: float) -> list[Timed]:
        return deployment.run(Step((), Prefill(1.0, tokens, context), 1.0))

    whole = run(fresh, 0.0)
    return {
        "token": _decides(whole, run(fresh / 2.0, 0.0)),
        "pair": _decides(run(fresh, 4.0 * fresh), whole),
        "cached": "memory",
    }


def _of_batches(deployment: Deployment, batches: Sequence[Decoded]) -> dict[str, str]:
    most, context = max(b.batch for b in batches), max(b.context for b in batches)

    def run(batch: float, tokens: float) -> list[Timed]:
        return deployment.run(Step((Decode(batch, tokens),)))

    one = run(1.0, 1.0)
    return {
        "step": _decides(one), "sequence": _decides(run(max(2.0, most), 1.0), one),
        "context": _decides(run(1.0, 8.0 * context), run(1.0, context)),
    }  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """One thing that was measured, beside what the model says.

    Parameters
    ----------
    what : str
        In words.
    metric : str
        ``ttft`` or ``step``.
    first, second : float
        Fresh and cached tokens of a prompt; or sequences and context of a batch.
    measured, expected : float
        Seconds, the median over repeats [s].
    repeats : int
        How often it was measured.
    """

    what: str
    metric: str
    first: float
    second: float
    measured: float
    expected: float
    repeats: int

    @property
    def error(self) -> float:
        """Expected over measured, less 1."""
        return self.expected / self.measured - 1.0


def compare(deployment: Deployment, measured: Steps) -> list[Compared]:
    """Every prompt and every batch of a probe against the model, repeats together."""
    prompts: dict[tuple[float, float], list[Prefilled]] = {}
    for p in measured.prompts:
        prompts.setdefault((p.fresh, p.cached), []).append(p)
    batches: dict[tuple[float, float], list[Decoded]] = {}
    for b in measured.batches:  # repeats at nearly the same context are of one kind
        batches.setdefault((b.batch, float(f"{b.context:.2g}")), []).append(b)
    found = []
    for (fresh, cached), same in sorted(prompts.items()):
        words = f"prompt of {fresh:,.0f}" + (f" after {cached:,.0f} cached" if cached else "")
        seconds = first_token(deployment, fresh, cached)
        found.append(Compared(words, "ttft", fresh, cached, median(p.seconds for p in same), seconds, len(same)))
    for (batch, _), alike in sorted(batches.items()):
        context = fmean(b.context for b in alike)
        words = f"batch of {batch:,.0f} at {context:,.0f} tokens"
        seconds = decode_step(deployment, batch, context)
        found.append(Compared(words, "step", batch, context, median(b.seconds for b in alike), seconds, len(alike)))
    return found
