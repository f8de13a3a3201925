"""What one token costs at its position, in money: the answer of ``cost.at``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pertoken.attribution.batch import total
from pertoken.attribution.position import Positions, positions
from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.serving.operating import Operating
from pertoken.units import MILLION

Number = Any
MOST_POSITIONS = 10_000_000  # in one call


@dataclass(frozen=True)
class At:
    """What one token costs at a position; every figure may be an array over positions.

    Parameters
    ----------
    value, low, high : float or ndarray
        Per token, with the ends of the interval of step time [$, or accelerator-seconds where there is no rate].
    parts : mapping of str to (float or ndarray)
        The value by what it was spent on, see ``PARTS``.
    unit : str
        ``$`` or ``accelerator-s``.
    view, who : str
        Which question was answered, and who pays for reading old positions.
    """

    value: Number
    low: Number
    high: Number
    parts: Mapping[str, Number]
    unit: str
    view: str = "fair"
    who: str = "reader"

    @property
    def per_million(self) -> At:
        """The same per million tokens [$ or accelerator-s]."""
        parts = {part: amount * MILLION for part, amount in self.parts.items()}
        return At(self.value * MILLION, self.low * MILLION, self.high * MILLION, parts, self.unit, self.view, self.who)


def read_positions(what: str, value: Any, limit: float, high: float | None = None) -> Any:
    """Positions as an array of whole numbers.

    Raises
    ------
    PertokenError
        With the first one that is no whole number from 1 to the limit.
    """
    top = limit if high is None else high
    try:
        found = np.asarray(value, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise PertokenError(
            f"{what} is {str(value)[:40]!r}; a position must be a whole number from 1 to {top:,.0f}: give one"
        ) from error
    if not found.size or found.size > MOST_POSITIONS:
        raise PertokenError(
            f"{what} has {found.size:,} positions; give from 1 to {MOST_POSITIONS:,} of them in one call"
        )
    wrong = ~((found >= 1) & (found <= top) & (found == np.floor(found)))
    if wrong.any():
        first = found[wrong].flat[0]
        shown = f"{first:,.0f}" if first == np.floor(first) else f"{first:g}"
        raise PertokenError(
            f"{what} is {shown}; a position must be a whole number from 1 to {top:,.0f}"
            + (f", the model's context limit of {limit:,.0f} less the input" if high is not None else "")
            + ": give another"
        )
    return found


class Priced(Protocol):
    """What of a Cost a position's answer depends on."""

    @property
    def deployment(self) -> Deployment: ...
    @property
    def operating(self) -> Operating: ...
    @property
    def rate(self) -> Any: ...
    @property
    def accelerator_s(self) -> Any: ...
    @property
    def basis(self) -> str: ...
    @property
    def utilisation(self) -> float: ...


def at(cost: Priced, input: Any = None, output: Any = None, view: str = "fair", who: str = "reader") -> At:
    """What the n-th token costs, in its parts, in the batch of an operating point.

    Parameters
    ----------
    cost : Cost
        The operating point and its rate.
    input : int or array_like
        Position of an uncached input token from 1; with ``output``, how many input tokens came before (default: the
        traffic's mean) [token].
    output : int or array_like, optional
        Position of an output token from 1 [token].
    view : str
        ``fair`` share, stand-``alone``, short-run ``marginal`` or ``long-run`` marginal.
    who : str
        ``reader`` or ``occupant`` pays for reading old positions; the occupant's requests have the mean lengths.

    Returns
    -------
    At
        Per token; arrays like the positions.

    Raises
    ------
    PertokenError
        When a position is none, is beyond the model's context limit, or the view has no answer here.
    """
    if input is None and output is None:
        raise PertokenError("no position was given; give input=N, output=N, or both for the output after so much input")
    found: Positions = positions(cost.deployment, cost.operating, view, who)
    limit = float(cost.deployment.model.context_limit)
    if output is None:
        seconds, flat = found.input(read_positions("input", input, limit)), cost.accelerator_s.input
    else:
        before = found.batch.moments.input if input is None else read_positions("input", input, limit - 1.0)
        last = float(np.maximum(1.0, np.floor(limit - np.min(before))))
        n = read_positions("output", output, limit, last)
        if np.any((n + before > limit) & (n > 1)):
            raise PertokenError(
                f"an input and an output together pass the context limit of {limit:,.0f}; give shorter ones"
            )
        seconds = found.output(n, before)
        flat = cost.accelerator_s.output
    # idle time that the basis spreads over tokens is in the fair share only; the others say what a token adds
    spread = 1.0 / cost.utilisation if view == "fair" and cost.basis == "allocation" else 1.0
    factor = cost.deployment.split.tp * spread * (cost.rate.usd_per_second if cost.rate else 1.0)
    ends = (flat.low / flat.value, flat.high / flat.value)

    def plain(x: Number) -> Number:
        return float(x) if np.ndim(x) == 0 else x

    value = total(seconds) * factor
    parts = {part: plain(s * factor) for part, s in seconds.items()}
    unit = "$" if cost.rate else "accelerator-s"
    return At(plain(value), plain(value * ends[0]), plain(value * ends[1]), parts, unit, view, who)
