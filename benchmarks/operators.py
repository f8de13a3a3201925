"""How far fitted efficiencies carry: each accelerator's measured operators against the fit of its sibling.

``python benchmarks/operators.py WHEEL_OR_FOLDER`` prints for each accelerator and operator the median |log error| with
its own parameters and with those of the sibling (its own peaks in both), then for each engine the same without and with
its factors, on its own rows, then the cost of evaluating an efficiency as a ratio to one array division.
"""

from __future__ import annotations

import sys
import timeit
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np

from pertoken.calibrate import engines, fit, operators
from pertoken.calibrate.__main__ import rates, samples_of
from pertoken.calibrate.operators import CATALOG_NAMES
from pertoken.engine.efficiency import Efficiency, efficiency_from_dict

SIBLINGS = {
    "a100_sxm": "h100_sxm",
    "h100_sxm": "h200_sxm",
    "h200_sxm": "h100_sxm",
    "b200_sxm": "gb200",
    "gb200": "b200_sxm",
    "b300_sxm": "gb300",
    "gb300": "b300_sxm",
    "l40s": "rtx_pro_6000_server",
    "rtx_pro_6000_server": "l40s",
}


def shipped(system: str) -> Efficiency:
    """The catalog's efficiencies of one system of the tables."""
    file = resources.files("pertoken") / "catalog" / "efficiency" / f"{CATALOG_NAMES[system]}.toml"
    return efficiency_from_dict(tomllib.loads(file.read_text(encoding="utf-8")))


def carry(places: list[Path]) -> None:
    """Print own and sibling's errors."""
    found = operators.tables(places)
    every: dict[str, list[float]] = {}
    for system, sibling in SIBLINGS.items():
        own, other = shipped(system), shipped(sibling)
        for samples in samples_of(found, system):
            at = rates(samples, dict(own.peaks))
            mine, theirs = getattr(own, samples.group).get(samples.key), getattr(other, samples.group).get(samples.key)
            if at is None or mine is None or theirs is None:
                continue
            used, _ = fit.usable(samples, *at[1:])
            off = [float(np.median(np.abs(fit.errors(record, used, *at[1:])))) for record in (mine, theirs)]
            every.setdefault(samples.group, []).append(off[1])
            print(f"{system:20s} {samples.group + '.' + samples.key:28s} own {off[0]:.3f}  {sibling} {off[1]:.3f}")
    for group, values in every.items():
        print(f"{group:20s} median of medians with the sibling's parameters {np.median(values):.3f}")


def factors(places: list[Path]) -> None:
    """Print errors of each engine's own rows without and with its factors."""
    found = operators.tables(places)
    every: dict[str, list[tuple[float, float]]] = {}
    for system in SIBLINGS:
        own = shipped(system)
        for samples in samples_of(found, system):
            at, record = rates(samples, dict(own.peaks)), getattr(own, samples.group).get(samples.key)
            if at is None or record is None:
                continue
            for i, label in enumerate(samples.labels):
                engine, name = label.split(" ")[2], f"{samples.group}.{samples.key}"
                factor = own.engines.get(engine, {}).get(name)
                if factor is None:
                    continue
                part = samples.take(np.flatnonzero(samples.teacher == i))
                part, _ = engines.fair(part, found, label, record, at[1:])
                off = [float(np.median(np.abs(fit.errors(r, part, *at[1:])))) for r in (record, factor.of(record))]
                every.setdefault(engine, []).append((off[0], off[1]))
                print(f"{system:20s} {engine:7s} {name:28s} without {off[0]:.3f}  with {off[1]:.3f}")
    for engine, values in every.items():
        before, after = np.median(np.array(values), axis=0)
        print(f"{engine:20s} median of medians without factors {before:.3f}  with {after:.3f}")


def speed() -> None:
    """Print the cost of one efficiency over an array, against one division."""
    one = shipped("h100_sxm").matmul["bf16"]
    m = np.geomspace(1, 1e4, 10_000)
    plain = min(timeit.repeat(lambda: 1.0 / m, number=200, repeat=5))
    ours = min(timeit.repeat(lambda: one.compute(m, 4096.0, 4096.0), number=200, repeat=5))
    print(f"MatmulEfficiency.compute costs {ours / plain:.1f} array divisions")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("give the aiconfigurator-core wheel or its folder")
    carry([Path(argument) for argument in sys.argv[1:]])
    factors([Path(argument) for argument in sys.argv[1:]])
    speed()
