"""A whole price list: ratios of output to input, context tiers, and prices over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.market import ratios as lists
from pertoken.market.offers import Offer
from pertoken.market.ratios import Dated
from pertoken.report.market import Row, per_million
from pertoken.report.text import plain, table, wrap
from pertoken.units import MILLION

MOST_TIERS = 40  # lines of the text; JSON and CSV have all


@dataclass(frozen=True)
class Ratios:
    """Output over input prices of a whole list.

    Parameters
    ----------
    offers : sequence of Offer
        All of them.
    source : str
        The list, and the day.
    cost_ratio : tuple of float, optional
        Least and largest ratio of costs over batches of a deployment, to hold against.
    """

    offers: Sequence[Offer]
    source: str
    cost_ratio: tuple[float, float] | None = None

    @property
    def first_party(self) -> list[Offer]:
        """Offers of those who trained what they sell."""
        return [o for o in self.offers if o.provider in lists.FIRST_PARTY]

    def groups(self) -> list[tuple[str, Sequence[Offer]]]:
        """All, first parties, and vendors with the most offers."""
        by: dict[str, list[Offer]] = {}
        for offer in self.offers:
            by.setdefault(offer.provider, []).append(offer)
        most = sorted((v for v in by.items() if len(v[1]) >= 8), key=lambda v: (-len(v[1]), v[0]))
        return [("all", self.offers), ("first parties", self.first_party), *most]

    def vendors(self) -> list[list[str]]:
        """A table of quartiles by vendor, its heads first."""
        rows = [["vendor", "models", "lower quartile", "median", "upper quartile"]]
        for name, found in self.groups():
            if lists.ratios(found).size:
                rows.append([name, f"{lists.ratios(found).size:,}", *(f"{q:.2f}" for q in lists.quartiles(found))])
        return rows

    def text(self) -> str:
        """Plain text."""
        raised = lists.tiers(self.offers)
        tiers = [["offer", "above", "input", "output"]]
        tiers += [
            [t.offer.name, f"{t.above:,.0f}", f"x {t.input:.3g}", f"x {t.output:.3g}"] for t in raised[:MOST_TIERS]
        ]
        lines = [
            f"output price over input price ({self.source})",
            *("  " + line for line in table(self.vendors())),
            "",
            *(line for s in self.sentences() for line in wrap(s, "", "  ")),
            "",
            f"context tiers ({len(raised)}{f', the first {MOST_TIERS}' if len(raised) > MOST_TIERS else ''})",
            *("  " + line for line in table(tiers)),
        ]
        return plain("\n".join(lines) + "\n")

    def sentences(self) -> list[str]:
        """What the list comes to."""
        low, middle, high = lists.quartiles(self.offers)
        cached, batch = lists.cached_shares(self.offers), lists.batch_shares(self.offers)
        first = lists.tiers(self.first_party)
        found = [
            f"Half of {lists.ratios(self.offers).size:,} models sell output at {low:.1f} to {high:.1f} times input, the median at"
            f" {middle:.2f}."
        ]
        if cached.size:
            found.append(f"{cached.size:,} price cached input, at a median {np.median(cached):.0%} of input.")
        if batch.size:
            found.append(f"{batch.size:,} price batches that may wait, at a median {np.median(batch):.0%}.")
        if first:
            models = len({t.offer.name for t in first})
            step, _ = lists.commonest(round(t.input, 2) for t in first)[0]
            found.append(
                f"{models} of {len(self.first_party)} models of first parties raise prices past"
                f" {min(t.above for t in first):,.0f} to {max(t.above for t in first):,.0f} tokens of input, most often"
                f" {step:g} times, on the whole request."
            )
        if self.cost_ratio:
            found.append(
                f"Costs of the deployment given have a ratio of {self.cost_ratio[0]:.1f} to {self.cost_ratio[1]:.1f}, by batch."
            )
        return found

    def document(self) -> Row:
        """Plain data."""
        return {
            "view": "ratios",
            "source": self.source,
            "groups": [
                {"vendor": name, "models": int(lists.ratios(found).size), "quartiles": list(lists.quartiles(found))}
                for name, found in self.groups() if lists.ratios(found).size
            ],
            "cached_over_input": [float(q) for q in np.quantile(lists.cached_shares(self.offers), lists.QUARTILES)],
            "batch_over_usual": [float(q) for q in np.quantile(lists.batch_shares(self.offers), lists.QUARTILES)],
            "tiers": [
                {"offer": t.offer.name, "above": t.above, "input": t.input, "output": t.output} for t in lists.tiers(self.offers)
            ],
            "cost_ratio": list(self.cost_ratio) if self.cost_ratio else None,
        }  # fmt: skip

    def rows(self) -> list[Row]:
        """A flat line for each offer."""
        return [
            {
                "offer": o.name, "input": o.tariff.base.input * MILLION, "output": o.tariff.base.output * MILLION,
                "ratio": o.ratio,
                "cached_over_input": o.tariff.base.cached / o.tariff.base.input if o.tariff.base.cached is not None and
                o.tariff.base.input else float("nan"),
                "tier_above": o.tariff.tiers[0].above if o.tariff.tiers else float("nan"), "since": o.since,
                "deprecated": o.deprecated,
            }
            for o in self.offers
        ]  # fmt: skip

    def chart(self) -> Any:
        """The distribution."""
        from pertoken.report.market_list_charts import PICTURES

        return PICTURES["ratios"].chart(self)


@dataclass(frozen=True)
class History:
    """Prices and the days since when they hold.

    Parameters
    ----------
    dated : sequence of Dated
        By offer, oldest first.
    source : str
        The list.
    title : str
        Whose.
    today : str
        The day up to which a chart goes.
    """

    dated: Sequence[Dated]
    source: str
    title: str
    today: str

    def prices(self) -> list[list[str]]:
        """A table of prices by offer, oldest first, its heads before."""
        rows = [["offer", "since", "input $/M", "cached", "output", "change of output"]]
        last: Dated | None = None
        for d in self.dated:
            change = ""
            if last and last.name == d.name and last.tariff.base.output > 0:
                change = f"{d.tariff.base.output / last.tariff.base.output - 1.0:+.0%}"
            base = d.tariff.base
            rows.append(
                [d.name, d.since or "not dated", *map(per_million, (base.input, base.cached, base.output)), change]
            )
            last = d
        return rows

    def note(self) -> str:
        """How often prices went up and down."""
        changed = lists.changes(self.dated)
        down = sum(b.tariff.base.output < a.tariff.base.output for a, b in changed)
        up = sum(b.tariff.base.output > a.tariff.base.output for a, b in changed)
        return (
            f"{len(changed)} changes: output became cheaper {down} times and dearer {up} times. The list dates only changes that"
            " it saw; a price that is not dated may be older or newer than the list."
        )

    def text(self) -> str:
        """Plain text."""
        lines = [
            f"prices over time: {self.title} ({self.source})",
            *("  " + line for line in table(self.prices(), left=(0, 1))),
            "",
            *wrap(self.note(), "", "  "),
        ]
        return plain("\n".join(lines) + "\n")

    def document(self) -> Row:
        """Plain data."""
        return {"view": "history", "source": self.source, "title": self.title, "prices": self.rows()}

    def rows(self) -> list[Row]:
        """A flat line for each price."""
        return [
            {
                "offer": d.name, "since": d.since or "", "input": d.tariff.base.input * MILLION,
                "cached": d.tariff.base.cached * MILLION if d.tariff.base.cached is not None else float("nan"),
                "output": d.tariff.base.output * MILLION,
            }
            for d in self.dated
        ]  # fmt: skip

    def chart(self) -> Any:
        """Steps over time."""
        from pertoken.report.market_list_charts import PICTURES

        return PICTURES["history"].chart(self)
