"""Listens, says where, and stops cleanly."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import webbrowser
from collections.abc import Callable, Sequence

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pertoken.errors import PertokenError
from pertoken.web.app import application
from pertoken.web.guard import is_address

HEAD_S = 15.0  # the longest that a client may take over the head of a request
READ_S = 60.0  # the longest that a client may take over the rest of an answer
MOST_CONNECTIONS = 800  # below the usual 1,024 open files of a process


class Patient(H11Protocol):  # type: ignore[misc,unused-ignore]
    """HTTP that does not wait for ever: who connects and says nothing, or only a part of it, is let go."""

    _until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override,unused-ignore]
        """Somebody connects."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Somebody speaks; once a request's head is whole the application says how long its body may take."""
        super().data_received(data)
        between = self.cycle is None or self.cycle.response_complete
        if between and not self._until:
            self._wait()
        elif self._until and not between:
            self._until.cancel()
            self._until = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Somebody leaves."""
        super().connection_lost(exc)
        if self._until:
            self._until.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked; what is not read soon is given up."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(READ_S, self.transport.abort)

    def _wait(self) -> None:
        self._until = self.loop.call_later(HEAD_S, self.transport.abort)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises
    ------
    PertokenError
        When the address is none of this machine's, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = found[0]
    except (OSError, UnicodeError) as error:
        raise PertokenError(
            f"--host is {host[:60]!r}, which is no address of this machine; leave it out for 127.0.0.1"
        ) from error
    door = socket.socket(family, kind, proto)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(512)
    except OSError as error:
        door.close()
        raise PertokenError(
            f"port {port} of {host[:60]} cannot be listened on: {error.strerror}; give another --port, or 0 for a free one"
        ) from error
    return door


def address_of(door: socket.socket) -> str:
    """What to type into a browser on this machine."""
    name, port = door.getsockname()[:2]
    if ipaddress.ip_address(name.partition("%")[0]).is_unspecified:
        name = "127.0.0.1"
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def run(host: str, port: int, names: Sequence[str], opened: bool, say: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Parameters
    ----------
    host, port : str, int
        Where to listen; port 0 takes a free one.
    names : sequence of str
        Names of this machine, besides localhost, by which browsers may ask for it.
    opened : bool
        Whether to open a browser.
    say : callable
        Told the address.
    """
    door = listen(host, port)
    bound = door.getsockname()[0]
    known = [*names, *([] if is_address(host) else [host])]
    config = uvicorn.Config(
        application(bound, known), http=Patient, ws="none", log_level="warning", access_log=False, lifespan="on",
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=2, limit_concurrency=MOST_CONNECTIONS,
    )  # fmt: skip
    address = address_of(door)
    say(f"pertoken: the page is at {address} (Ctrl-C ends it)")
    if not ipaddress.ip_address(bound.partition("%")[0]).is_loopback:
        say("pertoken: it listens to other machines too; whoever reaches this one can use it")
    if opened:
        webbrowser.open(address)
    try:
        uvicorn.Server(config).run(sockets=[door])
    except KeyboardInterrupt:
        say("pertoken: ended")
    finally:
        door.close()
