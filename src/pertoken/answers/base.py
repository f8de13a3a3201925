"""An answer, what it is asked of, and its figures: every number in its text is kept with value and unit."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pertoken.attribution.ledger import by_token
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS
from pertoken.money.rate import Rate
from pertoken.units import format_bytes, format_money, format_rate, format_seconds
from pertoken.whatif.base import BOUNDS

RESOURCES = ("memory", "compute", "links", "overhead")
Row = tuple[str, ...]
PARAGRAPH = "\n\n"  # between paragraphs of a text


@dataclass(frozen=True)
class Tiers:
    """Where vendors raise their price for long requests.

    Parameters
    ----------
    starts : mapping of int to int
        Prompt length from which on a model is dearer, and how many models have it there [token].
    models : int
        Models looked at, those with one price included.
    doubled : int
        Models whose input price doubles there.
    source : str
        Where that was counted, with its date.
    """

    starts: Mapping[int, int]
    models: int
    doubled: int
    source: str

    @property
    def tiered(self) -> int:
        """Models that have a tier."""
        return sum(self.starts.values())


@dataclass(frozen=True)
class Asked:
    """What the questions are asked of.

    Parameters
    ----------
    cost : Cost
        The operating point.
    rates : mapping of str to Rate
        ``rent``, ``own`` and ``power``, as far as they are known for the accelerator.
    missing : mapping of str to str
        Why the others are not.
    tiers : Tiers or None
        Context tiers of vendors.
    electricity : str
        Where the price of electricity was read.
    """

    cost: Cost
    rates: Mapping[str, Rate] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    tiers: Tiers | None = None
    electricity: str = "as given"

    def command(self, name: str, *more: str) -> str:
        """The command line that asks ``pertoken NAME`` of the same case."""
        return line_of(name, {"model": self.cost.deployment.model.name, **self.cost.scenario}, *more)


def line_of(name: str, knobs: Mapping[str, Any], *more: str) -> str:
    """A command line of knobs, as one would type it."""
    order = sorted((key for key in knobs if key != "model"), key=list(KNOBS).index)
    given = [part for key in order for part in ("--" + key.replace("_", "-"), _written(knobs[key]))]
    return shlex.join(["pertoken", name, str(knobs["model"]), *given, *more])


def _written(value: Any) -> str:
    """A knob's value as one would type it."""
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


@dataclass(frozen=True)
class Figure:
    """A number of an answer.

    Parameters
    ----------
    value : float
        In SI units, or as `unit` says.
    unit, shown : str
        Its unit, and how the text writes it.
    """

    value: float
    unit: str
    shown: str


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Parameters
    ----------
    number : int
        From 1 to 9.
    question, text : str
        In words; `PARAGRAPH` stands between paragraphs.
    words : Words
        Keeps every number in the text.
    table : tuple of rows
        The first is the head; empty where there is nothing to tabulate.
    command, deeper : str
        What reproduces the answer, and a command that shows more of what is behind it.
    chart : callable, optional
        Draws it; needs the extra ``charts``.
    """

    number: int
    question: str
    text: str
    words: Words
    table: tuple[Row, ...]
    command: str
    deeper: str
    chart: Callable[[], Any] | None = None

    @property
    def figures(self) -> Mapping[str, Figure]:
        """Every number in the text, but for those of `quotes`."""
        return self.words.figures

    @property
    def quotes(self) -> tuple[str, ...]:
        """Names, sources and sentences from elsewhere in the text."""
        return tuple(self.words.quotes)


class Words:
    """Writes numbers for a text and keeps them.

    Parameters
    ----------
    priced : bool
        Whether amounts are dollars; else accelerator-seconds.
    """

    def __init__(self, priced: bool) -> None:
        self.priced = priced
        self.figures: dict[str, Figure] = {}
        self.quotes: list[str] = []

    def quote(self, text: str) -> str:
        """Keep a name or a sentence from elsewhere, whose numbers are none of the answer's."""
        self.quotes.append(text)
        return text

    def keep(self, name: str, value: float, unit: str, shown: str) -> str:
        """Keep a figure; a number that is none must not reach a text."""
        if not math.isfinite(value):
            raise PertokenError(f"the figure {name} of an answer is not a finite number; ask of another case")
        self.figures[name] = Figure(float(value), unit, shown)
        return shown

    def money(self, name: str, value: float, of: str = "million tokens") -> str:
        """Dollars or accelerator-seconds for something."""
        unit = f"{'$' if self.priced else 'accelerator-s'} per {of}"
        return self.keep(name, value, unit, amount(value, self.priced))

    def share(self, name: str, value: float) -> str:
        """A share in per cent."""
        return self.keep(name, value, "1", percent(value))

    def times(self, name: str, value: float) -> str:
        """A factor."""
        return self.keep(name, value, "1", factor(value))

    def count(self, name: str, value: float, unit: str = "token") -> str:
        """A number of things."""
        whole = value >= 10 or abs(value - round(value)) < 0.05
        return self.keep(name, value, unit, f"{value:,.0f}" if whole else f"{value:.1f}")

    def things(self, name: str, value: float, one: str) -> str:
        """A number of things and their name."""
        shown = self.count(name, value, one)
        return f"{shown} {one}" if shown == "1" else f"{shown} {one}s"

    def bytes(self, name: str, value: float) -> str:
        """Bytes."""
        return self.keep(name, value, "byte", format_bytes(value))

    def seconds(self, name: str, value: float) -> str:
        """A time."""
        return self.keep(name, value, "s", format_seconds(value))

    def rate(self, name: str, value: float, unit: str) -> str:
        """A number with a prefix, such as of FLOP."""
        return self.keep(name, value, unit, format_rate(value, unit))

    def number(self, name: str, value: float, unit: str) -> str:
        """Three significant digits and the unit."""
        return self.keep(name, value, unit, f"{value:,.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}")


def amount(value: float, priced: bool) -> str:
    """Dollars, or accelerator-seconds where there is no rate."""
    if priced:
        return format_money(value)
    return f"{value:,.0f} accelerator-seconds" if abs(value) >= 100 else f"{value:.3g} accelerator-seconds"


def bare(value: float, priced: bool) -> str:
    """An amount without the word for its unit, which a column's head has."""
    return amount(value, priced).removesuffix(" accelerator-seconds")


def percent(value: float) -> str:
    """A share, with enough digits when it is small."""
    return (
        f"{value:.0%}"
        if abs(value) >= 0.095 or value == 0
        else f"{value:.1%}"
        if abs(value) >= 0.001
        else f"{value:.2%}"
    )


def factor(value: float) -> str:
    """A ratio."""
    return f"{value:,.0f}" if value >= 20 else f"{value:.2g}" if value < 0.995 else f"{value:.1f}"


def bar(value: float, most: float, width: int = 24) -> str:
    """A bar of a table; at least a sliver of what is above 0."""
    return "#" * max(round(width * value / most) if most > 0 else 0, 1 if value > 0 else 0)


def unit_price(cost: Cost) -> float:
    """What an accelerator-second is priced at, 1 without a rate."""
    return cost.rate.usd_per_second if cost.rate else 1.0


def per_million(cost: Cost) -> dict[str, float]:
    """Input and output per million tokens: dollars, or accelerator-seconds."""
    each = (cost.usd if cost.rate else cost.accelerator_s).scaled(1e6)
    return {"input": each.input.value, "output": each.output.value}


def resources(cost: Cost, token: str) -> dict[str, float]:
    """Shares of a kind of token's time by what it was spent on."""
    found = dict.fromkeys(RESOURCES, 0.0)
    for entry in cost.entries["value"]:
        if entry.token == token:
            found[BOUNDS[entry.part]] += float(entry.seconds)
    whole = float(by_token(cost.entries["value"])[token])
    return {name: seconds / whole if whole > 0 else 0.0 for name, seconds in found.items()}


def sentence(*clauses: str) -> str:
    """Sentences that are not empty, one behind the other."""
    return " ".join(clause for clause in clauses if clause)
