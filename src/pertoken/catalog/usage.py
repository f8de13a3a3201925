"""A user's consumption by day, from a CSV: input, cached and output tokens, and requests if known."""

from __future__ import annotations

import csv
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pertoken.catalog.files import own
from pertoken.catalog.traces import lines
from pertoken.errors import PertokenError
from pertoken.serving.columns import added, pick
from pertoken.serving.lengths import Array

MOST_DAYS = 100_000
MOST = 1e15  # tokens of a day
REQUESTS = ("requests", "num_requests", "request_count", "calls")


@dataclass(frozen=True)
class Usage:
    """Tokens of each day.

    Parameters
    ----------
    input, cached, written, output : ndarray
        Cached and written tokens are part of the input [token/day].
    requests : ndarray or None
        Where the table tells [request/day].
    name : str
        The file.
    """

    input: Array
    cached: Array
    written: Array
    output: Array
    requests: Array | None
    name: str

    @property
    def days(self) -> int:
        """How many."""
        return int(self.input.size)

    @property
    def cached_share(self) -> float:
        """Of the input [1]."""
        return float(self.cached.sum() / self.input.sum())

    @property
    def peak(self) -> float:
        """Tokens of the busiest day over those of a mean day [1]."""
        tokens = self.input + self.output
        return float(tokens.max() / tokens.mean())

    @property
    def requests_per_day(self) -> float | None:
        """Mean, where the table tells [request/day]."""
        return float(self.requests.mean()) if self.requests is not None else None


def read_usage(text: str) -> Usage:
    """A usage table.

    Raises
    ------
    PertokenError
        With the line, when a figure is missing, negative or no number; nothing is skipped.
    """
    path = own(text)
    try:
        if path is None or not path.is_file():
            raise PertokenError(
                f"--usage {text[-80:]!r} is no file; give a CSV with input, cached and output tokens a day"
            )
        return _read(path)
    except OSError as error:
        raise PertokenError(f"--usage {text[-80:]!r} cannot be read: {error.strerror}; give another") from error


def _read(path: Path) -> Usage:
    reader = csv.reader(lines(path))
    header = [name.strip().lower() for name in next(reader, [])]
    at = pick(header, path.name)
    asked = next((header.index(name) for name in REQUESTS if name in header), None)
    kept = {name: array("d") for name in ("input", "cached", "written", "output", "requests")}
    try:
        for row in reader:
            if not row:
                continue
            line = reader.line_num
            if len(row) <= max(at.last, asked or 0) or len(kept["input"]) >= MOST_DAYS:
                raise PertokenError(
                    f"{path.name} line {line}: {len(row)} cells, too few, or over {MOST_DAYS:,} days; mend it"
                )
            for name, places in (
                ("input", at.input),
                ("cached", at.cached),
                ("written", at.written),
                ("output", at.output),
            ):
                kept[name].append(added(row, places, name, line, path.name, (0.0, MOST)))
            if asked is not None:
                kept["requests"].append(added(row, (asked,), "requests", line, path.name, (0.0, MOST)))
            if kept["cached"][-1] + kept["written"][-1] > kept["input"][-1]:
                raise PertokenError(
                    f"{path.name} line {line}: cached and written tokens are part of the input, and here they are more than its"
                    f" {kept['input'][-1]:,.0f}; are columns swapped?"
                )
    except csv.Error as error:
        raise PertokenError(f"{path.name} line {reader.line_num}: {error}; give a CSV") from error
    found = {name: np.array(values) for name, values in kept.items()}
    if not found["input"].sum() > 0 or not found["output"].sum() > 0:
        raise PertokenError(f"{path.name} has no input or no output tokens; give a CSV with both, a line a day")
    requests = found["requests"] if asked is not None and found["requests"].sum() > 0 else None
    return Usage(found["input"], found["cached"], found["written"], found["output"], requests, path.name)
