"""Workers: processes that do one job at a time, few of them, each for so many seconds, killed when nobody waits any more."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pertoken.web import jobs
from pertoken.web.jobs import Answer, Refused

PRELOADED = [
    "pertoken.web.api",
    "pertoken.web.screen",
    "pertoken.scenario",
    "pertoken.report.drawings",
    "pertoken.report.figures",
]


class Busy(Exception):
    """Too many wait already."""


class Late(Exception):
    """A job took longer than it may."""


def processes() -> Any:
    """How processes are made: forked from a small one that has loaded what they need, where the system can."""
    able = multiprocessing.get_all_start_methods()
    found = multiprocessing.get_context("forkserver" if "forkserver" in able else "spawn")
    if found.get_start_method() == "forkserver":
        found.set_forkserver_preload(PRELOADED)
    return found


class Worker:
    """One process and the pipe to it."""

    def __init__(self, context: Any, uploads: Path) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=jobs.serve, args=(theirs, uploads), daemon=True)
        self.process.start()
        theirs.close()

    def do(self, job: str, body: str, tell: Callable[[Any], None]) -> Answer | Refused | None:
        """A job's answer, None when the process is gone. Blocks; ``tell`` hears what it says before."""
        try:
            self.pipe.send((job, body))
            while True:
                kind, found = self.pipe.recv()
                if kind == "done":
                    return found  # type: ignore[no-any-return]
                tell(found)
        except (EOFError, OSError):
            self.pipe.close()
            return None

    def end(self) -> None:
        """Kill it; whoever waits for it sees that it is gone."""
        self.process.kill()
        self.process.join()


class Crew:
    """A bounded number of workers, made when first needed.

    Parameters
    ----------
    size : int
        Processes.
    seconds : float
        Longest job [s].
    queue : int
        Most jobs that wait.
    uploads : Path
        Folder of uploads.
    """

    def __init__(self, size: int, seconds: float, queue: int, uploads: Path) -> None:
        self.seconds, self.queue, self.uploads = seconds, queue, uploads
        self.context = processes()
        self.threads = ThreadPoolExecutor(2 * size, "pertoken-crew")  # one that was left may end while its heir works
        self.workers: set[Worker] = set()
        self.free: list[Worker | None] = [None] * size  # None is a place without a process; the last used comes first
        self.line: deque[asyncio.Future[Worker | None]] = deque()

    async def do(self, job: str, body: str, tell: Callable[[Any], None] | None = None) -> Answer | Refused:
        """The answer of a job to a body in JSON. Cancelled, it kills the worker.

        Raises
        ------
        Busy, Late
            When too many wait, or it took too long.
        """
        worker = await self._taken()
        try:
            worker = worker or await self._in_thread(self._made)
            found: Answer | Refused | None = await asyncio.wait_for(
                self._in_thread(worker.do, job, body, tell or _ignore), self.seconds
            )
        except BaseException as problem:
            self._drop(worker)
            if isinstance(problem, TimeoutError):
                raise Late from problem
            raise
        if found is None:
            self._drop(worker)
            return Refused("a worker ended before it had answered", crash=True)
        self._give(worker)
        return found

    async def _taken(self) -> Worker | None:
        """A free worker, in the order of asking."""
        if self.free:
            return self.free.pop()
        if len(self.line) >= self.queue:
            raise Busy
        place: asyncio.Future[Worker | None] = asyncio.get_running_loop().create_future()
        self.line.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # given while leaving
                self._give(place.result())
            raise

    def _give(self, worker: Worker | None) -> None:
        """A worker to who has waited longest."""
        while self.line:
            place = self.line.popleft()
            if not place.done():
                place.set_result(worker)
                return
        self.free.append(worker)

    async def _in_thread(self, work: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *given)

    def _made(self) -> Worker:
        found = Worker(self.context, self.uploads)
        self.workers.add(found)
        return found

    def _drop(self, worker: Worker | None) -> None:
        if worker:
            self.workers.discard(worker)
            worker.end()
        self._give(None)

    def close(self) -> None:
        """Kill all."""
        for worker in list(self.workers):
            worker.end()
        self.threads.shutdown(wait=False)


def _ignore(line: Mapping[str, Any]) -> None:
    """What a job says before its answer, where nobody listens."""
