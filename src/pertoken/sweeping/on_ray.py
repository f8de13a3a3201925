"""The same sweep on a Ray cluster: each cell is a task of one core."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from pertoken import __version__
from pertoken.errors import PertokenError

LOCAL = "local"  # a cluster of this machine alone, started for the sweep and ended after it
ADDRESS = re.compile(r"auto|(ray://)?[A-Za-z0-9._-]{1,253}:[0-9]{1,5}|(ray://)?\[[0-9A-Fa-f:.]{2,45}\]:[0-9]{1,5}")
STORE = 100_000_000  # byte of memory for results, little above the least that Ray takes
PATIENCE = 30.0  # s in which a cluster must answer; Ray itself waits for minutes
PROBE = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); ray.shutdown()"


def task(function: Callable[[Any], dict[str, Any]], cell: Any, version: str, folder: str) -> dict[str, Any]:
    """One cell on a node, which has to have the same pertoken; relative files are looked for where the sweep began."""
    if version != __version__:
        return {
            "error": f"a node of the cluster has pertoken {__version__}, and the sweep is of {version}; install that"
        }
    if Path(folder).is_dir():
        os.chdir(folder)
    return function(cell)


class Cluster(Executor):
    """Runs functions on a Ray cluster.

    Parameters
    ----------
    address : str
        ``local`` for one of this machine's cores that is started and ended, ``auto`` for the cluster of this machine that runs,
        ``HOST:PORT``, or ``ray://HOST:PORT``.

    Raises
    ------
    PertokenError
        When Ray is not installed, or nothing answers there in half a minute.
    """

    def __init__(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address == LOCAL:
            _keep_to_loopback()
        try:
            import ray
        except ImportError as error:
            raise PertokenError(
                "--on-ray needs Ray; install it with: pip install 'pertoken[ray]', or leave it out for all cores of this machine"
            ) from error
        own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE} if address == LOCAL else {}
        if address != LOCAL:
            reach(address)
        self.ray = ray
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
        except (Exception, SystemExit) as error:
            raise unreachable(address, str(error)) from error
        if address == LOCAL and ray.util.get_node_ip_address() != "127.0.0.1":
            ray.shutdown()
            raise PertokenError(
                "--on-ray local: Ray would listen beyond this machine; start a cluster and give its address"
            )
        self.remote = ray.remote(num_cpus=1)(task)
        self.sent: list[tuple[Any, Future[Any]]] = []

    def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:  # noqa: ARG002
        """A cell's result, to come."""
        ref = self.remote.remote(function, given[0], __version__, str(Path.cwd()))
        self.sent.append((ref, ref.future()))
        return self.sent[-1][1]

    def stop(self) -> None:
        """End what runs, and leave the cluster as it was."""
        for ref, found in self.sent:
            if not found.done():
                self.ray.cancel(ref, force=True)
        self.ray.shutdown()


def _keep_to_loopback() -> None:
    """Let a Ray that is started here listen on 127.0.0.1 alone, to who has its token; Ray reads these when it is imported."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def reach(address: str) -> None:
    """Ask in a process of its own whether a cluster answers, as Ray waits for minutes and then ends the process."""
    if not ADDRESS.fullmatch(address):
        raise PertokenError(f"--on-ray is {address[:60]!r}; give local, auto, HOST:PORT or ray://HOST:PORT")
    try:
        found = subprocess.run(
            [sys.executable, "-c", PROBE, address], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise unreachable(address, f"no answer in {PATIENCE:g} s") from error
    if found.returncode:
        raise unreachable(address, found.stderr)


def unreachable(address: str, said: str) -> PertokenError:
    """A sentence with the last that Ray said."""
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "it ended without a word")
    return PertokenError(
        f"--on-ray {address[:60]!r}: no Ray cluster can be used there ({last.strip()[:240]}); give the address of one that runs,"
        " or leave it out for all cores of this machine"
    )
