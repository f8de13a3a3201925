"""A run that asks a user's policy, in a process of its own: what does not end there is ended; compiled code hears no signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pertoken.errors import PertokenError
from pertoken.report.simulation import Simulation
from pertoken.simulation import Case

PATIENCE = 60.0  # s without a sign of life in which a policy is read, or a few thousand requests are served


@dataclass(frozen=True)
class Job:
    """What the process does.

    Parameters
    ----------
    given : mapping
        Knobs and options, a policy among them.
    search, stream : bool
        Whether the highest rate is looked for, or single requests are not kept.
    path : Path or None
        Of a stream, where its requests are written.
    """

    given: Mapping[str, Any]
    search: bool = False
    stream: bool = False
    path: Path | None = None


def run_apart(
    job: Job, progress: Callable[[float], None] | None = None, tell: Callable[[str], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Simulation:  # fmt: skip
    """Run a job in a process of its own.

    Parameters
    ----------
    job : Job
        What to do.
    progress : callable, optional
        Told the share that is done. Where it raises ``KeyboardInterrupt``, or Ctrl-C is pressed, the run ends early.
    tell, note : callable, optional
        Told what a search tries, and how the policy runs where that is step by step.

    Raises
    ------
    PertokenError
        As `Case` and its runs; when the process is ended by the policy; and when it gives no sign of life for ``PATIENCE``.
    """
    context = get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_work, args=(there, job, os.getpid()), daemon=True)
    heard: dict[str, Callable[..., Any]] = {"share": progress or _no, "tell": tell or _no, "note": note or _no}
    patience: float | None = PATIENCE
    leftover: Path | None = None
    child.start()
    there.close()
    try:
        while True:
            try:
                kind, value = _next(here, patience, str(job.given["policy"]))
                if kind == "done":
                    return value  # type: ignore[no-any-return]
                if kind == "error":
                    raise value
                if kind == "file":
                    leftover = value
                elif kind == "patience":
                    patience = PATIENCE if value else None
                else:
                    heard[kind](value)
            except KeyboardInterrupt:
                here.send("stop")
    finally:
        child.kill()
        child.join()
        if leftover:
            leftover.unlink(missing_ok=True)


def _no(_: Any) -> None:
    """Nobody listens."""


def _next(here: Connection, patience: float | None, policy: str) -> tuple[str, Any]:
    """What the process says next."""
    if not here.poll(patience):
        raise PertokenError(
            f"policy {policy[-120:]} was ended after {patience:g} s without a sign of life: one of its functions does not end or"
            " takes too long, or all the file does; make them a few sums and comparisons"
        )
    try:
        found: tuple[str, Any] = here.recv()
    except EOFError as error:
        raise PertokenError(
            f"policy {policy[-120:]} ended its process; let its functions compute and no more"
        ) from error
    return found


def _work(conn: Connection, job: Job, parent: int) -> None:
    """The process: what it finds goes through the pipe, and nothing to stdout, whatever the policy prints."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells all processes; this one is told through the pipe
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        conn.send(("done", _simulation(conn, job)))
    except BaseException as error:
        known = isinstance(error, PertokenError | KeyboardInterrupt)
        conn.send(("error", error if known else PertokenError(f"{type(error).__name__}: {error}")))


def _end_with(parent: int) -> None:
    """End when the other process has."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _simulation(conn: Connection, job: Job) -> Simulation:
    case = Case.of(job.given)
    if case.own and case.own.why:
        conn.send(("note", case.own.said))
    conn.send(("patience", False))
    case.warm()  # compiling takes as long as it takes
    conn.send(("patience", True))

    def progress(share: float) -> None:
        conn.send(("share", share))
        if conn.poll():
            conn.recv()
            raise KeyboardInterrupt

    if job.stream:
        found = case.write(job.path, progress, lambda name: conn.send(("file", name)))
    else:
        found = case.search(progress, lambda text: conn.send(("tell", text))) if job.search else case.run(progress)
    found.policy = case.own.bare if case.own else None
    conn.send(("patience", False))  # a large result takes a while
    return found
