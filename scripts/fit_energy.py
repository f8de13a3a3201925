"""Fit what accelerators draw, as `catalog/power` states it, cross-validate it, and hold it against wall power.

Four numbers for each accelerator (floor, joules a byte, joules a FLOP, and vLLM's wait for an emitted token), by robust
least squares on the logarithm of measured joules per output token, with the step times that pertoken predicts. Priors from
the physics of the parts keep apart what the rows cannot tell apart. Then again without one model family at a time,
predicting what was left out: the quantiles of those errors are the interval that ships.

``python scripts/fit_energy.py [--write] [--wall mlperf_power.csv]``
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import gzip
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from pertoken.knobs import read_knobs
from pertoken.money.energy import relative_peaks
from pertoken.scenario import Resolver
from pertoken.serving.operating import operate

FOLDER = Path(__file__).resolve().parent.parent / "src" / "pertoken" / "catalog" / "power"
NAMES = {"H100": "h100-sxm", "B200": "b200-sxm"}
# mean input tokens in the authors' text; the rows do not state them, so other lengths bound what they decide
INPUTS = {"lm-arena-chat": 224, "gpqa": 634}
BOUNDS = ({"lm-arena-chat": 100, "gpqa": 150}, {"lm-arena-chat": 450, "gpqa": 634})
FAMILIES = ("nemotron", "qwen", "llama", "gemma", "deepseek", "gpt-oss")
# centre of the priors: floor of 0.4 board power, 5 pJ a bit of HBM, 0.4 and 0.25 pJ a half-precision FLOP, 50 us a token
PRIOR = {"H100": (280.0, 40e-12, 0.4e-12, 50e-6), "B200": (400.0, 40e-12, 0.25e-12, 50e-6)}
SPREAD = 0.5  # of the priors, in logarithms
PULL = 0.5  # a residual as large weighs as much as a parameter one spread off
CAP = {"H100": 700.0, "B200": 1000.0}
IDLE = {
    "H100": (145, "nvidia-smi of an H100 with weights loaded and nothing to do, gpu-burn issue 114",
             "https://github.com/wilicc/gpu-burn/issues/114", dt.date(2024, 10, 25)),
    "B200": (192, "nvidia-smi of a B200 with weights loaded and nothing to do, TensorRT-LLM issue 10278",
             "https://github.com/NVIDIA/TensorRT-LLM/issues/10278", dt.date(2025, 12, 24)),
}  # fmt: skip
HEAD = (
    "| accelerator | family left out | rows | median error | bias | board power x time |",
    "|---|---|---|---|---|---|",
)
DATA = "ML.ENERGY leaderboard (Apache-2.0), public/data/tasks at 0cd52da: vLLM 0.11.1 on H100 and B200"
URL = "https://github.com/ml-energy/leaderboard"


@dataclass
class Measured:
    """A row with what one step of each kind does: share per output token, seconds, bytes, FLOP, tokens emitted."""

    row: Mapping[str, str]
    kinds: np.ndarray

    @property
    def joules(self) -> float:
        return float(self.row["energy_per_token_joules"])

    @property
    def family(self) -> str:
        return next(f for f in FAMILIES if f in self.row["model_id"].lower())

    @property
    def cell(self) -> tuple[str, ...]:
        return tuple(self.row[k] for k in ("model_id", "task", "num_gpus"))


def model_name(model_id: str) -> str:
    """The catalog's name."""
    name = model_id.split("/")[1].lower().removeprefix("nvidia-")
    for suffix in ("-fp8", "-instruct", "-thinking", "-it", "-17b-16e", "-0528"):
        name = name.replace(suffix, "")
    return name


def knobs(row: Mapping[str, str], tokens: int) -> dict[str, Any]:
    """The row's load; attention is split over all ranks unless the row says data parallel."""
    dp, ep, count = (int(row[k]) for k in ("data_parallel", "expert_parallel", "num_gpus"))
    found = {
        "model": model_name(row["model_id"]), "on": f"{count}x{NAMES[row['gpu_model']]}", "tp": count // dp, "dp": dp,
        "engine": "vllm", "concurrency": max(1.0, float(row["avg_batch_size"])), "input": str(tokens),
        "output": str(round(float(row["avg_output_len"]))), "max_sequences": 4096,
    }  # fmt: skip
    dtype = {"fp8": "fp8", "bfloat16": "bf16"}.get(row["weight_precision"])
    return found | ({"ep": ep} if ep > 1 else {}) | ({"dtype": dtype} if dtype else {})


def features(given: Mapping[str, Any]) -> np.ndarray:
    """Rows of `Measured.kinds` for a scenario."""
    resolver = Resolver(read_knobs(given))
    deployment = resolver.deployment(resolver.precision())[0]
    found, relative = operate(deployment, resolver.workload), relative_peaks(deployment)
    state, outputs = found.state, float(found.state.finished * found.moments.output)
    return np.array([
        (float(kind.share) * deployment.split.tp / outputs, float(kind.seconds),
         sum(float(op.count * op.work.memory_bytes) for op in kind.ops),
         sum(float(op.count * op.work.flop) * relative.get(op.name, 1.0) for op in kind.ops), float(kind.step.emitted))
        for kind in state.kinds
    ])  # fmt: skip


@cache
def rows() -> list[dict[str, str]]:
    with gzip.open(FOLDER / "mlenergy.csv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def load(gpu: str, inputs: Mapping[str, int]) -> list[Measured]:
    """Rows of one accelerator on text tasks whose input length is known in the mean."""
    return [
        Measured(row, features(knobs(row, inputs[row["task"]])))
        for row in rows()
        if row["gpu_model"] == gpu and row["task"] in inputs
    ]


def predict(p: np.ndarray, kinds: np.ndarray, cap: float) -> np.ndarray:
    """Joules per output token: the formula of `pertoken.money.energy`."""
    share, seconds, moved, flop, emitted = np.moveaxis(kinds, -1, 0)
    step = np.minimum(p[0] * seconds + p[1] * moved + p[2] * flop, cap * seconds) + p[0] * p[3] * emitted
    return (share * step).sum(-1)


def fit(found: list[Measured], gpu: str) -> np.ndarray:
    """The four numbers; every cell (model, task, count) weighs the same."""
    centre, sizes = np.array(PRIOR[gpu]), defaultdict(int)
    for m in found:
        sizes[m.cell] += 1
    weight = np.array([sizes[m.cell] ** -0.5 for m in found])
    kinds, log = np.stack([m.kinds for m in found]), np.log([m.joules for m in found])

    def residuals(q: np.ndarray) -> np.ndarray:
        off = weight * (np.log(predict(centre * np.exp(q), kinds, CAP[gpu])) - log)
        return np.concatenate([off, PULL * q / SPREAD])

    found_q = least_squares(residuals, np.zeros(4), loss="soft_l1", f_scale=0.1, diff_step=1e-3).x
    return centre * np.exp(found_q)


def crossed(found: list[Measured], gpu: str) -> np.ndarray:
    """Log of predicted over measured, each family predicted by the others."""
    errors = np.zeros(len(found))
    for family in {m.family for m in found}:
        p = fit([m for m in found if m.family != family], gpu)
        for i, m in enumerate(found):
            if m.family == family:
                errors[i] = np.log(predict(p, m.kinds, CAP[gpu]) / m.joules)
    return errors


def board_only(found: list[Measured], gpu: str) -> np.ndarray:
    """The same of board power times predicted time."""
    return np.array([np.log((m.kinds[:, 0] * m.kinds[:, 1]).sum() * CAP[gpu] / m.joules) for m in found])


def median(errors: np.ndarray) -> float:
    """Median absolute error."""
    return float(np.median(np.abs(np.expm1(errors))))


def report(gpu: str) -> tuple[np.ndarray, tuple[float, float], list[str]]:
    """Parameters, interval, and lines of the table."""
    found = load(gpu, INPUTS)
    p, errors = fit(found, gpu), crossed(found, gpu)
    low, high = np.quantile(-errors, [0.05, 0.95])
    lines = [f"| {gpu} | all | {len(found)} | {median(errors):.1%} | {np.expm1(np.median(errors)):+.1%} |"
             f" {median(board_only(found, gpu)):.1%} |"]  # fmt: skip
    for family in sorted({m.family for m in found}):
        part = errors[[m.family == family for m in found]]
        own = board_only([m for m in found if m.family == family], gpu)
        lines.append(
            f"| {gpu} | {family} | {len(part)} | {median(part):.1%} | {np.expm1(np.median(part)):+.1%} | {median(own):.1%} |"
        )
    bounds = [f"{median(crossed(load(gpu, inputs), gpu)):.1%}" for inputs in BOUNDS]
    lines.append(f"| {gpu} | all, inputs of {BOUNDS[0]['lm-arena-chat']} and {BOUNDS[0]['gpqa']}; {BOUNDS[1]['lm-arena-chat']}"
                 f" and {BOUNDS[1]['gpqa']} | {len(found)} | {'; '.join(bounds)} | | |")  # fmt: skip
    return p, (float(np.exp(low)), float(np.exp(high))), lines


def toml(gpu: str, p: np.ndarray, interval: tuple[float, float]) -> str:
    """The catalog's file."""
    idle, title, url, date = IDLE[gpu]
    figures = zip(("active", "byte", "flop"), p[:3], ("W", "J/byte", "J/FLOP"), strict=True)
    notes = {"flop": "half precision"}
    lines = [
        f"# Fitted by scripts/fit_energy.py to joules per output token of {NAMES[gpu]}; see docs/energy.md.", "",
        "# measured over predicted, 5 and 95% of rows of model families that were left out of the fit",
        f"interval = [{interval[0]:.3g}, {interval[1]:.3g}]", "", "[power]",
        *(f'{name} = {{ value = {value:.4g}, unit = "{unit}", source = "fit"'
          + (f', note = "{notes[name]}"' if name in notes else "") + " }" for name, value, unit in figures),
        f'idle = {{ value = {idle}, unit = "W", source = "idle" }}',
        f'cap = {{ value = {CAP[gpu]:.0f}, unit = "W", source = "fit", note = "board power" }}', "",
        "# seconds at the floor for each emitted token, by engine", "[wait]",
        f'vllm = {{ value = {p[3]:.3g}, unit = "s/token", source = "fit" }}', "",
        "[sources.fit]", f'title = "{DATA}"', f'url = "{URL}"', "read = 2026-11-22", "",
        "[sources.idle]", f'title = "{title}"', f'url = "{url}"', f"date = {date}", "read = 2026-11-25",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


# models of MLPerf's rows; their mean outputs follow from the rows, their mean inputs are not documented: two bound them
WALL = {
    "llama2-70b": "llama-2-70b",
    "mixtral-8x7b": "mixtral-8x7b",
    "llama3.1-405b": "llama-3.1-405b",
    "llama3.1-8b": "llama-3.1-8b",
}
WALL_INPUTS = (200, 2000)


def wall(path: Path) -> list[str]:
    """Predicted against measured wall power of whole servers of eight, nothing fitted to it."""
    from pertoken.scenario import price

    lines = []
    for row in csv.DictReader(path.read_text("utf-8").splitlines()):
        key = row["model"].removesuffix("-99.9").removesuffix("-99")
        if key not in WALL or row["scenario"] != "Offline" or row["model"].endswith("-99"):
            continue
        tokens = round(float(row["tokens_per_s"]) / float(row["samples_per_s"]))
        chip, dtype = ("h200-sxm", "fp8") if "H200" in row["system"] else ("b200-sxm", "nvfp4")
        found = []
        for inputs in WALL_INPUTS:
            cost = price(
                WALL[key], on=f"8x{chip}", dtype=dtype, engine="trtllm", input=inputs, output=tokens, ttft=1e5, tpot=10
            )
            assert cost.meter
            found.append(cost.meter.watts * 8 * cost.site.host.value)
        measured = float(row["median_W_active"])
        watts = " to ".join(f"{w:,.0f}" for w in sorted(found))
        errors = " to ".join(f"{w / measured - 1:+.0%}" for w in sorted(found))
        lines.append(f"| {row['round']} {row['system']} | {row['model']} | {measured:,.0f} | {watts} | {errors} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the catalog's files")
    parser.add_argument("--wall", type=Path, help="CSV of wall power to hold the result against")
    chosen = parser.parse_args()
    out = list(HEAD)
    for gpu, name in NAMES.items():
        p, interval, lines = report(gpu)
        out += lines
        if chosen.write:
            (FOLDER / f"{name}.toml").write_text(toml(gpu, p, interval), "utf-8")
    if chosen.wall:
        out += [
            "",
            "| server | model | measured W | predicted W | error |",
            "|---|---|---|---|---|",
            *wall(chosen.wall),
        ]
    sys.stdout.write("\n".join(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
