"""Request traces: those shipped, and CSV files of the user's own."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from pertoken.catalog.files import ROOT
from pertoken.errors import PertokenError
from pertoken.serving.lengths import Lengths
from pertoken.serving.trace import lengths_from_rows, pick_columns

MOST_REQUESTS = 5_000_000
MOST_LINE = 100_000  # characters; a longer line is no trace
DEFAULT = "azure-2023-conversation"


def names() -> list[str]:
    """Names of the traces shipped."""
    return sorted(path.name.removesuffix(".csv.gz") for path in (ROOT / "traces").glob("*.csv.gz"))


@cache
def _shipped(name: str) -> Lengths:
    path = ROOT / "traces" / f"{name}.csv.gz"
    rows = gzip.decompress(path.read_bytes()).decode("ascii").split("\n", 1)[1].strip()
    table = np.fromstring(rows.replace("\n", ","), sep=",").reshape(-1, 3)  # a third of the time of loadtxt
    return Lengths(table[:, 1].copy(), table[:, 2].copy(), f"trace {name}, {len(table):,} requests")


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        while line := file.readline(MOST_LINE + 1):
            if len(line) > MOST_LINE:
                raise PertokenError(
                    f"{path.name} has a line of over {MOST_LINE:,} characters; a trace is a CSV of requests"
                )
            yield line


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    reader = csv.reader(_lines(path))
    try:
        header = next(reader, None)
        if header is None:
            raise PertokenError(f"{path.name} is empty; give a CSV with input and output columns")
        first, second = pick_columns(header, path.name)
        for count, row in enumerate(reader):
            if not row:
                continue
            if count >= MOST_REQUESTS:
                raise PertokenError(f"{path.name} has over {MOST_REQUESTS:,} requests; give a sample of it")
            if len(row) <= max(first, second):
                raise PertokenError(f"{path.name} line {reader.line_num}: {len(row)} cells, too few; mend the line")
            yield reader.line_num, row[first], row[second]
    except csv.Error as error:
        raise PertokenError(f"{path.name} line {reader.line_num}: {error}; give a CSV") from error


def load_lengths(text: str) -> Lengths:
    """Lengths of a shipped trace by name, or of a CSV file with a header.

    Raises
    ------
    PertokenError
        When it is neither, or a line cannot be read; nothing is skipped silently.
    """
    if text in names():
        return _shipped(text)
    path = Path(text).expanduser()
    try:
        if path.is_file():
            return lengths_from_rows(_rows(path), path.name)
    except OSError as error:
        raise PertokenError(f"trace {text[:60]!r} cannot be read: {error.strerror}; give another") from error
    raise PertokenError(
        f"trace {text[:60]!r} is no file; give a CSV with input and output columns, or {', '.join(names())}"
    )
