"""The application: the page's files, the API, and the guard around both."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pertoken.web import api, catalog, openapi
from pertoken.web.desk import Declined, Desk
from pertoken.web.files import Files
from pertoken.web.guard import Guard, Stop, error
from pertoken.web.jobs import JSON, Answer, answered
from pertoken.web.request import body_of, unless_left
from pertoken.web.runs import simulate

FRESH = {"cache-control": "no-store"}
LEFT = Response(status_code=499)  # nobody reads it


def refused(sentence: str, status: int, exit_code: int = 2, headers: Any = None) -> Response:
    """An error as every path answers it."""
    return Response(error(sentence, exit_code), status, {**FRESH, **(headers or {})}, JSON)


def sent(request: Request, found: Answer) -> Response:
    """An answer, unpacked for a client that takes no gzip."""
    headers = {**FRESH, "vary": "accept-encoding"}
    body = found.body
    if found.packed and "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
    elif found.packed:
        body = gzip.decompress(body)
    if found.name:
        headers["content-disposition"] = f'attachment; filename="{found.name}"'
    return Response(body, headers=headers, media_type=found.kind)


def _answering(job: str) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        body = await body_of(request)
        found = await unless_left(request, request.app.state.desk.answer(job, body))
        return sent(request, found) if found else LEFT

    return answer


async def _view(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in api.VIEWS:
        raise Stop(404, f"{name[:60]!r} is no view; use one of {', '.join(api.VIEWS)}")
    return await _answering(f"view/{name}")(request)


async def _catalog(request: Request) -> Response:
    return sent(request, await request.app.state.desk.answer("catalog", {}))


async def _upload(request: Request) -> Response:
    desk: Desk = request.app.state.desk
    kind = request.headers["content-type"].partition(";")[0].strip().lower()
    try:
        key = await desk.shelf.keep(request.stream(), kind, request.query_params.get("name", ""))
    except ClientDisconnect:
        return LEFT
    try:
        return sent(request, await desk.done("upload", {"id": key, "kind": kind}))
    except BaseException:
        desk.shelf.drop(key)
        raise


def _ready(found: Any) -> Callable[[Request], Any]:
    """What is the same for everybody."""
    answer = answered(found)

    async def ready(request: Request) -> Response:
        return sent(request, answer)

    return ready


async def _stopped(_: Request, problem: Exception) -> Response:
    """A sentence; what is left of a body that was refused is not read, so the connection ends."""
    assert isinstance(problem, Stop)
    code = problem.exit_code if isinstance(problem, Declined) else 2
    extra = {"connection": "close"} if problem.status in (408, 413) else {}
    if problem.status == 503:
        extra["retry-after"] = "2"
    return refused(problem.sentence, problem.status, code, extra)


async def _http(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    said = {404: "there is nothing at this path", 405: "this path is not asked in this way"}
    return refused(said.get(problem.status_code, str(problem.detail)), problem.status_code, headers=problem.headers)


async def _broken(_: Request, __: Exception) -> Response:
    return refused("this is a fault of pertoken, told on its terminal; please report it", 500)


def application(host: str = "127.0.0.1", names: Iterable[str] = (), workers: int | None = None) -> Any:
    """The page and its API as an ASGI application; see `pertoken.web.guard.Guard` and `pertoken.web.desk.Desk`."""

    files = Files()

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        app.state.desk = Desk(workers)
        warming = asyncio.gather(app.state.desk.warm(), files.bundle(app.state.desk), return_exceptions=True)
        try:
            yield
        finally:
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)
            app.state.desk.close()

    routes = [
        Route("/", files.index),
        Route("/static/{path:path}", files.static),
        Route("/api/knobs", _ready(catalog.knobs())),
        Route("/api/catalog", _catalog),
        Route("/api/openapi.json", _ready(openapi.description())),
        Route("/api/view/{name}", _view, methods=["POST"]),
        Route("/api/upload", _upload, methods=["POST"]),
        Route("/api/simulate", simulate, methods=["POST"]),
        *(
            Route(f"/api/{job}", _answering(job), methods=["POST"])
            for job in ("page", "chart", "export", *api.COMMANDS)
        ),
    ]
    handlers: Any = {Stop: _stopped, HTTPException: _http, Exception: _broken}
    return Guard(Starlette(routes=routes, exception_handlers=handlers, lifespan=living), host, names)
