"""The simulator as referee of the closed form: latency, throughput and shares of the bill of both, side by side.

Open loops at shares of the highest rate that meets the default goals, closed loops at requests in flight. Of each run the
first and last sixth are left out. The interval is 1.96 standard errors over seeds, in per cent of the mean.
"""

import sys
from dataclasses import dataclass

import numpy as np

from pertoken.attribution.ledger import by_token, ledger
from pertoken.catalog.traces import load_lengths
from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.serving.lengths import Lengths
from pertoken.serving.operating import Operating, operate
from pertoken.serving.workload import Workload
from pertoken.simulate.records import Records
from pertoken.simulate.run import simulate
from pertoken.simulate.traffic import closed_loop, open_loop
from pertoken.simulation import Case, Options

CASES = {
    "8B": {"model": "llama-3.1-8b", "on": "1xh100-sxm"},
    "70B": {"model": "llama-3.1-70b", "on": "8xh100-sxm", "dtype": "fp8"},
    "235B": {"model": "qwen3-235b-a22b-fp8", "on": "8xh100-sxm"},
}
LENGTHS = ("azure-2023-conversation", "azure-2023-code", "even")
FULL = {"model": "llama-3.1-70b", "on": "2xh100-sxm", "dtype": "fp8"}  # whose KV memory 256 users fill
LOADS, CONCURRENCIES = (0.2, 0.5, 0.7, 0.8), (8, 32, 128)
REQUESTS, SEEDS = 20_000, 3


@dataclass(frozen=True)
class Row:
    """One figure of a case: closed form, simulator, and 1.96 standard errors of the latter."""

    closed: float
    simulated: float
    interval: float

    @property
    def difference(self) -> float:
        """Closed form over simulator, less 1."""
        return self.closed / self.simulated - 1.0


def deployment(case: str, engine: str = "vllm") -> Case:
    """A case of the table."""
    return Case({**(FULL if case == "full" else CASES[case]), "engine": engine}, Options())


def lengths(name: str) -> Lengths:
    """A shipped trace's, or inputs even from 200 to 1,800 and outputs from 20 to 300."""
    if name != "even":
        return load_lengths(name)
    rng = np.random.default_rng(5)
    return Lengths(rng.integers(200, 1801, 2000).astype(float), rng.integers(20, 301, 2000).astype(float), "even")


def measured(found: Records) -> dict[str, float]:
    """What a run's middle was like; TPOT is the mean over tokens."""
    size = found.arrival.size
    some, ends = slice(size // 6, size - size // 6), np.sort(found.last)
    later = found.traffic.output[some] - 1
    owed = found.owed[some].sum(axis=0)
    return {
        "ttft": float(found.ttft[some].mean()),
        "tpot": float((found.last - found.first)[some].sum() / later.sum()),
        "rate": (size - 2 * (size // 6)) / (ends[size - size // 6] - ends[size // 6]),
        "input": float(owed[:2].sum() / owed.sum()),
    }


def compare(
    d: Deployment, drawn: Lengths, workload: Workload, requests: int = REQUESTS, seeds: int = SEEDS
) -> dict[str, Row]:
    """Both answers to one workload."""
    op: Operating = operate(d, workload)
    totals = by_token(ledger(op.state))
    closed = {
        "ttft": op.ttft_s,
        "tpot": op.tpot_s,
        "rate": workload.rps or d.split.lanes * float(op.state.rate),
        "input": float((totals["input"] + totals["cached"]) / sum(totals.values())),
    }
    runs = []
    for seed in range(seeds):
        if workload.rps:
            traffic = open_loop(drawn, workload.rps, requests, seed)
        else:
            traffic = closed_loop(drawn, int(workload.amount), requests, seed)
        runs.append(measured(simulate(d, traffic)))
    found = {}
    for name, value in closed.items():
        values = np.array([run[name] for run in runs])
        error = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if seeds > 1 else float("nan")
        found[name] = Row(value, float(values.mean()), float(error / values.mean()))
    return found


def main(engine: str = "vllm") -> None:
    """Print the table."""
    print("case lengths                  traffic   TTFT ms closed, simulated   TPOT ms closed, simulated    "
          "requests/s closed, simulated   input's part of the bill")  # fmt: skip
    for name in (*CASES, "full"):
        case = deployment(name, engine)
        for drawn in map(lengths, LENGTHS):
            most = operate(case.deployment, Workload(lengths=drawn, goals=case.goals)).most_rate
            todo = [(f"load {x:g}", Workload(lengths=drawn, rps=x * most)) for x in LOADS]
            todo += [(f"{n} users", Workload(lengths=drawn, concurrency=n)) for n in CONCURRENCIES]
            todo = [("256 users", Workload(lengths=drawn, concurrency=256))] if name == "full" else todo
            for what, workload in todo:
                try:
                    r = compare(case.deployment, drawn, workload)
                except PertokenError as error:
                    print(f"{name:<5}{drawn.origin[:24]:<25}{what:<10}{error}")
                    continue
                cells = [
                    f"{r[k].closed * unit:8.{digits}f} {r[k].simulated * unit:8.{digits}f}"
                    f" {r[k].difference:+6.1%} ±{r[k].interval:.1%}"
                    for k, unit, digits in (("ttft", 1e3, 1), ("tpot", 1e3, 2), ("rate", 1.0, 3), ("input", 1.0, 3))
                ]
                print(
                    f"{name:<5}{drawn.origin.removeprefix('trace ')[:23]:<24} {what:<10}{'   '.join(cells)}", flush=True
                )


if __name__ == "__main__":
    main(*sys.argv[1:2])
