"""The dated table of rents, and what a ``--rate`` text means."""

from __future__ import annotations

import csv
import datetime as dt
import statistics
from dataclasses import dataclass, replace
from functools import cache

from pertoken.catalog.files import ROOT
from pertoken.catalog.site import load_ownership
from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.money.owned import read_terms
from pertoken.money.rate import Rate, power, rent
from pertoken.units import per_second

SEGMENTS = ("neocloud", "hyperscaler", "marketplace", "spot")
FRESH_DAYS = 120  # a rent older than this is warned about
FORMS = (
    "rent, rent:2.50 ($/accelerator-hour), rent:neocloud (or hyperscaler, marketplace, spot), own, own:1600,life=4y,power=0.30 or"
    " power:0.12 ($/kWh)"
)


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


def counted(accelerator: str, segment: str = "") -> list[Offer]:
    """The newest row of each provider, without those whose note doubts that the price is real.

    Parameters
    ----------
    accelerator : str
        Catalog name.
    segment : str
        One of `SEGMENTS`; all but spot if empty.
    """
    newest: dict[str, Offer] = {}
    for offer in sorted(offers_of(accelerator), key=lambda o: o.since):
        wanted = offer.segment == segment if segment else offer.segment != "spot"
        if wanted and "placeholder" not in offer.note:
            newest[offer.provider] = offer
    return list(newest.values())


def median_rent(name: str, segment: str = "") -> Rate:
    """The median over providers, with what it rests on; its band is their lowest and highest.

    Raises
    ------
    PertokenError
        When the table has no rent for the accelerator, or none in the segment.
    """
    found = counted(name, segment)
    if not found:
        other = sorted({o.segment for o in offers_of(name)})
        hint = f"; it has {', '.join(other)}" if segment and other else ""
        kind = f"{segment} " if segment else ""
        raise PertokenError(
            f"no {kind}rent of {name} is in the dated table, so there are no dollars{hint}; give --rate rent:PRICE"
        )
    low, high = min(o.low for o in found), max(o.high for o in found)
    dates = sorted({o.since for o in found})
    median = statistics.median(o.median for o in found)
    many = "spot rents of an index" if segment == "spot" else f"{len(found)} {segment} providers"
    origin = (
        f"rent of ${median:.2f} per {name}-hour, median of {many} (${low:.2f} to ${high:.2f},"
        f" listed {' to '.join(dict.fromkeys((dates[0], dates[-1])))})"
    )
    return replace(rent(median, " ".join(origin.split())), band=(per_second(low), per_second(high)), since=dates[0])


def parse_rate(text: str, accelerator: Accelerator, watts: float | None = None) -> Rate:
    """What a ``--rate`` text means for an accelerator.

    Parameters
    ----------
    text : str
        One of `FORMS`.
    accelerator : Accelerator
        Which.
    watts : float, optional
        Draw at the facility's meter of one that works; board power if None [W].

    Raises
    ------
    PertokenError
        When the text has none of the known forms, or the table lacks the accelerator.
    """
    kind, _, amount = text.strip().lower().partition(":")
    if kind == "rent" and (not amount or amount in SEGMENTS):
        return median_rent(accelerator.name, amount)
    if kind == "own":
        return _owned(amount, accelerator, watts)
    if kind not in ("rent", "power") or not amount:
        raise PertokenError(f"--rate is {text[:60]!r}; write {FORMS}")
    try:
        value = float(amount)
    except ValueError as error:
        raise PertokenError(f"--rate is {text[:60]!r}, and {amount[:40]!r} is no number; write {FORMS}") from error
    if kind == "power":
        return power(value, accelerator, watts)
    return rent(value, f"rent of ${value:g} per accelerator-hour, as given")


def _owned(amount: str, accelerator: Accelerator, watts: float | None) -> Rate:
    """The rate of ownership, with the catalog's terms where none are given."""
    if watts is None and accelerator.board_power:
        watts = accelerator.board_power.value
    if watts is None:
        raise PertokenError(
            f"no board power is published for {accelerator.name}, so owning it has no electricity; give --watts"
        )
    terms = read_terms(amount) if amount else {}
    ownership, title = load_ownership(accelerator.name, terms)
    return ownership.rate(watts, title)


def stale(since: str, today: dt.date) -> int:
    """Days by which a dated price is older than `FRESH_DAYS`; 0 when it is not, or has no date."""
    if not since:
        return 0
    return max(0, (today - dt.date.fromisoformat(since)).days - FRESH_DAYS)


def warning(rate: Rate, today: dt.date) -> str:
    """A sentence when what a rate rests on is old; empty otherwise.

    Parameters
    ----------
    rate : Rate
        With the date of its oldest price.
    today : datetime.date
        The day on which it is used.
    """
    late = stale(rate.since, today) if rate.kind == "rent" else 0
    if not late:
        return ""
    return (
        f"the oldest price behind the {rate.origin} is of {rate.since}, {late + FRESH_DAYS} days ago: rents move, so check it, or"
        " give --rate rent:PRICE"
    )
