"""The application, spoken to without a socket."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the page is an extra")


@pytest.fixture(scope="session")
def client():
    from starlette.testclient import TestClient

    from pertoken.web.app import application

    with TestClient(application(), base_url="http://127.0.0.1:8000") as found:
        yield found
