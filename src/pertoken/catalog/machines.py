"""Accelerators, engines and measured efficiencies by name."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from pertoken.catalog import files
from pertoken.engine.calibration import Calibration, calibration_from_dict
from pertoken.engine.efficiency import Efficiency, efficiency_from_dict
from pertoken.engine.profile import Profile, profile_from_dict
from pertoken.engine.transfer import Chooser
from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator, accelerator_from_dict

Entry = TypeVar("Entry")
OLDER = 2.0  # interval of versions older than any described over theirs, in logarithms: assumed
SLOTS = "rtx-pro-6000-server"  # measured over PCIe slots of one host
REFERENCE = "h100-sxm"  # measured most thoroughly, so it stands in for what the others lack
# the measured accelerator whose kernels resemble most those of a family nobody measured
_NEAREST = {
    "volta": "a100-sxm-80gb", "turing": "a100-sxm-80gb", "ampere": "a100-sxm-80gb", "ada": "l40s", "hopper": REFERENCE,
    "blackwell": "b200-sxm", "blackwell-consumer": "rtx-pro-6000-server", "cdna2": "a100-sxm-80gb",
}  # fmt: skip


def _load(kind: str, text: str, read: Callable[[Mapping[str, Any], str], Entry], hint: str = "") -> Entry:
    """An entry by catalog name or alias, or from a TOML file of the user's own."""
    path = files.own(text) if text.endswith(".toml") else None
    if path:
        return read(files.read_toml(path), path.name)
    name = files.find_name(kind, text)
    if name is None:
        raise files.unknown(kind, text, hint)
    return read(_entry(kind, name), name)


@cache
def _entry(kind: str, name: str) -> Mapping[str, Any]:
    return files.entry(kind, name)


def load_accelerator(text: str) -> Accelerator:
    """An accelerator by catalog name or alias, or from a TOML file of the user's own."""
    return _load("accelerators", text, accelerator_from_dict, "; a TOML file of your own works too")


def load_profile(text: str) -> Profile:
    """An engine's profile by name, or from a TOML file of the user's own, which may extend a catalog entry's."""
    return _load("engines", text, lambda table, where: profile_from_dict(_extended(table), where))


def _extended(table: Mapping[str, Any]) -> dict[str, Any]:
    """A profile's table over the one that it extends."""
    base = table.get("extends")
    if not isinstance(base, str):
        return dict(table)
    name = files.find_name("engines", base)
    if name is None:
        raise files.unknown("engines", base)
    under = _entry("engines", name)
    return {**under, **table, "sources": {**under.get("sources", {}), **table.get("sources", {})}, "extends": name}


@cache
def eras(engine: str) -> list[tuple[tuple[int, ...], dt.date, str]]:
    """Older versions of an engine that have a profile: the version and the day from which they do not hold, and its name."""
    tables = {name: _entry("engines", name) for name in files.names("engines")}
    return sorted(
        (version_numbers(table["before"]), table["until"], name)
        for name, table in tables.items()
        if table.get("extends") == engine
    )


def version_numbers(text: str) -> tuple[int, ...]:
    """The numbers of a version up to three, such as (1, 2, 0) of ``1.2.0rc6``; empty where it has none."""
    found = re.match(r"v?(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?", text.strip().lower())
    return tuple(int(n) for n in found.groups() if n) if found else ()


def profile_of(engine: str, version: str, date: str) -> Profile:
    """The profile of an engine at a version, or else on a day (``2025-10-29``); today's where neither is told."""
    numbers = version_numbers(version)
    for before, until, name in eras(engine):
        if (numbers and numbers < before) or (not numbers and date and date < until.isoformat()):
            return _as_old(load_profile(name), name, numbers, date)
    return load_profile(engine)


def _as_old(profile: Profile, name: str, numbers: tuple[int, ...], date: str) -> Profile:
    """The profile with wider intervals for what is older than the versions that it describes."""
    table = _entry("engines", name)
    since, day = version_numbers(str(table.get("since", ""))), table.get("since_day")
    if not ((numbers and numbers < since) or (not numbers and date and day and date < day.isoformat())):
        return profile
    return replace(profile, interval={k: (low**OLDER, high**OLDER) for k, (low, high) in profile.interval.items()})


@cache
def load_efficiency(name: str) -> Efficiency:
    """The measured efficiency of one accelerator."""
    return efficiency_from_dict(files.entry("efficiency", name))


def load_calibration(text: str) -> Calibration:
    """A user's own calibration from its TOML file."""
    path = files.own(text)
    if path is None:
        raise PertokenError(
            f"efficiency {text[:60]!r} is no name of the catalog; calibrations are read by the command alone"
        )
    return calibration_from_dict(files.read_toml(path), path.name)


@cache
def load_kernels(engine: str) -> Mapping[str, Any]:
    """Kernels that one engine alone has, by accelerator, and which accelerators they stand in for."""
    return files.entry("kernels", engine) if engine in files.names("kernels") else {}


def _own_kernels(accelerator: Accelerator, engine: str) -> Efficiency | None:
    """The engine's own kernels on the accelerator, or on the one nearest to it."""
    table = load_kernels(engine)
    nearest = table.get("nearest", {})
    name = nearest.get(accelerator.name) or nearest.get(accelerator.family)
    return efficiency_from_dict({"accelerator": name, "matmul": table["matmul"][name]}) if name else None


def chooser(accelerator: Accelerator, profile: Profile | None = None, own: Calibration | None = None) -> Chooser:
    """Efficiencies for an accelerator under an engine: its own, or those of the measured one nearest to it.

    Parameters
    ----------
    accelerator : Accelerator
        What the efficiencies are for.
    profile : Profile, optional
        The engine, for its own kernels; with none, those of the fit over all engines.
    own : Calibration, optional
        A user's, which must be of both.
    """
    measured = files.names("efficiency")
    nearest = accelerator.name if accelerator.name in measured else _NEAREST.get(accelerator.family, REFERENCE)
    nearest = nearest if nearest in measured else REFERENCE
    notes = []
    if nearest != accelerator.name:
        notes.append(f"kernel efficiencies of {accelerator.name}: those measured on {nearest}")
    engine = profile.name if profile else ""
    kernels = _own_kernels(accelerator, engine)
    if load_kernels(engine) and not kernels:
        notes.append(f"{engine}'s own kernels were not measured on {accelerator.name}: those of other engines")
    if own:
        own.check(accelerator, engine)
        notes.append(own.sentence())
    # what tells one engine's kernels from another's was measured on NVIDIA's and holds for no one else's
    engines = profile.kernels if profile and (kernels or accelerator.vendor.lower() == "nvidia") else ()
    fallback = None if nearest == REFERENCE else load_efficiency(REFERENCE)
    links = load_efficiency(SLOTS) if accelerator.in_slots and nearest != SLOTS else None
    scale = own.scale if own else None
    return Chooser(load_efficiency(nearest), fallback, notes, engines, accelerator, links, kernels, scale)
