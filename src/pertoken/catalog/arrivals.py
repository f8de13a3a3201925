"""Traces with arrivals: those shipped by name, and files of the user's own in CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from pertoken.catalog import traces
from pertoken.catalog.files import ROOT, own
from pertoken.errors import PertokenError
from pertoken.serving.columns import INPUT, OUTPUT
from pertoken.serving.lengths import MOST_TOKENS
from pertoken.serving.prefixes import from_ranges
from pertoken.simulate.traffic import Traffic
from pertoken.units import MILLI

HASH_TOKENS = 512  # of a block of the Mooncake traces, arXiv:2407.00079
# spelling of a column, and what one of its numbers is in seconds; Mooncake's timestamp is in milliseconds
ARRIVAL_COLUMNS = {
    "arrival_s": 1.0, "arrival": 1.0, "arrived_at": 1.0, "time_s": 1.0, "timestamp_s": 1.0, "arrival_ms": MILLI,
    "timestamp_ms": MILLI, "timestamp": 1.0,
}  # fmt: skip
Row = Mapping[str, Any]


def _find(header: Iterable[str], accepted: Sequence[str], label: str, where: str) -> str:
    names = {str(name).strip().strip('"').lower(): name for name in header}
    found = [names[name] for name in accepted if name in names]
    if not found:
        raise PertokenError(
            f"{where} has no {label} column (it has: {', '.join(map(str, names))[:80]}); name one of {', '.join(accepted)}"
        )
    return found[0]


def _csv(path: Path) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(traces.lines(path))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise PertokenError(f"{path.name} line {reader.line_num}: {error}; give a CSV") from error


def _jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        number = 0
        while line := file.readline(10_000_001):
            number += 1
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise PertokenError(
                    f"{path.name} line {number} is no JSON: {str(error)[:60]}; mend it there"
                ) from error
            if not isinstance(row, dict):
                raise PertokenError(f"{path.name} line {number} is no JSON object; give one request a line")
            yield number, row


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise PertokenError(
            "Parquet files need pyarrow; install it with: pip install pyarrow, or give a CSV"
        ) from error
    try:
        rows = parquet.read_table(path).to_pylist()
    except Exception as error:
        raise PertokenError(f"{path.name} is no Parquet file: {str(error)[:80]}; give another") from error
    yield from enumerate(rows, 1)


READERS: Mapping[str, Callable[[Path], Iterator[tuple[int, Row]]]] = {
    ".csv": _csv, ".jsonl": _jsonl, ".json": _jsonl, ".parquet": _parquet,
}  # fmt: skip


def _number(cell: Any, low: float, high: float, what: str) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        value = float("nan")
    if not low <= value <= high:
        raise PertokenError(f"{what} is {str(cell)[:40]!r}; it must be a number from {low:,.0f} to {high:,.0f}")
    return value


def _moment(cell: Any, scale: float, what: str) -> float:
    """Seconds of a number, or of a date and time such as ``2023-11-16 18:15:46.680``."""
    try:
        value = float(cell) * scale
    except (TypeError, ValueError, OverflowError):
        try:
            text = str(cell).strip()
            head, dot, rest = text.partition(".")  # more than microseconds are cut
            value = datetime.fromisoformat(head + dot + rest[:6].ljust(6, "0") if dot else head).timestamp()
        except ValueError as error:
            raise PertokenError(
                f"{what} is {str(cell)[:40]!r}; it must be seconds, or a date such as 2023-11-16 18:15:46.680"
            ) from error
    if not -1e15 < value < 1e15:
        raise PertokenError(f"{what} is {str(cell)[:40]!r}; it must be a finite number of seconds")
    return value


class _Reader:
    """Collects the requests of one file."""

    def __init__(self, path: Path, rows: Iterator[tuple[int, Row]]) -> None:
        self.name = path.name
        self.arrival: list[float] = []
        self.lengths: tuple[list[int], list[int]] = ([], [])
        self.level: list[int] = []
        self.chains: list[list[int]] = []
        self.numbers: dict[Any, int] = {}
        first = next(rows, None)
        if first is None:
            raise PertokenError(f"{path.name} has no requests; give a trace with at least one")
        header = list(first[1])
        self.columns = (
            _find(header, tuple(ARRIVAL_COLUMNS), "arrival", path.name),
            _find(header, INPUT, "input", path.name),
            _find(header, OUTPUT, "output", path.name),
        )
        self.scale = ARRIVAL_COLUMNS[self.columns[0].strip().lower()]
        self.hashed = "hash_ids" in header
        if self.hashed and self.columns[0] == "timestamp":
            self.scale = MILLI
        self.priority = "priority" in header
        self.add(*first)
        for line, row in rows:
            if len(self.arrival) >= traces.MOST_REQUESTS:
                raise PertokenError(f"{path.name} has over {traces.MOST_REQUESTS:,} requests; give a sample of it")
            self.add(line, row)

    def add(self, line: int, row: Row) -> None:
        """One request."""
        where = f"{self.name} line {line}: "
        when, *lengths = (row.get(name) for name in self.columns)
        self.arrival.append(_moment(when, self.scale, f"{where}{self.columns[0]}"))
        for label, cell, into in zip(("input", "output"), lengths, self.lengths, strict=True):
            into.append(round(_number(cell, 1, MOST_TOKENS, where + label)))
        if self.priority:
            self.level.append(int(_number(row.get("priority"), 0, 15, f"{where}priority")))
        if self.hashed:
            found = row.get("hash_ids")
            if not isinstance(found, list | tuple):
                raise PertokenError(f"{where}hash_ids is {str(found)[:40]!r}; it must be a list of block hashes")
            whole = found[: self.lengths[0][-1] // HASH_TOKENS]  # the last block may be part full
            self.chains.append([self.numbers.setdefault(str(h), len(self.numbers)) for h in whole])

    def traffic(self) -> Traffic:
        """The requests by arrival; of equal times in the order of the file."""
        when = np.array(self.arrival)
        order = np.argsort(when, kind="stable")
        unsorted = " (sorted by arrival)" if np.any(np.diff(when) < 0) else ""
        inputs, outputs = (np.array(x, dtype=np.int32)[order] for x in self.lengths)
        kept = {"level": np.array(self.level)[order]} if self.priority else {}
        if self.hashed:
            chains = [self.chains[i] for i in order]
            at = np.concatenate(([0], np.cumsum([len(c) for c in chains])))
            flat = np.array([h for c in chains for h in c] or [0], dtype=np.int32)
            kept |= {"chain_at": at.astype(np.int64), "chain": flat}
        when = when[order] - when.min()
        origin = f"trace {self.name}, {when.size:,} requests{unsorted}"
        return Traffic(when, inputs, outputs, origin, hash_tokens=HASH_TOKENS if self.hashed else 0, **kept)


def _blocks(text: str) -> Iterator[tuple[int, Row]]:
    """Rows of a shipped trace with the hashes of its prompts' blocks."""
    reader = csv.DictReader(StringIO(text))
    for row in reader:
        yield (
            reader.line_num,
            {**row, "hash_ids": from_ranges(row[traces.BLOCKS], int(row["input"]) // HASH_TOKENS + 1)},
        )


def load_traffic(text: str) -> Traffic:
    """Requests of a shipped trace by name, or of a file.

    Raises
    ------
    PertokenError
        When it is neither, or a line cannot be read; nothing is skipped silently.
    """
    if text in traces.names():
        found = gzip.decompress((ROOT / "traces" / f"{text}.csv.gz").read_bytes()).decode("ascii")
        if traces.BLOCKS in found.split("\n", 1)[0]:
            return _Reader(Path(text), _blocks(found)).traffic()
        table = np.array([row.split(",") for row in found.split("\n")[1:] if row], dtype=float)
        when, inputs, outputs = table[:, 0], table[:, 1].astype(np.int32), table[:, 2].astype(np.int32)
        order = np.argsort(when, kind="stable")
        return Traffic(when[order], inputs[order], outputs[order], f"trace {text}, {len(table):,} requests")
    path = own(text)
    try:
        if path and path.is_file():
            if path.suffix.lower() not in READERS:
                raise PertokenError(f"{path.name[:60]!r} has no known form; end it in {', '.join(READERS)}")
            return _Reader(path, READERS[path.suffix.lower()](path)).traffic()
    except OSError as error:
        raise PertokenError(f"trace {text[:60]!r} cannot be read: {error.strerror}; give another") from error
    raise PertokenError(
        f"trace {text[:60]!r} is no file; give a CSV, JSON lines or Parquet file with arrival, input and output, or"
        f" {', '.join(traces.names())}"
    )
