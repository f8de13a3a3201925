"""The page under load: 200 clients at once on loopback, each moving sliders, in three ways.

- people: each client moves a slider of its own page to a value that nobody asked for before, waits for the first screen's
  answer, looks at it for 1 to 3 s, and moves again. The measure: no error, 99% under a second, memory flat.
- no pause: the same without looking, so that all of the machine is used. Its latency is clients over throughput.
- one link: every client opens the same address and moves the same slider at the same time, as a class does; no pause.

Everything that is not a whole answer with status 200 is an error, a refusal for being busy too. Clients are tasks of this
process, so they share the processors with the server. Memory is what the server and all its workers hold for themselves
(anonymous pages; those that workers share from their start are counted in each).

python benchmarks/serve_load.py [--clients 200] [--seconds 60] [--only people]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PAGES = (
    ("llama-3.1-70b", "8xh100-sxm"), ("llama-3.1-8b", "h100-sxm"), ("deepseek-v3", "8xh200-sxm"), ("gpt-oss-120b", "2xh100-sxm"),
    ("qwen3-32b", "4xmi300x"), ("mixtral-8x7b", "4xa100-sxm-80gb"),
)  # fmt: skip
CHARTS = ["receipt"]
PAUSE = (1.0, 3.0)  # s, of people
LIMIT = 30.0  # s, for one answer


@dataclass
class Tally:
    """What happened."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def line(self, name: str, took: float) -> str:
        """Rate, latencies and errors."""
        s = sorted(self.seconds) or [float("nan")]
        p50, p95, p99 = (s[min(len(s) - 1, int(len(s) * share))] * 1e3 for share in (0.5, 0.95, 0.99))
        bad = ", ".join(f"{count} x {what}" for what, count in self.errors.items()) or "none"
        return (
            f"{name:<9}{len(self.seconds):>7,} answers {len(self.seconds) / took:>7.1f}/s   p50 {p50:6,.0f} ms"
            f"   p95 {p95:6,.0f} ms   p99 {p99:6,.0f} ms   max {s[-1] * 1e3:6,.0f} ms   errors: {bad}"
        )


def moved(client: int, move: int, salt: int) -> dict[str, object]:
    """The knobs after a move; no two of a run are the same."""
    model, on = PAGES[client % len(PAGES)]
    value = 1 + (salt * 7_919 + client * 104_729 + move * 613) % 60_000 / 1.0
    slider = (client + move) % 4
    return {
        "model": model,
        "on": on,
        "input": int(256 + value / 4) if slider == 0 else 1024 + client,
        "output": int(16 + value / 60) if slider == 1 else 128 + client,
        "utilisation": round(0.1 + 0.9 * value / 60_001, 6),
        "rate": f"rent:{0.5 + value / 6_000:.4f}",
        "tpot": "100ms",  # which all of these machines can keep
        **({"concurrency": round(1 + value / 300, 3)} if slider == 3 else {}),
    }


async def ask(line: tuple[asyncio.StreamReader, asyncio.StreamWriter], knobs: dict[str, object]) -> str:
    """One move over a connection that is kept; its status, or what is wrong with the answer."""
    reader, writer = line
    body = json.dumps({"knobs": knobs, "charts": CHARTS}).encode()
    head = "POST /api/page HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\naccept-encoding: gzip\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = int(re.search(r"content-length: (\d+)", answer, re.IGNORECASE)[1])  # type: ignore[index]
    held = await reader.readexactly(length)
    status = answer.split()[1]
    return "" if status == "200" and len(held) > 1000 else f"status {status}"


async def client(number: int, port: int, kind: str, until: float, tally: Tally) -> None:
    """Moves until the time is over."""
    chance = random.Random(number)
    line = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(chance.uniform(0.0, PAUSE[1]) if kind == "people" else 0.0)
    move = 0
    while time.monotonic() < until:
        knobs = moved(0, move, 3) if kind == "one link" else moved(number, move, 1 if kind == "people" else 2)
        start = time.monotonic()
        try:
            wrong = await asyncio.wait_for(ask(line, knobs), LIMIT)
        except (OSError, EOFError, TimeoutError) as error:
            wrong = type(error).__name__
        if wrong:
            tally.errors[wrong] += 1
            line[1].close()
            line = await asyncio.open_connection("127.0.0.1", port)
        else:
            tally.seconds.append(time.monotonic() - start)
        move += 1
        if kind == "people":
            await asyncio.sleep(chance.uniform(*PAUSE))
    line[1].close()


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(word) for word in task.read_text().split()]
    return found


def memory(pid: int) -> float:
    """MB of anonymous pages of a process and all below it."""
    total = 0
    for one in tree(pid):
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Anonymous:\s+(\d+)", rollup, re.MULTILINE)[1])  # type: ignore[index]
    return total / 1024


def used(pid: int) -> float:
    """Processor seconds of a process and all below it that live."""
    ticks = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def load(kind: str, clients: int, seconds: float, port: int, pid: int) -> Tally:
    """One way of asking, with memory at its start, middle and end."""
    tally, start = Tally(), time.monotonic()
    held, before = [memory(pid)], (used(pid), time.process_time())

    async def watch() -> None:
        await asyncio.sleep(seconds / 2)
        held.append(memory(pid))

    await asyncio.gather(watch(), *(client(n, port, kind, start + seconds, tally) for n in range(clients)))
    took = time.monotonic() - start
    held.append(memory(pid))
    print(tally.line(kind, took), flush=True)
    server, own = used(pid) - before[0], time.process_time() - before[1]
    each, cores = [1e3 * spent / max(1, len(tally.seconds)) for spent in (server, own)], os.cpu_count() or 1
    print(
        f"{'':<9}memory {' / '.join(f'{mb:,.0f}' for mb in held)} MB at start, middle and end; an answer took {each[0]:.1f} ms"
        f" of a processor and {each[1]:.1f} of the clients'; of {cores} processors other programs had, or nobody used,"
        f" {max(0.0, cores - (server + own) / took):.1f}",
        flush=True,
    )
    return tally


def main() -> None:
    """All ways, one after the other."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--clients", type=int, default=200)
    read.add_argument("--seconds", type=float, default=60.0)
    read.add_argument("--only", choices=("people", "no pause", "one link"))
    given = read.parse_args()
    command = [sys.executable, "-c", "from pertoken.cli.main import run; run()", "serve", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        said = server.stderr.readline()
        port = int(re.search(r":(\d+)/", said)[1])  # type: ignore[index]
        print(f"{given.clients} clients, {given.seconds:g} s each, {os.cpu_count()} processors; warming up", flush=True)
        asyncio.run(load("no pause", 12, 4.0, port, server.pid))
        for kind in (given.only,) if given.only else ("people", "no pause", "one link"):
            asyncio.run(load(kind, given.clients, given.seconds, port, server.pid))
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main()
