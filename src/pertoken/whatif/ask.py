"""Which counterfactuals there are, what a ``--what-if`` text means, and asking one of a cost."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.whatif.base import Counterfactual, Outcome
from pertoken.whatif.pools import POOLS
from pertoken.whatif.shapes import FASTER, SHAPES
from pertoken.whatif.traffic import CACHED, DRAFTS, TRAFFIC

COUNTERFACTUALS: dict[str, Counterfactual] = {c.name: c for c in (*TRAFFIC, *SHAPES, CACHED, DRAFTS, POOLS, *FASTER)}
ALL = "all"


def spelled(c: Counterfactual) -> str:
    """How a counterfactual is written, its usual amount included."""
    return c.name if c.amount is None else f"{c.name}:{c.amount:g}"


def read(text: str) -> tuple[Counterfactual, float]:
    """A counterfactual and its amount from ``no-gqa`` or ``window:4096``.

    Raises
    ------
    PertokenError
        When there is none of that name, or the amount is out of range.
    """
    name, colon, given = str(text).strip().partition(":")
    name = name.strip().lower().replace("_", "-").replace(" ", "-")
    found = COUNTERFACTUALS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, COUNTERFACTUALS, n=1, cutoff=0.5)
        guess = f"did you mean {spelled(COUNTERFACTUALS[near[0]])}? " if near else ""
        raise PertokenError(
            f"--what-if {str(text)[:60]!r} is not known; {guess}use all, or one of"
            f" {', '.join(spelled(c) for c in COUNTERFACTUALS.values())}"
        )
    if found.amount is None:
        if colon:
            raise PertokenError(f"--what-if {found.name} takes no amount, and {given[:40]!r} was given; leave it out")
        return found, 0.0
    if not colon:
        return found, found.amount
    try:
        amount = float(given.replace(",", "").replace("_", ""))
    except ValueError:
        amount = math.nan
    whole = found.unit == "token" and found.name != "speculative"
    if not found.low <= amount <= found.high or (whole and amount != int(amount)):
        what = "a whole number" if whole else "a number"
        raise PertokenError(
            f"--what-if {found.name} has the amount {given[:40]!r}; it must be {what} from {found.low:g} to {found.high:g},"
            f" such as {spelled(found)}"
        )
    return found, amount


def what_if(cost: Cost, text: str) -> Outcome:
    """What one counterfactual changes.

    Parameters
    ----------
    cost : Cost
        The case as it is.
    text : str
        Such as ``no-kv-cache`` or ``window:4096``; see `COUNTERFACTUALS`.

    Returns
    -------
    Outcome
        With the new case, or the reason why it cannot be.

    Raises
    ------
    PertokenError
        When there is no such counterfactual.
    """
    found, amount = read(text)
    name = found.name if found.amount is None else f"{found.name}:{amount:g}"
    sentence = found.sentence(amount)
    try:
        return Outcome(name, sentence, cost, found.make(cost, amount))
    except PertokenError as error:
        return Outcome(name, sentence, cost, refused=str(error))


def ask(cost: Cost, texts: Iterable[str]) -> list[Outcome]:
    """What several counterfactuals change, each alone; ``all`` stands for every one at its usual amount."""
    wanted = [spelled(c) for c in COUNTERFACTUALS.values()]
    names = [name for text in texts for name in (wanted if str(text).strip().lower() == ALL else [text])]
    return [what_if(cost, name) for name in dict.fromkeys(names)]
