"""Speed of pricing a trace: cost of every request by its own lengths, and what a tariff charges it, in one run on one core.

As a ratio to the same requests one by one.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from statistics import median

import numpy as np

from pertoken.market.costs import RequestCosts
from pertoken.market.tariff import Prices, Requests, Tariff, Tier
from pertoken.scenario import price

MANY, ROUNDS, SINGLES = 1_000_000, 5, 20
PRICES = Prices(3e-6, 15e-6, cached=0.3e-6)
TARIFF = Tariff(PRICES, (Tier(32_000.0, PRICES.scaled(2.0)),))


def seconds(costs: RequestCosts, requests: Requests) -> float:
    """How long costs and charges take."""
    start = time.perf_counter()
    cost, charge = costs.of(requests), TARIFF.charge(requests)
    taken = time.perf_counter() - start
    assert cost.shape == charge.shape
    return taken


def main(many: int = MANY, rounds: int = ROUNDS, singles: int = SINGLES) -> float:
    """Print requests per second together and one by one, and return their ratio."""
    costs = RequestCosts(price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8"))
    random = np.random.default_rng(1)
    inputs = np.clip(np.round(random.lognormal(7.5, 1.3, many)), 1, 120_000)
    outputs = np.clip(np.round(random.lognormal(5.0, 1.0, many)), 1, 8_000)
    requests = Requests(inputs, outputs, np.floor(inputs * random.uniform(0, 0.9, many)))
    costs.of(costs.own)  # what is worked out once for all requests
    together = many / median(seconds(costs, requests) for _ in range(rounds))
    one = [Requests(inputs[i : i + 1], outputs[i : i + 1]) for i in range(singles)]
    alone = 1.0 / median(seconds(costs, each) for each in one)
    print(f"{together:,.0f} requests/s together, {alone:,.0f} one by one; ratio {together / alone:,.0f}")
    print(f"  target of a million requests in a second: {'met' if together >= 1e6 else 'not met in this run'}")
    return together / alone


if __name__ == "__main__":
    main()
