"""The application: the page's files, the API, and the guard around both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pertoken.errors import PertokenError
from pertoken.web import api
from pertoken.web.asked import Asked

STATIC = Path(__file__).parent / "static"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def error(sentence: str, status: int, exit_code: int = 2) -> JSONResponse:
    """An error as every path answers it."""
    return JSONResponse({"error": sentence, "exit_code": exit_code}, status)


async def _asked(request: Request) -> Asked:
    try:
        return Asked(json.loads(await request.body()))
    except (ValueError, RecursionError) as problem:
        if isinstance(problem, PertokenError):
            raise
        raise PertokenError(f"the body is not JSON: {str(problem)[:80]}") from problem


def _answering(job: Callable[[Asked], Any]) -> Any:
    async def answer(request: Request) -> Response:
        asked = await _asked(request)
        found = await asyncio.to_thread(lambda: api.as_bytes(job(asked)))
        return Response(found, media_type="application/json", headers={"cache-control": "no-store"})

    return answer


async def _view(request: Request) -> Response:
    name = request.path_params["name"]
    return await _answering(lambda asked: api.view(name, asked))(request)  # type: ignore[no-any-return]


async def _knobs(request: Request) -> Response:  # noqa: ARG001
    from pertoken.web.catalog import knobs

    return JSONResponse(knobs(), headers={"cache-control": "no-store"})


async def _catalog(request: Request) -> Response:  # noqa: ARG001
    from pertoken.web.catalog import catalog

    return JSONResponse(await asyncio.to_thread(catalog), headers={"cache-control": "no-store"})


async def _index(request: Request) -> Response:  # noqa: ARG001
    return FileResponse(STATIC / "index.html")


async def _bundle(request: Request) -> Response:  # noqa: ARG001
    from pertoken.web.bundle import bundle

    return Response(await asyncio.to_thread(bundle), media_type="text/javascript")


async def _refused(request: Request, problem: Exception) -> Response:  # noqa: ARG001
    assert isinstance(problem, PertokenError)
    return error(str(problem), 422 if problem.exit_code == 3 else 400, problem.exit_code)


async def _http(request: Request, problem: Exception) -> Response:  # noqa: ARG001
    assert isinstance(problem, HTTPException)
    return error(str(problem.detail).lower(), problem.status_code)


class _Headers:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", CSP.encode())]
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)


def application() -> Any:
    """The page and its API as an ASGI application."""
    routes = [
        Route("/", _index),
        Route("/static/vega.js", _bundle),
        Mount("/static", StaticFiles(directory=STATIC)),
        Route("/api/knobs", _knobs),
        Route("/api/catalog", _catalog),
        Route("/api/view/{name}", _view, methods=["POST"]),
        *(Route(f"/api/{name}", _answering(job), methods=["POST"]) for name, job in api.LIGHT.items()),
    ]
    return _Headers(Starlette(routes=routes, exception_handlers={PertokenError: _refused, HTTPException: _http}))
