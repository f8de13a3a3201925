r"""Static batches: prompts that all arrive at once and are served to the last token, as benchmarks of 2023 and 2024 did.

All prompts are prefilled first, in steps of the token budget; then sequences decode together, O - 1 steps at growing
context, and those that are done leave a smaller batch. What the cache or the engine's limit cannot hold at once is
served in waves. A decode step's time is smooth in context and batch, so it is evaluated at points and integrated.

References
----------
.. [1] Yu et al. 2022, Orca, OSDI (static against iteration-level batching).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import Timed, bounds, total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.errors import DoesNotFit, PertokenError
from pertoken.serving.lengths import Lengths

Number = Any
POINTS = 12  # decode steps evaluated for a run; the rest lie between them
MOST_CHUNKS = 64  # chunks of one prompt that are evaluated; more are averaged


@dataclass(frozen=True)
class Static:
    """One static batch.

    Parameters
    ----------
    seconds : float
        From arrival to the last token [s].
    ttft_s : float
        Mean time to first token: waves before, and prompts ahead in the batch, included [s].
    prefill_s : float
        Until the last prompt of a wave is prefilled: what an engine that batches whole prompts answers first with [s].
    tpot_s : float
        Mean time per output token of a sequence after its first; NaN when every answer is one token [s].
    low, high : float
        Factors on the times when all of compute, memory, link and overhead overlap, and when nothing does.
    waves : int
        Rounds in which the batch was served.
    """

    seconds: float
    ttft_s: float
    prefill_s: float
    tpot_s: float
    low: float
    high: float
    waves: int


def _time(ops: Sequence[Timed]) -> Number:
    """Seconds, and their two bounds, stacked."""
    low, high = bounds(ops)
    return np.stack(np.broadcast_arrays(np.asarray(total_seconds(ops), dtype=float), low, high))


def _prefill(deployment: Deployment, prompts: float, tokens: float) -> tuple[Number, float]:
    """Seconds (value, low, high) of prefilling one lane's prompts, and the mean time to a prompt's end [s]."""
    budget = deployment.profile.token_budget.value
    if tokens > budget:
        chunks = math.ceil(tokens / budget)
        count = min(chunks, MOST_CHUNKS)
        size = tokens / chunks
        context = (np.arange(count) + 0.5) * (chunks / count) * size - size / 2.0
        finishing = np.where(np.arange(count) == count - 1, 1.0, 0.0)
        one = _time(deployment.run(Step((), Prefill(1.0, size, context), finishing))).sum(axis=-1) * (chunks / count)
        return prompts * one, float(one[0]) * (prompts + 1.0) / 2.0
    each = min(prompts, max(1.0, math.floor(budget / tokens)))
    full = math.floor(prompts / each)
    rest = prompts - full * each
    step = _time(deployment.run(Step((), Prefill(each, tokens, 0.0), each)))
    ended = each * float(step[0]) * full * (full + 1) / 2.0
    total = full * step
    if rest > 1e-9:
        last = _time(deployment.run(Step((), Prefill(rest, tokens, 0.0), rest)))
        total = total + last
        ended += rest * float(total[0])
    return total, ended / prompts


def _decode(deployment: Deployment, sequences: float, lengths: Lengths) -> tuple[Number, float]:
    """Seconds (value, low, high) of decoding one lane's sequences, and the mean time per output token [s]."""
    outputs = np.sort(lengths.output)
    steps = float(outputs[-1]) - 1.0
    if steps <= 0:
        return np.zeros(3), float("nan")
    edges = np.linspace(0.0, steps, POINTS + 1)
    at = (edges[1:] + edges[:-1]) / 2.0
    alive = 1.0 - np.searchsorted(outputs - 1.0, at, side="right") / outputs.size
    context = float(lengths.input.mean()) + np.maximum(at - 0.5, 0.0)
    batch = np.maximum(sequences * alive, 1.0)
    times = _time(deployment.run(Step((Decode(batch, context),)))) * np.diff(edges)
    times = np.broadcast_to(times, (3, POINTS))
    # time until each sequence's last token, over its own decode steps
    upto = np.interp(outputs - 1.0, edges, np.concatenate(([0.0], np.cumsum(times[0]))))
    own = outputs > 1.0
    return times.sum(axis=-1), float((upto[own] / (outputs[own] - 1.0)).mean())


def static_batch(deployment: Deployment, lengths: Lengths, sequences: float) -> Static:
    """Serve ``sequences`` prompts that arrive together, with nothing after them.

    Parameters
    ----------
    deployment : Deployment
        What serves.
    lengths : Lengths
        Input and output of the sequences, equally likely; each kind of length is shared out evenly over the batch.
    sequences : float
        Prompts of the batch, at least 1.

    Raises
    ------
    DoesNotFit
        When not even one sequence of mean length fits the cache.
    """
    if not sequences >= 1:
        raise PertokenError(f"a static batch has {sequences:g} sequences; it must have at least 1")
    lane = max(1.0, sequences / deployment.split.lanes)
    mean = float((lengths.input + lengths.output).mean())
    held = float(deployment.sequence_bytes(mean))
    fits = deployment.cache_capacity / deployment.split.pp / max(held, 1e-9) if held > 0 else float("inf")
    if fits < 1:
        deployment.check_fit(mean)
        raise DoesNotFit(
            f"a sequence of {mean:,.0f} tokens does not fit beside the weights; use more accelerators", held
        )
    waves = math.ceil(lane / min(math.floor(fits) if fits < lane else lane, deployment.profile.max_sequences.value))
    size = lane / waves
    prefill, ended = _prefill(deployment, size, float(lengths.input.mean()))
    decode, tpot = _decode(deployment, size, lengths)
    wave = prefill + decode
    value, low, high = (float(part) for part in waves * wave)
    return Static(
        value, (waves - 1) / 2.0 * float(wave[0]) + ended, float(prefill[0]), tpot, low / value, high / value, waves
    )
