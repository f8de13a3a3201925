"""An Offer is what a vendor charges for a model, on a day; read from a price list's plain objects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pertoken.market.tariff import Prices, Tariff, Tier
from pertoken.units import KILO, MILLION

KEYS = {"input": "input_mtok", "output": "output_mtok", "cached": "cache_read_mtok", "written": "cache_write_mtok"}
FEE = "requests_kcount"
BATCH: Mapping[str, str] = {"processing": "batch"}
THROUGH = "huggingface_"  # hosts' prices as that router passes them on


@dataclass(frozen=True)
class Offer:
    """What a vendor charges.

    Parameters
    ----------
    provider, model : str
        As the list names them, exactly.
    tariff : Tariff
        Of a usual request.
    batch : Tariff, optional
        Of requests that may wait (usually a day).
    since : str
        Day since when this price holds; empty where the list does not date it.
    source : str
        Where it was read.
    deprecated : bool
        Whether the vendor is about to end it.
    notes : tuple of str
        What else a reader should know.
    """

    provider: str
    model: str
    tariff: Tariff
    batch: Tariff | None = None
    since: str = ""
    source: str = ""
    deprecated: bool = False
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``PROVIDER/MODEL``."""
        return f"{self.provider}/{self.model}"

    @property
    def ratio(self) -> float:
        """Price of an output token over that of an input token; NaN for free input."""
        base = self.tariff.base
        return base.output / base.input if base.input > 0 else float("nan")

    @property
    def host(self) -> str:
        """Who serves it, whoever passes it on."""
        return self.provider.removeprefix(THROUGH)


def tariff_of(prices: Any) -> Tariff | None:
    """A list's prices of one model as a tariff; None when it has no price for input or for output tokens.

    Tiers hold for the whole request, by its input with cached tokens, as the list defines them.
    """
    listed = {name: getattr(prices, key, None) for name, key in KEYS.items()}
    if listed["input"] is None or listed["output"] is None:
        return None
    fee = float(getattr(prices, FEE, None) or 0.0) / KILO
    starts = sorted({tier.start for value in listed.values() for tier in getattr(value, "tiers", ())})

    def at(tokens: float) -> Prices:
        found = {name: _step(value, tokens) for name, value in listed.items()}
        return Prices(found["input"] or 0.0, found["output"] or 0.0, found["cached"], found["written"], fee)

    return Tariff(at(0.0), tuple(Tier(float(start), at(start + 1.0)) for start in starts))


def _step(value: Any, tokens: float) -> float | None:
    """A price at an input of so many tokens, per token [$]."""
    if value is None:
        return None
    found = getattr(value, "base", value)
    for tier in getattr(value, "tiers", ()):
        if tokens > tier.start:
            found = tier.price
    return float(found) / MILLION


def noon(day: dt.date) -> dt.datetime:
    """The moment at which a day's price is taken."""
    return dt.datetime.combine(day, dt.time(12), tzinfo=dt.UTC)


def offer_of(provider: Any, model: Any, day: dt.date, source: str) -> Offer | None:
    """What a list's entry charges on a day; None when it has no price for tokens.

    Parameters
    ----------
    provider, model : Provider, ModelInfo
        Of ``genai-prices``.
    day : datetime.date
        The day, at noon UTC.
    source : str
        The list and its version.
    """
    at = noon(day)
    tariff = tariff_of(model.get_prices(at))
    if tariff is None:
        return None
    batch = tariff_of(model.get_prices(at, BATCH)) if model.price_variants else None
    active = [s for s, _ in history_of(model) if s and s <= day.isoformat()]
    return Offer(
        provider.id, model.id, tariff, batch if batch != tariff else None, active[-1] if active else "", source,
        bool(model.deprecated), tuple(_other_hours(model, at)),
    )  # fmt: skip


def _other_hours(model: Any, noon: dt.datetime) -> Iterator[str]:
    """A sentence where another price holds at other hours."""
    own = tariff_of(model.get_prices(noon))
    for half in range(48):
        other = tariff_of(model.get_prices(noon.replace(hour=half // 2, minute=half % 2 * 30)))
        if own and other and other != own:
            yield (
                f"price at noon UTC; at other hours (such as {half // 2:02d}:{half % 2 * 30:02d}) input"
                f" ${other.base.input * MILLION:g} and output ${other.base.output * MILLION:g} per million"
            )
            return


def history_of(model: Any) -> list[tuple[str, Tariff]]:
    """All prices that a list knows of a model, by the day since when they hold (empty: not dated), oldest first."""
    prices = model.prices if isinstance(model.prices, list) else [model.prices]
    dated = []
    for entry in prices:
        rule = getattr(entry, "constraint", None)
        day = getattr(rule, "start_date", None)
        tariff = tariff_of(getattr(entry, "prices", entry))
        if tariff and (rule is None or day):
            dated.append((day.isoformat() if day else "", tariff))
    return sorted(dated, key=lambda item: item[0])
