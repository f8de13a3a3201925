"""Serving it yourself against an offer: how many requests a day it takes, with spare machines and idle nights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.units import DAY


@dataclass(frozen=True)
class SelfHosting:
    """What machines cost a day, and how many requests they serve.

    Parameters
    ----------
    usd_per_day : float
        Of one machine, idle or not [$/day].
    usd_per_request : float
        What a request adds: electricity that an idle machine would not draw [$].
    most_per_day : float
        Requests that one machine serves a day within the goals, were it never idle [request/day].
    used : float
        Share of that which a machine is given: the mean of the daily profile, so that its busiest hour is served too [1].
    spare : int
        Machines beyond those that serve (n + spare).
    """

    usd_per_day: float
    usd_per_request: float
    most_per_day: float
    used: float = 1.0
    spare: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.spare <= 1000:
            raise PertokenError(
                f"--redundancy is {self.spare}; it must be a whole number from 0 to 1,000 spare machines"
            )

    @property
    def per_machine(self) -> float:
        """Requests that one machine serves a day [request/day]."""
        return self.most_per_day * self.used

    def machines(self, requests: float) -> int:
        """Machines for so many requests a day, spare ones included."""
        return max(1, math.ceil(requests / self.per_machine - 1e-9)) + self.spare

    def usd(self, requests: float, peak: float | None = None) -> float:
        """A day's bill [$].

        Parameters
        ----------
        requests : float
            A day [request/day].
        peak : float, optional
            Requests of the busiest day, for which machines are there every day [request/day].
        """
        return self.machines(peak or requests) * self.usd_per_day + requests * self.usd_per_request

    def least_utilisation(self, price: float) -> float:
        """Share of paid time that must be worked for a machine to be cheaper than a price per request; over 1: never [1]."""
        gain = price - self.usd_per_request
        return self.usd_per_day / (gain * self.most_per_day) if gain > 0 else math.inf

    def break_even(self, price: float) -> BreakEven | None:
        """The fewest requests a day at which serving them is not dearer than a price per request; None: the offer always wins.

        k machines and the spare ones cost (k + s) M a day and are paid for by (k + s) M / (p - e) requests, which k machines
        must be able to serve: k K >= (k + s) M / (p - e).
        """
        gain = price - self.usd_per_request
        beyond = gain * self.per_machine - self.usd_per_day
        if gain <= 0 or beyond < 0 or (beyond == 0 and self.spare):
            return None
        serving = max(1, math.ceil(self.spare * self.usd_per_day / beyond - 1e-9)) if self.spare else 1
        machines = serving + self.spare
        requests = machines * self.usd_per_day / gain
        return BreakEven(requests, machines, requests / (machines * self.most_per_day))


@dataclass(frozen=True)
class BreakEven:
    """Where serving and buying cost the same.

    Parameters
    ----------
    requests_per_day : float
        Requests [request/day].
    machines : int
        That serve them, spare ones included.
    utilisation : float
        Share of paid time in which they work [1].
    """

    requests_per_day: float
    machines: int
    utilisation: float


def self_hosting(cost: Cost, spare: int = 0) -> SelfHosting:
    """The machine of an operating point, paid for round the clock.

    Parameters
    ----------
    cost : Cost
        Operating point and rate; what it serves at utilisation 1 is what a machine can. ``--utilisation`` is the share used.
    spare : int
        Machines beyond those that serve.
    """
    if cost.rate is None:
        raise PertokenError(cost.rate_missing)
    n, rate = cost.deployment.accelerators, cost.rate
    at_most = cost.requests_per_s / cost.paid_share
    if cost.workload.mode in ("rps", "load"):
        at_most = max(cost.operating.most_rate, at_most) if math.isfinite(cost.operating.most_rate) else at_most
    idle = more = 0.0
    if cost.meter and rate.usd_per_joule:
        each, meter = rate.usd_per_joule * cost.site.factor * n, cost.meter
        idle = each * DAY * meter.idle_watts
        more = each * (meter.busy_watts - meter.idle_watts) * cost.utilisation / cost.requests_per_s
    fixed = n * DAY * rate.fixed_usd_per_second
    return SelfHosting(fixed + idle, more, at_most * DAY, cost.paid_share, spare)
