"""End to end against llama.cpp's own server: tokens are exact, orderings are as physics has them, and a price uses the result.

No time is asserted, only which of two is longer, each the best of its repeats.
"""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pertoken.measure.design import Design
from tests.cli.tool import run
from tests.measure import local_engine

pytest.importorskip("xllamacpp", reason="the wheel of llama.cpp's server is not installed")

LONGEST, OUTPUT, BATCHES, ROUNDS = 768, 32, (1, 4), 5
MACHINE = """name = "a-machine"
family = "cpu"
kind = "cpu"
[flops]
fp32 = 60e9
[memory]
capacity = 8e9
bandwidth = 20e9
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, and a machine of round figures."""
    folder = tmp_path_factory.mktemp("engine")
    local_engine.make_model(folder)
    (folder / "machine.toml").write_text(MACHINE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """llama.cpp's server."""
    with local_engine.serving(folder / "model.gguf", slots=4, context=1024) as url:
        yield url


def knobs(folder: Path) -> tuple[str, ...]:
    return ("--as", str(folder), "--on", f"1x{folder / 'machine.toml'}", "--engine", "llamacpp", "--rate", "rent:0.10")


@pytest.fixture(scope="module")
def probed(url: str, folder: Path) -> dict[str, Any]:
    """The JSON of a probe, its records beside it, and its calibration."""
    found = run(
        "measure", url, "--model", "random", *knobs(folder), "--max-input", str(LONGEST), "--max-output", str(OUTPUT),
        "--at-once", "1,4", "--rounds", str(ROUNDS), "--watts", "50", "--json", "-o", str(folder / "probe.jsonl"), "-o",
        str(folder / "own.toml"),
    )  # fmt: skip
    assert (folder / "probe.jsonl").is_file(), found.err
    return {"data": json.loads(found.out), "folder": folder, "err": found.err}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "probe.jsonl").read_text(encoding="utf-8").splitlines()[1:]]


def best(rows: list[dict[str, Any]], seconds: Any) -> float:
    return float(min(seconds(row) for row in rows))


def test_tokens_are_counted_exactly(probed: dict[str, Any]) -> None:
    rows = records(probed["folder"])
    cells = Design(LONGEST, OUTPUT, BATCHES, ROUNDS).cells()
    assert len(rows) == sum(cell.batch for cell in cells)
    for place, cell in enumerate(cells):
        group = [row for row in rows if row["group"] == place]
        assert len(group) == cell.batch
        assert all((row["input"], row["output"]) == (cell.input, cell.output) for row in group)
        if cell.kind == "chunk":
            assert cell.prefix <= group[0]["cached"] < cell.prefix + 8  # random tokens may be what the cache holds
        if cell.kind == "prompt":
            assert group[0]["cached"] < 8


def whole(rows: list[dict[str, Any]], batch: int) -> float:
    """Seconds from sending a short batch to its last token, the best of its repeats: a client that is late only adds to it."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if row["cell"] == "decode" and row["batch"] == batch and row["input"] < LONGEST / 4:
            groups.setdefault(row["group"], []).append(row)
    assert len(groups) == ROUNDS and all(len(group) == batch for group in groups.values())
    return min(max(row["last"] for row in group) - min(row["sent"] for row in group) for group in groups.values())


def test_decode_is_dearer_than_prefill_per_token(probed: dict[str, Any]) -> None:
    rows = records(probed["folder"])
    prompts = [
        row for row in rows if row["cell"] in ("prompt", "prefix") and LONGEST // 8 < row["input"] <= LONGEST // 2
    ]
    prefill = best(prompts, lambda row: (row["first"] - row["sent"]) / row["input"])
    shortest = best([row for row in rows if row["cell"] == "prompt"], lambda row: row["first"] - row["sent"])
    assert (whole(rows, 1) - shortest) / (OUTPUT - 1) > prefill  # the shortest prompt is longer than a batch's


def test_four_together_are_cheaper_per_token_than_one(probed: dict[str, Any]) -> None:
    rows = records(probed["folder"])
    one, four = (whole(rows, n) for n in BATCHES)
    assert four / 4.0 < one


def test_later_chunks_are_dearer(probed: dict[str, Any]) -> None:
    rows, chunk = records(probed["folder"]), LONGEST // 8
    first = [row for row in rows if row["cell"] == "prompt" and row["input"] == chunk]
    later = [row for row in rows if row["cell"] == "chunk" and row["input"] == LONGEST]
    assert len(first) >= ROUNDS and len(later) == ROUNDS

    def ttft(row: dict[str, Any]) -> float:
        return float(row["first"] - row["sent"])

    assert best(later, ttft) > best(first, ttft)


def test_the_report_holds_it_against_the_model(probed: dict[str, Any]) -> None:
    data = probed["data"]
    assert {c["metric"] for c in data["compared"]} == {"ttft", "step"}
    assert all(c["measured"] > 0 and c["expected"] > 0 for c in data["compared"])
    assert set(data["parts"]) == {"request", "token", "pair", "cached", "step", "sequence", "context"}
    assert data["joules"] > 0 and "50 W" in data["energy"]
    assert data["parts"]["token"]["error"] > 0
    prices = [t["usd_per_million"] for t in data["token_seconds"]]
    assert prices and all(p["low"] <= p["value"] <= p["high"] for p in prices)


def test_records_are_read_back_to_the_same_parts(probed: dict[str, Any]) -> None:
    again = run("measure", str(probed["folder"] / "probe.jsonl"), *knobs(probed["folder"]), "--json")
    assert again.code == 0, again.err
    for name, part in again.json()["parts"].items():
        assert part["value"] == pytest.approx(probed["data"]["parts"][name]["value"], rel=0.02, abs=1e-8)


def test_a_price_uses_what_was_measured(probed: dict[str, Any]) -> None:
    """The calibration of this very model and machine brings the price to what was measured; a busy machine may refuse it."""
    own = probed["folder"] / "own.toml"
    if not own.is_file():
        assert "nothing was calibrated" in probed["err"] and "times" in probed["err"]
        return
    made = tomllib.loads(own.read_text(encoding="utf-8"))
    assert (made["accelerator"], made["engine"]) == ("a-machine", "llamacpp") and made["steps"]["token"][
        "unit"
    ] == "s/token"
    asked = ("price", str(probed["folder"]), "--on", f"1x{probed['folder'] / 'machine.toml'}", "--engine", "llamacpp", "--rate",
             "rent:0.10", "--input", "400", "--output", "32", "--concurrency", "1", "--json")  # fmt: skip
    before, after = run(*asked), run(*asked, "--efficiency", str(own))
    assert before.code == after.code == 0, after.err
    assert after.json()["per_million"]["output"]["value"] != before.json()["per_million"]["output"]["value"]
    assert any("pertoken measure" in note for note in after.json()["assumed"])


def test_counters_of_a_running_engine_are_followed(url: str, folder: Path) -> None:
    sender = threading.Thread(target=_send, args=(url, 2.5))
    sender.start()
    try:
        found = run(
            "measure", f"{url}/metrics", "--watch", "--every", "1", "--max-seconds", "3", *knobs(folder), "--json"
        )
    finally:
        sender.join(30)
    assert found.code == 0, found.err
    windows = [json.loads(line) for line in found.out.splitlines()]
    busy = [w for w in windows if w["tokens"]["output"] > 0]
    assert busy
    for w in windows:
        assert sum(w["usd_of"].values()) == pytest.approx(w["usd"], rel=1e-9)
        assert w["usd"] == pytest.approx(0.10 / 3600 * w["seconds"])
    assert sum(w["tokens"]["input"] for w in busy) >= 64
    assert any(w["usd_per_million"]["output"] for w in busy)


def _send(url: str, seconds: float) -> None:
    """Requests for a while, without the code under test."""
    import time
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turn += 1
        body = {"prompt": [100 + (turn * 7 + i * i) % 190 for i in range(64)], "max_tokens": 32, "ignore_eos": True}
        request = urllib.request.Request(
            f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with opener.open(request, timeout=30) as answer:
            answer.read()


def test_chat_is_measured_too(url: str) -> None:
    small = ("--max-input", "64", "--max-output", "8", "--at-once", "1", "--rounds", "1")
    found = run("measure", url, "--model", "random", "--chat", *small, "--json")
    assert found.code == 0, found.err
    assert found.json()["failures"] == {} and found.json()["tokens"]["output"] > 0
