"""Speed of the simulator in one run: the loop alone, everything with records, and a cluster with prefix caches.

Seconds are of the processor, so that other work on the machine does not count. Prints requests a second and the goal.
"""

from __future__ import annotations

import time

import numpy as np

import pertoken as pt
from pertoken.catalog import traces
from pertoken.serving.lengths import Lengths
from pertoken.simulate.bill import Billed
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.run import TICK, Run, _drive, simulate
from pertoken.simulate.traffic import BLOCK, Traffic, open_loop

COUNT = 2_000_000
SHARED = 200_000


def prefixed(count: int, rate: float, seed: int) -> Traffic:
    """Requests whose prompts begin with one of a thousand system prompts of 512 tokens, and go on alone."""
    rng = np.random.default_rng(seed)
    when = np.cumsum(rng.exponential(1.0 / rate, count))
    inputs, outputs = 512 + rng.integers(64, 1024, count), rng.integers(16, 400, count)
    shared, own = 512 // BLOCK, (inputs - 512) // BLOCK
    at = np.concatenate(([0], np.cumsum(shared + own)))
    start = np.concatenate(([0], np.cumsum(own)))[:-1] + 1000 * shared
    place = np.arange(at[-1]) - np.repeat(at[:-1], shared + own)
    topic = np.repeat(rng.integers(0, 1000, count), shared + own) * shared
    chain = np.where(place < shared, topic + place, np.repeat(start, shared + own) + place - shared)
    return Traffic(
        when, inputs, outputs, "a thousand system prompts", chain_at=at, chain=chain.astype(np.int32), hash_tokens=BLOCK
    )


def report(what: str, count: int, seconds: float, goal: float) -> None:
    """One line."""
    print(f"{what:58} {count / seconds / 1e6:8.2f} million requests/s   goal {goal:g}")


def main() -> None:
    """Run all."""
    cost = pt.price("llama-3.1-8b", on="1xh100-sxm")
    d, best = cost.deployment, cost.operating.most_rate
    lengths: Lengths = traces.load_lengths(traces.DEFAULT)
    simulate(d, open_loop(lengths, best, 200), None, cost.draw)  # compiles
    simulate(d, prefixed(200, best, 2), Cluster(2, "prefix-aware", prefix_cache=True), cost.draw)
    for load in (0.5, 0.8, 1.0):
        traffic = open_loop(lengths, load * best, COUNT, 1)
        run = Run(d, traffic, Cluster(), cost.draw, TICK)
        start = time.process_time()
        _drive(run, None)
        report(
            f"one replica, load {load:g}, the loop with every request's cost", COUNT, time.process_time() - start, 5.0
        )
    start = time.process_time()
    found = simulate(d, open_loop(lengths, 0.8 * best, COUNT, 1), None, cost.draw)
    billed = Billed(found, cost.rate, cost.draw, cost.site)
    for values in (found.ttft, found.tpot, found.e2e):
        found.percentiles(values)
    assert abs(billed.residual) < 1e-9 * billed.bill
    report("end to end: traffic, run, records with cost, percentiles", COUNT, time.process_time() - start, 1.0)
    traffic = prefixed(SHARED, 8 * best * 0.8, 1)
    for route in ("round-robin", "least-loaded", "prefix-aware"):
        run = Run(d, traffic, Cluster(8, route, prefix_cache=True), cost.draw, TICK)
        start = time.process_time()
        _drive(run, None)
        report(f"eight replicas with prefix cache, {route}", SHARED, time.process_time() - start, 0.5)


if __name__ == "__main__":
    main()
