"""What a price says of its seller, were it to serve with this deployment at cost: batch, utilisation, rent, tiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pertoken.attribution.crossing import grid, mean_upto
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.market.offers import Offer
from pertoken.serving.lengths import Array
from pertoken.sweep import by_batch, per_million
from pertoken.units import HOUR

SHOWN = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # batches of a table


@dataclass(frozen=True)
class Region:
    """Cost of a mean request against the batch, and so the batches, utilisations and rents at which it is a price.

    Parameters
    ----------
    cost : Cost
        Model, machine, lengths and rate; its own traffic does not matter.
    price : float
        What an offer charges for a mean request [$].
    """

    cost: Cost
    price: float

    def __post_init__(self) -> None:
        if self.cost.rate is None:
            raise PertokenError(self.cost.rate_missing)
        if not self.price > 0:
            raise PertokenError(
                "the offer charges nothing for these requests, so it implies nothing; name one that does"
            )

    @cached_property
    def _found(self) -> tuple[Array, Array, Array, Array]:
        batch, in_flight, state, kept = by_batch(self.cost)
        seconds = np.broadcast_to(self.cost.deployment.split.tp * state.step_s / state.finished, kept.shape)
        each = per_million(self.cost, state)
        return batch[kept], seconds[kept], (each["output"] / each["input"])[kept], in_flight[kept]

    @property
    def batch(self) -> Array:
        """From one sequence to the most that fit [sequence]."""
        return self._found[0]

    def concurrency(self, batch: float) -> float:
        """Requests in flight at a batch, those in prefill included."""
        return float(np.exp(np.interp(np.log(batch), np.log(self.batch), np.log(self._found[3]))))

    def usd(self, usd_per_second: float | None = None) -> Array:
        """Cost of a mean request at each batch, the machine always busy [$]."""
        assert self.cost.rate
        return self._found[1] * (usd_per_second or self.cost.rate.usd_per_second)

    def utilisation(self, usd_per_second: float | None = None) -> Array:
        """Share of paid time that must be worked at each batch for cost to be the price; over 1: never [1]."""
        return self.usd(usd_per_second) / self.price

    def rent(self, utilisation: float = 1.0) -> Array:
        """Price of an accelerator-hour at which cost is the price, at each batch [$/h]."""
        found: Array = self.price * utilisation / self._found[1] * HOUR
        return found

    def least_batch(self, utilisation: float = 1.0) -> float | None:
        """The smallest batch at which cost is not above the price; None where no batch will do [sequence]."""
        good = np.flatnonzero(self.usd() / utilisation <= self.price)
        if not good.size:
            return None
        i = int(good[0])
        if i == 0:
            return float(self.batch[0])
        x, y = np.log(self.batch[i - 1 : i + 1]), np.log(self.usd()[i - 1 : i + 1] / utilisation / self.price)
        return float(np.exp(np.interp(0.0, y[::-1], x[::-1])))

    def at(self, batches: Sequence[float] = SHOWN) -> list[dict[str, float]]:
        """Rows of a table: at each batch the cost, the utilisation and the rent that the price implies."""
        fits = [b for b in batches if self.batch[0] <= b <= self.batch[-1]] or [float(self.batch[-1])]
        rows = []
        for b in fits:
            cost = float(np.exp(np.interp(np.log(b), np.log(self.batch), np.log(self.usd()))))
            rent = float(np.exp(np.interp(np.log(b), np.log(self.batch), np.log(self.rent()))))
            rows.append({"batch": float(b), "usd": cost, "utilisation": cost / self.price, "usd_per_hour": rent})
        return rows

    def ratio_at(self, ratio: float) -> list[float]:
        """Batches at which an output token costs ``ratio`` times an input token here; empty where none does [sequence]."""
        gap = np.log(self._found[2]) - np.log(ratio)
        crossings = np.flatnonzero(np.diff(np.sign(gap)) != 0)
        x = np.log(self.batch)
        return [float(np.exp(x[i] + (x[i + 1] - x[i]) * gap[i] / (gap[i] - gap[i + 1]))) for i in crossings]

    @property
    def ratios(self) -> tuple[float, float]:
        """Least and largest ratio over the batches [1]."""
        return float(self._found[2].min()), float(self._found[2].max())


@dataclass(frozen=True)
class TierCheck:
    """A vendor's context tier against what context costs here.

    Parameters
    ----------
    above : float
        Where it begins [token].
    price_step : float
        Price of an input token beyond it over that below it [1].
    cost_step : float or None
        Mean cost of an input token of a prompt that long over one of usual length; None beyond the context limit [1].
    doubles_at : int or None
        Input length from which a mean token costs twice that of a usual length; None: nowhere up to the limit [token].
    position_doubles_at : int or None
        Position from which an input token costs twice the first one [token].
    """

    above: float
    price_step: float
    cost_step: float | None
    doubles_at: int | None
    position_doubles_at: int | None


def tiers(cost: Cost, offer: Offer) -> list[TierCheck]:
    """Each tier of an offer against the cost of context; the traffic's own mean lengths stand for usual ones."""
    n = grid(float(cost.deployment.model.context_limit), 2000)
    value = np.asarray(cost.at(input=n).value)
    mean = mean_upto(n, value)
    usual = float(np.interp(float(cost.operating.moments.input), n, mean))
    limit = float(n[-1])
    found = []
    before = offer.tariff.base
    for tier in offer.tariff.tiers:
        step = float(np.interp(tier.above, n, mean)) / usual if tier.above <= limit else None
        found.append(
            TierCheck(tier.above, tier.prices.input / before.input if before.input else float("nan"), step,
                      _first(n, mean >= 2.0 * usual), _first(n, value >= 2.0 * value[0]))
        )  # fmt: skip
        before = tier.prices
    return found


def _first(n: Array, true: Any) -> int | None:
    at = np.flatnonzero(true)
    return int(n[at[0]]) if at.size else None
