"""The same sweep on a real Ray cluster of this machine, on loopback, with nothing reported to anyone."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import pertoken
from pertoken.sweeping import on_ray
from tests.cli.tool import refused, run

HEAD = """
import sys, ray
ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.2", log_to_driver=False, logging_level="ERROR",
         object_store_memory=80_000_000)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
JOB = (
    "simulate",
    "llama-3.1-8b",
    "--on",
    "1xh100-sxm",
    "--requests",
    "200",
    "--seed",
    "0",
    "--seed",
    "1",
    "--load",
    "0.5",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a cluster that only who has its token can use, in a folder of its own, ended afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("PYTHONPATH", str(Path(pertoken.__file__).parents[1]))
        head = subprocess.Popen(
            [sys.executable, "-c", HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "RAY_TMPDIR": "/tmp"}, start_new_session=True,
        )  # fmt: skip
        assert head.stdin and head.stdout
        try:
            yield head.stdout.readline().strip()
        finally:
            head.stdin.close()
            head.wait(30)
            head.stdout.close()


def test_same_bytes_on_ray_and_one_that_fails_is_told(cluster: str, tmp_path: Path) -> None:
    job = (*JOB, "--on", "1xt4", "--csv")
    there = subprocess.run(  # as Ray reads its environment once, when it is imported
        [
            sys.executable, "-W", "error", "-c", "from pertoken.cli.main import run; run()", *job, "--on-ray", cluster,
            "--keep", str(tmp_path / "kept"),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    here = run(*job, "--workers", "1")
    assert there.stdout == here.out
    assert there.stderr == here.err
    assert there.returncode == here.code == 1
    assert len(here.out.splitlines()) == 5
    assert len(list((tmp_path / "kept").glob("*.json"))) == 2


LISTENING = """
import os, sys
from pathlib import Path
from pertoken.cli.main import run
from pertoken.sweeping import on_ray

def family(pid):
    found, parents = {str(pid)}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[stat.parent.name] = stat.read_text().rsplit(")", 1)[1].split()[1]
        except OSError:
            pass
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return found

def addresses():
    own = set()
    for pid in family(os.getpid()):
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                own.add(os.readlink(link))
            except OSError:
                pass
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in own:
                yield words[1].split(":")[0]

stop = on_ray.Cluster.stop
def told(self):
    Path(os.environ["SEEN"]).write_text(" ".join(addresses()))
    stop(self)
on_ray.Cluster.stop = told
run()
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are looked up in /proc")
def test_a_cluster_that_is_started_listens_on_loopback_alone(tmp_path: Path) -> None:
    seen, policy = tmp_path / "seen", tmp_path / "own.py"
    policy.write_text("def order(input): return input\n")
    job = (*JOB, "--policy", str(policy), "--csv")
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"PYTHONPATH": str(Path(pertoken.__file__).parents[1]), "RAY_TMPDIR": "/tmp"}
    there = subprocess.run(
        [sys.executable, "-W", "error", "-c", LISTENING, *job, "--on-ray", "local"],
        capture_output=True, text=True, timeout=120, check=False, env=env | {"SEEN": str(seen)},
    )  # fmt: skip
    assert there.stdout == run(*job, "--workers", "1").out, there.stderr
    found = seen.read_text().split()
    assert len(found) > 3, "of the store, the scheduler and workers"
    assert set(found) <= LOOPBACK


def test_another_version_of_a_node_is_told() -> None:
    said = on_ray.task(lambda cell: {"error": None}, None, "0.0.0", "/nowhere")["error"]
    assert "0.0.0" in said and pertoken.__version__ in said


@pytest.mark.parametrize("address", ["x;rm", "", "locals", "ray:// --help", "a b:1", "http://x:1", "-1", "127.0.0.1"])
def test_what_is_no_address_goes_nowhere(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("asked"))
    assert "give local, auto, HOST:PORT" in refused(*JOB, "--on-ray", address)


def test_where_nothing_answers_there_is_a_sentence_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "PATIENCE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refused(*JOB, "--on-ray", f"127.0.0.1:{silent.getsockname()[1]}")
    assert "no answer in 2 s" in said


def test_ray_and_processes_of_this_machine_are_not_mixed() -> None:
    assert "leave one out" in refused(*JOB, "--on-ray", "auto", "--workers", "2")
