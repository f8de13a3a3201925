"""What is read of a request, and whether the one who made it is still there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.types import Receive

from pertoken.web.guard import Stop


async def body_of(request: Request) -> Any:
    """A body of JSON.

    Raises
    ------
    Stop
        When it is none.
    """
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as problem:
        raise Stop(400, f"the body is not JSON: {str(problem)[:80]}") from problem


async def unless_left(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """What the work returns; None, and the work is stopped, when the client leaves before."""
    task, leaving = asyncio.create_task(work), asyncio.create_task(left(request.receive))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, leaving):
            one.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def left(receive: Receive) -> None:
    """Returns when the client leaves; its body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
