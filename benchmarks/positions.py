"""Speed of pricing positions in one call, as a ratio to the same positions one by one, in one run on one core."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from statistics import median

import numpy as np

from pertoken.scenario import price

MANY, ROUNDS, SINGLES = 1_000_000, 5, 60


def seconds(cost, **where) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    cost.at(**where)
    return time.perf_counter() - start


def main(many: int = MANY, rounds: int = ROUNDS, singles: int = SINGLES) -> dict[str, float]:
    """Print positions per second together and one by one, and their ratio, which is returned by kind of token."""
    cost = price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8")
    n = np.random.default_rng(1).integers(1, cost.deployment.model.context_limit - 1000, many)
    ratios = {}
    for token, more in (("input", {}), ("output", {"input": 1000})):
        together = many / median(seconds(cost, **{token: n}, **more) for _ in range(rounds))
        alone = 1.0 / median(seconds(cost, **{token: int(k)}, **more) for k in n[:singles])
        ratios[token] = together / alone
        print(f"{token}: {together:,.0f} positions/s together, {alone:,.0f} one by one; ratio {ratios[token]:,.0f}")
        print(f"  target of a million positions in a second: {'met' if together >= 1e6 else 'not met in this run'}")
    return ratios


if __name__ == "__main__":
    main()
