"""Many simulations on all cores: each cell is a case, a finished one is kept, and one that fails is told, not fatal."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any

from pertoken import __version__
from pertoken.errors import PertokenError
from pertoken.report.document import safe_cell
from pertoken.report.export import write_whole
from pertoken.report.simulation import clean
from pertoken.simulation import Case, Options

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One case of a sweep.

    Parameters
    ----------
    knobs : mapping
        As of ``pertoken price``.
    options : Options
        What else a simulation takes.
    """

    knobs: dict[str, Any]
    options: Options

    @property
    def name(self) -> str:
        """A name that no other case has, and the same case always."""
        known = {"version": __version__, "knobs": self.knobs, "options": asdict(self.options)}
        return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:24]


def run_cell(cell: Cell) -> Row:
    """The row of one case; what goes wrong is told in ``error``."""
    given = {key: str(value) for key, value in cell.knobs.items()}
    try:
        return clean({**given, **Case(cell.knobs, cell.options).run().row(), "error": None})  # type: ignore[no-any-return]
    except PertokenError as error:
        return {**given, "error": str(error)}
    except Exception as error:  # a worker must not take the others with it
        return {**given, "error": f"{type(error).__name__}: {error}"}


def _kept(folder: Path | None, cell: Cell) -> Row | None:
    if folder is None:
        return None
    try:
        found = json.loads((folder / f"{cell.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def run_cells(
    cells: Sequence[Cell],
    folder: Path | None = None,
    workers: int = 0,
    progress: Callable[[float], None] | None = None,
    executor: Executor | None = None,
) -> list[Row]:
    """Rows of all cells, in their order.

    Parameters
    ----------
    cells : sequence of Cell
        What to run.
    folder : Path, optional
        Where finished cells are kept, and found again by the next run; failed ones are tried anew.
    workers : int
        Processes; 0 for one a core.
    progress : callable, optional
        Told the share of cells that is done.
    executor : Executor, optional
        Runs the cells instead of processes of this machine.

    Raises
    ------
    PertokenError
        When the folder cannot be made, or workers are out of range.
    """
    if not 0 <= workers <= 1024:
        raise PertokenError(f"--workers is {workers}; it must be from 0 to 1,024")
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PertokenError(
                f"--keep {str(folder)[-100:]!r} cannot be made: {error.strerror}; give another"
            ) from error
    rows: dict[int, Row] = {k: row for k, cell in enumerate(cells) if (row := _kept(folder, cell)) is not None}
    left = [k for k in range(len(cells)) if k not in rows]
    if left:
        count = min(workers or cpu_count() or 1, len(left))
        pool = executor or ProcessPoolExecutor(count, mp_context=get_context("spawn"))
        with pool:
            _collect(pool, cells, left, rows, folder, progress)
    return [{"case": k + 1, **rows.get(k, {"error": "interrupted before it ran"})} for k in range(len(cells))]


def _collect(
    pool: Executor, cells: Sequence[Cell], left: Iterable[int], rows: dict[int, Row], folder: Path | None,
    progress: Callable[[float], None] | None,
) -> None:  # fmt: skip
    """Run what is left; an interrupt keeps what is done."""
    waiting = {pool.submit(run_cell, cells[k]): k for k in left}
    try:
        for done in as_completed(waiting):
            k = waiting[done]
            try:
                rows[k] = done.result()
            except Exception as error:  # the process died
                rows[k] = {"error": f"{type(error).__name__}: {error}"}
            if folder is not None and rows[k].get("error") is None:
                write_whole(folder / f"{cells[k].name}.json", json.dumps(rows[k]) + "\n")
            if progress:
                progress(len(rows) / len(cells))
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)


def failed(rows: Sequence[Row]) -> list[Row]:
    """Rows of cells that failed."""
    return [row for row in rows if row.get("error")]


def table(rows: Sequence[Row]) -> str:
    """All rows as CSV."""
    heads = list(dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row))
    heads = ["case", *(h for h in heads if h not in ("case", "error")), "error"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([safe_cell("" if row.get(h) is None else row[h]) for h in heads] for row in rows)
    return out.getvalue()
