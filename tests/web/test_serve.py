"""The command: where it listens, what it refuses, how it ends, and that what nobody awaits is stopped."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from pertoken.errors import PertokenError
from pertoken.web.serve import address_of, listen

from .conftest import KNOBS, SERVE, started

LONG = {"knobs": KNOBS, "options": {"requests": 200_000, "max_rate": True}}
# without compiled code a run takes long whatever the machine
SLOW = {**os.environ, "NUMBA_DISABLE_JIT": "1"}


def children(pid: int) -> dict[int, float]:
    """Processes below one, with the processor seconds that each has used."""
    found = {}
    tasks = [pid]
    while tasks:
        parent = tasks.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                below = [int(word) for word in task.read_text().split()]
            except OSError:
                continue
            tasks += below
            for child in below:
                try:
                    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                found[child] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def working(pid: int, seconds: float = 1.0) -> set[int]:
    """Those that use the processor just now."""
    before = children(pid)
    time.sleep(seconds)
    return {child for child, used in children(pid).items() if child in before and used - before[child] > seconds / 5}


def until(check, seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.1)
    return False


def test_it_listens_on_this_machine_alone(server):
    port = int(server.url.rpartition(":")[2])
    assert server.url.startswith("http://127.0.0.1:")
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    assert [place.split(":")[0] for place in listening if place.endswith(f":{port:04X}")] == ["0100007F"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--host", "nowhere.invalid"), "no address of this machine"), (("--host", "192.0.2.1"), "cannot be listened on"),
     (("--port", "70000"), "65535"), (("--host", "a" * 300), "no address of this machine")],
)  # fmt: skip
def test_a_bad_place_is_a_sentence(arguments, said):
    done = subprocess.run([*SERVE, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""


def test_a_busy_port_is_a_sentence(server):
    port = server.url.rpartition(":")[2]
    done = subprocess.run([*SERVE, "--port", port], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "give another --port" in done.stderr and "Traceback" not in done.stderr


def test_without_its_extra_it_says_how_to_get_it():
    code = "import sys; sys.modules['starlette.applications'] = None; from pertoken.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2 and "pip install 'pertoken[page]'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_and_leaves_nothing(number, tmp_path):
    process = subprocess.Popen(
        [*SERVE, "--port", "0"], stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    process.stderr.readline()
    assert until(lambda: len(children(process.pid)) >= 3)
    below = children(process.pid)
    process.send_signal(number)
    said = process.stderr.read()
    assert process.wait(20) == (0 if number == signal.SIGINT else -signal.SIGTERM)
    process.stderr.close()
    assert "Traceback" not in said and "ERROR" not in said
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    assert not list(tmp_path.glob("pertoken-page-*"))


@pytest.fixture(scope="module")
def slow():
    """A server whose simulations take minutes."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    try:
        found = started()
    finally:
        del os.environ["NUMBA_DISABLE_JIT"]
    assert httpx.post(f"{found.url}/api/price", json={"knobs": KNOBS}, timeout=60).status_code == 200
    yield found
    found.process.terminate()
    found.process.wait(20)
    found.process.stderr.close()


@pytest.mark.parametrize(
    ("path", "body"), [("/api/simulate", LONG), ("/api/export", {**LONG, "what": "simulate", "form": "json"})]
)
def test_a_client_that_leaves_frees_its_worker(slow, path, body):
    pid = slow.process.pid
    assert until(lambda: not working(pid))
    for _ in range(3):  # more than there are workers for it
        with socket.create_connection(("127.0.0.1", int(slow.url.rpartition(":")[2]))) as line:
            sent = json.dumps(body).encode()
            head = (
                f"POST {path} HTTP/1.1",
                "Host: localhost",
                "Content-Type: application/json",
                f"Content-Length: {len(sent)}",
            )
            line.sendall("\r\n".join((*head, "", "")).encode() + sent)
            assert until(lambda: working(pid)), "negative control: it is at work"
        assert until(lambda: not working(pid)), "it is stopped"


def test_a_run_that_is_awaited_goes_on_while_others_ask(slow):
    with httpx.stream("POST", f"{slow.url}/api/simulate", json=LONG, timeout=60) as run:
        lines = run.iter_lines()
        assert "progress" in json.loads(next(lines))
        assert slow.post("/api/price", {"knobs": {**KNOBS, "input": 77}}).status_code == 200
        assert "progress" in json.loads(next(lines))


@pytest.fixture
def hasty(monkeypatch):
    """A server that waits a second for the head of a request."""
    code = "import pertoken.web.serve as s; s.HEAD_S = 1.0; from pertoken.cli.main import run; run()"
    monkeypatch.setattr("tests.web.conftest.SERVE", (sys.executable, "-c", code, "serve"))
    found = started()
    yield found
    found.process.terminate()
    found.process.wait(20)
    found.process.stderr.close()


def test_who_says_nothing_or_drips_is_let_go(hasty):
    port = int(hasty.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), 15) as silent,
        socket.create_connection(("127.0.0.1", port)) as drips,
    ):
        start = time.monotonic()
        with pytest.raises(OSError):
            for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200:
                drips.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - start < 8
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""
    with httpx.Client(base_url=hasty.url, timeout=60) as patient:
        body = {"knobs": KNOBS, "options": {"requests": 20_000}}
        assert '"result"' in patient.post("/api/simulate", json=body).text, (
            "what takes longer than a head may is let be"
        )
        for _ in range(3):
            time.sleep(0.5)
            assert patient.get("/api/knobs").status_code == 200


def test_an_address_is_what_a_browser_takes():
    for host, said in (("127.0.0.1", "http://127.0.0.1:"), ("localhost", "http://"), ("0.0.0.0", "http://127.0.0.1:")):
        with listen(host, 0) as door:
            assert address_of(door).startswith(said) and address_of(door).endswith("/")
    with pytest.raises(PertokenError):
        listen("nowhere.invalid", 0)


def test_the_benchmark_of_load_counts_every_error():
    """A short run of it; what it must show at full size is printed by make bench."""
    script = Path(__file__).parents[2] / "benchmarks" / "serve_load.py"
    command = [sys.executable, str(script), "--clients", "16", "--seconds", "4", "--only", "people"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("people"))
    assert line.endswith("errors: none") and int(line.split()[1].replace(",", "")) >= 16
    assert re.search(r"memory \d+ / \d+ / \d+ MB", done.stdout)
