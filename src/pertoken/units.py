"""Units: SI in, SI out. The only file with 1e9, 3600 or 1024; GB is 10^9 bytes and GiB is 2^30.

Inside pertoken every quantity is in seconds, bytes, FLOP, watts, joules and dollars; this file turns what people write
into those and back.
"""

from __future__ import annotations

import math
import re

from pertoken.errors import PertokenError

KILO, MEGA, GIGA, TERA, PETA = 1e3, 1e6, 1e9, 1e12, 1e15
KIBI, MEBI, GIBI = 2**10, 2**20, 2**30
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
YEAR = 365.25 * DAY
MONTH = YEAR / 12
MILLI, MICRO = 1e-3, 1e-6
MILLION = 1e6
JOULES_PER_KWH = KILO * HOUR

_BYTES = {
    "": 1.0, "b": 1.0, "kb": KILO, "mb": MEGA, "gb": GIGA, "tb": TERA,
    "kib": KIBI, "mib": MEBI, "gib": GIBI, "tib": GIBI * KIBI,
}  # fmt: skip
_COUNTS = {"": 1.0, "k": KILO, "m": MEGA}
_SECONDS = {"": 1.0, "s": 1.0, "ms": MILLI, "us": MICRO, "min": MINUTE, "h": HOUR}
_QUANTITY = re.compile(r"\s*([0-9][0-9_,]*\.?[0-9]*(?:e[+-]?[0-9]{1,3})?)\s*([a-z/]*)\s*", re.IGNORECASE)


def parse(text: str, scales: dict[str, float], what: str, example: str) -> float:
    """Parse a number with an optional unit into SI.

    Parameters
    ----------
    text : str
        What the user wrote, such as ``"50GB/s"``.
    scales : dict
        Factor of each accepted unit in lower case.
    what, example : str
        Used in the error sentence.
    """
    found = _QUANTITY.fullmatch(text)
    unit = found[2].lower().removesuffix("/s") if found else ""
    if found is None or unit not in scales:
        units = ", ".join(u for u in scales if u)
        raise PertokenError(f"{what} is {text[:60]!r}; write a number and a unit ({units}), such as {example}")
    value = float(found[1].replace("_", "").replace(",", "")) * scales[unit]
    if not math.isfinite(value):
        raise PertokenError(f"{what} is {text[:60]!r}, which is not a finite number; write one such as {example}")
    return value


def parse_bytes(text: str, what: str = "size") -> float:
    """Bytes, or bytes per second, from ``"50GB"``, ``"80 GiB"`` or a bare number [byte]."""
    if re.search(r"[KMGT]i?b(/s)?\s*$", text):
        raise PertokenError(f"{what} is {text[:60]!r}, which is in bits; write bytes (an eighth of it), such as 50GB")
    return parse(text, _BYTES, what, "50GB")


def parse_count(text: str, what: str = "count") -> float:
    """A count from ``"8192"``, ``"8k"`` (8,000) or ``"1.5M"``."""
    return parse(text, _COUNTS, what, "8192")


def parse_seconds(text: str, what: str = "time") -> float:
    """Seconds from ``"0.05"``, ``"50ms"`` or ``"2s"`` [s]."""
    return parse(text, _SECONDS, what, "50ms")


def per_second(per_hour: float) -> float:
    """From a price or count per hour to one per second."""
    return per_hour / HOUR


def format_money(usd: float) -> str:
    """Dollars with enough digits to compare: three significant below 100, cents above."""
    if not math.isfinite(usd):
        return "unknown"
    if usd == 0:
        return "$0.00"
    if abs(usd) >= 100:
        return f"${usd:,.0f}" if abs(usd) >= 10_000 else f"${usd:,.2f}"
    digits = max(2, 2 - math.floor(math.log10(abs(usd))))
    return f"${usd:,.{min(digits, 12)}f}"


def format_number(value: float, digits: int = 3) -> str:
    """A number of so many significant digits, thousands with commas instead of an exponent."""
    return f"{value:,.0f}" if abs(value) >= 10.0**digits else f"{value:.{digits}g}"


def format_bytes(count: float) -> str:
    """Bytes in decimal units, such as ``80.0 GB`` (10^9 bytes)."""
    for scale, unit in ((TERA, "TB"), (GIGA, "GB"), (MEGA, "MB"), (KILO, "kB")):
        if abs(count) >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count:,.0f} B"


def format_seconds(seconds: float) -> str:
    """Seconds in the unit a reader would use, such as ``13.2 ms``; a dash where there is no such time (NaN)."""
    if math.isnan(seconds):
        return "-"
    if seconds == 0:
        return "0 s"
    for scale, unit in ((1.0, "s"), (MILLI, "ms"), (MICRO, "us")):
        if abs(seconds) >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / MICRO:.3g} us"


def format_rate(value: float, unit: str) -> str:
    """A rate with an SI prefix, such as ``989 TFLOP/s``."""
    for scale, prefix in ((PETA, "P"), (TERA, "T"), (GIGA, "G"), (MEGA, "M"), (KILO, "k")):
        if abs(value) >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"
