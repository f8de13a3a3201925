"""How busy a machine is over a day: one number, or a value for each hour."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pertoken.errors import PertokenError

HOURS = 24
LEAST = 1e-6


@dataclass(frozen=True)
class LoadProfile:
    """Share of each hour in which the machine works at its operating point, 0 to 1.

    Parameters
    ----------
    hours : tuple of float
        One value for the whole day, or 24 from midnight on.
    """

    hours: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.hours) not in (1, HOURS):
            raise PertokenError(
                f"--utilisation has {len(self.hours)} values; give one number, or {HOURS} with commas, one for each hour"
            )
        for value in self.hours:
            if not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise PertokenError(f"--utilisation is {value:g}; it must be a number from {LEAST:g} to 1")
        if self.mean < LEAST:
            raise PertokenError(f"--utilisation is {self.mean:g}; it must be a number from {LEAST:g} to 1")

    @property
    def mean(self) -> float:
        """Share of the day [1]."""
        return math.fsum(self.hours) / len(self.hours)

    def sentence(self) -> str:
        """What is taken from a day's values; empty for one number."""
        if len(self.hours) == 1:
            return ""
        return (
            f"utilisation {self.mean:.3g}, the mean of {HOURS} hourly values from {min(self.hours):g} to {max(self.hours):g}:"
            " the busiest hour decides how many machines are paid for"
        )


def parse_utilisation(text: str) -> LoadProfile:
    """Read ``0.3``, or 24 numbers with commas.

    Raises
    ------
    PertokenError
        When it is neither.
    """
    values = []
    for piece in text.split(",")[: HOURS + 1]:
        try:
            values.append(float(piece))
        except ValueError as error:
            raise PertokenError(
                f"--utilisation is {text[:60]!r}; it must be a number from {LEAST:g} to 1, or {HOURS} of them with commas"
            ) from error
    return LoadProfile(tuple(values))
