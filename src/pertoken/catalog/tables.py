"""Reading tables of measured rows as other people write them: separators, byte-order marks, other names of columns."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pertoken.calibrate.rows import COLUMNS
from pertoken.calibrate.spelling import words_of
from pertoken.errors import PertokenError

MOST_LINE = 100_000  # characters
MOST_ROWS = 1_000_000
SEPARATORS = (",", ";", "\t", "|")
TEXTS = frozenset(("source", "url_or_repo_path", "date", "engine", "engine_version", "model", "gpu", "weight_dtype", "kv_dtype",
                   "metric", "notes"))  # fmt: skip
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")

Columns = Mapping[str, Mapping[str, Any]]
Rows = Iterator[tuple[int, Mapping[str, Any]]]


@dataclass(frozen=True)
class Header:
    """Where each column of the schema stands in a table.

    Parameters
    ----------
    cells : tuple of str
        The header as read, lower case.
    places : mapping of str to int
        Column to place.
    rules : mapping of str to mapping
        For columns under another name: perhaps ``metric``, what they count.
    strange : tuple of str
        Cells that are no column, or another name of one that is there.
    """

    cells: tuple[str, ...]
    places: Mapping[str, int]
    rules: Mapping[str, Mapping[str, Any]]
    strange: tuple[str, ...]

    def row(self, cells: Sequence[str], decimal_comma: bool) -> dict[str, str]:
        """The cells of one line by column; what is past the last column stands under an empty name."""
        found = {name: cells[i] for name, i in self.places.items() if i < len(cells)}
        if decimal_comma:
            found |= {
                name: text.strip().replace(",", ".")
                for name, text in found.items()
                if name not in TEXTS and _DECIMAL_COMMA.fullmatch(text.strip())
            }
        for name, rule in self.rules.items():
            text = found.get(name, "").strip()
            if text and "metric" in rule and not found.get("metric", "").strip():
                found["metric"] = str(rule["metric"])
        extra = "".join(cells[len(self.cells) :]).strip()
        return found | {"": extra} if extra else found


def read_header(cells: Sequence[str], columns: Columns) -> Header:
    """Find the columns of the schema in a header, by name or by the first other name that is known.

    Parameters
    ----------
    cells : sequence of str
        The header's cells.
    columns : mapping of str to mapping
        Other names, their words joined by ``_``, and what they mean: ``column``, and perhaps ``metric``.
    """
    plain = tuple(cell.strip().lower() for cell in cells)
    places: dict[str, int] = {}
    rules: dict[str, Mapping[str, Any]] = {}
    for i, cell in enumerate(plain):
        if cell in COLUMNS:
            places.setdefault(cell, i)
    for i, cell in enumerate(plain):
        name = words_of(cell)
        rule = columns.get(name, {"column": name} if name in COLUMNS else {})
        column = str(rule.get("column", ""))
        if cell not in COLUMNS and column and column not in places:
            places[column] = i
            rules[column] = rule
    strange = tuple(cell[:30] for i, cell in enumerate(plain) if cell and i not in places.values())
    return Header(plain, places, rules, strange)


def sentences(header: Header) -> Iterator[str]:
    """What a user must know of how a header was read."""
    for column, rule in header.rules.items():
        counts = f", metric {rule['metric']}" if "metric" in rule else ""
        yield f"column {header.cells[header.places[column]][:30]!r} is read as {column}{counts}"
    missing = [name for name in COLUMNS if name not in header.places]
    twice = sorted({cell[:30] for cell in header.cells if cell and header.cells.count(cell) > 1})
    if twice:
        yield f"columns that come twice, of which the first is read: {', '.join(twice)}"
    strange = [cell for cell in header.strange if cell not in twice][:8]
    extra = f"columns not of the schema, ignored: {', '.join(strange)}" if strange else ""
    if missing:
        yield f"missing columns count as unknown: {', '.join(missing)}{f'; {extra}' if extra else ''}"
    elif extra:
        yield extra


def read_rows(path: Path, said: Callable[[str], None], columns: Columns) -> Rows:
    """Stream the rows of a CSV (or .csv.gz) with their line numbers.

    Parameters
    ----------
    path : Path
        The file; separated by commas, semicolons (decimal commas allowed), tabs or bars; UTF-8, or UTF-16 with its mark.
    said : callable
        Told, once each, what was read otherwise than written: missing columns, columns under another name, repeated headers.
    columns : mapping of str to mapping
        Other names of columns, see `read_header`.

    Raises
    ------
    PertokenError
        When it is not such a file.
    """
    shown = str(path)[-120:]
    try:
        if not path.is_file():
            raise PertokenError(f"{shown!r} is not a file; give a CSV of measured rows")
        with path.open("rb") as raw:
            plain: Any = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            mark = plain.read(2)
            plain.seek(0)
            encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
            with io.TextIOWrapper(plain, encoding=encoding, errors="replace", newline="") as stream:
                yield from _rows(stream, path.name[-80:], said, columns)
    except (OSError, EOFError, UnicodeError, zlib.error) as error:
        raise PertokenError(f"{shown!r} cannot be read: {str(error)[:80]}; give a CSV of measured rows") from error


def _lines(stream: io.TextIOBase, name: str) -> Iterator[str]:
    while line := stream.readline(MOST_LINE + 1):
        if len(line) > MOST_LINE:
            raise PertokenError(f"{name} has a line of over {MOST_LINE:,} characters; give a CSV of measured rows")
        yield line.replace("\0", "")


def _rows(stream: io.TextIOBase, name: str, said: Callable[[str], None], columns: Columns) -> Rows:
    lines = _lines(stream, name)
    above = 0
    first = ""
    for first in lines:  # comments, blank lines and Excel's word on separators may stand above the header
        if first.strip() and not first.startswith("#") and not first.lower().startswith("sep="):
            break
        above += 1
    separator, header = _separated(first, columns)
    if not header.places:
        raise PertokenError(f"{name} has no column of the schema; it must have: {', '.join(COLUMNS)}")
    for sentence in sentences(header):
        said(f"{name}: {sentence}")
    reader = csv.reader(itertools.chain([first], lines), delimiter=separator)
    try:
        yield from _told(((above + reader.line_num, cells) for cells in reader), header, separator, name, said)
    except csv.Error as error:
        raise PertokenError(f"{name} line {above + reader.line_num}: {error}; give a CSV") from error


def _told(
    rows: Iterable[tuple[int, Sequence[str]]], header: Header, separator: str, name: str, said: Callable[[str], None]
) -> Rows:
    """Rows by column, without repeated headers; a longer table is cut, and that is said."""
    count, repeated = 0, False
    for line, cells in rows:
        if tuple(cell.strip().lower() for cell in cells) == header.cells:
            if count and not repeated:
                said(f"{name} line {line}: the header comes again, as in tables put together; left out")
                repeated = True
            continue
        if not any(cells):
            continue
        if count >= MOST_ROWS:
            said(f"{name}: only the first {MOST_ROWS:,} rows are read")
            return
        count += 1
        yield line, header.row(cells, separator == ";")


def _separated(line: str, columns: Columns) -> tuple[str, Header]:
    """The separator under which a header has most columns of the schema, and that header."""
    found = []
    for separator in SEPARATORS:
        try:
            cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            cells = []
        found.append((separator, read_header(cells, columns)))
    return max(found, key=lambda pair: len(pair[1].places))
