"""Request traces: those shipped, and CSV files of the user's own."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from functools import cache, lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from pertoken.catalog.files import ROOT, UPLOAD, own
from pertoken.errors import PertokenError
from pertoken.serving.columns import added, pick
from pertoken.serving.lengths import MOST_TOKENS, Lengths
from pertoken.serving.prefixes import BLOCK, PrefixCache, from_ranges
from pertoken.serving.trace import lengths_from_rows

MOST_REQUESTS = 5_000_000
MOST_LINE = 100_000  # characters; a longer line is no trace
BLOCKS = "blocks"  # column of block hashes, see pertoken.serving.prefixes.ranges
DEFAULT = "azure-2023-conversation"


def names() -> list[str]:
    """Names of the traces shipped."""
    return sorted(path.name.removesuffix(".csv.gz") for path in (ROOT / "traces").glob("*.csv.gz"))


@cache
def _shipped(name: str, prefix_cache: float | None) -> Lengths:
    path = ROOT / "traces" / f"{name}.csv.gz"
    head, rows = gzip.decompress(path.read_bytes()).decode("ascii").split("\n", 1)
    if head != "arrival_s,input,output":
        return _from_rows(_rows(iter(StringIO(f"{head}\n{rows}")), name, prefix_cache), name)
    table = np.fromstring(rows.strip().replace("\n", ","), sep=",").reshape(-1, 3)  # a third of the time of loadtxt
    return Lengths(table[:, 1].copy(), table[:, 2].copy(), f"trace {name}, {len(table):,} requests")


def lines(path: Path) -> Iterator[str]:
    """Lines of a text file one by one, refused when one is no line of a table."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        while line := file.readline(MOST_LINE + 1):
            if len(line) > MOST_LINE:
                raise PertokenError(
                    f"{path.name} has a line of over {MOST_LINE:,} characters; a trace is a CSV of requests"
                )
            yield line


def _rows(lines: Iterator[str], where: str, prefix_cache: float | None) -> Iterator[tuple[Any, ...]]:
    """Line, input, output and, where the trace tells it, cached tokens of each request of a CSV."""
    reader = csv.reader(lines)
    try:
        header = next(reader, None)
        if header is None:
            raise PertokenError(f"{where} is empty; give a CSV with input and output columns")
        at, blocks = pick(header, where), header.index(BLOCKS) if BLOCKS in header else None
        kept, last = PrefixCache(prefix_cache), max(pick(header, where).last, blocks or 0)
        for row in reader:
            if not row:
                continue
            line = reader.line_num
            if len(row) <= last:
                raise PertokenError(f"{where} line {line}: {len(row)} cells, too few; mend the line")
            tokens = added(row, at.input, "input", line, where, (1.0, MOST_TOKENS))
            output = added(row, at.output, "output", line, where, (1.0, MOST_TOKENS))
            if blocks is not None:
                hashes = from_ranges(row[blocks], int(tokens // BLOCK) + 1)
                yield line, tokens, output, kept.find(hashes, tokens)
            elif at.cached:
                yield line, tokens, output, added(row, at.cached, "cached", line, where, (0.0, MOST_TOKENS))
            else:
                yield line, tokens, output
    except csv.Error as error:
        raise PertokenError(f"{where} line {reader.line_num}: {error}; give a CSV") from error


def _json_rows(lines: Iterator[str], where: str, prefix_cache: float | None) -> Iterator[tuple[Any, ...]]:
    """The same from a line of JSON for each request, with ``hash_ids`` of blocks if it has them (Mooncake's form)."""
    kept = PrefixCache(prefix_cache)
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            found = json.loads(text)
        except (json.JSONDecodeError, RecursionError, ValueError) as error:
            raise PertokenError(f"{where} line {line} is not JSON: {str(error)[:60]}; mend the line") from error
        if not isinstance(found, dict):
            raise PertokenError(f"{where} line {line} holds no object; write one request a line")
        at = pick(list(found), f"{where} line {line}")
        row = ["" if isinstance(v, bool | list | dict) or v is None else str(v) for v in found.values()]
        tokens = added(row, at.input, "input", line, where, (1.0, MOST_TOKENS))
        output = added(row, at.output, "output", line, where, (1.0, MOST_TOKENS))
        hashes = found.get("hash_ids")
        if isinstance(hashes, list) and len(hashes) <= tokens // BLOCK + 1 and all(type(h) is int for h in hashes):
            yield line, tokens, output, kept.find(hashes, tokens)
        elif hashes is not None:
            raise PertokenError(
                f"{where} line {line}: hash_ids must be whole numbers, one for each {BLOCK} tokens of the input; mend the line"
            )
        else:
            yield (
                line,
                tokens,
                output,
                added(row, at.cached, "cached", line, where, (0.0, MOST_TOKENS)) if at.cached else 0.0,
            )


def _from_rows(rows: Iterator[tuple[Any, ...]], where: str) -> Lengths:
    return lengths_from_rows(_at_most(rows, where), where)


def _at_most(rows: Iterator[tuple[Any, ...]], where: str) -> Iterator[tuple[Any, ...]]:
    for count, row in enumerate(rows):
        if count >= MOST_REQUESTS:
            raise PertokenError(f"{where} has over {MOST_REQUESTS:,} requests; give a sample of it")
        yield row


def _read(path: Path, prefix_cache: float | None) -> Lengths:
    read = _json_rows if path.suffix.lower() in (".jsonl", ".ndjson") else _rows
    return _from_rows(read(lines(path), path.name, prefix_cache), path.name)


_uploaded = lru_cache(4)(_read)  # the file of an upload's ID never changes, and each move of a slider asks for it


def load_lengths(text: str, prefix_cache: float | None = None) -> Lengths:
    """Lengths of a shipped trace by name, or of a CSV or JSONL file; read line by line.

    Parameters
    ----------
    text : str
        Name or path.
    prefix_cache : float, optional
        Tokens that the cache keeps whose hits block hashes tell; everything if None [token].

    Raises
    ------
    PertokenError
        When it is neither, or a line cannot be read; nothing is skipped silently.
    """
    if text in names():
        return _shipped(text, prefix_cache)
    path = own(text)
    try:
        if path and path.is_file():
            return (_uploaded if UPLOAD.fullmatch(text.strip()) else _read)(path, prefix_cache)
    except OSError as error:
        raise PertokenError(f"trace {text[:60]!r} cannot be read: {error.strerror}; give another") from error
    raise PertokenError(
        f"trace {text[:60]!r} is no file; give a CSV with input and output columns, or {', '.join(names())}"
    )
