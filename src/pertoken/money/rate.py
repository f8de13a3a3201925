"""A Rate is what an accelerator-second costs: rented, or its electricity alone. It knows no vendor's token price."""

from __future__ import annotations

from dataclasses import dataclass

from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.units import JOULES_PER_KWH, per_second

MOST_PER_HOUR = 10_000.0  # $/accelerator-hour
MOST_PER_KWH = 100.0  # $/kWh


@dataclass(frozen=True)
class Rate:
    """Price of accelerator time.

    Parameters
    ----------
    usd_per_second : float
        Per accelerator and second [$].
    origin : str
        What it is, with source and date, in a sentence fragment.
    kind : str
        ``rent`` or ``power``.
    """

    usd_per_second: float
    origin: str
    kind: str = "rent"

    def __post_init__(self) -> None:
        if not 0.0 < self.usd_per_second <= per_second(MOST_PER_HOUR):
            raise PertokenError(
                f"a rate of {self.usd_per_second:g} $/accelerator-second is out of range; it must be above 0 and at most"
                f" {MOST_PER_HOUR:,.0f} $/accelerator-hour"
            )


def rent(usd_per_hour: float, origin: str = "rent as given") -> Rate:
    """A rent per accelerator-hour.

    Parameters
    ----------
    usd_per_hour : float
        Above 0 and at most 10,000 [$/h].
    origin : str
        Where it comes from.
    """
    if not 0.0 < usd_per_hour <= MOST_PER_HOUR:
        raise PertokenError(
            f"--rate rent:{usd_per_hour:g} is out of range; it must be above 0 and at most {MOST_PER_HOUR:,.0f}"
            " $/accelerator-hour, such as rent:2.50"
        )
    return Rate(per_second(usd_per_hour), origin)


def power(usd_per_kwh: float, accelerator: Accelerator) -> Rate:
    """Electricity alone, at the board's power all the time.

    Parameters
    ----------
    usd_per_kwh : float
        Above 0 and at most 100 [$/kWh].
    accelerator : Accelerator
        Needs a published board power.
    """
    if not 0.0 < usd_per_kwh <= MOST_PER_KWH:
        raise PertokenError(
            f"--rate power:{usd_per_kwh:g} is out of range; it must be above 0 and at most {MOST_PER_KWH:,.0f} $/kWh, such"
            " as power:0.12"
        )
    if accelerator.board_power is None:
        raise PertokenError(
            f"no board power is published for {accelerator.name}, so power:{usd_per_kwh:g} has no dollars; use --rate"
            " rent:PRICE"
        )
    watts = accelerator.board_power.value
    origin = f"electricity alone at {usd_per_kwh:g} $/kWh and {watts:,.0f} W of board power, without host or cooling"
    return Rate(usd_per_kwh / JOULES_PER_KWH * watts, origin, "power")
