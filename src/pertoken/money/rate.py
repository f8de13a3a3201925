"""A Rate is what an accelerator-second costs: rented, owned, or its electricity alone. It knows no vendor's token price."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.units import JOULES_PER_KWH, per_second

MOST_PER_HOUR = 10_000.0  # $/accelerator-hour
MOST_PER_KWH = 100.0  # $/kWh


@dataclass(frozen=True)
class Rate:
    """Price of accelerator time: a part paid every second, and electricity paid by what is drawn.

    Parameters
    ----------
    usd_per_second : float
        Per working accelerator and second, electricity included at `watts` [$].
    origin : str
        What it is, with source and date, in a sentence fragment.
    kind : str
        ``rent``, ``own`` or ``power``.
    usd_per_joule : float
        Electricity at the facility's meter; 0 where the price includes it [$/J].
    watts : float
        Draw at the facility's meter of one working accelerator, in `usd_per_second` [W].
    band : tuple of float, optional
        Lowest and highest `usd_per_second` that is known of, such as over providers [$].
    since : str
        Date of the oldest price it rests on; empty where none is dated.
    assumed : tuple of str
        What it takes for granted.
    """

    usd_per_second: float
    origin: str
    kind: str = "rent"
    usd_per_joule: float = 0.0
    watts: float = 0.0
    band: tuple[float, float] | None = None
    since: str = ""
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 < self.usd_per_second <= per_second(MOST_PER_HOUR):
            raise PertokenError(
                f"a rate of {self.usd_per_second:g} $/accelerator-second is out of range; it must be above 0 and at most"
                f" {MOST_PER_HOUR:,.0f} $/accelerator-hour"
            )

    @property
    def fixed_usd_per_second(self) -> float:
        """What is paid every second, whatever is drawn [$]."""
        return max(0.0, self.usd_per_second - self.usd_per_joule * self.watts)

    def drawing(self, watts: float) -> Rate:
        """The same prices where a working accelerator draws ``watts`` at the facility's meter [W]."""
        if self.usd_per_joule == 0.0:
            return self
        more = self.usd_per_joule * (watts - self.watts)
        band = (self.band[0] + more, self.band[1] + more) if self.band else None
        return replace(self, usd_per_second=self.usd_per_second + more, watts=watts, band=band)


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


def power(usd_per_kwh: float, accelerator: Accelerator, watts: float | None = None) -> Rate:
    """Electricity alone, for what is drawn.

    Parameters
    ----------
    usd_per_kwh : float
        Above 0 and at most 100 [$/kWh].
    accelerator : Accelerator
        Needs a published board power where ``watts`` is None.
    watts : float, optional
        Draw at the facility's meter of one working accelerator; board power until a prediction is at hand [W].
    """
    if not 0.0 < usd_per_kwh <= MOST_PER_KWH:
        raise PertokenError(
            f"--rate power:{usd_per_kwh:g} is out of range; it must be above 0 and at most {MOST_PER_KWH:,.0f} $/kWh, such"
            " as power:0.12"
        )
    if watts is None and accelerator.board_power is None:
        raise PertokenError(
            f"no board power is published for {accelerator.name}, so power:{usd_per_kwh:g} has no dollars; give --watts, or use"
            " --rate rent:PRICE"
        )
    drawn = watts if watts is not None or accelerator.board_power is None else accelerator.board_power.value
    assert drawn is not None
    each = usd_per_kwh / JOULES_PER_KWH
    return Rate(each * drawn, f"electricity alone at {usd_per_kwh:g} $/kWh", "power", each, drawn)
