"""Offers of one model side by side: text, JSON, rows and chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pertoken.cost import Cost
from pertoken.market.breakeven import SelfHosting
from pertoken.market.compare import Compared, cost_per_request, spread
from pertoken.market.offers import Offer
from pertoken.market.tariff import Requests
from pertoken.money.currency import parse_currency
from pertoken.report.text import bullets, headline, plain, table, wrap
from pertoken.units import MILLION, format_money

Row = dict[str, Any]
OTHERS = (
    "A list price says nothing of the format, the machine or the traffic behind it: a host may serve other formats than the one"
    " priced here, and other users' mixes."
)


class View(Protocol):
    """What the command shows of one question."""

    def text(self) -> str: ...
    def document(self) -> Row: ...
    def rows(self) -> list[Row]: ...
    def chart(self) -> Any: ...


def whole(number: float) -> str:
    """A count with three digits and separators, such as 45,300."""
    if not math.isfinite(number):
        return "unknown"
    digits = max(0, 2 - math.floor(math.log10(abs(number)))) if 0 < abs(number) < 100 else 0
    return f"{round(number, 2 - math.floor(math.log10(abs(number)))) if abs(number) >= 100 else number:,.{digits}f}"


def about_mix(mix: Requests, offers: Sequence[Offer] = ()) -> str:
    """A mean request in words; what is written to a cache where an offer has a price for it."""
    cached, written = (float((mix.input * 0 + x).mean()) for x in (mix.cached, mix.written))
    priced = any(offer.tariff.base.written is not None for offer in offers)
    parts = [f"{cached:,.0f} cached"] + ([f"{written:,.0f} written to the cache"] if priced and written else [])
    return f"{mix.input.mean():,.0f} input ({', '.join(parts)}) and {mix.output.mean():,.0f} output tokens"


def elsewhere(cost: Cost, usd: float) -> str:
    """An amount in the other currency that was asked for, in brackets."""
    text = cost.scenario.get("currency")
    if not text:
        return ""
    other = parse_currency(str(text))
    return f" ({other.show(usd)} at {other.per_usd:g} {other.code} a dollar, as given)"


def where(model: str, cost: Cost | None) -> Row:
    """The case a flat line is of: model, machine, and what a mean request costs there [$]."""
    on = cost.scenario["on"] if cost else ""
    return {"asked": model, "on": on, "cost_usd_per_request": cost_per_request(cost).value if cost else math.nan}


def per_million(value: float | None) -> str:
    """Dollars per million tokens; empty where there is no such price."""
    return "" if value is None else format_money(value * MILLION)


@dataclass(frozen=True)
class Hosts:
    """Every offer of a model's weights at the user's mix.

    Parameters
    ----------
    model : str
        What is offered.
    compared : sequence of Compared
        Offers, the cheapest first.
    mix : Requests
        The requests.
    source : str
        The price list, and the day.
    cost : Cost or None
        What it costs here; None where that cannot be told.
    hosting : SelfHosting or None
        For the break-even.
    patient : float or None
        Cost of a request without latency goals over that with them [1].
    missing : str
        Why there is no cost.
    assumed : tuple of str
        What was taken for granted.
    """

    model: str
    compared: Sequence[Compared]
    mix: Requests
    source: str
    cost: Cost | None = None
    hosting: SelfHosting | None = None
    patient: float | None = None
    missing: str = ""
    assumed: tuple[str, ...] = ()

    def text(self) -> str:
        """Plain text."""
        head = headline(self.cost) if self.cost else f"{self.model}: {self.missing}"
        lines = [
            *wrap(head, "", "  "),
            *wrap(f"{self.source}; {self.about()}", "  ", "  "),
            "",
            *("  " + line for line in table([self.heads(), *self.lines()])),
            "",
            *(line for sentence in self.sentences() for line in wrap(sentence, "", "  ")),
        ]
        lines += ["", "assumed (give it to change it)", *bullets(self.assumed)] if self.assumed else []
        return plain("\n".join(lines) + "\n")

    def about(self) -> str:
        """A mean request, and what it costs here."""
        said = f"a mean request: {about_mix(self.mix, [row.offer for row in self.compared])}"
        if not self.cost:
            return said
        usd = cost_per_request(self.cost).value
        return f"{said}; it costs {format_money(usd)}{elsewhere(self.cost, usd)} here"

    def heads(self) -> list[str]:
        """Of the table."""
        heads = ["offer", "input $/M", "cached", "output", "ratio", "all $/M"]
        return heads + (["margin", "90%", "break-even/day"] if self.cost else [])

    def lines(self) -> list[list[str]]:
        """Offers, the cheapest first, and the cost here among them."""
        found = [self._line(row) for row in self.compared]
        if self.cost:
            own, usd = self.cost.per_million, cost_per_request(self.cost).value
            tokens = float(self.mix.tokens.mean())
            line = [
                "(cost here)", format_money(own.input.value), format_money(own.cached.value), format_money(own.output.value),
                f"{self.cost.ratio:.1f}", format_money(usd / tokens * MILLION), "", "", "",
            ]  # fmt: skip
            cheaper = sum(row.usd_per_request <= usd for row in self.compared)
            found.insert(cheaper, line)
        return found

    def _line(self, row: Compared) -> list[str]:
        base = row.offer.tariff.base
        cells = [
            row.offer.name + (" *" if row.offer.tariff.tiers else ""), per_million(base.input), per_million(base.cached),
            per_million(base.output), f"{row.offer.ratio:.1f}" if math.isfinite(row.offer.ratio) else "",
            format_money(row.usd_per_token * MILLION),
        ]  # fmt: skip
        if not self.cost:
            return cells
        if row.margin is None:
            return [*cells, "", "", "free"]
        m, even = row.margin, self.hosting.break_even(row.usd_per_request) if self.hosting else None
        return [
            *cells,
            f"{m.value:+.0%}",
            f"{m.low:+.0%} to {m.high:+.0%}",
            whole(even.requests_per_day) if even else "API wins",
        ]

    def sentences(self) -> list[str]:
        """What the table comes to."""
        rows, found = self.compared, []
        paid = [row for row in rows if row.usd_per_request > 0]
        if len(paid) > 1:
            ratios = [f"{row.offer.ratio:.1f}" for row in paid if math.isfinite(row.offer.ratio)]
            ends = dict.fromkeys((min(ratios, key=float), max(ratios, key=float)))
            found.append(
                f"The dearest of {len(paid)} offers charges {spread(rows):.1f} times the cheapest for the same request; their"
                f" output costs {' to '.join(ends)} times their input."
                if spread(rows) > 1.01
                else f"All {len(paid)} offers charge the same; their output costs {' to '.join(ends)} times their input."
            )
        if self.cost:
            found += self._against_cost(paid)
        if any(row.offer.tariff.tiers for row in rows):
            found.append("* dearer beyond a length of context, counted here request by request; --offer shows where.")
        batch = [row for row in rows if row.offer.batch]
        if batch:
            shares = sorted({f"{r.offer.batch.mean(self.mix) / r.usd_per_request:.0%}" for r in batch if r.offer.batch})
            patient = f" Here a request costs {self.patient:.0%} of that when it may wait." if self.patient else ""
            found.append(
                f"Requests that may wait (batch) pay {' or '.join(shares)} of the price at"
                f" {', '.join(row.offer.name for row in batch[:4])}{' and others' if len(batch) > 4 else ''}.{patient}"
            )
        elif self.patient:
            found.append(
                f"A request that may wait costs {self.patient:.0%} of one within the latency goals here; no offer sells that."
            )
        found += dict.fromkeys(f"{r.offer.name}: {note}." for r in rows for note in r.offer.notes)
        return [*found, OTHERS] if self.cost else found

    def _against_cost(self, paid: Sequence[Compared]) -> list[str]:
        assert self.cost
        usd = cost_per_request(self.cost).value
        below = [row for row in paid if row.usd_per_request < usd]
        never = [row for row in paid if self.hosting and not self.hosting.break_even(row.usd_per_request)]
        spare = self.hosting.spare if self.hosting else 0
        lines = []
        if below:
            lines.append(
                f"{len(below)} of {len(paid)} charge less than a request costs here at utilisation {self.cost.utilisation:.2g}."
            )
        if len(never) == len(paid):
            lines.append("An API wins at every volume: no offer is dearer than serving these requests on this machine.")
        elif never:
            lines.append(f"Against {len(never)} of them an API wins at every volume.")
        if len(never) < len(paid):
            lines.append(
                f"Break-even: requests a day from which serving them here, on machines paid round the clock and {spare} spare,"
                " costs less than the offer."
            )
        return lines

    def document(self) -> Row:
        """Plain data."""
        usd = cost_per_request(self.cost) if self.cost else None
        return {
            "view": "hosts",
            "model": self.model,
            "source": self.source,
            "mix": {
                "input": float(self.mix.input.mean()),
                "cached": float((self.mix.input * 0 + self.mix.cached).mean()),
                "written": float((self.mix.input * 0 + self.mix.written).mean()),
                "output": float(self.mix.output.mean()),
            },
            "cost_per_request": usd.as_dict() if usd else None,
            "cost_per_million": self.cost.per_million.as_dict() if self.cost else None,
            "cost_missing": self.missing or None,
            "patient_share": self.patient,
            "spread": spread(self.compared),
            "offers": [self._document(row) for row in self.compared],
            "assumed": list(self.assumed),
            "scenario": dict(self.cost.scenario) if self.cost else None,
        }

    def _document(self, row: Compared) -> Row:
        even = self.hosting.break_even(row.usd_per_request) if self.hosting and row.usd_per_request > 0 else None
        return {
            **offer_document(row),
            "margin": row.margin.as_dict() if row.margin else None,
            "break_even": {
                "requests_per_day": even.requests_per_day, "machines": even.machines, "utilisation": even.utilisation,
            } if even else None,
        }  # fmt: skip

    def rows(self) -> list[Row]:
        """A flat line for each offer."""
        found = []
        for row in self.compared:
            flat = self._document(row)
            margin, even = flat.pop("margin"), flat.pop("break_even")
            flat.pop("tiers"), flat.pop("notes"), flat.pop("batch")
            flat |= {
                f"margin{end}": margin[key] if margin else math.nan
                for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
            found.append(
                {
                    **where(self.model, self.cost),
                    **flat,
                    "break_even_requests_per_day": even["requests_per_day"] if even else math.nan,
                }
            )
        return found

    def chart(self) -> Any:
        """Prices against cost."""
        from pertoken.report.market_charts import PICTURES

        return PICTURES["offers"].chart(self)


def offer_document(row: Compared) -> Row:
    """An offer and what it charges for a mean request, as plain data: dollars per million tokens."""
    offer = row.offer

    def prices(p: Any) -> Row:
        found = {name: getattr(p, name) for name in ("input", "cached", "written", "output")}
        return {name: v * MILLION if v is not None else None for name, v in found.items()} | {"request_usd": p.request}

    return {
        "offer": offer.name,
        **prices(offer.tariff.base),
        "ratio": offer.ratio,
        "usd_per_request": row.usd_per_request,
        "usd_per_million_tokens": row.usd_per_token * MILLION,
        "tiers": [{"above": t.above, **prices(t.prices)} for t in offer.tariff.tiers],
        "batch": prices(offer.batch.base) if offer.batch else None,
        "since": offer.since or None,
        "deprecated": offer.deprecated,
        "source": offer.source,
        "notes": list(offer.notes),
    }
