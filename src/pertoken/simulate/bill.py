"""What a run costs: every request, every kind of token, and idle time, which together are the bill."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.money.energy import Draw
from pertoken.money.rate import Rate
from pertoken.money.site import Site
from pertoken.simulate.records import KINDS, Records
from pertoken.units import MILLION

Array = NDArray[Any]


@dataclass(frozen=True)
class Billed:
    """A run with its money and energy. Without a rate dollars are NaN; without a draw joules are.

    Parameters
    ----------
    records : Records
        The run.
    rate : Rate or None
        Price of accelerator time.
    draw : Draw or None
        What an accelerator draws.
    site : Site
        What stands around it.
    """

    records: Records
    rate: Rate | None
    draw: Draw | None
    site: Site

    @property
    def tp(self) -> int:
        """Accelerators of a lane."""
        return self.records.deployment.split.tp

    @cached_property
    def joules(self) -> Array:
        """Joules of the accelerators for each request, by input and output tokens [J]."""
        r = self.records
        if self.draw is None:
            return np.full(r.joules.shape, np.nan)
        emitted = np.where(r.done, r.traffic.output, 0)
        wait = self.draw.active.value * self.draw.wait.value * emitted
        found: Array = (r.joules + np.stack((0.0 * wait, wait), axis=1)) * self.tp
        return found

    @property
    def joules_sums(self) -> Array:
        """Joules of the accelerators for all requests, by input and output tokens [J]."""
        return np.nansum(self.joules, axis=0) if self.draw else np.full(2, np.nan)

    @property
    def usd_sums(self) -> Array:
        """Dollars of all requests, by input, cached and output tokens [$]."""
        found: Array = self.usd.sum(axis=0)
        return found

    @property
    def each(self) -> dict[str, Array]:
        """Tokens, dollars (without idle time) and joules of each request that was answered."""
        r, done = self.records, self.records.done
        return {
            "input": r.traffic.input[done], "cached": r.hit[done], "output": r.traffic.output[done],
            "usd": self.usd[done].sum(axis=1), "joules": self.joules[done].sum(axis=1),
        }  # fmt: skip

    @property
    def spread(self) -> dict[str, dict[str, float]]:
        """Mean and percentiles of `each`."""
        return {name: self.records.percentiles(values) for name, values in self.each.items()}

    @property
    def idle_joules(self) -> float:
        """Joules of idle accelerators that are paid for [J]."""
        return self.draw.idle.value * self.records.accelerator_s["idle"] if self.draw else float("nan")

    @cached_property
    def usd(self) -> Array:
        """Dollars of each request, by input, cached and output tokens [$]."""
        r = self.records
        if self.rate is None:
            return np.full(r.owed.shape, np.nan)
        found: Array = r.owed * self.tp * self.rate.fixed_usd_per_second
        if self.rate.usd_per_joule:
            each = self.joules * self.site.factor * self.rate.usd_per_joule
            found = found + np.stack((each[:, 0], 0.0 * each[:, 0], each[:, 1]), axis=1)
        return found

    @property
    def idle_usd(self) -> float:
        """Dollars of idle time [$]."""
        if self.rate is None:
            return float("nan")
        electric = self.rate.usd_per_joule * self.site.factor * self.idle_joules if self.rate.usd_per_joule else 0.0
        return self.records.accelerator_s["idle"] * self.rate.fixed_usd_per_second + electric

    @cached_property
    def bill(self) -> float:
        """Dollars of all accelerator time, and of all energy where it is paid apart [$]."""
        r = self.records
        if self.rate is None:
            return float("nan")
        paid = r.paid_accelerator_s * self.rate.fixed_usd_per_second
        if not self.rate.usd_per_joule or self.draw is None:
            return paid
        waited = self.draw.active.value * self.draw.wait.value * r.tokens["output"]
        joules = (r.energy + waited) * self.tp + self.idle_joules
        return paid + joules * self.site.factor * self.rate.usd_per_joule

    @property
    def residual(self) -> float:
        """Bill less all that was charged and idle time: 0 but for rounding [$]."""
        return self.bill - float(self.usd_sums.sum()) - self.idle_usd

    @property
    def per_million(self) -> dict[str, float | None]:
        """Dollars per million tokens by kind, idle time apart; None of kinds that there were none of [$]."""
        totals = self.usd_sums
        tokens = self.records.tokens
        return {
            name: float(totals[k]) / tokens[name] * MILLION if tokens[name] else None for k, name in enumerate(KINDS)
        }

    @property
    def idle_share(self) -> float:
        """Share of the bill that idle time is."""
        if self.rate is None:
            return 1.0 - self.records.utilisation
        return self.idle_usd / self.bill if self.bill else 0.0
