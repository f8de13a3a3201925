"""The application spoken to without a socket, and a server of its own for what needs one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from starlette.testclient import TestClient

from pertoken.web.app import application

KNOBS = {"model": "llama-3.1-8b", "on": "h100-sxm", "input": 1000, "output": 100}
SERVE = (sys.executable, "-c", "from pertoken.cli.main import run; run()", "serve")


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    with TestClient(application(), base_url="http://127.0.0.1:8000") as found:
        yield found


@pytest.fixture
def knobs() -> dict:
    return dict(KNOBS)


@dataclass
class Server:
    """A running ``pertoken serve``."""

    process: subprocess.Popen
    url: str

    def post(self, path: str, body: dict, timeout: float = 60.0) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=timeout)


def started(*arguments: str) -> Server:
    """A server on a free port, as soon as it has said its address."""
    process = subprocess.Popen([*SERVE, "--port", "0", *arguments], stderr=subprocess.PIPE, text=True)
    said = process.stderr.readline()
    found = re.search(r"http://\S+/", said)
    assert found, said
    return Server(process, found[0].rstrip("/"))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    found = started()
    yield found
    found.process.terminate()
    found.process.wait(20)
    found.process.stderr.close()
