"""A whole price list at a glance: output over input, context tiers, and how prices changed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pertoken.errors import PertokenError
from pertoken.market.offers import Offer, history_of, offer_of
from pertoken.market.tariff import Tariff
from pertoken.serving.lengths import Array

QUARTILES = (0.25, 0.5, 0.75)
# those who trained the models that they sell, as far as the list has them
FIRST_PARTY = frozenset(
    [
        "anthropic",
        "cohere",
        "deepseek",
        "google",
        "meta",
        "minimax",
        "mistral",
        "moonshotai",
        "openai",
        "perplexity",
        "x-ai",
        "zai",
        "zhipuai",
    ]
)


@dataclass(frozen=True)
class Raised:
    """A context tier that raises a price.

    Parameters
    ----------
    offer : Offer
        Of whom.
    above : float
        Where it begins [token].
    input, output : float
        Prices beyond it over those below all tiers [1].
    """

    offer: Offer
    above: float
    input: float
    output: float


@dataclass(frozen=True)
class Dated:
    """A price and the day since when it holds.

    Parameters
    ----------
    name : str
        ``PROVIDER/MODEL``.
    since : str
        Day; empty for the first known price, which the list does not date.
    tariff : Tariff
        What is charged.
    """

    name: str
    since: str
    tariff: Tariff


def offers_on(providers: Iterable[Any], day: dt.date, source: str) -> list[Offer]:
    """All offers of a list with prices for tokens, on a day."""
    found = (offer_of(p, m, day, source) for p in providers for m in p.models)
    return [offer for offer in found if offer]


def ratios(offers: Sequence[Offer]) -> Array:
    """Output over input of all offers that charge for both, sorted [1]."""
    return np.sort([o.ratio for o in offers if o.tariff.base.input > 0 and o.tariff.base.output > 0])


def quartiles(offers: Sequence[Offer]) -> tuple[float, float, float]:
    """Of the ratios [1].

    Raises
    ------
    PertokenError
        When there are none.
    """
    found = ratios(offers)
    if not found.size:
        raise PertokenError("no offer here charges for input and for output, so there is no ratio; ask for others")
    low, middle, high = (float(x) for x in np.quantile(found, QUARTILES))
    return low, middle, high


def cached_shares(offers: Sequence[Offer]) -> Array:
    """Price of a cached input token over that of another, where a list has both [1]."""
    found = [(o.tariff.base.cached, o.tariff.base.input) for o in offers]
    return np.sort([cached / fresh for cached, fresh in found if cached is not None and fresh > 0])


def batch_shares(offers: Sequence[Offer]) -> Array:
    """Price of an output token in a batch that may wait over the usual one [1]."""
    found = [(o.batch.base.output, o.tariff.base.output) for o in offers if o.batch]
    return np.sort([batch / usual for batch, usual in found if usual > 0])


def tiers(offers: Sequence[Offer]) -> list[Raised]:
    """Every context tier, by vendor, model and threshold."""
    return [
        Raised(o, t.above, _over(t.prices.input, o.tariff.base.input), _over(t.prices.output, o.tariff.base.output))
        for o in sorted(offers, key=lambda o: o.name)
        for t in o.tariff.tiers
    ]


def _over(price: float, base: float) -> float:
    return price / base if base > 0 else float("nan")


def commonest(values: Iterable[float]) -> list[tuple[float, int]]:
    """Values with how often they occur, the commonest first."""
    return Counter(values).most_common()


def histories(providers: Iterable[Any], names: Sequence[str] | None = None) -> list[Dated]:
    """Prices since when, of models whose price changed; or of all ``names``, changed or not.

    Parameters
    ----------
    providers : iterable of Provider
        Of ``genai-prices``.
    names : sequence of str, optional
        ``PROVIDER/MODEL``.
    """
    found = []
    for provider in providers:
        for model in provider.models:
            name = f"{provider.id}/{model.id}"
            dated = history_of(model)
            if (names is None and len(dated) > 1) or (names is not None and name in names):
                found += [Dated(name, since, tariff) for since, tariff in dated]
    return found


def changes(dated: Sequence[Dated]) -> list[tuple[Dated, Dated]]:
    """Prices and those that replaced them, oldest change first."""
    pairs = [(a, b) for a, b in pairwise(dated) if a.name == b.name and a.tariff != b.tariff]
    return sorted(pairs, key=lambda pair: (pair[1].since, pair[1].name))
