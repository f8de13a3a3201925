"""Sourced numbers: a value keeps its unit, source and date up to the JSON that a user sees."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pertoken.errors import PertokenError


@dataclass(frozen=True)
class Source:
    """Where a number was read.

    Parameters
    ----------
    title : str
        Document.
    url : str
        Address, possibly empty.
    date : datetime.date or None
        Date of the document, if it states one.
    read : datetime.date or None
        Day on which it was read.
    """

    title: str
    url: str = ""
    date: dt.date | None = None
    read: dt.date | None = None

    def as_dict(self) -> dict[str, str]:
        """The fields that are known, as text."""
        known = {"title": self.title, "url": self.url, "date": self.date, "read": self.read}
        return {key: str(value) for key, value in known.items() if value}


@dataclass(frozen=True)
class Sourced:
    """A number with its unit and source.

    Parameters
    ----------
    value : float
        In SI units.
    unit : str
        Such as ``byte/s``.
    source : Source
        Where it was read.
    note : str
        How the figure follows from the source, when it is not printed there as such.
    """

    value: float
    unit: str
    source: Source
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Value, unit, source and note."""
        found: dict[str, Any] = {"value": self.value, "unit": self.unit, "source": self.source.as_dict()}
        return found | ({"note": self.note} if self.note else {})


USER = Source("given by the user")


def read_sources(table: Mapping[str, Any]) -> dict[str, Source]:
    """The ``[sources.*]`` tables of a catalog file.

    Raises
    ------
    PertokenError
        When a source has no title.
    """
    found: dict[str, Source] = {}
    for key, entry in table.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("title"), str):
            raise PertokenError(f"source {key!r} needs a title; write [sources.{key}] with title, url and read")
        dates = {name: entry[name] for name in ("date", "read") if isinstance(entry.get(name), dt.date)}
        found[key] = Source(entry["title"], str(entry.get("url", "")), **dates)
    return found


def read_number(
    entry: object, unit: str, sources: Mapping[str, Source], where: str, high: float = 1e21, zero: bool = False
) -> Sourced:
    """One number of a catalog file: a bare number, or a table with value, unit, source and note.

    Raises
    ------
    PertokenError
        When the value is not a number above 0 (or 0 where ``zero`` allows it) and up to ``high``, or unit or source do not
        match.
    """
    table = entry if isinstance(entry, Mapping) else {"value": entry}
    value = table.get("value")
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (0.0 < value <= high or (zero and value == 0))
    ):
        shown = repr(value)[:60]
        raise PertokenError(
            f"{where} is {shown}; it must be a number {'from' if zero else 'above'} 0 and up to {high:g} {unit}"
        )
    if table.get("unit", unit) != unit:
        raise PertokenError(f"{where} has unit {str(table['unit'])[:40]!r}; write it in {unit}")
    key = table.get("source")
    if key is not None and (not isinstance(key, str) or key not in sources):
        raise PertokenError(
            f"{where} names the source {str(key)[:40]!r}, which the file does not list; add [sources.{key}]"
        )
    return Sourced(float(value), unit, sources[key] if key is not None else USER, str(table.get("note", "")))
