r"""A closed loop of finite length: N requests in flight, the next sent when one is answered, as load generators run it.

All N arrive at once, so the first wait for one another's prompts; where outputs are nearly equal they end together, and
the next arrive together again. No steady state tells of that, and a run of ten rounds is mostly that. Steps are advanced
together between events (a prompt due, an answer finished) at the step time of the mean context.

References
----------
.. [1] InferenceMAX, "Benchmark client configuration": ``--num-prompts $(( CONC * 10 ))``, ``--request-rate inf``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.errors import PertokenError
from pertoken.serving.lengths import Lengths, Moments
from pertoken.serving.steady import most_resident

Number = Any
ROUNDS = 10  # requests of a run for each in flight, unless documented otherwise [1]_
MOST_REQUESTS = 20_000  # simulated; a longer run is cut to it, but not below two rounds
GOLDEN = (5.0**0.5 - 1.0) / 2.0
POINTS = 12  # batch sizes, and half as many sizes of a chunk, that are timed; others lie between them


@dataclass(frozen=True)
class Closed:
    """What a client measured over one run.

    Parameters
    ----------
    ttft_s, tpot_s : float
        Means over requests [s]; TPOT is NaN when every answer is one token.
    seconds : float
        From the first request sent to the last answered [s].
    requests : int
        Requests of one lane.
    input, output : float
        Mean lengths drawn [token].
    """

    ttft_s: float
    tpot_s: float
    seconds: float
    requests: int
    input: float
    output: float


class _Times:
    """Seconds of a step by sequences that decode and prompt tokens beside them, at the mean context."""

    def __init__(self, deployment: Deployment, moments: Moments, most: int) -> None:
        budget = deployment.profile.token_budget.value
        sizes = np.unique(np.round(np.geomspace(1, most, POINTS)))
        every = np.arange(1, most + 1)
        context = sum(moments.contexts) / len(moments.contexts)
        pure = _seconds(deployment, Step((Decode(sizes, context),)), sizes.shape)
        self.pure = [0.0, *np.interp(every, sizes, pure)]
        new = min(float(moments.fresh), budget)
        self.chunks = np.unique(
            np.concatenate(([min(16.0, new)], np.geomspace(max(new / 4, 1.0), budget, POINTS // 2)))
        )
        batch, chunk = np.meshgrid(np.concatenate(([1e-6], sizes)), self.chunks, indexing="ij")
        each = np.minimum(chunk, new)
        prefill = Prefill(chunk / each, each, (moments.fresh - each) / 2.0)
        both = _seconds(deployment, Step((Decode(batch, context),), prefill, chunk / float(moments.fresh)), batch.shape)
        whole = np.concatenate(([0], every))
        self.beside = [list(np.interp(whole, batch[:, 0], column)) for column in both.T]

    def mixed(self, sequences: int, tokens: float) -> float:
        """Seconds of a step with ``tokens`` of prompts [s]."""
        at = min(max(int(np.searchsorted(self.chunks, tokens)), 1), len(self.chunks) - 1)
        low, high = self.chunks[at - 1], self.chunks[at]
        share = max(0.0, (tokens - low) / (high - low))
        first, second = self.beside[at - 1][sequences], self.beside[at][sequences]
        return float(first + (second - first) * share)


def _seconds(deployment: Deployment, step: Step, shape: tuple[int, ...]) -> Number:
    return np.broadcast_to(np.asarray(total_seconds(deployment.run(step)), dtype=float), shape)


class _Lane:
    """One batch in flight and its queue."""

    def __init__(self, deployment: Deployment, inputs: Number, outputs: Number, in_flight: int) -> None:
        moments = Lengths(inputs, outputs).moments()
        profile = deployment.profile
        self.slots = max(1, int(min(float(most_resident(deployment, moments)), in_flight)))
        self.times = _Times(deployment, moments, self.slots)
        self.budget, self.beside, self.delay = profile.token_budget.value, profile.mixed, profile.request_delay.value
        self.left, self.outputs = inputs.tolist(), [int(o) for o in outputs]
        self.sent = np.zeros(len(self.left))
        self.first, self.last = self.sent.copy(), self.sent.copy()
        self.clock, self.step, self.next = 0.0, 0, min(in_flight, len(self.left))
        self.queue: deque[int] = deque(range(self.next))
        self.ends: list[tuple[int, int]] = []  # step at which a sequence emits its last token, and its number

    def run(self) -> None:
        """Serve every request."""
        while self.queue or self.ends:
            if self.queue and len(self.ends) < self.slots:
                self._prefill()
            else:
                steps = max(self.ends[0][0] - self.step, 0)
                self.clock += steps * self.times.pure[len(self.ends)]
                self.step += steps
                self._finish()

    def _prefill(self) -> None:
        """One step with prompts, beside the decoding sequences or instead of them."""
        running = len(self.ends)
        room = max(self.budget - running, 1.0) if self.beside else self.budget
        free, tokens, done = self.slots - running, 0.0, list[int]()
        while self.queue and tokens < room and len(done) < free:
            number = self.queue[0]
            part = min(self.left[number], room - tokens)
            self.left[number] -= part
            tokens += part
            if self.left[number] > 0:
                break
            done.append(self.queue.popleft())
        self.clock += self.times.mixed(running if self.beside else 0, tokens)
        if self.beside:
            self.step += 1
            self._finish()
        for number in done:
            self.first[number] = self.clock
            heappush(self.ends, (self.step + self.outputs[number] - 1, number))
        self._finish()

    def _finish(self) -> None:
        """Answer what has ended, and send the next requests in its place."""
        while self.ends and self.ends[0][0] <= self.step:
            number = heappop(self.ends)[1]
            self.last[number] = self.clock
            if self.next < len(self.left):
                self.sent[self.next] = self.clock
                self.queue.append(self.next)
                self.next += 1


def closed_run(deployment: Deployment, lengths: Lengths, in_flight: float, rounds: int = ROUNDS) -> Closed:
    """Serve ``rounds`` times as many requests as are in flight, from an empty engine to an empty engine.

    Lanes share the requests evenly; lengths are drawn evenly and in a fixed order. The delay of a request outside the engine
    (`Profile.request_delay`) is added to its time to first token and is not simulated.

    Parameters
    ----------
    deployment : Deployment
        What serves.
    lengths : Lengths
        Lengths to draw from, equally likely; nothing is cached.
    in_flight : float
        Requests in flight over all lanes, 1 to 10,000 a lane.
    rounds : int
        Requests of the run over those in flight.

    Raises
    ------
    PertokenError
        When ``in_flight`` is out of range.
    """
    most = deployment.split.lanes * MOST_REQUESTS // 2
    if not 1 <= in_flight <= most:
        raise PertokenError(f"{in_flight:g} requests in flight cannot be followed one by one; give 1 to {most:,}")
    lane = max(1, round(in_flight / deployment.split.lanes))
    total = max(2 * lane, min(rounds * lane, MOST_REQUESTS))
    # multiples of the golden ratio: as even as the lengths themselves over every stretch of the run, and in no order
    drawn = (np.modf(np.arange(total) * GOLDEN)[0] * lengths.input.size).astype(int)
    inputs, outputs = lengths.input[drawn], np.maximum(np.round(lengths.output[drawn]), 1.0)
    state = _Lane(deployment, inputs, outputs, lane)
    state.run()
    own = outputs > 1.0
    tpot = float(((state.last - state.first)[own] / (outputs[own] - 1.0)).mean()) if own.any() else float("nan")
    ttft = float((state.first - state.sent).mean()) + state.delay
    return Closed(ttft, tpot, state.clock + rounds * state.delay, total, float(inputs.mean()), float(outputs.mean()))
