"""A user's own calibration: how far one machine is from the efficiencies that ship, as a few numbers with a meaning.

Written by ``pertoken calibrate`` from measured rows, see `pertoken.calibrate.own`, and read back by ``--efficiency``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pertoken.engine.factor import EngineFactor
from pertoken.engine.profile import Profile
from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.sources import Sourced, read_number, read_sources

MOST_SCALE = 5.0  # an own machine this far from what ships is another machine, or measured in other units
MOST_HOST_S = 1.0
_UNITS = {"memory": ("1", MOST_SCALE), "compute": ("1", MOST_SCALE), "host_step": ("s", MOST_HOST_S)}


@dataclass(frozen=True)
class Calibration:
    """What own measurements say of one accelerator under one engine.

    Parameters
    ----------
    accelerator, engine : str
        Catalog names; they hold for no other.
    memory, compute : Sourced
        Own over shipped share of the memory rate, and of the arithmetic peak; no share passes 1 [1].
    host_step : Sourced or None
        Host seconds of a step, in the profile's place; None where the rows cannot tell it [s].
    rows : int
        Measured rows that taught it.
    """

    accelerator: str
    engine: str
    memory: Sourced
    compute: Sourced
    host_step: Sourced | None = None
    rows: int = 0

    def __post_init__(self) -> None:
        for name in ("memory", "compute"):
            value = getattr(self, name).value
            if not 1.0 / MOST_SCALE <= value <= MOST_SCALE:
                raise PertokenError(
                    f"the calibration's {name} is {value:g}; it must be from {1.0 / MOST_SCALE:g} to {MOST_SCALE:g} times"
                    " what ships; calibrate again"
                )

    @property
    def scale(self) -> EngineFactor:
        """Seconds under this calibration over those of the shipped efficiencies."""
        return EngineFactor(1.0 / self.memory.value, 1.0 / self.compute.value)

    def profile(self, profile: Profile) -> Profile:
        """The engine's profile with the host time that was measured."""
        return replace(profile, host_step=self.host_step) if self.host_step else profile

    def check(self, accelerator: Accelerator, engine: str) -> None:
        """Refuse another accelerator or engine than the one measured.

        Raises
        ------
        PertokenError
            Naming both.
        """
        if accelerator.name != self.accelerator:
            raise PertokenError(
                f"--efficiency was measured on {self.accelerator} and says nothing of {accelerator.name}; leave one of them out"
            )
        if engine != self.engine:
            raise PertokenError(
                f"--efficiency was measured under {self.engine} and says nothing of {engine}; give --engine {self.engine}"
            )

    def sentence(self) -> str:
        """What is taken from it, for the list of what an answer rests on."""
        host = f", host {self.host_step.value * 1e3:.3g} ms a step" if self.host_step else ""
        return (
            f"memory rates x {self.memory.value:.3g} and arithmetic x {self.compute.value:.3g} of those that ship{host}, from"
            f" {self.memory.source.title}"
        )


def calibration_from_dict(table: Mapping[str, Any], where: str) -> Calibration:
    """Read a calibration from the content of its TOML file.

    Raises
    ------
    PertokenError
        Naming the key that is missing or out of range.
    """
    for key in ("accelerator", "engine"):
        if not isinstance(table.get(key), str) or not 1 <= len(table[key]) <= 200:
            raise PertokenError(
                f"{where}: {key} is {str(table.get(key))[:60]!r}; it must be a name: pertoken calibrate writes such files"
            )
    rows = table.get("rows", 0)
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
        raise PertokenError(f"{where}: rows is {str(rows)[:40]!r}; it must be a whole number from 0")
    sources = read_sources(table.get("sources", {}) if isinstance(table.get("sources", {}), Mapping) else {})
    numbers = {
        key: read_number(table.get(key), unit, sources, f"{where}: {key}", high, zero=key == "host_step")
        for key, (unit, high) in _UNITS.items()
        if key in table or key != "host_step"
    }
    return Calibration(
        table["accelerator"], table["engine"], numbers["memory"], numbers["compute"], numbers.get("host_step"), rows
    )
