r"""A closed loop of finite length: N requests in flight, the next sent when one is answered, as load generators run it.

All N arrive at once, so the first wait for one another's prompts; where outputs are nearly equal they end together, and
the next arrive together again. No steady state tells of that, and a run of ten rounds is mostly that. Steps are advanced
together between events (a prompt due, an answer finished) at the step time of the mean context.

Data-parallel lanes that share one set of experts take their steps together, since every layer's all-to-all waits for the
last of them: a prompt of one lane holds up the answers of all. TensorRT-LLM lets prompts wait until all lanes have one, or
for so many steps (`Profile.balance_steps`), from a counter that runs whether prompts wait or not [2]_.

References
----------
.. [1] InferenceMAX, "Benchmark client configuration": ``--num-prompts $(( CONC * 10 ))``, ``--request-rate inf``.
.. [2] TensorRT-LLM, ``tensorrt_llm/_torch/pyexecutor/py_executor.py``, ``_balance_adp_requests``.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import Timed, total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.errors import PertokenError
from pertoken.serving.lengths import Lengths, Moments
from pertoken.serving.steady import most_resident

Number = Any
ROUNDS = 10  # requests of a run for each in flight, unless documented otherwise [1]_
MOST_REQUESTS = 20_000  # simulated; a longer run is cut to it, but not below two rounds
FULL = 0.9  # of a step's budget: prompts that fill so much of it wait for no more, as TensorRT-LLM's batch_wait has it
GOLDEN = (5.0**0.5 - 1.0) / 2.0
SHARED = ("experts", "dispatch", "combine")  # operations in which lanes that share experts meet
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
    requests : float
        Requests of one lane that has any.
    input, output : float
        Mean lengths drawn [token].
    """

    ttft_s: float
    tpot_s: float
    seconds: float
    requests: float
    input: float
    output: float


class _Times:
    """Seconds of a step by sequences that decode and prompt tokens beside them, at the mean context."""

    def __init__(self, deployment: Deployment, moments: Moments, most: int, lanes: int) -> None:
        budget = deployment.profile.token_budget.value
        sizes = np.unique(np.round(np.geomspace(1, most, POINTS)))
        every = np.arange(1, most + 1)
        context = sum(moments.contexts) / len(moments.contexts)
        pure = _seconds(deployment.run(Step((Decode(sizes, context),))), sizes.shape)
        self.pure = [0.0, *np.interp(every, sizes, pure).tolist()]
        new = min(float(moments.fresh), budget)
        chunks = np.unique(np.concatenate(([min(16.0, new)], np.geomspace(max(new / 4, 1.0), budget, POINTS // 2))))
        self.chunks: list[float] = chunks.tolist()
        batch, chunk = np.meshgrid(np.concatenate(([1e-6], sizes)), chunks, indexing="ij")
        each = np.minimum(chunk, new)
        prefill = Prefill(chunk / each, each, (moments.fresh - each) / 2.0)
        ops = deployment.run(Step((Decode(batch, context),), prefill, chunk / float(moments.fresh)))
        whole = np.concatenate(([0], every))

        def table(some: Sequence[Timed]) -> list[list[float]]:
            return [np.interp(whole, batch[:, 0], column).tolist() for column in _seconds(some, batch.shape).T]

        self.beside = table(ops)
        self.launches = deployment.prompt_launches_s
        if lanes > 1:
            self.shared = table([op for op in ops if op.name in SHARED])
            self.own = table([op for op in ops if op.name not in (*SHARED, "launching")])

    def _at(self, times: list[list[float]], sequences: int, tokens: float) -> float:
        at = min(max(bisect_left(self.chunks, tokens), 1), len(self.chunks) - 1)
        low, high = self.chunks[at - 1], self.chunks[at]
        share = max(0.0, (tokens - low) / (high - low))
        first, second = times[at - 1][sequences], times[at][sequences]
        return first + (second - first) * share

    def mixed(self, sequences: Sequence[int], tokens: Sequence[float]) -> float:
        """Seconds of a step with ``tokens`` of prompts, by lane: that of the fullest, its experts at the mean of all [s]."""
        if len(sequences) == 1:
            return self._at(self.beside, sequences[0], tokens[0])
        own = max(self._at(self.own, n, t) for n, t in zip(sequences, tokens, strict=True))
        shared = self._at(self.shared, round(sum(sequences) / len(sequences)), sum(tokens) / len(tokens))
        return max(own + shared, self.launches)


def _seconds(ops: Sequence[Timed], shape: tuple[int, ...]) -> Number:
    return np.broadcast_to(np.asarray(total_seconds(ops), dtype=float), shape)


class _Run:
    """Lanes that take their steps together, their queues, and requests on their way to them."""

    def __init__(self, deployment: Deployment, inputs: Number, outputs: Number, in_flight: int, lanes: int) -> None:
        moments = Lengths(inputs, outputs).moments()
        profile = deployment.profile
        self.slots = max(1, int(min(float(most_resident(deployment, moments)), -(-in_flight // lanes))))
        self.times = _Times(deployment, moments, self.slots, lanes)
        self.budget, self.beside, self.chunked = profile.token_budget.value, profile.mixed, profile.chunked
        self.left, self.outputs = inputs.tolist(), [int(o) for o in outputs]
        self.sent = np.zeros(len(self.left))
        self.first, self.last = self.sent.copy(), self.sent.copy()
        self.delay = profile.request_delay.value
        self.clock, self.step, self.next = 0.0, 0, 0
        self.coming: deque[tuple[float, int]] = deque()  # arrival at the engine, and the request's number
        self.queues = [deque[int]() for _ in range(lanes)]
        # of each lane, the steps at which its sequences emit their last tokens, and their numbers
        self.ends: list[list[tuple[int, int]]] = [[] for _ in range(lanes)]
        self.look, self.wait = profile.look_steps.value, profile.wait_steps.value
        self.balance = profile.balance_steps.value if lanes > 1 else 0.0
        self.due = 0.0  # step from which the engine prefills what waits
        self.taken = 0  # step at which it did so last
        for _ in range(min(in_flight, len(self.left))):
            self._send()

    def _send(self) -> None:
        """The client's next request, if it has one."""
        if self.next < len(self.left):
            self.sent[self.next] = self.clock
            self.coming.append((self.clock + self.delay, self.next))
            self.next += 1

    def run(self) -> None:
        """Serve every request."""
        while self.coming or any(self.queues) or any(self.ends):
            if not any(self.queues) and not any(self.ends):
                self.clock = max(self.clock, self.coming[0][0])
            if self.coming and self.coming[0][0] <= self.clock:
                self._arrive()
            able = [i for i, queue in enumerate(self.queues) if queue and len(self.ends[i]) < self.slots]
            if able and self._taken(able):
                self._prefill(able)
            else:
                self._decode(bool(able))

    def _arrive(self) -> None:
        """Take what has arrived into the queue of the lane with the fewest requests."""
        while self.coming and self.coming[0][0] <= self.clock:
            loads = [len(queue) + len(ends) for queue, ends in zip(self.queues, self.ends, strict=True)]
            self.queues[loads.index(min(loads))].append(self.coming.popleft()[1])
            if sum(map(len, self.queues)) == 1:
                self._hold()

    def _hold(self) -> None:
        """When prompts that now begin to wait are taken: at the next look, and after the wait for a fuller step."""
        held = self.wait
        if held and sum(self.left[number] for queue in self.queues for number in queue) >= FULL * self.budget:
            held = 0.0
        self.due = math.ceil(self.step / self.look) * self.look + held

    def _taken(self, able: Sequence[int]) -> bool:
        """Whether this step prefills what waits."""
        if not self.balance:
            return not any(self.ends) or self.step >= self.due
        passed = self.step - self.taken
        self.due = self.taken + max(1, math.ceil(passed / self.balance)) * self.balance
        return len(able) == len(self.queues) or not all(self.ends) or self.step >= self.due

    def _decode(self, able: bool) -> None:
        """Steps of decoding alone, until one ends, one arrives that can be served, or what waits is due."""
        each = self.times.pure[max(map(len, self.ends))]
        steps = min(ends[0][0] for ends in self.ends if ends) - self.step
        if able:
            steps = min(steps, math.ceil(self.due) - self.step)
        if self.coming and (self.balance or not able) and min(map(len, self.ends)) < self.slots:
            steps = min(steps, int((self.coming[0][0] - self.clock) / each) + 1)
        steps = max(steps, 0)
        self.clock += steps * each
        self.step += steps
        self._finish()

    def _prefill(self, able: Sequence[int]) -> None:
        """One step with prompts, beside the decoding sequences or instead of them."""
        self.taken = self.step
        running = [len(ends) if self.beside else 0 for ends in self.ends]
        tokens, done = [0.0] * len(running), list[tuple[int, int]]()
        for i in able:
            tokens[i], numbers = self._fill(i)
            done += [(i, number) for number in numbers]
        self.clock += self.times.mixed(running, tokens)
        if self.beside:
            self.step += 1
            self._finish()
        for i, number in done:
            self.first[number] = self.clock
            heappush(self.ends[i], (self.step + self.outputs[number] - 1, number))
        self._finish()

    def _fill(self, lane: int) -> tuple[float, list[int]]:
        """Tokens of a lane's prompts that one step takes, and the prompts that it ends."""
        queue, running = self.queues[lane], len(self.ends[lane])
        room = max(self.budget - running, 1.0) if self.beside else self.budget
        free, tokens, done = self.slots - running, 0.0, list[int]()
        while queue and tokens < room and len(done) < free:
            number = queue[0]
            part = min(self.left[number], room - tokens)
            if not self.chunked and part < self.left[number]:
                if tokens:
                    break
                part = self.left[number]  # what no step holds whole gets one of its own
            self.left[number] -= part
            tokens += part
            if self.left[number] > 0:
                break
            done.append(queue.popleft())
        return tokens, done

    def _finish(self) -> None:
        """Answer what has ended, and send the next requests in its place."""
        for ends in self.ends:
            while ends and ends[0][0] <= self.step:
                self.last[heappop(ends)[1]] = self.clock
                self._send()


def closed_run(deployment: Deployment, lengths: Lengths, in_flight: float, rounds: int = ROUNDS) -> Closed:
    """Serve ``rounds`` times as many requests as are in flight, from an empty engine to an empty engine.

    Lanes share the requests evenly; those that share no experts are alike, and one is followed. Lengths are drawn evenly
    and in a fixed order. Requests spend `Profile.request_delay` on their way to the engine.

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
    together = deployment.split.pool if deployment.split.pp == 1 else 1
    mine = max(1, round(in_flight * together / deployment.split.lanes))
    total = max(2 * mine, min(rounds * mine, MOST_REQUESTS))
    # multiples of the golden ratio: as even as the lengths themselves over every stretch of the run, and in no order
    drawn = (np.modf(np.arange(total) * GOLDEN)[0] * lengths.input.size).astype(int)
    inputs, outputs = lengths.input[drawn], np.maximum(np.round(lengths.output[drawn]), 1.0)
    state = _Run(deployment, inputs, outputs, mine, together)
    state.run()
    own = outputs > 1.0
    tpot = float(((state.last - state.first)[own] / (outputs[own] - 1.0)).mean()) if own.any() else float("nan")
    ttft = float((state.first - state.sent).mean())
    return Closed(ttft, tpot, state.clock, total / min(together, mine), float(inputs.mean()), float(outputs.mean()))
