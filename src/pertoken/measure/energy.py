"""Energy of this machine's accelerators while something runs: NVML's counter, RAPL's, or watts that the user states.

What cannot be measured is said, never guessed. A counter of this machine says nothing of a server elsewhere.

References
----------
.. [1] NVIDIA, NVML API reference, ``nvmlDeviceGetTotalEnergyConsumption``: millijoules since the driver was loaded.
.. [2] Linux kernel, Documentation/power/powercap/powercap.rst: ``energy_uj``, which starts again after ``max_energy_range_uj``.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pertoken.errors import PertokenError

KINDS = ("auto", "nvml", "rapl", "none")
POWERCAP = Path("/sys/class/powercap")


@dataclass
class Meter:
    """No energy is measured.

    Parameters
    ----------
    sentence : str
        How energy is measured, or why not.
    """

    sentence: str = "energy was not measured; give --watts, or --energy where the server runs on this machine"

    def joules(self) -> float:
        """Energy since some moment [J]; NaN where there is none to measure."""
        return math.nan


@dataclass
class Watts(Meter):
    """A power that the user states.

    Parameters
    ----------
    watts : float
        Of all accelerators together [W].
    """

    watts: float = math.nan

    def __post_init__(self) -> None:
        if not 0 < self.watts <= 1e8:
            raise PertokenError(f"--watts is {self.watts:g}; it must be above 0 and at most 1e8 W")
        self.sentence = f"{self.watts:g} W over the whole time, as given by --watts"

    def joules(self) -> float:
        """Watts times the clock [J]."""
        return self.watts * time.monotonic()


@dataclass
class Nvml(Meter):
    """NVIDIA's energy counters of all devices of this machine."""

    _handles: list[Any] = field(default_factory=list, repr=False)
    _nvml: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise PertokenError("NVML needs nvidia-ml-py; install it with: pip install 'pertoken[nvml]'") from error
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            self.joules()
        except pynvml.NVMLError as error:
            raise PertokenError(f"NVML has no energy counter here ({error}); give --watts") from error
        if not self._handles:
            raise PertokenError("NVML finds no device here; give --watts")
        self.sentence = f"NVML's energy counters of {len(self._handles)} device{'s' * (len(self._handles) > 1)}"

    def joules(self) -> float:
        """Of all devices [J]."""
        return math.fsum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(h) * 1e-3 for h in self._handles)


@dataclass
class Rapl(Meter):
    """The packages' energy counters of Linux; memory and what is outside the sockets is not in them."""

    folder: Path = POWERCAP
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._zones = sorted(z for z in self.folder.glob("*-rapl:*") if z.name.count(":") == 1)
        if not self._zones:
            raise PertokenError("RAPL is not offered here; give --watts")
        try:
            self.joules()
        except (OSError, ValueError) as error:
            raise PertokenError(
                f"RAPL cannot be read ({error.__class__.__name__}); give --watts, or let it be read"
            ) from error
        self.sentence = (
            f"RAPL's energy counters of {len(self._zones)} socket{'s' * (len(self._zones) > 1)}, memory not in them"
        )

    def joules(self) -> float:
        """Of all sockets since the first reading; a counter that started again is carried on [J]."""
        total = 0
        for zone in self._zones:
            now = int((zone / "energy_uj").read_text())
            last, sums = self._seen.get(zone, (now, 0))
            more = now - last
            if more < 0:
                more += int((zone / "max_energy_range_uj").read_text())
            self._seen[zone] = now, sums + more
            total += sums + more
        return total * 1e-6


def find_meter(kind: str, watts: float | None, local: bool) -> Meter:
    """The meter that was asked for, or for ``auto`` the first that there is.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    watts : float or None
        What the user states [W].
    local : bool
        Whether the server runs on this machine.

    Raises
    ------
    PertokenError
        When the one that was asked for is not to be had.
    """
    if kind not in KINDS:
        raise PertokenError(f"--energy is {kind[:40]!r}; use one of {', '.join(KINDS)}")
    if watts is not None:
        return Watts(watts=watts)
    if kind == "none":
        return Meter()
    if kind in ("nvml", "rapl"):
        return Nvml() if kind == "nvml" else Rapl()
    if not local:
        return Meter("energy was not measured: the server is not on this machine; give --watts")
    reasons = []
    for make in (Nvml, Rapl):
        try:
            return make()
        except PertokenError as error:
            reasons.append(str(error).split(";")[0])
    return Meter(f"energy was not measured: {'; '.join(reasons)}; give --watts")
