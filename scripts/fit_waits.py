"""Fit what engines add to their kernels, as `catalog/engines` states it, and cross-validate it.

Five waits of each engine (host time a step and a sequence, the wait of a collective for a rank, launches of a step with
prompts, a request's delay outside the engine), by robust least squares on the logarithms of TPOT and TTFT of the closed
loops that ship. TTFT counts up to 16 in flight only: beyond, queueing decides. Every cell (accelerator, model, format)
counts the same. Then again without one accelerator, and without one model family, predicting what was left out; the
quantiles of those errors are the profile's intervals.

``python scripts/fit_waits.py [ENGINE]... [--cross]``
"""

import argparse
import random
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from pertoken.calibrate.rows import Refused, Row, read_row
from pertoken.catalog import measured
from pertoken.cli.validate import formats
from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.serving.closed import closed_run
from pertoken.serving.trace import lengths_from_text

SOURCE = "aiconfigurator-silicon-sample.csv.gz"
WAITS = {"host_step": 1e-3, "host_sequence": 1e-6, "rank_skew": 1e-6, "prompt_launch": 1e-6, "request_delay": 1e-3}
START = np.array([0.5, 5.0, 0.2, 10.0, 40.0])
ROWS_A_CELL = 8
FEW = 16  # in flight: up to here TTFT is a prompt's own time and a little waiting
MOST = 128  # in flight, of rows that teach
TTFT_WEIGHT = 0.5
HIGHEST = [20.0, 200.0, 5.0, 200.0, 300.0]  # in the units of WAITS


@dataclass
class Taught:
    """A row, where it ran, and its deployment."""

    row: Row
    deployment: Deployment
    family: str

    @property
    def cell(self) -> tuple[str, ...]:
        return (self.row.accelerator, self.row.model, self.row.weights)

    def predict(self, waits: np.ndarray) -> np.ndarray:
        """TTFT and TPOT [s]."""
        profile = self.deployment.profile
        changed = {
            name: replace(getattr(profile, name), value=float(value) * unit)
            for (name, unit), value in zip(WAITS.items(), waits, strict=True)
        }
        d = replace(self.deployment, profile=replace(profile, **changed))
        run = closed_run(d, lengths_from_text(self.row.input, self.row.output), self.row.amount)
        return np.array([run.ttft_s, run.tpot_s])

    def error(self, waits: np.ndarray) -> np.ndarray:
        """Log of predicted over measured: TTFT, TPOT."""
        return np.log(self.predict(waits) / [self.row.measured["ttft"], self.row.measured["tpot"]])


def taught(engine: str) -> list[Taught]:
    """Usable rows of one engine: closed loops without flags; not DeepSeek-R1 under TensorRT-LLM, which drafts."""
    names, resolve, found = measured.load_names(), measured.Resolver(formats), []
    for line, cells in measured.read_rows(measured.FOLDER / SOURCE, print):
        try:
            row = read_row(line, cells, names)
            if row.engine != engine or row.flag or row.load != "closed" or not {"ttft", "tpot"} <= set(row.measured):
                continue
            drafts = engine == "trtllm" and "R1" in cells["model"]
            slow = engine == "vllm" and "235B" in cells["model"]
            odd = "NVFP4" in cells["model"] or cells["gpu"] == "gb200"
            if not (drafts or slow or odd) and row.amount / max(row.split.get("dp", 1), 1) <= MOST:
                resolved = resolve(row)
                resolved.deployment.check_fit(lengths_from_text(row.input, row.output).longest)
                found.append(Taught(row, resolved.deployment, resolved.family))
        except (Refused, PertokenError):
            continue
    return found


def sample(rows: list[Taught]) -> list[Taught]:
    """The same few rows of every cell."""
    cells, chooser = defaultdict(list), random.Random(0)
    for row in rows:
        cells[row.cell].append(row)
    return [row for cell in cells.values() for row in chooser.sample(cell, min(len(cell), ROWS_A_CELL))]


def fit(rows: list[Taught], start: np.ndarray, rounds: int) -> np.ndarray:
    """Waits in the units of `WAITS`."""
    cells = defaultdict(int)
    for row in rows:
        cells[row.cell] += 1
    weight = np.array([cells[row.cell] ** -0.5 for row in rows])
    few = np.array([TTFT_WEIGHT * (row.row.amount <= FEW) for row in rows])

    def off(waits: np.ndarray) -> np.ndarray:
        errors = np.array([row.error(waits) for row in rows])
        return np.concatenate([weight * few * errors[:, 0], weight * errors[:, 1]])

    found = least_squares(
        off, start, bounds=(0, HIGHEST), loss="soft_l1", f_scale=0.1, x_scale=START, diff_step=0.05, max_nfev=rounds
    )
    return found.x


def cross(rows: list[Taught], waits: np.ndarray, key: str) -> list[np.ndarray]:
    """Refit without each value of ``key`` in turn and print the errors of what was left out, cell by cell."""
    left_out = []
    values = sorted({getattr(row.row, key) if key == "accelerator" else row.family for row in rows})
    for value in values if len(values) > 1 else ():
        out = [row for row in rows if value == (row.row.accelerator if key == "accelerator" else row.family)]
        left = sample([row for row in rows if row not in out])
        found = fit(left, np.maximum(waits, 0.05 * START), 4)
        cells = defaultdict(list)
        for row in out:
            cells[row.row.accelerator, row.family].append(row.error(found))
        for (accelerator, family), errors in sorted(cells.items()):
            ttft, tpot = np.exp(np.array(errors).T) - 1.0
            left_out.append(np.array(errors))
            found_errors = f"TPOT {np.median(abs(tpot)):.1%}, TTFT {np.median(abs(ttft)):.1%}"
            print(f"  without {value}: {accelerator} {family}, {len(errors)} rows: {found_errors}", flush=True)
    return left_out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engines", nargs="*", default=["vllm", "sglang", "trtllm"])
    parser.add_argument("--cross", action="store_true")
    given = parser.parse_args()
    for engine in given.engines:
        rows = taught(engine)
        chosen = sample(rows)
        waits = fit(chosen, START, 12)
        errors = np.abs(np.array([row.error(waits) for row in chosen]))
        text = ", ".join(
            f"{name} {value * unit * 1e6:.3g} us" for (name, unit), value in zip(WAITS.items(), waits, strict=True)
        )
        left = f"median |log error| TTFT {np.median(errors[:, 0]):.3f}, TPOT {np.median(errors[:, 1]):.3f}"
        print(f"{engine}: {len(chosen)} rows of {len(rows)}; {text}; {left}", flush=True)
        if given.cross:
            left_out = cross(rows, waits, "accelerator") + cross(rows, waits, "family")
            even = np.concatenate([np.quantile(cell, (np.arange(40) + 0.5) / 40, axis=0) for cell in left_out])
            for name, logs in zip(("ttft", "tpot"), even.T, strict=True):  # every cell counts the same
                low, high = np.exp(-np.quantile(logs, (0.95, 0.05)))
                print(f"  90% of measured {name} lie within {low:.2f} and {high:.2f} of the prediction", flush=True)


if __name__ == "__main__":
    main()
