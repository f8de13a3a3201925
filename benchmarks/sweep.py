"""Speed of a vectorised sweep, as a ratio to the same estimates one by one, in one run on one core.

An estimate is the whole answer: operating point at a concurrency, latencies, and dollars per input and output token with
every operation's share kept.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from statistics import median

import numpy as np

from pertoken.money.rate import rent
from pertoken.scenario import price
from pertoken.sweep import sweep

BATCH, ROUNDS, SINGLES = 4096, 25, 40


def main() -> None:
    """Print estimates per second of both, and their ratio."""
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", input=1024, output=256, concurrency=32)
    deployment, rate = cost.deployment, rent(2.5)
    random = np.random.default_rng(1)
    inputs, outputs = random.integers(64, 16_384, BATCH), random.integers(8, 2_048, BATCH)
    concurrency = random.integers(1, 192, BATCH)
    swept = sweep(deployment, inputs, outputs, concurrency, rate)

    batches = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        sweep(deployment, inputs, outputs, concurrency, rate)
        batches.append(time.perf_counter() - start)
    singles = []
    for i in range(SINGLES):
        start = time.perf_counter()
        sweep(deployment, float(inputs[i]), float(outputs[i]), float(concurrency[i]), rate)
        singles.append(time.perf_counter() - start)
    together, alone = BATCH / median(batches), 1.0 / median(singles)
    operations = {(entry.group, entry.name) for entry in swept.entries}
    print(f"vectorised sweep: {together:,.0f} estimates/s on one core ({len(operations)} operations kept in each)")
    print(f"one by one:       {alone:,.0f} estimates/s; ratio {together / alone:,.0f}")
    print(f"target 200,000 estimates/s: {'met' if together >= 200_000 else 'not met in this run'}")


if __name__ == "__main__":
    main()
