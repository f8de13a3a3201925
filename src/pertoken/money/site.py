r"""A Site is what stands around the accelerators: host, cooling, grid and water; it turns joules into the meter's, grams
and litres.

.. math:: E_{meter} = E_{accelerator}\,h\,\text{PUE}, \quad m_{CO2e} = E_{meter}\,g + t\,M / T, \quad
    V = E_{accelerator}\,h\,w

with h the draw of an accelerator and its share of the host over its own, g the grid's intensity, M the carbon of making one
accelerator spread over its life T, and w the water evaporated on site for each unit of energy of the machines.

References
----------
.. [1] Elsworth et al. 2025, arXiv:2508.15734 (58% of the energy of a median Gemini prompt is the accelerators').
.. [2] ISO/IEC 30134-2 (PUE) and 30134-9 (WUE).
"""

from __future__ import annotations

from dataclasses import dataclass

from pertoken.errors import PertokenError
from pertoken.sources import Source, Sourced
from pertoken.units import JOULES_PER_KWH, KILO, YEAR

_BARE = Source("accelerators alone")
MOST_PUE, MOST_HOST = 10.0, 10.0


@dataclass(frozen=True)
class Site:
    """Surroundings of the accelerators.

    Parameters
    ----------
    host : Sourced
        Draw of accelerator and host over that of the accelerator [1].
    pue : Sourced
        Draw of the facility over that of its machines [1].
    grid : Sourced or None
        Carbon of electricity [g/kWh].
    water : Sourced or None
        Evaporated on site per energy of the machines [L/kWh].
    embodied : Sourced or None
        Carbon of making one accelerator with its share of the host [kg]; left out where None.
    life : Sourced or None
        Years over which `embodied` is spread [year].
    """

    host: Sourced = Sourced(1.0, "1", _BARE)  # noqa: RUF009
    pue: Sourced = Sourced(1.0, "1", _BARE)  # noqa: RUF009
    grid: Sourced | None = None
    water: Sourced | None = None
    embodied: Sourced | None = None
    life: Sourced | None = None

    def __post_init__(self) -> None:
        for name, most in (("host", MOST_HOST), ("pue", MOST_PUE)):
            if not 1.0 <= getattr(self, name).value <= most:
                raise PertokenError(f"--{name} is {getattr(self, name).value:g}; it must be from 1 to {most:g}")
        if self.embodied and not (self.life and self.life.value > 0):
            raise PertokenError("embodied carbon is spread over a life; give one above 0 years")

    @property
    def factor(self) -> float:
        """Joules at the meter for each of the accelerators'."""
        return self.host.value * self.pue.value

    @property
    def grams_per_joule(self) -> float | None:
        """Carbon of a joule at the meter [g/J]."""
        return self.grid.value / JOULES_PER_KWH if self.grid else None

    @property
    def embodied_grams_per_second(self) -> float:
        """Carbon of making an accelerator, for each second that it is paid for [g/s]."""
        if not self.embodied or not self.life:
            return 0.0
        return self.embodied.value * KILO / (self.life.value * YEAR)

    @property
    def litres_per_joule(self) -> float | None:
        """Water for a joule at the meter [L/J]."""
        return self.water.value / JOULES_PER_KWH / self.pue.value if self.water else None
