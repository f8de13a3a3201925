"""Who pays for whom: what a tariff charges each request against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pertoken.errors import PertokenError
from pertoken.market.tariff import Requests
from pertoken.serving.lengths import Array

GROUPS = 10


@dataclass(frozen=True)
class Group:
    """Requests of alike length.

    Parameters
    ----------
    low, high : float
        Their shortest and longest [token].
    requests : int
        How many.
    cost, charge : float
        Sums over them [$].
    """

    low: float
    high: float
    requests: int
    cost: float
    charge: float

    @property
    def transfer(self) -> float:
        """What they pay beyond what they cost; negative where others pay for them [$]."""
        return self.charge - self.cost


@dataclass(frozen=True)
class Fairness:
    """Charges held against costs, request by request.

    Parameters
    ----------
    requests : Requests
        Token counts.
    cost : ndarray
        What each costs [$].
    charge : ndarray
        What each is charged; scaled so that the sum is what all cost, because a margin is no transfer [$].
    """

    requests: Requests
    cost: Array
    charge: Array

    @cached_property
    def total(self) -> float:
        """What all requests cost, and pay [$]."""
        return float(self.cost.sum())

    @cached_property
    def transfer(self) -> Array:
        """What each pays beyond its cost; sums to 0 [$]."""
        return self.charge - self.cost

    @cached_property
    def moved(self) -> float:
        """Share of revenue that one request pays for another: half the sum of absolute transfers over the revenue [1]."""
        return float(np.abs(self.transfer).sum()) / 2.0 / self.total

    def groups(self, by: str, count: int = GROUPS) -> list[Group]:
        """Groups of as many requests each, from short to long.

        Parameters
        ----------
        by : str
            ``input`` or ``output``.
        count : int
            How many groups.
        """
        length: Array = getattr(self.requests, by)
        order = np.argsort(length, kind="stable")
        return [
            Group(
                float(length[part[0]]), float(length[part[-1]]), part.size,
                float(self.cost[part].sum()), float(self.charge[part].sum()),
            )
            for part in np.array_split(order, count) if part.size
        ]  # fmt: skip

    def lorenz(self, points: int = 200) -> tuple[Array, Array]:
        """Shares of all cost, and of all revenue, of requests sorted from those that pay least for their cost; from 0 to 1.

        Under a tariff at cost the two are equal. The largest distance between them is the share moved.
        """
        order = np.argsort(self.charge / self.cost, kind="stable")
        cost = np.concatenate(([0.0], np.cumsum(self.cost[order]))) / self.total
        paid = np.concatenate(([0.0], np.cumsum(self.charge[order]))) / self.total
        at = np.linspace(0.0, 1.0, points + 1)
        return at, np.interp(at, cost, paid)


def fairness(requests: Requests, cost: Array, charge: Array) -> Fairness:
    """Charges against costs at equal revenue.

    Raises
    ------
    PertokenError
        When nothing is charged or a cost is not above 0.
    """
    total, paid = float(cost.sum()), float(charge.sum())
    if not (cost > 0).all():
        raise PertokenError("a request costs nothing, so what it pays has nothing to be held against; leave it out")
    if not paid > 0:
        raise PertokenError(
            "the tariff charges nothing, so no revenue is there to be moved; give one with a price above 0"
        )
    return Fairness(requests, cost, charge * (total / paid))


def largest(groups: Sequence[Group]) -> tuple[Group, Group]:
    """The groups that receive and that give most."""
    return min(groups, key=lambda g: g.transfer), max(groups, key=lambda g: g.transfer)
