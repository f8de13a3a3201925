"""The cases of a sweep: a finished one is kept, one that fails is told and not fatal, and an interrupt keeps what is done."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import active_children, get_context
from os import cpu_count
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from pertoken import __version__
from pertoken.errors import PertokenError
from pertoken.report.document import clean
from pertoken.report.export import write_whole
from pertoken.report.simulation_cases import Row
from pertoken.simulation import Case
from pertoken.sweeping.apart import Job, run_apart

INTERRUPTED = "interrupted before it was done"


@dataclass(frozen=True)
class Cell:
    """One case of a sweep.

    Parameters
    ----------
    given : mapping
        Knobs and options, as the command takes them.
    search : bool
        Whether the highest rate that meets the goals is looked for.
    """

    given: dict[str, Any]
    search: bool = False

    @property
    def name(self) -> str:
        """A name that no other case has, and the same case always; files that it refers to count by what they hold."""
        files = {key: found for key, value in self.given.items() if (found := _content(str(value)))}
        known = {"version": __version__, "given": self.given, "search": self.search, "files": files}
        return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _content(text: str) -> str:
    try:
        path = Path(text).expanduser()
        path = path / "config.json" if path.is_dir() else path
        found = path.stat() if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return ""
    return _digest(path, found.st_mtime_ns, found.st_size) if found else ""


@lru_cache(maxsize=256)
def _digest(path: Path, changed: int, size: int) -> str:  # noqa: ARG001 - a changed file is read anew
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_cell(cell: Cell) -> Row:
    """Figures of one case; what goes wrong is told in ``error``."""
    try:
        if "policy" in cell.given:
            found = run_apart(Job(cell.given, cell.search))
        else:
            case = Case.of(cell.given)
            found = case.search() if cell.search else case.run()
        if found.partial:
            raise KeyboardInterrupt
        return {**clean(found.row()), "error": None}
    except PertokenError as error:
        return {"error": str(error)}
    except KeyboardInterrupt:
        return {"error": INTERRUPTED}
    except Exception as error:  # a worker must not take the others with it
        return {"error": f"{type(error).__name__}: {error}"}


def _kept(folder: Path | None, cell: Cell) -> Row | None:
    if folder is None:
        return None
    try:
        found = json.loads((folder / f"{cell.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "error" in found else None


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started meanwhile do not hear Ctrl-C, which a terminal sends to all; this one ends them."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Cores(ProcessPoolExecutor):
    """Processes of this machine, which end at once when they are no longer wanted."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, mp_context=get_context("spawn"))
        self.others = set(active_children())

    def stop(self) -> None:
        """End what runs."""
        self.shutdown(wait=False, cancel_futures=True)
        for child in set(active_children()) - self.others:
            child.terminate()


def make_folder(text: str) -> Path:
    """The folder of ``--keep``, or a sentence."""
    try:
        folder = Path(text).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:  # no such user, or a null character
        why = getattr(error, "strerror", None) or error
        raise PertokenError(f"--keep {text[-100:]!r} cannot be made: {why}; give another") from error
    return folder


def run_cells(
    cells: Sequence[Cell],
    folder: Path | None = None,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    cluster: Callable[[], Any] | None = None,
) -> tuple[list[Row], bool]:
    """Rows of all cells in their order, and whether Ctrl-C ended the sweep before all were done.

    Parameters
    ----------
    cells : sequence of Cell
        What to run.
    folder : Path, optional
        Of `make_folder`, where finished cells are kept, and found again by the next run; failed ones are tried anew.
    workers : int
        Processes; 0 for one a core.
    progress : callable, optional
        Told how many cells were run, and how many are left.
    cluster : callable, optional
        Gives the executor that runs the cells instead of processes of this machine: its ``submit`` takes `run_cell` and a
        cell, and its ``stop`` ends all.

    Raises
    ------
    PertokenError
        When workers are out of range, or the folder cannot be written to.
    """
    if not 0 <= workers <= 1024:
        raise PertokenError(f"--workers is {workers}; it must be from 0 to 1,024")
    rows: dict[int, Row] = {k: row for k, cell in enumerate(cells) if (row := _kept(folder, cell)) is not None}
    left = [k for k in range(len(cells)) if k not in rows]
    ended = False
    if left:
        if progress:
            progress(0, len(left))
        pool = cluster() if cluster else Cores(min(workers or cpu_count() or 1, len(left)))
        ended = _collect(pool, cells, left, rows, folder, progress)
    found: list[Row] = []
    for k, cell in enumerate(cells):
        given = {name: str(value) for name, value in cell.given.items()}
        row = rows.get(k, {"error": INTERRUPTED})
        found.append({"case": k + 1, **given, **{name: value for name, value in row.items() if name not in given}})
    return found, ended


def _collect(
    pool: Executor, cells: Sequence[Cell], left: Sequence[int], rows: dict[int, Row], folder: Path | None,
    progress: Callable[[int, int], None] | None,
) -> bool:  # fmt: skip
    """Run what is left; whether an interrupt ended it."""
    with _deaf():
        waiting: dict[Future[Row], int] = {pool.submit(run_cell, cells[k]): k for k in left}
    try:
        for count, done in enumerate(as_completed(waiting), 1):
            k = waiting[done]
            try:
                rows[k] = done.result()
            except Exception as error:  # the process died
                rows[k] = {"error": f"{type(error).__name__}: {error}"}
            if folder is not None and rows[k].get("error") is None:
                write_whole(folder / f"{cells[k].name}.json", json.dumps(rows[k]) + "\n")
            if progress:
                progress(count, len(left) - count)
    except KeyboardInterrupt:
        return True
    finally:
        pool.stop()  # type: ignore[attr-defined]
    return False
