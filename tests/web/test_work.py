"""Workers and what is kept: bounded in number, seconds and bytes; asked once for many; replaced when they die."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import time

import pytest

from pertoken.web import jobs
from pertoken.web.cache import OVERHEAD, Kept
from pertoken.web.desk import Desk
from pertoken.web.guard import Stop
from pertoken.web.jobs import Answer, Refused, answered, do
from pertoken.web.work import Busy, Crew, Late

ASKED = {"knobs": {"model": "llama-3.1-8b", "on": "h100-sxm", "input": 10, "output": 10}}
PRICE = json.dumps(ASKED)
LONG = json.dumps({"knobs": ASKED["knobs"], "options": {"requests": 200_000, "max_rate": True}})


@pytest.fixture
def crew(tmp_path):
    found = Crew(1, 30.0, 2, tmp_path)
    yield found
    found.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_stays_for_the_next_job(crew):
    async def two():
        first = await crew.do("price", PRICE)
        pids = [w.process.pid for w in crew.workers]
        second = await crew.do("price", PRICE)
        return first, second, pids, [w.process.pid for w in crew.workers]

    first, second, before, after = asyncio.run(two())
    assert isinstance(first, Answer) and first == second and before == after and len(before) == 1


def test_what_takes_too_long_is_killed(tmp_path):
    crew = Crew(1, 1.0, 2, tmp_path)

    async def late():
        await crew.do("price", PRICE)
        (pid,) = [w.process.pid for w in crew.workers]
        with pytest.raises(Late):
            await crew.do("simulate", LONG)
        assert not alive(pid)
        return await crew.do("price", PRICE)

    try:
        assert isinstance(asyncio.run(late()), Answer)
    finally:
        crew.close()


def test_who_leaves_ends_the_worker_and_the_next_gets_another(crew):
    async def left():
        await crew.do("price", PRICE)
        (pid,) = [w.process.pid for w in crew.workers]
        task = asyncio.create_task(crew.do("simulate", LONG))
        await asyncio.sleep(0.3)
        assert alive(pid), "negative control"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not alive(pid)
        start = time.monotonic()
        return await crew.do("price", PRICE), time.monotonic() - start

    found, took = asyncio.run(left())
    assert isinstance(found, Answer) and took < 10


def test_who_came_first_is_served_first(tmp_path):
    crew, served = Crew(1, 30.0, 100, tmp_path), []

    async def one(number):
        for turn in range(3):
            await crew.do("price", PRICE)
            served.append((turn, number))

    async def all_of_them():
        leaving = asyncio.create_task(one(99))
        tasks = [asyncio.create_task(one(n)) for n in range(8)]
        await asyncio.sleep(0)
        last = asyncio.create_task(crew.do("price", PRICE))
        await asyncio.sleep(0)
        last.cancel()
        await asyncio.gather(leaving, *tasks)

    try:
        asyncio.run(all_of_them())
        assert served == sorted(served, key=lambda s: (s[0], s[1] != 99, s[1])), (
            "nobody is served twice before another once"
        )
        assert crew.free and not crew.line
    finally:
        crew.close()


def test_too_many_are_sent_away(crew):
    async def many():
        tasks = [asyncio.create_task(crew.do("price", PRICE)) for _ in range(5)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(many())
    assert sum(isinstance(one, Busy) for one in found) == 2 and sum(isinstance(one, Answer) for one in found) == 3


def test_a_worker_that_dies_is_told_and_replaced(crew):
    async def dies():
        await crew.do("price", PRICE)
        (pid,) = [w.process.pid for w in crew.workers]
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.2)
        return await crew.do("price", PRICE), await crew.do("price", PRICE)

    dead, next_one = asyncio.run(dies())
    assert isinstance(dead, Refused) and dead.crash and isinstance(next_one, Answer)


def test_the_same_question_is_asked_once():
    desk = Desk(1)
    asked = []

    async def counted(job, body, tell=None):
        asked.append(job)
        await asyncio.sleep(0.05)
        return Answer(b"x")

    async def many():
        desk.done = counted
        found = await asyncio.gather(*(desk.answer("page", ASKED) for _ in range(50)))
        again = await desk.answer("page", {"knobs": dict(reversed(ASKED["knobs"].items()))})
        other = await desk.answer("page", {"knobs": {**ASKED["knobs"], "input": 11}})
        return found, again, other

    try:
        found, again, _ = asyncio.run(many())
        assert len(found) == 50 and again == found[0] and asked == ["page", "page"]
    finally:
        desk.close()


def test_one_of_two_who_leaves_stops_nothing_and_the_last_stops_it_after_a_grace(monkeypatch):
    monkeypatch.setattr("pertoken.web.desk.GRACE_S", 0.02)
    desk = Desk(1)
    stopped = []

    async def slow(job, body, tell=None):
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            stopped.append(job)
            raise
        return Answer(b"x")

    async def two():
        desk.done = slow
        one, other = (asyncio.create_task(desk.answer("answers", ASKED)) for _ in range(2))
        await asyncio.sleep(0.05)
        one.cancel()
        assert (await other).body == b"x" and stopped == []
        last = asyncio.create_task(desk.answer("answers", {"knobs": {}}))
        await asyncio.sleep(0.05)
        last.cancel()
        await asyncio.sleep(0.05)
        assert stopped == ["answers"]

    try:
        asyncio.run(two())
    finally:
        desk.close()


def test_errors_are_not_kept_and_being_busy_is_said():
    desk = Desk(1)

    async def refuses():
        for _ in range(2):
            with pytest.raises(Stop) as stop:
                await desk.answer("page", {"knobs": {"model": "nope"}})
            assert stop.value.status == 400
        assert desk.kept.bytes == 0 and not desk.flying

        async def busy(*_):
            raise Busy

        desk.moves.do = busy
        with pytest.raises(Stop) as stop:
            await desk.answer("page", ASKED)
        assert stop.value.status == 503

    try:
        asyncio.run(refuses())
    finally:
        desk.close()


def test_what_is_kept_is_bounded():
    kept = Kept(100_000)
    for i in range(1000):
        kept.put(str(i).encode(), Answer(b"x" * 1000))
        assert kept.bytes <= 100_000
    assert kept.get(b"999") and not kept.get(b"0")
    kept.put(b"big", Answer(b"x" * 50_000))
    assert not kept.get(b"big")
    first = next(iter(kept._found))
    kept.get(first)
    kept.put(b"new", Answer(b"x" * 1000))
    assert kept.get(first), "what was asked for stays"
    assert kept.bytes == sum(len(a.body) + OVERHEAD for a in kept._found.values())


def test_answers_are_plain_json():
    assert json.loads(answered({"a": float("nan"), "b": [1.5, None]}).body) == {"a": None, "b": [1.5, None]}
    packed = answered({"a": "x" * 5000})
    assert packed.packed and json.loads(gzip.decompress(packed.body)) == {"a": "x" * 5000}


def test_a_fault_is_a_refusal_with_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setitem(jobs.do.__globals__, "answered", lambda found: 1 / 0)
    found = do("price", PRICE, tmp_path, print)
    assert found.crash and "ZeroDivisionError" in found.sentence


def test_a_fault_is_told_on_the_terminal_alone(client, monkeypatch, capfd):
    desk = client.app.app.state.desk

    async def breaks(*_):
        return Refused("Traceback: secret", crash=True)

    monkeypatch.setattr(desk.moves, "do", breaks)
    found = client.post("/api/page", json={"knobs": {"model": "llama-3.1-8b", "input": 4321}})
    assert found.status_code == 500 and "secret" not in found.text and set(found.json()) == {"error", "exit_code"}
    assert "secret" in capfd.readouterr().err
