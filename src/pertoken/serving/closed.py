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
FULL = 0.9  # of a step's budget: prompts that fill so much of it wait for no more, as TensorRT-LLM's batch_wait has it
PLASTIC = 0.7548776662466927  # as even a spread as `GOLDEN`'s, and unrelated to it
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
    """One batch in flight, its queue, and requests on their way to it."""

    def __init__(self, deployment: Deployment, inputs: Number, outputs: Number, in_flight: int) -> None:
        moments = Lengths(inputs, outputs).moments()
        profile = deployment.profile
        self.slots = max(1, int(min(float(most_resident(deployment, moments)), in_flight)))
        self.times = _Times(deployment, moments, self.slots)
        self.budget, self.beside, self.chunked = profile.token_budget.value, profile.mixed, profile.chunked
        self.left, self.outputs = inputs.tolist(), [int(o) for o in outputs]
        self.sent = np.zeros(len(self.left))
        self.first, self.last = self.sent.copy(), self.sent.copy()
        # what a request spends on its way differs from request to request, which is what takes equal ones out of step
        even = np.modf((np.arange(len(self.left)) + 1.0) * PLASTIC)[0]
        self.delays = (2.0 * profile.request_delay.value * even).tolist()
        self.clock, self.step, self.next = 0.0, 0, 0
        self.coming: list[tuple[float, int]] = []  # arrival at the engine, and the request's number
        self.queue: deque[int] = deque()
        self.ends: list[tuple[int, int]] = []  # step at which a sequence emits its last token, and its number
        self.look, self.wait = profile.look_steps.value, profile.wait_steps.value
        self.due = 0.0  # step from which the engine prefills what waits
        for _ in range(min(in_flight, len(self.left))):
            self._send()

    def _send(self) -> None:
        """The client's next request, if it has one."""
        if self.next < len(self.left):
            self.sent[self.next] = self.clock
            heappush(self.coming, (self.clock + self.delays[self.next], self.next))
            self.next += 1

    def run(self) -> None:
        """Serve every request."""
        while self.queue or self.ends or self.coming:
            if not (self.queue or self.ends):
                self.clock = max(self.clock, self.coming[0][0])
            self._arrive()
            able = self.queue and len(self.ends) < self.slots
            if able and (not self.ends or self.step >= self.due):
                self._prefill()
            else:
                self._decode(bool(able))

    def _arrive(self) -> None:
        """Take what has arrived into the queue."""
        while self.coming and self.coming[0][0] <= self.clock:
            self.queue.append(heappop(self.coming)[1])
            if len(self.queue) == 1:
                self._hold()

    def _hold(self) -> None:
        """When prompts that now begin to wait are taken: at the next look, and after the wait for a fuller step."""
        held = self.wait
        if held and sum(self.left[number] for number in self.queue) >= FULL * self.budget:
            held = 0.0
        self.due = np.ceil(self.step / self.look) * self.look + held

    def _decode(self, able: bool) -> None:
        """Steps of decoding alone, until one ends, one arrives that can be served, or what waits is due."""
        each = self.times.pure[len(self.ends)]
        steps = self.ends[0][0] - self.step
        if able:
            steps = min(steps, int(np.ceil(self.due)) - self.step)
        elif self.coming and len(self.ends) < self.slots:
            steps = min(steps, int((self.coming[0][0] - self.clock) / each) + 1)
        steps = max(steps, 0)
        self.clock += steps * each
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
            if not self.chunked and part < self.left[number]:
                if tokens:
                    break
                part = self.left[number]  # what no step holds whole gets one of its own
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
            self.last[heappop(self.ends)[1]] = self.clock
            self._send()


def closed_run(deployment: Deployment, lengths: Lengths, in_flight: float, rounds: int = ROUNDS) -> Closed:
    """Serve ``rounds`` times as many requests as are in flight, from an empty engine to an empty engine.

    Lanes share the requests evenly; lengths are drawn evenly and in a fixed order. Requests spend between 0 and twice
    `Profile.request_delay` on their way to the engine, evenly spread and in a fixed order too.

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
    ttft = float((state.first - state.sent).mean())
    return Closed(ttft, tpot, state.clock, total, float(inputs.mean()), float(outputs.mean()))
