"""Fit an engine's waits to measured serving: host time a step and a sequence, and the wait of a collective for a rank.

What the kernels leave of the measured TPOT of closed loops, by least squares on its logarithm (robust), over the rows that
ship. Left out: disaggregated, expert-parallel and data-parallel rows, rows without a stated precision, the flagged 8B rows,
and Qwen3 235B under vLLM, whose time does not change with the batch. ``python scripts/fit_waits.py [ENGINE]...``
"""

import csv
import gzip
import random
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from pertoken.catalog.files import ROOT
from pertoken.errors import PertokenError
from pertoken.scenario import price

ROWS_A_CELL = 25
FORMATS = (("nvfp4", "nvfp4"), ("mxfp4", "mxfp4"), ("fp8", "fp8"))


def cells(engine: str) -> dict[tuple[str, ...], list[dict[str, str]]]:
    """Usable rows of one engine by accelerator, model and precision."""
    with gzip.open(ROOT / "measured" / "aiconfigurator-silicon-sample.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = defaultdict(list)
    for row in rows:
        split = max(float(row["ep"] or 1), float(row["dp"] or 1))
        odd = engine == "vllm" and ("235B" in row["model"] or ("8B" in row["model"] and row["gpu"] == "h200_sxm"))
        stated = row["tp"] and row["weight_dtype"] and "mode=disagg" not in row["notes"]
        if row["engine"] == engine and stated and split <= 1 and not odd:
            found[row["gpu"], row["model"], row["weight_dtype"]].append(row)
    return found


def without_waits(engine: str, folder: Path) -> str:
    """The path of the engine's profile with its waits at zero."""
    text = (ROOT / "engines" / f"{engine}.toml").read_text(encoding="utf-8")
    path = folder / f"{engine}.toml"
    path.write_text(re.sub(r"((?:host_step|host_sequence|rank_skew) = \{ value = )[^,]+", r"\g<1>0.0", text))
    return str(path)


def sample(row: dict[str, str], profile: str) -> tuple[float, ...]:
    """Measured TPOT, kernels' TPOT, sequences in the batch, and collectives times ranks past the first."""

    def lengths(tokens: str) -> str:
        return f"uniform:{int(0.8 * float(tokens))}-{int(float(tokens))}" if "InferenceX" in row["notes"] else tokens

    tp = int(float(row["tp"]))
    count = int(float(row["n_gpus"] or 0)) or tp * int(float(row["pp"] or 1))
    dtype = next((ours for theirs, ours in FORMATS if theirs in row["weight_dtype"]), None)
    cost = price(
        row["model"], on=f"{count}x{row['gpu']}", tp=tp, input=lengths(row["isl"]), output=lengths(row["osl"]),
        concurrency=float(row["concurrency_or_max_batch"]), dtype=dtype, rate="rent:1", max_sequences=4096, engine=profile,
    )  # fmt: skip
    state = cost.operating.state
    collectives = sum(op.count for op in cost.deployment.plan if op.name.endswith("_reduce"))
    return float(row["tpot_ms"]) / 1e3, float(state.tpot_s), float(state.batch), collectives * (tp - 1)


def fit(engine: str) -> None:
    """Print the three waits and the error that is left."""
    random.seed(0)
    samples, weights = [], []
    with tempfile.TemporaryDirectory() as folder:
        profile = without_waits(engine, Path(folder))
        for rows in cells(engine).values():
            chosen = random.sample(rows, min(len(rows), ROWS_A_CELL))
            for row in chosen:
                try:
                    samples.append(sample(row, profile))
                except PertokenError:
                    continue
                weights.append(len(chosen) ** -0.5)
    measured, kernels, batch, ranks = np.array(samples).T
    weight = np.array(weights)

    def errors(x: np.ndarray) -> np.ndarray:
        return np.log((kernels + x[0] * 1e-3 + x[1] * 1e-6 * batch + x[2] * 1e-6 * ranks) / measured)

    found = least_squares(lambda x: weight * errors(x), [1.0, 10.0, 0.5], loss="soft_l1", f_scale=0.1, bounds=(0, 200))
    step, sequence, skew = found.x
    left, bare = np.median(np.abs(errors(found.x))), np.median(np.abs(errors(np.zeros(3))))
    print(
        f"{engine}: {len(samples)} rows; host {step:.2f} ms a step and {sequence:.1f} us a sequence, {skew:.2f} us a collective"
        f" and rank; median |log error| {left:.3f}, without waits {bare:.3f}"
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or ("vllm", "sglang", "trtllm"):
        fit(name)
