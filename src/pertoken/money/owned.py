r"""Ownership: capital repaid over its life, space by the kilowatt, electricity by what is drawn, and operations.

.. math:: \frac{C\,a(r, n) + k\,P_{max} + s\,C}{\text{seconds of a year}} + P\,h\,\text{PUE}\,c

with C the capital per accelerator, a the annuity factor r / (1 - (1 + r)^-n) of a discount rate r over n years (1 / n where
r is 0, r where the life has no end), k the yearly rent of a kilowatt of space, s the yearly share of capital for
operations and c the price of electricity.

References
----------
.. [1] Brealey, Myers and Allen, Principles of Corporate Finance, chapter 2 (annuities, equivalent annual cost).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pertoken.errors import PertokenError
from pertoken.money.rate import MOST_PER_HOUR, MOST_PER_KWH, Rate
from pertoken.sources import USER, Sourced
from pertoken.units import HOUR, JOULES_PER_KWH, MONTH, YEAR, per_second

# name: unit, least and most; as written in --rate own:1600,life=4y,power=0.30
TERMS: Mapping[str, tuple[str, float, float]] = {
    "capex": ("$", 1.0, 10_000_000.0),
    "life": ("year", 0.1, math.inf),
    "discount": ("1/year", 0.0, 1.0),
    "colo": ("$/kW-month", 0.0, 10_000.0),
    "kw": ("kW", 0.0, 100.0),
    "power": ("$/kWh", 0.0, MOST_PER_KWH),
    "operations": ("1/year", 0.0, 1.0),
}


def annuity(discount: float, years: float) -> float:
    """Yearly payment that repays one unit of capital with interest [1/year].

    Parameters
    ----------
    discount : float
        Interest, from 0 [1/year].
    years : float
        Life, above 0; infinity for interest alone [year].
    """
    if math.isinf(years):
        return discount
    if discount * years < 1e-9:  # the series to first order; the formula is 0 / 0 at no interest
        return 1.0 / years + discount / 2.0
    return -discount / math.expm1(-years * math.log1p(discount))


@dataclass(frozen=True)
class Ownership:
    """What owning one accelerator costs; every term carries its source.

    Parameters
    ----------
    capex : Sourced
        Its share of the server, with what connects it [$].
    life : Sourced
        Years over which it is repaid [year].
    discount : Sourced
        Interest on capital [1/year].
    colo : Sourced
        Rent of space and cooling, without electricity [$/kW-month].
    kw : Sourced
        Power for which space is rented: the most that its share of the server draws [kW].
    power : Sourced
        Price of electricity [$/kWh].
    operations : Sourced
        Staff, spares and software a year, as a share of capital [1/year].
    """

    capex: Sourced
    life: Sourced
    discount: Sourced
    colo: Sourced
    kw: Sourced
    power: Sourced
    operations: Sourced

    def __post_init__(self) -> None:
        for name, (unit, low, high) in TERMS.items():
            value = getattr(self, name).value
            if not low <= value <= high:
                span = f"from {low:g}" + (f" to {high:,.0f}" if math.isfinite(high) else "")
                raise PertokenError(f"--rate own: {name} is {value:g}; it must be {span} {unit}")

    def parts(self, watts: float) -> dict[str, float]:
        """Dollars per accelerator-second by what they pay for [$].

        Parameters
        ----------
        watts : float
            Draw at the facility's meter of one working accelerator [W].
        """
        v = {f.name: getattr(self, f.name).value for f in fields(self)}
        return {
            "capital": v["capex"] * annuity(v["discount"], v["life"]) / YEAR,
            "space": v["colo"] * v["kw"] / MONTH,
            "operations": v["capex"] * v["operations"] / YEAR,
            "electricity": watts * v["power"] / JOULES_PER_KWH,
        }

    def rate(self, watts: float, where: str) -> Rate:
        """The rate of a working accelerator that draws ``watts`` at the facility's meter.

        Parameters
        ----------
        watts : float
            As in `parts` [W].
        where : str
            What is owned, for the origin.
        """
        parts = self.parts(watts)
        each = self.power.value / JOULES_PER_KWH
        assumed = tuple(self._said(f.name) for f in fields(self) if getattr(self, f.name).source is not USER)
        dates = sorted(str(n.source.date) for n in (self.capex, self.power) if n.source.date)
        total = sum(parts.values())
        if not 0.0 < total <= per_second(MOST_PER_HOUR):
            raise PertokenError(
                f"--rate own comes to {total * HOUR:g} $/accelerator-hour; it must be above 0 and at most {MOST_PER_HOUR:,.0f}"
            )
        years = "for ever" if math.isinf(self.life.value) else f"over {self.life.value:g} years"
        origin = f"{where} owned: ${self.capex.value:,.0f} an accelerator {years} at {self.discount.value:.3g} interest"
        return Rate(total, origin, "own", each, watts, None, dates[0] if dates else "", assumed)

    def _said(self, name: str) -> str:
        number = getattr(self, name)
        source = number.source
        date = f", {source.date or source.read}" if source.date or source.read else ""
        note = f" ({number.note})" if number.note else ""
        return f"owned: {name} {number.value:,.6g} {number.unit}{note}; {source.title}{date}"


def read_terms(text: str) -> dict[str, float]:
    """Read ``1600,life=4y,power=0.30``: the first bare number is the capital.

    Raises
    ------
    PertokenError
        Naming what is unknown, given twice, or no number.
    """
    found: dict[str, float] = {}
    example = "write own, or own:1600,life=4y,power=0.30 with " + ", ".join(TERMS)
    for i, piece in enumerate(p.strip() for p in text.split(",")):
        name, equals, value = piece.partition("=")
        if not equals:
            name, value = ("capex", piece) if i == 0 else (piece, "")
        name = name.strip()
        if name not in TERMS or name in found:
            why = "is given twice" if name in found else "is no term of ownership"
            raise PertokenError(f"--rate own: {name[:40]!r} {why}; {example}")
        found[name] = _number(name, value.strip(), example)
    return found


def _number(name: str, text: str, example: str) -> float:
    scaled = text.removesuffix("y") if name == "life" else text.removesuffix("%")
    try:
        value = float(scaled)
    except ValueError as error:
        raise PertokenError(f"--rate own: {name} is {text[:40]!r}, which is no number; {example}") from error
    if math.isnan(value):
        raise PertokenError(f"--rate own: {name} is {text[:40]!r}, which is no number; {example}")
    return value / 100.0 if text.endswith("%") else value


def read_ownership(table: Mapping[str, Any], given: Mapping[str, float], numbers: Any, name: str) -> Ownership:
    """Ownership from a table of defaults and what a user gives.

    Parameters
    ----------
    table : mapping
        Terms of one accelerator, and those common to all.
    given : mapping
        What the user gives, which comes first.
    numbers : callable
        Reads one entry: (entry, unit, name) to Sourced.
    name : str
        The accelerator.

    Raises
    ------
    PertokenError
        When a term has neither a default nor was given.
    """
    made = {}
    for term, (unit, _, _) in TERMS.items():
        if term in given:
            made[term] = Sourced(given[term], unit, USER)
        elif term in table:
            made[term] = numbers(table[term], unit, term)
        else:
            raise PertokenError(
                f"no {term} of an owned {name} is in the catalog; give it: --rate own:PRICE,{term}=VALUE [{unit}]"
            )
    return Ownership(**made)
