"""Listens, says where, and stops cleanly."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable

import uvicorn

from pertoken.errors import PertokenError
from pertoken.web.app import application


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises
    ------
    PertokenError
        When the address is none of this machine's, or the port is taken.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise PertokenError(
            f"--host is {host[:60]!r}, which is no address of this machine; leave it out for 127.0.0.1"
        ) from error
    found = socket.socket(family, kind, proto)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
        found.listen(512)
    except OSError as error:
        found.close()
        raise PertokenError(
            f"port {port} of {host[:60]} cannot be listened on: {error.strerror}; give another --port, or 0 for a free one"
        ) from error
    return found


def run(host: str, port: int, opened: bool, say: Callable[[str], None]) -> None:
    """Serve until interrupted."""
    door = listen(host, port)
    name, number = door.getsockname()[:2]
    address = f"http://{f'[{name}]' if ':' in name else name}:{number}/"
    config = uvicorn.Config(
        application(),
        log_level="warning",
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    say(f"pertoken: the page is at {address} (Ctrl-C ends it)")
    if opened:
        webbrowser.open(address)
    try:
        server.run(sockets=[door])
    except KeyboardInterrupt:
        pass
    finally:
        door.close()
