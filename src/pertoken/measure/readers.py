"""Result files of load generators, told apart by what they hold: whichever tool wrote them, runs come out.

No tool is needed to read its files. A file is one JSON object, a list of them, or one a line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pertoken.errors import PertokenError
from pertoken.measure.formats import aiperf, guidellm, inference_perf, llama_bench, vllm
from pertoken.measure.runs import Run

MOST_BYTES = 512 * 2**20  # of a JSON file, detailed results included
MOST_LINE = 16 * 2**20
OBJECTS = (guidellm, aiperf, inference_perf, llama_bench, vllm)
LINES = (aiperf, inference_perf)
TOOLS = ", ".join(kind.TOOL for kind in OBJECTS)


def read_documents(path: Path) -> list[Any]:
    """The JSON values of a file: its one value, the items of its one list, or one a line.

    Raises
    ------
    PertokenError
        Naming the line or the size that cannot be read.
    """
    shown = str(path)[-120:]
    try:
        if not path.is_file():
            raise PertokenError(
                f"{shown!r} is not a file; check the path, or give http:// or https:// to measure a server"
            )
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise PertokenError(
                f"{shown!r} has {size:,} bytes; at most {MOST_BYTES:,} are read: leave out detailed results"
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PertokenError(f"{shown!r} is not UTF-8 text (byte {error.start}); give a result file") from error
    except OSError as error:
        raise PertokenError(f"{shown!r} cannot be read: {error.strerror}; give a file that can") from error
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return list(_lines(text, shown))
    return whole if isinstance(whole, list) else [whole]


def _lines(text: str, shown: str) -> Iterator[Any]:
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if len(line) > MOST_LINE:
            raise PertokenError(f"{shown!r}, line {place} has {len(line):,} characters; is it a result file?")
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise PertokenError(
                f"{shown!r}, line {place} is not JSON: {str(error)[:80]}; give a result file"
            ) from error


def runs_of(documents: list[Any], name: str) -> list[Run]:
    """The runs that a file's JSON values hold.

    Raises
    ------
    PertokenError
        When no known tool writes such values.
    """
    found: list[Run] = []
    for kind in LINES:
        if kind.match_lines(documents):
            return _kept(_read(kind.TOOL, kind.read_lines, documents, name), name)
    for place, data in enumerate(documents, 1):
        tool = next((kind for kind in OBJECTS if kind.match(data)), None)
        if tool is None:
            where = f", value {place}" if len(documents) > 1 else ""
            raise PertokenError(
                f"{name[-80:]!r}{where} is of no known tool; known are {TOOLS}, and records of pertoken measure"
            )
        found += _read(tool.TOOL, tool.read, data, name if len(documents) == 1 else f"{name} [{place}]")
    return _kept(found, name)


def _read(tool: str, read: Callable[[Any, str], list[Run]], data: Any, name: str) -> list[Run]:
    """What a tool's reader finds; damage is a sentence."""
    try:
        return read(data, name)
    except (TypeError, AttributeError, KeyError, IndexError, ZeroDivisionError, OverflowError) as error:
        raise PertokenError(f"{name[-80:]!r} looks like {tool}'s, but is damaged: {str(error)[:80]}") from error


def _kept(found: list[Run], name: str) -> list[Run]:
    """Runs with figures; without any the file is refused."""
    kept = [run for run in found if run.measured and run.input > 0]
    if not kept:
        why = (
            f"{sum(run.failed for run in found):,} requests failed"
            if any(run.failed for run in found)
            else "it has none"
        )
        raise PertokenError(f"{name[-80:]!r} holds no run with lengths and times ({why}); give a run that was answered")
    return kept
