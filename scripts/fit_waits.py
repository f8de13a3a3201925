"""Fit what engines add to their kernels, as `catalog/engines` states it, and cross-validate it.

The waits of each engine (host time a step and a sequence, the wait of a collective for a rank, launches that no graph
replays, the part of kernels' launches that is paid, a request's delay outside the engine), by robust least squares on the
logarithms of TPOT and TTFT of the closed loops that ship. Every cell (accelerator, model, format) counts the same. Then
again without one accelerator, and without one model, predicting what was left out: those errors are the intervals of the
profiles, and with ``--write`` the table of docs/validation.md.

``python scripts/fit_waits.py [ENGINE]... [--cross] [--write]``
"""

import argparse
import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from pertoken.calibrate.predict import impossible, queues
from pertoken.calibrate.rows import Refused, Row, read_row
from pertoken.catalog import files, measured
from pertoken.cli.validate import formats
from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.serving.closed import closed_run
from pertoken.serving.trace import lengths_from_text

SOURCE = "aiconfigurator-silicon-sample.csv.gz"
# unit, where the fit begins, and the most that a wait may be [unit]. The beginnings are round values on which the fits of the
# engines agree when each is fitted alone; a fit is pulled to them, so what an engine's rows do not tell is what others told
WAITS = {
    "host_step": (1e-3, 0.5, 20.0),
    "host_sequence": (1e-6, 7.0, 200.0),
    "rank_skew": (1e-6, 0.2, 5.0),
    "prompt_launch": (1e-6, 15.0, 200.0),
    "request_delay": (1e-3, 25.0, 400.0),
    "launch_share": (1.0, 0.85, 1.5),
}
_NEW = ("trtllm", "trtllm-1.2")
# of each engine, its waits and the profiles that they hold for (all where none is named)
PLAN: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "vllm": [("host_step", ("vllm-0.12",)), ("host_sequence", ("vllm-0.12",)), ("rank_skew", ()), ("prompt_launch", ()),
             ("request_delay", ())],
    "sglang": [(name, ()) for name in WAITS],
    "trtllm": [("host_step", _NEW), ("host_sequence", _NEW), ("prompt_launch", _NEW), ("launch_share", _NEW),
               ("rank_skew", ()), ("request_delay", ()),
               *((name, ("trtllm-1.0",)) for name in ("host_step", "host_sequence", "prompt_launch"))],
}  # fmt: skip
# predicted, but no teacher: slower by 10 to 17 ms a step than its kernels, whatever the batch, so not by a wait
STRANGE = {("vllm", "qwen3-235b-a22b")}
SERIAL = {"vllm-0.12": 2.0, "trtllm-1.0": 1.0}  # [ms], before the next step was scheduled beside this one
ROWS_A_CELL = 7
ROUNDS = 7
LEAST_ROWS = 8  # of a cell that teaches
LEAST_BUSY = 5  # of a cell above `MOST` that counts in its interval
MOST = 128  # in flight in a lane, of rows that teach
TTFT_WEIGHT = 0.5
PULL = 0.3  # weight of the pull towards where every fit begins, over a wait's relative change
NEAR = 0.15  # log error up to which a row counts in full; far beyond it a row counts for nothing (a stall, another setting)
SPREAD = (np.arange(40) + 0.5) / 40  # quantiles by which every cell counts the same


@dataclass
class Taught:
    """A row, where it ran, and its deployment."""

    row: Row
    deployment: Deployment
    family: str

    @property
    def model(self) -> str:
        return self.deployment.model.name.removesuffix("-fp8").removesuffix("-nvfp4").replace("v3.1", "v3")

    @property
    def cell(self) -> tuple[str, ...]:
        return (self.row.accelerator, self.model, self.row.weights)

    @property
    def busy(self) -> bool:
        """More in flight than in rows that teach."""
        return self.row.amount / max(self.row.split.get("dp", 1), 1) > MOST

    def waiting(self, waits: np.ndarray) -> Deployment:
        """The deployment under other waits, but for those that the row's source documents."""
        profile, changed = self.deployment.profile, {}
        for (name, only), value in zip(PLAN[profile.extends or profile.name], waits, strict=True):
            if (not only or profile.name in only) and name not in self.row.settings:
                changed[name] = replace(getattr(profile, name), value=float(value) * WAITS[name][0])
        return replace(self.deployment, profile=replace(profile, **changed))

    def error(self, waits: np.ndarray) -> np.ndarray:
        """Log of predicted over measured: TTFT, TPOT."""
        lengths = lengths_from_text(self.row.input, self.row.output)
        run = closed_run(self.waiting(waits), lengths, self.row.amount)
        return np.log([run.ttft_s / self.row.measured["ttft"], run.tpot_s / self.row.measured["tpot"]])

    def queues(self, waits: np.ndarray) -> bool:
        """Whether its TTFT is queueing in a burst, as predicted."""
        return queues(self.waiting(waits), lengths_from_text(self.row.input, self.row.output), self.row.amount)


def taught(engine: str) -> list[Taught]:
    """Usable rows of one engine: closed loops without flags, in cells of `LEAST_ROWS` and more, and all busy ones."""
    names, resolve, found = measured.load_names(), measured.Resolver(formats), []
    for line, cells in measured.read_rows(measured.FOLDER / SOURCE, print):
        try:
            row = read_row(line, cells, names)
            if row.engine != engine or row.flag or row.load != "closed" or not {"ttft", "tpot"} <= set(row.measured):
                continue
            resolved = resolve(row)
            resolved.deployment.check_fit(lengths_from_text(row.input, row.output).longest)
            if not impossible(row, resolved.deployment):
                found.append(Taught(row, resolved.deployment, resolved.family))
        except (Refused, PertokenError):
            continue
    cells = defaultdict(list)
    for row in found:
        cells[(*row.cell, row.busy)].append(row)
    return [row for cell in cells.values() if len(cell) >= LEAST_ROWS or cell[0].busy for row in cell]


def sample(rows: list[Taught]) -> list[Taught]:
    """The same few rows of every cell."""
    cells, chooser = defaultdict(list), random.Random(0)
    for row in rows:
        if (row.row.engine, row.model) not in STRANGE and not row.busy:
            cells[row.cell].append(row)
    return [row for cell in cells.values() for row in chooser.sample(cell, min(len(cell), ROWS_A_CELL))]


def starts(engine: str) -> np.ndarray:
    """Where the fit of an engine begins: its host takes 1 to 4 ms a step (docs/method.md) unless the next step overlaps it."""
    return np.array(
        [
            next((SERIAL[profile] for profile in only if profile in SERIAL and name == "host_step"), WAITS[name][1])
            for name, only in PLAN[engine]
        ]
    )


def fit(engine: str, rows: list[Taught], start: np.ndarray, rounds: int) -> np.ndarray:
    """Waits in the units of `WAITS`; one that no row tells stays where all begin."""
    cells = defaultdict(int)
    for row in rows:
        cells[row.cell] += 1
    weight = np.array([cells[row.cell] ** -0.5 for row in rows])

    def off(waits: np.ndarray) -> np.ndarray:
        errors = np.array([row.error(waits) for row in rows])
        pull = PULL * (waits - first) / first
        return np.concatenate([TTFT_WEIGHT * weight * errors[:, 0], weight * errors[:, 1], pull])

    first, most = starts(engine), [WAITS[name][2] for name, _ in PLAN[engine]]
    found = least_squares(
        off, start, bounds=(0, most), loss="cauchy", f_scale=NEAR, x_scale=first, diff_step=0.2, max_nfev=rounds
    )
    return found.x


@dataclass
class Left:
    """Errors of one cell that a fit was not told: logs of predicted over measured, TTFT and TPOT."""

    engine: str
    out: str
    accelerator: str
    model: str
    moe: bool
    errors: np.ndarray
    burst: np.ndarray
    busy: bool = False

    def median(self, column: int, calm: bool = False) -> float:
        """Median absolute error, of rows whose TTFT is no burst's only if asked."""
        errors = self.errors[~self.burst if calm else slice(None), column]
        return float(np.median(np.abs(np.expm1(errors)))) if len(errors) else float("nan")


def cross(engine: str, rows: list[Taught], out: str) -> list[Left]:
    """Refit without each ``accelerator`` or ``model`` in turn: errors of what was left out, by cell."""
    of = {"accelerator": lambda r: r.row.accelerator, "model": lambda r: r.model}[out]
    found, first = [], starts(engine)
    for value in sorted({of(row) for row in rows}):
        rest = [row for row in rows if of(row) != value]
        if not sample(rest):
            continue
        without = fit(engine, sample(rest), first, ROUNDS)
        cells = defaultdict(list)
        for row in rows:
            if of(row) == value:
                cells[row.row.accelerator, row.model, row.busy].append(row)
        for (accelerator, model, busy), mine in sorted(cells.items()):
            burst = np.array([row.queues(without) for row in mine])
            moe = mine[0].deployment.model.active_parameters != mine[0].deployment.model.parameters
            errors = np.array([row.error(without) for row in mine])
            found.append(Left(engine, out, accelerator, model, moe, errors, burst, busy))
    return found


def show(left: Iterable[Left]) -> None:
    """A line a cell."""
    for cell in left:
        burst = f"{int(cell.burst.sum())} of {len(cell.burst)} rows queue in a burst"
        what = f"{cell.accelerator} {cell.model}{' above 128 in flight' * cell.busy}"
        print(
            f"  {cell.out} out: {what}: TPOT {cell.median(1):.1%}, TTFT {cell.median(0):.1%}"
            f" ({cell.median(0, calm=True):.1%} without bursts; {burst})",
            flush=True,
        )


def interval(left: list[Left], column: int) -> tuple[float, float]:
    """5 and 95% of measured over predicted, every cell counting the same."""
    even = np.concatenate([np.quantile(cell.errors[:, column], SPREAD) for cell in left])
    low, high = np.exp(-np.quantile(even, (0.95, 0.05)))
    return float(low), float(high)


def summary(left: list[Left]) -> list[str]:
    """Medians over cells of their medians, by what was left out."""
    lines = []
    for out in ("accelerator", "model"):
        mine = [cell for cell in left if cell.out == out]
        parts = {"all": mine, "dense": [c for c in mine if not c.moe], "MoE": [c for c in mine if c.moe]}
        for name, cells in parts.items():
            if cells:
                tpot, ttft, calm = (
                    float(np.nanmedian([c.median(*how) for c in cells])) for how in ((1,), (0,), (0, True))
                )
                lines.append(
                    f"{out} left out, {name}: {len(cells)} cells, TPOT {tpot:.1%}, TTFT {ttft:.1%}"
                    f" ({calm:.1%} without bursts)"
                )
    return lines


def write(left: list[Left], intervals: dict[str, dict[str, tuple[float, float]]]) -> None:
    """The table that docs/validation.md shows."""
    lines = [
        "# Errors of what the fit of the engines' waits was not told, by cell; written by scripts/fit_waits.py --cross --write.",
        f"fitted = {dt.date.today()}",
    ]
    for cell in left:
        calm = cell.median(0, calm=True)
        lines += [
            "",
            "[[cells]]",
            f'engine = "{cell.engine}"',
            f'out = "{cell.out}"',
            f'accelerator = "{cell.accelerator}"',
            f'model = "{cell.model}"',
            f"moe = {str(cell.moe).lower()}",
            f"rows = {len(cell.burst)}",
            f"bursts = {int(cell.burst.sum())}",
            f"tpot = {cell.median(1):.4f}",
            f"ttft = {cell.median(0):.4f}",
            *([f"ttft_calm = {calm:.4f}"] if np.isfinite(calm) else []),
        ]
    (files.ROOT / "measured" / "cross.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for engine, found in intervals.items():
        print(engine, {name: [float(f"{end:.3g}") for end in ends] for name, ends in found.items()})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engines", nargs="*", default=list(PLAN))
    parser.add_argument("--cross", action="store_true")
    parser.add_argument("--write", action="store_true", help="write catalog/measured/cross.toml")
    given = parser.parse_args()
    every, busy, intervals = [], [], {}
    for engine in given.engines:
        rows = taught(engine)
        chosen = sample(rows)
        waits = fit(engine, chosen, starts(engine), ROUNDS)
        errors = np.abs(np.array([row.error(waits) for row in chosen]))
        text = ", ".join(
            f"{name}{f' of {only[0]}' if only else ''} {value * WAITS[name][0]:.3g}"
            for (name, only), value in zip(PLAN[engine], waits, strict=True)
        )
        left = f"median |log error| TTFT {np.median(errors[:, 0]):.3f}, TPOT {np.median(errors[:, 1]):.3f}"
        print(f"{engine}: {len(chosen)} rows of {len(rows)}; {text}; {left}", flush=True)
        if given.cross:
            found = cross(engine, rows, "accelerator") + cross(engine, rows, "model")
            show(found)
            busy += [cell for cell in found if cell.busy and len(cell.burst) >= LEAST_BUSY]
            found = [cell for cell in found if not cell.busy]
            every += found
            intervals[engine] = {"ttft": interval(found, 0), "tpot": interval(found, 1)}
            for name, (low, high) in intervals[engine].items():
                print(f"  90% of measured {name} lie within {low:.2f} and {high:.2f} of the prediction", flush=True)
    if busy:
        print("above 128 in flight:", {name: interval(busy, i) for i, name in enumerate(("ttft", "tpot"))})
    if every:
        print("\n".join(summary(every)))
    if every and given.write:
        write(every, intervals)


if __name__ == "__main__":
    main()
