"""Takes requests to workers and brings back answers: what is kept is not asked twice, and what nobody awaits is stopped."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pertoken.web.cache import Kept
from pertoken.web.guard import Stop
from pertoken.web.jobs import Answer, Refused
from pertoken.web.uploads import Shelf
from pertoken.web.work import Busy, Crew, Late

GRACE_S = 1.0  # what nobody awaits any more may still end by itself: most views do, and a new worker costs more
MOVES_S, VIEWS_S, RUNS_S = 10.0, 30.0, 120.0  # the longest that a job of each crew may take
FRESH = ("simulate", "export", "upload")  # long, large, or different each time: never kept


class Desk:
    """All that the server holds: crews, answers kept, uploads.

    Parameters
    ----------
    workers : int, optional
        Processes for moves of sliders (default: one a core, 2 to 8).
    """

    def __init__(self, workers: int | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pertoken-page-"))
        self.shelf = Shelf(self.folder)
        size = workers or min(8, max(2, os.cpu_count() or 2))
        self.moves = Crew(size, MOVES_S, 1000, self.folder)
        self.views = Crew(2, VIEWS_S, 100, self.folder)
        self.runs = Crew(2, RUNS_S, 10, self.folder)
        self.kept = Kept()
        self.flying: dict[bytes, tuple[asyncio.Task[Answer], list[None]]] = {}

    def crew(self, job: str, body: Any = None) -> Crew:
        """Who does a job."""
        if job == "simulate" or (job == "export" and isinstance(body, dict) and body.get("what") == "simulate"):
            return self.runs
        return self.moves if job in ("page", "price", "catalog") else self.views

    async def warm(self) -> None:
        """Start what the first visitor would wait for."""
        from pertoken.web.catalog import START

        body = {"knobs": START, "charts": []}
        await asyncio.gather(*(self.moves.do("page", written(body)) for _ in self.moves.free[:]))

    async def answer(self, job: str, body: Any) -> Answer:
        """A job's answer: kept, on its way already, or made now. Cancelled by the last who awaits it, it is stopped.

        Raises
        ------
        Stop
            With the sentence to answer instead.
        """
        if job in FRESH:
            return await self.done(job, body)
        key = hashlib.sha256(f"{dt.datetime.now(tz=dt.UTC).date()} {job} {written(body)}".encode()).digest()
        found = self.kept.get(key)
        if found:
            return found
        task, awaiting = self.flying.get(key, (None, []))
        if task is None:
            task = asyncio.create_task(self._kept(key, job, body))
            self.flying[key] = (task, awaiting)
            task.add_done_callback(lambda ended: self._landed(key, ended))
        awaiting.append(None)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if len(awaiting) == 1 and self.crew(job) is not self.moves:  # a move ends sooner than a worker starts
                asyncio.get_running_loop().call_later(GRACE_S, _stopped, task, awaiting)
            raise
        finally:
            awaiting.pop()

    def _landed(self, key: bytes, ended: asyncio.Task[Answer]) -> None:
        """Forget a job that ended; if nobody awaits it any more, nobody hears what was wrong with it."""
        self.flying.pop(key, None)
        if not ended.cancelled():
            ended.exception()

    async def _kept(self, key: bytes, job: str, body: Any) -> Answer:
        found = await self.done(job, body)
        self.kept.put(key, found)
        return found

    async def done(self, job: str, body: Any, tell: Callable[[Any], None] | None = None) -> Answer:
        """A job's answer, made now; ``tell`` hears how far it is.

        Raises
        ------
        Stop
            With the sentence to answer instead.
        """
        crew = self.crew(job, body)
        try:
            found = await crew.do(job, written(body), tell)
        except Busy as problem:
            raise Stop(503, "too much is being computed already; try again in a few seconds") from problem
        except Late as problem:
            raise Stop(
                422,
                f"this took over {crew.seconds:g} s and was stopped; name a machine, ask for less, or use the command",
            ) from problem
        if isinstance(found, Refused):
            raise refusal(found)
        return found

    def close(self) -> None:
        """End all processes and forget all uploads."""
        for crew in (self.moves, self.views, self.runs):
            crew.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def written(body: Any) -> str:
    """A body as JSON, the same for the same knobs in any order; what workers are sent.

    Raises
    ------
    Stop
        When it is nested too deeply.
    """
    try:
        return json.dumps(body, sort_keys=True)
    except RecursionError as problem:
        raise Stop(400, "the body is nested too deeply; send knobs as a flat object") from problem


def _stopped(task: asyncio.Task[Answer], awaiting: list[None]) -> None:
    """End a job unless somebody has asked for it again."""
    if not awaiting:
        task.cancel()


class Declined(Stop):
    """What pertoken itself refuses, with the command's exit status."""

    def __init__(self, found: Refused) -> None:
        super().__init__(422 if found.exit_code == 3 else 400, found.sentence)
        self.exit_code = found.exit_code


def refusal(found: Refused) -> Stop:
    """A refusal as an answer; a fault of ours goes to the terminal, not to the page."""
    if not found.crash:
        return Declined(found)
    print(found.sentence, file=sys.stderr)  # noqa: T201
    return Stop(500, "this is a fault of pertoken, told on its terminal; please report it")
