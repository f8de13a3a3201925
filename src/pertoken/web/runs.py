"""Simulations: lines of JSON that tell how far a run is, then its result; a client that leaves stops it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from pertoken.web.guard import Stop
from pertoken.web.request import body_of, left


def _line(found: Mapping[str, Any]) -> bytes:
    return json.dumps(found, separators=(",", ":")).encode() + b"\n"


class Run:
    """A response that streams a run."""

    def __init__(self, desk: Any, body: Any) -> None:
        self.desk, self.body = desk, body

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        lines: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        job = asyncio.create_task(
            self.desk.done("simulate", self.body, lambda line: loop.call_soon_threadsafe(lines.put_nowait, line))
        )
        job.add_done_callback(lambda _: lines.put_nowait(None))
        leaving = asyncio.create_task(left(receive))
        leaving.add_done_callback(lambda _: job.cancel())
        try:
            first = await lines.get()
            if first is None and not job.cancelled() and job.exception():
                raise job.exception()  # type: ignore[misc]
            headers = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while first is not None:
                await _piece(send, first)
                first = await lines.get()
            if not job.cancelled():
                await _piece(send, _result(job))
            await send({"type": "http.response.body", "body": b""})
        finally:
            job.cancel()
            leaving.cancel()
            await asyncio.gather(job, leaving, return_exceptions=True)


async def _piece(send: Send, found: Mapping[str, Any]) -> None:
    await send({"type": "http.response.body", "body": _line(found), "more_body": True})


def _result(job: asyncio.Task[Any]) -> Mapping[str, Any]:
    problem = job.exception()
    if isinstance(problem, Stop):
        return {"error": problem.sentence, "exit_code": getattr(problem, "exit_code", 2)}
    if problem:
        raise problem
    found = job.result()
    return {"result": json.loads(gzip.decompress(found.body) if found.packed else found.body)}


async def simulate(request: Request) -> Any:
    """A run of what was asked."""
    return Run(request.app.state.desk, await body_of(request))
