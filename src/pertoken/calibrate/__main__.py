"""``python -m pertoken.calibrate WHEEL_OR_FOLDER... --out DIR``: refit every accelerator that the tables cover."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from pertoken.calibrate import engines, eras, fit, operators
from pertoken.calibrate.operators import CACHE, CATALOG_NAMES, FORMS, Samples, Table
from pertoken.calibrate.peaks import read_peaks
from pertoken.engine.efficiency import Efficiency
from pertoken.errors import PertokenError

_COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "alltoall")
_HOME = "https://github.com/ai-dynamo/aiconfigurator"
Peaks = dict[str, float]


def samples_of(found: list[Table], system: str) -> list[Samples]:
    """Every set of samples that one system's tables hold."""
    sets: list[Samples | None] = []
    for dtype in FORMS:
        sets += [operators.matmul(found, system, dtype), operators.experts(found, system, dtype)]
    for phase in ("prefill", "decode"):
        for cache in CACHE:
            sets += [operators.attention(found, system, phase, cache), operators.latent(found, system, phase, cache)]
    sets += [operators.collective(found, system, op) for op in _COLLECTIVES]
    return [s for s in sets if s is not None and len(s.seconds) >= _needs(s)]


def _needs(samples: Samples) -> int:
    return 20 if samples.group == "collective" else 150


def rates(samples: Samples, peaks: Peaks) -> tuple[str, float, float] | None:
    """Arithmetic, its peak [FLOP/s] and the memory or link rate [byte/s]; None where there is no such peak."""
    if samples.group == "collective":
        return ("", 0.0, peaks["link"]) if "link" in peaks else None
    form = next((f for f in FORMS.values() if f.key == samples.key), FORMS["bfloat16"])
    wanted = form.arithmetic if samples.group in ("matmul", "experts") else FORMS["bfloat16"].arithmetic
    name = next((n for n in wanted if n in peaks), None)
    return (name, peaks[name], peaks["memory"]) if name else None


def calibrate(every: list[Table], system: str, peaks: Peaks) -> tuple[dict[str, Any], list[str]]:
    """The efficiency file of one system as a nested table, and report lines."""
    found = [table for table in every if not table.text]  # today's; older versions make factors of their eras only
    made: dict[str, Any] = {"accelerator": CATALOG_NAMES[system], "arithmetic": {}, "peaks": dict(peaks)}
    tables: list[str] = []
    lines = []
    for samples in samples_of(found, system):
        at = rates(samples, peaks)
        if at is None:
            tables.append(f"{samples.group}.{samples.key}: left out, no datasheet peak for its arithmetic")
            continue
        used, dropped = fit.usable(samples, *at[1:])
        if len(used.seconds) < _needs(samples):
            tables += [*dropped, f"{samples.group}.{samples.key}: left out, too few rows"]
            continue
        record = fit.fit(used, *at[1:])
        spread = fit.residual(record, used, *at[1:])
        defaults = {f.name: f.default for f in fields(record)}
        made.setdefault(samples.group, {})[samples.key] = {
            name: value for name, value in asdict(record).items() if value != defaults[name]
        }
        made.setdefault("residuals", {})[f"{samples.group}.{samples.key}"] = asdict(spread)
        if samples.group in ("matmul", "experts"):
            made["arithmetic"][samples.key] = at[0]
        for i, label in enumerate(used.labels):
            rows = int((used.teacher == i).sum())
            tables += [f"{label}, {samples.group}.{samples.key}: {rows} rows"] if rows else []
        tables += dropped
        for engine, own in factors(every, system, f"{samples.group}.{samples.key}", record, at[1:]):
            tables += own.notes
            if own.factor:
                made.setdefault("engines", {}).setdefault(engine, {})[f"{samples.group}.{samples.key}"] = own.factor
        lines.append(report(system, record, used, *at[1:]))
    share = operators.elementwise(found, system, peaks["memory"])
    return made | ({"elementwise": share} if share else {}) | {"tables": tables}, lines


def factors(
    every: list[Table], system: str, name: str, record: Any, at: tuple[float, float]
) -> Iterator[tuple[str, engines.Found]]:
    """What each engine's own tables say of one operator, today's first, then those of its older versions."""
    for engine in engines.ENGINES:
        yield engine, engines.factor([t for t in every if not t.text], system, engine, name, record, at)
    for era in eras.ERAS:
        yield era, eras.factor(every, system, era, name, record, at)


def report(system: str, record: Any, used: Samples, flops: float, rate: float) -> str:
    """One line: system, operator, key, rows, median and 90th percentile of |log error|."""
    off = np.abs(fit.errors(record, used, flops, rate))
    middle, high = np.quantile(off, (0.5, 0.9))
    return f"{system:20s} {used.group + '.' + used.key:28s} {len(off):6d} rows  median {middle:.3f}  p90 {high:.3f}"


def as_toml(made: dict[str, Any], today: dt.date) -> str:
    """The file's text."""
    origins = sorted({line.split(" ")[0] for line in made["tables"] if "==" in line.split(" ")[0]})
    lines = [
        "# Shares of datasheet peaks that measured kernels reach, fitted with python -m pertoken.calibrate.",
        f"# Source: operator tables of {', '.join(origins)} (NVIDIA, SPDX-License-Identifier: Apache-2.0).",
        f"# Fitted {today}. The meaning of every key: pertoken/engine/efficiency.py.",
        f'accelerator = "{made["accelerator"]}"',
    ]
    if "elementwise" in made:
        lines.append(f"elementwise = {made['elementwise']:.4g}")
    lines.append("tables = [\n" + "".join(f'  "{line}",\n' for line in made["tables"]) + "]")
    for i, origin in enumerate(origins):  # today's first
        lines += ["", f"[sources.{'tables' if i == 0 else 'older'}]"]
        lines.append(f'title = "{origin}, measured operator tables (Apache-2.0)"')
        lines += [f'url = "{_HOME}"', f"read = {today}"]
    order = [f.name for f in fields(Efficiency) if f.name != "engines" and isinstance(made.get(f.name), dict)]
    for group in order:
        rows = made[group]
        if group in ("arithmetic", "peaks"):
            lines += ["", f"[{group}]", *(f"{key} = {_value(value)}" for key, value in rows.items())]
            continue
        lines += ["", f"[{group}]"]
        for key, row in rows.items():
            inner = ", ".join(f"{name} = {_value(value)}" for name, value in row.items())
            lines.append(f"{_key(key)} = {{ {inner} }}")
    for engine, factors in made.get("engines", {}).items():
        lines += ["", f"[engines.{_key(engine)}]"]
        for key, factor in factors.items():
            inner = ", ".join(f"{name} = {_value(v)}" for name, v in asdict(factor).items() if v != 1.0)
            lines.append(f'"{key}" = {{ {inner} }}')
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return f'"{name}"' if "." in name else name


def _value(value: Any) -> str:
    if isinstance(value, str | bool):
        return f'"{value}"' if isinstance(value, str) else str(value).lower()
    return repr(float(f"{value:.4g}"))


def main() -> int:
    """Run from the command line."""
    catalog = Path(__file__).parent.parent / "catalog"
    parser = argparse.ArgumentParser(prog="python -m pertoken.calibrate", description=__doc__)
    parser.add_argument("places", nargs="+", type=Path, help="wheels or folders with operator tables")
    parser.add_argument("--out", type=Path, required=True, help="folder for the efficiency files")
    parser.add_argument("--accelerators", type=Path, default=catalog / "accelerators", help="folder of datasheets")
    parser.add_argument("--system", action="append", help="only this system of the tables; may be given again")
    given = parser.parse_args()
    try:
        found = operators.tables(given.places)
        given.out.mkdir(parents=True, exist_ok=True)
        for system in given.system or sorted({t.system for t in found} & set(CATALOG_NAMES)):
            datasheet = given.accelerators / f"{CATALOG_NAMES[system]}.toml"
            if not datasheet.exists() and not given.system:
                print(f"{system} left out: no {datasheet.name} among the datasheets", file=sys.stderr)
                continue
            peaks = read_peaks(datasheet)
            made, lines = calibrate(found, system, peaks)
            (given.out / f"{CATALOG_NAMES[system]}.toml").write_text(as_toml(made, dt.date.today()), encoding="utf-8")
            print("\n".join(lines), flush=True)
    except PertokenError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
