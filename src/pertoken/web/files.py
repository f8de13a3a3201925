"""The page's own files, packed once; and the charts' script, made when first asked for."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from pertoken.web.desk import Desk

STATIC = Path(__file__).parent / "static"
BUNDLE = "vega.js"
KINDS = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml", ".png": "image/png", ".json": "application/json", ".webmanifest": "application/manifest+json",
    ".ico": "image/x-icon",
}  # fmt: skip


class File:
    """One file with its ETag and its packed form."""

    def __init__(self, content: bytes, suffix: str) -> None:
        self.content, self.kind = content, KINDS[suffix]
        self.tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    @cached_property
    def packed(self) -> bytes:
        """As gzip."""
        return gzip.compress(self.content, 9, mtime=0)

    def answer(self, request: Request) -> Response:
        """The file, or that the client has it already; asked again each time, so that a new version is seen at once."""
        headers = {"etag": self.tag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.packed, headers={**headers, "content-encoding": "gzip"}, media_type=self.kind)
        return Response(self.content, headers=headers, media_type=self.kind)


class Files:
    """All files below the folder of the page, found by name in a list made beforehand, never by path."""

    def __init__(self, folder: Path = STATIC) -> None:
        self.paths = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in KINDS
        }
        self._read: dict[str, tuple[float, File]] = {}
        self._making = asyncio.Lock()

    def file(self, name: str) -> File:
        """A file by its name; read again when it changed, as it does while the page is being made."""
        path = self.paths.get(name)
        if path is None:
            raise HTTPException(404)
        changed = path.stat().st_mtime
        kept = self._read.get(name)
        if kept is None or kept[0] != changed:
            kept = self._read[name] = (changed, File(path.read_bytes(), path.suffix))
        return kept[1]

    async def index(self, request: Request) -> Response:
        """The page."""
        return self.file("index.html").answer(request)

    async def static(self, request: Request) -> Response:
        """What the page loads."""
        name = request.path_params["path"]
        if name == BUNDLE:
            return (await self.bundle(request.app.state.desk)).answer(request)
        return self.file(name).answer(request)

    async def bundle(self, desk: Desk) -> File:
        """The charts' script, made when it is first needed and no file of an earlier run holds it."""
        async with self._making:
            if BUNDLE not in self._read:
                made = await desk.done("bundle", {})
                self._read[BUNDLE] = (0.0, await asyncio.to_thread(File, gzip.decompress(made.body), ".js"))
        return self._read[BUNDLE][1]
