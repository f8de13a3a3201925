"""Only the page itself and programs on this machine are answered; names of strangers' making open no file."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pertoken.catalog import arrivals, files, machines, models, traces, usage
from pertoken.errors import PertokenError
from pertoken.scenario import parse_on
from pertoken.web.app import application
from pertoken.web.guard import MOST_BODY, Guard, Stop, hostname, is_address

GOOD = {"knobs": {"model": "llama-3.1-8b", "on": "h100-sxm", "input": 10, "output": 10}}


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "localhost.:1"])
def test_this_machine_is_answered(client, host):
    assert client.get("/api/knobs", headers={"host": host}).status_code == 200


BAD_HOSTS = [
    "evil.example", "127.0.0.1.evil.example", "evil.example:8000", "192.168.1.5:8000", "", "a@localhost", "localhost/x",
    "localhost:x", "localhost#", "127.0.0.1:99999", "[::1", "0x7f.1", "2130706433", "local host",
]  # fmt: skip


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_a_name_that_was_pointed_here_is_not(client, host):
    found = client.get("/", headers={"host": host})
    assert found.status_code == 421 and set(found.json()) == {"error", "exit_code"}


def test_a_machine_that_listens_to_others_knows_its_addresses_and_names_alone():
    guard = Guard(None, "0.0.0.0", ["box.lan"])
    for host in ("10.0.0.7:8000", "box.lan", "localhost", "[fe80::1]:8000"):
        guard.check("GET", "/", {"host": host})
    with pytest.raises(Stop) as stop:
        guard.check("GET", "/", {"host": "evil.example"})
    assert stop.value.status == 421


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9", "https://localhost", "file://", ""]
)
@pytest.mark.parametrize("path", ["/api/price", "/api/upload", "/api/export"])
def test_a_page_of_another_site_is_refused(client, origin, path):
    found = client.post(path, json=GOOD, headers={"origin": origin})
    assert found.status_code == 403 and "page" in found.json()["error"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_so_is_what_a_browser_says_comes_from_one(client, site):
    assert client.post("/api/price", json=GOOD, headers={"sec-fetch-site": site}).status_code == 403


def test_the_page_itself_is_answered(client):
    headers = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/api/price", json=GOOD, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/csv"]
)
def test_a_form_is_no_request(client, kind):
    found = client.post("/api/price", content=json.dumps(GOOD), headers={"content-type": kind})
    assert found.status_code == 415


@pytest.mark.parametrize("path", ["/", "/api/knobs", "/nope", "/api/price"])
def test_every_answer_carries_the_policy(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin" and "access-control-allow-origin" not in headers


def test_a_long_body_is_refused_whether_it_says_so_or_not(client):
    headers = {"content-type": "application/json"}
    long = b" " * (MOST_BODY + 1)
    assert client.post("/api/price", content=long, headers=headers).status_code == 413
    assert client.post("/api/price", content=iter([long[:1000]] * 1000), headers=headers).status_code == 413


def test_a_slow_body_is_not_awaited_for_ever(monkeypatch):
    monkeypatch.setattr("pertoken.web.guard.BODY_S", 0.2)

    async def app(scope, receive, send):
        await receive()

    async def never():
        await asyncio.sleep(60)

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/price",
             "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")]}  # fmt: skip
    start = time.monotonic()
    asyncio.run(Guard(app)(scope, never, send))
    assert sent[0]["status"] == 408 and time.monotonic() - start < 5


def test_websockets_are_closed(client):
    with pytest.raises(Exception, match=r".*"), client.websocket_connect("/"):
        pass


def test_hosts_are_read_strictly():
    assert hostname("[::1]:80") == "::1" and hostname("LocalHost:1") == "localhost" and hostname("a b") != "localhost"
    assert hostname("x@localhost") == hostname("localhost/") == ""
    assert is_address("10.0.0.1") and is_address("::1") and not is_address("localhost") and not is_address("1.2.3")


PLACES = [
    "../../../etc/passwd", "/etc/passwd", "~/.ssh/id_rsa", "~root", "file:///etc/passwd", "http://127.0.0.1:1/x", "a\0b",
    "someorg/secret-model", "..", ".", "/", "./mine.toml", "mine.toml", "upload:../../etc", "upload:", "C:\\x.toml",
    "upload:" + "0" * 32, "\\\\host\\share", "/proc/self/environ", "config.json", "x" * 5000,
]  # fmt: skip


@pytest.fixture
def bait(tmp_path, monkeypatch):
    """Files that a path would find: in the working folder, at home, and in the local Hugging Face cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    config = json.dumps(files.entry("models", "llama-3.1-8b")["config"])
    snapshot = tmp_path / "hf/hub/models--someorg--secret-model/snapshots/1"
    snapshot.mkdir(parents=True)
    for place in (tmp_path / "config.json", snapshot / "config.json"):
        place.write_text(config, encoding="utf-8")
    toml = (files.ROOT / "accelerators/h100-sxm.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(toml, encoding="utf-8")
    (tmp_path / "trace.csv").write_text("input,output\n10,10\n", encoding="utf-8")
    return tmp_path


_opened: list[str] | None = None


def _hear(event, given):
    if _opened is not None and event in ("open", "os.listdir", "os.scandir") and isinstance(given[0], str | Path):
        _opened.append(str(given[0]))


sys.addaudithook(_hear)


@contextmanager
def watched():
    """What files and folders are opened meanwhile."""
    global _opened  # noqa: PLW0603
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


READERS = {
    "model": models.load_checkpoint, "on": parse_on, "engine": machines.load_profile, "efficiency": machines.load_calibration,
    "trace": traces.load_lengths, "traffic": arrivals.load_traffic, "usage": usage.read_usage,
    "accelerator": machines.load_accelerator,
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("place", [*PLACES, "trace.csv", "config.json"])
def test_no_reader_opens_a_place(reader, place, bait):
    with files.closed(bait / "uploads"), watched() as opened, pytest.raises(PertokenError):
        READERS[reader](place)
    assert [path for path in opened if files.ROOT.as_posix() not in path] == []


def test_the_watch_sees_what_is_opened(bait):
    with watched() as opened:
        READERS["model"]("config.json")
    assert any(path.endswith("config.json") for path in opened), "negative control"


@pytest.mark.parametrize(("reader", "place"), [("model", "someorg/secret-model"), ("model", "config.json"), ("model", "."),
                                               ("accelerator", "~/mine.toml"), ("trace", "trace.csv")])  # fmt: skip
def test_a_user_of_the_command_opens_them(reader, place, bait):
    assert READERS[reader](place)


def test_the_readers_go_through_one_door():
    """Paths of users are made in one function alone, so that a new reader cannot forget to ask."""
    for path in sorted(files.ROOT.glob("*.py")):
        if path.name != "files.py":
            assert "expanduser" not in path.read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize("knob", ["model", "on", "engine", "trace", "efficiency"])
@pytest.mark.parametrize("place", PLACES[:12])
def test_over_http_a_place_is_refused_as_an_unknown_name(client, knob, place):
    found = client.post("/api/price", json={"knobs": {**GOOD["knobs"], "model": "llama-3.1-8b", knob: place}})
    assert found.status_code == 400 and "passwd:" not in found.text and "Traceback" not in found.text


def test_the_same_sentence_whether_a_file_is_there_or_not(client):
    def said(name):
        sentence = client.post("/api/price", json={"knobs": {"model": name}}).json()["error"]
        return sentence.replace(name, "")

    assert said("/etc/passwd") == said("/etc/passwx")


def test_http_alone_is_closed(client):
    """The policy is of a worker's job, not of the process: the command beside it stays open."""
    assert files.own("x.toml") is not None
    with files.closed(files.ROOT):
        assert files.own("x.toml") is None
    assert files.own("x.toml") is not None


def test_a_server_without_a_head_is_left_alone(server):
    """A client that connects and says nothing does not hinder others."""
    port = int(server.url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    for one in silent:
        one.sendall(b"GET / HTTP/1.1\r\nHost: loc")
    try:
        assert server.post("/api/price", GOOD).status_code == 200
    finally:
        for one in silent:
            one.close()


def test_two_hosts_are_refused(server):
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert line.recv(4096).split()[1] in (b"400", b"421")


def test_an_application_of_another_name(client):
    with TestClient(application(names=["pertoken.lan"], workers=1), base_url="http://pertoken.lan") as other:
        assert other.get("/api/knobs").status_code == 200
        assert other.get("/api/knobs", headers={"host": "evil.lan"}).status_code == 421
