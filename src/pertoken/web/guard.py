"""What is looked at before any path: who asks, from which page, in which form, how much and how slowly.

A page of another site can make a browser send requests to this machine, and can point a name of its own at it
(DNS rebinding). So Host must be this machine by address, or a name that was allowed; Origin must be the page itself; and what
changes or computes something needs a content type that no plain form sends.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
LOCAL = ("localhost", "127.0.0.1", "::1")
JSON = ("application/json",)
UPLOADED = ("text/csv", "application/json", "application/x-ndjson")
MOST_BODY = 256 * 2**10  # bytes of a JSON request
MOST_UPLOAD = 20 * 2**20
BODY_S, SEND_S = 20.0, 60.0  # the longest that a client may take over a body, and over a piece of an answer
UPLOAD_S = 120.0


class Stop(Exception):
    """A request that is not answered further."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def error(sentence: str, exit_code: int = 2) -> bytes:
    """An error as every path answers it."""
    return json.dumps({"error": sentence, "exit_code": exit_code}).encode()


def hostname(host: str) -> str:
    """The name of a Host header without its port, in small letters; empty where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    plain = parts.netloc == host and not (parts.username or parts.password or parts.path or parts.query)
    return (parts.hostname or "").rstrip(".") if plain else ""


def is_address(name: str) -> bool:
    """Whether a name is an IP address, which no name server can point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """An ASGI application around another.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    host : str
        Address that is listened on; any but a loopback one lets in every IP address of this machine.
    names : iterable of str
        Further names that Host may be.
    """

    def __init__(self, app: Any, host: str = "127.0.0.1", names: Iterable[str] = ()) -> None:
        self.app = app
        self.names = {*LOCAL, *(name.lower() for name in names)}
        self.open = host not in LOCAL

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
            self.check(scope["method"], scope["path"], headers)
            body = _Body(receive, *_limits(scope["path"]))
            body.announced(headers.get("content-length"))
            await self.app(scope, body, answer)
        except Stop as stop:
            await answer.stop(stop)

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Refuse what does not come from the page itself or from a program on this machine.

        Raises
        ------
        Stop
            With the status and a sentence.
        """
        host = headers.get("host", "")
        name = hostname(host)
        if name not in self.names and not (self.open and is_address(name)):
            raise Stop(421, f"this is not {host[:60]!r}; open the page at the address that pertoken serve said")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            raise Stop(403, f"requests from the page {origin[:60]!r} are not answered; use the page of pertoken itself")
        if method not in ("POST", "PUT", "PATCH", "DELETE"):
            return
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Stop(403, "requests from pages of other sites are not answered; use the page of pertoken itself")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        wanted = UPLOADED if path == "/api/upload" else JSON
        if method == "POST" and kind not in wanted:
            raise Stop(415, f"the content type is {kind[:60]!r}; send {' or '.join(wanted)}")


def _limits(path: str) -> tuple[int, float]:
    return (MOST_UPLOAD, UPLOAD_S) if path == "/api/upload" else (MOST_BODY, BODY_S)


class _Body:
    """Receives a body, as much of it and for as long as a client may send."""

    def __init__(self, receive: Any, most: int, seconds: float) -> None:
        self.receive, self.most = receive, most
        self.got, self.whole = 0, False
        self.until = asyncio.get_running_loop().time() + seconds

    def announced(self, length: str | None) -> None:
        """Refuse at once what says that it is too long."""
        if length and length.isdigit() and int(length[:20]) > self.most:
            raise self._long()

    def _long(self) -> Stop:
        return Stop(413, f"the body is too long; at most {self.most:,} bytes are read")

    async def __call__(self) -> Any:
        if self.whole:  # what comes now is that the client leaves
            return await self.receive()
        try:
            async with asyncio.timeout_at(self.until):
                message = await self.receive()
        except TimeoutError as problem:
            raise Stop(408, "the body took too long to arrive; send it again") from problem
        self.got += len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        if self.got > self.most:
            raise self._long()
        return message


class _Answer:
    """Sends an answer with the headers that all have."""

    def __init__(self, send: Any) -> None:
        self.send, self.started = send, False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        try:
            async with asyncio.timeout(SEND_S):
                await self.send(message)
        except TimeoutError as problem:
            raise OSError("the client does not read") from problem

    async def stop(self, stop: Stop) -> None:
        """A sentence in place of an answer; the connection ends, since the body may be on its way still."""
        if self.started:
            return
        body = error(stop.sentence)
        headers = [
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"), (b"connection", b"close"),
        ]  # fmt: skip
        await self({"type": "http.response.start", "status": stop.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})
