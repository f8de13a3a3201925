"""A small simulation of single requests, step by step, referees the closed form."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from pertoken.engine.deployment import Deployment
from pertoken.engine.parallel import Split
from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.serving.lengths import Lengths
from pertoken.serving.operating import at_concurrency
from tests import maker


def simulate(d: Deployment, lengths: Lengths, in_flight: int, requests: int) -> dict[str, float]:
    """Serve ``requests`` with ``in_flight`` always in the system: first come first served, chunked prefill."""
    random, budget = np.random.default_rng(3), d.profile.token_budget.value
    sent, finished, clock = 0, 0, 0.0
    waiting: deque[list[float]] = deque()
    running: list[list[float]] = []
    ttft, gaps, start = [], [], (0, 0.0)

    def send() -> None:
        nonlocal sent
        pick = random.integers(lengths.input.size)
        waiting.append([float(lengths.input[pick]), 0.0, float(lengths.output[pick]), clock])
        sent += 1

    for _ in range(in_flight):
        send()
    while finished < requests:
        room, new, seen, ended = budget - len(running), 0.0, 0.0, []
        chunks = 0
        while waiting and room > 0:
            head = waiting[0]
            part = min(room, head[0] - head[1])
            new, seen, chunks, room = new + part, seen + part * head[1], chunks + 1, room - part
            head[1] += part
            if head[1] < head[0]:
                break
            ended.append(waiting.popleft())
        decodes = (Decode(float(len(running)), float(np.mean([r[1] for r in running]))),) if running else ()
        prefill = Prefill(float(chunks), new / chunks, seen / new) if chunks else None
        seconds = float(total_seconds(d.run(Step(decodes, prefill, float(len(ended))))))
        clock += seconds
        gaps.append((len(running), seconds))
        for r in running:
            r[1] += 1.0
            r[2] -= 1.0
        for r in ended:
            ttft.append(clock - r[3])
            r[2] -= 1.0
        running += ended
        done = [r for r in running if r[2] <= 0]
        running = [r for r in running if r[2] > 0]
        for _ in done:
            finished += 1
            send()
        if finished >= requests // 3 and not start[0]:
            start, ttft, gaps = (finished, clock), [], []
    tokens = sum(n for n, _ in gaps)
    return {
        "rate": (finished - start[0]) / (clock - start[1]),
        "tpot": sum(n * s for n, s in gaps) / tokens,
        "ttft": float(np.mean(ttft)),
    }


@pytest.mark.parametrize(
    ("name", "inputs", "in_flight", "requests"),
    [
        ("dense", (500, 1500), 1, 60), ("dense", (500, 1500), 16, 1500), ("dense", (500, 1500), 64, 2000),
        ("dense", (5000, 9000), 16, 1000), ("dense", (5000, 9000), 64, 1500),
        ("moe", (500, 1500), 16, 1500), ("latent", (1000, 3000), 32, 1000),
    ],
)  # fmt: skip
def test_the_closed_form_agrees_with_single_requests(
    name: str, inputs: tuple[int, int], in_flight: int, requests: int
) -> None:
    d = maker.deploy(maker.KINDS[name](), Split(tp=2), engine=maker.profile(token_budget=2048))
    random = np.random.default_rng(1)
    lengths = Lengths(random.integers(*inputs, 400).astype(float), random.integers(20, 120, 400).astype(float))
    state = at_concurrency(d, lengths.moments(), in_flight)
    found = simulate(d, lengths, in_flight, requests)
    assert float(state.rate) == pytest.approx(found["rate"], rel=0.06 if in_flight == 1 else 0.025)
    assert float(state.tpot_s) == pytest.approx(found["tpot"], rel=0.02)
    assert float(state.ttft_s) == pytest.approx(found["ttft"], rel=0.4)
