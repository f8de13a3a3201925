"""An engine's overheads and policies, as its catalog profile states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pertoken.errors import PertokenError
from pertoken.sources import Sourced, read_number, read_sources


@dataclass(frozen=True)
class Profile:
    """What an engine adds to its kernels.

    Parameters
    ----------
    name, title, versions : str
        Catalog name, full name, and the versions that the profile describes.
    host_step : Sourced
        Host seconds that a step waits for [s].
    host_sequence : Sourced
        Host seconds for each sequence of a step [s].
    memory_fraction : Sourced
        Share of an accelerator's memory that the engine uses [1].
    token_budget : Sourced
        Most tokens of one step (chunked prefill) [token].
    max_sequences : Sourced
        Most sequences of one step [sequence].
    """

    name: str
    title: str
    versions: str
    host_step: Sourced
    host_sequence: Sourced
    memory_fraction: Sourced
    token_budget: Sourced
    max_sequences: Sourced


_UNITS = {
    "host_step": ("s", 1.0),
    "host_sequence": ("s", 0.1),
    "memory_fraction": ("1", 1.0),
    "token_budget": ("token", 1e7),
    "max_sequences": ("sequence", 1e6),
}


def profile_from_dict(table: Mapping[str, Any], where: str) -> Profile:
    """Read a profile from the content of its TOML file.

    Raises
    ------
    PertokenError
        Naming the key that is missing or out of range.
    """
    names = {f.name for f in fields(Profile)} - set(_UNITS)
    for key in names:
        if not isinstance(table.get(key), str):
            raise PertokenError(f"{where}: {key} is {str(table.get(key))[:60]!r}; it must be a text")
    sources = read_sources(table.get("sources", {}))
    numbers = {
        key: read_number(table.get(key), unit, sources, f"{where}: {key}", high=high)
        for key, (unit, high) in _UNITS.items()
    }
    return Profile(**{key: table[key] for key in names}, **numbers)
