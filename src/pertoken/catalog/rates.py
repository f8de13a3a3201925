"""The dated table of rents, and what a ``--rate`` text means."""

from __future__ import annotations

import csv
import statistics
from dataclasses import dataclass
from functools import cache

from pertoken.catalog.files import ROOT
from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.money.rate import Rate, power, rent

FORMS = "rent, rent:2.50 ($/accelerator-hour) or power:0.12 ($/kWh)"


@dataclass(frozen=True)
class Offer:
    """A listed rent of one provider.

    Parameters
    ----------
    accelerator, provider, segment, region : str
        What, who, kind of provider, and where.
    median, low, high : float
        Over the provider's listings [$/accelerator-hour].
    since, checked, source, note : str
        Date of the price, date it was read, source, and doubts.
    """

    accelerator: str
    provider: str
    segment: str
    region: str
    median: float
    low: float
    high: float
    since: str
    checked: str
    source: str
    note: str


@cache
def offers() -> tuple[Offer, ...]:
    """All rows of the table."""
    with (ROOT / "rates" / "rents.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Offer(
                row["accelerator"], row["provider"], row["segment"], row["region"],
                float(row["median"]), float(row["min"]), float(row["max"]),
                row["from"], row["checked"], row["source"], row["note"],
            )
            for row in csv.DictReader(file)
        )  # fmt: skip


def offers_of(accelerator: str) -> list[Offer]:
    """Rows of one accelerator."""
    return [offer for offer in offers() if offer.accelerator == accelerator]


def counted(accelerator: str) -> list[Offer]:
    """The newest row of each provider, without those whose note doubts that the price is real."""
    newest: dict[str, Offer] = {}
    for offer in sorted(offers_of(accelerator), key=lambda o: o.since):
        if "placeholder" not in offer.note:
            newest[offer.provider] = offer
    return list(newest.values())


def median_rent(name: str) -> Rate:
    """The median over providers, with what it rests on.

    Raises
    ------
    PertokenError
        When the table has no rent for the accelerator.
    """
    found = counted(name)
    if not found:
        raise PertokenError(f"no rent of {name} is in the dated table, so there are no dollars; give --rate rent:PRICE")
    low, high = min(o.low for o in found), max(o.high for o in found)
    dates = sorted({o.since for o in found})
    median = statistics.median(o.median for o in found)
    origin = (
        f"rent of ${median:.2f} per {name}-hour, median of {len(found)} providers (${low:.2f} to ${high:.2f}, listed"
        f" {' to '.join(dict.fromkeys((dates[0], dates[-1])))})"
    )
    return rent(median, origin)


def parse_rate(text: str, accelerator: Accelerator) -> Rate:
    """What a ``--rate`` text means for an accelerator.

    Raises
    ------
    PertokenError
        When the text has none of the known forms, or the table lacks the accelerator.
    """
    kind, _, amount = text.strip().lower().partition(":")
    if kind == "rent" and not amount:
        return median_rent(accelerator.name)
    if kind not in ("rent", "power") or not amount:
        raise PertokenError(f"--rate is {text[:60]!r}; write {FORMS}")
    try:
        value = float(amount)
    except ValueError as error:
        raise PertokenError(f"--rate is {text[:60]!r}, and {amount[:40]!r} is no number; write {FORMS}") from error
    if kind == "power":
        return power(value, accelerator)
    return rent(value, f"rent of ${value:g} per accelerator-hour, as given")
