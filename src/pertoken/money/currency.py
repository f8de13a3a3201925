"""Another currency than dollars, at a rate that the user gives: none is looked up or assumed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pertoken.errors import PertokenError

_FORM = re.compile(r"([A-Za-z]{3})=([0-9.eE+-]{1,20})")


@dataclass(frozen=True)
class Currency:
    """Units of a currency for one dollar.

    Parameters
    ----------
    code : str
        Three letters.
    per_usd : float
        Above 0 and up to 1e7.
    """

    code: str
    per_usd: float

    def show(self, usd: float) -> str:
        """An amount with three significant digits or cents, the code after it."""
        amount = usd * self.per_usd
        return f"{amount:,.2f} {self.code}" if abs(amount) >= 1 else f"{amount:.3g} {self.code}"


def parse_currency(text: str) -> Currency:
    """Read ``EUR=0.92``.

    Raises
    ------
    PertokenError
        When it is no code with a rate.
    """
    found = _FORM.fullmatch(text.strip())
    try:
        rate = float(found[2]) if found else -1.0
    except ValueError:
        rate = -1.0
    if not found or not 0.0 < rate <= 1e7:
        raise PertokenError(
            f"--currency is {text[:40]!r}; write a code and its units for a dollar, above 0 to 10,000,000, such as EUR=0.92"
        )
    return Currency(found[1].upper(), rate)
